"""Partial aggregates: what is kept of the readings of one pane, and how panes combine to a window.

A partial is a column of a `(C, m)` array; its `C` numbers are laid out by `PartialLayout`. Three operations, each exact
to the last bit however the stream was cut (law 2):

* `reduce`: readings are added to what is carried, one by one in order of arrival (`np.add.at` adds in order);
* `running`: the same, but every intermediate state is returned (padded `accumulate`, which also adds in order);
* `fold`: a window takes its panes one by one, newest first.

Missing values: NaN and infinities are no values; they count in `missing` only. Sums may overflow: the caller
silences the warnings, `results` makes them NaN and counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from agent.core.series import Stateful
from agent.windows.aggregates import Aggregate
from agent.windows.padding import Padding, before_each
from sensors.batch import Floats, Ints

_LEAST, _MOST = np.inf, -np.inf
ENDS = ("first", "last", "earliest", "latest")


class MaskedColumn(NamedTuple):
    """Numbers `(n,)`, invalid ones 0, and which are valid (None: all)."""

    value: Floats
    valid: Any

    def take(self, rows: Any) -> MaskedColumn:
        """Those at `rows`."""
        return MaskedColumn(self.value[rows], None if self.valid is None else self.valid[rows])


def masked(value: Floats) -> MaskedColumn:
    """A column of which NaN and infinities are invalid."""
    finite = np.isfinite(value)
    return MaskedColumn(value, None) if finite.all() else MaskedColumn(np.where(finite, value, 0.0), finite)


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings in segments: each segment is a run of rows of one series and pane, in order of arrival.

    Attributes:
        columns: the numbers by name.
        segment: `(n,)` segment of each row, ascending from 0.
        first: `(g,)` first row of each segment; `length` is its number of rows.
        key: `(g,)` series of each segment.
        order: `(n,)` number of arrival, for `first` and `last`; float64, exact to 2**53.
        offset: `(n,)` time since the start of the pane, ns; float64.
        pane: `(g,)` number of the pane; float64.
        by_time: rows of a segment are in order of time, not of arrival.
        backwards: rows of a segment run from the last to the first.
    """

    columns: dict[str, MaskedColumn]
    segment: Ints
    first: Ints
    length: Ints
    key: Ints
    order: Floats
    offset: Floats
    pane: Floats
    by_time: bool = False
    backwards: bool = False


class Partials(Protocol):
    """What panes keep, as `agent.windows.pane_operator` sees it."""

    size: int
    neutral: Floats
    columns: tuple[str, ...]
    ends: bool
    whole: bool
    simple: bool

    def add(self, data: npt.NDArray[Any], slot: Ints, r: Readings) -> None: ...

    def reduce(self, carry: Floats, r: Readings) -> Floats: ...

    def running(self, carry: Floats, r: Readings) -> Floats: ...

    def load(self, partial: Floats) -> Floats: ...

    def fold(self, window: Floats, older: Floats) -> None: ...


