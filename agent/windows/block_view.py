"""What all windows compute of rows first: order, segments, columns; shared through the `memo` of the rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from agent.core.rows import Rows
from agent.windows import sorted_block as block
from agent.windows.partials import MaskedColumn, masked
from sensors.batch import Ints, Text


class BlockView:
    """A block of rows by series; each property is computed once for all windows over it.

    Attributes:
        series: None if there are rows without a series.
        highest: highest series.
    """

    def __init__(self, rows: Rows, part: slice, resolution: int) -> None:
        # without the memo that holds this view: a cycle would keep every batch until the collector comes round
        self.rows = Rows(rows.key, rows.start, rows.end, rows.at, rows.values, rows.now, rows.texts, rows.lists)
        self.part = part
        whole = part.start == 0 and part.stop == len(rows)
        key = rows.key if whole else rows.key[part]
        self.highest = int(key.max()) if len(key) > 1 else int(key[0])
        self.series: block.SortedBlock | None = None
        if (int(key.min()) if len(key) > 1 else self.highest) >= 0:
            self.series = block.sort(key, event_time(rows, part, resolution), rows if whole else None)
        self._segments: dict[int, block.Segments] = {}
        self._columns: dict[str, MaskedColumn] = {}

    @classmethod
    def of(cls, rows: Rows, part: slice, resolution: int) -> BlockView:
        """The view of these rows, from their memo if it is there."""
        name = ("view", part.start, part.stop, 0 if rows.start is rows.end else resolution)
        found: BlockView | None = rows.memo.get(name)
        if found is None:
            found = rows.memo[name] = cls(rows, part, resolution)
        return found

    def check_width(self, pane: int) -> None:
        """See that panes and series can be numbered together, see `block.check_width`."""
        if self.series is not None and len(self.series.key) > 1 and pane not in self._segments:
            block.check_width(self.series.key, self.series.time, pane)

    def segments(self, pane: int) -> block.Segments:
        """Segments of series and panes of this length, of series in order."""
        found = self._segments.get(pane)
        if found is None:
            assert self.series is not None  # noqa: S101  # the caller has checked
            made = block.segments(self.series.key, self.series.time // pane, None, True)
            assert made is not None  # noqa: S101  # all are accepted
            found = self._segments[pane] = made
        return found

    def columns(self, names: Iterable[str]) -> dict[str, MaskedColumn]:
        """Columns in the order of `series`."""
        order = None if self.series is None else self.series.order
        for name in names:
            if name not in self._columns:
                self._columns |= columns(self.rows, self.part, (name,), order)
        return {name: self._columns[name] for name in names}


def columns(rows: Rows, part: slice, names: Iterable[str], order: Ints | None) -> dict[str, MaskedColumn]:
    """Columns of the block in this order (None: as they are); one that the rows do not have is all missing."""
    found = {}
    for name in names:
        value = block.column(rows.values, name, part, part.stop - part.start)
        found[name] = masked(value if order is None else value.take(order))
    return found


def event_time(rows: Rows, part: slice, resolution: int) -> Ints:
    """Event time of each row: of a reading its time, of a window its last instant."""
    if rows.start is rows.end:
        return rows.end[part]
    start, end = rows.start[part], rows.end[part]
    return np.where(end > start, end - resolution, end)


def slice_of(rows: Rows, part: slice) -> Rows:
    """Rows of a slice, as views."""
    return Rows(
        rows.key[part],
        rows.start[part],
        rows.end[part],
        rows.at[part],
        {name: column[part] for name, column in rows.values.items()},
        rows.now,
        {name: Text(text.words, text.codes[part]) for name, text in rows.texts.items()},
        {name: column[part] for name, column in rows.lists.items()},
    )
