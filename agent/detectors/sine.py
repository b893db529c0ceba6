"""Following a sine through windows of a waveform: frequency, amplitude, phase, offset and what remains.

A three-parameter least-squares fit (IEEE Std 1057, annex A: `a cos wt + b sin wt + c`) over one period, at every
place of the window at once. All sums over a period are differences of running sums, so the cost does not depend on
the length of the period, a period need not be a whole number of samples, and a row of the result depends on its own
window alone, to the last bit. Letters: k windows, n samples, p = n - m + 1 places of a fit over m samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

Bools = npt.NDArray[np.bool_]


HIGHEST = 25
"""Highest harmonic looked at."""


@dataclass(frozen=True, slots=True)
class Track:
    """The sine that each window follows, fitted over one period at each of p places.

    Attributes:
        frequency: `(k,)` cycles a sample.
        amplitude: `(k, p)` peak, in the unit of the samples.
        phase: `(k, p)` rad, of a cosine, against the carrier of `frequency` that starts with the window.
        offset: `(k, p)` constant part.
        remainder: `(k, p)` RMS of what the fit leaves, over its m samples.
        residual: `(k, n)` each sample less the fit over the period around it.
        length: samples of a fit, m.
        highest: highest harmonic below 0.45 of the sampling rate, at most `HIGHEST`.
    """

    frequency: Floats
    amplitude: Floats
    phase: Floats
    offset: Floats
    remainder: Floats
    residual: Floats
    length: int
    highest: int

    def take(self, chosen: Ints) -> Track:
        """The track of some of the windows."""
        return Track(
            self.frequency[chosen],
            self.amplitude[chosen],
            self.phase[chosen],
            self.offset[chosen],
            self.remainder[chosen],
            self.residual[chosen],
            self.length,
            self.highest,
        )


def follow(windows: Floats, nominal: float) -> Track:
    """Track the sine near a nominal frequency.

    Args:
        windows: `(k, n)`, finite, at least three periods long.
        nominal: cycles a sample, below 1/4; the sine may be 30 % off.

    Raises:
        ValueError: if a period has fewer than 4 samples or a window fewer than 3 periods.
    """
    n = windows.shape[1]
    length = period_samples(n, nominal)
    middle = windows.mean(axis=1, keepdims=True)  # a large offset would cost digits in the sums
    y = windows - middle
    angle = 2 * np.pi * nominal * np.arange(n)[None, :]
    a, b, *_ = _fit(y, np.cos(angle), np.sin(angle), length)
    frequency = nominal + _slope(a - 1j * b, max(1, length // 4), length, n)
    frequency = np.clip(frequency, 0.7 * nominal, 1.3 * nominal)
    angle = (2 * np.pi * frequency)[:, None] * np.arange(n)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b, c, left = _fit(y, cos, sin, length)
    around = np.clip(np.arange(n) - length // 2, 0, n - length)
    residual = y - (
        np.take(a, around, axis=1) * cos + np.take(b, around, axis=1) * sin + np.take(c, around, axis=1)
    )
    left = np.maximum(running(y * y, length) - left, 0.0)
    return Track(
        frequency,
        np.hypot(a, b),
        np.arctan2(-b, a),
        c + middle,
        np.sqrt(left / length),
        residual,
        length,
        min(HIGHEST, int(0.45 / nominal)),
    )


def period_samples(n: int, nominal: float) -> int:
    """Samples of a fit over one period.

    Raises:
        ValueError: see `follow`.
    """
    if not 0 < nominal <= 0.25:
        raise ValueError(f"{1 / nominal if nominal > 0 else 0:.3g} samples a period; at least 4 are needed")
    length = max(4, round(1 / nominal))
    if n < 3 * length:
        raise ValueError(f"a window of {n} samples is shorter than three periods of {length}")
    return length


def running(values: Floats, length: int) -> Floats:
    """Sums over `length` neighbours, `(k, n - length + 1)`, added from the left."""
    total = np.empty((values.shape[0], values.shape[1] + 1), values.dtype)
    total[:, 0] = 0.0
    np.cumsum(values, axis=1, out=total[:, 1:])
    result: Floats = total[:, length:] - total[:, :-length]
    return result


def _fit(y: Floats, cos: Floats, sin: Floats, m: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Coefficients a, b, c of the fits over m samples and the sum of squares that they explain, `(k, p)` each.

    Args:
        y: `(k, n)`.
        cos: `(k, n)`, or `(1, n)` if all windows are fitted at one frequency.
        sin: likewise.
        m: samples of a fit.
    """
    yc, ys, y1 = running(y * cos, m), running(y * sin, m), running(y, m)
    cc, cs, c1, s1 = running(cos * cos, m), running(cos * sin, m), running(cos, m), running(sin, m)
    ss = m - cc
    # Take the constant out first, then solve two by two.
    cc, ss, cs = cc - c1 * c1 / m, ss - s1 * s1 / m, cs - c1 * s1 / m
    yc, ys = yc - y1 * c1 / m, ys - y1 * s1 / m
    determinant = cc * ss - cs * cs
    a, b = (yc * ss - ys * cs) / determinant, (ys * cc - yc * cs) / determinant
    return a, b, (y1 - a * c1 - b * s1) / m, y1 * y1 / m + a * yc + b * ys


def _slope(phasor: npt.NDArray[np.complex128], hop: int, period: int, n: int) -> Floats:
    """Cycles a sample by which phasors `(k, p)` turn on, from medians of phase differences.

    First over one period, which cannot be mistaken by a turn, then over a quarter of the window, which is precise.
    Medians, and only pairs of which neither is weak: a jump of phase, a sag, an interruption do not move them.
    """
    turn = np.zeros(len(phasor))
    for lag in (period, max(period, n // 4)):
        head, tail = phasor[:, lag::hop], phasor[:, : phasor.shape[1] - lag : hop]
        back = np.exp(-2j * np.pi * lag * turn)[:, None]
        difference = np.angle(head * tail.conj() * back)
        strength = np.minimum(np.abs(head), np.abs(tail))
        ordered = np.sort(np.abs(phasor[:, ::hop]), axis=1)
        weak = strength <= 0.3 * ordered[:, -1 - ordered.shape[1] // 8, None]
        turn = turn + _median_of(difference, ~weak) / (2 * np.pi * lag)
    return turn


def _median_of(values: Floats, valid: Bools) -> Floats:
    """Median of the valid elements of each row, 0 where there is none."""
    count = valid.sum(axis=1)
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    row = np.arange(len(values))
    low, high = (
        ordered[row, np.maximum(count - 1, 0) // 2],
        ordered[row, np.minimum(count // 2, values.shape[1] - 1)],
    )
    return np.where(count > 0, 0.5 * (np.where(count > 0, low, 0.0) + np.where(count > 0, high, 0.0)), 0.0)
