"""Exponentially weighted averages of many series over time, without a loop over time.

`s_t = w s_(t-1) + x_t` is a running sum of `x_t w^-t`, scaled. The sum is added in the order of the rows, so it does
not depend on how the stream is cut, to the last bit, if the scale does not. The scale may not grow for ever. So the
factor `w^-t` is kept as a number from 1 to 2 that depends on `t` alone, and a power of two; the carried sum is
divided by the power of two at the end of each call. That rounds nothing, so it does not matter where a call ends.
Nothing is subtracted, so no precision is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from agent.detectors.scan import highs, last, lows, places, sums
from sensors.batch import Floats, Ints

_BITS = 320
"""Powers of two by which the scale may grow within a matrix: to 1e96, so that squares of 1e200 still fit."""

_UNIT = 54
"""Powers of two are counted in whole numbers of 2 ** -54, so that they are exact for any number of rows."""

_POWERS = 2.0 ** np.arange(_BITS + 3)

_TABLE = 1 << 16
"""Rows of a series up to which the sum of its weights is looked up."""

_FORGOTTEN = 80
"""What has faded by so many powers of two is less than any rounding."""


def keep(half_life: float) -> float:
    """The weight `w` that an average keeps a row, so that a value counts half after `half_life` rows."""
    return float(0.5 ** (1.0 / half_life))


@dataclass(frozen=True, slots=True)
class Scale:
    """Factors for some rows of some series; valid for one matrix.

    Attributes:
        up: of the cells, to be multiplied with them.
        down: of the sum before the first cell and after each, `(k, length + 1)` or what is broadcast to it.
        restart: what the carried sum is multiplied with, a power of two, `(k,)` or one for all.
    """

    up: Floats
    down: Floats
    restart: Floats | np.float64


@dataclass(slots=True)
class Decay:
    """The recursion `s_t = w s_(t-1) + x_t`, vectorised over series and time.

    Attributes:
        w: what a row leaves of the sum before it, 0 < w <= 1.
        longest: most columns of a matrix; less where the scale would grow too large.
        span: rows after which the scale starts anew: never.
    """

    w: float
    longest: int = 1 << 16
    span: int = field(init=False, default=1 << 62)
    _step: np.uint64 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._step = np.uint64(round(-math.log2(self.w) * 2.0**_UNIT))
        rate = int(self._step) * 2.0**-_UNIT
        self.w = 2.0**-rate
        self.longest = max(1, min(self.longest, int(_BITS / rate) if rate else self.longest))

    def at(self, count: Ints, take: Ints, length: int) -> Scale:
        """The factors of a matrix.

        Args:
            count: `(k,)` rows learnt so far.
            take: `(k,)` cells of each line that count.
            length: columns, at most `longest`.
        """
        same = len(count) == 1 or bool((count == count[0]).all())
        begin = count[:1] if same else count
        power = places(begin, length + 1).astype(np.uint64) * self._step  # wraps round: only differences count
        whole = power >> np.uint64(_UNIT)
        whole -= whole[:, :1]
        whole &= np.uint64((1 << (64 - _UNIT)) - 1)
        power &= np.uint64((1 << _UNIT) - 1)
        factor = np.exp2(power * 2.0**-_UNIT)
        factor *= _POWERS.take(whole.view(np.int64))
        if not same or not (take == length).all():
            end = whole[np.arange(len(take)) if not same else 0, take]
            return Scale(factor[:, 1:], 1.0 / factor, 1.0 / _POWERS.take(end.view(np.int64)))
        return Scale(factor[:, 1:], 1.0 / factor, 1.0 / _POWERS[int(whole[0, length])])

    def run(self, carry: Floats, place: Ints | Scale, x: Floats, take: Ints) -> Floats:
        """Go on with the sums of some series.

        Args:
            carry: `(k,)` scaled sums, changed in place; a new series has 0.
            place: `(k,)` rows learnt so far, or the factors that `at` made of them.
            x: `(k, length)` new values.
            take: `(k,)` cells of each line that count.

        Returns:
            `(k, length + 1)`: the sum before the first cell, then after each.
        """
        scale = place if isinstance(place, Scale) else self.at(place, take, x.shape[1])
        total = sums(carry, x * scale.up)
        np.multiply(last(total, take), scale.restart, out=carry)
        total *= scale.down
        return total

    def highest(self, carry: Floats, place: Ints, x: Floats, take: Ints) -> Floats:
        """`m_t = max(w m_(t-1), x_t)` for `x >= 0`, `(k, length)`; arguments as of `run`."""
        scale = self.at(place, take, x.shape[1])
        scaled = x * scale.up
        found = highs(carry, scaled)
        np.multiply(last(found, take), scale.restart, out=carry)
        return np.where(scaled == found[:, 1:], x, (found * scale.down)[:, 1:])  # a record is itself, not rounded

    def reflect(self, carry: Floats, low: Floats, place: Ints | Scale, x: Floats, take: Ints) -> Floats:
        """`s_t = max(0, w s_(t-1) + x_t)` as a running sum less its running minimum (Page 1954), with forgetting.

        Args:
            carry: `(k,)` scaled sums, changed in place; a new series has 0.
            low: `(k,)` lowest scaled sums, changed in place; a new series has 0.
            place: see `run`.
            x: see `run`.
            take: see `run`.

        Returns:
            `(k, length)` the sums after each cell.
        """
        scale = place if isinstance(place, Scale) else self.at(place, take, x.shape[1])
        total = sums(carry, x * scale.up)
        least = lows(low, total[:, 1:])
        np.multiply(last(total, take), scale.restart, out=carry)
        np.multiply(last(least, take), scale.restart, out=low)
        total -= least
        total *= scale.down
        return total[:, 1:]

    def inverse_weight(self, count: Ints, length: int) -> Floats:
        """One over the weights of all rows before each cell, `(k, length)` or what is broadcast to it; 0 for none.

        Args:
            count: `(k,)` rows learnt so far; below 0 is none.
            length: columns.
        """
        table = _inverse_weights(self.w)
        known, rate = len(table), math.log2(self.w)
        least = int(count.min())
        if least * rate < -_FORGOTTEN:
            return np.array([1.0 - self.w])
        if least >= 0 and least + length <= known and (len(count) == 1 or (count == least).all()):
            return table[least : least + length]
        cells = places(count, length)
        near = table.take(np.clip(cells, 0, known - 1))
        if int(count.max()) + length <= known:
            return near
        return np.where(cells < known, near, (1.0 - self.w) / (1.0 - np.exp2(np.maximum(cells, 1) * rate)))


@lru_cache(maxsize=64)
def _inverse_weights(w: float) -> Floats:
    """`1 / (1 + w + .. w^(n-1))` for n = 0, 1, .., up to 65,536 rows."""
    rows = min(_TABLE, math.ceil(_FORGOTTEN / -math.log2(w)))
    weights = np.cumsum(w ** np.arange(rows))
    return np.concatenate([[0.0], 1.0 / weights])
