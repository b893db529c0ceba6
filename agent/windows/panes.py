"""The panes of every series: slices of time whose partial aggregates are shared by all windows over them.

Li, Maier, Tufte, Papadimos and Tucker (2005), "No pane, no gain". A pane lies in slot `pane % slots` of its series'
ring and carries its number, so that a jump in time costs nothing: old slots are simply not recognised any more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.series import State, Stateful
from sensors.batch import Floats, Ints


class PaneRing(Stateful):
    """Partials of the live panes of every series.

    Attributes:
        pane: `(series * slots,)` number of the pane in each slot, -1 where it is empty.
        data: `(C, series * slots)` partials, see `PartialLayout`; kept as `kind`, floats or, at half the memory, whole
            numbers.
        newest: `(series,)` newest pane of each series, -1 where there is none.
    """

    def __init__(self, slots: int, neutral: Floats, kind: type[np.float64] | type[np.int32] = np.float64) -> None:
        self.slots, self.neutral, self.kind = slots, neutral, kind
        self._clear()

    def _clear(self) -> None:
        self._series = 0
        self.pane: Ints = np.full(0, -1, np.int64)
        self.data: npt.NDArray[Any] = np.empty((len(self.neutral), 0), self.kind)
        self.newest: Ints = np.full(0, -1, np.int64)

    @property
    def series(self) -> int:
        return self._series

    @property
    def bytes_a_series(self) -> int:
        return (len(self.neutral) * self.data.itemsize + 8) * self.slots + 8

    def grow(self, size: int) -> None:
        if size <= self._series:
            return
        self._series = size
        have = len(self.newest)
        if size <= have:
            return
        more = max(size, 2 * have, 8) - have
        self.newest = np.concatenate((self.newest, np.full(more, -1, np.int64)))
        self.pane = np.concatenate((self.pane, np.full(more * self.slots, -1, np.int64)))
        self.data = np.concatenate((self.data, np.empty((len(self.neutral), more * self.slots), self.kind)), axis=1)

    def slots_of(self, key: Ints, pane: Ints) -> Ints:
        """Where each pane lies if it is there."""
        return key * self.slots + pane % self.slots

    def carry(self, slot: Ints, pane: Ints) -> Floats:
        """What is there already of each pane `(C, g)`; it is taken out, to be put back by `write`."""
        there = self.pane[slot] == pane
        carry: Floats = self.data.take(slot, axis=1).astype(np.float64, copy=False)
        if not there.all():
            carry[:, ~there] = self.neutral
            slot = slot[there]
        self.pane[slot] = -1
        return carry

    def open(self, slot: Ints, pane: Ints) -> None:
        """Have these panes there, empty if they are new; no two of them share a slot."""
        there = self.pane[slot] == pane
        if not there.all():
            new = slot[~there]
            self.data[:, new] = self.neutral
            self.pane[slot] = pane

    def live(self, keys: Ints, since: Ints) -> tuple[Ints, Ints, Floats]:
        """Panes of these series from pane `since` of each on: key, pane and partials `(C, m)`, in no order."""
        slot = (keys * self.slots)[:, None] + np.arange(self.slots)
        pane = self.pane[slot]
        which, place = np.nonzero(pane >= np.maximum(since, 0)[:, None])
        found = slot[which, place]
        return keys[which], pane[which, place], self.data.take(found, axis=1).astype(np.float64, copy=False)

    def write(self, key: Ints, pane: Ints, slot: Ints, tails: Ints, partial: Floats) -> None:
        """Keep partials `(C, g)`; what a newer pane of its series displaces is dropped.

        Args:
            key: `(g,)` series of each, ascending.
            pane: `(g,)` its number, ascending within a series.
            slot: `(g,)` of `slots_of`.
            tails: `(s,)` last pane of each series.
            partial: `(C, g)`.
        """
        owner = key[tails]
        newest = np.maximum(self.newest[owner], pane[tails])
        self.newest[owner] = newest
        if len(tails) < len(key):
            newest = np.repeat(newest, np.diff(tails, prepend=-1))
        fresh = pane > newest - self.slots
        if not fresh.all():
            slot, pane, partial = slot[fresh], pane[fresh], partial[:, fresh]
        self.pane[slot] = pane
        self.data[:, slot] = partial

    def evict(self, keys: Ints) -> None:
        keys = keys[keys < self._series]
        self.newest[keys] = -1
        self.pane[((keys * self.slots)[:, None] + np.arange(self.slots)).ravel()] = -1

    def snapshot(self) -> State:
        return self.extract(np.arange(self._series))

    def extract(self, keys: Ints) -> State:
        """Only the panes that are there, by their slot in the ring of the series at each position."""
        known = keys < self._series
        newest = np.full(len(keys), -1, np.int64)
        newest[known] = self.newest[keys[known]]
        if len(keys) and known.all() and bool((np.diff(keys) == 1).all()):  # side by side: no array of all slots
            first = int(keys[0]) * self.slots
            slot = np.flatnonzero(self.pane[first : first + len(keys) * self.slots] >= 0)
            found = slot + first
        else:
            slots = (keys[known] * self.slots)[:, None] + np.arange(self.slots)
            which, place = np.nonzero(self.pane[slots] >= 0)
            found, slot = slots[which, place], np.flatnonzero(known)[which] * self.slots + place
        return {"newest": newest, "slot": slot, "pane": self.pane[found], "data": self.data[:, found]}

    def restore(self, state: State) -> None:
        self._clear()
        self.merge(np.arange(len(state["newest"])), state)

    def merge(self, keys: Ints, state: State) -> None:
        if len(keys) == 0:
            return
        self.grow(int(keys.max()) + 1)
        position, place = np.divmod(np.asarray(state["slot"], np.int64), self.slots)
        slot = keys[position] * self.slots + place
        self.newest[keys] = state["newest"]
        self.pane[slot], self.data[:, slot] = state["pane"], state["data"]
