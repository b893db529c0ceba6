"""Exponentially weighted averages of many series over time, without a loop over time.

`s_t = w s_(t-1) + x_t` is a running sum of `x_t w^-t`, scaled. The sum is added in the order of the rows, so it does
not depend on how the stream is cut, to the last bit, if the scale does not. The scale may not grow for ever. So the
factor `w^-t` is kept as a number from 1 to 2 that depends on `t` alone, and a power of two; the carried sum is
divided by the power of two at the end of each call. That rounds nothing as long as the sum is not next to 0, so it
does not matter where a call ends. Nothing is subtracted, so no precision is lost.

A sum that fades for long comes to where numbers have fewer bits, and then it would matter. So a sum below `FAINT`
counts as 0 wherever it is read, and is carried as 0. What is added must be 0 or at least `LEAST`: beside that, so
small a sum is less than any rounding, so whether a call ended meanwhile and made it 0 shows nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from agent.detectors.base.scan import cummax, cummin, cumsum, gather, last, row_numbers
from sensors.batch import Floats, Ints

_BITS = 320
"""The scale may grow to 1e96 within a matrix, so that squares of 1e200 still fit."""

_UNIT = 54
"""Powers of two are counted in whole numbers of 2 ** -54, so that they are exact for any number of rows."""

_LARGEST = 1000
_POWERS: Floats = np.exp2(np.arange(-_LARGEST, _LARGEST + 1, dtype=np.float64))

_WRAP = (1 << (64 - _UNIT)) - 1

_LOW = 12
"""Bits of a row's number whose factors are looked up."""

_TABLE = 1 << 16
"""Rows of a series up to which the sum of its weights is looked up."""

_FORGOTTEN = 80
"""What has faded by so many powers of two is less than any rounding."""


FAINT = 2.0**-990
"""A sum nearer to 0 counts as 0. Far enough above the smallest number, 2 ** -1074, to have all its bits."""

LEAST = 1e-240
"""What is added to a sum is 0 or not nearer to 0; even what two such numbers leave of each other hides `FAINT`."""


def decay_factor(half_life: float) -> float:
    """The weight `w` that an average keeps a row, so that a value counts half after `half_life` rows."""
    if not 0.01 <= half_life <= 1e9:
        raise ValueError(f"half_life must be 0.01 to 1e9 rows, not {half_life}")
    return float(0.5 ** (1.0 / half_life))


@dataclass(frozen=True, slots=True)
class Scale:
    """Factors for some rows of some series; valid for one matrix.

    Attributes:
        up: of the cells, to be multiplied with them.
        down: of the sum before the first cell and after each, `(k, length + 1)` or what is broadcast to it.
        restart: what the carried sum is multiplied with, a power of two, `(k,)` or what is broadcast to it.
    """

    up: Floats
    down: Floats
    restart: Floats


