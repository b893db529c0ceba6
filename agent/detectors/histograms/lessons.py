"""The first readings of each series, kept until there are enough to learn what is normal."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.detectors.streaming.frame import LARGEST
from agent.rows import State
from sensors.batch import Floats, Ints

_NEVER = -(2**62)
_OVER = 2**62


class Lessons:
    """Collects the readings of a series from its first one on, for a stretch of event time.

    Args:
        length: how long, ns.
        most: readings kept of a series; further ones are passed over.
        least: readings that it takes, however long.

    Attributes:
        since: `(series,)` event time of the first reading of each that was not learnt from; far back if there is
            none yet.
    """

    def __init__(self, length: int, most: int, least: int = 1) -> None:
        self.length, self.most, self.least = length, most, least
        self.until: Ints = np.full(0, _NEVER, np.int64)
        self.since: Ints = np.full(0, _NEVER, np.int64)
        self.number: Ints = np.zeros(0, np.int64)
        self._all = 0  # the series below this one have all learnt
        self._keys: list[Ints] = []
        self._values: list[Floats] = []

    def over(self, keys: Ints) -> bool:
        """Whether all of these series have learnt (keys below 0 have nothing to learn)."""
        highest = int(keys.max())
        if highest < self._all:
            return True
        if highest >= len(self.until):
            more = max(highest + 1, 2 * len(self.until), 8) - len(self.until)
            self.until = np.append(self.until, np.full(more, _NEVER))
            self.since = np.append(self.since, np.full(more, _NEVER))
            self.number = np.append(self.number, np.zeros(more, np.int64))
        return bool(((self.until[keys] == _OVER) | (keys < 0)).all())

    def learn(self, keys: Ints, time: Ints, value: Floats) -> tuple[Any, Ints]:
        """Take what is to be learnt from.

        Returns:
            `(n,)` int8: 1 where a reading was learnt from (or is one too many), -1 where it has no value and its
            series still learns, 0 where its series has learnt; and the series whose time is up, ascending.
        """
        rows = np.flatnonzero((keys >= 0) & (self.until[keys] != _OVER))
        order = rows[np.argsort(keys[rows], kind="stable")]
        key, when, valid = keys[order], time[order], np.abs(value[order]) <= LARGEST
        first = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        owner, segment = key[first], np.repeat(np.arange(len(first)), np.diff(first, append=len(key)))
        n = len(key)
        begin = np.minimum.reduceat(np.where(valid, np.arange(n), n), first)
        started = self.until[owner] != _NEVER
        known = started | (begin < n)
        until = np.where(started, self.until[owner], when[np.minimum(begin, n - 1)] + self.length)
        place = np.cumsum(valid) - 1
        place -= (place[first] - valid[first])[segment] + 1
        enough = self.number[owner][segment] + place >= self.least
        hit = valid & (when >= until[segment]) & known[segment] & enough
        end = np.minimum.reduceat(np.where(hit, np.arange(n), n), first)
        learning = np.arange(n) < end[segment]
        kept = learning & valid & (self.number[owner][segment] + place < self.most)
        self.number[owner] += np.bincount(segment[kept], minlength=len(owner))
        self.until[owner[known]] = until[known]
        if kept.any():
            self._keys.append(key[kept])
            self._values.append(value[order][kept])
        ended = owner[end < n]
        self.until[ended] = _OVER
        self.since[ended] = when[end[end < n]]
        if len(ended):
            self._count()
        taken = np.zeros(len(keys), np.int8)
        taken[order[learning]] = np.where(valid[learning], 1, -1)
        return taken, ended

    def take(self, ended: Ints) -> tuple[Ints, Floats]:
        """Readings of these series, ordered by series; they are kept no longer."""
        key, value = np.concatenate(self._keys), np.concatenate(self._values)
        mine = np.isin(key, ended)
        self._keys, self._values = [key[~mine]], [value[~mine]]
        key, value = key[mine], value[mine]
        order = np.argsort(key, kind="stable")
        return key[order], value[order]

    def _count(self) -> None:
        waiting = np.flatnonzero(self.until != _OVER)
        self._all = int(waiting[0]) if len(waiting) else len(self.until)

    def evict(self, keys: Ints) -> None:
        """These series learn anew."""
        keys = keys[keys < len(self.until)]
        self.until[keys], self.since[keys], self.number[keys] = _NEVER, _NEVER, 0
        self._count()
        if self._keys:
            key, value = np.concatenate(self._keys), np.concatenate(self._values)
            stay = ~np.isin(key, keys)
            self._keys, self._values = [key[stay]], [value[stay]]

    def snapshot(self) -> State:
        return {
            "until": self.until.copy(),
            "since": self.since.copy(),
            "number": self.number.copy(),
            "keys": np.concatenate(self._keys) if self._keys else np.zeros(0, np.int64),
            "values": np.concatenate(self._values) if self._values else np.zeros(0),
        }

    def restore(self, state: State) -> None:
        self.until = np.array(state["until"], np.int64)
        self.since = np.array(state["since"], np.int64)
        self.number = np.array(state["number"], np.int64)
        self._keys = [np.array(state["keys"], np.int64)]
        self._values = [np.array(state["values"], np.float64)]
        self._count()
