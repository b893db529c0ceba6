"""Names of series to rows of the state arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.core.changes import Changes
from agent.core.series import State, Stateful, Tracked, entries
from sensors.batch import Batch, Ints

Name = tuple[str, ...]
"""The key of a series: the machine, or one text for each column the operator groups by."""

_UNKNOWN, _REFUSED = -2, -1
_TABLE_LIMIT = 1 << 20  # combinations of words up to which a look-up table beats sorting


@dataclass
class KeyTable(Stateful):
    """Interns the keys of one grouping; every operator with that grouping shares the table.

    Rows of state are given in order of first occurrence, so that they do not depend on how the stream is cut. A
    missing text is a key of its own, the empty text (as NULL is a group in SQL).

    It touches each row of state whose series has come: whatever the parts of the grouping remember of it may change.

    Attributes:
        by: columns that make the key; `"machine"` is the machine, others are text columns or numbers (as text).
        cap: most series kept; rows of further series are refused and counted in `refused`.
        evicted: series whose rows were freed.
        changes: which series change, of all parts of the grouping.
        renamed: which rows of state get a name or lose theirs.
        names: key of each row of state; None where the row is free again.
        seen: `(len(names),)` engine time at which each key was last seen, ns.
    """

    by: tuple[str, ...] = ("machine",)
    cap: int = 100_000
    names: list[Name | None] = field(default_factory=list)
    refused: int = 0
    evicted: int = 0
    changes: Changes = field(default_factory=Changes)
    renamed: Changes = field(default_factory=Changes)
    seen: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _index: dict[Name, int] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    _columns: tuple[tuple[str, ...], ...] = ()
    _lookup: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        self.track(self.changes)
        self._tracked = (Tracked(_Names(self), self.renamed), Tracked(_Seen(self), self.changes))

    def __len__(self) -> int:
        return len(self.names)

    def intern(self, batch: Batch, now: int) -> Ints:
        """Row of state for each row of the batch, `(n,)`; -1 where the series is refused."""
        if len(batch) == 0:
            return np.zeros(0, np.int64)
        columns = [_words(batch, name) for name in self.by]
        size = 1
        for words, _ in columns:
            size *= len(words) + 1
        small = size <= max(_TABLE_LIMIT, 4 * len(batch))
        keys = self._by_table(columns, size) if small else self._by_sorting(columns)
        count = int(np.count_nonzero(keys == _REFUSED))
        self.refused += count
        known = keys if count == 0 else keys[keys >= 0]
        self.touch(known)
        self.seen[known] = now
        return keys

    def _by_table(self, columns: list[tuple[tuple[str, ...], Any]], size: int) -> Ints:
        """Look the codes up in a table kept while the same words come again."""
        words = tuple(column[0] for column in columns)
        if len(words) != len(self._columns) or any(a is not b for a, b in zip(words, self._columns, strict=True)):
            self._columns, self._lookup = words, np.full(size, _UNKNOWN, np.int64)
        code = _combine(columns)
        keys = self._lookup[code]
        unknown = np.flatnonzero(keys == _UNKNOWN)
        if len(unknown):
            codes, first = np.unique(code[unknown], return_index=True)
            for position in np.argsort(first, kind="stable").tolist():
                self._lookup[codes[position]] = self._add(_name(columns, int(unknown[first[position]])))
            keys = self._lookup[code]
            if self.refused or np.any(keys == _REFUSED):  # a refused name may get a row later: look again
                self._lookup[self._lookup == _REFUSED] = _UNKNOWN
        return keys

    def _by_sorting(self, columns: list[tuple[tuple[str, ...], Any]]) -> Ints:
        table = np.stack([codes for _, codes in columns])
        _, first, inverse = np.unique(table, axis=1, return_index=True, return_inverse=True)
        rows = np.empty(len(first), np.int64)
        for position in np.argsort(first, kind="stable").tolist():
            rows[position] = self._add(_name(columns, int(first[position])))
        keys: Ints = rows[inverse.reshape(-1)]
        return keys

    def _add(self, name: Name) -> int:
        known = self._index.get(name)
        if known is not None:
            return known
        if len(self._index) >= self.cap:
            return _REFUSED
        row = self._free.pop() if self._free else len(self.names)
        self.touch(np.array([row]))
        self.renamed.touch(np.array([row]))
        self.grow(row + 1)
        self.names[row] = name
        self._index[name] = row
        return row

    def row(self, name: Name, now: int) -> int:
        """Row of state of a key seen now, a new one if need be; -1 if refused."""
        row = self._add(name)
        if row >= 0:
            self.touch(np.array([row]))
            self.seen[row] = max(now, int(self.seen[row]))
        return row

    def idle(self, before: int) -> Ints:
        """Rows of the keys not seen since `before` (engine time, ns), ascending."""
        seen = self.seen[: len(self.names)]
        rows = np.flatnonzero(seen < before)
        return rows[[self.names[row] is not None for row in rows.tolist()]] if len(rows) else rows

    def nameless(self, size: int) -> Ints:
        """Those of the rows 0 to `size` - 1 that have no name."""
        known = min(size, len(self.names))
        free = [row for row in range(known) if self.names[row] is None]
        return np.append(np.array(free, np.int64), np.arange(known, size))

    @property
    def series(self) -> int:
        return len(self.names)

    @property
    def bytes_a_series(self) -> int:
        return self.seen.itemsize

    def grow(self, size: int) -> None:
        self.names += [None] * (size - len(self.names))
        if size > len(self.seen):
            self.seen = np.concatenate([self.seen, np.zeros(max(16, size, len(self.seen)), np.int64)])

    def rows(self, names: Iterable[Name]) -> Ints:
        """Rows of those of these series that are known, ascending."""
        return np.sort(np.array([self._index[name] for name in names if name in self._index], np.int64))

    def room(self, names: Sequence[Name]) -> Ints:
        """The row that each of these series has or would get, new ones in order of the names; `merge` gives them.

        Raises:
            ValueError: there would be more series than `cap`.
        """
        new = [name for name in names if name not in self._index]
        if len(self._index) + len(new) > self.cap:
            raise ValueError(
                f"{'/'.join(self.by)}: {len(new)} series more than the {len(self._index)} there are would be more than "
                f"`series` = {self.cap} allows; raise it, or take fewer series"
            )
        more = range(len(self.names), len(self.names) + max(0, len(new) - len(self._free)))
        given = dict(zip(new, sorted([*self._free, *more][-len(new) :]), strict=True)) if new else {}
        return np.array([self._index.get(name, given.get(name, -1)) for name in names], np.int64)

    def evict(self, rows: Ints) -> None:
        """Free these rows; other series may get them."""
        self.touch(rows)
        self.renamed.touch(rows)
        self.names = list(self.names)  # a reader of the list from before still finds the right names
        for row in rows.tolist():
            name = self.names[row] if row < len(self.names) else None
            if name is not None:
                del self._index[name]
                self.names[row] = None
                self._free.append(row)
                self.evicted += 1
        self._columns = ()

    def name(self, row: int) -> Name:
        """The key of a row of state."""
        name = self.names[row]
        return name if name is not None else ("",) * len(self.by)

    def stats(self) -> dict[str, int]:
        """What it has counted, and how many series there are."""
        return {"refused": self.refused, "evicted": self.evicted, "series": len(self._index)}

    def tracked(self) -> tuple[Tracked, Tracked]:
        """Its names, which change rarely, and when each was seen, to be saved apart; the names are restored first."""
        return self._tracked

    def snapshot(self) -> State:
        return {
            "names": [list(name) if name is not None else None for name in self.names],
            "seen": self.seen[: len(self.names)].copy(),
            "free": list(self._free),
            "refused": self.refused,
            "evicted": self.evicted,
        }

    def restore(self, state: State) -> None:
        names = list(entries(state)["names"])
        self.names, self._index, self._columns = [None] * len(names), {}, ()
        self.seen = np.array(state["seen"], np.int64)
        self._put(np.arange(len(names)), names)
        self._set_free({"evicted": 0, **state})
        if self.seen.shape != (len(names),) or len(self._index) + len(self._free) != len(names):
            raise ValueError(f"{'/'.join(self.by)}: names, times and free rows of its series do not fit each other")

    def _put(self, keys: Ints, names: Iterable[Any]) -> None:
        """Give rows without a name the names from a state.

        Raises:
            TypeError, ValueError: one is no name of this grouping, or there twice.
        """
        for key, words in zip(keys.tolist(), names, strict=True):
            if words is None:
                continue
            name = tuple(words)
            if len(name) != len(self.by) or not all(isinstance(word, str) for word in name):
                raise ValueError(f"{'/'.join(self.by)}: the name of a series is {name!r}"[:200])
            if self._index.setdefault(name, key) != key:
                raise ValueError(f"{'/'.join(self.by)}: two series have the name {name!r}"[:200])
            self.names[key] = name
        self._columns = ()

    def _set_free(self, state: State) -> None:
        """The rows free for new series, and the counters, from a state."""
        free = np.asarray(state["free"], np.int64).tolist()
        if len(set(free)) != len(free) or any(
            not 0 <= row < len(self.names) or self.names[row] is not None for row in free
        ):
            raise ValueError(f"{'/'.join(self.by)}: rows of state are free that have a series")
        self._free, self.refused, self.evicted = free, int(state["refused"]), int(state["evicted"])

    def extract(self, keys: Ints) -> State:
        names = (self.names[key] for key in keys.tolist())
        return {"names": [list(name) if name is not None else None for name in names], "seen": self.seen[keys]}

    def merge(self, keys: Ints, state: State) -> None:
        self.touch(keys)
        self.renamed.touch(keys)
        known = len(self.names)
        self.grow(int(keys.max(initial=-1)) + 1)
        self._put(keys, state["names"])
        self.seen[keys] = state["seen"]
        self._free = [r for r in (*self._free, *range(known, len(self.names))) if self.names[r] is None]


class _Names(Stateful):
    """The names of a table, which change far more rarely than anything else."""

    bytes_a_series = 128  # about

    def __init__(self, table: KeyTable) -> None:
        self._table = table

    @property
    def series(self) -> int:
        return len(self._table.names)

    def extract(self, keys: Ints) -> State:
        """As bytes of JSON, so that nobody has to walk over them."""
        table = self._table
        known = table.names
        names = [known[key] if key < len(known) else None for key in keys.tolist()]
        text = json.dumps(names, separators=(",", ":"))
        free = np.array(table._free, np.int64)
        return {"names": np.frombuffer(bytearray(text.encode()), np.uint8), "free": free, **table.stats()}

    def merge(self, keys: Ints, state: State) -> None:
        table = self._table
        try:
            names = json.loads(np.asarray(entries(state)["names"], np.uint8).tobytes())
        except RecursionError as error:
            raise ValueError("names of series are nested") from error
        if not isinstance(names, list) or len(names) != len(keys):
            raise ValueError(f"{len(keys)} series have other names than that many")
        table.grow(1 + int(keys.max(initial=-1)))
        self._make_way(names)
        table._put(keys, names)

    def _make_way(self, names: list[Any]) -> None:
        """A series that was evicted and came back has another row since an older record; that row's name is outdated."""
        table = self._table
        for words in names:
            row = None if words is None else table._index.pop(tuple(words), None)
            if row is not None:
                table.names[row] = None

    def evict(self, keys: Ints) -> None:
        table = self._table
        for key in keys[keys < len(table.names)].tolist():
            name = table.names[key]
            if name is not None:
                del table._index[name]
                table.names[key] = None

    def restore_shared(self, state: State) -> None:
        table = self._table
        table._set_free(entries(state))
        if len(table._index) + len(table._free) != len(table.names):
            raise ValueError(f"{'/'.join(table.by)}: names and free rows of its series do not fit each other")


