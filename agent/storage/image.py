"""A copy of large state as it was at one moment, taken in slices while its owner goes on.

What is about to change is copied right before, so that the copy is of its moment whenever its slices are taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from agent.core.changes import Changes
from agent.core.series import Stateful, Tracked
from agent.storage.live import Live
from agent.storage.records import Array, strip
from sensors.batch import Ints

_SLICE = 1 << 19  # bytes of a copy: a fraction of a millisecond, and memory that is soon free again
_MOST = 8192  # series
_FEW = 256  # copied before a change at least, so that single rows do not make as many records
_LEAST = 64  # series, where copying them takes long: some of that is the same for one
_LONG, _SHORT = 3e-3, 1e-3  # seconds


Parts = Mapping[str, Tracked]


class Copied(NamedTuple):
    """Some series of a part, ready to be packed."""

    name: str
    keys: Ints
    document: Any
    arrays: list[Array]


class Image:
    """The parts as they are now, as far as they changed since they were saved; `next` until it gives None.

    Args:
        parts: by name.
        document: what is not by series; plain JSON.
        live: what is saved of the parts.
        more: series to copy though they did not change, by name of the part.

    Attributes:
        common: the document, and what the series of each part share, as `strip` gives it.
    """

    def __init__(self, parts: Parts, document: Any, live: Mapping[str, Live], more: Mapping[str, Ints]) -> None:
        shared = {name: part.extract(np.zeros(0, np.int64)) for name, (part, _) in parts.items()}
        self.common = strip({"document": document, "shared": shared})
        self._early: list[Copied] = []
        self._taken: dict[int, tuple[Changes, Ints]] = {}
        self._pending: list[_Pending] = []
        by_table: dict[int, list[_Pending]] = {}
        for name, (part, changes) in parts.items():
            if id(changes) not in self._taken:
                self._taken[id(changes)] = (changes, changes.take())
            keys = self._taken[id(changes)][1]
            if name not in live or live[name].part is not part:
                keys = np.arange(part.series)
            else:
                if name in more:
                    keys = np.union1d(keys, more[name])
                if len(keys) and keys[-1] >= part.series:  # what had a record and is as new must not come back
                    keys = keys[(keys < part.series) | live[name].recorded(keys)]
            if len(keys):
                self._pending.append(_Pending(name, part, keys))
                by_table.setdefault(id(changes), []).append(self._pending[-1])
        for table, pending in by_table.items():
            self._taken[table][0].before = self._copier(pending)

    def next(self) -> list[Copied] | None:
        """The next slice; what had to be copied early goes first."""
        if self._early:
            early, self._early = self._early, []
            return early
        while self._pending:
            copied = self._pending[0].slice()
            if copied is not None:
                return [copied]
            self._pending.pop(0)
        self._let_go()
        return None

    def give_back(self) -> None:
        """It came to nothing: what changed is to be saved the next time."""
        self._let_go()
        for changes, keys in self._taken.values():
            changes.mark(keys)

    def _let_go(self) -> None:
        for changes, _ in self._taken.values():
            changes.before = None

    def _copier(self, parts: list[_Pending]) -> Callable[[Ints], None]:
        def before(keys: Ints) -> None:
            for pending in parts:
                copied = pending.before(keys)
                if copied is not None:
                    self._early.append(copied)

        return before


class _Pending:
    """The series of a part that are still to be copied."""

    def __init__(self, name: str, part: Stateful, keys: Ints) -> None:
        self._name, self._part = name, part
        self._left = np.zeros(int(keys[-1]) + 1, np.bool_)
        self._left[keys] = True
        self._at = 0
        self._step = min(max(_SLICE // max(part.bytes_a_series, 1), 1), _FEW)  # records take longer than arrays

    def slice(self) -> Copied | None:
        """Copy some more."""
        keys = self._next(self._step)
        return self._copy(keys) if len(keys) else None

    def before(self, keys: Ints) -> Copied | None:
        """Copy what is left of these, and some more if they are few."""
        keys = keys[keys < len(self._left)]
        keys = keys[self._left[keys]]
        if len(keys) == 0:
            return None
        few = min(_FEW, self._step)
        return self._copy(np.union1d(keys, self._next(few)) if len(keys) < few else np.unique(keys))

    def _next(self, count: int) -> Ints:
        width = max(count, 1 << 16)
        while self._at < len(self._left):
            found = np.flatnonzero(self._left[self._at : self._at + width])[:count] + self._at
            if len(found):
                return found
            self._at += width
        return np.zeros(0, np.int64)

    def _copy(self, keys: Ints) -> Copied:
        began = time.perf_counter()
        self._left[keys] = False
        document, arrays = strip({"keys": _runs(keys), "state": self._part.extract(keys)})
        took, size = time.perf_counter() - began, sum(array.nbytes for array in arrays)
        if size > 2 * _SLICE or (took > _LONG and self._step > _LEAST):
            self._step = max(self._step // 2, 1)
        elif took < _SHORT and size < _SLICE // 2 and len(keys) == self._step:
            self._step = min(2 * self._step, _MOST)
        return Copied(self._name, keys, document, arrays)


def _runs(keys: Ints) -> Ints:
    """First and length of each run of consecutive keys, `(r, 2)`."""
    first = np.concatenate([[0], np.flatnonzero(np.diff(keys) != 1) + 1])
    return np.stack([keys[first], np.diff(first, append=len(keys))], axis=1)


def keys_of(runs: Any, most: int) -> Ints:
    """The keys of these runs, ascending, all below `most`.

    Raises:
        ValueError: they are no such runs.
    """
    runs = np.asarray(runs)
    if runs.dtype != np.int64 or runs.ndim != 2 or runs.shape[1] != 2 or len(runs) == 0:
        raise ValueError("a record does not say of which series it is")
    first, count = runs.T
    if int(first[0]) < 0 or int(count.min()) < 1 or int(count.max()) > most or int(first.max()) >= most:
        raise ValueError(f"a record is of series beyond the {most} that there are")
    if bool((first[1:] < (first + count)[:-1]).any()) or int(first[-1] + count[-1]) > most:
        raise ValueError("a record does not say of which series it is")
    start = np.cumsum(count) - count
    return np.repeat(first - start, count) + np.arange(int(count.sum()))