class PartialLayout(Stateful):
    """Where each number of a partial lies, for a set of aggregates; counts the windows whose sum was not finite.

    Rows: number of readings; for each column its number of values; sums; least and negated greatest values;
    moments (a shift, sum and sum of squares about it; once loaded: mean, sum of squares about it, unused);
    ends (order, pane, value of the first, last, earliest and latest reading).
    """

    shared: ClassVar = {"overflows": ("overflows", max)}

    def __init__(self, aggregates: Sequence[Aggregate], metric: str) -> None:
        self.aggregates = tuple(aggregates)
        columns = dict.fromkeys(([metric] if metric else []) + [a.column for a in aggregates if a.column])
        self.columns: tuple[str, ...] = tuple(columns)
        self.metric = metric or (self.columns[0] if self.columns else "")
        need: dict[str, set[str]] = {column: set() for column in self.columns}
        for item in aggregates:
            if item.column:
                need[item.column] |= _NEEDS.get(item.function, set())
        self.count = {column: 1 + i for i, column in enumerate(self.columns)}
        size = 1 + len(self.columns)
        self.sum: dict[str, int] = {}
        self.least: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.moment: dict[str, int] = {}
        self.end: dict[tuple[str, str], int] = {}
        for column in self.columns:
            if "sum" in need[column]:
                self.sum[column] = size
                size += 1
        self.additive = size
        for name, where in (("min", self.least), ("max", self.most)):
            for column in self.columns:
                if name in need[column]:
                    where[column] = size
                    size += 1
        self.extreme = size
        for column in self.columns:
            if "moment" in need[column]:
                self.moment[column] = size
                size += 3
        for kind in ENDS:
            for column in self.columns:
                if kind in need[column]:
                    self.end[kind, column] = size
                    size += 3
        self.size = size
        self.neutral: Floats = np.zeros((size, 1))
        self.neutral[self.additive : self.extreme] = _LEAST
        for (kind, _), row in self.end.items():
            self.neutral[row] = _LEAST if kind in ("first", "earliest") else _MOST
            self.neutral[row + 2] = np.nan
        self.simple = not self.moment and not self.end
        self.ends = bool(self.end)
        self.names = tuple(dict.fromkeys([*(a.name for a in aggregates if a.name[0] != "\0"), "count", "missing"]))
        self.whole = False
        self.overflows = 0

    # --- one pane -------------------------------------------------------------------------------------------

    def reduce(self, carry: Floats, r: Readings) -> Floats:
        """Partials `(C, g)` of the segments after their readings; `carry` `(C, g)` is changed and returned."""
        carry[0] += r.length
        segment = r.segment
        for column in self.columns:
            value, valid = r.columns[column]
            count = self.count[column]
            moment = self.moment.get(column)
            if moment is not None:
                had = carry[count] > 0
                carry[moment] = np.where(had, carry[moment], _at(value, _first(r, valid), 0.0))
                shifted = value - carry[moment][segment]
                if valid is not None:
                    shifted[~valid] = 0.0
                np.add.at(carry[moment + 1], segment, shifted)
                np.add.at(carry[moment + 2], segment, shifted * shifted)
            if valid is None:
                carry[count] += r.length
            else:
                np.add.at(carry[count], segment, valid.astype(np.float64))
            row = self.sum.get(column)
            if row is not None:
                np.add.at(carry[row], segment, value)
            row = self.least.get(column)
            if row is not None:
                np.minimum(carry[row], np.minimum.reduceat(_masked(value, valid, _LEAST), r.first), out=carry[row])
            row = self.most.get(column)
            if row is not None:
                np.minimum(carry[row], -np.maximum.reduceat(_masked(value, valid, _MOST), r.first), out=carry[row])
        for (kind, column), row in self.end.items():
            value, valid = r.columns[column]
            which = _end_row(kind, r, valid)
            order = r.order if kind in ("first", "last") else r.offset
            new = _at(order, which, _LEAST if kind in ("first", "earliest") else _MOST)
            better = _better(kind, r)(new, carry[row]) & (which >= 0)
            carry[row] = np.where(better, new, carry[row])
            carry[row + 1] = np.where(better, r.pane, carry[row + 1])
            carry[row + 2] = np.where(better, _at(value, which, np.nan), carry[row + 2])
        return carry

    def add(self, data: npt.NDArray[Any], slot: Ints, r: Readings) -> None:
        """Add readings where the partials lie: segments to the columns `slot` of `data`; simple layouts only."""
        number: Any = r.length
        data[0][slot] += number
        place = slot.take(r.segment) if len(slot) > 1 else np.broadcast_to(slot, r.segment.shape)
        for column in self.columns:
            value, valid = r.columns[column]
            if valid is None:
                data[self.count[column]][slot] += number
            else:
                np.add.at(data[self.count[column]], place, valid.astype(np.float64))
            row = self.sum.get(column)
            if row is not None:
                np.add.at(data[row], place, value)
            row = self.least.get(column)
            if row is not None:
                np.minimum.at(data[row], place, _masked(value, valid, _LEAST))
            row = self.most.get(column)
            if row is not None:
                np.minimum.at(data[row], place, -_masked(value, valid, _MOST))

    def running(self, carry: Floats, r: Readings) -> Floats:
        """Partials `(C, n)` after each reading."""
        n = len(r.segment)
        out = np.empty((self.size, n))
        place = np.arange(n) - r.first[r.segment]
        at = Padding(r.segment, r.length, place)
        out[0] = carry[0][r.segment] + (place + 1)
        for column in self.columns:
            value, valid = r.columns[column]
            count, moment = self.count[column], self.moment.get(column)
            if valid is None:
                out[count] = carry[count][r.segment] + (place + 1)
            else:
                out[count] = at.accumulate(np.add, carry[count], valid.astype(np.float64))
            if moment is not None:
                had = carry[count] > 0
                shift = np.where(had, carry[moment], _at(value, _first(r, valid), 0.0))
                out[moment] = np.where(out[count] > 0, shift[r.segment], carry[moment][r.segment])
                shifted = value - shift[r.segment]
                if valid is not None:
                    shifted[~valid] = 0.0
                out[moment + 1] = at.accumulate(np.add, carry[moment + 1], shifted)
                out[moment + 2] = at.accumulate(np.add, carry[moment + 2], shifted * shifted)
            row = self.sum.get(column)
            if row is not None:
                out[row] = at.accumulate(np.add, carry[row], value)
            row = self.least.get(column)
            if row is not None:
                out[row] = at.accumulate(np.minimum, carry[row], _masked(value, valid, _LEAST))
            row = self.most.get(column)
            if row is not None:
                out[row] = at.accumulate(np.minimum, carry[row], -_masked(value, valid, _MOST))
        for (kind, column), row in self.end.items():
            self._running_end(out, carry, r, at, kind, column, row)
        return out

    def _running_end(
        self, out: Floats, carry: Floats, r: Readings, at: Padding, kind: str, column: str, row: int
    ) -> None:
        least = kind in ("first", "earliest")
        order = r.order if kind in ("first", "last") else r.offset
        value, valid = r.columns[column]
        order = _masked(order, valid, _LEAST if least else _MOST)
        best = at.accumulate(np.minimum if least else np.maximum, carry[row], order)
        taken = _better(kind, r)(order, before_each(best, r.first, carry[row]))
        if valid is not None:
            taken &= valid
        source = np.maximum.accumulate(np.where(taken, np.arange(len(taken)), -1))
        own = source >= r.first[r.segment]
        out[row] = best
        out[row + 1] = np.where(own, r.pane[r.segment], carry[row + 1][r.segment])
        out[row + 2] = np.where(own, value[source], carry[row + 2][r.segment])

    def joined(self, newer: Floats, older: Floats) -> Floats:
        """Partials `(C, m)`, not loaded, of readings of two stretches of time; `newer` is changed and returned."""
        for column, row in self.moment.items():
            n, m = newer[self.count[column]], older[self.count[column]]
            moved = np.where((n > 0) & (m > 0), newer[row] - older[row], 0.0)  # to the shift of the older one
            newer[row] = np.where(m > 0, older[row], newer[row])
            newer[row + 2] += moved * (2 * newer[row + 1] + n * moved) + older[row + 2]
            newer[row + 1] += n * moved + older[row + 1]
        self._fold_ends(newer, older)
        newer[: self.additive] += older[: self.additive]
        part = slice(self.additive, self.extreme)
        np.minimum(newer[part], older[part], out=newer[part])
        return newer

    # --- panes to a window ----------------------------------------------------------------------------------

    def load(self, partial: Floats) -> Floats:
        """Bring partials `(C, m)` into the form that `fold` and `finish` take; in place."""
        for column, row in self.moment.items():
            n = partial[self.count[column]]
            mean = partial[row + 1] / n
            square = np.maximum(partial[row + 2] - partial[row + 1] * mean, 0.0)
            some = n > 0
            partial[row + 1] = np.where(some, square, 0.0)
            partial[row] = np.where(some, partial[row] + mean, 0.0)
        return partial

    def fold(self, window: Floats, older: Floats) -> None:
        """Add the next older pane `(C, m)` to windows `(C, m)`, in place; both loaded."""
        if not self.simple:
            self._fold_moments(window, older)
            self._fold_ends(window, older)
        window[: self.additive] += older[: self.additive]
        if self.extreme > self.additive:
            part = slice(self.additive, self.extreme)
            np.minimum(window[part], older[part], out=window[part])

    def _fold_moments(self, window: Floats, older: Floats) -> None:
        # Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing variances"
        for column, row in self.moment.items():
            a, b = window[self.count[column]], older[self.count[column]]
            share = b / (a + b)
            distance = older[row] - window[row]
            mean = window[row] + distance * share
            square = window[row + 1] + older[row + 1] + distance * distance * a * share
            window[row] = np.where(b == 0, window[row], np.where(a == 0, older[row], mean))
            window[row + 1] = np.where(b == 0, window[row + 1], np.where(a == 0, older[row + 1], square))

    def _fold_ends(self, window: Floats, older: Floats) -> None:
        for (kind, column), row in self.end.items():
            some = older[self.count[column]] > 0
            if kind == "earliest":
                take = some
            elif kind == "latest":
                take = some & (window[self.count[column]] == 0)
            else:
                take = _BETTER[kind](older[row], window[row])
            window[row : row + 3] = np.where(take, older[row : row + 3], window[row : row + 3])


