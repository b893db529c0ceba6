"""What an alert is, its ids for ever, and the names under which it goes out. How it is written: `cloudevents`."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from agent.core.explanations import Explanation

Severity = Literal["info", "warning", "critical", "fatal"]
Kind = Literal["alert", "raw", "state", "status", "health", "metric", "reply", "discovery"]
"""Class of a message: its topic, quota, retention and priority follow from it."""


class Change(StrEnum):
    """What happened to an incident."""

    RAISED = "raised"
    ESCALATED = "escalated"
    UPDATED = "updated"  # re-sent while it fires
    ACKED = "acked"
    SILENCED = "silenced"
    NO_DATA = "no_data"
    RESOLVED = "resolved"


Flag = Literal["acked", "silenced", "inhibited", "flapping"]
"""What is known of an incident besides its state; a notifier holds back where one is set."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One transition of one incident: what a subscriber gets. Times are ns since the epoch, UTC.

    Attributes:
        id: UUIDv5 of what identifies the transition; the same on every retry, replay and recovery.
        incident: id shared by all transitions from raised to resolved.
        key: stable hash of site, agent, machine, signal and rule.
        series: the key of the series, one text for each column the rule groups by.
        sequence: counter of the agent, without gaps, in order of decision.
        time: event time of the transition; `recorded` is the host time of the batch that caused it.
        evidence: what a detector adds, e.g. the bins that moved or the kind of disturbance. JSON.
        flags: acknowledged, silenced and so on, at the time of the transition.
        note: who acknowledged or silenced, and why, if somebody did.
        expires: host time after which silence about a firing incident means unknown: twice the interval in which it
            is sent again; None if it is not.
    """

    id: str
    incident: str
    key: str
    change: Change
    rule: str
    rule_type: str
    machine: str
    series: tuple[str, ...]
    signal: str
    severity: Severity
    value: float
    raise_limit: str
    clear_limit: str
    window_start: int
    window_end: int
    time: int
    recorded: int
    started_at: int
    sequence: int
    ended_at: int | None = None
    count: int | None = None
    missing: int | None = None
    score: float | None = None
    unit: str = ""
    repeat: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    flags: tuple[Flag, ...] = ()
    note: str = ""
    expires: int | None = None


class Message(NamedTuple):
    """What the outbox keeps and a sink sends: an encoded event with what is needed to route it.

    Attributes:
        id: event id; the outbox drops a second message of the same id and kind.
        kind: class of the message.
        machine: order is kept per machine; part of topic and partition key. Safe in a topic, see `topic_name`.
        name: last part of the topic: `<signal>.<rule>` of an alert, raw event or state (a state without name is
            the machine's summary), the verb of a reply, else empty.
        body: the payload; empty clears a retained topic.
        time: event time, ns.
        replayed: it is sent late, from the backlog of an outage; its body says so, see `cloudevents.as_replayed`.
    """

    id: str
    kind: Kind
    machine: str
    name: str
    body: bytes
    time: int
    replayed: bool = False


_NAMESPACE = uuid.UUID("6d0c8f6e-6f0b-5b57-9a55-2f6a1f0c9e11")
"""Of all ids made here; never changed, since ids must be the same for ever."""
_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESERVED = frozenset(("status", "health", "cmd"))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends: part of every id, source and topic. Ids are UUIDv5 of a JSON array: anybody can check."""

    site: str = "site"
    agent: str = "agent"

    def source(self, machine: str) -> str:
        """The CloudEvents source."""
        return f"/edge/{topic_name(self.site)}/{topic_name(self.agent)}/{topic_name(machine)}"

    def alert_key(self, rule: str, signal: str, series: tuple[str, ...]) -> str:
        """Names the alert of a rule and series through all its incidents: the key for deduplication."""
        return _uuid("key", self.site, self.agent, rule, signal, *series)

    def incident(self, key: str, number: int, started_at: int) -> str:
        """Names an incident from raised to resolved; its start keeps it apart from older ones if state was lost."""
        return _uuid("incident", key, str(number), str(started_at))

    def transition(self, incident: str, change: Change, severity: Severity, time: int, repeat: int) -> str:
        """Names one change of an incident."""
        return _uuid("transition", incident, change, severity, str(time), str(repeat))


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))


def topic_name(text: str) -> str:
    """The text as one level of a topic: letters, digits, `_` and `-`, at most 64; anything else gets a hash.

    Two texts never share a name: `Line A/1` and `Line A+1` differ in the hash. Case is kept, as topics keep it.
    """
    if _SAFE.fullmatch(text) and text not in _RESERVED:
        return text
    digest = hashlib.sha1(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:48].strip("-")
    return f"{plain}-{digest}" if plain else f"x-{digest}"


def machine_of(by: tuple[str, ...], series: tuple[str, ...]) -> str:
    """The machine of a series; its whole name where it is not grouped by machine, since that is what is watched."""
    return series[by.index("machine")] if "machine" in by else "/".join(series)


def spoken_name(by: tuple[str, ...], series: tuple[str, ...]) -> str:
    """A series as people name it: `machine 2`, `machine 2, status RUN`, `topping tuna`."""
    machine = [f"machine {machine_of(by, series)}"] if "machine" in by else []
    return ", ".join(
        machine + [f"{name} {part}" for name, part in zip(by, series, strict=False) if name != "machine"]
    )


def alert_name(signal: str, rule: str, by: tuple[str, ...], series: tuple[str, ...]) -> str:
    """Last level of an alert's topic: `<signal>.<rule>`, and the rest of a series that is more than a machine."""
    rest = [part for name, part in zip(by, series, strict=False) if name != "machine"] if "machine" in by else []
    return ".".join(topic_name(part) for part in (signal or "value", rule, *rest))


@dataclass(frozen=True, slots=True)
class Label:
    """What is the same in all alerts of a rule.

    Attributes:
        kind: type of the rule, e.g. `threshold`.
        by: columns of its grouping.
        signal: the measured quantity, e.g. `Temperature_C`.
        metric: the column judged, e.g. `mean`; the same as the signal where readings are judged.
        raise_limit: condition to raise, as written; `clear_limit` likewise.
        limit: short form for people, e.g. `>= 90`; empty if there is none.
        every: a firing incident is sent again so often, ns; 0 = never.
        payload: of raw events: `event` or `value`.
        explanation: what it means in words, where the rule judges a detector's column; None else.
        watched: columns that detector judges.
        subject: what its explanation is about: `pressure`, or `mean Temperature_C` of a window.
    """

    rule: str
    kind: str
    by: tuple[str, ...]
    signal: str
    metric: str
    unit: str = ""
    raise_limit: str = ""
    clear_limit: str = ""
    limit: str = ""
    severity: Severity = "warning"
    every: int = 0
    payload: str = "event"
    explanation: Explanation | None = None
    watched: tuple[str, ...] = ()
    subject: str = ""

    def quantity(self) -> str:
        """What a person calls it: `mean Temperature_C`."""
        return self.signal if self.metric in ("", self.signal) else f"{self.metric} {self.signal}".strip()

    def condition(self) -> str:
        """What holds of each raw event: `mean Temperature_C >= 90`, `pressure is unusual (score >= 1)`."""
        if self.explanation is None:
            return f"{self.quantity()} {self.limit or self.raise_limit}"
        compared = f"{self.metric} {self.limit}" if self.limit else self.raise_limit
        return f"{self.subject} {self.explanation.raised} ({compared})"
