"""Names of series to rows of the state arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.rows import State
from sensors.batch import Batch, Ints

Name = tuple[str, ...]
"""The key of a series: the machine, or one text for each column the operator groups by."""


@dataclass(slots=True)
class KeyTable:
    """Interns the keys of one grouping; every operator with that grouping shares the table.

    Attributes:
        by: columns that make the key; `"machine"` is the machine, others are text columns (or numbers as text).
        cap: most series kept; beyond it the rows of new series are refused and counted in `refused`.
        names: key of each row of state.
        seen: host time at which each key was last seen, ns; idle ones expire by the engine's policy.
    """

    by: tuple[str, ...] = ("machine",)
    cap: int = 100_000
    names: list[Name] = field(default_factory=list)
    refused: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def intern(self, batch: Batch) -> Ints:
        """Row of state for each row of the batch, `(n,)`; -1 where the key is missing or refused."""
        raise NotImplementedError

    def state(self) -> State:
        raise NotImplementedError

    def restore(self, state: State) -> None:
        raise NotImplementedError
