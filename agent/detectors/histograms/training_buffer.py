"""The first readings of each series, kept until there are enough to learn what is normal."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from agent.core.series import Field, SeriesState, State, Stateful
from agent.detectors.base.streaming import LARGEST
from sensors.batch import Floats, Ints

_NEVER = -(2**62)
_OVER = 2**62
_LIST = 1 << 17  # readings of a list up to which joining two takes a millisecond or two


class Lessons(Stateful):
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
        self._all = 0  # the series below this one have all learnt
        self._keys: list[Ints] = []
        self._values: list[Floats] = []

    @property
    def since(self) -> Ints:
        """`(series,)` event time of the first reading of each that was not learnt from; far back before there is one."""
        return self._state["since"]

    def over(self, keys: Ints) -> bool:
        """Whether all of these series have learnt (keys below 0 have nothing to learn)."""
        highest = int(keys.max())
        if highest < self._all:
            return True
        self.grow(highest + 1)
        return bool(((self._state["until"][keys] == _OVER) | (keys < 0)).all())

    def learn(self, keys: Ints, time: Ints, value: Floats) -> tuple[Any, Ints]:
        """Take what is to be learnt from.

        Returns:
            `(n,)` int8: 1 where a reading was learnt from (or is one too many), -1 where it has no value and its
            series still learns, 0 where its series has learnt; and the series whose time is up, ascending.
        """
        since, number, until = (self._state[name] for name in ("since", "number", "until"))
        rows = np.flatnonzero((keys >= 0) & (until[keys] != _OVER))
        order = rows[np.argsort(keys[rows], kind="stable")]
        key, when, valid = keys[order], time[order], np.abs(value[order]) <= LARGEST
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        owner, segment = key[first], np.repeat(np.arange(len(first)), np.diff(first, append=len(key)))
        n = len(key)
        begin = np.minimum.reduceat(np.where(valid, np.arange(n), n), first)
        started = until[owner] != _NEVER
        known = started | (begin < n)
        due = np.where(started, until[owner], when[np.minimum(begin, n - 1)] + self.length)
        place = np.cumsum(valid) - 1
        place -= (place[first] - valid[first])[segment] + 1
        enough = number[owner][segment] + place >= self.least
        hit = valid & (when >= due[segment]) & known[segment] & enough
        end = np.minimum.reduceat(np.where(hit, np.arange(n), n), first)
        learning = np.arange(n) < end[segment]
        kept = learning & valid & (number[owner][segment] + place < self.most)
        number[owner] += np.bincount(segment[kept], minlength=len(owner))
        until[owner[known]] = due[known]
        if kept.any():
            self._append(key[kept], value[order][kept])
        ended = owner[end < n]
        until[ended] = _OVER
        since[ended] = when[end[end < n]]
        if len(ended):
            self._count()
        taken = np.zeros(len(keys), np.int8)
        taken[order[learning]] = np.where(valid[learning], 1, -1)
        return taken, ended

    def take(self, ended: Ints) -> tuple[Ints, Floats]:
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
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        return key[order], np.concatenate(values)[order]

    def _count(self) -> None:
        waiting = np.flatnonzero(self._state["until"] != _OVER)
        self._all = int(waiting[0]) if len(waiting) else len(self._state)

    def _append(self, key: Ints, value: Floats) -> None:
        """Keep these readings, which came later than all that are kept."""
        if len(key) == 0:
            return
        if bool((key[1:] < key[:-1]).any()):
            order = np.argsort(key, kind="stable")
            key, value = key[order], value[order]
        while self._keys and len(self._keys[-1]) <= 2 * len(key) and len(self._keys[-1]) + len(key) <= _LIST:
            key = np.concatenate((self._keys.pop(), key))
            value = np.concatenate((self._values.pop(), value))
            order = np.argsort(key, kind="stable")
            key, value = key[order], value[order]
        self._keys.append(key)
        self._values.append(value)

    def evict(self, keys: Ints) -> None:
        super().evict(keys)
        self._count()
        self.take(keys)

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
        place = np.concatenate(places)
        order = np.argsort(place, kind="stable")  # by series: a cut of the stream does not show
        return super().extract(keys) | {"keys": place[order], "values": np.concatenate(values)[order]}

    def restore(self, state: State) -> None:
        super().restore(state)
        self._keys, self._values = [], []
        self._append(np.array(state["keys"], np.int64), np.array(state["values"], np.float64))
        self._count()

    def merge(self, keys: Ints, state: State) -> None:
        super().merge(keys, state)
        self._append(keys[state["keys"]], np.array(state["values"], np.float64))
        self._count()
