"""Single frequencies beside the fundamental and its harmonics: an amplitude that swings, an interharmonic.

Sources: voltage fluctuation and flicker, IEC 61000-4-15 (0.5 to 35 Hz) and IEEE 1159; interharmonics, IEC 61000-4-7.
Letters: k windows, n samples, m samples of a period.
"""

from __future__ import annotations

import numpy as np

from agent.detectors.power_quality.sine import Track
from sensors.batch import Floats

CYCLES = 2.5
"""So many swings at least must lie in a window; fewer are an event and not a fluctuation."""

FASTEST = 0.7
"""Highest frequency of a fluctuation, as a share of that of the sine: 35 Hz at 50 Hz."""


def swing(track: Track) -> tuple[Floats, Floats, Floats]:
    """The sine that explains most of how the amplitude changes along each window.

    Returns:
        Share of the variance of the amplitude that it explains; its peak, in the unit of the samples, corrected for
        the mean over a period that the amplitude is taken over; its frequency, cycles a sample; `(k,)` each.
    """
    hop = max(1, track.length // 8)
    amplitude = track.amplitude[:, ::hop]
    k, p = amplitude.shape
    low, high = CYCLES / p, FASTEST / track.length * hop
    y = amplitude - amplitude.mean(axis=1, keepdims=True)
    padded = 4 * p
    first, last = int(np.ceil(low * padded)), min(int(high * padded), padded // 2 - 1)
    if first > last:
        return np.zeros(k), np.zeros(k), np.full(k, np.nan)
    power = np.abs(np.fft.rfft(y, padded, axis=1)[:, first : last + 1])
    frequency = (first + np.argmax(power, axis=1)) / padded
    peak, left = np.zeros(k), np.full(k, np.inf)
    start = frequency
    for step in (
        np.linspace(-1, 1, 9) / padded
    ):  # few cycles: the peak of the spectrum is not where the sine fits best
        amount, rest = _sine_through(y, 2 * np.pi * (start + step)[:, None] * np.arange(p))
        better = rest < left
        peak, left = np.where(better, amount, peak), np.where(better, rest, left)
        frequency = np.where(better, start + step, frequency)
    total = np.maximum((y * y).sum(axis=1), 1e-300)
    share: Floats = 1 - left / total
    frequency = frequency / hop
    return share, peak / np.sinc(frequency * track.length), frequency


def line(d: Floats, weight: Floats, frequency: Floats) -> tuple[Floats, Floats, Floats]:
    """The strongest single frequency in what differs, where `weight` is 1.

    Args:
        d: `(k, n)` samples less what was expected.
        weight: `(k, n)` 1 where to look, else 0.
        frequency: `(k,)` of the fundamental, cycles a sample.

    Returns:
        Its peak, unit of the samples; its frequency, cycles a sample; its distance from the nearest multiple of the
        fundamental, in widths of a line over so many samples; `(k,)` each.
    """
    n = d.shape[1]
    count = np.maximum(weight.sum(axis=1), 1.0)
    padded = 4 * n
    spectrum = np.abs(np.fft.rfft(d * weight, padded, axis=1))
    best = np.argmax(spectrum, axis=1)
    found = best / padded
    order = found / frequency
    away = np.abs(order - np.round(order)) * frequency * count
    return 2 * spectrum[np.arange(len(d)), best] / count, found, away


def _sine_through(y: Floats, angle: Floats) -> tuple[Floats, Floats]:
    """Peak of the least-squares sine with the phases `angle` `(k, p)` through `y`, and the squares it leaves."""
    cos, sin = np.cos(angle), np.sin(angle)
    cos, sin = cos - cos.mean(axis=1, keepdims=True), sin - sin.mean(axis=1, keepdims=True)
    cc, ss, cs = (cos * cos).sum(axis=1), (sin * sin).sum(axis=1), (cos * sin).sum(axis=1)
    yc, ys = (y * cos).sum(axis=1), (y * sin).sum(axis=1)
    determinant = np.maximum(cc * ss - cs * cs, 1e-12)
    a, b = (yc * ss - ys * cs) / determinant, (ys * cc - yc * cs) / determinant
    left = (y * y).sum(axis=1) - a * yc - b * ys
    return np.hypot(a, b), np.maximum(left, 0.0)
