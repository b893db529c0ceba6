"""Deciding as a plain function: a batch in, decisions out; no I/O, no clock, no await, no randomness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.alerts import Alert
from agent.rows import Rows, State
from sensors.batch import Batch


@dataclass(frozen=True, slots=True)
class Decisions:
    """What one batch led to.

    Attributes:
        alerts: transitions of incidents, in order of decision.
        raw: rule name -> rows above the limit, of rules in raw mode (one message a row).
        results: name of a window or detector -> its rows, for whoever looks on.
    """

    alerts: list[Alert] = field(default_factory=list)
    raw: Mapping[str, Rows] = field(default_factory=dict)
    results: Mapping[str, Rows] = field(default_factory=dict)


class Engine:
    """Windows, detectors and rules over one stream. See `process`."""

    def process(self, batch: Batch) -> Decisions:
        """Decide on the batch; the time is what the batch says."""
        raise NotImplementedError

    def state(self) -> State:
        """Everything remembered; `restore` in an engine of the same configuration goes on exactly here."""
        raise NotImplementedError

    def restore(self, state: State) -> None:
        raise NotImplementedError
