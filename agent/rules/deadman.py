"""A machine that has gone silent, by the clock."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from agent.alerts.alert import Severity
from agent.core.rows import Rows
from agent.core.series import Arrays, Field, SeriesState, State
from agent.rules import Rule, Transition, Verdict
from agent.rules.lifecycle import Lifecycle
from sensors.units import Duration

NEVER = Duration(0)


class _LastRows(SeriesState):
    """As saved by releases that did not know of `set_back`, too."""

    def _checked(self, state: State) -> Arrays:
        return super()._checked({"set_back": np.zeros(len(state["last"]), np.bool_), **state})


@dataclass
class Deadman(Rule):
    """Raises when no row of a series has come for `after`, by the clock; resolves with the next row.

    A series is watched from its first row on. That something arrives does not mean that something was measured: a
    reading of the same time as the last is none, and only a newer one ends a silence. The value of an alert is the
    silence in seconds.

    Attributes:
        after: how long a silence is too long.
        on: window or detector whose rows are missed; empty = readings.
        by: columns of the grouping.
        metric: only rows with a value in this column count; empty = all.
        inhibits: alerts of other rules about a machine that is silent carry the flag `inhibited`.
        cooldown, every, flap_changes, flap_within: as in `Threshold`.
    """

    after: Duration
    _: KW_ONLY
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    metric: str = ""
    signal: str = "silence"
    severity: Severity = "critical"
    inhibits: bool = True
    cooldown: Duration = NEVER
    every: Duration = NEVER
    flap_changes: int = 0
    flap_within: Duration = NEVER

    type = "deadman"
    means_offline = True
    unit = "s"
    clear_limit = "a row comes"
    remembers: ClassVar = {"life": "life", "": "_state"}
    shared: ClassVar = {"now": ("_now", max)}

    def __post_init__(self) -> None:
        if self.after <= 0:
            raise ValueError("after: a silence must be longer than 0")
        self.life: Lifecycle = Lifecycle(
            cooldown=self.cooldown,
            every=self.every,
            flap_changes=self.flap_changes,
            flap_within=self.flap_within,
            severities=(self.severity,),
        )
        self._now = -(2**62)
        self._state = _LastRows(
            seen=Field(np.int64, -1),  # host time of the last row, -1 = not watched
            last=Field(np.int64),  # event time of the last row
            set_back=Field(np.bool_),  # the clock was set back to before `last`: no time is older than it by itself
        )

    @property
    def raise_limit(self) -> str:
        """The condition in words."""
        return f"no row for {self.after}"

    @property
    def limit(self) -> str:
        """For people."""
        return f">= {self.after.seconds:g} s"

    def process(self, rows: Rows) -> Verdict:
        found = self._silent(rows.now)
        rows = rows.present(self.metric) if self.metric else rows
        if len(rows) and rows.key.min() < 0:
            rows = rows.take(rows.key >= 0)
        if len(rows) == 0:
            return Verdict(found)
        self._state.grow(int(rows.key.max()) + 1)
        last, seen, set_back = (self._state[name] for name in ("last", "seen", "set_back"))
        silent = np.isin(rows.key, self.life.firing())
        before = last[rows.key]
        news = np.where(silent & ~set_back[rows.key], rows.end > before, rows.end != before)
        news |= (rows.start < rows.end) | (seen[rows.key] < 0)  # a window is no reading that came again
        if not news.all():
            alive = np.isin(rows.key, rows.key[news])
            rows, silent = rows.take(alive), (silent & news)[alive]
        seen[rows.key] = rows.now
        last[rows.key] = rows.end
        set_back[rows.key] = False
        back = rows.take(silent)
        found += self.life.process(back, np.full(len(back), -1), np.zeros(len(back)))
        return Verdict(found)

    def on_clock_step(self, to: int) -> None:
        super().on_clock_step(to)
        later = np.flatnonzero(self._state["last"] > to)
        self.touch(later)
        self._state["set_back"][later] = True

    def _silent(self, now: int) -> list[Transition]:
        """What the clock brings about, once for each time it moves."""
        if now <= self._now:
            return []
        self._now = now
        seen = self._state["seen"]
        silent = (seen >= 0) & (now - seen >= self.after)
        silent[self.life.firing()] = False
        keys = np.flatnonzero(silent)
        if len(keys) == 0:
            return self.life.tick(now)
        self.touch(keys)
        start = self._state["last"][keys]
        at = np.full(len(keys), -1)
        rows = Rows(keys, start, start + int(self.after), at, {}, now)
        return self.life.process(rows, np.ones(len(keys), np.int64), (now - seen[keys]) / 1e9)
