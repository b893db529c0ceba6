"""What is measured in each window of a waveform that should be a sine: one column a measure.

Every measure keeps still while the sine starts anywhere in its period, drifts in frequency or changes its gain,
except the one that says so (`frequency`, `level`). They are in the unit of the samples: a wave in mV gives 1000
times what it gives in V; an offset moves `offset` only. All are functions of one window, whatever stands beside it.
"""

from __future__ import annotations

import numpy as np

from agent.detectors.power_quality.sine import Track, running, wrapped
from sensors.batch import Floats

MEASURES = (
    "level",  # median amplitude of the fundamental, peak
    "frequency",  # tracked over the window, cycles a sample
    "offset",  # median of the constant part
    "dip",  # median amplitude less the smallest over one period
    "rise",  # largest amplitude over one period less the median
    "sway",  # largest change of amplitude between halves of four periods
    "shift",  # largest step of the offset against its median
    "turn",  # largest turn of the phase from one period to the next, as arc: amplitude x angle
    "bend",  # the same over four periods
    "remainder",  # largest RMS over one period that is not fundamental and offset
    "noise",  # the median of that
    "burst",  # largest RMS of the residual over a quarter of a period
    "peak",  # largest residual of one sample
    "harmonic",  # largest amplitude of a harmonic over the window
    "flat",  # most samples in a row that equal the one before, less 1
)
"""Names of the measures, in the order of the columns."""

TWO_SIDED = ("level", "frequency", "offset", "noise")
"""Measures that can be strange by being small as well; of the others only large values are."""


def measure(windows: Floats, track: Track, orders: Floats) -> Floats:
    """`(k, len(MEASURES))` measures of windows `(k, n)` along which a sine was tracked; `orders` = `harmonics`."""
    hop = max(1, track.length // 8)
    tracks = np.stack([track.amplitude[:, ::hop], track.offset[:, ::hop], track.remainder[:, ::hop]])
    level, middle, noise = np.median(tracks, axis=2)
    energy = running(track.residual * track.residual, max(3, track.length // 4))
    columns = {
        "level": level,
        "frequency": track.frequency,
        "offset": middle,
        "dip": level - track.amplitude.min(axis=1),
        "rise": track.amplitude.max(axis=1) - level,
        "sway": _sway(track),
        "shift": np.abs(track.offset - middle[:, None]).max(axis=1),
        "turn": _turn(track, 1),
        "bend": _turn(track, 4),
        "remainder": track.remainder.max(axis=1),
        "noise": noise,
        "burst": np.sqrt(np.maximum(energy.max(axis=1), 0.0) / max(3, track.length // 4)),
        "peak": np.abs(track.residual).max(axis=1),
        "harmonic": orders.max(axis=1, initial=0.0),
        "flat": longest_flat(windows).astype(np.float64),
    }
    return np.stack([columns[name] for name in MEASURES], axis=1)


def _sway(track: Track) -> Floats:
    """Largest difference of mean amplitude between two neighbouring stretches of two periods."""
    span = 2 * track.length
    if track.amplitude.shape[1] < 2 * span:
        return np.zeros(len(track.amplitude))
    mean = running(track.amplitude, span) / span
    result: Floats = np.abs(mean[:, span:] - mean[:, :-span]).max(axis=1)
    return result


def _turn(track: Track, periods: int) -> Floats:
    """Largest turn of the phase over `periods` against the tracked frequency, times the smaller amplitude."""
    lag = periods * track.length
    if track.phase.shape[1] <= lag:
        return np.zeros(len(track.phase))
    angle = wrapped(track.phase[:, lag:] - track.phase[:, :-lag])
    arc = np.abs(angle) * np.minimum(track.amplitude[:, lag:], track.amplitude[:, :-lag])
    result: Floats = arc.max(axis=1)
    return result


def harmonics(track: Track) -> Floats:
    """`(k, H - 1)` peak amplitudes of harmonics 2 to H over the window, under a Hann window.

    Taken from the residual, which the fundamental has left: the nearest bin of its Fourier transform, over what the
    window's kernel `sinc(x) / (1 - x^2)` leaves of a line x bins away (Harris 1978).
    """
    n = track.residual.shape[1]
    taper = np.hanning(n + 2)[1:-1]
    spectrum = np.abs(np.fft.rfft(track.residual * (2.0 * taper / taper.sum()), axis=1))
    place = track.frequency[:, None] * np.arange(2, max(2, track.highest + 1))
    nearest = np.minimum(np.round(place * n).astype(np.int64), spectrum.shape[1] - 1)
    away = np.clip((place - nearest / n) * (n + 1), -0.6, 0.6)
    amplitude: Floats = np.take_along_axis(spectrum, nearest, axis=1) * (1 - away * away) / np.sinc(away)
    return amplitude


def longest_flat(windows: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """`(k,)` most samples in a row that equal the one before them."""
    place = np.arange(windows.shape[1])
    changed = np.ones(windows.shape, np.bool_)
    changed[:, 1:] = windows[:, 1:] != windows[:, :-1]
    last = np.maximum.accumulate(np.where(changed, place, 0), axis=1)
    longest: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = (place - last).max(axis=1)
    return longest