_NEEDS: dict[str, set[str]] = {
    "sum": {"sum"}, "mean": {"sum"}, "min": {"min"}, "max": {"max"}, "range": {"min", "max"},
    "std": {"moment"}, "std_pop": {"moment"}, "var": {"moment"}, "var_pop": {"moment"},
    "first": {"first"}, "last": {"last"}, "earliest": {"earliest"}, "latest": {"latest"},
    "rate": {"earliest", "latest"},
}  # fmt: skip
_BETTER: dict[str, Callable[[Any, Any], Any]] = {
    "first": np.less, "last": np.greater, "earliest": np.less, "latest": np.greater_equal,
}  # fmt: skip


def _better(kind: str, r: Readings) -> Callable[[Any, Any], Any]:
    """Whether a reading takes the place of one met before it; of equal times the earliest arrival is the earliest."""
    if r.backwards and kind in ("earliest", "latest"):
        return np.less_equal if kind == "earliest" else np.greater
    return _BETTER[kind]


def _masked(value: Floats, valid: Any, fill: float) -> Floats:
    return value if valid is None else np.where(valid, value, fill)


def _at(value: Floats, index: Ints, fill: float) -> Floats:
    found: Floats = value[index]
    return found if index.min() >= 0 else np.where(index >= 0, found, fill)


