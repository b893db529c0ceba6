"""Keeping what the sources gave, batch by batch, and giving it again: same batches, same decisions.

A recording is the magic `EDGEREC1` and then chunks, only ever appended. A chunk is

    b"CHNK"   length of the body: u32   CRC-32 of the body: u32   body

(all numbers little-endian), and its body one batch after the other, each

    length of the header: u32   header: JSON   columns

The columns are the bare arrays in the order of the header: `machine` int32, `time` int64, each of `values` float64,
the codes of each of `texts` int32; the header says how many rows `n` there are and holds everything else.
Words (machines, texts) are written once: `{"id": 3, "base": 2, "words": [...]}` are those of table 2 and then these,
`{"id": 3}` the table known by this number; `"first": true` in a header forgets all tables.

Invariants: a chunk is written with one call and never changed; a chunk that is torn or damaged is left out, and
with it only the batches that need its tables; reading goes on at the next intact chunk.
"""

from __future__ import annotations

import asyncio
import logging
import math
import mmap
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import orjson

from sensors.batch import Batch, Text
from sensors.drivers.pacing import Speed, factor
from sensors.source import Counters, Positioned, SourceError
from sensors.units import SECOND

MAGIC = b"EDGEREC1"
_CHUNK = b"CHNK"
_HEAD = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
_CHUNK_BYTES = 64 * 1024


log = logging.getLogger(__name__)


class RecordingError(Exception):
    """The recording cannot be written; the message names the file. What is being recorded need not suffer."""


class Recorder:
    """Appends batches to a file; `with Recorder(path) as recorder: recorder.write(batch)`.

    Batches are collected into chunks of 64 KiB or of one second, whichever comes first, so that a slow line costs a
    flash disk one small write a second. A pulled plug loses the chunk being collected.

    Attributes:
        path: of the file; what is in it already stays, and the new batches follow.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._body = bytearray()
        self._since = 0
        self._tables: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._numbers = 0
        self._first = True

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            RecordingError: if it cannot be written, or holds something else.
        """
        try:
            file = self.path.open("ab+", buffering=0)
            file.seek(0)
            start = file.read(len(MAGIC))
            if not start:
                file.write(MAGIC)
            elif start != MAGIC:
                file.close()
                raise RecordingError(f"{self.path}: holds something that is no recording; not overwritten")
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror}") from error
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def write(self, batch: Batch) -> None:
        """Keep a batch, or a tick."""
        texts = sorted(batch.texts)
        header: dict[str, Any] = {
            "n": len(batch),
            "read_at": batch.read_at,
            "source": batch.source,
            "machines": self._table("", batch.machines),
            "values": list(batch.values),
            "texts": {name: self._table(name, batch.texts[name].words) for name in texts},
        }
        if batch.clock_step:
            header["clock_step"] = batch.clock_step
        if self._first:
            header["first"], self._first = True, False
            self._since = batch.read_at
        packed = orjson.dumps(header)
        self._body += _LENGTH.pack(len(packed)) + packed
        self._body += batch.machine.astype("<i4", copy=False).tobytes()
        self._body += batch.time.astype("<i8", copy=False).tobytes()
        for column in batch.values.values():
            self._body += column.astype("<f8", copy=False).tobytes()
        for name in texts:
            self._body += batch.texts[name].codes.astype("<i4", copy=False).tobytes()
        if len(self._body) >= _CHUNK_BYTES or abs(batch.read_at - self._since) >= SECOND:
            self.flush()
            self._since = batch.read_at

    def flush(self) -> None:
        """Hand what is collected to the operating system.

        Raises:
            RecordingError: if the disk is full or gone; what was collected is forgotten.
        """
        if self._file is None or not self._body:
            return
        body, self._body = bytes(self._body), bytearray()
        rest = memoryview(_HEAD.pack(_CHUNK, len(body), zlib.crc32(body)) + body)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror}") from error

    def _table(self, column: str, words: tuple[str, ...]) -> dict[str, Any]:
        number, known = self._tables.get(column, (-1, ()))
        if number >= 0 and (words is known or words == known):
            return {"id": number}
        fresh = self._numbers
        self._numbers += 1
        self._tables[column] = fresh, words
        if number >= 0 and words[: len(known)] == known:
            return {"id": fresh, "base": number, "words": words[len(known) :]}
        return {"id": fresh, "words": words}


def batches(path: Path, counters: Counters | None = None) -> Iterator[Batch]:
    """The batches of a recording, in order; damage is counted and left out.

    Raises:
        SourceError: if the file cannot be read, or is no recording.
    """
    counters = counters if counters is not None else Counters()
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise SourceError(f"{path}: is no recording")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                tables: dict[int, tuple[str, ...]] = {}
                for body in _chunks(data, counters):
                    counters.frames_ok += 1
                    yield from _unpack(body, tables, counters)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error


