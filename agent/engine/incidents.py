"""From what rules report to alerts: names, ids, flags and sequence; and commands about incidents.

Order decides: transitions are taken by their place in the batch, then by rule. Flags follow that order too, so that
they do not depend on how the stream is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from agent.alerts.alert import Alert, Change, Identity, Label, machine_of
from agent.alerts.commands import Command, Reply, Silence, Silences, matches
from agent.core.keys import KeyTable, Name
from agent.core.series import State, entries
from agent.engine.wording import alert
from agent.rules import Rule, Transition

Incidents = dict[tuple[str, Name], State]


class Reported(NamedTuple):
    """A transition at its place `at` in the batch (-1 = before it), by the rule of this number."""

    at: int
    rule: int
    transition: Transition


@dataclass(slots=True)
class IncidentBook:
    """All incidents: numbers their alerts, with the silences and the machines that are silent.

    Attributes:
        rules, labels, tables: by name of the rule.
        sequence: of the last alert.
        silences: in force.
        offline: machine -> the rule that found it silent; its other alerts are inhibited.
    """

    identity: Identity
    rules: Mapping[str, Rule]
    labels: Mapping[str, Label]
    tables: Mapping[str, KeyTable]
    sequence: int = 0
    silences: Silences = field(default_factory=Silences)
    offline: dict[str, str] = field(default_factory=dict)

    def alerts(self, found: list[Reported], recorded: int) -> list[Alert]:
        """Transitions of all rules as alerts, in order of decision.

        Args:
            found: sorted in place.
            recorded: host time of the batch, ns.
        """
        found.sort(key=lambda item: item[:2])  # stable: a rule's own order stays
        names = list(self.rules)
        alerts = []
        for _, number, change in found:
            self.sequence += 1
            name = names[number]
            series = self.tables[name].name(change.key)
            change = self._flagged(name, series, change)
            alerts.append(alert(change, self.labels[name], series, self.identity, self.sequence, recorded))
        return alerts

    def _flagged(self, name: str, series: Name, change: Transition) -> Transition:
        """The transition with what silences and silent machines add to its flags."""
        label = self.labels[name]
        machine = machine_of(label.by, series)
        if self.rules[name].inhibits:
            if change.change is Change.RESOLVED:
                self.offline.pop(machine, None)
            else:
                self.offline[machine] = name
        flags = change.flags
        if self.silences.by_id and self.silences.covers(label, series):
            flags += ("silenced",)
        if self.offline.get(machine, name) != name:
            flags += ("inhibited",)
        return replace(change, flags=flags) if flags != change.flags else change

    def ended_silences(self, now: int) -> tuple[list[Reported], State | None]:
        """Incidents that still fire when a silence ends are sent again; and the silences left, if any ended."""
        ended = self.silences.ended(now)
        found = [
            item for silence in ended for item in self._renotified(silence, Change.UPDATED, "the silence is over")
        ]
        return found, self.silences.snapshot() if ended else None

    def apply(self, command: Command, now: int) -> tuple[list[Reported], State | None, Reply]:
        """Apply a command: transitions, the silences if they changed, and the reply."""
        if error := command.wrong():
            return [], None, Reply(command.id, command.verb, 0, error)
        if command.verb == "ack":
            found = self._renotified(command, Change.ACKED, command.note)
            return found, None, Reply(command.id, command.verb, len(found))
        if command.verb == "silence":
            error = self.silences.add(command, now)
            found = [] if error else self._renotified(command, Change.SILENCED, command.note)
        else:
            silence = self.silences.by_id.pop(command.id, None)
            error = "" if silence else f"there is no silence {command.id}"
            found = self._renotified(silence, Change.UPDATED, "the silence is over") if silence else []
        return found, self.silences.snapshot(), Reply(command.id, command.verb, int(not error), error)

    def _renotified(self, meant: Command | Silence, change: Change, note: str) -> list[Reported]:
        """Send the firing incidents that are meant; an acknowledged one is not acknowledged again."""
        found: list[Reported] = []
        for number, (name, rule) in enumerate(self.rules.items()):
            if rule.life is None:
                continue
            for key in rule.life.firing().tolist():
                if matches(meant, self.labels[name], self.tables[name].name(key)):
                    changes = [rule.life.renotify(change, key, note)] if change is not Change.ACKED else []
                    changes = changes or rule.life.acknowledge(key, note)
                    found += [Reported(-1, number, item) for item in changes]
        return found

    def changed(self, found: list[Reported], now: int) -> Incidents:
        """What is remembered of each incident among the transitions; plain JSON."""
        names = list(self.rules)
        incidents: Incidents = {}
        for _, number, change in found:
            rule = names[number]
            life = self.rules[rule].life
            if life is not None:
                series = self.tables[rule].name(change.key)
                saved = {"now": now, "sequence": self.sequence, "life": life.incident(change.key)}
                incidents[rule, series] = saved
        return incidents

    def adopt(self, rule: str, series: Name, saved: State) -> None:
        """Go on with an incident that is newer than the state restored; one of a rule that is gone is passed over."""
        self.sequence = max(self.sequence, int(saved["sequence"]))
        life = self.rules[rule].life if rule in self.rules else None
        table = self.tables.get(rule)
        if life is not None and table is not None and len(series) == len(table.by):
            key = table.row(series, int(saved["now"]))
            if key >= 0:
                life.adopt(key, saved["life"])
        self.find_offline()

    def find_offline(self) -> None:
        """Look up which machines are silent, after a restart."""
        self.offline = {}
        for name, rule in self.rules.items():
            if rule.life is not None and rule.inhibits:
                table = self.tables[name]
                for key in rule.life.firing().tolist():
                    self.offline[machine_of(table.by, table.name(key))] = name

    def merge(self, state: State) -> None:
        """Go on with series of another engine; call it after the rules have theirs."""
        self.sequence = max(self.sequence, int(state["sequence"]))
        self.silences.merge(state)
        self.find_offline()

    def snapshot(self) -> State:
        return {"sequence": self.sequence, **self.silences.snapshot()}

    def restore(self, state: State) -> None:
        """Go on from `state`; call it after the rules have theirs."""
        self.sequence = int(entries(state)["sequence"])
        self.silences.restore(state)
        self.find_offline()