def _first(r: Readings, valid: Any) -> Ints:
    """First valid row of each segment, -1 where there is none."""
    if valid is None:
        return r.first
    n = len(r.segment)
    row: Ints = np.minimum.reduceat(np.where(valid, np.arange(n), n), r.first)
    return np.where(row < n, row, -1)


def _end_row(kind: str, r: Readings, valid: Any) -> Ints:
    """Row of each segment that is its first, last, earliest or latest valid one; -1 where there is none."""
    n = len(r.segment)
    if kind == "first" and not r.by_time:
        return _first(r, valid)
    rows = np.arange(n)
    if kind == "last" and not r.by_time:
        mask = valid
    else:
        least = kind in ("first", "earliest")
        offset = r.order if kind in ("first", "last") else r.offset
        offset = _masked(offset, valid, _LEAST if least else _MOST)
        best = (np.minimum if least else np.maximum).reduceat(offset, r.first)
        mask = offset == best[r.segment]
        if valid is not None:
            mask &= valid
        if least != r.backwards:
            row: Ints = np.minimum.reduceat(np.where(mask, rows, n), r.first)
            return np.where(row < n, row, -1)
    if mask is None:
        return r.first + r.length - 1
    last: Ints = np.maximum.reduceat(np.where(mask, rows, -1), r.first)
    return last
