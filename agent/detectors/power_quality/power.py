"""The figures by which engineers know a wave: frequency, RMS by half period, crest factor, distortion, offset."""

from __future__ import annotations

import numpy as np

from agent.detectors.power_quality.sine import Track, running
from sensors.batch import Floats

COLUMNS = ("frequency", "rms", "rms_min", "rms_max", "crest", "thd", "dc")


def power_figures(
    windows: Floats, track: Track, orders: Floats, level: Floats, dc: Floats, sampling_rate: float
) -> Floats:
    """`(k, 7)` figures of windows `(k, n)`: amplitudes of harmonics `(k, H - 1)`, median amplitude and offset `(k,)`.

    frequency in Hz; `rms` of the window, `rms_min` and `rms_max` over one period each half period, as U_rms(1/2) of
    IEC 61000-4-30; `crest` = peak / RMS; `thd` = root of the sum of squares of the harmonics over the fundamental;
    `dc` = median offset. Unit of the samples for RMS and `dc`; crest and THD of a wave that is not there are NaN.
    """
    m, n = track.length, windows.shape[1]
    square = windows * windows
    half = np.sqrt(np.maximum(running(square, m)[:, :: max(1, m // 2)], 0.0) / m)
    rms = np.sqrt(square.sum(axis=1) / n)
    there = (rms > 0) & (level > 0)
    some = np.where(there, rms, 1.0)
    crest = np.where(there, np.abs(windows).max(axis=1) / some, np.nan)
    thd = np.where(there, np.sqrt((orders * orders).sum(axis=1)) / np.where(there, level, 1.0), np.nan)
    return np.stack(
        [track.frequency * sampling_rate, rms, half.min(axis=1), half.max(axis=1), crest, thd, dc], axis=1
    )
