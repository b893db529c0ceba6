"""What a rule reports: transitions of incidents, or raw events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.alerts.alert import Change, Flag, Severity
from agent.core.rows import Rows


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one incident, as a rule reports it; the engine adds names, ids and the sequence.

    Attributes:
        key: row of the key table.
        at: position in the batch, -1 for the clock.
        time: event time, ns. `started_at` is the time of the first row for which the condition held.
        incident: number of the incident of this rule and key, counted from 1; makes the incident id.
        columns: numbers of a detector's row, where there is one.
    """

    key: int
    at: int
    change: Change
    severity: Severity
    value: float
    start: int
    end: int
    time: int
    started_at: int
    incident: int
    ended_at: int | None = None
    count: int | None = None
    missing: int | None = None
    score: float | None = None
    repeat: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule makes of some rows: transitions of incidents, or in raw mode the rows above the limit.

    Raw rows have a column `emission` more: the number of the row among those the rule ever let through for the
    series, from 1; it keeps ids apart.
    """

    transitions: list[Transition] = field(default_factory=list)
    raw: Rows | None = None
