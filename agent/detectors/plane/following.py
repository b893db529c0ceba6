"""A mean that follows what is accepted, and alarms that end: the life of a series under T2 and Q.

A series is in one of four phases. *Calm*: each row is accepted, and the mean follows it. *Beyond*: the last rows were at
the limit or more; they are not followed, and the `patience`th in a row raises an alarm. *Alarm*: the mean stands still;
the worst row so far gives the direction of the fault. The alarm ends after `patience` rows in which the deviation is
back below the limits of the training, or has nothing left of the direction of the fault: less than `clear` of the worst.
If only the latter, the machine has come back to another state than before: that is where the mean goes, and for `settle`
rows it follows fast and nothing is judged (*settling*). That may be a mistake, so home is not forgotten: the mean of the
last time that was calm for `LONG` rows. An alarm ends, too, when the rows are back there.

While a phase lasts, its rows are worked out at once: a mean that follows is a running sum of `z w^-t` (see
`agent.detectors.streaming.decay`), one that stands still is a constant. Each change of phase begins a new stretch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.series import Arrays
from agent.detectors.plane.components import components, forms
from agent.detectors.streaming.frame import CAP
from sensors.batch import Floats, Ints

CALM, BEYOND, ALARM, SETTLING = range(4)

FAST = 0.1
"""Weight of the newest row while settling."""

LONG = 200
"""Rows of calm after which the mean is where the machine is at home."""

STRETCH = 512
"""Most rows of a series worked out at once."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """A stretch of rows of some series, `(k, length)`; of line i the first `take[i]` cells count.

    Attributes:
        line: `(k,)` line of the block each belongs to.
        begin: `(k,)` its column there.
        take: `(k,)` cells that count.
        times: the larger of T2 and Q in limits.
        within, beside: T2 and Q.
        alarm: whether in alarm after the row.
        distance: `(features, k, length)` from the mean.
        component: `(m, k, length)`.
    """

    line: Ints
    begin: Ints
    take: Ints
    times: Floats
    within: Floats
    beside: Floats
    alarm: Bools
    distance: Floats
    component: Floats


@dataclass(slots=True)
class Following:
    """The phases of some series.

    Attributes:
        limit: how many times the limit of the training a row must be to be beyond.
        clear: what may be left of the direction of the fault when an alarm ends, of its worst.
        patience: rows in a row that raise or clear.
        follow: weight of the newest row in the mean.
        settle: rows of settling.
    """

    limit: float
    clear: float
    patience: int
    follow: float
    settle: int
    span: int = field(init=False)
    _down: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        steepest = -math.log10(1.0 - max(self.follow, FAST))
        self.span = max(1, min(1024, int(100.0 / steepest)))  # the scale may shrink to 1e-100
        self._down = np.array([[w**i for i in range(self.span + 1)] for w in (1.0 - self.follow, 1.0 - FAST)])

    def means(self, carry: Floats, place: Ints, z: Floats, moving: Bools, fast: Bools) -> tuple[Floats, Floats]:
        """Scaled sums `(features, k, length + 1)` and their scale `(k, length + 1)`; the mean is their product."""
        steps = place[:, None] + np.where(moving[:, None], np.arange(z.shape[2] + 1), 0)
        scale = self._down[fast.astype(np.int64)[:, None], np.minimum(steps, self.span)]
        gain = np.where(moving, np.where(fast, FAST, self.follow), 0.0)
        sums = np.empty((*z.shape[:2], z.shape[2] + 1))
        sums[:, :, 0] = carry.T
        np.multiply(z, gain[:, None] / scale[:, 1:], out=sums[:, :, 1:])
        return np.cumsum(sums, axis=2), scale

    def run(self, state: Arrays, z: Floats, known: Bools | None, take: Ints) -> Iterator[Judged]:
        """Judge a block of rows and learn from it.

        Args:
            state: `(k, ...)` of `Pca`: the model, which is only read, and the rest, which is changed in place.
            z: `(features, k, length)` features from the centre of the training, weighted.
            known: of the same shape, which of them are known; None = all.
            take: `(k,)` cells of each line that are rows.
        """
        kept = int(np.count_nonzero(state["strength"], axis=1).max())
        plane = {"axes": state["axes"][:, :, :kept], "strength": state["strength"][:, :kept]}
        state = {**state, **plane}  # what is changed in place are the other arrays
        begin = np.zeros(len(take), np.int64)
        line = np.flatnonzero(begin < take)
        while len(line):
            piece = self._piece(state, z, known, take, line, begin[line])
            yield piece
            begin[line] += piece.take
            line = line[begin[line] < take[line]]

    def _piece(self, state: Arrays, z: Floats, known: Bools | None, take: Ints, line: Ints, begin: Ints) -> Judged:
        phase, place = state["phase"][line], state["place"][line]
        fast, beyond, alarm = phase == SETTLING, phase == BEYOND, phase == ALARM
        moving = fast | (phase == CALM)
        room = np.minimum(take[line] - begin, STRETCH)
        room = np.where(moving, np.minimum(room, self.span - place), room)
        room = np.where(fast, np.minimum(room, state["quiet"][line]), room)
        room = np.where(beyond, np.minimum(room, self.patience - state["patient"][line]), room)
        length = int(room.max())
        some = _cut(z, line, begin, room)
        sums, scale = self.means(state["mean"][line], place, some, moving, fast)
        d = some - sums[:, :, :-1] * scale[:, :-1]
        if known is not None:
            d = np.where(_cut(known, line, begin, room), d, 0.0)
        axes, strength, whole = state["axes"][line], state["strength"][line], state["whole"][line]
        s = components(d, axes)
        within, beside = forms(d, s, d, s, strength, whole)
        beside = np.maximum(beside, 0.0)
        times = np.minimum(np.maximum(within, beside) / self.limit, CAP)
        cell = np.arange(length)
        exists = cell < room[:, None]
        over = times >= 1.0
        stop = np.where((phase == CALM)[:, None], over, np.where(beyond[:, None], ~over, False)) & exists
        n = _first(stop, room)
        said = np.zeros(times.shape, bool)
        ended, back, returned = (np.zeros(len(line), bool) for _ in range(3))
        bad = np.flatnonzero(beyond | alarm)
        if len(bad):
            part = {name: array[line[bad]] for name, array in state.items() if name in _OF_ALARM}
            turn, records, j = self._turns(part, d[:, bad], s[:, bad], times[bad], exists[bad])
            run = _in_a_row(turn, part["patient"])
            end = _first((run >= self.patience) & exists[bad], room[bad])
            away = some[:, bad] - part["home"].T[:, :, None]
            if known is not None:
                away = np.where(_cut(known, line, begin, room)[:, bad], away, 0.0)
            near = _in_a_row(self._usual(away, part), part["homeward"])
            arrived = _first((near >= self.patience) & exists[bad], room[bad])
            returned[bad] = alarm[bad] & (arrived <= end) & (arrived < room[bad])
            end = np.minimum(end, arrived)
            ended[bad] = alarm[bad] & (end < room[bad])
            n[bad] = np.where(alarm[bad], np.minimum(end + 1, room[bad]), n[bad])
            raised = beyond[bad] & (n[bad] == self.patience - part["patient"])
            done = np.maximum(n[bad] - 1, 0)
            row = np.arange(len(bad))
            back[bad] = times[bad][row, done] < 1.0 / self.limit
            said[bad] = alarm[bad][:, None] & ~(ended[bad][:, None] & (cell == done[:, None]))
            said[bad] |= raised[:, None] & (cell == done[:, None])
            at = np.where(n[bad] > 0, j[row, done], 0)
            state["fault"][line[bad]] = records[:, row, at].T
            state["worst"][line[bad]] = np.where(at > 0, times[bad][row, np.maximum(at - 1, 0)], part["worst"])
            calm = beyond[bad] & ~raised & (n[bad] < room[bad])
            patient = np.where(beyond[bad], part["patient"] + n[bad], run[row, done])
            state["patient"][line[bad]] = np.where(raised | ended[bad] | calm, 0, patient)
            state["homeward"][line[bad]] = np.where(alarm[bad] & ~ended[bad], near[row, done], 0)
            long = raised & (part["calm"] >= LONG)
            state["home"][line[bad[long]]] = (sums[:, bad[long], 0] * scale[bad[long], 0]).T
            state["calm"][line[bad[raised | ended[bad]]]] = 0
            phase[bad] = np.where(raised, ALARM, np.where(calm, CALM, phase[bad]))
        self._move(state, line, phase, n, sums, scale, moving)
        state["mean"][line[returned]], state["place"][line[returned]] = state["home"][line[returned]], 0
        new = ended & ~back & ~returned
        if new.any():
            at = n[new] - 1
            mean = sums[:, new, 0] * scale[new, 0] + d[:, new, at]
            state["mean"][line[new]], state["place"][line[new]] = mean.T, 0
        phase[ended] = np.where((back | returned)[ended] | (self.settle == 0), CALM, SETTLING)
        state["quiet"][line[new]] = self.settle
        leaving = (phase == CALM) & moving & ~fast & (n < room)
        phase[leaving] = BEYOND
        state["patient"][line[leaving]], state["worst"][line[leaving]] = 0, 0.0
        settled = fast & (state["quiet"][line] == 0)
        phase[settled] = CALM
        state["phase"][line] = phase
        return Judged(line, begin, n, times, within, beside, said, d, s)

    def _move(
        self, state: Arrays, line: Ints, phase: Ints, n: Ints, sums: Floats, scale: Floats, moving: Bools
    ) -> None:
        """The mean after `n` rows of those that follow."""
        go = np.flatnonzero(moving)
        lines, rows = line[go], n[go]
        place = state["place"][lines] + rows
        fast = phase[go] == SETTLING
        state["quiet"][lines] -= np.where(fast, rows, 0)
        state["calm"][lines] += np.where(fast, 0, rows)
        fresh = (place == self.span) | (fast & (state["quiet"][lines] == 0))
        sum_, down = sums[:, go, rows].T, scale[go, rows]
        state["mean"][lines] = np.where(fresh[:, None], sum_ * down[:, None], sum_)
        state["place"][lines] = np.where(fresh, 0, place)

    def _usual(self, d: Floats, part: Arrays) -> Bools:
        """Whether rows at some distances are within the limits of the training, `(k, length)`."""
        s = components(d, part["axes"])
        within, beside = forms(d, s, d, s, part["strength"], part["whole"])
        usual: Bools = np.maximum(within, beside) < 1.0
        return usual

    def _turns(
        self, part: Arrays, d: Floats, s: Floats, times: Floats, exists: Bools
    ) -> tuple[Bools, Floats, Ints]:
        """Of rows beyond or in alarm: whether each is on the way back, the worst rows, and which is whose."""
        highest = np.maximum.accumulate(
            np.concatenate([part["worst"][:, None], np.where(exists, times, 0.0)], axis=1), axis=1
        )
        record = exists & (times > highest[:, :-1])
        j = np.maximum.accumulate(np.where(record, np.arange(1, times.shape[1] + 1), 0), axis=1)
        fault = part["fault"].T[:, :, None]
        worst = np.concatenate([fault, d], axis=2)
        along = np.concatenate([components(fault, part["axes"]), s], axis=2)
        e, r = np.take_along_axis(worst, j[None], axis=2), np.take_along_axis(along, j[None], axis=2)
        within, beside = forms(e, r, e, r, part["strength"], part["whole"])
        left, off = forms(e, r, d, s, part["strength"], part["whole"])
        inside = within > beside
        size, product = np.where(inside, within, beside), np.where(inside, left, off)
        turn = (product < self.clear * size) | (times < 1.0 / self.limit)
        return turn, worst, j


_OF_ALARM = frozenset({"worst", "fault", "patient", "home", "homeward", "calm", "axes", "strength", "whole"})


def _in_a_row(mask: Bools, before: Ints) -> Ints:
    """How many cells up to each are set without a gap, `before` of them before the first."""
    cell = np.arange(1, mask.shape[1] + 1)
    last = np.maximum.accumulate(np.where(mask, 0, cell), axis=1)
    return cell - last + np.where(last == 0, before[:, None], 0)


def _first(mask: Bools, default: Ints) -> Ints:
    """Column of the first cell that is set in each line."""
    return np.where(mask.any(axis=1), mask.argmax(axis=1), default)


def _cut(z: npt.NDArray[Any], line: Ints, begin: Ints, room: Ints) -> npt.NDArray[Any]:
    """Of each line `room` columns from `begin`; lines with fewer repeat their last."""
    length = int(room.max())
    first = int(begin[0])
    if len(line) == z.shape[1] and (begin == first).all() and (room == length).all():
        return z[:, :, first : first + length]
    column = begin[:, None] + np.minimum(np.arange(length), room[:, None] - 1)
    return z[:, line[:, None], column]
