"""The kernel of the tutorial's detector: histograms over each window's own range and their KL divergence.

`np.histogram(window, bins, density=True) + 1e-10`, then `scipy.stats.entropy(reference, window)`, for many windows
at once. Counts equal those of `np.histogram` bit for bit; the divergence agrees with SciPy to rounding.

Scale and offset: a window times a positive number, or plus a constant, keeps its counts (but for rounding at bin
edges), so the score is blind to gain and offset, and noise moves the range, so it is over-sensitive to noise. The
method is here for fidelity to the tutorial's numbers.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

FLOOR = 1e-10
"""Added to every density, as the tutorial does, so that an empty bin divides."""
NARROWEST = 1e-290
"""Width of a bin; the density in a narrower one may be infinite."""


class Reason(IntEnum):
    """Why there is no score, or what to know of it. Values below 10 leave a score."""

    NONE = 0
    CONSTANT = 1
    MISSING = 10
    NOT_FINITE = 11
    TOO_FEW = 12
    RANGE = 13
    NO_REFERENCE = 14


WORDS: dict[int, str] = {
    Reason.CONSTANT: "the window is constant",
    Reason.MISSING: "samples are missing",
    Reason.NOT_FINITE: "a sample is not finite",
    Reason.TOO_FEW: "fewer than three samples",
    Reason.RANGE: "the range does not split into the bins",
    Reason.NO_REFERENCE: "no reference yet, or a constant one",
}


def counts_and_widths(windows: Floats, bins: int = 50) -> tuple[Ints, Floats, Ints]:
    """Histogram of each window over its own range, as `np.histogram(window, bins)` makes it.

    The arithmetic follows `np.histogram` step by step (index by multiplication, then compare with both edges of the
    bin), because samples that lie on an edge would otherwise land beside it. A constant window gets the range
    +- 0.5, as there.

    Args:
        windows: `(k, w)`; rows with NaN or infinity get no counts.
        bins: number of bins b.

    Returns:
        Counts `(k, b)`, widths of the bins `(k, b)`, and a `Reason` for each window `(k,)`.
    """
    windows = np.ascontiguousarray(windows, dtype=np.float64)
    k, w = windows.shape
    reason = np.zeros(k, np.int64)
    if w < 3:
        reason[:] = Reason.TOO_FEW
        return np.zeros((k, bins), np.int64), np.ones((k, bins)), reason
    finite = np.isfinite(windows)
    bad = np.atleast_1d(~finite.all(axis=1))
    reason[bad] = np.where(np.isnan(windows[bad]).any(axis=1), Reason.MISSING, Reason.NOT_FINITE)
    safe = np.where(bad[:, None], np.linspace(0.0, 1.0, w), windows) if bad.any() else windows
    low, high = safe.min(axis=1), safe.max(axis=1)
    constant = low == high
    reason[constant & ~bad] = Reason.CONSTANT
    low, high = np.where(constant, low - 0.5, low), np.where(constant, high + 0.5, high)
    with np.errstate(over="ignore"):
        span = high - low
    wide = ~np.isfinite(span)
    low, high, span = np.where(wide, 0.0, low), np.where(wide, 1.0, high), np.where(wide, 1.0, span)
    edges = np.arange(bins + 1, dtype=np.float64) * (span / bins)[:, None] + low[:, None]
    edges[:, -1] = high
    widths = np.diff(edges, axis=1)
    narrow = wide | (widths <= NARROWEST).any(axis=1)
    reason[narrow & (reason < Reason.MISSING)] = Reason.RANGE
    usable = reason < Reason.MISSING
    counts = np.zeros((k, bins), np.int64)
    if usable.any():
        counts[usable] = _count(safe[usable], low[usable], span[usable], edges[usable], bins)
    return counts, np.where(usable[:, None], widths, 1.0), reason


def _count(windows: Floats, low: Floats, span: Floats, edges: Floats, bins: int) -> Ints:
    k = len(windows)
    index = ((windows - low[:, None]) / span[:, None] * bins).astype(np.int64)
    index[index == bins] -= 1
    flat, base = edges.ravel(), (np.arange(k) * (bins + 1))[:, None]
    index -= windows < flat[base + index]
    index += (windows >= flat[base + index + 1]) & (index != bins - 1)
    index += (np.arange(k) * bins)[:, None]
    return np.bincount(index.ravel(), minlength=k * bins).reshape(k, bins)


def densities(counts: Ints, widths: Floats) -> Floats:
    """`(k, b)` probability densities plus `FLOOR`; zero counts everywhere stay `FLOOR`."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    result: Floats = counts / widths / total + FLOOR
    return result


def divergence(reference: Floats, sample: Floats) -> Floats:
    """Kullback-Leibler divergence in nats, both sides normalised to sum 1, as `scipy.stats.entropy(p, q)`.

    Args:
        reference: p, `(b,)` or `(k, b)`, greater than 0.
        sample: q, `(k, b)`, greater than 0.

    Returns:
        `(k,)`.
    """
    p = reference / reference.sum(axis=-1, keepdims=True)
    q = sample / sample.sum(axis=-1, keepdims=True)
    result: Floats = (p * np.log(p / q)).sum(axis=-1)
    return result


def own_range_kl(reference: Floats, windows: Floats, bins: int = 50) -> tuple[Floats, Ints]:
    """The tutorial's score of each window against one reference window.

    Args:
        reference: `(m,)` samples of the normal wave; any number of them.
        windows: `(k, w)`.
        bins: number of bins.

    Returns:
        KL in nats `(k,)`, NaN where there is none, and a `Reason` `(k,)`. A constant window keeps the number that
        `np.histogram` leads to; a constant reference has no shape and gives NaN.
    """
    counts, widths, why = counts_and_widths(np.asarray(reference, np.float64)[None, :], bins)
    if why[0] != Reason.NONE:
        return np.full(len(windows), np.nan), np.full(len(windows), int(Reason.NO_REFERENCE))
    return kl_to(densities(counts, widths)[0], windows, bins)


def kl_to(reference: Floats, windows: Floats, bins: int) -> tuple[Floats, Ints]:
    """As `own_range_kl`, with the densities of the reference, `(b,)` or one row a window `(k, b)`; NaN = none."""
    score, reason, _, _ = compare(reference, windows, bins)
    return score, reason


def compare(reference: Floats, windows: Floats, bins: int) -> tuple[Floats, Ints, Floats, Floats]:
    """As `kl_to`; and the bin whose share of the samples changed most, by how much, `(k,)` each, NaN as the score.

    Bins are counted from 0 along each array's own range: the same number is the same part of the range.
    """
    counts, widths, reason = counts_and_widths(windows, bins)
    known: npt.NDArray[np.bool_] = np.broadcast_to(np.isfinite(reference).all(axis=-1), reason.shape)
    reason = np.where(known | (reason >= Reason.MISSING), reason, int(Reason.NO_REFERENCE))
    density = densities(counts, widths)
    score = divergence(reference, density)
    change = density / density.sum(axis=1, keepdims=True) - reference / reference.sum(axis=-1, keepdims=True)
    change = np.where(np.isnan(change), 0.0, change)
    moved = np.argmax(np.abs(change), axis=1)
    fine = reason < Reason.MISSING
    by = np.where(fine, change[np.arange(len(change)), moved], np.nan)
    return np.where(fine, score, np.nan), reason, np.where(fine, moved, np.nan), by
