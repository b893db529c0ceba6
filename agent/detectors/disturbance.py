"""What is wrong with a wave, in the words of IEEE 1159 and IEC 61000-4-30, with its size and duration.

A window is compared with the sine that it should show: level and frequency of the model, phase of its own sound
parts. Where it differs, each simple explanation (less or more of the same sine, a constant added, a constant
instead, harmonics) is fitted by least squares; the one that explains most gives the name. Changes of frequency and
phase are told apart before that, by how long the phase keeps turning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.detectors.measures import MEASURES
from agent.detectors.sine import Bools, Track, running
from agent.detectors.stretches import close, inner, longest, shift
from agent.detectors.wave_model import WaveModel
from agent.detectors.windowed import LARGEST
from sensors.batch import Floats, Ints

NAMES = (
    "sag",
    "swell",
    "interruption",
    "transient",
    "notch",
    "harmonics",
    "frequency deviation",
    "phase jump",
    "dc offset",
    "noise",
    "stuck",
)
UNITS = ("of normal", "of normal", "of normal", "of the metric", "of normal", "of the fundamental", "Hz", "deg",
         "of the metric", "of the metric", "of the metric")  # fmt: skip
"""Unit of `Disturbance.size` by name: a share of the normal voltage or of the fundamental, or the unit of the metric."""

SAG, SWELL, INTERRUPTION, TRANSIENT, NOTCH, HARMONICS, FREQUENCY, PHASE, OFFSET, NOISE, STUCK = range(11)

_BY_MEASURE = {
    "level": SAG, "frequency": FREQUENCY, "offset": OFFSET, "dip": SAG, "rise": SWELL, "sway": SAG, "shift": OFFSET,
    "turn": PHASE, "bend": FREQUENCY, "remainder": NOISE, "noise": NOISE, "burst": TRANSIENT, "peak": TRANSIENT,
    "harmonic": HARMONICS, "flat": STUCK,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What each of k windows shows.

    Attributes:
        name: `(k,)` index into `NAMES`.
        size: `(k,)` depth or height as a share of the normal level (sag, swell, interruption, notch,
            harmonics), Hz, degrees, or the unit of the samples: see `UNITS`.
        start: `(k,)` first sample of the longest stretch concerned.
        duration: `(k,)` samples of it; those of the window where no stretch stands out.
    """

    name: Ints
    size: Floats
    start: Ints
    duration: Ints


def name_disturbances(windows: Floats, track: Track, measures: Floats, model: WaveModel) -> Disturbance:
    """Name what is strange in windows `(k, n)`; meant for those that are.

    Args:
        windows: `(k, n)`.
        track: the sine followed through them.
        measures: `(k, m)` of them.
        model: what is normal.
    """
    k, n = windows.shape
    ratios = model.ratios(measures)
    base, offset = _base(track, model, measures, ratios)
    turning, phase_name, phase_size = _turning(track, model, base)
    expected = _expected(track, model, base, n)
    x = windows - offset[:, None]
    d = x - expected
    noise = model.middle("noise") * np.ones(k)
    quiet = np.minimum(3 * noise**2, (1.15 * model.middle("burst")) ** 2) + (0.1 * model.limit("peak")) ** 2
    strange = _where(d, track.length, noise, quiet)
    name, size = _explain(x, d, expected, inner(strange, track.length), track, noise, base)
    none = np.logical_not(strange.any(axis=1))
    fallback = np.array([_BY_MEASURE[m] for m in MEASURES])[np.argmax(ratios, axis=1)]
    below = (fallback == SAG) & (measures[:, 0] > model.middle("level")) & (np.argmax(ratios, axis=1) == 0)
    name = np.where(none, np.where(below, SWELL, fallback), name)
    size = np.where(none, np.abs(measures[:, 0] / model.middle("level") - 1), size)
    sign = phase_name >= 0
    name, size = np.where(sign, phase_name, name), np.where(sign, phase_size, size)
    strange = np.where((sign | none)[:, None], turning | none[:, None], strange)
    start, duration = longest(strange)
    return Disturbance(name, np.clip(size, -LARGEST, LARGEST), start, np.where(duration > 0, duration, n))


