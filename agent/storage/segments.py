"""Numbered files of records: each is written once, whole, and never changed.

    magic and version | record | record | ... | manifest (a record) | trailer: where the manifest is

A segment gets its name when all of it is on the disk; one with a name that is not whole was damaged later. Only the
owner may read it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.storage import records
from agent.storage.quarantine import delete

VERSION = 2
"""Of the format; 1 was one file, see `agent.storage.single_file`."""

SMALL = 1 << 20
"""Bytes that any save may write."""

_MAGIC = struct.Struct("<8sI")
_NAME = b"EDGECKPT"
_TRAILER = struct.Struct("<4sQI")
_END = b"ends"
_PIECE = 1 << 20
_FILE = re.compile(r"([0-9]{12})\.segment")
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe without a writer is not waited for
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Place(NamedTuple):
    """Where a record lies."""

    segment: int
    offset: int
    length: int


class NewerFormatError(ValueError):
    """A newer agent wrote this."""


def path_of(folder: Path, number: int) -> Path:
    """The file of a segment."""
    return folder / f"{number:012d}.segment"


def numbers(folder: Path) -> list[int]:
    """The segments in the folder, newest first; what is not named as `path_of` names it is none.

    Raises:
        OSError: it is no folder, or cannot be read.
    """
    found = [_FILE.fullmatch(name) for name in os.listdir(folder)]
    return sorted((int(match[1]) for match in found if match), reverse=True)


def size_of(folder: Path, number: int) -> int:
    """Bytes of a segment; -1 if it is not there."""
    try:
        return path_of(folder, number).lstat().st_size
    except OSError:
        return -1


def remove(folder: Path, keep: set[int]) -> None:
    """Delete all segments but these, and what a crash left half written.

    Raises:
        OSError: some cannot be deleted; all others are.
    """
    kept: list[OSError] = []
    for path in (*(path_of(folder, n) for n in numbers(folder) if n not in keep), _fresh(folder)):
        try:
            delete(path)
        except OSError as error:
            kept.append(error)
    if kept:
        raise kept[0]


def _fresh(folder: Path) -> Path:
    return folder / "new"


class SegmentWriter:
    """A segment in the making; `finish` gives it its name.

    Raises:
        OSError: the disk is full, or does not allow it; `abandon` it then.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
            _sync(folder.parent)
        delete(_fresh(folder))
        self._file = os.fdopen(os.open(_fresh(folder), _WRITE, 0o600), "wb")
        self._size = self._file.write(_MAGIC.pack(_NAME, VERSION))

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def add(self, pieces: Sequence[records.Bytes]) -> Place:
        """Append a record."""
        start = self._size
        for piece in pieces:
            self._size += self._file.write(piece)
        return Place(self._number, start, self._size - start)

    def finish(self, manifest: Sequence[records.Bytes]) -> int:
        """Append the manifest and give the segment its name; returns when that is on the disk. Its size, bytes."""
        end = _TRAILER.pack(_END, self.add(manifest).offset, 0)
        self._size += self._file.write(_TRAILER.pack(*_TRAILER.unpack(end)[:2], zlib.crc32(end)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        _fresh(self._folder).replace(path_of(self._folder, self._number))
        _sync(self._folder)
        return self._size

    def abandon(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # what was not written yet may not find room now
            self._file.close()
        with contextlib.suppress(OSError):
            _fresh(self._folder).unlink(missing_ok=True)


class Segment:
    """A segment to read from, `with Segment(folder, number) as segment`.

    Raises:
        OSError: it cannot be read.
        NewerFormatError: a newer agent wrote it.
        ValueError: it is damaged.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self._file = os.open(path_of(folder, number), _READ)
        try:
            status = os.fstat(self._file)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is no file")
            self.size = status.st_size
            name, version = _MAGIC.unpack(self._bytes(0, _MAGIC.size))
            if name != _NAME:
                raise ValueError("it is no checkpoint")
            if version > VERSION:
                raise NewerFormatError(f"a newer agent wrote it (format {version}, this agent reads {VERSION})")
            if version != VERSION:
                raise ValueError(f"format {version}, this agent reads {VERSION}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Done with it."""
        os.close(self._file)

    def manifest(self) -> bytes:
        """The record that says what belongs to the checkpoint; its checksum is right."""
        trailer = self._bytes(self.size - _TRAILER.size, _TRAILER.size)
        mark, offset, crc = _TRAILER.unpack(trailer)
        if mark != _END or zlib.crc32(_TRAILER.pack(mark, offset, 0)) != crc:
            raise ValueError("its end is missing")
        place = Place(self.number, offset, self.size - _TRAILER.size - offset)
        self.check(place)
        return self.record(place)

    def check(self, place: Place) -> None:
        """Whether the record there is whole; reads it, but keeps no more than a piece of it."""
        head = self._head(place)
        records.check(head, self._pieces(place.offset + records.HEAD, place.length - records.HEAD))

    def record(self, place: Place) -> bytes:
        """The record there."""
        self._head(place)
        return self._bytes(place.offset, place.length)

    def _head(self, place: Place) -> bytes:
        head = self._bytes(place.offset, records.HEAD)
        if records.length(head) != place.length:
            raise ValueError("a record has another length than its manifest says")
        return head

    def _pieces(self, offset: int, length: int) -> Iterator[bytes]:
        while length > 0:
            piece = self._bytes(offset, min(length, _PIECE))
            yield piece
            offset, length = offset + len(piece), length - len(piece)

    def _bytes(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError("it is cut off")
        found = os.pread(self._file, length, offset)
        if len(found) != length:
            raise ValueError("it is cut off")
        return found


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
