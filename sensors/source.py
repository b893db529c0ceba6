"""The base of every driver, with all that may be required of one, and the one error it may raise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from sensors.batch import Batch


class SourceError(Exception):
    """The device, file or broker failed; the message names it. Whoever reads closes, waits and opens again."""


@dataclass(slots=True)
class Counters:
    """What a source and its codec have seen since they were made.

    Attributes:
        frames_ok: frames whose rows were handed over.
        frames_bad: frames thrown away: broken, wrong checksum, no believable time.
        values_bad: single values that were no finite number; they are missing in their row.
        bytes_read: all bytes.
        bytes_discarded: bytes that belonged to no frame, or to one too long.
        samples_lost: samples missing by the sender's own count.
        rows: readings.
        reopened: times it was opened again after an error.
        last_error: the last of what went wrong, on one line.
        bad_value: the first of the values that were no number, its column, and what would help.
        bytes_replaced: places where the bytes are no text in the encoding; each reads U+FFFD, the line is kept.
        bad_text: the first of these lines, and what would help.
        values_invalid: values that the configuration calls `invalid`; they are missing in their row.
        times_nonexistent: local times of the hour that a change of the clocks leaves out.
        bad_time: the first of these.
        notes: what was found out about the format, each thing once.
    """

    frames_ok: int = 0
    frames_bad: int = 0
    values_bad: int = 0
    bytes_read: int = 0
    bytes_discarded: int = 0
    samples_lost: int = 0
    rows: int = 0
    reopened: int = 0
    last_error: str = ""
    bad_value: str = ""
    bytes_replaced: int = 0
    bad_text: str = ""
    values_invalid: int = 0
    times_nonexistent: int = 0
    bad_time: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def note_value(self, count: int, column: str, value: object, advice: str = "") -> None:
        """Count values of a column that are no number; the first of all is kept to be shown."""
        self.values_bad += count
        if count and not self.bad_value:
            self.bad_value = f"{short(value)} in {column}{f'; {advice}' if advice else ''}"

    def note(self, about: str, sentence: str) -> None:
        """Keep what was found out about the format, the first time."""
        if len(self.notes) < MAX_NOTES:
            self.notes.setdefault(about, sentence)

    def problems(self) -> dict[str, str]:
        """What could not be read, by counter, each on one line."""
        found: dict[str, str] = {}
        if self.frames_bad:
            last = f", last: {self.last_error}" if self.last_error else ""
            found["frames_bad"] = f"{self.frames_bad} of {self.frames_bad + self.frames_ok} frames refused{last}"
        if self.values_bad:
            first = f", first: {self.bad_value}" if self.bad_value else ""
            found["values_bad"] = f"{self.values_bad} values are no number{first}"
        if self.bytes_replaced:
            found["bytes_replaced"] = f"{self.bytes_replaced} bytes are no text, first in {self.bad_text}"
        if self.times_nonexistent:
            found["times_nonexistent"] = (
                f"{self.times_nonexistent} local times do not exist, first: {self.bad_time}"
            )
        return found

    def faults(self) -> str:
        """What could not be read, on one line; empty = all could."""
        return "; ".join(self.problems().values())


MAX_NOTES = 64


def short(value: object) -> str:
    """A value as it is shown in a message."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


class Source(ABC):
    """A place samples come from: `async with source: async for batch in source: ...`.

    A source is a dataclass whose fields are its configuration; what else it has starts in `__post_init__`.
    Constructing has no effect, `__aenter__` opens, `__aexit__` closes, also twice; after an error it can be entered
    again. Iteration ends when there is no more to come (a recording), and raises `SourceError` when the other side
    failed. `__anext__` may be cancelled, and loses nothing then.

    Attributes:
        counters: what it has seen; where a codec reads its frames, those of the codec.
    """

    counters: Counters

    keeps_time: ClassVar[bool] = False
    """`read_at` is a clock of its own (simulated, recorded): who reads must not mix in the time of the host."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Batch: ...

    def outputs(self) -> tuple[str, ...] | None:
        """Columns of its rows; None = the sender decides."""
        return None

    def files(self) -> tuple[Path, ...]:
        """Files that must be there when it is opened."""
        return ()


class Positioned(Source):
    """A source that can be read again from a position, such as Kafka offsets; the checkpoint keeps it."""

    @abstractmethod
    def position(self) -> Mapping[str, Any]:
        """Where the next read starts: after the last batch handed over. Plain JSON."""

    @abstractmethod
    def seek(self, position: Mapping[str, Any]) -> None:
        """Start from `position` when opened next."""

    async def commit(self, position: Mapping[str, Any]) -> None:
        """Everything before `position` is safe: the other side may want to know."""
