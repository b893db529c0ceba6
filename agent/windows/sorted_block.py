"""One block of readings, sorted: which series and pane each belongs to, and what was closed when it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.core.grouping import Grouping
from agent.core.rows import Rows
from agent.windows.padding import before_each
from agent.windows.watermark import Watermark
from sensors.batch import Floats, Ints

_MAX_CODE = 1 << 62  # series and pane (or time) as one int64
_ZERO = np.zeros(1, np.int64)
_ONE = np.ones(1, np.int64)


class TooWideError(Exception):
    """The block spans too much time for its number of series; the caller cuts it."""


@dataclass(slots=True)
class SortedBlock:
    """Rows of a block by series, in order of arrival within each.

    Attributes:
        order: `(n,)` index of each into the unsorted block; None where they came sorted.
        key: `(n,)` series, `time` ns.
        starts: `(s,)` first row of each series, `length` their number, `owner` which series it is.
        in_order: no reading is behind an earlier one of its series.
        opens: `(s,)` time of the first reading of each series, `ends` of the last.
        before: `(n,)` watermark when each reading came, ns; `after` with it; set by `by_series`.
    """

    order: Ints | None
    key: Ints
    time: Ints
    starts: Ints
    length: Ints
    owner: Ints
    in_order: bool
    opens: Ints
    ends: Ints
    before: Ints = field(init=False)
    after: Ints = field(init=False)


def sort(key: Ints, time: Ints, rows: Rows | None = None) -> SortedBlock:
    """Sort rows, all of series 0 or above, by series; `rows` if the key is that of a whole table."""
    if len(key) == 1:
        return SortedBlock(None, key, time, _ZERO, _ONE, key, True, time, time)
    grouping = Grouping(key) if rows is None else Grouping.of(rows)
    key, time, starts = grouping.key, grouping.sorted(time), grouping.begin
    if len(starts) == len(key):  # one row each, as of many machines at a slow pace
        return SortedBlock(grouping.permutation, key, time, starts, np.ones_like(starts), key, True, time, time)
    length = lengths(starts, len(key))
    back = time[1:] < time[:-1]
    back[starts[1:] - 1] = False
    ends = time[starts + length - 1]
    return SortedBlock(
        grouping.permutation, key, time, starts, length, key[starts], not back.any(), time[starts], ends
    )


def check_width(key: Ints, time: Ints, pane: int) -> None:
    """See that panes and series of a block can be numbered together.

    Raises:
        TooWideError: if the block has to be cut first.
    """
    if len(key) > 1 and ((int(time.max()) - int(time.min())) // pane + 2) * (int(key.max()) + 1) >= _MAX_CODE:
        raise TooWideError


def common_watermark(time: Ints, watermark: Watermark) -> tuple[Ints, Ints]:
    """Watermark of all series before and after each reading, in order of arrival; it moves on."""
    known = int(watermark.at[0])
    after = np.maximum(np.maximum.accumulate(time) - watermark.lag, known)
    watermark.at[0] = after[-1]
    return before_each(after, _ZERO, known), after


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
    s = sort(key, time)
    if common is not None:
        s.before, s.after = common if s.order is None else (common[0].take(s.order), common[1].take(s.order))
        return s
    carried = watermark.at[s.owner]
    s.in_order = s.in_order and bool((s.opens - watermark.lag >= carried).all())
    if s.in_order:
        s.after = s.time - watermark.lag
    else:
        s.after = running_maximum(s.time, s.starts, s.length) - watermark.lag
        s.after = np.maximum(s.after, np.repeat(carried, s.length))
    s.before = before_each(s.after, s.starts, carried)
    watermark.at[s.owner] = s.after[s.starts + s.length - 1]
    return s


def running_maximum(time: Ints, starts: Ints, length: Ints) -> Ints:
    """Highest time so far of each series, `(n,)`; `starts` are the first rows of each, `length` their number.

    Raises:
        TooWideError: if the block has to be cut.
    """
    least = int(time.min())
    span = int(time.max()) - least + 1
    if span * len(starts) >= _MAX_CODE:
        raise TooWideError
    base = np.repeat(np.arange(len(starts)) * span - least, length)  # lifts each series above the one before it
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
