"""Rules: conditions over readings, window results and scores, and the life cycle of what they raise."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from agent.alerts.alert import Severity
from agent.core.operator import EnginePart
from agent.core.rows import Rows
from agent.core.series import State
from agent.rules.lifecycle import Lifecycle
from agent.rules.transition import Transition, Verdict

__all__ = ["Rule", "Transition", "Verdict"]


class Rule(EnginePart):
    """A condition with its life cycle: every hook the engine calls, each with a default.

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

    signal: str  # annotations only, as in the base
    unit: str
    severity: Severity

    life: Lifecycle | None = None
    inhibits: bool = False
    means_offline: ClassVar[bool] = False
    """Whether a machine of which it fires counts as offline, not as in alarm."""
    every: int = 0
    payload: Literal["event", "value"] = "event"

    type: ClassVar[str]
    """The word of the registry, such as `threshold`."""

    carries_metric: ClassVar[bool] = False
    """Whether `value` is the very number in the column `metric`, not what the rule makes of it: then what a detector
    explains of its column holds for the alert."""

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

    def snapshot(self) -> State:
        self.grow(self.series)  # what only some series have made use of is as long as the rest
        return super().snapshot()
