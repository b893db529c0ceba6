"""What is wrong with a wave, in the words of IEEE 1159 and IEC 61000-4-30, with its size and duration.

A window is compared with the sine that it should show: level and frequency of the model, phase of its own sound
parts. Where it differs, each simple explanation (less or more of the same sine, a constant added, a constant
instead, harmonics) is fitted by least squares; the one that explains most gives the name. Changes of frequency and
phase are distinguished before that, by how long the phase keeps turning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.detectors.base.streaming import LARGEST
from agent.detectors.power_quality.classification import classify, where_strange
from agent.detectors.power_quality.fluctuation import swing
from agent.detectors.power_quality.masks import inner, longest_run, shift
from agent.detectors.power_quality.measures import MEASURES
from agent.detectors.power_quality.model import WaveModel
from agent.detectors.power_quality.names import (
    FLICKER,
    FREQUENCY,
    HARMONICS,
    NAMES,
    NOISE,
    OFFSET,
    PHASE,
    SAG,
    STUCK,
    SWELL,
    TRANSIENT,
    UNITS,
)
from agent.detectors.power_quality.sine import Bools, Track, wrapped
from sensors.batch import Floats, Ints

__all__ = ["NAMES", "UNITS", "Disturbance", "name_disturbances"]

# None of these has a standard. They were chosen on simulated waves; what is named right with them: `benchmarks voltage`.

SWINGS = 0.75
"""Share of the changes of amplitude that one sine must explain; of a square wave it explains 0.81."""

DEEPEST_SWING, LEAST_SWING = 0.5, 0.5
"""A fluctuation takes away less than this share of the sine, and swings by more than this share of `dip`'s limit."""

QUIET_NOISE, QUIET_BURST, QUIET_PEAK = 3.0, 1.15, 0.1
"""A difference is strange beyond the lesser of so many squares of the noise and of so many usual bursts, and so much of
the limit of `peak`."""

QUANTILES, QUANTILE_COST = (1, 2, 4, 6, 7), np.array([0.3, 0.1, 0.0, 0.1, 0.3])
"""Eighths of a window that may stand for its normal level, and by how much of a limit each must be nearer than the
median."""

WHOLE = 0.6
"""Share of the normal amplitude from which on a sine has a phase worth looking at."""

CLEAN, CLEAN_NOISE = 0.06, 2.0
"""Largest remainder beside such a sine: a share of the normal amplitude, or so many times the usual noise."""

LEAST_TURN = 1e-3
"""rad; a turn of the phase that is less is none, whatever the reference held."""

LASTING, THROUGHOUT, THROUGHOUT_PERIODS = 3.0, 0.9, 1.5
"""A phase that turns for so many periods more than the comparison reaches is another frequency; so is one that turns
in this share of the window, if that is so many periods more."""

SLOW_TURN = 2.0
"""Periods from which on a single turn is too slow for a jump."""

STAYS = 0.5
"""Share of its largest turn by which the phase must differ at the end for a jump."""

