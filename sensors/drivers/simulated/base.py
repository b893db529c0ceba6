"""What the simulated sources share: pacing, seed, start and end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from sensors.batch import Batch
from sensors.drivers.pacing import Pace, Speed, factor
from sensors.source import Counters, Source
from sensors.times import moment
from sensors.units import Duration

BLOCK_ROWS = 4096
"""Rows that a generator makes at a time: enough for NumPy, little enough to begin at once."""


@dataclass(kw_only=True)
class Simulated(Source):
    """A source whose rows come from a generator; the same seed and start give the same rows.

    Attributes:
        speed: simulated seconds a second; `"max"` = as fast as they are taken.
        seed: of the random numbers.
        start: event time of the first row, ISO 8601 with offset; empty = now.
        duration: simulated time after which the source ends; none = endless.
        labels: add the columns that say what is wrong: `is_anomaly` and, where there are kinds, `kind`.
    """

    speed: Speed = 1.0
    seed: int = 0
    start: str = ""
    duration: Duration | None = None
    labels: bool = True

    keeps_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.counters = Counters()
        self._factor = factor(self.speed)
        self._pace: Pace | None = None

    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Columns of its rows."""

    @abstractmethod
    def blocks(self, start: int) -> Iterator[Batch]:
        """All rows from event time `start` (ns) on, in blocks of any size; pure, the seed decides."""

    def rows(self, start: int) -> Iterator[Batch]:
        """As `blocks`, up to `duration`."""
        end = None if self.duration is None else start + self.duration
        for block in self.blocks(start):
            if end is None or block.time[-1] < end:
                yield block
                continue
            rest = int(np.searchsorted(block.time, end))
            if rest:
                yield block.slice(0, rest)
            return

    async def __aenter__(self) -> Self:
        start = moment(self.start)
        self._pace = Pace(self.rows(start), start, self._factor)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._pace = None

    async def __anext__(self) -> Batch:
        if self._pace is None:
            raise RuntimeError("read a source inside `async with`")
        batch = await self._pace.take()
        self.counters.rows += len(batch)
        self.counters.frames_ok += len(batch)
        return batch
