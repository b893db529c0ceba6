"""A part that cannot be taken apart by series: it is saved whole, each time."""

from __future__ import annotations

from typing import Any, Protocol

from agent.core.series import State, Stateful
from sensors.batch import Ints


class _Whole(Protocol):
    def snapshot(self) -> State: ...

    def restore(self, state: State) -> None: ...


def divisible(part: Any) -> bool:
    """Whether series can be taken out of it: it and all within declare what they remember, or write `extract`, too."""
    if not isinstance(part, Stateful):
        return False
    derived = type(part).snapshot is Stateful.snapshot or type(part).extract is not Stateful.extract
    return derived and all(map(divisible, part.children()))


class Whole(Stateful):
    """What it remembers counts as shared by all series."""

    def __init__(self, part: _Whole) -> None:
        self._part = part

    def extract(self, keys: Ints) -> State:
        return {"whole": self._part.snapshot()}

    def restore_shared(self, state: State) -> None:
        saved: Any = state["whole"]
        self._part.restore(saved)
