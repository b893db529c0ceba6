"""Finds the matches of all series, start by start.

Starts are taken in order. A start is settled when it has matched, cannot match any more, or has timed out; what
began later waits for it, since its match would take their rows away (Flink emits a finished match only when nothing
older is open). So each series has at most one open start, and keeps the rows from there on; without one, only as many
rows as a pattern's beginning needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from agent.core.grouping import Grouping
from agent.core.series import Field, SeriesState, State, Stateful
from agent.core.series_records import SeriesRecords
from agent.expressions.syntax import Node
from agent.rules.pattern.mapped_rows import Function, MappedRows
from agent.rules.pattern.matcher import Matcher, Thread
from agent.rules.pattern.prefix import Prefix, on_rows
from agent.rules.pattern.row_table import RowTable
from agent.rules.series_rows import SeriesRows
from sensors.batch import Ints

Skip = Callable[[Thread, int], int]
"""First row that may start the next match, given a match's thread and last row."""


class Match(NamedTuple):
    """A match: where it is decided (`at`), its rows as positions of the table, its series."""

    at: int
    time: int
    key: int
    start: int
    stop: int
    thread: Thread


@dataclass
class Search(Stateful):
    """The open start, the kept rows and the count of rows of each series.

    Attributes:
        matcher: of the pattern; `prefix` its beginning; `own` the conditions about the judged row alone.
        skip: where to go on after a match.
        within: a match must be shorter than this, ns; 0 = no limit.
        most_rows: a match has at most so many rows; 0 = no limit.
        columns: of the rows it keeps.
    """

    matcher: Matcher
    prefix: Prefix
    own: Sequence[Node | None]
    skip: Skip
    within: int
    most_rows: int
    columns: Sequence[str]

    remembers: ClassVar = {"": "_numbers", "kept": "_kept", "open": "_open"}

    def __post_init__(self) -> None:
        self._numbers = SeriesState(count=Field(np.int64), bound=Field(np.int64))
        self._kept: SeriesRows[RowTable] = SeriesRows(RowTable.snapshot, partial(RowTable.restored, self.columns))
        self._open = SeriesRecords()  # [start time, rows fed, threads, each counted from the start]

    def advance(
        self, new: RowTable, watermark: tuple[Ints, Ints] | None
    ) -> tuple[RowTable, list[Match], MappedRows]:
        """Take rows in order of time and find what they complete.

        Args:
            new: released rows.
            watermark: its value after each row of the batch and these rows' `at`; None where rows come as they are.

        Returns:
            The table the matches are about, the matches in order of decision, and what measures read.
        """
        expired = self._expired(watermark)
        table = self._with_kept(new, expired)
        matches: list[Match] = []
        mapped = MappedRows({}, [0] * (len(self.matcher.steps) + 1), [0] * (len(self.matcher.steps) + 1))
        if len(table) == 0:
            return table, matches, mapped
        starts = self.prefix.starts(table)
        groups = Grouping(table.key)
        bounds, keys = np.append(groups.begin, len(table)), groups.owner
        cuts = np.searchsorted(starts, bounds)
        keep = np.maximum(bounds[1:] - max(len(self.prefix) - 1, 0), bounds[:-1])
        busy = np.flatnonzero((np.diff(cuts) > 0) | np.isin(keys, list(self._open.of)))
        if len(busy):
            mapped.columns = {name: column.tolist() for name, column in table.columns.items()}
            series = _Series(self, table, mapped, watermark)
            for which in busy.tolist():
                low, high = int(bounds[which]), int(bounds[which + 1])
                candidates = starts[cuts[which] : cuts[which + 1]].tolist()
                kept_from = series.search(int(keys[which]), low, high, candidates, matches)
                if kept_from >= 0:
                    keep[which] = kept_from
        length = bounds[1:] - keep
        rows = np.repeat(keep - np.append(0, np.cumsum(length)[:-1]), length) + np.arange(int(length.sum()))
        kept = self._kept.rows
        self._kept.rows = table.take(rows) if kept is None else kept.then(table.take(rows))
        matches.sort(key=lambda match: match[:4])
        return table, matches, mapped

    def _expired(self, watermark: tuple[Ints, Ints] | None) -> list[int]:
        """Series whose open start the watermark has overtaken."""
        if watermark is None or not self.within or len(watermark[0]) == 0:
            return []
        reached = int(watermark[0][-1]) - self.within
        expired = [key for key, (time, _, _) in self._open.of.items() if time <= reached]
        self.touch(np.array(expired, np.int64))
        return expired

    def _with_kept(self, new: RowTable, expired: list[int]) -> RowTable:
        """The new rows with the kept ones of their series before them, by series; what is not touched stays kept."""
        if len(new):
            self._numbers.grow(int(new.key.max()) + 1)
            count, groups = self._numbers["count"], Grouping(new.key)
            new = new.take(groups.order)
            new.number = groups.number + count[new.key]
            count[groups.owner] += groups.length
        kept = self._kept.rows
        if kept is None or len(kept) == 0:
            return new
        touched = np.zeros(len(self._numbers), np.bool_)
        touched[new.key] = True
        touched[expired] = True
        mine = touched[kept.key]
        old = kept.take(mine)
        self._kept.rows = kept.take(~mine)
        if len(old) == 0:
            return new
        old.at = np.full(len(old), -1)
        table = old.then(new)
        return table.take(Grouping(table.key).order)

    def restore(self, state: State) -> None:
        super().restore(_upgraded(state))
        self._check_open()
        self._numbers.grow(self.series)

    def merge(self, keys: Ints, state: State) -> None:
        super().merge(keys, _upgraded(state))
        self._check_open()
        self._numbers.grow(self.series)

    def _check_open(self) -> None:
        """Raise ValueError where an open start is not about the rows kept of its series."""
        kept = self._kept.rows
        for key, record in self._open.of.items():
            rows = 0 if kept is None else int(np.count_nonzero(kept.key == key))
            match record:
                case [int(), int(fed), [*threads]] if 0 < fed <= rows and all(
                    self._is_thread(t, fed) for t in threads
                ):
                    continue
            raise ValueError(f"the open match {record!r:.100} is not about the {rows} rows kept of its series")

    def _is_thread(self, thread: Any, fed: int) -> bool:
        """Whether these are first rows of the first steps, the first of them row 0."""
        match thread:
            case [0, *later] if len(later) < len(self.matcher.steps):
                return all(type(row) is int and 0 <= row < fed for row in later) and thread == sorted(thread)
        return False