NEAR_DIPS, NEAR = 2.0, 0.02
"""The phase is taken where the amplitude is within so many limits of `dip`, or this share, of the normal one."""

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
        component: `(k,)` frequency of a fluctuation or an interharmonic, cycles a sample; else NaN.
    """

    name: Ints
    size: Floats
    start: Ints
    duration: Ints
    component: Floats


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
    quiet = np.minimum(QUIET_NOISE * noise**2, (QUIET_BURST * model.middle("burst")) ** 2)
    quiet = quiet + (QUIET_PEAK * model.limit("peak")) ** 2
    strange = where_strange(d, track.length, noise, quiet)
    found = classify(x, d, expected, inner(strange, track.length), track, noise, base)
    name, size, component = found.name, found.size, found.component
    none = np.logical_not(strange.any(axis=1))
    fallback = np.array([_BY_MEASURE[m] for m in MEASURES])[np.argmax(ratios, axis=1)]
    below = (fallback == SAG) & (measures[:, 0] > model.middle("level")) & (np.argmax(ratios, axis=1) == 0)
    name = np.where(none, np.where(below, SWELL, fallback), name)
    size = np.where(none, np.abs(measures[:, 0] / model.middle("level") - 1), size)
    sign = phase_name >= 0
    name, size = np.where(sign, phase_name, name), np.where(sign, phase_size, size)
    swings, depth, frequency = _swings(track, model, base)
    swings &= ~sign
    name, size = np.where(swings, FLICKER, name), np.where(swings, depth, size)
    component = np.where(swings, frequency, np.where(sign, np.nan, component))
    strange = np.where((sign | none)[:, None], turning | none[:, None], strange) | swings[:, None]
    start, duration = longest_run(strange)
    duration = np.where(duration > 0, duration, n)
    return Disturbance(name, np.clip(size, -LARGEST, LARGEST), start, duration, component)


def _swings(track: Track, model: WaveModel, base: Floats) -> tuple[Bools, Floats, Floats]:
    """Whether the amplitude swings to and fro, to what share of the normal one on each side, how often."""
    share, peak, frequency = swing(track)
    depth = peak / base
    steady = track.amplitude.min(axis=1) > DEEPEST_SWING * base
    return (share > SWINGS) & steady & (peak > LEAST_SWING * model.limit("dip")), depth, frequency


def _base(track: Track, model: WaveModel, measures: Floats, ratios: Floats) -> tuple[Floats, Floats]:
    """Level and offset that the window should have.

    Of the median, quartiles and outer eighths of amplitude and offset along the window that which is nearest to the
    model's median, while it is normal; else the model's. So a disturbance may last for most of the window. What is
    true of less of the window must be nearer by more.
    """
    hop = max(1, track.length // 8)
    found = []
    for values, name, spread in ((track.amplitude, "level", "dip"), (track.offset, "offset", "shift")):
        ordered = np.sort(values[:, ::hop], axis=1)
        some = ordered[:, [(ordered.shape[1] - 1) * eighth // 8 for eighth in QUANTILES]]
        centre = model.middle(name) * np.ones(len(values))
        away = some - centre[:, None]
        scale = np.where(away > 0, model.limit(name)[..., None], model.lower(name)[..., None])
        cost = np.abs(away) / scale + QUANTILE_COST
        nearest = np.take_along_axis(away, np.argmin(cost, axis=1)[:, None], axis=1)[:, 0]
        normal = (nearest <= model.limit(name)) & (nearest >= -model.lower(name))
        index = MEASURES.index(name)
        even = np.abs(centre + nearest - measures[:, index]) <= model.limit(spread)  # the same all along the window
        normal &= ~((ratios[:, index] > 1) & even)
        found.append(np.where(normal, centre + nearest, centre))
    return found[0], found[1]


def _turning(track: Track, model: WaveModel, base: Floats) -> tuple[Bools, Ints, Floats]:
    """Where the phase turns against the model's frequency while the sine is whole; -1 where it does not.

    A phase that keeps turning for `LASTING` periods beyond the reach of the comparison is another frequency, one that
    turns once and stays is a jump.
    """
    k, n = track.residual.shape
    m, one = track.length, np.ones(k)
    places = track.phase.shape[1]
    lag = min(4 * m, max(m, places // 4))
    turned = 2 * np.pi * lag * (track.frequency - model.middle("frequency"))
    angle = track.phase[:, lag:] - track.phase[:, :-lag]
    angle = wrapped(angle)  # against the tracked frequency, which is near
    whole = (np.minimum(track.amplitude[:, lag:], track.amplitude[:, :-lag]) > WHOLE * base[:, None]) & (
        np.maximum(track.remainder[:, lag:], track.remainder[:, :-lag])
        < np.maximum(CLEAN * base, CLEAN_NOISE * model.middle("noise"))[:, None]
    )
    limit = 2 * np.pi * lag * model.limit("frequency") + np.maximum(
        model.limit("bend") / model.middle("level"), LEAST_TURN
    )
    rate = angle + turned[:, None]
    turning = whole & (np.abs(rate) > (limit * one)[:, None])
    span = turning.sum(axis=1)
    throughout = (span >= THROUGHOUT * (places - lag)) & (span > lag + THROUGHOUT_PERIODS * m)
    lasting = (span > lag + LASTING * m) | throughout
    once = (span > m) & ~lasting
    settled = _settled(track, lag)
    lasting |= once & (_width(track, whole) > SLOW_TURN * m)
    once &= ~lasting
    once &= np.abs(settled) > STAYS * np.abs(np.where(turning, angle, 0.0)).max(axis=1)
    peak = np.where(turning, rate, 0.0)
    strongest = np.take_along_axis(peak, np.argmax(np.abs(peak), axis=1)[:, None], axis=1)[:, 0]
    name = np.where(lasting, FREQUENCY, np.where(once, PHASE, -1))
    size = np.where(lasting, strongest / (2 * np.pi * lag), np.degrees(settled))
    place = np.zeros((len(span), n), np.bool_)
    place[:, : turning.shape[1]] |= turning
    return shift(place, lag // 2 + m // 2), name, size


def _width(track: Track, whole: Bools) -> Ints:
    """Samples over which the phase turns from one period to the next by more than half of the most it turns."""
    m = track.length
    turn = track.phase[:, m:] - track.phase[:, :-m]
    turn = np.abs(wrapped(turn))
    beyond = np.repeat(whole[:, -1:], turn.shape[1] - whole.shape[1], axis=1)
    turn = np.where(np.concatenate([whole, beyond], axis=1), turn, 0.0)
    result: Ints = np.count_nonzero(turn > 0.5 * turn.max(axis=1, keepdims=True), axis=1)
    return result


def _settled(track: Track, lag: int) -> Floats:
    """Phase at the end of the window less phase at its beginning, against the tracked frequency, rad."""
    turn = np.exp(1j * track.phase)
    span = max(1, min(lag, turn.shape[1] // 3))
    first, last = turn[:, :span].sum(axis=1), turn[:, -span:].sum(axis=1)
    result: Floats = np.angle(last * first.conj())
    return result


def _expected(track: Track, model: WaveModel, base: Floats, n: int) -> Floats:
    """The sine that the windows should show, `(k, n)`; its phase is the middle one of their sound places."""
    near = (
        np.abs(track.amplitude - base[:, None]) <= np.maximum(NEAR_DIPS * model.limit("dip"), NEAR * base)[:, None]
    )
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
