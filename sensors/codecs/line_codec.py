"""What the codecs of lines share: a stream is cut into lines, a block of lines becomes records, records rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from sensors.batch import Batch
from sensors.codecs.encoding import Encoding
from sensors.codecs.fields import Fields, Record
from sensors.codecs.json_grid import Grid
from sensors.codecs.lines import MAX_LENGTH, LineBuffer


@dataclass(kw_only=True)
class LineCodec(Fields):
    r"""Lines of text, one record each; a message of a broker may hold many.

    Attributes:
        delimiter: ends a line; `"\n"` stands for carriage returns, too, alone or before it.
        max_length: bytes of the longest line; longer ones are thrown away and counted.
        encoding: of the text: `utf-8`, `latin-1`, `cp1252`, `utf-16`, ...; a byte order mark goes before it. Bytes that
            are no such text are replaced and counted, the line is kept.
    """

    delimiter: str = "\n"
    max_length: int = MAX_LENGTH
    encoding: str = "utf-8"

    self_checking: ClassVar[bool] = False
    """Whether the rest of a broken line cannot be mistaken for a whole one."""
    of_bytes: ClassVar[bool] = False
    """Whether `records` wants the bytes of its lines as they came, for a checksum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.delimiter or self.max_length < 1:
            raise ValueError("delimiter must not be empty, max_length must be above zero")
        self._encoding = Encoding(self.encoding, self.counters)
        self._delimiter = b"\n" if self.delimiter == "\r" else self.delimiter.encode()
        self._buffer = LineBuffer(self.counters, self._delimiter, self.max_length)
        self._joining = False
        self.starts: set[int] = set()

    @abstractmethod
    def records(self, lines: list[bytes]) -> tuple[list[Record] | Grid, list[int] | None]:
        """The records of the lines that can be read, and which lines these are (None: all).

        The lines are UTF-8, unless `of_bytes`. `starts` has the rows that begin a message of several lines.
        """

    def feed(self, data: bytes, read_at: int) -> Batch | None:
        return self._take(self._encoding.stream(data), read_at)

    def _take(self, data: bytes, read_at: int) -> Batch | None:
        lines = self._readable(self._buffer.feed(data))
        if self.starts:
            self.starts = set()
        if lines and self._joining:
            self._joining = False
            if not self._whole(lines[0]):
                self.counters.bytes_discarded += len(lines.pop(0))
        return self.rows(self.records(lines)[0], read_at) if lines else None

    def decode(
        self,
        frames: list[bytes],
        read_at: int,
        times: Sequence[int] | None = None,
        machines: list[str] | None = None,
    ) -> Batch | None:
        encoding, owner = self._encoding, None
        block = frames[0] if len(frames) == 1 else b"".join(frames)
        plain = encoding.is_plain(block)
        lines = frames if plain else encoding.bare(encoding.messages(frames))
        if self.starts:
            self.starts = set()
        if not plain or self._delimiter in block or b"\r" in block or not all(frames):
            lines, owner = self._split(lines)
        if not lines:
            return None
        if not plain:
            lines = encoding.bare(lines)
            lines = lines if self.of_bytes else encoding.text(lines)
        records, which = self.records(lines)
        if which is not None:
            owner = which if owner is None else [owner[row] for row in which]
        if owner is not None:
            times = None if times is None else [times[row] for row in owner]
            machines = None if machines is None else [machines[row] for row in owner]
        return self.rows(records, read_at, times, machines)

    def reset(self, *, discard: bool = False) -> None:
        super().reset()
        self.counters.bytes_discarded += self._encoding.held
        self._encoding.begin(anew=True)
        self._buffer.reset(discard=discard and not self.self_checking)
        self._joining = discard and self.self_checking

    def silence(self) -> None:
        self.counters.bytes_discarded += self._encoding.held
        self._encoding.begin(anew=False)
        self._buffer.drop_half()

    def finish(self, read_at: int) -> Batch | None:
        return self._take(self._encoding.end() + self._delimiter, read_at)

    @property
    def half(self) -> int:
        return self._buffer.half + self._encoding.held

    def lines_of(self, message: bytes) -> list[bytes]:
        """The lines of a message that has several."""
        return message.split(self._delimiter)

    def _readable(self, lines: list[bytes]) -> list[bytes]:
        """The lines as UTF-8, those of a codec that checks bytes as they came; without marks, NULs and empty ones."""
        if self._buffer.plain:
            return lines
        bare = [line for line in self._encoding.bare(lines) if line]
        return bare if self.of_bytes else self._encoding.text(bare)

    def _split(self, frames: list[bytes]) -> tuple[list[bytes], list[int] | None]:
        """The lines of messages, and the message that each stands in (None: each has one)."""
        block = b"".join(frames)
        if self._delimiter == b"\n" and b"\r" in block:
            frames = [frame.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for frame in frames]
        elif self._delimiter not in block and all(frames):
            return frames, None
        parts = [
            [line for line in self.lines_of(frame) if line] if self._delimiter in frame else [frame] * bool(frame)
            for frame in frames
        ]
        lines: list[bytes] = []
        for part in parts:
            if len(part) > 1:
                self.starts.add(len(lines))
            lines += part
        return lines, [row for row, part in enumerate(parts) for _ in part]

    def _whole(self, line: bytes) -> bool:
        """Whether the line is read; what that counts is forgotten."""
        before = replace(self.counters, notes=dict(self.counters.notes))
        records, _ = self.records([line])
        for item in fields(before):
            setattr(self.counters, item.name, getattr(before, item.name))
        return bool(records)
