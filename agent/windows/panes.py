"""The panes of every series: slices of time whose partial aggregates are shared by all windows over them.

Li, Maier, Tufte, Papadimos and Tucker (2005), "No pane, no gain". A pane lies in slot `pane % slots` of its series'
ring and carries its number, so that a jump in time costs nothing: old slots are simply not recognised any more.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agent.rows import State
from sensors.batch import Floats, Ints


class Geometry(Protocol):
    """Which windows there are; windows are numbered, panes too, both from the epoch plus an offset."""

    wide: int
    """Most panes a window has."""

    def oldest(self, pane: Ints) -> Ints:
        """Number of the oldest window that contains each pane."""

    def newest(self, pane: Ints) -> Ints:
        """Number of the newest window that contains each pane."""

    def after(self, pane: Ints) -> Ints:
        """Number of the oldest window that lies wholly after each pane, or contains no pane up to it."""

    def first(self, window: Ints) -> Ints:
        """First pane of each window."""

    def end(self, window: Ints) -> Ints:
        """Pane after the last of each window."""

    def closed(self, pane: Ints) -> Ints:
        """Number of the newest window that ends at or before the start of each pane."""


class Hops:
    """Windows of `wide` panes, one each `hop` panes; hop = wide is a tumbling window."""

    def __init__(self, wide: int, hop: int) -> None:
        self.wide, self.hop = wide, hop

    def oldest(self, pane: Ints) -> Ints:
        return (pane - self.wide) // self.hop + 1

    def newest(self, pane: Ints) -> Ints:
        return pane if self.hop == 1 else pane // self.hop

    def after(self, pane: Ints) -> Ints:
        return self.newest(pane) + 1

    def first(self, window: Ints) -> Ints:
        return window * self.hop

    def end(self, window: Ints) -> Ints:
        return window * self.hop + self.wide

    def closed(self, pane: Ints) -> Ints:
        return (pane - self.wide) // self.hop


class Steps:
    """Windows of `wide` panes one after the other, each told again at every `hop` panes as it fills (CUMULATE)."""

    def __init__(self, wide: int, hop: int) -> None:
        self.wide, self.hop, self.times = wide, hop, wide // hop

    def oldest(self, pane: Ints) -> Ints:
        return pane // self.hop

    def newest(self, pane: Ints) -> Ints:
        return pane // self.wide * self.times + self.times - 1

    def after(self, pane: Ints) -> Ints:
        return self.newest(pane) + 1

    def first(self, window: Ints) -> Ints:
        return window // self.times * self.wide

    def end(self, window: Ints) -> Ints:
        return (window + 1) * self.hop

    def closed(self, pane: Ints) -> Ints:
        return pane // self.hop - 1


def pane_length(size: int, step: int) -> int:
    """The greatest length that divides both."""
    return math.gcd(size, step)


class PaneRing:
    """Partials of the live panes of every series.

    Attributes:
        pane: `(series * slots,)` number of the pane in each slot, -1 where it is empty.
        data: `(C, series * slots)` partials, see `agent.windows.partials.Layout`; kept as `kind`, floats or, at half
            the memory, whole numbers.
        newest: `(series,)` newest pane of each series, -1 where there is none.
    """

    def __init__(self, slots: int, neutral: Floats, kind: type[np.float64] | type[np.int32] = np.float64) -> None:
        self.slots, self.neutral, self.kind = slots, neutral, kind
        self.pane: Ints = np.full(0, -1, np.int64)
        self.data: npt.NDArray[Any] = np.empty((len(neutral), 0), kind)
        self.newest: Ints = np.full(0, -1, np.int64)

    def grow(self, series: int) -> None:
        """Make room for so many series."""
        have = len(self.newest)
        if series <= have:
            return
        series = max(series, 2 * have, 8)
        more = series - have
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
        """Empty the panes of these series."""
        keys = keys[keys < len(self.newest)]
        self.newest[keys] = -1
        self.pane[((keys * self.slots)[:, None] + np.arange(self.slots)).ravel()] = -1

    def snapshot(self) -> State:
        """Only what is filled, so that it does not depend on how the arrays grew."""
        slot = np.flatnonzero(self.pane >= 0)
        used = np.flatnonzero(self.newest >= 0)
        return {
            "newest": self.newest[: used[-1] + 1 if len(used) else 0].copy(),
            "slot": slot,
            "pane": self.pane[slot],
            "data": self.data[:, slot],
        }

    def restore(self, state: State) -> None:
        self.newest = np.array(state["newest"], np.int64)
        series = len(self.newest)
        self.pane = np.full(series * self.slots, -1, np.int64)
        self.data = np.zeros((len(self.neutral), series * self.slots), self.kind)
        slot = np.asarray(state["slot"], np.int64)
        self.pane[slot], self.data[:, slot] = state["pane"], state["data"]

    @property
    def bytes(self) -> int:
        """Memory of one series."""
        return (len(self.neutral) * self.data.itemsize + 8) * self.slots + 8
