"""Simple explanations of a difference, fitted by least squares: the one that leaves least gives the name.

Less or more of the same sine, a constant added, a constant instead, harmonics; else what is short or recurs within
each period, a single other frequency, or noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.detectors.waves.fluctuation import line
from agent.detectors.waves.names import (
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
from agent.detectors.waves.sine import Bools, Track, carrier, running
from agent.detectors.waves.stretches import close, longest
from sensors.batch import Floats, Ints

LINE = 0.75
"""Share of the difference that a single frequency must explain to be called one."""


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
    high = np.abs(d) > np.maximum(3.5 * noise, 0.12 * np.abs(d).max(axis=1))[:, None]
    short = strange.sum(axis=1) <= 2 * m
    narrow = strange & high
    keep = short & narrow.any(axis=1)
    return np.where(keep[:, None], narrow, strange)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of k windows: `name` a number of `disturbance_names`, `size`, and the frequency found, cycles a sample, or NaN."""

    name: Ints
    size: Floats
    component: Floats


def explain(
    x: Floats, d: Floats, expected: Floats, strange: Bools, track: Track, noise: Floats, base: Floats
) -> Explanation:
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
    m, energy = track.length, d * d
    weight = strange.astype(np.float64)
    count = np.maximum(weight.sum(axis=1), 1.0)
    floor = count * noise**2
    dd = (energy * weight).sum(axis=1)
    whole = np.maximum(dd - floor, 1e-12 * base * base + 1e-300)

    def share(left: Floats) -> Floats:
        part: Floats = 1.0 - np.maximum(left - floor, 0.0) / whole
        return part

    xx, ee = (x * x * weight).sum(axis=1), np.maximum((expected * expected * weight).sum(axis=1), 1e-300)
    gain = (x * expected * weight).sum(axis=1) / ee
    constant, added = (x * weight).sum(axis=1) / count, (d * weight).sum(axis=1) / count
    orders = _orders(d * weight, track, count)
    by_gain = share(xx - gain * gain * ee)
    by_constant = share(xx - constant * constant * count)
    by_offset = share(dd - added * added * count)
    by_order = share(dd - 0.5 * count * (orders * orders).sum(axis=1)) - 0.03
    by_order = np.where(count >= 1.5 * m, by_order, -1.0)
    options = np.stack([by_gain, by_constant, by_offset, by_order], axis=1)
    best = np.argmax(options, axis=1)
    explained = options[np.arange(len(x)), best]
    absent = np.abs(constant) <= np.maximum(5 * noise / np.sqrt(count), 0.02 * base)
    flat = best == 1
    short = longest(close(strange, max(2, m // 2)))[1] < 0.45 * m
    unexplained = np.maximum(explained, by_gain) < 0.6
    name = np.select(
        [unexplained, flat & ~short & absent, flat & ~short, best == 0, best == 2, best == 3],
        [np.full(len(x), NOISE), np.full(len(x), INTERRUPTION), np.full(len(x), STUCK),
         np.where(gain > 1, SWELL, np.where(gain < 0.1, INTERRUPTION, SAG)),
         np.full(len(x), OFFSET), np.full(len(x), HARMONICS)],
        NOISE,
    )  # fmt: skip
    biggest = np.abs(d * weight).max(axis=1)
    alone = biggest**2 > 0.6 * np.maximum(whole, 0.5 * dd)
    reduced = (by_gain > 0.6) & (gain > -0.2) & (gain < 1) & (count >= 3)
    name = np.where(alone | (short & ~reduced), TRANSIENT, np.where(short, NOTCH, name))
    high = np.abs(d) > np.maximum(5 * noise, 0.12 * np.abs(d).max(axis=1))[:, None]
    extent = x.shape[1] - np.argmax(high[:, ::-1], axis=1) - np.argmax(high, axis=1)
    name = np.where((name == NOISE) & (extent < m), TRANSIENT, name)  # an oscillatory one: less than a period
    notched, spiked = np.zeros((2, len(x)), np.bool_)
    lost, highest = np.zeros((2, len(x)))
    vague = np.flatnonzero(np.isin(name, (NOISE, HARMONICS)))
    spiked[vague], notched[vague], lost[vague], highest[vague] = _brief(
        x[vague], expected[vague], noise[vague], track.frequency[vague], m
    )
    name = np.where(notched, NOTCH, np.where(spiked, TRANSIENT, name))
    peak, component, away = np.zeros((3, len(x)))
    some = np.flatnonzero((name == NOISE) & (count >= 3 * m))
    peak[some], component[some], away[some] = line(d[some], weight[some], track.frequency[some])
    single = (0.5 * count * peak**2 > LINE * whole) & (away > 1)
    name = np.where(single, INTERHARMONICS, name)
    spread = np.sqrt(np.maximum(dd / count - noise**2, 0.0))
    size = np.select(
        [notched, spiked, np.isin(name, (SAG, INTERRUPTION, NOTCH)), name == SWELL, name == TRANSIENT,
         name == OFFSET, name == STUCK, name == HARMONICS, single],
        [lost, highest, 1 - gain, gain - 1, biggest,
         added, constant, np.sqrt((orders * orders).sum(axis=1)) / base, peak / base],
        spread,
    )  # fmt: skip
    return Explanation(name, size, np.where(single, component, np.nan))


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
    n = x.shape[1]
    basis = (*carrier(frequency, n), np.ones(x.shape))
    sine = expected
    for trim in (0.75, 0.85, 1.0):
        size = np.abs(x - sine)
        limit = np.sort(size, axis=1)[:, int(trim * (n - 1))]
        if trim == 1:
            limit = np.maximum(4 * noise, 0.12 * limit)
        sine = _through(x, (size <= limit[:, None]).astype(np.float64), basis)
    d = x - sine
    size = np.abs(d)
    high = size > np.maximum(4 * noise, 0.12 * size.max(axis=1))[:, None]
    weight = high.astype(np.float64)
    runs = np.count_nonzero(high[:, 1:] & ~high[:, :-1], axis=1) + high[:, 0]
    apart, alone = (longest(close(high, max(least, m // 4)))[1] < 0.45 * m for least in (2, 4))
    inside = (d * d * weight).sum(axis=1)
    outside = (d * d).sum(axis=1) - inside - (n - weight.sum(axis=1)) * noise**2
    brief = apart & (runs >= 2) & (inside > 3 * outside)
    ee = np.maximum((sine * sine * weight).sum(axis=1), 1e-300)
    gain = (x * sine * weight).sum(axis=1) / ee
    cut = (gain < 0.95) & (gain > -0.2) & (((x - gain[:, None] * sine) ** 2 * weight).sum(axis=1) < 0.4 * inside)
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
