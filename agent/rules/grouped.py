"""Rows sorted by series, for what looks at the rows of a series one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sensors.batch import Ints

Bools = npt.NDArray[np.bool_]
Dtype = TypeVar("Dtype", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows by series, each in order of arrival.

    Attributes:
        order: `(n,)` row at each spot.
        key: `(n,)` series at each spot.
        first: `(n,)` whether the spot is the first of its series; `last` likewise.
    """

    order: Ints
    key: Ints
    first: Bools
    last: Bools

    @classmethod
    def of(cls, key: Ints) -> Grouped:
        """Sort the rows; `key` is `(n,)` and not negative."""
        if len(key) == 0:
            none = np.zeros(0, np.bool_)
            return cls(np.zeros(0, np.int64), key, none, none)
        small = key.astype(np.int16) if int(key.max()) < 2**15 else key  # 16 bits are sorted ten times faster
        order = np.argsort(small, kind="stable")
        by_key = key[order]
        turns = by_key[1:] != by_key[:-1]
        return cls(order, by_key, np.append(True, turns), np.append(turns, True))

    def __len__(self) -> int:
        return len(self.key)


def grown(array: npt.NDArray[Dtype], size: int, empty: object) -> npt.NDArray[Dtype]:
    """The array with at least `size` rows along its first axis, the new ones `empty`; it grows by doubling."""
    have = len(array)
    if size <= have:
        return array
    more = np.full((max(size, 2 * have, 16) - have, *array.shape[1:]), empty, array.dtype)
    return np.concatenate([array, more])
