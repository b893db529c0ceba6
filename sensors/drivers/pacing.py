"""Rows at the pace of their event time: as they happened, sixty times faster, or as fast as they are taken."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from sensors.batch import Batch, Ints
from sensors.units import MILLISECOND, SECOND

Speed = float | Literal["max"]


def factor(speed: Speed) -> float:
    """Simulated seconds in a second of the host; infinity for `"max"`.

    Raises:
        ValueError: if it is not above zero.
    """
    value = math.inf if speed == "max" else float(speed)
    if not value > 0:
        raise ValueError(f"speed = {speed!r} must be above zero, or 'max'")
    return value


@dataclass
class Pace:
    """Cuts blocks of rows into batches that are handed over when their time has come.

    The clock of what it hands over is the event time: `read_at` of a batch is the latest time so far. A batch spans
    a second of it at most, also at full speed, so that a silence is noticed when it would be at any speed.

    Attributes:
        blocks: the rows; those behind the latest time so far are due with it.
        start: event time at which the clock begins, ns.
        speed: simulated seconds a second.
        grain: shortest time of the host between two batches, ns: nobody sees less, and a call of the engine
            costs the same for one row as for ten.
    """

    blocks: Iterator[Batch]
    start: int
    speed: float = 1.0
    grain: int = 50 * MILLISECOND
    _block: Batch | None = field(default=None, init=False)
    _clock: Ints = field(default_factory=lambda: np.empty(0, np.int64), init=False)
    _next: int = field(default=0, init=False)
    _began: float = field(default=math.nan, init=False)
    _last: float = field(default=-math.inf, init=False)

    async def take(self) -> Batch:
        """The next batch, when it is due.

        Raises:
            StopAsyncIteration: after the last one.
        """
        loop = asyncio.get_running_loop()
        while True:
            if self._block is None:
                self._block, self._next = next(self.blocks, None), 0
                if self._block is None:
                    raise StopAsyncIteration
                latest = self._clock[-1] if len(self._clock) else self._block.time[0]
                self._clock = np.maximum(np.maximum.accumulate(self._block.time), latest)
            if math.isinf(self.speed):
                await asyncio.sleep(0)
                return self._cut(len(self._block))
            if math.isnan(self._began):
                self._began = loop.time()
            now = loop.time()
            clock = self.start + int((now - self._began) * self.speed * SECOND)
            due = int(np.searchsorted(self._clock, clock, side="right"))
            ready = self._last + self.grain / SECOND
            if due > self._next and now >= ready:
                await asyncio.sleep(0)
                batch = self._cut(due)
                if self._block is None or self._next == due:
                    self._last = now  # else more is due than one batch may span
                return batch
            upcoming = int(self._clock[max(self._next, due - 1)])
            arrives = self._began + (upcoming - self.start) / (self.speed * SECOND)
            await asyncio.sleep(max(arrives, ready) - now)

    def _cut(self, stop: int) -> Batch:
        block, start = self._block, self._next
        if block is None:
            raise AssertionError("no block to cut")
        stop = min(stop, int(np.searchsorted(self._clock, self._clock[start] + SECOND)))
        self._next = stop
        if stop >= len(block):
            self._block = None
        return replace(block.slice(start, stop), read_at=int(self._clock[stop - 1]))