def _upgraded(state: State) -> State:
    """As it is saved today; open starts were a list `[[series, start time, rows fed, threads]]` once."""
    found = state["open"]
    return {**state, "open": {str(key): more for key, *more in found}} if isinstance(found, list) else state


class _Series:
    """The search in one call, with the table as plain lists."""

    def __init__(
        self, search: Search, table: RowTable, mapped: MappedRows, watermark: tuple[Ints, Ints] | None
    ) -> None:
        self.s, self.mapped, self.watermark = search, mapped, watermark
        self.end: list[int] = table.end.tolist()
        self.at: list[int] = table.at.tolist()
        self.number: list[int] = table.number.tolist()
        self.truth: list[Any] = [None if node is None else on_rows(node, table).tolist() for node in search.own]
        self.reached = int(watermark[0][-1]) if watermark is not None and len(watermark[0]) else None

    def fits(self, step: int, mapped: MappedRows) -> bool:
        """Whether the row being judged fits the step."""
        truth = self.truth[step]
        if truth is not None:
            return bool(truth[mapped.end[-1] - 1] == 1.0)
        condition: Function | None = self.s.matcher.conditions[step]
        return condition is None or condition(mapped) is True

    def search(self, key: int, low: int, high: int, candidates: list[int], matches: list[Match]) -> int:
        """Settle the starts of a series; the first row to keep for an open one, else -1."""
        search, base = self.s, self.number[low]
        settled = -1  # where in the batch the starts so far were settled
        settled_to = search._numbers["bound"]
        bound = int(settled_to[key]) - base + low
        opened = search._open.of.pop(key, None)
        if opened is not None:
            _, fed, relative = opened
            threads = [tuple(low + row for row in thread) for thread in relative]
            candidates = [low, *(row for row in candidates if row > low)]
        for start in candidates:
            if start < bound:
                continue
            if opened is not None and start == low:
                row = low + fed
                complete = None
                opened = None
            else:
                row, threads, complete = self.begun(start)
                if row < 0:
                    continue
            end, thread, threads = self.run(start, row, high, threads, complete)
            if thread is not None:
                settled = max(settled, self.at[end])
                matches.append(Match(settled, self.end[end], key, start, end, thread))
                bound = max(bound, search.skip(thread, end), start + 1)
            elif threads:
                time = self.end[start] + search.within
                if search.within and self.reached is not None and self.reached >= time:
                    settled = max(settled, self.expiry(time))
                    continue
                search._open.of[key] = [self.end[start], high - start, [[r - start for r in t] for t in threads]]
                settled_to[key] = bound - low + base
                return start
            else:
                settled = max(settled, self.at[end] if end >= 0 else self.expiry(self.end[start] + search.within))
        settled_to[key] = bound - low + base
        return -1

    def begun(self, start: int) -> tuple[int, list[Thread], Thread | None]:
        """The next row to feed and the states after the pattern's beginning; row -1 if it is too long."""
        search, length = self.s, len(self.s.prefix)
        if length == 0:
            threads, complete = search.matcher.opened(start, self.fits, self.mapped)
            return start + 1, threads, complete
        last = start + length - 1
        if search.within and any(
            self.end[row] - self.end[start] >= search.within for row in range(start, last + 1)
        ):
            return -1, [], None
        thread = tuple(range(start, last + 1))
        return last + 1, [thread], thread if search.matcher.complete(thread, last) else None

    def run(
        self, start: int, row: int, high: int, threads: list[Thread], complete: Thread | None
    ) -> tuple[int, Thread | None, list[Thread]]:
        """Feed rows: (last row, match, []), or (row at which it failed, None, []), or (.., None, open states)."""
        search = self.s
        if complete is not None:
            return row - 1, complete, []
        while threads and row < high:
            if search.within and self.end[row] - self.end[start] >= search.within:
                return (row if self.watermark is None else -1), None, []
            if search.most_rows and row - start >= search.most_rows:
                return row, None, []
            threads, complete = search.matcher.fed(threads, row, self.fits, self.mapped)
            if complete is not None:
                return row, complete, []
            row += 1
        return row - 1, None, threads

    def expiry(self, time: int) -> int:
        """Where in the batch the watermark reached the time; -1 if it was before."""
        if self.watermark is None:
            return -1
        values, at = self.watermark
        position = int(np.searchsorted(values, time))
        return int(at[position]) if position < len(at) else -1
