"""Deciding as a plain function: a batch in, decisions out; no I/O, no clock, no await, no randomness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from agent.alerts.alert import Alert, Identity
from agent.alerts.commands import COMMANDS, SELF, Reply, commands_of
from agent.core.keys import KeyTable, Name
from agent.core.operator import EnginePart, Operator
from agent.core.rows import Rows, no_rows, unsigned_zeros
from agent.core.series import State
from agent.engine.awaited_columns import AwaitedColumns
from agent.engine.incidents import IncidentBook, Reported
from agent.engine.state import EngineState
from agent.engine.wording import label
from agent.rules import Rule, Verdict
from sensors.batch import Batch, Floats, Ints


@dataclass(frozen=True, slots=True)
class Decisions:
    """What one batch led to.

    Attributes:
        alerts: transitions of incidents, in order of decision.
        raw: rule name -> rows above the limit, of rules in raw mode (one message a row).
        results: name of a window or detector -> its rows, for observers.
        incidents: (rule, series) -> what is remembered of an incident that changed; plain JSON. Kept beside the
            alerts until the next checkpoint, it is what `Engine.adopt` takes after a crash.
        silences: all silences in force, if they changed; plain JSON, kept likewise.
        replies: to commands.
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
        max_future: readings whose time is further than this ahead of the host clock are refused and counted, so that
            one wild time stamp cannot silence a machine; None trusts every time.
        idle: series not seen for so long are evicted, unless an incident of theirs is open; None keeps them.
    """

    series: int = 100_000
    max_future: int | None = None
    idle: int | None = None


@dataclass(slots=True)
class EngineCounters:
    """What the engine has seen since it was made."""

    readings: int = 0
    refused_future: int = 0
    refused_negative: int = 0
    alerts: int = 0


class Engine(EngineState):
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
        steps: Mapping[str, Operator],
        rules: Mapping[str, Rule],
        identity: Identity,
        limits: Limits = Limits(),
        sources: Iterable[str] = (),
    ) -> None:
        self.steps = dict(steps)
        self.rules = dict(rules)
        self.identity = identity
        self.limits = limits
        self.counts = EngineCounters()
        self.now = 0
        self._steps_total = 0  # sum of the clock steps so far, ns
        self._swept = 0
        self._sources = sources = set(sources)
        self._order = _ordered(self.steps, sources)
        self.tables: dict[tuple[str, ...], KeyTable] = {}
        self._table_of: dict[str, KeyTable] = {}
        for name in (*self._order, *self.rules):
            part: EnginePart = self.steps[name] if name in self.steps else self.rules[name]
            if name in self.rules and part.on and part.on not in {*self.steps, *sources, SELF}:
                raise ValueError(_unknown(f"rule.{name}", part.on, [*self.steps, *sources]))
            table = self._table_of[name] = self._table(part)
            part.track(table.changes)
        self.labels = {
            name: replace(
                label(name, rule, self._signal(rule), self.steps.get(rule.on)), by=self._table_of[name].by
            )
            for name, rule in self.rules.items()
        }
        self.incidents = IncidentBook(identity, self.rules, self.labels, self._table_of)
        self.awaited = AwaitedColumns({**self.steps, **self.rules}, sources)

    def _table(self, part: EnginePart) -> KeyTable:
        if part.on in self.steps:
            return self._table_of[part.on]
        return self.tables.setdefault(part.by, KeyTable(by=part.by, cap=self.limits.series))

    def process(self, batch: Batch) -> Decisions:
        """Decide on the batch, or apply its commands; the time is that of the batch."""
        self._steps_total += batch.clock_step
        self.now = max(self.now, batch.read_at - self._steps_total)
        if batch.clock_step < 0:
            parts: list[EnginePart] = [*self.steps.values(), *self.rules.values()]
            for part in parts:
                part.on_clock_step(batch.read_at)
        self._evict_idle(self.limits.idle)
        return self._apply(batch) if batch.source == COMMANDS else self._decide(batch)

    def _decide(self, batch: Batch) -> Decisions:
        """What readings, or figures of the agent itself, lead to."""
        batch = self._credible(batch)
        if batch.source != SELF:
            self.counts.readings += len(batch)
            self.awaited.observe(batch)
        at = np.arange(len(batch), dtype=np.int64)
        values = unsigned_zeros(batch.values)
        readings = {by: self._readings(table, batch, at, values) for by, table in self.tables.items()}
        results: dict[str, Rows] = {}
        for name in self._order:
            rows = self._input(self.steps[name], batch, readings, results)
            results[name] = self._touched(name, rows, self.steps[name].process(rows))
        found, silences = self.incidents.ended_silences(self.now)
        raw: dict[str, Rows] = {}
        for number, (name, rule) in enumerate(self.rules.items()):
            if rule.on == SELF != batch.source:
                continue
            _collect(name, number, rule.process(self._input(rule, batch, readings, results)), found, raw)
        alerts = self.incidents.alerts(found, batch.read_at)
        return self._decisions(alerts, found, raw=raw, results=results, silences=silences)

    def _apply(self, batch: Batch) -> Decisions:
        """Each command by itself, in order, so that alerts and flags are the same however commands are batched."""
        alerts: list[Alert] = []
        found: list[Reported] = []
        replies: list[Reply] = []
        silences: State | None = None
        for command in commands_of(batch):
            changed, left, reply = self.incidents.apply(command, self.now)
            alerts += self.incidents.alerts(changed, batch.read_at)
            found += changed
            replies.append(reply)
            silences = left or silences
        return self._decisions(alerts, found, silences=silences, replies=replies)

    def _decisions(self, alerts: list[Alert], found: list[Reported], **more: Any) -> Decisions:
        self.counts.alerts += len(alerts)
        return Decisions(alerts, incidents=self.incidents.changed(found, self.now), **more)

    def finish(self) -> Decisions:
        """The input has ended: what is open closes, as if time went on for ever. Only for streams that do end."""
        results: dict[str, Rows] = {}
        for name in self._order:
            step = self.steps[name]
            rows = results.get(step.on, no_rows(self.now))
            results[name] = self._touched(name, rows, step.process(rows).then(step.finish(self.now)))
        found: list[Reported] = []
        raw: dict[str, Rows] = {}
        for number, (name, rule) in enumerate(self.rules.items()):
            _collect(name, number, rule.process(results.get(rule.on, no_rows(self.now))), found, raw)
            _collect(name, number, rule.finish(self.now), found, raw)
        return self._decisions(self.incidents.alerts(found, self.now), found, raw=raw, results=results)

    def _touched(self, name: str, rows: Rows, found: Rows) -> Rows:
        """The results of a step; where they are of other series than its rows, what reads them is about to change."""
        if found.key is not rows.key and len(found.key):
            self._table_of[name].touch(found.key)
        return found

    def _readings(self, table: KeyTable, batch: Batch, at: Ints, values: Mapping[str, Floats]) -> Rows:
        keys = table.intern(batch, self.now)
        return Rows(keys, batch.time, batch.time, at, values, self.now, batch.texts)

    def _input(
        self,
        part: EnginePart,
        batch: Batch,
        readings: Mapping[tuple[str, ...], Rows],
        results: Mapping[str, Rows],
    ) -> Rows:
        """The rows a part reads: a step's results, or the readings of all sources or of one."""
        if part.on in self.steps:
            return results[part.on]
        rows = readings[part.by]
        if part.on != batch.source and (part.on or batch.source == SELF):
            return rows.take(np.zeros(0, np.int64))
        return rows

    def _credible(self, batch: Batch) -> Batch:
        """The batch without rows before the epoch or too far in the future."""
        if len(batch) == 0:
            return batch
        latest = 2**62 if self.limits.max_future is None else batch.read_at + self.limits.max_future
        if int(batch.time.max()) <= latest and int(batch.time.min()) >= 0:
            return batch
        future, negative = batch.time > latest, batch.time < 0
        self.counts.refused_future += int(np.count_nonzero(future))
        self.counts.refused_negative += int(np.count_nonzero(negative))
        return batch.take(np.flatnonzero(~(future | negative)))

    def advance_to(self, sequence: int, now: int) -> None:
        """Number alerts from after `sequence`, and take the time to be at least `now` (engine time)."""
        self.incidents.sequence, self.now = max(self.incidents.sequence, sequence), max(self.now, now)

    def sources_of(self, rule: str) -> set[str]:
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
        self.now = max(self.now, int(saved["now"]))
        self.incidents.adopt(rule, series, saved)

    def _signal(self, part: EnginePart) -> str:
        """The measured quantity behind a rule: the metric of the first step on its way that has one."""
        signal = ""
        while part.on in self.steps:
            part = self.steps[part.on]
            signal = part.metric or signal
        return signal

    def stats(self) -> dict[str, dict[str, int]]:
        """Every counter by part: `{"engine": {"readings": 9, ...}, "window.mean": {"late": 3}, "rule.hot": {}, ...}`.

        Key tables are parts, too: `{"keys.machine": {"refused": 0, "evicted": 2, "series": 17}}`.
        """
        return (
            {"engine": asdict(self.counts)}
            | {f"{step.kind}.{name}": step.stats() for name, step in self.steps.items()}
            | {f"rule.{name}": rule.stats() for name, rule in self.rules.items()}
            | {f"keys.{'/'.join(by)}": table.stats() for by, table in self.tables.items()}
        )


def _collect(name: str, number: int, verdict: Verdict, found: list[Reported], raw: dict[str, Rows]) -> None:
    """Add the verdict of the rule of this name and number."""
    if verdict.raw is not None and len(verdict.raw):
        raw[name] = raw[name].then(verdict.raw) if name in raw else verdict.raw
    found += [Reported(change.at, number, change) for change in verdict.transitions]


def _ordered(steps: Mapping[str, Operator], sources: set[str]) -> list[str]:
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
