"""Rules: conditions over readings, window results and scores, and the life cycle of what they raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.alerts import Change, Flag, Severity
from agent.rows import Rows, State
from sensors.batch import Ints


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
    """What a rule says of some rows: transitions of incidents, or in raw mode the rows above the limit.

    Raw rows have a column `emission` more: the number of the row among those the rule ever let through for the
    series, from 1; it keeps ids apart.
    """

    transitions: list[Transition] = field(default_factory=list)
    raw: Rows | None = None


class Life(Protocol):
    """The incidents of a rule, one series each. See `agent.rules.lifecycle`."""

    @property
    def severities(self) -> tuple[Severity, ...]: ...

    def incident(self, key: int) -> State: ...

    def adopt(self, key: int, saved: State) -> None: ...

    def acknowledge(self, key: int, note: str = "") -> list[Transition]: ...

    def tell(self, change: Change, key: int, note: str = "") -> Transition: ...

    def firing(self) -> Ints: ...

    def on_clock_step(self, to: int) -> None: ...


class Rule(Protocol):
    """A condition with its life cycle. Dataclass fields are configuration, state starts in `__post_init__`.

    Attributes:
        on: name of the window or detector whose rows it judges; empty = the readings themselves.
        by: columns of the grouping its rows come in.
        type: the word of the registry, such as `threshold`.
        signal: the measured quantity, such as `Temperature_C`; part of topic and alert key. Empty: that of the
            window or detector it reads, else the metric.
        metric: the column whose value an alert carries, such as `mean`.
        unit: of the signal, may be empty.
        severity: the lowest it raises with.
        raise_limit: the condition as text; `clear_limit` likewise, may be empty.
        limit: short form of the condition for people, such as `>= 90`; may be empty.
    """

    on: str
    by: tuple[str, ...]

    @property
    def type(self) -> str: ...

    @property
    def signal(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def severity(self) -> Severity: ...

    @property
    def raise_limit(self) -> str: ...

    @property
    def clear_limit(self) -> str: ...

    @property
    def limit(self) -> str: ...

    @property
    def life(self) -> Life | None:
        """The state machines of its incidents; None of a rule without incidents."""

    def process(self, rows: Rows) -> Verdict:
        """Judge the rows, in order; `rows.now` moves the clock first, even if there are no rows."""

    def snapshot(self) -> State: ...

    def restore(self, state: State) -> None: ...

    def evict(self, keys: Ints) -> None: ...
