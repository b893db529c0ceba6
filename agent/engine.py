"""Deciding as a plain function: a batch in, decisions out; no I/O, no clock, no await, no randomness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from agent.alerts import Alert, Change, Identity, machine_of
from agent.control import COMMANDS, Command, Reply, Silence, Silences, commands_of, matches
from agent.keys import KeyTable, Name
from agent.rows import Operator, Rows, State, no_rows
from agent.rules import Rule, Transition, Verdict
from agent.rules.naming import alert, label
from sensors.batch import Batch, Ints


@dataclass(frozen=True, slots=True)
class Decisions:
    """What one batch led to.

    Attributes:
        alerts: transitions of incidents, in order of decision.
        raw: rule name -> rows above the limit, of rules in raw mode (one message a row).
        results: name of a window or detector -> its rows, for whoever looks on.
        incidents: (rule, series) -> what is remembered of an incident that changed; plain JSON. Kept beside the
            alerts until the next check-point, it is what `Engine.adopt` takes after a crash.
        silences: all silences in force, if they changed; plain JSON, kept likewise.
        replies: what came of commands.
    """

    alerts: list[Alert] = field(default_factory=list)
    raw: Mapping[str, Rows] = field(default_factory=dict)
    results: Mapping[str, Rows] = field(default_factory=dict)
    incidents: Mapping[tuple[str, Name], State] = field(default_factory=dict)
    silences: State | None = None
    replies: list[Reply] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps the engine bounded.

    Attributes:
        series: most series a grouping keeps; further ones are refused and counted.
        ahead: readings whose time is further than this ahead of the host clock are refused and counted, so that
            one wild time stamp cannot silence a machine; None trusts every time.
        idle: series not seen for so long are forgotten; None keeps them.
    """

    series: int = 100_000
    ahead: int | None = None
    idle: int | None = None


class Step(Operator, Protocol):
    """A window or detector as the engine sees it."""

    on: str
    by: tuple[str, ...]


@dataclass(slots=True)
class Counts:
    """What the engine has seen since it was made."""

    readings: int = 0
    refused_future: int = 0
    refused_negative: int = 0
    alerts: int = 0


