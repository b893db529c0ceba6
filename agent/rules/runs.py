"""Cuts rows into runs: stretches of rows of one series with the same direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.core.grouping import Bools, Grouping
from sensors.batch import Ints


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of the rows, sorted by series and then as the rows came.

    Attributes:
        order: `(n,)` row at each position of the sorted rows; `time` is its event time.
        run: `(n,)` run of each position.
        begin, stop: `(r,)` first position of each run, and the one after its last.
        key: `(r,)` series; `up` its direction; `begun` the event time at which it began, perhaps before these rows.
        first_of_key, last_of_key: `(r,)` bool.
    """

    order: Ints
    time: Ints
    run: Ints
    begin: Ints
    stop: Ints
    key: Ints
    up: Bools
    begun: Ints
    first_of_key: Bools
    last_of_key: Bools

    @classmethod
    def of(cls, groups: Grouping, time: Ints, direction: Ints, was_up: Bools, since: Ints) -> Runs:
        """The runs of `n > 0` rows.

        Args:
            groups: the rows by series.
            time: `(n,)` event time.
            direction: `(n,)` 1, -1 or 0 = as before.
            was_up: direction of each series before these rows.
            since: event time at which that run began.
        """
        sorted_key, first, sorted_time = groups.key, groups.first, groups.sorted(time)
        up = _filled(groups.sorted(direction), first, was_up[sorted_key])
        turned = first | np.append(True, up[1:] != up[:-1])
        begin = np.flatnonzero(turned)
        first_of_key = first[begin]
        goes_on = first_of_key & (up[begin] == was_up[sorted_key[begin]])
        return cls(
            order=groups.order,
            time=sorted_time,
            run=np.cumsum(turned) - 1,
            begin=begin,
            stop=np.append(begin[1:], len(groups)),
            key=sorted_key[begin],
            up=up[begin],
            begun=np.where(goes_on, since[sorted_key[begin]], sorted_time[begin]),
            first_of_key=first_of_key,
            last_of_key=np.append(first_of_key[1:], True),
        )

    def first_reaching(self, time: Ints) -> Ints:
        """First position of each run whose time is at least that of the run, `(r,)`; -1 where there is none."""
        positions = np.flatnonzero(self.time >= time[self.run])
        found = np.full(len(self.begin), -1, np.int64)
        runs = self.run[positions]
        found[runs[::-1]] = positions[::-1]  # the first one is written last
        return found

    def reaching(self, run: int, position: int, time: int) -> int:
        """First position of the run, from `position` on, that reaches the time; -1 if none does."""
        later = np.flatnonzero(self.time[position : self.stop[run]] >= time)
        return position + int(later[0]) if len(later) else -1

    def previous(self, counted: Bools, value: Bools, carry: Bools) -> Bools:
        """For each run the value of the counted run before it in its series, else the series' carry, `(r,)`."""
        position = np.arange(len(self.begin))
        latest = np.maximum.accumulate(np.where(counted, position, -1))
        before = np.append(-1, latest[:-1])
        first = np.maximum.accumulate(np.where(self.first_of_key, position, 0))
        result: Bools = np.where(before >= first, value[np.maximum(before, 0)], carry[self.key])
        return result

    def rises(self, level: Ints) -> list[tuple[int, int]]:
        """(position, run) of rows of runs up whose level is above that of the row before them in their series.

        What escalates is among them, whatever the level before these rows.
        """
        here = level[self.order]
        higher = np.append(0, here[:-1]) < here
        higher[self.begin[self.first_of_key]] = here[self.begin[self.first_of_key]] > 0
        positions = np.flatnonzero(higher & self.up[self.run])
        return list(zip(positions.tolist(), self.run[positions].tolist(), strict=True))


def _filled(direction: Ints, first: Bools, carry: Bools) -> Bools:
    """Direction after each row: that of the last row of the series that had one, else the series' carry."""
    position = np.arange(len(direction))
    latest = np.maximum.accumulate(np.where((direction != 0) | first, position, 0))
    up: Bools = np.where(direction[latest] != 0, direction[latest] > 0, carry)
    return up
