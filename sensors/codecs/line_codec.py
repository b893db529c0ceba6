"""What the codecs of lines share: a stream is cut into lines, a block of lines becomes records, records rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sensors.batch import Batch
from sensors.codecs.fields import Fields, Record
from sensors.codecs.json_grid import Grid
from sensors.codecs.lines import MAX_LENGTH, LineBuffer


@dataclass(kw_only=True)
class LineCodec(Fields):
    r"""Lines of text, one record each.

    Attributes:
        delimiter: ends a line; with `"\n"`, a carriage return before it belongs to it.
        max_length: bytes of the longest line; longer ones are thrown away and counted.
    """

    delimiter: str = "\n"
    max_length: int = MAX_LENGTH

    self_checking: ClassVar[bool] = False
    """Whether the rest of a broken line cannot be mistaken for a whole one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.delimiter or self.max_length < 1:
            raise ValueError("delimiter must not be empty, max_length must be above zero")
        self._buffer = LineBuffer(self.counters, self.delimiter.encode(), self.max_length)
        self._joining = False

    @abstractmethod
    def records(self, lines: list[bytes]) -> tuple[list[Record] | Grid, list[int] | None]:
        """The records of the lines that can be read, and which lines these are (None: all)."""

    def feed(self, data: bytes, read_at: int) -> Batch | None:
        lines = self._buffer.feed(data)
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
        if not frames:
            return None
        records, which = self.records(frames)
        if which is not None:
            times = None if times is None else [times[row] for row in which]
            machines = None if machines is None else [machines[row] for row in which]
        return self.rows(records, read_at, times, machines)

    def reset(self, *, discard: bool = False) -> None:
        self._buffer.reset(discard=discard and not self.self_checking)
        self._joining = discard and self.self_checking

    def silence(self) -> None:
        self._buffer.drop_half()

    def finish(self, read_at: int) -> Batch | None:
        return self.feed(self.delimiter.encode(), read_at)

    @property
    def half(self) -> int:
        return self._buffer.half

    def _whole(self, line: bytes) -> bool:
        bad, error = self.counters.frames_bad, self.counters.last_error
        records, _ = self.records([line])
        self.counters.frames_bad, self.counters.last_error = bad, error
        return bool(records)
