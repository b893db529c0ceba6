"""Readings from a file of lines or frames, at the pace of their times: CSV exports, JSON lines, captures of a port.

A name is not a file: tomorrow's export often has that of today. Beside how many rows were read, a position has a
checksum of the bytes that were, and what does not begin with these is a new file, read from its start.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.codecs.csv import Csv
from sensors.drivers.pacing import Pace, Speed, factor
from sensors.source import Positioned, SourceError
from sensors.times import from_iso

_READ_SIZE = 65_536

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class FileSource(Positioned):
    """A file whose lines the codec reads; their times are the clock, as in a recording.

    Attributes:
        path: of the file.
        codec: how lines are written; CSV with a header line unless configured.
        speed: seconds of the file a second; `"max"` = as fast as it is taken.
        start: event time of the first row, ISO 8601 with offset; all times are moved with it. Empty = as written.
            Times since the start of a measurement need `earliest = "1970-01-01T00:00:00Z"` in the codec, too.
    """

    path: Path
    codec: Codec = field(default_factory=Csv)
    speed: Speed = "max"
    start: str = ""

    keeps_time: ClassVar[bool] = True  # the file's

    def __post_init__(self) -> None:
        self.counters = self.codec.counters
        self._factor = factor(self.speed)
        self._start = from_iso(self.start) if self.start else None
        self._pace: Pace | None = None
        self._rows: Iterator[Batch] | None = None
        self._taken = 0  # rows handed over
        self._read = _Checksum()

    async def __aenter__(self) -> Self:
        if self._taken and not await asyncio.to_thread(self._is_the_same):
            again = "; its times begin at `start` again, too" if self._start is not None else ""
            log.warning("%s: does not begin with what was read before; read from its start%s", self.path, again)
            self._taken = 0
        self.codec.reset()
        self._rows = _after(self.rows(), self._taken)
        first = next(self._rows, None)
        if first is not None:
            self._pace = Pace(_chain(first, self._rows), int(first.time[0]), self._factor)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._pace, self._rows = None, None

    async def __anext__(self) -> Batch:
        if self._pace is None:
            if self._rows is None:
                raise RuntimeError("read a source inside `async with`")
            raise StopAsyncIteration
        batch = await self._pace.take()
        self._taken += len(batch)
        return batch

    def position(self) -> Mapping[str, Any]:
        """How many rows were handed over, of the file that begins with these bytes."""
        return {"path": str(self.path), "rows": self._taken, **self._read.snapshot()}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Leave out what was handed over before; another file is read from its start."""
        if position["path"] == str(self.path):
            self._taken = int(position["rows"])
            self._read = _Checksum(int(position.get("bytes", 0)), str(position.get("checksum", "")))

    def resumed(self) -> str:
        return f"path {self.path}, rows {self._taken}" if self._taken else ""

    def _is_the_same(self) -> bool:
        """Whether the file begins with the bytes read before; true where it cannot be read, which is told later."""
        known = self._read.snapshot()
        found = _Checksum()
        try:
            with self.path.open("rb") as file:
                while data := file.read(min(_READ_SIZE, known["bytes"] - found.bytes)):
                    found.add(data)
        except OSError:
            return True
        return found.snapshot() == known or not known["checksum"]

    def outputs(self) -> tuple[str, ...] | None:
        return self.codec.outputs()

    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def rows(self) -> Iterator[Batch]:
        """All rows, in blocks.

        Raises:
            SourceError: if the file cannot be read.
        """
        shift: int | None = None
        for batch in self._batches():
            if batch is None:
                continue
            if shift is None:
                shift = 0 if self._start is None else self._start - int(batch.time[0])
            yield replace(batch, time=batch.time + shift) if shift else batch

    def _batches(self) -> Iterator[Batch | None]:
        self._read = _Checksum()
        try:
            with self.path.open("rb") as file:
                while data := file.read(_READ_SIZE):
                    self._read.add(data)
                    self.counters.bytes_read += len(data)
                    yield self.codec.feed(data, 0)
        except OSError as error:
            raise SourceError(f"{self.path}: {error.strerror or error}") from error
        yield self.codec.finish(0)


class _Checksum:
    """Of the first bytes of a file: those read, or, as it was saved, those read before.

    Attributes:
        bytes: how many.
    """

    def __init__(self, count: int = 0, checksum: str = "") -> None:
        self.bytes, self._saved = count, checksum
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, data: bytes) -> None:
        """More bytes were read."""
        self.bytes += len(data)
        self._hash.update(data)

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"bytes": self.bytes, "checksum": self._saved or self._hash.hexdigest() if self.bytes else ""}


def _chain(first: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    yield first
    yield from rest


def _after(blocks: Iterator[Batch], rows: int) -> Iterator[Batch]:
    """Without the first `rows` rows."""
    for block in blocks:
        if rows < len(block):
            yield block.slice(rows, len(block)) if rows else block
        rows = max(0, rows - len(block))
