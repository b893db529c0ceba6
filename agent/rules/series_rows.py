"""Rows that are kept of series, any number of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from agent.core.series import State, Stateful
from sensors.batch import Ints


class Tabular(Protocol):
    """A columnar table with a column of series."""

    @property
    def key(self) -> Ints: ...

    def __len__(self) -> int: ...

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Self: ...

    def then(self, more: Self) -> Self: ...


Kind = TypeVar("Kind", bound=Tabular)


class SeriesRows(Stateful, Generic[Kind]):
    """Rows kept of series. A leaf.

    The rows of a series stay in their order; how they stand to the rows of other series has no meaning.

    Attributes:
        rows: None = none.

    Args:
        save: the rows as a state with a `key`; `load` makes them of it.
    """

    def __init__(self, save: Callable[[Kind], State], load: Callable[[State], Kind]) -> None:
        self.rows: Kind | None = None
        self._save, self._load = save, load

    @property
    def series(self) -> int:
        return 0 if self.rows is None else int(self.rows.key.max(initial=-1)) + 1

    @property
    def bytes_a_series(self) -> int:
        return 0

    def grow(self, size: int) -> None:
        """There is always room."""

    def evict(self, keys: Ints) -> None:
        if self.rows is not None:
            self.rows = self.rows.take(~np.isin(self.rows.key, keys))

    def snapshot(self) -> State:
        return self.extract(np.arange(self.series))

    def extract(self, keys: Ints) -> State:
        if self.rows is None or len(keys) == 0:
            return {}
        place = np.full(max(self.series, int(keys.max()) + 1), -1)
        place[keys] = np.arange(len(keys))
        place = place[self.rows.key]
        chosen = np.flatnonzero(place >= 0)
        chosen = chosen[np.argsort(place[chosen], kind="stable")]
        return {**self._save(self.rows.take(chosen)), "key": place[chosen]} if len(chosen) else {}

    def restore(self, state: State) -> None:
        self.rows = self._load(state) if state else None
        if self.rows is not None and int(self.rows.key.min(initial=0)) < 0:
            raise ValueError("a row of a series before the first")

    def merge(self, keys: Ints, state: State) -> None:
        if not state:
            return
        place = np.asarray(state["key"], np.int64)
        if len(place) and not 0 <= int(place.min()) <= int(place.max()) < len(keys):
            raise ValueError(f"rows of {int(place.max()) + 1} series, there are {len(keys)}")
        more = self._load({**state, "key": keys[place]})
        self.rows = more if self.rows is None else self.rows.then(more)
