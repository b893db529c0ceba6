"""The obvious slow versions, with NumPy's histogram and SciPy's entropy, as the tutorial has them."""

from __future__ import annotations

import numpy as np
from scipy.stats import entropy


def own_range_kl(reference, sample, bins=50):
    p, _ = np.histogram(reference, bins=bins, density=True)
    q, _ = np.histogram(sample, bins=bins, density=True)
    return entropy(p + 1e-10, q + 1e-10)


def windows_of(series, size, hop):
    """Windows of each series by hand: lists of (position of the last sample, samples)."""
    return [(i + size - 1, series[i : i + size]) for i in range(0, len(series) - size + 1, hop)]
