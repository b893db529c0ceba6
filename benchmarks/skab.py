"""SKAB: several sensors of a pump test bed, by the protocol of its board.

For each file, fit on the first 400 rows and test on the rest; one F1 over the rows of all files, with the
false-alarm rate (FAR: normal rows called strange) and the missed-alarm rate (MAR). An alarm for ever scores F1
0.70, so look at FAR.

The notebooks behind the board count the 400 rows of training as normal rows, too, which no detector calls strange that
was fitted on them; that roughly halves FAR and leaves F1 and MAR as they are. `FAR, training counted` is by that
count, to be put beside the board's; `FAR` is the stricter one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from agent.offline.labelled import read_skab
from agent.settings.registry import build
from benchmarks.figures import emit

TRAIN = 400


def main(argv: Sequence[str]) -> int:
    """`python -m benchmarks skab --data DIR`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks skab", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with valve1/, valve2/, other/")
    options = parser.parse_args(argv)
    counts, seconds, rows, found = np.zeros(4, np.int64), 0.0, 0, 0
    files = sorted(path for path in options.data.glob("*/*.csv") if path.parent.name != "anomaly-free")
    for path in files:
        data = read_skab(path)
        detector = build(
            "detector", "detector.pca", {"type": "pca", "metrics": list(data.rows.values), "train": TRAIN}
        )
        begun = perf_counter()
        score = detector.process(data.rows).values["score"][TRAIN:]
        seconds += perf_counter() - begun
        said, truth = score >= 1.0, data.label[TRAIN:] > 0
        counts += [np.sum(said & truth), np.sum(said & ~truth), np.sum(~said & truth), np.sum(~said & ~truth)]
        found += bool(np.any(said & truth))
        rows += len(data.label)
    hit, false, missed, quiet = counts.tolist()
    emit("skab", "F1", 2 * hit / max(2 * hit + false + missed, 1), "ratio", files=len(files), found=found)
    emit("skab", "FAR", false / max(false + quiet, 1), "ratio")
    emit("skab", "FAR, training counted", false / max(false + quiet + TRAIN * len(files), 1), "ratio")
    emit("skab", "MAR", missed / max(hit + missed, 1), "ratio")
    emit("skab", "rows/s", rows / seconds, "rows/s")
    return 0