def _base(track: Track, model: WaveModel, measures: Floats, ratios: Floats) -> tuple[Floats, Floats]:
    """Level and offset that the window should have.

    Of the quartiles of amplitude and offset along the window that which is nearest to the model's median, while it
    is normal; else the model's. So a disturbance may last for more than half of the window.
    """
    hop = max(1, track.length // 8)
    found = []
    for values, name, spread in ((track.amplitude, "level", "dip"), (track.offset, "offset", "shift")):
        ordered = np.sort(values[:, ::hop], axis=1)
        quartiles = ordered[:, [(ordered.shape[1] - 1) * quarter // 4 for quarter in (1, 2, 3)]]
        centre = model.middle(name) * np.ones(len(values))
        away = quartiles - centre[:, None]
        nearest = np.take_along_axis(away, np.argmin(np.abs(away), axis=1)[:, None], axis=1)[:, 0]
        normal = (nearest <= model.limit(name)) & (nearest >= -model.lower(name))
        index = MEASURES.index(name)
        even = np.abs(centre + nearest - measures[:, index]) <= model.limit(spread)  # the same all along the window
        normal &= ~((ratios[:, index] > 1) & even)
        found.append(np.where(normal, centre + nearest, centre))
    return found[0], found[1]


def _turning(track: Track, model: WaveModel, base: Floats) -> tuple[Bools, Ints, Floats]:
    """Where the phase turns against the model's frequency while the sine is whole; -1 where it does not.

    A phase that keeps turning for more than three periods beyond the reach of the comparison is another frequency,
    one that turns once and stays is a jump.
    """
    k, n = track.residual.shape
    m, one = track.length, np.ones(k)
    places = track.phase.shape[1]
    lag = min(4 * m, max(m, places // 4))
    turned = 2 * np.pi * lag * (track.frequency - model.middle("frequency"))
    angle = track.phase[:, lag:] - track.phase[:, :-lag]
    angle = angle - 2 * np.pi * np.round(angle / (2 * np.pi))  # against the tracked frequency, which is near
    whole = (np.minimum(track.amplitude[:, lag:], track.amplitude[:, :-lag]) > 0.6 * base[:, None]) & (
        np.maximum(track.remainder[:, lag:], track.remainder[:, :-lag])
        < np.maximum(0.06 * base, 2 * model.middle("noise"))[:, None]
    )
    limit = 2 * np.pi * lag * model.limit("frequency") + np.maximum(
        model.limit("bend") / model.middle("level"), 1e-3
    )
    rate = angle + turned[:, None]
    turning = whole & (np.abs(rate) > (limit * one)[:, None])
    span = turning.sum(axis=1)
    throughout = (span >= 0.9 * (places - lag)) & (span > lag + 1.5 * m)
    lasting = (span > lag + 3 * m) | throughout
    once = (span > m) & ~lasting
    settled = _settled(track, lag)
    once &= np.abs(settled) > 0.5 * np.abs(np.where(turning, angle, 0.0)).max(axis=1)
    peak = np.where(turning, rate, 0.0)
    strongest = np.take_along_axis(peak, np.argmax(np.abs(peak), axis=1)[:, None], axis=1)[:, 0]
    name = np.where(lasting, FREQUENCY, np.where(once, PHASE, -1))
    size = np.where(lasting, strongest / (2 * np.pi * lag), np.degrees(settled))
    place = np.zeros((len(span), n), np.bool_)
    place[:, : turning.shape[1]] |= turning
    return shift(place, lag // 2 + m // 2), name, size


def _settled(track: Track, lag: int) -> Floats:
    """Phase at the end of the window less phase at its beginning, against the tracked frequency, rad."""
    turn = np.exp(1j * track.phase)
    span = max(1, min(lag, turn.shape[1] // 3))
    first, last = turn[:, :span].sum(axis=1), turn[:, -span:].sum(axis=1)
    result: Floats = np.angle(last * first.conj())
    return result


def _expected(track: Track, model: WaveModel, base: Floats, n: int) -> Floats:
    """The sine that the windows should show, `(k, n)`; its phase is the middle one of their sound places."""
    near = np.abs(track.amplitude - base[:, None]) <= np.maximum(2 * model.limit("dip"), 0.02 * base)[:, None]
    usual = (model.middle("remainder") + model.limit("remainder")) * np.ones(len(base))
    clean = track.remainder <= usual[:, None]
    sound = near & clean
    sound |= np.logical_not(sound.any(axis=1, keepdims=True))
    cos = _middle(np.cos(track.phase), sound)
    sin = _middle(np.sin(track.phase), sound)
    angle = 2 * np.pi * track.frequency[:, None] * np.arange(n) + np.arctan2(sin, cos)[:, None]
    result: Floats = base[:, None] * np.cos(angle)
    return result


def _middle(values: Floats, valid: Bools) -> Floats:
    count = valid.sum(axis=1)
    ordered = np.sort(np.where(valid, values, np.inf), axis=1)
    result: Floats = ordered[np.arange(len(values)), (count - 1) // 2]
    return result


def _where(d: Floats, m: int, noise: Floats, quiet: Floats) -> Bools:
    """`(k, n)` samples that differ from what is expected.

    By the mean square over half a period, which a sine keeps constant, where it is above `quiet` `(k,)`; gaps of
    half a period are closed, and a short place is narrowed to the samples that stand out.
    """
    n, half = d.shape[1], max(2, m // 2)
    mean = running(d * d, half) / half
    around = np.clip(np.arange(n) - half // 2, 0, mean.shape[1] - 1)
    power = np.take(mean, around, axis=1)
    strange = power > np.maximum(quiet, 0.3 * power.max(axis=1))[:, None]
    strange = close(strange, half)
    high = np.abs(d) > np.maximum(3.5 * noise, 0.12 * np.abs(d).max(axis=1))[:, None]
    short = strange.sum(axis=1) <= 2 * m
    narrow = strange & high
    keep = short & narrow.any(axis=1)
    return np.where(keep[:, None], narrow, strange)


def _explain(
    x: Floats, d: Floats, expected: Floats, strange: Bools, track: Track, noise: Floats, base: Floats
) -> tuple[Ints, Floats]:
    """Name and size by the explanation that leaves least of the difference."""
    weight = strange.astype(np.float64)
    count = np.maximum(weight.sum(axis=1), 1.0)
    floor = count * noise**2
    whole = np.maximum((d * d * weight).sum(axis=1) - floor, 1e-12 * base * base + 1e-300)

    def share(left: Floats) -> Floats:
        part: Floats = 1.0 - np.maximum(left - floor, 0.0) / whole
        return part

    xx, ee = (x * x * weight).sum(axis=1), np.maximum((expected * expected * weight).sum(axis=1), 1e-300)
    gain = (x * expected * weight).sum(axis=1) / ee
    constant, added = (x * weight).sum(axis=1) / count, (d * weight).sum(axis=1) / count
    orders = _orders(d * weight, track, count)
    by_gain = share(xx - gain * gain * ee)
    by_constant = share(xx - constant * constant * count)
    by_offset = share((d * d * weight).sum(axis=1) - added * added * count)
    by_order = share((d * d * weight).sum(axis=1) - 0.5 * count * (orders * orders).sum(axis=1)) - 0.03
    m = track.length
    by_order = np.where(count >= 1.5 * m, by_order, -1.0)
    options = np.stack([by_gain, by_constant, by_offset, by_order], axis=1)
    best = np.argmax(options, axis=1)
    explained = options[np.arange(len(x)), best]
    absent = np.abs(constant) <= np.maximum(5 * noise / np.sqrt(count), 0.02 * base)
    flat = best == 1
    short = longest(close(strange, max(2, m // 2)))[1] < 0.45 * m
    name = np.select(
        [
            np.maximum(explained, by_gain) < 0.6,
            flat & ~short & absent,
            flat & ~short,
            best == 0,
            best == 2,
            best == 3,
        ],
        [np.full(len(x), NOISE), np.full(len(x), INTERRUPTION), np.full(len(x), STUCK),
         np.where(gain > 1, SWELL, np.where(gain < 0.1, INTERRUPTION, SAG)),
         np.full(len(x), OFFSET), np.full(len(x), HARMONICS)],
        NOISE,
    )  # fmt: skip
    biggest = np.abs(d * weight).max(axis=1)
    alone = biggest**2 > 0.6 * np.maximum(whole, 0.5 * (d * d * weight).sum(axis=1))
    reduced = (by_gain > 0.6) & (gain > -0.2) & (gain < 1) & (count >= 3)
    name = np.where(alone | (short & ~reduced), TRANSIENT, np.where(short, NOTCH, name))
    cut, lost = _notches(x, d, expected, noise, m)
    notched = cut & np.isin(name, (NOISE, HARMONICS))
    name = np.where(notched, NOTCH, name)
    spread = np.sqrt(np.maximum((d * d * weight).sum(axis=1) / count - noise**2, 0.0))
    size = np.select(
        [
            notched,
            np.isin(name, (SAG, INTERRUPTION, NOTCH)),
            name == SWELL,
            name == TRANSIENT,
            name == OFFSET,
            name == STUCK,
            name == HARMONICS,
        ],
        [lost, 1 - gain, gain - 1, biggest, added, constant, np.sqrt((orders * orders).sum(axis=1)) / base],
        spread,
    )
    return name, size


def _notches(x: Floats, d: Floats, expected: Floats, noise: Floats, m: int) -> tuple[Bools, Floats]:
    """Whether a wave is cut short again and again within its period, `(k,)`, and by what share of itself."""
    high = np.abs(d) > np.maximum(4 * noise, 0.15 * np.abs(d).max(axis=1))[:, None]
    weight = high.astype(np.float64)
    runs = np.count_nonzero(high[:, 1:] & ~high[:, :-1], axis=1)
    brief = weight.sum(axis=1) <= 0.25 * m * np.maximum(runs, 1)
    ee = np.maximum((expected * expected * weight).sum(axis=1), 1e-300)
    gain = (x * expected * weight).sum(axis=1) / ee
    left = ((x - gain[:, None] * expected) ** 2 * weight).sum(axis=1)
    cut = (runs >= 3) & brief & (gain < 0.95) & (left < 0.4 * (d * d * weight).sum(axis=1))
    return cut, 1 - gain


def _orders(d: Floats, track: Track, count: Floats) -> Floats:
    """`(k, H - 1)` peak amplitude of harmonics 2 to H of what is strange, over the strange samples."""
    top = track.highest
    step = np.exp(-2j * np.pi * track.frequency[:, None] * np.arange(d.shape[1]))
    turning = step.copy()
    amplitude = np.zeros((len(d), max(1, top - 1)))
    for order in range(2, top + 1):
        turning *= step
        amplitude[:, order - 2] = 2.0 * np.abs((d * turning).sum(axis=1)) / count
    return amplitude
