"""The tutorial's own calibration: KL of zero-crossing-trimmed chunks, threshold at mean + 0.1 standard deviation.

It is fitted and judged on the same chunks and holds for noiseless data in the phase of the reference only; use the
method `quantile` for anything real.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.detectors.histograms.own_range import Reason, counts_and_widths, densities, divergence
from agent.offline.verdicts import Flags, Verdicts, judge
from sensors.batch import Floats, Ints


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the calibration found, one element a chunk.

    Attributes:
        score: `(k,)` KL, nats; NaN for a chunk that has none.
        truth: `(k,)` whether the chunk holds an anomalous sample.
        length: `(k,)` samples of the chunk that remain between its first and last zero crossing.
    """

    score: Floats
    truth: Flags
    length: Ints
    threshold: float
    verdict: Verdicts


def trim(chunk: Floats) -> Floats:
    """The samples from the first zero crossing to before the last; all if there are fewer than two."""
    crossings = np.flatnonzero(np.diff(np.sign(chunk)))
    return chunk[crossings[0] : crossings[-1]] if len(crossings) > 1 else chunk


def calibrate(
    normal: Floats, observed: Floats, label: Ints, *, chunk: int = 1000, deviations: float = 0.1, bins: int = 50
) -> Calibration:
    """Threshold for the observed wave as the tutorial finds it.

    Args:
        normal: `(n,)` the wave without anomalies; its first chunk, trimmed, is the reference.
        observed: `(n,)` the wave to calibrate on.
        label: `(n,)` not 0 where a sample is anomalous.
        chunk: samples in a chunk. The last whole chunk is left out, as in the tutorial.
        deviations: population standard deviations added to the mean.
        bins: bins of each histogram.

    Raises:
        ValueError: if the columns differ in length, hold fewer than two chunks, or have no usable reference.
    """
    n = len(observed)
    if not len(normal) == n == len(label):
        raise ValueError(f"the columns differ in length: {len(normal)} normal, {n} observed, {len(label)} labels")
    starts = range(0, n - chunk, chunk)
    if not starts:
        raise ValueError(f"{n} samples are less than two chunks of {chunk}")
    trimmed = [trim(observed[start : start + chunk]) for start in starts]
    counts, widths, why = counts_and_widths(trim(normal[:chunk])[None, :], bins)
    if why[0] != Reason.NONE:
        raise ValueError(
            "the first chunk of the normal wave cannot be a reference: constant, too short or not finite"
        )
    reference = densities(counts, widths)
    score = np.full(len(trimmed), np.nan)
    for k, samples in enumerate(trimmed):
        counts, widths, why = counts_and_widths(samples[None, :], bins)
        if why[0] < Reason.MISSING:
            score[k] = divergence(reference, densities(counts, widths))[0]
    if np.isnan(score).all():
        raise ValueError("no chunk has a score")
    threshold = float(np.nanmean(score) + deviations * np.nanstd(score))
    truth = np.array([bool(np.any(label[start : start + chunk])) for start in starts])
    length = np.array([len(samples) for samples in trimmed], np.int64)
    return Calibration(score, truth, length, threshold, judge(score > threshold, truth))
