"""Binary search in many stretches of one array at once."""

from __future__ import annotations

import numpy as np

from sensors.batch import Ints


def first_at_least(values: Ints, low: Ints, high: Ints, wanted: Ints) -> Ints:
    """First index in each stretch `[low, high)` whose value is `wanted` or more; `high` where there is none.

    Args:
        values: ascending within each stretch.
        low: `(m,)` first index of each stretch.
        high: `(m,)` index after its last.
        wanted: `(m,)`.
    """
    low, high = low.copy(), high.copy()
    while True:
        live = low < high
        if not live.any():
            return low
        middle = (low + high) >> 1
        less = live & (values[np.minimum(middle, len(values) - 1)] < wanted)
        low = np.where(less, middle + 1, low)
        high = np.where(live & ~less, middle, high)


def spread(first: Ints, number: Ints) -> tuple[Ints, Ints]:
    """Stretches as one row of indices: which stretch each belongs to, and the indices `first`, `first` + 1, ..."""
    owner = np.repeat(np.arange(len(number)), number)
    return owner, np.arange(len(owner)) + np.repeat(first - (np.cumsum(number) - number), number)
