"""Running sums, minima and maxima of many segments at once, each exactly as adding one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints


def before_each(after: npt.NDArray[Any], first: Ints, carried: Any) -> npt.NDArray[Any]:
    """State before each row: that after the row before it, at the `first` row of each segment what is `carried`."""
    before = np.empty_like(after)
    before[1:] = after[:-1]
    before[first] = carried
    return before


class Padding:
    """Segments as rows of padded matrices, grouped by length, so that `accumulate` runs along each."""

    def __init__(self, segment: Ints, length: Ints, place: Ints) -> None:
        longest = int(length.max())
        self._parts: list[tuple[Any, Any, Any, Any, int]] = []
        if longest * len(length) <= 4 * len(place) + 64:
            self._parts.append((slice(None), slice(None), segment, place + 1, longest))
            return
        size = np.frexp(length.astype(np.float64))[1]  # 2**(size - 1) <= length < 2**size
        for exponent in np.unique(size).tolist():
            segments = np.flatnonzero(size == exponent)
            rows = np.flatnonzero(size[segment] == exponent)
            number = np.searchsorted(segments, segment[rows])
            self._parts.append((segments, rows, number, place[rows] + 1, int(length[segments].max())))

    def accumulate(self, ufunc: np.ufunc, carry: Floats, value: Floats) -> Floats:
        out = np.empty(len(value))
        for segments, rows, number, place, longest in self._parts:
            start = carry[segments]
            padded = np.zeros((len(start), longest + 1))
            padded[:, 0] = start
            padded[number, place] = value[rows]
            ufunc.accumulate(padded, axis=1, out=padded)
            out[rows] = padded[number, place]
        return out
