"""How far time has come: which windows are closed when a reading arrives, and after it.

The watermark is a point in event time: a window that ends at or before it is closed. It follows

* `key`: the highest time of the series, less `grace` (Quix Streams' default);
* `partition`: the highest time of all series, less `grace` (Quix Streams' other strategy, without its defects);
* `watermark`: the same, and a window is closed when the watermark has reached its last instant, that is its end
  less the `resolution` of time stamps, 1 ms (Flink SQL).

A reading is judged by the watermark as it was before it.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from agent.core.series import Field, SeriesState, State, Stateful
from sensors.batch import Ints

Closing = Literal["key", "partition", "watermark"]
NEVER = -(2**62)


def _sooner(mine: int, theirs: int) -> int:
    """The earlier of two times, of which `NEVER` is none."""
    return max(mine, theirs) if NEVER in (mine, theirs) else min(mine, theirs)


class Watermark(Stateful):
    """The watermark of every series, or one for all.

    Args:
        closing: what it follows.
        grace: allowed lateness, ns.
        resolution: of time stamps, ns; for `watermark` only.
        idle: silence after which time is taken to go on with the host's clock, ns; None for never.
    """

    remembers: ClassVar = {"": "_times"}
    shared: ClassVar = {"due": ("_due", _sooner), "now": ("_now", max)}

    def __init__(self, closing: Closing, grace: int, resolution: int, idle: int | None) -> None:
        self.per_series = closing == "key"
        self.lag = grace - (resolution if closing == "watermark" else 0)
        self.idle = idle
        times = {name: Field(np.int64, NEVER) for name in ("at", "latest", "seen")}
        self._times = SeriesState(**times) if self.per_series else _SharedTimes(**times)
        self._due = NEVER
        self._now = NEVER

    @property
    def at(self) -> Ints:
        """`(series,)` watermark of each series, or `(1,)` of all, ns."""
        return self._times.arrays["at"]

    @property
    def latest(self) -> Ints:
        """Highest event time observed, as `at`; for the idle time-out."""
        return self._times.arrays["latest"]

    @property
    def seen(self) -> Ints:
        """Host time of that observation, as `at`."""
        return self._times.arrays["seen"]

    @property
    def series(self) -> int:
        return self._times.series

    def grow(self, size: int) -> None:  # as derived, without its loop: called with each block
        self._times.grow(size)

    def observe(self, keys: Ints, latest: Ints, now: int) -> None:
        """Note the highest event time of these series (0 for all), seen at host time `now`; for the idle time-out."""
        if self.idle is not None:
            self.latest[keys] = np.maximum(self.latest[keys], latest)
            self.seen[keys] = now
            self._due = min(self._due, now + self.idle) if self._due != NEVER else now + self.idle

    def tick(self, now: int) -> tuple[Ints, Ints] | None:
        """Let time go on for those silent longer than `idle`: which they are, and their new watermarks."""
        if self.idle is None or now <= self._now:
            return None
        self._now = now
        if self._due == NEVER or now <= self._due:
            return None
        silent = now - self.seen - self.idle
        ahead = np.where(self.seen != NEVER, self.latest - self.lag + silent, NEVER)
        keys = np.flatnonzero((silent > 0) & (ahead > self.at) & (self.seen != NEVER))
        waiting = self.seen[self.seen != NEVER]
        self._due = max(int(waiting.min()) + self.idle, now) if len(waiting) else NEVER
        return (keys, ahead[keys]) if len(keys) else None

    def deactivate(self, keys: Ints) -> None:
        """These have nothing left to close: the clock leaves them alone until the next reading."""
        self.seen[keys] = NEVER

    def on_clock_step(self, to: int, series: int) -> Ints:
        """Of `series` series, those whose watermark lies after `to`: the clock was wrong, they start anew."""
        if self.per_series:
            return np.flatnonzero(self.at > to)
        if self.at[0] <= to:
            return np.zeros(0, np.int64)
        self.at[:] = self.latest[:] = self.seen[:] = NEVER
        return np.arange(series)


class _SharedTimes(SeriesState):
    """Times that all series share, arrays of one element: of two, the later one holds."""

    shared: ClassVar = {name: (name, np.maximum) for name in ("at", "latest", "seen")}

    def __init__(self, **fields: Field) -> None:
        super().__init__(**fields)
        self._series = 1
        self.arrays = {name: np.full(1, NEVER, np.int64) for name in fields}

    @property
    def series(self) -> int:
        return 0

    @property
    def bytes_a_series(self) -> int:
        return 0

    def grow(self, size: int) -> None:
        """One element is enough for all."""

    def evict(self, keys: Ints) -> None:
        """Time has come as far without them."""

    def extract(self, keys: Ints) -> State:
        return self.snapshot()

    def restore(self, state: State) -> None:
        for name, array in self._checked(state).items():
            self.arrays[name][:] = array.max(initial=NEVER)  # one that had not begun was saved without an element

    def restore_shared(self, state: State) -> None:
        self.restore(state)

    def merge(self, keys: Ints, state: State) -> None:
        for name, array in self._checked(state).items():
            np.maximum(self.arrays[name], array, out=self.arrays[name])
