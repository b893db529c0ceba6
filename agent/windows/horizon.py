"""How far time has come: which windows are closed when a reading arrives, and after it.

The horizon is a point in event time: a window that ends at or before it is closed. It follows

* `key`: the highest time of the series, less `grace` (Quix Streams' default);
* `partition`: the highest time of all series, less `grace` (Quix Streams' other strategy, without its defects);
* `watermark`: the same, and a window is closed when the watermark has reached its last instant, that is its end
  less the `resolution` of time stamps, 1 ms (Flink SQL).

A reading is judged by the horizon as it was before it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from agent.rows import State
from sensors.batch import Ints

Closing = Literal["key", "partition", "watermark"]
NEVER = -(2**62)


class Horizon:
    """The horizon of every series, or one for all.

    Args:
        closing: what it follows.
        grace: allowed lateness, ns.
        resolution: of time stamps, ns; for `watermark` only.
        idle: silence after which time is taken to go on with the host's clock, ns; None for never.
    """

    def __init__(self, closing: Closing, grace: int, resolution: int, idle: int | None) -> None:
        self.each = closing == "key"
        self.lag = grace - (resolution if closing == "watermark" else 0)
        self.idle = idle
        self.at: Ints = np.full(0 if self.each else 1, NEVER, np.int64)
        self.latest: Ints = self.at.copy()
        self.seen: Ints = self.at.copy()
        self._due = NEVER
        self._now = NEVER

    def grow(self, series: int) -> None:
        """Make room for so many series."""
        if self.each and series > len(self.at):
            more = np.full(max(series, 2 * len(self.at), 8) - len(self.at), NEVER, np.int64)
            self.at = np.concatenate((self.at, more))
            self.latest = np.concatenate((self.latest, more))
            self.seen = np.concatenate((self.seen, more))

    def heard(self, who: Ints, latest: Ints, now: int) -> None:
        """Remember that these series (0 for all) were heard of at host time `now`; for the idle time-out."""
        if self.idle is not None:
            self.latest[who] = np.maximum(self.latest[who], latest)
            self.seen[who] = now
            self._due = min(self._due, now + self.idle) if self._due != NEVER else now + self.idle

    def clock(self, now: int) -> tuple[Ints, Ints] | None:
        """Let time go on for those silent longer than `idle`: who they are, and their new horizons."""
        if self.idle is None or now <= self._now:
            return None
        self._now = now
        if self._due == NEVER or now <= self._due:
            return None
        silent = now - self.seen - self.idle
        ahead = np.where(self.seen != NEVER, self.latest - self.lag + silent, NEVER)
        who = np.flatnonzero((silent > 0) & (ahead > self.at) & (self.seen != NEVER))
        waiting = self.seen[self.seen != NEVER]
        self._due = max(int(waiting.min()) + self.idle, now) if len(waiting) else NEVER
        return (who, ahead[who]) if len(who) else None

    def rest(self, who: Ints) -> None:
        """These have nothing left to close: the clock need not look at them until they are heard of again."""
        self.seen[who] = NEVER

    def evict(self, keys: Ints) -> None:
        """Start anew for these series."""
        if self.each:
            keys = keys[keys < len(self.at)]
            self.at[keys] = self.latest[keys] = self.seen[keys] = NEVER

    def on_clock_step(self, to: int, series: int) -> Ints:
        """Of `series` series, those whose horizon lies after `to`: the clock was wrong, they start anew."""
        if self.each:
            return np.flatnonzero(self.at > to)
        if self.at[0] <= to:
            return np.zeros(0, np.int64)
        self.at[:] = self.latest[:] = self.seen[:] = NEVER
        return np.arange(series)

    def snapshot(self) -> State:
        used = np.flatnonzero(self.at > NEVER)
        some = used[-1] + 1 if len(used) else 0
        return {
            "at": self.at[:some].copy(),
            "latest": self.latest[:some].copy(),
            "seen": self.seen[:some].copy(),
            "due": self._due,
            "now": self._now,
        }

    def restore(self, state: State) -> None:
        self.at = np.array(state["at"], np.int64)
        self.latest = np.array(state["latest"], np.int64)
        self.seen = np.array(state["seen"], np.int64)
        if not self.each and len(self.at) == 0:
            self.at = self.latest = self.seen = np.full(1, NEVER, np.int64)
            self.latest, self.seen = self.at.copy(), self.at.copy()
        self._due, self._now = int(state["due"]), int(state["now"])
