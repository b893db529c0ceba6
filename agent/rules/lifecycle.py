"""The life of an incident, the same for every kind of rule, for all series at once.

    inactive -> pending -> firing -> clearing -> resolved (inactive)

A rule gives each row a direction: up (the condition holds), down (it is clear) or neither. Rows of one direction make
a *run*. A run up that has lasted `for_` raises, a run down that has lasted `hold` resolves; shorter ones change
nothing. So at most two rows of a run matter, its first and the one that completes it; these are found for all series
with a few NumPy calls, and Python only sees what becomes a transition.

Invariants: between two raises of a series lies a resolve; an incident keeps its number and start from raise to
resolve; what is silent is never resolved by silence (`no_data` freezes it).

Times are event times. The clock completes what a silent series leaves open: event time is taken to go on from the
last row as the clock does. It does so only after a silence as long as `for_` or `hold` itself, so that a row on its
way, which may be the opposite, is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Any, ClassVar

import numpy as np

from agent.alerts.alert import Change, Flag, Severity
from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState, State, Stateful
from agent.rules.row_evidence import RowEvidence, evidence_of, loaded
from agent.rules.runs import Runs
from agent.rules.transition import Transition
from sensors.batch import Floats, Ints

_NEVER = -(2**62)
_FOREVER = 2**62
_COLUMNS: dict[str, Field] = {
    "up": Field(np.bool_),  # direction of the present run
    "since": Field(np.int64),  # event time at which it began
    "firing": Field(np.bool_),
    "started": Field(np.int64),  # of the incident: event time of the first row for which the condition held
    "incident": Field(np.int64),
    "level": Field(np.int64),
    "resolved": Field(np.int64, _NEVER),  # event time of the last resolve
    "silent": Field(np.bool_),  # frozen for want of data
    "acked": Field(np.bool_),
    "flapping": Field(np.bool_),
    "repeat": Field(np.int64),
    "sent": Field(np.int64),  # host time of the last transition
    "seen": Field(np.int64),  # host time of the last row
    "start": Field(np.int64),  # of the last row, as are `end` and `value`
    "end": Field(np.int64),
    "value": Field(np.float64, np.nan),
}


@dataclass
class Lifecycle(Stateful):
    """State machines of one rule, one a series.

    Attributes:
        for_: a run up must last so long to raise.
        hold: a run down must last so long to resolve.
        cooldown: after a resolve the next raise waits so long.
        every: a firing incident is sent again so often, by the clock; 0 = never.
        no_data: a firing incident whose series is silent so long, by the clock, becomes `no_data`; 0 = never.
        flap_changes, flap_within: this many raises within this time make a series `flapping`: it then resolves only
            after so long a time without a crossing. 0 = never.
        severities: of each level, lowest first.
    """

    for_: int = 0
    hold: int = 0
    cooldown: int = 0
    every: int = 0
    no_data: int = 0
    flap_changes: int = 0
    flap_within: int = 0
    severities: tuple[Severity, ...] = ("warning",)

    remembers: ClassVar = {"": "_state", "said": "_evidence"}
    shared: ClassVar = {"now": ("_now", max)}

    def __post_init__(self) -> None:
        self._now = _NEVER
        self._due = _NEVER  # before this time the clock completes nothing; a lower bound
        self._state = SeriesState(**_COLUMNS, raises=Field(np.int64, _NEVER, (self.flap_changes,)))
        self._evidence = RowEvidence()

    def process(self, rows: Rows, direction: Ints, value: Floats, level: Ints | None = None) -> list[Transition]:
        """Move the clock to `rows.now`, then judge the rows.

        Args:
            rows: only rows about which something is known.
            direction: `(n,)`, 1 where the condition holds, -1 where it is clear, 0 where the series stays as it is.
            value: `(n,)`, what an alert carries.
            level: `(n,)` index of the severity of a row of direction up; None = 0.

        Returns:
            Transitions in the order of the clock and the rows.
        """
        found = self.tick(rows.now)
        if len(rows) == 0:
            return found
        self._state.grow(int(rows.key.max()) + 1)
        if level is not None:
            level = np.where(direction > 0, level, 0)
        if self._steady(rows, direction, value, level):
            return found
        runs = Runs.of(Grouping.of(rows), rows.end, direction, self._state["up"], self._state["since"])
        changes = self._woken(rows, runs, value)
        changes += self._crossings(rows, runs, value, level)
        changes.sort(key=lambda item: item[0])  # stable: the order within a row stays
        self._remember(rows, runs, value, level)
        self._due = min(self._due, self._next_due(runs.key[runs.last_of_key]))
        return found + [change for _, change in changes]

    def _steady(self, rows: Rows, direction: Ints, value: Floats, level: Ints | None) -> bool:
        """Whether no row changes anything: what is quiet stays quiet, what fires goes on firing."""
        of, key = self._state.arrays, rows.key
        up, firing = of["up"][key], of["firing"][key]
        goes_on = up & firing & (direction >= 0) & ~of["silent"][key]
        if level is not None:
            goes_on &= level <= of["level"][key]
        if not (goes_on | ~(up | firing | (direction > 0))).all():
            return False
        if goes_on.any():  # of several rows of a series the last one stays
            of["seen"][key] = rows.now
            of["start"][key], of["end"][key], of["value"][key] = rows.start, rows.end, value
        return True

    def tick(self, now: int) -> list[Transition]:
        """What the passing of time completes: raises, resolves, silence and reminders."""
        if now <= self._now:
            return []
        self._now = now
        if now < self._due:
            return []
        of = self._state.arrays
        if not (of["up"] | of["firing"]).any():
            self._due = _FOREVER
            return []
        silence = now - of["seen"]
        reached = of["end"] + silence
        awake = ~of["silent"]
        rise = self._raise_time(of["since"], of["resolved"])
        pending = of["up"] & ~of["firing"] & awake & (reached >= rise) & (silence >= self.for_)
        due = [(int(rise[key]), key, Change.RAISED) for key in np.flatnonzero(pending).tolist()]
        fall = of["since"] + np.where(of["flapping"], max(self.hold, self.flap_within), self.hold)
        clearing = of["firing"] & ~of["up"] & awake & (reached >= fall) & (silence >= self.hold)
        if self.no_data:
            quiet = of["firing"] & awake & (silence >= self.no_data)
            clearing &= ~quiet | (fall <= of["end"] + self.no_data)
            quiet &= ~clearing
            due += [
                (int(of["end"][key]) + self.no_data, key, Change.NO_DATA) for key in np.flatnonzero(quiet).tolist()
            ]
            awake &= ~quiet
        due += [(int(fall[key]), key, Change.RESOLVED) for key in np.flatnonzero(clearing).tolist()]
        if self.every:
            again = of["firing"] & awake & ~clearing & ~of["acked"] & (now - of["sent"] >= self.every)
            due += [(int(of["end"][key]), key, Change.UPDATED) for key in np.flatnonzero(again).tolist()]
        if due:
            self.touch(np.array([key for _, key, _ in due]))
        made = [self._by_clock(change, key, time) for time, key, change in sorted(due)]
        self._due = self._next_due(np.flatnonzero(of["up"] | of["firing"]))
        return made

    def _next_due(self, keys: Ints) -> int:
        """Host time at which the clock completes something for one of these series; the conditions are `tick`'s."""
        of = self._state.arrays
        keys = keys[(of["up"][keys] | of["firing"][keys]) & ~of["silent"][keys]]
        if len(keys) == 0:
            return _FOREVER
        seen, end, since = of["seen"][keys], of["end"][keys], of["since"][keys]
        up, firing = of["up"][keys], of["firing"][keys]
        rise = self._raise_time(since, of["resolved"][keys])
        fall = since + np.where(of["flapping"][keys], max(self.hold, self.flap_within), self.hold)
        due = np.where(up & ~firing, np.maximum(rise - end, self.for_) + seen, _FOREVER)
        due = np.where(firing & ~up, np.minimum(due, np.maximum(fall - end, self.hold) + seen), due)
        if self.no_data:
            due = np.where(firing, np.minimum(due, seen + self.no_data), due)
        if self.every:
            due = np.where(firing & ~of["acked"][keys], np.minimum(due, of["sent"][keys] + self.every), due)
        return int(due.min())

    def acknowledge(self, key: int, note: str = "") -> list[Transition]:
        """Somebody has seen the incident of this series; nothing if it does not fire or is acknowledged already."""
        if key >= len(self._state) or not self._state["firing"][key] or self._state["acked"][key]:
            return []
        self.touch(np.array([key]))
        self._state["acked"][key] = True
        event = self._transition(Change.ACKED, key, -1, int(self._state["end"][key]), *self._last(key))
        return [replace(event, note=note, **self._evidence.evidence(key))]

    def renotify(self, change: Change, key: int, note: str = "") -> Transition:
        """Send an incident that fires once more: it is silenced, or a silence has ended."""
        self.touch(np.array([key]))
        self._state["repeat"][key] += 1
        event = self._transition(change, key, -1, int(self._state["end"][key]), *self._last(key))
        return replace(event, note=note, **self._evidence.evidence(key))

    def firing(self) -> Ints:
        """Keys of the series that fire."""
        return np.flatnonzero(self._state["firing"])

    def incident(self, key: int) -> State:
        """What is remembered of one series, plain JSON; `adopt` goes on from it."""
        of = self._state.arrays
        columns = {name: of[name].item(key) for name in _COLUMNS}
        return {"raises": of["raises"][key].tolist(), "said": self._evidence.of(key), **columns}

    def adopt(self, key: int, saved: State) -> None:
        """Go on with one series as `incident` had it; the clock goes on from the latest."""
        self.touch(np.array([key]))
        self._state.grow(key + 1)
        for name in _COLUMNS:
            self._state[name][key] = saved[name]
        if len(saved["raises"]) == self.flap_changes:
            self._state["raises"][key] = saved["raises"]
        self._evidence.drop(key)
        if saved.get("said"):
            self._evidence.keep(key, loaded(saved["said"]))
        self._now, self._due = max(self._now, int(saved["sent"])), _NEVER

    def on_clock_step(self, to: int) -> None:
        """The clock was set back to `to`: nothing that was seen lies after it. Ids stay, so does `started`."""
        times = [self._state[name] for name in ("since", "resolved", "start", "end")]
        self.touch(np.flatnonzero(np.any([time > to for time in times], axis=0)))
        for time in times:
            np.minimum(time, to, out=time)

    def restore(self, state: State) -> None:
        super().restore(self._upgraded(state))
        self._due = _NEVER

    def merge(self, keys: Ints, state: State) -> None:
        super().merge(keys, self._upgraded(state))
        self._due = _NEVER

    def _upgraded(self, state: State) -> State:
        """As it is saved today; before 2026 no evidence was kept."""
        level = np.asarray(state["level"])
        if level.size and not 0 <= level.min() <= level.max() < len(self.severities):
            raise ValueError(f"incidents of a severity beyond the {len(self.severities)} of this rule")
        return {"said": {}, **state}

    def _crossings(self, rows: Rows, runs: Runs, value: Floats, level: Ints | None) -> list[tuple[int, Transition]]:
        """Raises, resolves and escalations, each with its row."""
        of = self._state.arrays
        wait = np.where(runs.up, self.for_, self.hold)
        complete = runs.first_reaching(runs.begun + wait)
        interesting = complete >= 0
        if not (self.cooldown or self.flap_changes):  # then whatever completes and turns the series, counts
            before = runs.previous(interesting, runs.up, of["firing"])
            interesting = interesting & (before != runs.up)
        points = [(int(complete[run]), 0, run) for run in np.flatnonzero(interesting).tolist()]
        if level is not None:
            points += [(position, 1, run) for position, run in runs.rises(level)]
        heapify(points)
        found: list[tuple[int, Transition]] = []
        while points:
            position, kind, run = heappop(points)
            key = int(runs.key[run])
            if kind == 1:
                row = int(runs.order[position])
                reached = int(level[row]) if level is not None else 0
                if of["firing"][key] and reached > of["level"][key]:
                    of["level"][key] = reached
                    found.append((row, self._by_row(Change.ESCALATED, key, row, rows, value)))
            elif runs.up[run] != of["firing"][key]:
                later = self._postponed(runs, run, position, key)
                if later != position:
                    if later >= 0:
                        heappush(points, (later, 0, run))
                    continue
                row = int(runs.order[position])
                if runs.up[run]:
                    self._begin(
                        key, int(runs.begun[run]), int(rows.end[row]), 0 if level is None else int(level[row])
                    )
                    found.append((row, self._by_row(Change.RAISED, key, row, rows, value)))
                else:
                    found.append((row, self._by_row(Change.RESOLVED, key, row, rows, value)))
                    self._end(key, int(rows.end[row]))
        return found

    def _postponed(self, runs: Runs, run: int, position: int, key: int) -> int:
        """The row of the run that satisfies cooldown or the longer hold of a flapping series; -1 if none does."""
        begun = int(runs.begun[run])
        rise = int(self._raise_time(begun, int(self._state["resolved"][key])))
        return runs.reaching(run, position, rise if runs.up[run] else begun + self._hold(key))

    def _raise_time(self, since: Any, resolved: Any) -> Any:
        return np.maximum(since + self.for_, resolved + self.cooldown) if self.cooldown else since + self.for_

    def _hold(self, key: int) -> int:
        return max(self.hold, self.flap_within) if self._state["flapping"][key] else self.hold

    def _begin(self, key: int, started: int, time: int, level: int) -> None:
        of = self._state.arrays
        of["firing"][key], of["started"][key], of["level"][key] = True, started, level
        of["incident"][key] += 1
        of["repeat"][key] = 0
        if self.flap_changes:
            raises = of["raises"]
            if time - raises[key, 0] < self.flap_within:
                of["flapping"][key] = True
            raises[key] = [*raises[key, 1:], time]

    def _end(self, key: int, time: int) -> None:
        for name in ("firing", "acked", "flapping", "silent"):
            self._state[name][key] = False
        self._evidence.drop(key)
        self._state["resolved"][key] = time

    def _woken(self, rows: Rows, runs: Runs, value: Floats) -> list[tuple[int, Transition]]:
        """Silent series that have data again: an incident goes on where it was."""
        found = []
        for run in np.flatnonzero(runs.first_of_key & self._state["silent"][runs.key]).tolist():
            key, row = int(runs.key[run]), int(runs.order[runs.begin[run]])
            self._state["silent"][key] = False
            self._state["repeat"][key] += 1
            found.append((row, self._by_row(Change.UPDATED, key, row, rows, value)))
        return found

    def _remember(self, rows: Rows, runs: Runs, value: Floats, level: Ints | None) -> None:
        """Keep the last run and the last row of each series."""
        last = runs.last_of_key
        keys, row = runs.key[last], runs.order[runs.stop[last] - 1]
        of = self._state.arrays
        of["up"][keys], of["since"][keys] = runs.up[last], runs.begun[last]
        of["seen"][keys] = rows.now
        if level is not None:  # the clock may raise what is pending
            pending = ~of["firing"][keys]
            of["level"][keys[pending]] = level[row[pending]]
        of["start"][keys], of["end"][keys], of["value"][keys] = rows.start[row], rows.end[row], value[row]
        pending = of["up"][keys] & ~of["firing"][keys]
        self._evidence.keep_rows(rows, keys[pending], row[pending])
        self._evidence.drop_unless(of["up"] | of["firing"])

    def _by_row(self, change: Change, key: int, row: int, rows: Rows, value: Floats) -> Transition:
        start, end = int(rows.start[row]), int(rows.end[row])
        transition = self._transition(change, key, int(rows.at[row]), end, float(value[row]), start, end)
        evidence = evidence_of(rows, row)
        if change is Change.RAISED:
            self._evidence.keep(key, evidence)
        return replace(transition, **evidence)

    def _by_clock(self, change: Change, key: int, time: int) -> Transition:
        of = self._state.arrays
        match change:
            case Change.RAISED:
                self._begin(key, int(of["since"][key]), time, int(of["level"][key]))
            case Change.NO_DATA:
                of["silent"][key] = True
            case Change.UPDATED:
                of["repeat"][key] += 1
        transition = self._transition(change, key, -1, time, *self._last(key))
        evidence = self._evidence.of(key) if change is Change.RAISED else self._evidence.evidence(key)
        transition = replace(transition, **evidence)
        if change is Change.RESOLVED:
            self._end(key, time)
        return transition

    def _last(self, key: int) -> tuple[float, int, int]:
        of = self._state.arrays
        return float(of["value"][key]), int(of["start"][key]), int(of["end"][key])

    def _transition(
        self, change: Change, key: int, at: int, time: int, value: float, start: int, end: int
    ) -> Transition:
        of = self._state.arrays
        of["sent"][key] = self._now
        flags: list[Flag] = []
        if of["acked"][key]:
            flags.append("acked")
        if of["flapping"][key]:
            flags.append("flapping")
        return Transition(
            key=key,
            at=at,
            change=change,
            severity=self.severities[int(of["level"][key])],
            value=value,
            start=start,
            end=end,
            time=time,
            started_at=int(of["started"][key]),
            incident=int(of["incident"][key]),
            ended_at=time if change is Change.RESOLVED else None,
            repeat=int(of["repeat"][key]),
            flags=tuple(flags),
        )
