"""The checkpoint as agents wrote it up to format 1: one zip archive of NumPy arrays, `engine.checkpoint`. Only read.

`document` is JSON in which arrays stand by number; `a0`, `a1` and so on are the arrays. Nothing in it was compressed, so
that what is read takes no more memory than the file is long; an archive that says otherwise was not written by us.
"""

from __future__ import annotations

import io
import json
import logging
import stat
import tokenize
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from agent.storage.quarantine import quarantine

log = logging.getLogger(__name__)

VERSION = 1
_NONSENSE = (
    OSError, ValueError, KeyError, TypeError, IndexError, EOFError, SyntaxError, zipfile.BadZipFile, MemoryError,
    RecursionError, OverflowError, NotImplementedError, tokenize.TokenError,  # NumPy reads a header as Python
)  # fmt: skip


def load(path: Path) -> Any | None:
    """The state saved at `path`; None if there is none. A damaged file is moved aside and None returned."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # a pipe would be waited for, a device read for ever
            raise ValueError("it is no file")
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = _Arrays(archive, len(content))
            document = json.loads(arrays["document"].tobytes())
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']}, this agent reads {VERSION}")
            return _join(document["state"], arrays)
    except FileNotFoundError:
        return None
    except _NONSENSE as error:
        give_up(path, str(error))
        return None


def give_up(path: Path, reason: str) -> None:
    """Start without the checkpoint, and keep it for whoever wants to know."""
    try:
        aside = quarantine(path)
    except OSError as error:
        log.error("checkpoint %s cannot be read (%s) nor moved: %s", path, reason, error)
    else:
        log.error("checkpoint %s cannot be read (%s); moved to %s, starting without it", path, reason, aside.name)


class _Arrays:
    """The arrays of an archive by name, each read once."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
            raise ValueError("it is compressed, which no agent did")
        if sum(member.file_size for member in members) > size:
            raise ValueError("it holds more than its file")
        self._archive = archive
        self._read: dict[str, np.ndarray[Any, Any]] = {}

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._read:
            self._read[name] = _array(self._archive.read(f"{name}.npy"))
        return self._read[name]


def _array(content: bytes) -> np.ndarray[Any, Any]:
    """An array whose header says no more than there is."""
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of a format that no agent wrote")
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(stream)
    size = dtype.itemsize
    for axis in shape:
        size *= axis
    if dtype.hasobject or size != len(content) - stream.tell():
        raise ValueError("an array is longer or shorter than its header says")
    array = np.frombuffer(content, dtype, offset=stream.tell()).copy()
    return array.reshape(shape, order="F" if columns_first else "C")


def _join(value: Any, arrays: _Arrays) -> Any:
    if isinstance(value, dict):
        if "$array" in value:
            return arrays[f"a{int(value['$array'])}"]
        return {_key(_join(key, arrays)): _join(item, arrays) for key, item in value["$items"]}
    if isinstance(value, list):
        return [_join(item, arrays) for item in value]
    return value


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