def _chunks(data: mmap.mmap, counters: Counters) -> Iterator[bytes]:
    place = len(MAGIC)
    while place < len(data):
        head = data[place : place + _HEAD.size]
        if len(head) == _HEAD.size:
            mark, length, checksum = _HEAD.unpack(head)
            body = data[place + _HEAD.size : place + _HEAD.size + length] if mark == _CHUNK else b""
            if mark == _CHUNK and len(body) == length and zlib.crc32(body) == checksum:
                counters.bytes_read += len(head) + length
                place += len(head) + length
                yield body
                continue
        following = data.find(_CHUNK, place + 1)
        end = following if following > 0 else len(data)
        counters.frames_bad += 1
        counters.bytes_discarded += end - place
        counters.last_error = f"a damaged chunk at byte {place} of the recording"
        place = end


def _unpack(body: bytes, tables: dict[int, tuple[str, ...]], counters: Counters) -> Iterator[Batch]:
    place = 0
    while place < len(body):
        (length,) = _LENGTH.unpack_from(body, place)
        header = orjson.loads(body[place + 4 : place + 4 + length])
        place += 4 + length
        n = header["n"]
        if header.get("first"):
            tables.clear()
        codes: list[tuple[str, ...] | None] = [
            _words(table, tables) for table in (header["machines"], *header["texts"].values())
        ]
        size = n * (4 + 8 + 8 * len(header["values"]) + 4 * len(header["texts"]))
        columns, place = memoryview(body)[place : place + size], place + size
        if None in codes:  # a table was in a damaged chunk
            counters.samples_lost += n
            counters.last_error = "rows whose words were in a damaged chunk were left out"
            continue
        words: list[tuple[str, ...]] = [known for known in codes if known is not None]
        counters.rows += n
        values = 12 * n
        texts = values + 8 * n * len(header["values"])
        yield Batch(
            machines=words[0],
            machine=np.frombuffer(columns, "<i4", n),
            time=np.frombuffer(columns, "<i8", n, 4 * n).astype(np.int64),
            values={
                name: np.frombuffer(columns, "<f8", n, values + 8 * n * row).astype(np.float64)
                for row, name in enumerate(header["values"])
            },
            read_at=header["read_at"],
            texts={
                name: Text(words[row + 1], np.frombuffer(columns, "<i4", n, texts + 4 * n * row))
                for row, name in enumerate(header["texts"])
            },
            source=header["source"],
            clock_step=header.get("clock_step", 0),
        )


def _words(table: dict[str, Any], tables: dict[int, tuple[str, ...]]) -> tuple[str, ...] | None:
    """The words of a table, and remember them; None if they, or those they follow, are lost."""
    number = table["id"]
    if "words" in table:
        base = tables.get(table["base"]) if "base" in table else ()
        if base is not None:
            tables[number] = (*base, *table["words"])
    return tables.get(number)


def _first_bytes(path: Path) -> str:
    """Magic and head of the first chunk, as hexadecimal digits; empty where the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC) + _HEAD.size).hex()
    except OSError:
        return ""


@dataclass
class RecordingSource(Positioned):
    """Reads a recording made with `agent record`, at its own pace, faster, or as fast as it is taken.

    Attributes:
        path: of the file.
        speed: recorded seconds a second; `"max"` = as fast as it is taken.
    """

    path: Path
    speed: Speed = 1.0

    keeps_time: ClassVar[bool] = True  # the recording's

    def __post_init__(self) -> None:
        self.counters = Counters()
        self._factor = factor(self.speed)
        self._batches: Iterator[Batch] | None = None
        self._next: Batch | None = None
        self._taken = 0
        self._first = ""  # bytes of the file, which have the checksum of what it begins with
        self._began = (0.0, 0)  # loop time, read_at

    async def __aenter__(self) -> Self:
        first = _first_bytes(self.path)
        if self._taken and self._first and first != self._first:
            log.warning("%s: does not begin with what was read before; read from its start", self.path)
            self._taken = 0
        self._first = first
        self._batches = islice(batches(self.path, self.counters), self._taken, None)
        self._next = next(self._batches, None)
        if self._next is not None:
            self._began = asyncio.get_running_loop().time(), self._next.read_at
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._batches, self._next = None, None

    async def __anext__(self) -> Batch:
        if self._batches is None:
            raise RuntimeError("read a source inside `async with`")
        if self._next is None:
            raise StopAsyncIteration
        pause = 0.0
        if not math.isinf(self._factor):
            loop, (began, start) = asyncio.get_running_loop(), self._began
            pause = began + (self._next.read_at - start) / (self._factor * SECOND) - loop.time()
        await asyncio.sleep(max(0.0, pause))
        batch, self._next = self._next, next(self._batches, None)
        self._taken += 1
        return batch

    def position(self) -> Mapping[str, Any]:
        """How many batches were handed over."""
        return {"path": str(self.path), "batches": self._taken, "first": self._first}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Leave out what was handed over before; another file is read from its start."""
        if position["path"] == str(self.path):
            self._taken, self._first = int(position["batches"]), str(position.get("first", ""))

    def resumed(self) -> str:
        return f"path {self.path}, batches {self._taken}" if self._taken else ""

    def files(self) -> tuple[Path, ...]:
        return (self.path,)
