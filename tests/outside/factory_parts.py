"""One part of each kind, as somebody else would write them: nothing but `agent.api` and NumPy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from agent.api import (
    Arrays,
    Batch,
    Counters,
    Duration,
    Explanation,
    Field,
    Floats,
    Ints,
    Kind,
    Lifecycle,
    LineCodec,
    Message,
    Operator,
    Positioned,
    Rows,
    Rule,
    SeriesState,
    Severity,
    Sink,
    SinkError,
    SourceError,
    StreamingDetector,
    Verdict,
)


@dataclass(kw_only=True)
class Ramp(Positioned):
    """Two machines whose value climbs from 0 and falls back to 0 again and again.

    Attributes:
        rows: readings of each machine.
        top: highest value.
    """

    type = "ramp"

    rows: int = 200
    top: int = 20

    keeps_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError("top must be above 0")
        self.counters = Counters()
        self._next = 0
        self._open = False

    async def __aenter__(self) -> Self:
        if self.rows > 1_000_000:
            raise SourceError("ramp: the wall is too high")
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._open = False

    async def __anext__(self) -> Batch:
        if not self._open:
            raise SourceError("ramp: not open")
        if self._next >= self.rows:
            raise StopAsyncIteration
        await asyncio.sleep(0)
        n, self._next = self._next, self._next + 1
        self.counters.rows += 2
        self.counters.frames_ok += 1
        time = np.full(2, 1_767_225_600 * 10**9 + n * 10**9)
        value = np.array([n % (self.top + 1), n // 2 % (self.top + 1)], np.float64)
        return Batch(("a", "b"), np.arange(2, dtype=np.int32), time, {"height": value}, int(time[0]))

    def outputs(self) -> tuple[str, ...]:
        return ("height",)

    def position(self) -> Mapping[str, Any]:
        return {"rows": self._next}

    def seek(self, position: Mapping[str, Any]) -> None:
        self._next = int(position["rows"])


@dataclass(kw_only=True)
class Pipes(LineCodec):
    """Lines such as `press-1|21.5`: machine and value."""

    type = "pipes"

    machine: str = "machine"

    def records(self, lines: list[bytes]) -> tuple[list[dict[str, Any]], list[int] | None]:
        found, which = [], []
        for number, line in enumerate(lines):
            machine, _, value = line.partition(b"|")
            try:
                found.append({"machine": machine.decode("ascii"), "value": float(value)})
            except ValueError:
                self.refuse("no machine|value", line)
            else:
                which.append(number)
        return found, which


@dataclass
class EveryNth(Operator):
    """Each n-th row of a series passes, the others do not.

    Attributes:
        n: how many rows make one.
        metric: column that passes.
        on: name of the window whose results it reads; empty = the readings.
        by: grouping columns of a series.
    """

    n: int
    metric: str
    on: str = ""
    by: tuple[str, ...] = ("machine",)

    type = "every_nth"
    kind: ClassVar = "window"
    remembers: ClassVar = {"": "_state"}

    def __post_init__(self) -> None:
        self._state = SeriesState(seen=Field(np.int64))

    def outputs(self) -> tuple[str, ...]:
        return (self.metric,)

    def process(self, rows: Rows) -> Rows:
        rows = rows.take((rows.key >= 0) & (self.metric in rows.values))
        if len(rows):
            self._state.grow(int(rows.key.max()) + 1)
            number = self._state["seen"][rows.key] + occurrence(rows.key) + 1
            np.maximum.at(self._state["seen"], rows.key, number)
            rows = rows.take(number % self.n == 0)
        value = rows.values.get(self.metric, np.empty(0))
        return Rows(rows.key, rows.start, rows.end, rows.at, {self.metric: value}, rows.now)


def occurrence(key: Ints) -> Ints:
    """How many rows of the same series stand before each row."""
    order = np.argsort(key, kind="stable")
    begin = np.flatnonzero(np.append(True, np.diff(key[order]) != 0))
    number = np.empty(len(key), np.int64)
    number[order] = np.arange(len(key)) - np.repeat(begin, np.diff(np.append(begin, len(key))))
    return number


@dataclass
class Record(StreamingDetector):
    """How far a value lies outside all that the series has shown, in spans of it.

    Neither scale nor offset of the metric changes it.

    Attributes:
        warmup: rows before the first score.
    """

    warmup: int = 30

    type = "record"
    default_limit: ClassVar = 0.5
    explains: ClassVar = {"score": Explanation("is outside all that was seen")}

    @property
    def min_rows(self) -> int:
        return max(2, self.warmup)

    def state_fields(self) -> dict[str, Field]:
        return {"low": Field(np.float64, np.inf), "high": Field(np.float64, -np.inf)}

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> Floats:
        low = np.minimum.accumulate(np.column_stack([state["low"], x]), axis=1)
        high = np.maximum.accumulate(np.column_stack([state["high"], x]), axis=1)
        outside = np.maximum(low[:, :-1] - x, x - high[:, :-1])
        score: Floats = np.maximum(outside, 0.0) / (high[:, :-1] - low[:, :-1])
        state["low"][:], state["high"][:] = low[:, -1], high[:, -1]
        return score


@dataclass
class Above(Rule):
    """Raises while a column is above a limit.

    Attributes:
        metric: the column.
        at_least: the limit.
        on: window or detector whose rows it judges; empty = readings.
        by: columns of the grouping.
        signal: measured quantity; left out: that of the window.
        unit: of the signal.
        severity: of what it raises.
        hold: how long it must be below to resolve.
    """

    metric: str
    at_least: float
    _: KW_ONLY
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    signal: str = ""
    unit: str = ""
    severity: Severity = "warning"
    hold: Duration = Duration("2s")

    type = "above"
    remembers: ClassVar = {"life": "life"}

    def __post_init__(self) -> None:
        self.life: Lifecycle = Lifecycle(hold=int(self.hold), severities=(self.severity,))

    @property
    def raise_limit(self) -> str:
        return f"{self.metric} >= {self.at_least:g}"

    @property
    def limit(self) -> str:
        return f">= {self.at_least:g}"

    def process(self, rows: Rows) -> Verdict:
        value = rows.values.get(self.metric)
        if value is None:
            return Verdict(self.life.tick(rows.now))
        rows = rows.take((rows.key >= 0) & ~np.isnan(value))
        value = rows.values[self.metric]
        return Verdict(self.life.process(rows, np.where(value >= self.at_least, 1, -1), value))


@dataclass
class Diary(Sink):
    """Appends bodies to a file, each with the agent's name before it.

    Attributes:
        path: of the file.
        kinds: the classes of message it takes.
    """

    path: Path
    kinds: frozenset[Kind] = frozenset({"alert"})
    _open: bool = field(default=False, init=False, repr=False)

    type = "diary"

    async def __aenter__(self) -> Self:
        await self._write(b"")
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._open = False

    async def send(self, messages: Sequence[Message]) -> None:
        if not self._open:
            raise SinkError(f"{self.path}: not open")
        await self._write(b"".join(b"%s %s\n" % (self.identity.agent.encode(), m.body) for m in messages))

    async def _write(self, block: bytes) -> None:
        try:
            await asyncio.to_thread(self._append, block)
        except OSError as error:
            raise SinkError(f"{self.path}: {error.strerror}") from error

    def _append(self, block: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(block)


PARTS: dict[str, type[Any]] = {
    "source": Ramp,
    "codec": Pipes,
    "window": EveryNth,
    "detector": Record,
    "rule": Above,
    "sink": Diary,
}
