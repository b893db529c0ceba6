"""Rounding to decimals exactly as Python's `round(x, n)`, but for whole arrays."""

from __future__ import annotations

import numpy as np

from sensors.batch import Floats

_SPLITTER = 134217729.0  # 2 ** 27 + 1
_FEW = 16  # so few are rounded faster one by one
_WHOLE = 2.0**52  # from here on a double has no fraction


def round_half_even(x: Floats, digits: int) -> Floats:
    """`round(value, digits)` of each value: the decimal nearest to the exact value of the double, ties to even.

    `np.round` multiplies first, and the product may be rounded onto a tie that the exact value is not on, as with
    1.005 and two digits. Here the error of the product (Dekker 1971) decides those cases.

    Args:
        x: `(n,)`; NaN and infinity stay.
        digits: decimals; negative rounds to tens, hundreds and so on.
    """
    if len(x) < _FEW or not 0 <= digits <= 22:  # beyond, the power of ten is no exact double
        return np.array(
            [round(value, digits) if np.isfinite(value) else value for value in x.tolist()], dtype=float
        )
    power = 10.0**digits
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = x * power
        result: Floats = np.rint(scaled)
        beyond = not (scaled.min() > -_WHOLE and scaled.max() < _WHOLE)  # or NaN
        off = np.abs(scaled - result)
        tie = np.flatnonzero(off == 0.5)
        if len(tie):
            floor, error = np.floor(scaled[tie]), _product_error(x[tie], power, scaled[tie])
            result[tie] = np.where(error > 0, floor + 1, np.where(error < 0, floor, result[tie]))
        result /= power
    return np.where(np.abs(scaled) < _WHOLE, result, x) if beyond else result


def _product_error(a: Floats, b: float, product: Floats) -> Floats:
    """`a * b - product`, exactly."""
    spread = _SPLITTER * a
    a_high = spread - (spread - a)
    a_low = a - a_high
    b_spread = _SPLITTER * b
    b_high = b_spread - (b_spread - b)
    b_low = b - b_high
    result: Floats = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return result
