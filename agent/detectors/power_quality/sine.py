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


_STRIDE = 32
"""Samples between those for which a carrier is computed from scratch."""

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
    hop = max(1, length // 4)
    usual = np.array([nominal])
    a, b, *_ = _fit(y, *carrier(usual, n), usual, length, hop)
    frequency = nominal + _slope(a - 1j * b, hop, length, n)
    frequency = np.clip(frequency, 0.7 * nominal, 1.3 * nominal)
    cos, sin = carrier(frequency, n)
    a, b, c, left = _fit(y, cos, sin, frequency, length)
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


def carrier(frequency: Floats, n: int) -> tuple[Floats, Floats]:
    """Cosine and sine of `frequency` `(k,)` over n samples, `(k, n)`; products of few values, not n of each."""
    fine = np.exp(2j * np.pi * frequency[:, None] * np.arange(_STRIDE))
    coarse = np.exp(2j * np.pi * frequency[:, None] * np.arange(0, n, _STRIDE))
    turning = (coarse[:, :, None] * fine[:, None, :]).reshape(len(frequency), _STRIDE * coarse.shape[1])[:, :n]
    return np.ascontiguousarray(turning.real), np.ascontiguousarray(turning.imag)


def wrapped(angle: Floats) -> Floats:
    """Angles, rad, less whole turns: within half a turn of 0."""
    return angle - 2 * np.pi * np.round(angle / (2 * np.pi))


def running(values: Floats, length: int, hop: int = 1) -> Floats:
    """Sums over `length` neighbours, of every `hop`-th place: `(k, n - length + 1)` of 1; added from the left."""
    total = np.empty((values.shape[0], values.shape[1] + 1), values.dtype)
    total[:, 0] = 0.0
    np.cumsum(values, axis=1, out=total[:, 1:])
    result: Floats = total[:, length::hop] - total[:, :-length:hop]
    return result


def _fit(
    y: Floats, cos: Floats, sin: Floats, frequency: Floats, m: int, hop: int = 1
) -> tuple[Floats, Floats, Floats, Floats]:
    """Coefficients a, b, c of the fits over m samples and the sum of squares that they explain, `(k, p)` each.

    Sums of the cosine and sine over m samples are geometric series, known without adding.

    Args:
        y: `(k, n)`.
        cos: `(k, n)`, or `(1, n)` if all windows are fitted at one frequency.
        sin: likewise.
        frequency: `(k,)` or `(1,)` of them, cycles a sample.
        m: samples of a fit.
        hop: samples between fits.
    """
    yc, ys, y1 = running(y * cos, m, hop), running(y * sin, m, hop), running(y, m, hop)
    first = slice(0, cos.shape[1] - m + 1, hop)
    cos, sin, w = cos[:, first], sin[:, first], (np.pi * frequency)[:, None]
    one = np.exp(1j * w * (m - 1)) * np.sin(m * w) / np.sin(w)
    two = np.exp(2j * w * (m - 1)) * np.sin(2 * m * w) / np.sin(2 * w)
    c1, s1 = cos * one.real - sin * one.imag, cos * one.imag + sin * one.real
    double, turn = 2 * cos * cos - 1, 2 * cos * sin  # of twice the angle
    cc = 0.5 * (m + double * two.real - turn * two.imag)
    cs = 0.5 * (double * two.imag + turn * two.real)
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
        apart = max(1, round(lag / hop))
        lag = apart * hop
        head, tail = phasor[:, apart:], phasor[:, :-apart]
        back = np.exp(-2j * np.pi * lag * turn)[:, None]
        difference = np.angle(head * tail.conj() * back)
        strength = np.minimum(np.abs(head), np.abs(tail))
        ordered = np.sort(np.abs(phasor), axis=1)
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
