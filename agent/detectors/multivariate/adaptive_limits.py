"""A mean that follows what is accepted, and alarms that end: the life of a series under T2 and Q.

A series is in one of four phases. *Calm*: each row is accepted, and the mean follows it. *Beyond*: the last rows were at
the limit or more; they are not followed, and the `patience`th in a row raises an alarm. *Alarm*: the mean stands still;
the worst row so far gives the direction of the fault. The alarm ends after `patience` rows in which the deviation is
back below the limits of the training, or has nothing left of the direction of the fault: less than `clear` of the worst.
If only the latter, the machine has come back to another state than before: that is where the mean goes, and for `settle`
rows it follows fast and nothing is judged (*settling*). That may be a mistake, so home is not forgotten: the mean of the
last time that was calm for `LONG` rows. An alarm ends, too, when the rows are back there.

While a phase lasts, its rows are worked out at once: a mean that follows is a running sum of `z w^-t` (see
`agent.detectors.base.decay`), one that stands still is a constant. Each change of phase begins a new stretch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.series import Arrays
from agent.detectors.base.streaming import CAP
from agent.detectors.multivariate.pca_subspace import components, forms
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
class ScoredStretch:
    """A stretch of rows of some series, `(k, length)`; of line i the first `valid_length[i]` cells count.

    Attributes:
        line: `(k,)` line of the block each belongs to.
        begin: `(k,)` its column there.
        valid_length: `(k,)` cells that count.
        ratio: the larger of T2 and Q in limits.
        t2, spe: T2 and Q, the squared prediction error.
        alarm: whether in alarm after the row.
        distance: `(features, k, length)` from the mean.
        component: `(m, k, length)`.
    """

    line: Ints
    begin: Ints
    valid_length: Ints
    ratio: Floats
    t2: Floats
    spe: Floats
    alarm: Bools
    distance: Floats
    component: Floats


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A stretch that is being judged, `(k, length)`; see `ScoredStretch`.

    Attributes:
        room: `(k,)` rows that exist; the phase of none changes within them but by a row.
        phase: `(k,)`, changed in place.
        z: `(features, k, length)` of the rows; `known` which of them are, None = all.
        mean: `(features, k)` at its beginning.
        exists: which cells are rows.
    """

    line: Ints
    room: Ints
    phase: Ints
    z: Floats
    known: Bools | None
    mean: Floats
    distance: Floats
    component: Floats
    ratio: Floats
    exists: Bools


