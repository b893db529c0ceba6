"""Rules: conditions over readings, window results and scores, and the life cycle of what they raise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from agent.alerts.alert import Change, Flag, Severity
from agent.core.rows import Rows
from agent.core.series import State, Stateful
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


class Rule(Stateful, ABC):
    """A condition with its life cycle: all that the engine may ask of a rule, with what holds where it says nothing.

    Dataclass fields are configuration; state starts in `__post_init__` and is declared by `remembers` and `shared`
    (see `agent.core.series`).

    Attributes:
        on: name of the window or detector whose rows it judges; empty = the readings themselves.
        by: columns of the grouping its rows come in.
        signal: the measured quantity, such as `Temperature_C`; part of topic and alert key. Empty: that of the
            window or detector it reads, else the metric.
        metric: the column whose value an alert carries, such as `mean`.
        unit: of the signal, may be empty.
        severity: the lowest it raises with.
        life: the state machines of its incidents; None of a rule without incidents.
        inhibits: alerts of other rules about a machine of which it fires carry the flag `inhibited`.
        every: how often a firing incident is sent again, ns; 0 = never.
        payload: of raw events: a whole CloudEvent, or the bare number.
    """

    on: str  # annotations only: a value here would become the default of the subclass' field
    by: tuple[str, ...]
    signal: str
    metric: str
    unit: str
    severity: Severity

    life: Life | None = None
    inhibits: bool = False
    means_offline: ClassVar[bool] = False
    """Whether a machine of which it fires counts as offline, not as in alarm."""
    every: int = 0
    payload: Literal["event", "value"] = "event"

    type: ClassVar[str]
    """The word of the registry, such as `threshold`."""

    tells_metric: ClassVar[bool] = False
    """Whether `value` is the very number in the column `metric`, not what the rule makes of it: then what a detector
    says of its column holds for the alert."""

    @property
    @abstractmethod
    def raise_limit(self) -> str:
        """The condition as text."""

    @property
    def clear_limit(self) -> str:
        """The condition that ends it, as text; may be empty."""
        return ""

    @property
    def limit(self) -> str:
        """Short form of the condition for people, such as `>= 90`; may be empty."""
        return ""

    @abstractmethod
    def process(self, rows: Rows) -> Verdict:
        """Judge the rows, in order; `rows.now` moves the clock first, even if there are no rows."""

    def finish(self, now: int) -> Verdict:
        """The input has ended: what waits is judged."""
        return Verdict()

    def on_clock_step(self, to: int) -> None:
        """The host's clock was set back to `to`, ns: nothing that was seen lies after it."""
        if self.life is not None:
            self.life.on_clock_step(to)

    def inputs(self) -> tuple[str, ...]:
        """Columns it needs."""
        return (self.metric,) if self.metric else ()

    def snapshot(self) -> State:
        self.grow(self.series)  # what only some series have made use of is as long as the rest
        return super().snapshot()

    def stats(self) -> dict[str, int]:
        """What it has counted since it was made, such as `{"late": 3}`, for health, metrics and the live view."""
        return {}