class Engine:
    """Windows, detectors and rules over one stream.

    Args:
        steps: windows and detectors by name; `on` names the step or source they read, empty means all readings.
        rules: by name; `on` as above.
        identity: who signs the alerts.
        limits: bounds.

    Raises:
        ValueError: if an `on` names nothing, or a step reads itself; the message names it.
    """

    def __init__(
        self,
        steps: Mapping[str, Step],
        rules: Mapping[str, Rule],
        identity: Identity,
        limits: Limits = Limits(),
        sources: Iterable[str] = (),
    ) -> None:
        self.steps = dict(steps)
        self.rules = dict(rules)
        self.identity = identity
        self.limits = limits
        self.counts = Counts()
        self.now = 0
        self._steps_total = 0  # sum of the clock steps so far, ns
        self._sequence = 0
        self._swept = 0
        self.silences = Silences()
        self._sources = sources = set(sources)
        self._order = _ordered(self.steps, sources)
        self.tables: dict[tuple[str, ...], KeyTable] = {}
        self._table_of: dict[str, KeyTable] = {}
        for name in (*self._order, *self.rules):
            part: Step | Rule = self.steps[name] if name in self.steps else self.rules[name]
            if name in self.rules and part.on and part.on not in self.steps and part.on not in sources:
                raise ValueError(_unknown(f"rule.{name}", part.on, [*self.steps, *sources]))
            self._table_of[name] = self._table(part)
        self.labels = {
            name: replace(label(name, rule, self._signal(rule)), by=self._table_of[name].by)
            for name, rule in self.rules.items()
        }

    def _table(self, part: Step | Rule) -> KeyTable:
        if part.on in self.steps:
            return self._table_of[part.on]
        return self.tables.setdefault(part.by, KeyTable(by=part.by, cap=self.limits.series))

    def process(self, batch: Batch) -> Decisions:
        """Decide on the batch; the time is what the batch says."""
        self._steps_total += batch.clock_step
        self.now = max(self.now, batch.read_at - self._steps_total)
        self._forget_idle()
        if batch.source == COMMANDS:
            return self._obey(batch)
        batch = self._credible(batch)
        self.counts.readings += len(batch)
        at = np.arange(len(batch), dtype=np.int64)
        readings = {by: self._readings(table, batch, at) for by, table in self.tables.items()}
        results: dict[str, Rows] = {}
        for name in self._order:
            results[name] = self.steps[name].process(self._input(self.steps[name], batch, readings, results))
        ended = self.silences.ended(self.now)
        found = [item for silence in ended for item in self._told(silence, Change.UPDATED, "the silence is over")]
        raw: dict[str, Rows] = {}
        for number, (name, rule) in enumerate(self.rules.items()):
            verdict = rule.process(self._input(rule, batch, readings, results))
            if verdict.raw is not None and len(verdict.raw):
                raw[name] = verdict.raw
            found += [(change.at, number, change) for change in verdict.transitions]
        alerts = self._alerts(found, batch.read_at)
        return Decisions(alerts, raw, results, self._incidents(found), self.silences.state() if ended else None)

    def _obey(self, batch: Batch) -> Decisions:
        """Do what the rows of commands say."""
        found: list[tuple[int, int, Transition]] = []
        replies: list[Reply] = []
        changed = False
        for command in commands_of(batch):
            error, count, told = command.wrong(), 0, len(found)
            if not error and command.verb == "ack":
                found += self._told(command, Change.ACKED, command.note)
                count = len(found) - told
            elif not error and command.verb == "silence":
                error = self.silences.add(command, self.now)
                found += [] if error else self._told(command, Change.SILENCED, command.note)
                count, changed = int(not error), True
            elif not error:
                silence = self.silences.by_id.pop(command.id, None)
                error = "" if silence else f"there is no silence {command.id}"
                found += self._told(silence, Change.UPDATED, "the silence is over") if silence else []
                count, changed = int(silence is not None), True
            replies.append(Reply(command.id, command.verb, count, error))
        alerts = self._alerts(found, batch.read_at)
        silences = self.silences.state() if changed else None
        return Decisions(alerts, incidents=self._incidents(found), silences=silences, replies=replies)

    def _told(self, meant: Command | Silence, change: Change, note: str) -> list[tuple[int, int, Transition]]:
        """Tell the incidents that fire and are meant; an acknowledged one is not acknowledged again."""
        found: list[tuple[int, int, Transition]] = []
        for number, (name, rule) in enumerate(self.rules.items()):
            if rule.life is None:
                continue
            for key in rule.life.firing().tolist():
                if matches(meant, self.labels[name], self._table_of[name].name(key)):
                    changes = [rule.life.tell(change, key, note)] if change is not Change.ACKED else []
                    changes = changes or rule.life.acknowledge(key, note)
                    found += [(-1, number, item) for item in changes]
        return found

    def finish(self) -> Decisions:
        """The input has ended: what is open closes, as if time went on for ever. Only for streams that do end."""
        results: dict[str, Rows] = {}
        for name in self._order:
            step = self.steps[name]
            rows = step.process(results.get(step.on, no_rows(self.now)))
            ending: Callable[[int], Rows] | None = getattr(step, "finish", None)
            results[name] = rows if ending is None else rows.then(ending(self.now))
        found: list[tuple[int, int, Transition]] = []
        raw: dict[str, Rows] = {}
        for number, (name, rule) in enumerate(self.rules.items()):
            verdicts = [rule.process(results.get(rule.on, no_rows(self.now)))]
            closing: Callable[[int], Verdict] | None = getattr(rule, "finish", None)
            if closing is not None:
                verdicts.append(closing(self.now))
            for verdict in verdicts:
                if verdict.raw is not None and len(verdict.raw):
                    raw[name] = raw[name].then(verdict.raw) if name in raw else verdict.raw
                found += [(change.at, number, change) for change in verdict.transitions]
        return Decisions(self._alerts(found, self.now), raw, results, self._incidents(found))

    def _readings(self, table: KeyTable, batch: Batch, at: Ints) -> Rows:
        keys = table.intern(batch, self.now)
        return Rows(keys, batch.time, batch.time, at, batch.values, self.now, batch.texts)

    def _input(
        self, part: Step | Rule, batch: Batch, readings: Mapping[tuple[str, ...], Rows], results: Mapping[str, Rows]
    ) -> Rows:
        """The rows a part reads: a step's results, or the readings of all sources or of one."""
        if part.on in self.steps:
            return results[part.on]
        rows = readings[part.by]
        if part.on and part.on != batch.source:
            return rows.take(np.zeros(0, np.int64))
        return rows

    def _credible(self, batch: Batch) -> Batch:
        """The batch without rows before the epoch or too far in the future."""
        if len(batch) == 0:
            return batch
        latest = 2**62 if self.limits.ahead is None else batch.read_at + self.limits.ahead
        if int(batch.time.max()) <= latest and int(batch.time.min()) >= 0:
            return batch
        future, negative = batch.time > latest, batch.time < 0
        self.counts.refused_future += int(np.count_nonzero(future))
        self.counts.refused_negative += int(np.count_nonzero(negative))
        return batch.take(np.flatnonzero(~(future | negative)))

    def _alerts(self, found: list[tuple[int, int, Transition]], recorded: int) -> list[Alert]:
        """Transitions of all rules in order of decision, with names, ids and sequence numbers."""
        found.sort(key=lambda item: item[:2])  # stable: a rule's own order stays
        names = list(self.rules)
        alerts = []
        offline = self._offline() if found else {}
        for _, number, change in found:
            self._sequence += 1
            name = names[number]
            series = self._table_of[name].name(change.key)
            change = self._flagged(name, series, change, offline)
            alerts.append(alert(change, self.labels[name], series, self.identity, self._sequence, recorded))
        self.counts.alerts += len(alerts)
        return alerts

    def _flagged(self, name: str, series: Name, change: Transition, offline: Mapping[str, str]) -> Transition:
        """The transition with what silences and silent machines add to its flags."""
        flags = change.flags
        if self.silences.covers(self.labels[name], series):
            flags += ("silenced",)
        if offline.get(machine_of(self.labels[name].by, series), name) != name:
            flags += ("inhibited",)
        return replace(change, flags=flags) if flags != change.flags else change

    def _offline(self) -> dict[str, str]:
        """Machines whose silence inhibits their other alerts, with the rule that says so."""
        offline = {}
        for name, rule in self.rules.items():
            if rule.life is not None and getattr(rule, "inhibits", False):
                table = self._table_of[name]
                for key in rule.life.firing().tolist():
                    offline[machine_of(table.by, table.name(key))] = name
        return offline

    def _incidents(self, found: list[tuple[int, int, Transition]]) -> dict[tuple[str, Name], State]:
        names = list(self.rules)
        incidents: dict[tuple[str, Name], State] = {}
        for _, number, change in found:
            rule = names[number]
            life = self.rules[rule].life
            if life is not None:
                series = self._table_of[rule].name(change.key)
                incidents[rule, series] = {
                    "now": self.now,
                    "sequence": self._sequence,
                    "life": life.incident(change.key),
                }
        return incidents

    def go_on(self, sequence: int, now: int) -> None:
        """Number alerts from after `sequence`, and take the time to be at least `now` (engine time)."""
        self._sequence, self.now = max(self._sequence, sequence), max(self.now, now)

    def feeding(self, rule: str) -> set[str]:
        """Names of the sources whose readings a rule judges, directly or through windows and detectors."""
        on = self.rules[rule].on if rule in self.rules else ""
        while on in self.steps:
            on = self.steps[on].on
        return {on} if on else set(self._sources)

    @property
    def host_time(self) -> int:
        """Host time of what was decided last, by the clock as it was set then, ns; 0 before the first batch."""
        return self.now + self._steps_total if self.now else 0

    def adopt(self, rule: str, series: Name, saved: State) -> None:
        """Go on with an incident that is newer than the state restored; one of a rule that is gone is passed over."""
        self.go_on(int(saved["sequence"]), int(saved["now"]))
        life = self.rules[rule].life if rule in self.rules else None
        table = self._table_of.get(rule)
        if life is not None and table is not None and len(series) == len(table.by):
            key = table.row(series, self.now)
            if key >= 0:
                life.adopt(key, saved["life"])

    def _signal(self, part: Step | Rule) -> str:
        """The measured quantity behind a rule: the metric of the first step on its way that has one."""
        signal = ""
        while part.on in self.steps:
            part = self.steps[part.on]
            signal = getattr(part, "metric", "") or signal
        return signal

    def _forget_idle(self) -> None:
        """Forget series not seen for `limits.idle`; looked at each quarter of it."""
        idle = self.limits.idle
        if idle is None or self.now - self._swept < idle // 4:
            return
        self._swept = self.now
        for table in self.tables.values():
            rows = table.idle(self.now - idle)
            if len(rows) == 0:
                continue
            for name, owner in self._table_of.items():
                if owner is table:
                    (self.steps.get(name) or self.rules[name]).forget(rows)
            table.forget(rows)

    def series(self, name: str) -> KeyTable:
        """The key table of a step or rule, to turn its keys into names."""
        return self._table_of[name]

    def state(self) -> State:
        """Everything remembered; `restore` in an engine of the same configuration goes on exactly here."""
        return {
            "now": self.now,
            "steps_total": self._steps_total,
            "sequence": self._sequence,
            "swept": self._swept,
            "silences": self.silences.state(),
            "tables": [{"by": list(by), "keys": table.state()} for by, table in self.tables.items()],
            "steps": {name: step.state() for name, step in self.steps.items()},
            "rules": {name: rule.state() for name, rule in self.rules.items()},
        }

    def restore(self, state: State, only: Mapping[str, bool] | None = None) -> None:
        """Go on from `state`.

        Args:
            state: of an engine with the same groupings.
            only: name of a part -> whether its state still fits its configuration; None restores all.
        """
        self.now, self._steps_total = int(state["now"]), int(state["steps_total"])
        self._sequence, self._swept = int(state["sequence"]), int(state["swept"])
        self.silences.restore(state["silences"])
        for saved in state["tables"]:
            table = self.tables.get(tuple(saved["by"]))
            if table is not None:
                table.restore(saved["keys"])
        parts: dict[str, Any] = {**self.steps, **self.rules}
        for name, saved in {**state["steps"], **state["rules"]}.items():
            if name in parts and (only is None or only.get(name, False)):
                parts[name].restore(saved)


def _ordered(steps: Mapping[str, Step], sources: set[str]) -> list[str]:
    """Names of the steps, each after the one it reads."""
    order: list[str] = []
    for name in steps:
        chain: list[str] = []
        while name in steps and name not in order:
            if name in chain:
                raise ValueError(f"{name}: reads itself through {' -> '.join([*chain, name])}; break the circle")
            chain.append(name)
            above = steps[name].on
            if above and above not in steps and above not in sources:
                raise ValueError(_unknown(name, above, [*steps, *sources]))
            name = above
        order += reversed(chain)
    return order


def _unknown(name: str, on: str, known: Iterable[str]) -> str:
    return f'{name}: on = "{on}" names no window, detector or source; there are: {", ".join(known) or "none"}'
