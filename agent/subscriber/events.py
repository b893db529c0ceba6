"""What a subscriber makes of a message: checked, compared with what came before. No I/O."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

log = logging.getLogger(__name__)

_TEXTS = ("id", "source", "type", "subject", "time", "sequence", "specversion")
_TYPE = "io.edge-agent.alert."
LONGEST = 1 << 20
"""Bytes of the longest message that is looked at."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one incident (or one raw event), as it came. `body` is the whole CloudEvent.

    Attributes:
        change: raised, escalated, updated, acked, silenced, no_data, resolved; or raw.
        agent: `<site>/<agent>` of the sender.
        time: of the change, UTC.
        incident: the same from raised to resolved; empty for raw events.
        key: names the alert through all its incidents.
        sequence: counts the agent's alerts (a raw event: those of its rule and series).
        replayed: it was sent late, after an outage.
        missed: how many alerts of this agent were counted between the one before and this, and have not come.
    """

    id: str
    change: str
    agent: str
    machine: str
    signal: str
    rule: str
    severity: str
    value: float | None
    time: datetime
    incident: str
    key: str
    sequence: int
    replayed: bool
    message: str
    body: Mapping[str, Any]
    missed: int = 0

    @classmethod
    def parse(cls, payload: bytes) -> Event:
        """Check a payload and take it apart.

        Raises:
            ValueError: it is no alert event of version 1; the message says why.
        """
        if len(payload) > LONGEST:
            raise ValueError(f"{len(payload)} bytes; an event has at most {LONGEST}")
        try:
            body = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"no JSON: {error}") from error
        if not isinstance(body, dict):
            raise ValueError("no JSON object")
        wrong = [name for name in _TEXTS if not isinstance(body.get(name), str)]
        data = body.get("data")
        if wrong or not isinstance(data, dict):
            raise ValueError(f"missing or no text: {', '.join(wrong) or 'data'}")
        if body["specversion"] != "1.0" or not body["type"].startswith(_TYPE):
            raise ValueError(f"type {body['type']!r} is no alert event")
        source = body["source"].split("/")
        if len(source) != 5 or source[1] != "edge" or not body["sequence"].isdecimal() or not body["id"]:
            raise ValueError("source, sequence or id is malformed")
        rule, value = data.get("rule"), data.get("value")
        if not isinstance(rule, dict) or not isinstance(value, int | float | None) or isinstance(value, bool):
            raise ValueError("data.rule or data.value is malformed")
        try:
            moment = datetime.fromisoformat(body["time"]).astimezone(UTC)
        except ValueError as error:
            raise ValueError(f"time: {error}") from error
        return cls(
            id=body["id"],
            change=body["type"].removeprefix(_TYPE),
            agent=f"{source[2]}/{source[3]}",
            machine=str(data.get("machine", source[4])),
            signal=str(data.get("signal", "")),
            rule=str(rule.get("id", "")),
            severity=str(data.get("severity", "")),
            value=value,
            time=moment,
            incident=str(body.get("correlationid", "")),
            key=body["subject"],
            sequence=int(body["sequence"]),
            replayed=body.get("replayed") is True,
            message=str(data.get("message", "")),
            body=body,
        )


@dataclass
class SubscriberCounters:
    """What came: events handed over, repeats dropped, messages refused; gaps that are open and that were filled."""

    events: int = 0
    repeated: int = 0
    refused: int = 0
    missed: int = 0
    filled: int = 0
    restarts: int = 0


@dataclass
class Deduplicator:
    """Remembers what came: drops what comes again, counts what is missing.

    Attributes:
        remember: how many ids are remembered, the oldest forgotten first.
        most_open: how many missing numbers of an agent are waited for.
        gaps: notice missing numbers; wants all alerts of an agent, not those of one machine.
    """

    remember: int = 100_000
    most_open: int = 10_000
    gaps: bool = True
    counters: SubscriberCounters = field(default_factory=SubscriberCounters, init=False)

    def __post_init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._last: dict[str, int] = {}
        self._open: dict[str, dict[int, None]] = {}
        self._next_word = 0.0

    def take(self, payload: bytes) -> Event | None:
        """The event of a payload; None for a repeat or for what is no event (counted, logged once a minute)."""
        try:
            event = Event.parse(payload)
        except ValueError as error:
            self.counters.refused += 1
            if time.monotonic() >= self._next_word:
                self._next_word = time.monotonic() + 60.0
                log.warning("a message was refused (%d so far): %s", self.counters.refused, error)
            return None
        if event.id in self._ids:
            self.counters.repeated += 1
            return None
        self._ids[event.id] = None
        if len(self._ids) > self.remember:
            del self._ids[next(iter(self._ids))]
        self.counters.events += 1
        missed = self._missed(event) if self.gaps and event.change != "raw" else 0
        if not missed:
            return event
        return replace(event, missed=missed)

    def open_gaps(self, agent: str) -> list[int]:
        """Numbers of the agent's alerts that have not come (yet: a replay may bring them)."""
        return list(self._open.get(agent, ()))

    def _missed(self, event: Event) -> int:
        last = self._last.get(event.agent)
        missing = self._open.setdefault(event.agent, {})
        if last is None:
            self._last[event.agent] = event.sequence
            return 0
        if event.sequence <= last:
            if event.sequence in missing:
                del missing[event.sequence]
                self.counters.filled += 1
            elif not event.replayed:  # the agent lost its memory and counts from the beginning
                self.counters.restarts += 1
                self._last[event.agent] = event.sequence
                missing.clear()
            return 0
        gap = event.sequence - last - 1
        self._last[event.agent] = event.sequence
        self.counters.missed += gap
        for number in range(max(last + 1, event.sequence - self.most_open), event.sequence):
            missing[number] = None
        while len(missing) > self.most_open:
            del missing[next(iter(missing))]
        return gap
