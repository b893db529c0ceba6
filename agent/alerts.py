"""What an alert is, its id for ever, and how it is written for subscribers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Severity = Literal["info", "warning", "critical", "fatal"]
Kind = Literal["alert", "raw", "state", "status", "health", "metric", "reply", "discovery"]
"""Class of a message: its topic, quota, retention and priority follow from it."""


_NAMESPACE = uuid.UUID("6d0c8f6e-6f0b-5b57-9a55-2f6a1f0c9e11")  # fixed for ever: ids are made in it


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: the site and the name of the agent."""

    site: str
    agent: str

    def alert_key(self, rule: str, signal: str, series: tuple[str, ...]) -> str:
        """Stable hash of what an alert is about; the same across restarts and versions."""
        return uuid.uuid5(_NAMESPACE, "\x1f".join(("key", self.site, self.agent, rule, signal, *series))).hex

    @staticmethod
    def incident(key: str, number: int, started_at: int) -> str:
        """Id shared by all transitions of one incident."""
        return str(uuid.uuid5(_NAMESPACE, f"incident\x1f{key}\x1f{number}\x1f{started_at}"))

    @staticmethod
    def transition(incident: str, change: str, time: int, repeat: int) -> str:
        """Id of one transition, for ever the same."""
        return str(uuid.uuid5(_NAMESPACE, f"transition\x1f{incident}\x1f{change}\x1f{time}\x1f{repeat}"))


class Change(StrEnum):
    """What happened to an incident."""

    RAISED = "raised"
    ESCALATED = "escalated"
    UPDATED = "updated"  # re-sent while it fires
    ACKED = "acked"
    SILENCED = "silenced"
    NO_DATA = "no_data"
    RESOLVED = "resolved"


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


@dataclass(frozen=True, slots=True)
class Message:
    """What the outbox keeps and a sink sends: an encoded event with what is needed to route it.

    Attributes:
        id: event id; the outbox drops a second message of the same id and kind.
        kind: class of the message.
        machine: order is kept per machine; part of topic and partition key.
        name: last part of the topic: `<signal>.<rule>` of a state, the verb of a reply, else empty.
        body: the payload; empty clears a retained topic.
        time: event time, ns.
    """

    id: str
    kind: Kind
    machine: str
    name: str
    body: bytes
    time: int
