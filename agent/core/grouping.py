"""Rows sorted by series, for operators that go through a series row by row."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from agent.core.rows import Rows
from sensors.batch import Ints

Bools = npt.NDArray[np.bool_]
Kind = TypeVar("Kind", bound=np.generic)

_ZERO = np.zeros(1, np.int64)
_SMALL = (1 << 16) - 1
_FEW = 32


class Grouping:
    """Rows by series, those of each in order of arrival. `positions` count the sorted rows.

    Attributes:
        key: `(n,)` series at each position, ascending; rows of a negative key, which belong to none, come first.
        begin: `(s,)` first position of each series.
    """

    __slots__ = ("_order", "begin", "key")

    def __init__(self, key: Ints) -> None:
        """Sort the rows by their `key`, `(n,)`."""
        n = len(key)
        self._order = order_by(key) if n > 1 else None
        self.key = self.sorted(key)
        if n > 1:
            fresh = np.empty(n, np.bool_)
            fresh[0] = True
            np.not_equal(self.key[1:], self.key[:-1], out=fresh[1:])
            self.begin: Ints = fresh.nonzero()[0]
        else:
            self.begin = _ZERO[:n]

    @classmethod
    def of(cls, rows: Rows) -> Grouping:
        """The rows of a table by series; sorted once for all operators."""
        found: Grouping | None = rows.memo.get("series")
        if found is None:
            found = rows.memo["series"] = cls(rows.key)
        return found

    def __len__(self) -> int:
        return len(self.key)

    @property
    def order(self) -> Ints:
        """Row at each position, `(n,)`."""
        return np.arange(len(self.key)) if self._order is None else self._order

    @property
    def permutation(self) -> Ints | None:
        """As `order`; None where the rows came sorted."""
        return self._order

    @property
    def owner(self) -> Ints:
        """The series there are, `(s,)`, ascending."""
        return self.key.take(self.begin)

    @property
    def end(self) -> Ints:
        """Last position of each series, `(s,)`."""
        end = np.empty_like(self.begin)
        np.subtract(self.begin[1:], 1, out=end[:-1])
        end[-1:] = len(self.key) - 1
        return end

    @property
    def length(self) -> Ints:
        """Rows of each series, `(s,)`."""
        return self.end - self.begin + 1

    @property
    def first(self) -> Bools:
        """Whether a position is the first of its series, `(n,)`."""
        first = np.zeros(len(self.key), np.bool_)
        first[self.begin] = True
        return first

    @property
    def number(self) -> Ints:
        """Which row of its series a position is, from 0, `(n,)`."""
        return np.arange(len(self.key)) - self.spread(self.begin)

    def spread(self, values: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        """A value of each series, `(s,)`, at each of its positions."""
        return values if len(self.begin) == len(self.key) else np.repeat(values, self.length)

    def sorted(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of the rows, `(n, ...)`, by position; the column itself where the rows came sorted."""
        return column if self._order is None else column.take(self._order, axis=0)

    def unsorted(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column by position in the order of the rows."""
        if self._order is None:
            return column
        rows = np.empty_like(column)
        rows[self._order] = column
        return rows


def order_by(key: Ints) -> Ints | None:
    """The stable order of rows by `key`, `(n,)`, none below -1; None where they are in it already."""
    back = np.count_nonzero(key[1:] < key[:-1])
    if back == 0:
        return None
    if int(key.max()) < _SMALL:  # 16 bits are sorted by counting, ten times faster than by comparing
        return np.argsort((key + 1).astype(np.uint16), kind="stable")
    if back < _FEW or int(key.max()) >= 1 << 31:  # a few sorted stretches are merged fast
        return np.argsort(key, kind="stable")
    order = np.argsort((key & 0xFFFF).astype(np.uint16), kind="stable")
    return order.take(np.argsort((key >> 16).astype(np.int16).take(order), kind="stable"))
