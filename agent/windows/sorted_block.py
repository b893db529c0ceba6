"""One block of readings, sorted: which series and pane each belongs to, and what was closed when it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.windows.watermark import Watermark
from sensors.batch import Floats, Ints

_ROOM = 1 << 62
_SMALL_KEYS = 1 << 16
_ZERO = np.zeros(1, np.int64)
_ONE = np.ones(1, np.int64)


class TooWideError(Exception):
    """The block spans too much time for its number of series; the caller cuts it."""


@dataclass(slots=True)
class SortedBlock:
    """Readings of a block by series, in order of arrival within each.

    Attributes:
        order: `(n,)` index of each into the unsorted block; None where they came sorted.
        key: `(n,)` series, `time` ns.
        in_order: no reading is behind an earlier one of its series.
        before: `(n,)` watermark when each reading came, ns; `after` with it.
        starts: `(s,)` first row of each series.
    """

    order: Ints | None
    key: Ints
    time: Ints
    in_order: bool
    before: Ints
    after: Ints
    starts: Ints


def check_width(key: Ints, time: Ints, pane: int) -> None:
    """See that panes and series of a block can be numbered together.

    Raises:
        TooWideError: if the block has to be cut first.
    """
    if len(key) > 1 and ((int(time.max()) - int(time.min())) // pane + 2) * (int(key.max()) + 1) >= _ROOM:
        raise TooWideError


def common_watermark(time: Ints, watermark: Watermark) -> tuple[Ints, Ints]:
    """Horizon of all series before and after each reading, in order of arrival; it moves on."""
    known = int(watermark.at[0])
    after = np.maximum(np.maximum.accumulate(time) - watermark.lag, known)
    before = np.empty_like(after)
    before[1:] = after[:-1]
    before[0] = known
    watermark.at[0] = after[-1]
    return before, after


def by_series(key: Ints, time: Ints, watermark: Watermark, common: tuple[Ints, Ints] | None) -> SortedBlock:
    """Sort a block and find the watermark at each reading; the watermarks of the series move on.

    Args:
        key: `(n,)` series, none below 0.
        time: `(n,)` ns.
        watermark: of the operator.
        common: watermarks before and after each reading where there is one for all series.

    Raises:
        TooWideError: if the block has to be cut; nothing has been changed then.
    """
    order = by_key(key)
    if order is not None:
        key, time = key.take(order), time.take(order)
    fresh = np.empty(len(key), np.bool_)
    fresh[0] = True
    np.not_equal(key[1:], key[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    back = time[1:] < time[:-1]
    back &= ~fresh[1:]
    in_order = not back.any()
    if common is not None:
        before, after = common
        if order is not None:
            before, after = before.take(order), after.take(order)
        return SortedBlock(order, key, time, in_order, before, after, starts)
    owner = key[starts]
    carried = watermark.at[owner]
    if in_order:
        after = time - watermark.lag
        in_order = bool((after[starts] >= carried).all())
    if not in_order:
        after = running_maximum(time, fresh, starts) - watermark.lag
        after = np.maximum(after, np.repeat(carried, np.diff(starts, append=len(key))))
    before = np.empty_like(after)
    before[1:] = after[:-1]
    before[starts] = carried
    watermark.at[owner] = after[np.append(starts[1:], len(key)) - 1]
    return SortedBlock(order, key, time, in_order, before, after, starts)


def running_maximum(time: Ints, fresh: Any, starts: Ints) -> Ints:
    """Highest time so far of each series, `(n,)`; `fresh` marks the first row of each, `starts` are their indices.

    Raises:
        TooWideError: if the block has to be cut.
    """
    least = int(time.min())
    span = int(time.max()) - least + 1
    if span * len(starts) >= _ROOM:
        raise TooWideError
    base = (np.cumsum(fresh) - 1) * span - least
    found: Ints = np.maximum.accumulate(time + base) - base
    return found


@dataclass(slots=True)
class Segments:
    """Accepted readings by series, pane and arrival, and the runs they form.

    Attributes:
        row: `(m,)` index of each into the sorted block; None where all are there in the same order.
        pane: `(m,)` pane of each.
        first: `(g,)` first of each segment; `length` their number.
        number: `(m,)` segment of each.
        key: `(g,)` series of each segment, `panes` `(g,)` its pane.
        heads: `(s,)` first segment of each series, `tails` its last.
    """

    row: Ints | None
    pane: Ints
    first: Ints
    length: Ints
    number: Ints
    key: Ints
    panes: Ints
    heads: Ints
    tails: Ints


def segments(key: Ints, pane: Ints, accepted: Any, in_order: bool) -> Segments | None:
    """Cut accepted readings into segments; None where none is accepted.

    Args:
        key: `(n,)` series, ascending.
        pane: `(n,)` pane of each.
        accepted: `(n,)` bool; None for all.
        in_order: panes ascend within each series.
    """
    row = None
    if accepted is not None:
        row = np.flatnonzero(accepted)
        if len(row) == 0:
            return None
        key, pane = key[row], pane[row]
    if not in_order:
        least = int(pane.min())
        span = int(pane.max()) - least + 1
        code = key * span + (pane - least)
        if (code[1:] < code[:-1]).any():
            order = np.argsort(code, kind="stable")
            row = order if row is None else row[order]
            key, pane = key[order], pane[order]
    if len(key) == 1:
        return Segments(row, pane, _ZERO, _ONE, _ZERO, key, pane, _ZERO, _ZERO)
    fresh = np.empty(len(key), np.bool_)
    fresh[0] = True
    np.not_equal(pane[1:], pane[:-1], out=fresh[1:])
    fresh[1:] |= key[1:] != key[:-1]
    first = fresh.nonzero()[0]
    length = lengths(first, len(key))
    owner = key[first]
    heads = starts_of(owner)
    tails = heads + lengths(heads, len(owner)) - 1
    return Segments(
        row, pane, first, length, np.repeat(np.arange(len(first)), length), owner, pane[first], heads, tails
    )


@dataclass(slots=True)
class Series:
    """Rows by series, in order of arrival within each.

    Attributes:
        order: `(n,)` index of each into the unsorted rows; None where they came sorted.
        key: `(n,)` series of each; `time` ns.
        starts: `(s,)` first row of each series, `length` their number, `owner` which series it is.
        back: some reading is behind an earlier one of its series.
        opens: `(s,)` time of the first reading of each series, `ends` of the last.
    """

    order: Ints | None
    key: Ints
    time: Ints
    starts: Ints
    length: Ints
    owner: Ints
    back: bool
    opens: Ints
    ends: Ints


def series_of(key: Ints, time: Ints) -> Series:
    """Sort rows, all of series 0 or above, by series."""
    if len(key) == 1:
        return Series(None, key, time, _ZERO, _ONE, key, False, time, time)
    order = by_key(key)
    if order is not None:
        key, time = key.take(order), time.take(order)
    starts = starts_of(key)
    length = lengths(starts, len(key))
    back = time[1:] < time[:-1]
    back[starts[1:] - 1] = False
    return Series(
        order, key, time, starts, length, key[starts], bool(back.any()), time[starts], time[starts + length - 1]
    )


def starts_of(key: Ints) -> Ints:
    """First index of each run of equal keys."""
    fresh = np.empty(len(key), np.bool_)
    fresh[:1] = True
    np.not_equal(key[1:], key[:-1], out=fresh[1:])
    return fresh.nonzero()[0]


def lengths(first: Ints, number: int) -> Ints:
    """Length of each stretch of `number` rows that starts at `first`."""
    length = np.empty_like(first)
    np.subtract(first[1:], first[:-1], out=length[:-1])
    length[-1:] = number - first[-1:]
    return length


def column(values: Mapping[str, Floats], name: str, part: slice, number: int) -> Floats:
    """A column of the block; one that the rows do not have is all missing."""
    found = values.get(name)
    return np.full(number, np.nan) if found is None else found[part]


def places(key: Ints) -> tuple[Ints, Ints, Ints]:
    """Place of each row among those of its series, from 0; the series there are, and how many rows each has."""
    if len(key) == 0:
        return key, key, key
    order = by_key(key)
    sorted_key = key if order is None else key.take(order)
    first = np.flatnonzero(np.append(True, sorted_key[1:] != sorted_key[:-1]))
    length = np.diff(first, append=len(key))
    place = np.arange(len(key)) - np.repeat(first, length)
    if order is not None:
        unsorted = np.empty_like(place)
        unsorted[order] = place
        place = unsorted
    return place, sorted_key[first], length


def by_key(key: Ints) -> Ints | None:
    """Order of the rows by series, arrival kept within each; None where they are in it already."""
    if len(key) < 2 or not bool((key[1:] < key[:-1]).any()):
        return None
    return np.argsort(key.astype(np.uint16) if int(key.max()) < _SMALL_KEYS else key, kind="stable")
