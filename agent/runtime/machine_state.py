"""Each machine in short: how it is, and which alerts are open. One retained message a machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from agent.alerts.alert import Alert, Change, Identity, Message, machine_of, topic_name
from agent.alerts.cloudevents import rfc3339
from agent.engine.engine import Engine

_ORDER = {"info": 1, "warning": 2, "critical": 3, "fatal": 4}
MOST_LISTED = 100


@dataclass(frozen=True, slots=True)
class _Open:
    severity: str
    stale: bool
    offline: bool


@dataclass(slots=True)
class MachineState:
    """The open alerts of each machine, kept up to date by the transitions.

    State of a machine: `offline` if a rule fires that means so (`deadman`), else the worst severity of its open alerts,
    else `stale` if all of them are frozen for want of data, else `ok`.
    """

    identity: Identity
    _open: dict[str, dict[str, _Open]] = field(default_factory=dict)

    def resume(self, engine: Engine) -> None:
        """Take over what fires after a restart."""
        for name, rule in engine.rules.items():
            if rule.life is None:
                continue
            label, table = engine.labels[name], engine.series(name)
            for key in rule.life.firing().tolist():
                series = table.name(key)
                saved = rule.life.incident(key)
                alert_key = self.identity.alert_key(name, label.signal, series)
                severity = rule.life.severities[int(saved["level"])]
                machine = machine_of(label.by, series)
                entry = _Open(severity, bool(saved["silent"]), rule.means_offline)
                self._open.setdefault(machine, {})[alert_key] = entry

    def update(self, alerts: Iterable[Alert], engine: Engine) -> list[Message]:
        """One message for each machine that the engine's transitions touch."""
        last: dict[str, Alert] = {}
        for alert in alerts:
            mine = self._open.setdefault(alert.machine, {})
            if alert.change is Change.RESOLVED:
                mine.pop(alert.key, None)
            else:
                mine[alert.key] = _Open(
                    alert.severity, alert.change is Change.NO_DATA, engine.rules[alert.rule].means_offline
                )
            if not mine:
                del self._open[alert.machine]
            last[alert.machine] = alert
        return [self._message(machine, alert) for machine, alert in last.items()]

    def _message(self, machine: str, alert: Alert) -> Message:
        mine = self._open.get(machine, {})
        body = orjson.dumps(
            {
                "machine": machine,
                "state": _state(mine.values()),
                "since": rfc3339(alert.time),
                "open": list(mine)[:MOST_LISTED],
                "open_count": len(mine),
                "sequence": alert.sequence,
            }
        )
        return Message(f"{alert.id}/machine", "state", topic_name(machine), "", body, alert.time)


def _state(entries: Iterable[_Open]) -> str:
    found = list(entries)
    if any(entry.offline for entry in found):
        return "offline"
    alive = [entry.severity for entry in found if not entry.stale]
    if alive:
        return max(alive, key=lambda severity: _ORDER[severity])
    return "stale" if found else "ok"