@dataclass(slots=True)
class Decay:
    """The recursion `s_t = w s_(t-1) + x_t`, vectorised over series and time.

    Attributes:
        w: what a row leaves of the sum before it, 0 < w <= 1.
        max_block: most columns of a matrix; less where the scale would grow too large.
        bits: powers of two by which the scale may grow within a matrix, at most 900; more than 320 only where no value
            is larger than 1e9.
    """

    w: float
    max_block: int = 1 << 16
    bits: int = _BITS
    _bits: int = field(init=False, repr=False)
    _factors: Floats = field(init=False, repr=False)
    _wholes: Ints = field(init=False, repr=False)
    _stride: np.uint64 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        step = round(-math.log2(self.w) * 2.0**_UNIT)
        rate = step * 2.0**-_UNIT
        self.w = 2.0**-rate
        self._bits = min(_LOW, max(0, int(math.log2(0.8 * self.bits / rate)))) if rate else _LOW
        self.max_block = max(1, min(self.max_block, 1 << self._bits))
        factor, whole = _powers(np.arange(1 << self._bits, dtype=np.uint64) * np.uint64(step))
        self._factors, self._wholes = factor * _two_to(whole), whole
        self._stride = np.uint64((step << self._bits) % (1 << 64))

    def scale_at(self, count: Ints, valid_length: Ints, length: int) -> Scale:
        """The factors of a matrix.

        The factor of row n is that of its last bits, from a table, times that of the others, one a line: rounded
        once, and the same whichever rows stand beside it.

        Args:
            count: `(k,)` rows learnt so far.
            valid_length: `(k,)` cells of each line that count.
            length: columns, at most `max_block`.
        """
        begin = count[:1] if len(count) == 1 or bool((count == count[0]).all()) else count
        size = 1 << self._bits
        low = begin & (size - 1)
        power = (begin >> self._bits).astype(np.uint64) * self._stride  # wraps round: only differences count
        fraction, whole = _powers(power)
        base = self._wholes.take(low)
        line = (fraction * _two_to(-base))[:, None]
        cells, end = row_numbers(low, length + 1), low + valid_length
        if int(low.max()) + length < size:
            factor = gather(self._factors, cells)
            factor *= line
            grown = self._wholes.take(end) - base
        else:
            fraction, more = _powers(power + self._stride)
            more = (more - whole) & _WRAP
            behind = (fraction * _two_to(more - base))[:, None]
            factor = gather(self._factors, cells & (size - 1))
            factor *= np.where(cells < size, line, behind)
            grown = self._wholes.take(end & (size - 1)) + np.where(end < size, 0, more) - base
        return Scale(factor[:, 1:], 1.0 / factor, _two_to(-grown))

    def run(
        self, carry: Floats, place: Ints | Scale, x: Floats, valid_length: Ints, positive: bool = False
    ) -> Floats:
        """Go on with the sums of some series.

        Args:
            carry: `(k,)` scaled sums, changed in place; a new series has 0.
            place: `(k,)` rows learnt so far, or the factors that `scale_at` made of them.
            x: `(k, length)` new values, each 0 or at least `LEAST`.
            valid_length: `(k,)` cells of each line that count.
            positive: whether no value is below 0, which saves time.

        Returns:
            `(k, length + 1)`: the sum before the first cell, then after each.
        """
        total = self.run_faint(carry, place, x, valid_length)
        return _without_faint(total, total if positive else np.abs(total))

    def run_faint(self, carry: Floats, place: Ints | Scale, x: Floats, valid_length: Ints) -> Floats:
        """The same for a caller to whom it is all one whether a sum nearer to 0 than `FAINT` stands there as 0."""
        scale = place if isinstance(place, Scale) else self.scale_at(place, valid_length, x.shape[1])
        total = cumsum(carry, x * scale.up)
        carried = last(total, valid_length) * scale.restart
        np.multiply(carried, np.abs(carried) >= _CARRIED, out=carry)
        total *= scale.down
        return total

    def decayed_max(self, carry: Floats, place: Ints, x: Floats, valid_length: Ints) -> Floats:
        """`m_t = max(w m_(t-1), x_t)` for `x >= 0`, `(k, length)`; arguments as of `run`."""
        scale = self.scale_at(place, valid_length, x.shape[1])
        scaled = x * scale.up
        found = cummax(carry, scaled)
        carried = last(found, valid_length) * scale.restart
        np.multiply(carried, carried >= _CARRIED, out=carry)
        faded = found * scale.down
        # A record is itself, not rounded.
        return np.where(scaled == found[:, 1:], x, _without_faint(faded, faded)[:, 1:])

    def cusum_decayed(
        self, carry: Floats, low: Floats, place: Ints | Scale, x: Floats, valid_length: Ints
    ) -> Floats:
        """`s_t = max(0, w s_(t-1) + x_t)` as a running sum less its running minimum (Page 1954), with forgetting.

        Args:
            carry: `(k,)` scaled sums, changed in place; a new series has 0.
            low: `(k,)` lowest scaled sums, changed in place; a new series has 0.
            place: see `run`.
            x: see `run`.
            valid_length: see `run`.

        Returns:
            `(k, length)` the sums after each cell.
        """
        scale = place if isinstance(place, Scale) else self.scale_at(place, valid_length, x.shape[1])
        total = cumsum(carry, x * scale.up)
        least = cummin(low, total[:, 1:])
        height, depth = last(total, valid_length) * scale.restart, last(least, valid_length) * scale.restart
        there = (height >= _CARRIED) | (depth <= -_CARRIED)  # depth is never above; one alone must not become 0
        np.multiply(height, there, out=carry)
        np.multiply(depth, there, out=low)
        total -= least
        total *= scale.down
        total *= total >= FAINT  # many are 0, so there is no use in asking whether one is
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
        if least >= known and least * rate < -_FORGOTTEN:
            return np.array([1.0 - self.w])
        if least >= 0 and least + length <= known and (len(count) == 1 or (count == least).all()):
            return table[least : least + length]
        cells = row_numbers(count, length)
        within = int(count.max()) + length <= known
        if least >= 0 and within:
            return gather(table, cells)
        near = gather(table, np.clip(cells, 0, known - 1))
        if within:
            return near
        return np.where(cells < known, near, (1.0 - self.w) / (1.0 - np.exp2(np.maximum(cells, 1) * rate)))


_CARRIED = FAINT / 2
"""What is carried is the sum times 1 to 4; if that is less, then so is every sum until a value is added."""


def _without_faint(total: Floats, size: Floats) -> Floats:
    """`total`, in place, with 0 where `size`, its distance from 0, is less than `FAINT`."""
    faint = size < FAINT
    if np.count_nonzero(faint):
        total[faint] = 0.0
    return total


def _two_to(exponent: Ints) -> Floats:
    return _POWERS.take(exponent + _LARGEST)  # `np.ldexp` takes ten times as long


def _powers(exponent: npt.NDArray[np.uint64]) -> tuple[Floats, Ints]:
    """`2 ** (exponent * 2 ** -54)` as a number from 1 to 2 and a power of two, known up to multiples of 1,024."""
    fraction: Floats = np.exp2((exponent & np.uint64((1 << _UNIT) - 1)) * 2.0**-_UNIT)
    return fraction, (exponent >> np.uint64(_UNIT)).astype(np.int64)


@lru_cache(maxsize=64)
def _inverse_weights(w: float) -> Floats:
    """`1 / (1 + w + .. w^(n-1))` for n = 0, 1, .., up to 65,536 rows."""
    rows = min(_TABLE, math.ceil(_FORGOTTEN / -math.log2(w)))
    weights = np.cumsum(w ** np.arange(rows))
    return np.concatenate([[0.0], 1.0 / weights])