class _Seen(Stateful):
    """When each series of a table was seen last."""

    bytes_a_series = 8

    def __init__(self, table: KeyTable) -> None:
        self._table = table

    @property
    def series(self) -> int:
        return len(self._table.names)

    def extract(self, keys: Ints) -> State:
        seen = np.zeros(len(keys), np.int64)
        known = keys < self.series
        seen[known] = self._table.seen[keys[known]]
        return {"seen": seen}

    def merge(self, keys: Ints, state: State) -> None:
        self._table.seen[keys] = entries(state)["seen"]

    def evict(self, keys: Ints) -> None:
        """The row is seen anew when it gets a name."""


def _words(batch: Batch, name: str) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """The distinct words of a key column and their codes."""
    if name == "machine":
        return batch.machines, batch.machine
    text = batch.texts.get(name)
    if text is not None:
        return text.words, text.codes
    numbers = batch.values.get(name)
    if numbers is None:
        return (), np.full(len(batch), -1, np.int32)
    distinct, codes = np.unique(numbers, return_inverse=True)
    words = tuple(_number(value) for value in distinct.tolist())
    return words, np.where(np.isnan(numbers), -1, codes).astype(np.int32)


def _number(value: float) -> str:
    return str(int(value)) if value == value and abs(value) < 2**63 and value == int(value) else repr(value)


def _combine(columns: list[tuple[tuple[str, ...], npt.NDArray[np.int32]]]) -> npt.NDArray[np.int64]:
    """One code for each row; code 0 of a column is the missing text."""
    code: Ints = columns[0][1].astype(np.int64) + 1
    for words, codes in columns[1:]:
        code = code * (len(words) + 1) + codes + 1
    return code


def _name(columns: list[tuple[tuple[str, ...], npt.NDArray[np.int32]]], row: int) -> Name:
    return tuple("" if codes[row] < 0 else words[codes[row]] for words, codes in columns)
