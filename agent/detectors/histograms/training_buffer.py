"""The first readings of each series, kept until there are enough to learn what is normal."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from agent.core.grouping import Grouping, order_by
from agent.core.series import Field, SeriesState, State, Stateful
from agent.detectors.base.streaming import LARGEST
from sensors.batch import Floats, Ints

_NEVER = -(2**62)
_OVER = 2**62
_LONG_RUN = 1 << 17  # readings of a list up to which joining two takes a millisecond or two


class TrainingBuffer(Stateful):
    """Collects the readings of a series from its first one on, for a stretch of event time.

    Args:
        length: how long, ns.
        most: readings kept of a series; further ones are passed over.
        least: readings that it takes, however long.

    The readings of the series that still learn lie in lists for all, one after the other in order of arrival, each
    sorted by series; neighbours are joined while they are short, so that there are few.
    """

    remembers: ClassVar = {"": "_state"}

    def __init__(self, length: int, most: int, least: int = 1) -> None:
        self.length, self.most, self.least = length, most, least
        self._state = SeriesState(
            until=Field(np.int64, _NEVER), since=Field(np.int64, _NEVER), number=Field(np.int64)
        )
        self._trained_below = 0  # the series below this one have all learnt
        self._keys: list[Ints] = []
        self._values: list[Floats] = []

    @property
    def trained_at(self) -> Ints:
        """`(series,)` event time of the first reading of each that was not learnt from; far back before there is one."""
        return self._state["since"]

    def trained(self, keys: Ints) -> bool:
        """Whether all of these series have learnt (keys below 0 have nothing to learn)."""
        highest = int(keys.max())
        if highest < self._trained_below:
            return True
        self.grow(highest + 1)
        return bool(((self._state["until"][keys] == _OVER) | (keys < 0)).all())

    def collect(self, keys: Ints, time: Ints, value: Floats) -> tuple[Any, Ints]:
        """Take what is to be learnt from.

        Returns:
            `(n,)` int8: 1 where a reading was learnt from (or is one too many), -1 where it has no value and its
            series still learns, 0 where its series has learnt; and the series whose time is up, ascending.
        """
        trained_at, number, train_until = (self._state[name] for name in ("since", "number", "until"))
        rows = np.flatnonzero((keys >= 0) & (train_until[keys] != _OVER))
        series = Grouping(keys[rows])
        order, key, first, owner = rows[series.order], series.key, series.begin, series.owner
        when, valid, segment = time[order], np.abs(value[order]) <= LARGEST, series.spread(np.arange(len(first)))
        n = len(key)
        begin = np.minimum.reduceat(np.where(valid, np.arange(n), n), first)
        started = train_until[owner] != _NEVER
        known = started | (begin < n)
        due = np.where(started, train_until[owner], when[np.minimum(begin, n - 1)] + self.length)
        place = np.cumsum(valid) - 1
        place -= (place[first] - valid[first])[segment] + 1
        enough = number[owner][segment] + place >= self.least
        hit = valid & (when >= due[segment]) & known[segment] & enough
        end = np.minimum.reduceat(np.where(hit, np.arange(n), n), first)
        learning = np.arange(n) < end[segment]
        kept = learning & valid & (number[owner][segment] + place < self.most)
        number[owner] += np.bincount(segment[kept], minlength=len(owner))
        train_until[owner[known]] = due[known]
        if kept.any():
            self._append(key[kept], value[order][kept])
        ended = owner[end < n]
        train_until[ended] = _OVER
        trained_at[ended] = when[end[end < n]]
        if len(ended):
            self._update_trained()
        taken = np.zeros(len(keys), np.int8)
        taken[order[learning]] = np.where(valid[learning], 1, -1)
        return taken, ended

    def pop(self, ended: Ints) -> tuple[Ints, Floats]:
        """Readings of these series, ordered by series; they are kept no longer."""
        keys, values = [np.zeros(0, np.int64)], [np.zeros(0)]
        lists = list(zip(self._keys, self._values, strict=True))
        self._keys, self._values = [], []
        for key, value in lists:
            mine = np.isin(key, ended)
            keys.append(key[mine])
            values.append(value[mine])
            if not mine.all():
                self._keys.append(key[~mine])
                self._values.append(value[~mine])
        return _by_series(np.concatenate(keys), np.concatenate(values))

    def _update_trained(self) -> None:
        waiting = np.flatnonzero(self._state["until"] != _OVER)
        self._trained_below = int(waiting[0]) if len(waiting) else len(self._state)

    def _append(self, key: Ints, value: Floats) -> None:
        """Keep these readings, which came later than all that are kept."""
        if len(key) == 0:
            return
        key, value = _by_series(key, value)
        while self._keys and len(self._keys[-1]) <= 2 * len(key) and len(self._keys[-1]) + len(key) <= _LONG_RUN:
            key, value = _by_series(
                np.concatenate((self._keys.pop(), key)), np.concatenate((self._values.pop(), value))
            )
        self._keys.append(key)
        self._values.append(value)

    def evict(self, keys: Ints) -> None:
        super().evict(keys)
        self._update_trained()
        self.pop(keys)

    def snapshot(self) -> State:
        return self.extract(np.arange(self.series))

    def extract(self, keys: Ints) -> State:
        places, values = [np.zeros(0, np.int64)], [np.zeros(0)]
        for key, value in zip(self._keys, self._values, strict=True):
            first = np.searchsorted(key, keys)
            count = np.searchsorted(key, keys, side="right") - first
            places.append(np.repeat(np.arange(len(keys)), count))
            start = np.cumsum(count) - count
            values.append(value[np.repeat(first - start, count) + np.arange(int(count.sum()))])
        place, value = _by_series(
            np.concatenate(places), np.concatenate(values)
        )  # a cut of the stream does not show
        return super().extract(keys) | {"keys": place, "values": value}

    def restore(self, state: State) -> None:
        super().restore(state)
        self._keys, self._values = [], []
        self._append(np.array(state["keys"], np.int64), np.array(state["values"], np.float64))
        self._update_trained()

    def merge(self, keys: Ints, state: State) -> None:
        super().merge(keys, state)
        self._append(keys[state["keys"]], np.array(state["values"], np.float64))
        self._update_trained()


def _by_series(key: Ints, value: Floats) -> tuple[Ints, Floats]:
    """Readings by series, those of each in the order they stand in."""
    order = order_by(key)
    return (key, value) if order is None else (key[order], value[order])
