"""Changes what a checkpoint says, checksums and all, as a newer agent or somebody with an editor could."""

import numpy as np

from agent.storage import records, segments
from agent.storage.checkpoint import CheckpointStore
from agent.storage.segments import Segment, SegmentWriter


def rewrite(folder, document=lambda known: known, parts=None, shared=None):
    """Write the newest checkpoint anew.

    Args:
        folder: of the segments.
        document: what becomes of the document.
        parts: by name, the state that the first ten series shall have.
        shared: by name, what all series share.
    """
    found, number = CheckpointStore(folder).load(), segments.numbers(folder)[0] + 1
    writer = SegmentWriter(folder, number)
    common = {"document": document(found.document), "shared": {**found._shared, **(shared or {})}}
    at = writer.add(records.pack(*records.strip(common)))
    places = {}
    for name in {**found._places, **(parts or {})}:
        if parts and name in parts:
            made_up = {"keys": np.array([[0, 10]]), "state": parts[name]}
            written = [writer.add(records.pack(*records.strip(made_up)))]
        else:
            written = []
            for place in found._places[name]:
                with Segment(folder, place.segment) as segment:
                    written.append(writer.add([segment.record(place)]))
        places[name] = np.array(written, np.int64).reshape(-1, 3)
    writer.finish(records.pack(*records.strip({"common": list(at), "places": places})))
    segments.remove(folder, {number})
