"""The engine's state on disk: written whole to a new file, synced, renamed; a torn one is never read.

Format: a zip archive (NumPy's npz) with `state.json` as bytes and one member for each array; members carry CRCs.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.quarantine import move_aside

log = logging.getLogger(__name__)

VERSION = 1


class Snapshot(NamedTuple):
    """State as it was at a moment, in two parts: what is JSON, and the arrays."""

    document: Any
    arrays: list[np.ndarray[Any, Any]]


def snapshot(state: Any) -> Snapshot:
    """A copy of `state` (dicts, lists, numbers, strings, arrays) as it is now; nothing of it is kept.

    Copying takes a tenth of encoding, so it is all that the event loop has to wait for.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    document = {"version": VERSION, "state": _strip(state, arrays)}
    return Snapshot(document, [array.copy() for array in arrays])


def encode(kept: Snapshot) -> bytes:
    """The bytes of a snapshot."""
    document = json.dumps(kept.document).encode()
    buffer = io.BytesIO()
    named = {f"a{number}": array for number, array in enumerate(kept.arrays)}
    np.savez(buffer, allow_pickle=False, document=np.frombuffer(document, np.uint8), **named)
    return buffer.getvalue()


def save(path: Path, kept: Snapshot) -> None:
    """Encode a snapshot and write it to `path`.

    Raises:
        OSError: the disk is full or the directory gone; the file before is still whole.
    """
    content = encode(kept)
    fresh = path.with_suffix(".new")
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


_NONSENSE = (
    OSError, ValueError, KeyError, TypeError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error,
    NotImplementedError, tokenize.TokenError,  # NumPy parses the header of an array as Python
)  # fmt: skip


def load(path: Path) -> Any | None:
    """The state saved at `path`; None if there is none. A damaged file is moved aside and None returned."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            document = json.loads(archive["document"].tobytes())
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']}, this agent reads {VERSION}")
            return _join(document["state"], archive)
    except FileNotFoundError:
        return None
    except _NONSENSE as error:
        put_aside(path, str(error))
        return None


def put_aside(path: Path, reason: str) -> None:
    """Start without the check-point, and keep it for whoever wants to know."""
    try:
        aside = move_aside(path)
    except OSError as error:
        log.error("check-point %s cannot be read (%s) nor moved: %s", path, reason, error)
    else:
        log.error("check-point %s cannot be read (%s); moved to %s, starting without it", path, reason, aside.name)


def _strip(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """The value with each array replaced by its number."""
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError("an array of objects cannot be saved")
        arrays.append(value)
        return {"$array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"$items": [[_strip(key, arrays), _strip(item, arrays)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_strip(item, arrays) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _join(value: Any, archive: Any) -> Any:
    if isinstance(value, dict):
        if "$array" in value:
            return archive[f"a{value['$array']}"]
        return {_key(_join(key, archive)): _join(item, archive) for key, item in value["$items"]}
    if isinstance(value, list):
        return [_join(item, archive) for item in value]
    return value


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