@dataclass(slots=True)
class AdaptiveLimits:
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
    rescale_after: int = field(init=False)
    _down: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        steepest = -math.log10(1.0 - max(self.follow, FAST))
        self.rescale_after = max(1, min(1024, int(100.0 / steepest)))  # the scale may shrink to 1e-100
        self._down = np.array(
            [[w**i for i in range(self.rescale_after + 1)] for w in (1.0 - self.follow, 1.0 - FAST)]
        )

    def means(self, carry: Floats, place: Ints, z: Floats, moving: Bools, fast: Bools) -> tuple[Floats, Floats]:
        """Scaled sums `(features, k, length + 1)` and their scale `(k, length + 1)`; the mean is their product."""
        steps = place[:, None] + np.where(moving[:, None], np.arange(z.shape[2] + 1), 0)
        scale = self._down[fast.astype(np.int64)[:, None], np.minimum(steps, self.rescale_after)]
        gain = np.where(moving, np.where(fast, FAST, self.follow), 0.0)
        sums = np.empty((*z.shape[:2], z.shape[2] + 1))
        sums[:, :, 0] = carry.T
        np.multiply(z, gain[:, None] / scale[:, 1:], out=sums[:, :, 1:])
        return np.cumsum(sums, axis=2), scale

    def run(self, state: Arrays, z: Floats, known: Bools | None, valid_length: Ints) -> Iterator[ScoredStretch]:
        """Judge a block of rows and learn from it.

        Args:
            state: `(k, ...)` of `Pca`: the model, which is only read, and the rest, which is changed in place.
            z: `(features, k, length)` features from the centre of the training, weighted.
            known: of the same shape, which of them are known; None = all.
            valid_length: `(k,)` cells of each line that are rows.
        """
        kept = int(np.count_nonzero(state["strength"], axis=1).max())
        subspace = {"axes": state["axes"][:, :, :kept], "strength": state["strength"][:, :kept]}
        state = {**state, **subspace}  # what is changed in place are the other arrays
        begin = np.zeros(len(valid_length), np.int64)
        line = np.flatnonzero(begin < valid_length)
        while len(line):
            piece = self._piece(state, z, known, valid_length, line, begin[line])
            yield piece
            begin[line] += piece.valid_length
            line = line[begin[line] < valid_length[line]]

    def _piece(
        self, state: Arrays, z: Floats, known: Bools | None, valid_length: Ints, line: Ints, begin: Ints
    ) -> ScoredStretch:
        """Judge the next stretch of each line, up to where its phase changes, and learn from it."""
        phase = state["phase"][line]
        fast = phase == SETTLING
        moving = fast | (phase == CALM)
        room = self._room(state, line, phase, valid_length[line] - begin)
        some = _cut(z, line, begin, room)
        there = None if known is None else _cut(known, line, begin, room)
        # Each row is judged by the mean of the rows before it; a mean that stands still is the same for all.
        sums, scale = self.means(state["mean"][line], state["place"][line], some, moving, fast)
        d = some - sums[:, :, :-1] * scale[:, :-1]
        if there is not None:
            d = np.where(there, d, 0.0)
        axes, strength, whole = state["axes"][line], state["strength"][line], state["whole"][line]
        s = components(d, axes)
        t2, spe = forms(d, s, d, s, strength, whole)
        spe = np.maximum(spe, 0.0)
        ratio = np.minimum(np.maximum(t2, spe) / self.limit, CAP)
        cell = np.arange(int(room.max()))
        exists = cell < room[:, None]
        # Calm lasts until a row is beyond, beyond until one is not: that row begins the next stretch.
        over = ratio >= 1.0
        stop = np.where((phase == CALM)[:, None], over, np.where((phase == BEYOND)[:, None], ~over, False)) & exists
        n = _first(stop, room)
        in_alarm = np.zeros(ratio.shape, bool)
        ended, back, returned = (np.zeros(len(line), bool) for _ in range(3))
        bad = np.flatnonzero((phase == BEYOND) | (phase == ALARM))
        if len(bad):
            piece = _Stretch(line, room, phase, some, there, sums[:, :, 0] * scale[:, 0], d, s, ratio, exists)
            in_alarm[bad], ended[bad], back[bad], returned[bad] = self._raise_and_end(state, piece, bad, n)
        self._move_mean(state, line, phase, n, sums, scale, moving)
        # Home again: the mean is what it was there.
        state["mean"][line[returned]], state["place"][line[returned]] = state["home"][line[returned]], 0
        # Back to another state than before: the mean goes where the last row was, and settles from there.
        new = ended & ~back & ~returned
        if new.any():
            mean = sums[:, new, 0] * scale[new, 0] + d[:, new, n[new] - 1]
            state["mean"][line[new]], state["place"][line[new]] = mean.T, 0
        phase[ended] = np.where((back | returned)[ended] | (self.settle == 0), CALM, SETTLING)
        state["quiet"][line[new]] = self.settle
        # A calm series that met a row beyond before its room ended waits there, with nothing counted yet.
        leaving = (phase == CALM) & moving & ~fast & (n < room)
        phase[leaving] = BEYOND
        state["patient"][line[leaving]], state["worst"][line[leaving]] = 0, 0.0
        phase[fast & (state["quiet"][line] == 0)] = CALM
        state["phase"][line] = phase
        return ScoredStretch(line, begin, n, ratio, t2, spe, in_alarm, d, s)

    def _room(self, state: Arrays, line: Ints, phase: Ints, left: Ints) -> Ints:
        """Most rows that a stretch may have, of those `left`: within them nothing but a row can change the phase."""
        moving = (phase == SETTLING) | (phase == CALM)
        room = np.minimum(left, STRETCH)
        room = np.where(
            moving, np.minimum(room, self.rescale_after - state["place"][line]), room
        )  # then sums are scaled anew
        room = np.where(phase == SETTLING, np.minimum(room, state["quiet"][line]), room)
        return np.where(phase == BEYOND, np.minimum(room, self.patience - state["patient"][line]), room)

    def _raise_and_end(
        self, state: Arrays, piece: _Stretch, bad: Ints, n: Ints
    ) -> tuple[Bools, Bools, Bools, Bools]:
        """Raise and end alarms of the lines `bad`, those beyond and in alarm; their phases, and `n`, are changed.

        Returns:
            Whether in alarm after each row; whether the alarm ended, whether the last row was back below the limits of
            the training, whether it was back home; of each of these lines.
        """
        line, room, ratio, exists = piece.line[bad], piece.room[bad], piece.ratio[bad], piece.exists[bad]
        alarm = piece.phase[bad] == ALARM
        beyond = ~alarm
        part = {name: array[line] for name, array in state.items() if name in _OF_ALARM}
        # An alarm ends with the last of `patience` rows that are on the way back ...
        receding, records, j = self._receding(part, piece.distance[:, bad], piece.component[:, bad], ratio, exists)
        run = _in_a_row(receding, part["patient"])
        end = _first((run >= self.patience) & exists, room)
        # ... or that are where the last long calm was, if that comes first.
        away = piece.z[:, bad] - part["home"].T[:, :, None]
        if piece.known is not None:
            away = np.where(piece.known[:, bad], away, 0.0)
        returning_rows = _in_a_row(self._within_limits(away, part), part["homeward"])
        arrived = _first((returning_rows >= self.patience) & exists, room)
        returned = alarm & (arrived <= end) & (arrived < room)
        end = np.minimum(end, arrived)
        ended = alarm & (end < room)
        n[bad] = np.where(alarm, np.minimum(end + 1, room), n[bad])
        # Beyond becomes an alarm with the `patience`th row in a row; that row is in alarm, the one that ends it is not.
        rows = n[bad]
        raised = beyond & (rows == self.patience - part["patient"])
        row, done = np.arange(len(bad)), np.maximum(rows - 1, 0)
        at_last = np.arange(ratio.shape[1]) == done[:, None]
        in_alarm = alarm[:, None] & ~(ended[:, None] & at_last)
        in_alarm |= raised[:, None] & at_last
        # The worst row so far is what an alarm must come back from: its distance is the direction of the fault.
        at = np.where(rows > 0, j[row, done], 0)
        state["fault"][line] = records[:, row, at].T
        state["worst"][line] = np.where(at > 0, ratio[row, np.maximum(at - 1, 0)], part["worst"])
        # What is counted in a row goes on in the next stretch, unless the phase changes here.
        calm = beyond & ~raised & (rows < room)
        patient = np.where(beyond, part["patient"] + rows, run[row, done])
        state["patient"][line] = np.where(raised | ended | calm, 0, patient)
        state["homeward"][line] = np.where(alarm & ~ended, returning_rows[row, done], 0)
        # After a long calm the mean that an alarm leaves is home; a short one may itself have been a mistake.
        long = raised & (part["calm"] >= LONG)
        state["home"][line[long]] = piece.mean[:, bad[long]].T
        state["calm"][line[raised | ended]] = 0
        piece.phase[bad] = np.where(raised, ALARM, np.where(calm, CALM, piece.phase[bad]))
        return in_alarm, ended, ratio[row, done] < 1.0 / self.limit, returned

    def _move_mean(
        self, state: Arrays, line: Ints, phase: Ints, n: Ints, sums: Floats, scale: Floats, moving: Bools
    ) -> None:
        """The mean after `n` rows of those that follow."""
        go = np.flatnonzero(moving)
        lines, rows = line[go], n[go]
        place = state["place"][lines] + rows
        fast = phase[go] == SETTLING
        state["quiet"][lines] -= np.where(fast, rows, 0)
        state["calm"][lines] += np.where(fast, 0, rows)
        fresh = (place == self.rescale_after) | (fast & (state["quiet"][lines] == 0))
        sum_, down = sums[:, go, rows].T, scale[go, rows]
        state["mean"][lines] = np.where(fresh[:, None], sum_ * down[:, None], sum_)
        state["place"][lines] = np.where(fresh, 0, place)

    def _within_limits(self, d: Floats, part: Arrays) -> Bools:
        """Whether rows at some distances are within the limits of the training, `(k, length)`."""
        s = components(d, part["axes"])
        t2, spe = forms(d, s, d, s, part["strength"], part["whole"])
        usual: Bools = np.maximum(t2, spe) < 1.0
        return usual

    def _receding(
        self, part: Arrays, d: Floats, s: Floats, ratio: Floats, exists: Bools
    ) -> tuple[Bools, Floats, Ints]:
        """Of rows beyond or in alarm: whether each is on the way back, the worst rows, and which is whose."""
        highest = np.maximum.accumulate(
            np.concatenate([part["worst"][:, None], np.where(exists, ratio, 0.0)], axis=1), axis=1
        )
        record = exists & (ratio > highest[:, :-1])
        j = np.maximum.accumulate(np.where(record, np.arange(1, ratio.shape[1] + 1), 0), axis=1)
        fault = part["fault"].T[:, :, None]
        worst = np.concatenate([fault, d], axis=2)
        along = np.concatenate([components(fault, part["axes"]), s], axis=2)
        e, r = np.take_along_axis(worst, j[None], axis=2), np.take_along_axis(along, j[None], axis=2)
        t2, spe = forms(e, r, e, r, part["strength"], part["whole"])
        left, off = forms(e, r, d, s, part["strength"], part["whole"])
        inside = t2 > spe
        size, product = np.where(inside, t2, spe), np.where(inside, left, off)
        receding = (product < self.clear * size) | (ratio < 1.0 / self.limit)
        return receding, worst, j


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
