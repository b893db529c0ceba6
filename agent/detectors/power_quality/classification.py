"""Classification of what differs: simple explanations fitted by least squares, of which the best gives the name.

Less or more of the same sine, a constant added, a constant instead, harmonics; else what is short or recurs within
each period, a single other frequency, or noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.detectors.power_quality.fluctuation import line
from agent.detectors.power_quality.masks import close, longest_run
from agent.detectors.power_quality.names import (
    HARMONICS,
    INTERHARMONICS,
    INTERRUPTION,
    NOISE,
    NOTCH,
    OFFSET,
    SAG,
    STUCK,
    SWELL,
    TRANSIENT,
)
from agent.detectors.power_quality.sine import Bools, Track, carrier, running
from sensors.batch import Floats, Ints

INTERRUPTED = 0.1
"""Share of the normal wave below which what is left is an interruption (IEEE 1159: less than 10 %)."""

SHORT = 0.45
"""Periods; what is over sooner is a transient or a notch. IEEE 1159 has sags and swells from half a period on; an edge
costs some samples of it."""

# Those below have no standard. They were chosen on simulated waves; what is named right with them is what
# `python -m benchmarks voltage` shows. Whether others would name more has not been measured.

LINE = 0.75
"""Share of the difference that a single frequency must explain to be called one."""

EXPLAINED = 0.6
"""Share of the difference that an explanation must take away to give the name."""

ORDERS = 0.03
"""What harmonics must explain more than others, for they have many numbers to fit with, the others one."""

ORDERS_PERIODS, LINE_PERIODS = 1.5, 3
"""Least strange periods that distinguish harmonics from other shapes, and a single other frequency from noise."""

ABSENT = 0.02
"""A constant so small a share of the amplitude is no voltage at all; a larger one is a value that is stuck."""

STANDS_OUT = 0.12
"""Share of the largest difference that a sample needs to stand out, if that is well above the noise."""

OPPOSITE = -0.2
"""A wave reduced to less than this is turned over, not reduced: noise alone makes a short notch look a little so."""

CUT = 0.95
"""In notches a wave loses 1 - `CUT` of itself or more."""


def where_strange(d: Floats, m: int, noise: Floats, quiet: Floats) -> Bools:
    """`(k, n)` samples that differ from what is expected.

    By the mean square over half a period (and 8 samples), which a sine keeps constant, where it is above `quiet`
    `(k,)`; gaps of half a period are closed, and a short place is narrowed to the samples that stand out.
    """
    n, half = d.shape[1], max(2, m // 2)
    span = half * -(-8 // half)
    mean = running(d * d, span) / span
    around = np.clip(np.arange(n) - span // 2, 0, mean.shape[1] - 1)
    power = np.take(mean, around, axis=1)
    strange = power > np.maximum(quiet, 0.3 * power.max(axis=1))[:, None]
    strange = close(strange, half)
    high = np.abs(d) > np.maximum(3.5 * noise, STANDS_OUT * np.abs(d).max(axis=1))[:, None]
    short = strange.sum(axis=1) <= 2 * m
    narrow = strange & high
    keep = short & narrow.any(axis=1)
    return np.where(keep[:, None], narrow, strange)


@dataclass(frozen=True, slots=True)
class Classification:
    """Of k windows: `name` an index into `names.NAMES`, `size`, and the frequency found, cycles a sample, or NaN."""

    name: Ints
    size: Floats
    component: Floats


def classify(
    x: Floats, d: Floats, expected: Floats, strange: Bools, track: Track, noise: Floats, base: Floats
) -> Classification:
    """Name and size by the explanation that leaves least of the difference.

    Args:
        x: `(k, n)` samples less the offset.
        d: `(k, n)` samples less what was expected.
        expected: `(k, n)` the sine that should be there.
        strange: `(k, n)` where they differ.
        track: the sine followed.
        noise: `(k,)` usual RMS of what is left of a fit.
        base: `(k,)` amplitude of the sine that should be there.
    """
    m = track.length
    weight = strange.astype(np.float64)
    count = np.maximum(weight.sum(axis=1), 1.0)
    floor = count * noise**2
    dd = (d * d * weight).sum(axis=1)
    whole = np.maximum(dd - floor, 1e-12 * base * base + 1e-300)
    fits = _fits(x, d, expected, weight, track, (floor, dd, whole))
    short = longest_run(close(strange, max(2, m // 2)))[1] < SHORT * m
    name = _by_fit(fits, short, np.maximum(5 * noise / np.sqrt(count), ABSENT * base))
    biggest = np.abs(d * weight).max(axis=1)
    name = _by_length(name, fits, d, short, biggest**2 > EXPLAINED * np.maximum(whole, 0.5 * dd), count, noise, m)
    # What no single explanation takes may be brief and come again in each period: spikes, or notches of a converter.
    notched, spiked = np.zeros((2, len(x)), np.bool_)
    lost, highest = np.zeros((2, len(x)))
    vague = np.flatnonzero(np.isin(name, (NOISE, HARMONICS)))
    spiked[vague], notched[vague], lost[vague], highest[vague] = _brief(
        x[vague], expected[vague], noise[vague], track.frequency[vague], m
    )
    name = np.where(notched, NOTCH, np.where(spiked, TRANSIENT, name))
    # Of what is left, one frequency that stands out is an interharmonic.
    peak, component, away = np.zeros((3, len(x)))
    some = np.flatnonzero((name == NOISE) & (count >= LINE_PERIODS * m))
    peak[some], component[some], away[some] = line(d[some], weight[some], track.frequency[some])
    single = (0.5 * count * peak**2 > LINE * whole) & (away > 1)
    name = np.where(single, INTERHARMONICS, name)
    # Each name has its own size (`names.UNITS`); the first that holds counts.
    spread = np.sqrt(np.maximum(dd / count - noise**2, 0.0))
    size = np.select(
        [notched, spiked, np.isin(name, (SAG, INTERRUPTION, NOTCH)), name == SWELL, name == TRANSIENT,
         name == OFFSET, name == STUCK, name == HARMONICS, single],
        [lost, highest, 1 - fits.gain, fits.gain - 1, biggest,
         fits.added, fits.constant, np.sqrt((fits.orders * fits.orders).sum(axis=1)) / base, peak / base],
        spread,
    )  # fmt: skip
    return Classification(name, size, np.where(single, component, np.nan))


_GAIN, _CONSTANT, _OFFSET, _ORDERS = range(4)


@dataclass(frozen=True, slots=True)
class _Fits:
    """Least-squares fits of the simple explanations to what is strange in k windows.

    Attributes:
        gain: `(k,)` of the expected sine.
        constant: `(k,)` instead of it; `added` to it.
        orders: `(k, H - 1)` peak amplitudes of its harmonics.
        by_gain: `(k,)` share of the difference that the gain explains, beyond the noise.
        best: `(k,)` which explains most; `explained` how much.
    """

    gain: Floats
    constant: Floats
    added: Floats
    orders: Floats
    by_gain: Floats
    best: Ints
    explained: Floats


def _fits(
    x: Floats, d: Floats, expected: Floats, weight: Floats, track: Track, sums: tuple[Floats, Floats, Floats]
) -> _Fits:
    """The fits over the samples of `weight` 1; see `classify` for `x`, `d`, `expected` and `track`.

    `sums` `(k,)` each: squares of the noise, of the difference, and of what of that is to be explained.
    """
    floor, dd, whole = sums

    def share(left: Floats) -> Floats:
        part: Floats = 1.0 - np.maximum(left - floor, 0.0) / whole
        return part

    count = np.maximum(weight.sum(axis=1), 1.0)
    xx, ee = (x * x * weight).sum(axis=1), np.maximum((expected * expected * weight).sum(axis=1), 1e-300)
    gain = (x * expected * weight).sum(axis=1) / ee
    constant, added = (x * weight).sum(axis=1) / count, (d * weight).sum(axis=1) / count
    orders = _orders(d * weight, track, count)
    by_gain = share(xx - gain * gain * ee)
    by_constant = share(xx - constant * constant * count)
    by_offset = share(dd - added * added * count)
    by_order = share(dd - 0.5 * count * (orders * orders).sum(axis=1)) - ORDERS
    by_order = np.where(count >= ORDERS_PERIODS * track.length, by_order, -1.0)
    options = np.stack([by_gain, by_constant, by_offset, by_order], axis=1)
    best = np.argmax(options, axis=1)
    return _Fits(gain, constant, added, orders, by_gain, best, options[np.arange(len(x)), best])


def _by_fit(fits: _Fits, short: Bools, nothing: Floats) -> Ints:
    """Names by the explanation that leaves least; a constant no larger than `nothing` is no voltage at all."""
    k = len(fits.gain)
    absent = np.abs(fits.constant) <= nothing
    flat = fits.best == _CONSTANT
    unexplained = np.maximum(fits.explained, fits.by_gain) < EXPLAINED
    return np.select(
        [unexplained, flat & ~short & absent, flat & ~short,
         fits.best == _GAIN, fits.best == _OFFSET, fits.best == _ORDERS],
        [np.full(k, NOISE), np.full(k, INTERRUPTION), np.full(k, STUCK),
         np.where(fits.gain > 1, SWELL, np.where(fits.gain < INTERRUPTED, INTERRUPTION, SAG)),
         np.full(k, OFFSET), np.full(k, HARMONICS)],
        NOISE,
    )  # fmt: skip


def _by_length(
    name: Ints, fits: _Fits, d: Floats, short: Bools, alone: Bools, count: Floats, noise: Floats, m: int
) -> Ints:
    """Names corrected by how long it lasts; `alone`: one sample holds most of the difference."""
    # Less than half a period: a notch takes part of the wave away, anything else is a transient.
    reduced = (fits.by_gain > EXPLAINED) & (fits.gain > OPPOSITE) & (fits.gain < 1) & (count >= 3)
    name = np.where(alone | (short & ~reduced), TRANSIENT, np.where(short, NOTCH, name))
    # Noise that is over within a period is an oscillatory transient.
    high = np.abs(d) > np.maximum(5 * noise, STANDS_OUT * np.abs(d).max(axis=1))[:, None]
    extent = d.shape[1] - np.argmax(high[:, ::-1], axis=1) - np.argmax(high, axis=1)
    return np.where((name == NOISE) & (extent < m), TRANSIENT, name)


def _brief(
    x: Floats, expected: Floats, noise: Floats, frequency: Floats, m: int
) -> tuple[Bools, Bools, Floats, Floats]:
    """Whether all that differs is brief, again and again within the window: spikes, or a wave cut short.

    The sine is fitted anew to the samples that do not stand out, for what recurs in each period takes part of the
    sine away, and leaves a difference everywhere.

    Returns:
        Whether there are spikes, whether there are notches, what share of itself the wave loses in them, and the
        highest spike; `(k,)` each.
    """
    # Each time the sine is fitted to fewer of the samples that it is far from, at last to all that do not stand out.
    n = x.shape[1]
    basis = (*carrier(frequency, n), np.ones(x.shape))
    sine = expected
    for trim in (0.75, 0.85, 1.0):
        size = np.abs(x - sine)
        limit = np.sort(size, axis=1)[:, int(trim * (n - 1))]
        if trim == 1:
            limit = np.maximum(4 * noise, STANDS_OUT * limit)
        sine = _through(x, (size <= limit[:, None]).astype(np.float64), basis)
    # Brief: apart from each other, twice at least in the window, and nearly all of the difference.
    d = x - sine
    size = np.abs(d)
    high = size > np.maximum(4 * noise, STANDS_OUT * size.max(axis=1))[:, None]
    weight = high.astype(np.float64)
    runs = np.count_nonzero(high[:, 1:] & ~high[:, :-1], axis=1) + high[:, 0]
    apart, alone = (longest_run(close(high, max(least, m // 4)))[1] < SHORT * m for least in (2, 4))
    inside = (d * d * weight).sum(axis=1)
    outside = (d * d).sum(axis=1) - inside - (n - weight.sum(axis=1)) * noise**2
    brief = apart & (runs >= 2) & (inside > 3 * outside)
    # Notches are where the same sine is there, only less of it; spikes are all else.
    ee = np.maximum((sine * sine * weight).sum(axis=1), 1e-300)
    gain = (x * sine * weight).sum(axis=1) / ee
    cut = (gain < CUT) & (gain > OPPOSITE) & (((x - gain[:, None] * sine) ** 2 * weight).sum(axis=1) < 0.4 * inside)
    return brief & alone & ~cut, brief & cut & (runs >= 3), 1 - gain, size.max(axis=1)


def _through(x: Floats, weight: Floats, basis: tuple[Floats, ...]) -> Floats:
    """`(k, n)` the weighted least-squares fit of the columns `basis` to `x`."""
    weighed = [column * weight for column in basis]
    normal = np.stack([np.stack([(a * b).sum(axis=1) for b in basis], axis=1) for a in weighed], axis=1)
    right = np.stack([(a * x).sum(axis=1) for a in weighed], axis=1)
    some = np.maximum(np.trace(normal, axis1=1, axis2=2), 1.0)[:, None, None]
    share = np.linalg.solve(normal + 1e-12 * some * np.eye(len(basis)), right[:, :, None])[:, :, 0]
    fitted: Floats = sum((share[:, i, None] * column for i, column in enumerate(basis)), np.zeros(x.shape))
    return fitted


def _orders(d: Floats, track: Track, count: Floats) -> Floats:
    """`(k, H - 1)` peak amplitude of harmonics 2 to H of what is strange, over the strange samples."""
    cos, sin = carrier(track.frequency, d.shape[1])
    step = cos - 1j * sin
    turning = step.copy()
    amplitude = np.zeros((len(d), max(1, track.highest - 1)))
    for order in range(2, track.highest + 1):
        turning *= step
        amplitude[:, order - 2] = 2.0 * np.abs((d * turning).sum(axis=1)) / count
    return amplitude
