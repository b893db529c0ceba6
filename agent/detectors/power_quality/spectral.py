"""How far the spectrum of the last samples is from the one learned: bearings, pumps, fans, a changed load.

The power under a Hann window is summed in bands and normalised; the score is the Kullback-Leibler divergence of the
learned shares from those of the window, in nats. A gain does not move it, an offset is taken out, a phase does not
enter; a new tone, a tone that wanders into another band and a rise of the noise floor do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.grouping import Grouping
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState
from agent.detectors.histograms.windowed import judge_windows, measurable, uneven_times
from agent.windows.sample_windows import SampleWindows, WindowBatch
from sensors.batch import Codes, Floats, Ints

REASONS = (
    "still learning the spectrum",
    "a sample is not finite",
    "no power",
    "samples are missing",
    "not the sampling rate",
)
LEARNING, INFINITE, NO_POWER, MISSING, RATE = range(5)
FLOOR = 1e-6
"""Share of the power added to each band, so that an empty one divides and rounding does not count."""

COLUMNS = ("score", "power", "peak", "centroid", "moved")


def spectra(windows: Floats) -> Floats:
    """`(k, n // 2 + 1)` one-sided power of windows `(k, n)` under a Hann window; sums to about the mean square.

    The mean is taken out. Parseval: the sum over the bins is the mean square of a stationary signal without offset.
    """
    n = windows.shape[1]
    taper = np.hanning(n + 1)[:-1]
    centred = windows - windows.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * taper, axis=1)) ** 2
    power *= 2.0 / (n * (taper * taper).sum())
    power[:, 0] *= 0.5
    if n % 2 == 0:
        power[:, -1] *= 0.5
    result: Floats = power
    return result


@dataclass
class Spectral(Operator):
    """KL divergence between spectra, live.

    Score: nats, 0 or more; scale and offset of the metric do not matter. NaN with a reason while it learns, for
    windows with infinite samples, without any variation, with a gap, or not at the sampling rate.

    Attributes:
        metric: column of the readings.
        sampling_rate: samples a second.
        window: samples in a window; the resolution is `sampling_rate / window` Hz.
        hop: samples between windows; 0 = half a window.
        low: Hz from which bands are counted.
        high: Hz to which they are; 0 = half the sampling rate.
        bands: number of bands of equal width.
        learn: windows whose mean is the reference; take them from normal operation.
        rate_tolerance: share by which the times of a window may differ from `sampling_rate`; a step of more than
            three samples is a gap. 0 = do not look at the times (they are those of a batch, not of a sample).
        on: name of the window whose rows it reads; empty = readings.
        by: columns that make a series.
    """

    metric: str
    sampling_rate: float
    window: int = 1024
    hop: int = 0
    low: float = 0.0
    high: float = 0.0
    bands: int = 32
    learn: int = 20
    rate_tolerance: float = 0.01
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    explains: ClassVar = {"score": Explanation("has unusual frequencies", "has its usual frequencies again")}

    _rings: SampleWindows = field(init=False, repr=False)
    _band: Ints = field(init=False, repr=False)

    remembers: ClassVar = {"rings": "_rings", "": "_state"}
    texts: ClassVar = ("reason",)

    def __post_init__(self) -> None:
        high = self.high or self.sampling_rate / 2
        if self.window < 8 or self.learn < 1 or self.bands < 2 or not self.sampling_rate > 0:
            raise ValueError("window 8, bands 2, learn 1 and sampling_rate > 0 are the least")
        frequency = np.arange(self.window // 2 + 1) * (self.sampling_rate / self.window)
        band = (
            np.floor((frequency - self.low) / (high - self.low) * self.bands) if high > self.low else frequency * -1
        )
        band = np.where(frequency == high, self.bands - 1, band)
        self._band = np.where((band >= 0) & (band < self.bands), band, -1).astype(np.int64)
        if len(np.unique(self._band[self._band >= 0])) < self.bands:
            raise ValueError(
                f"{self.bands} bands from {self.low:g} to {high:g} Hz are narrower than the resolution of "
                f"{self.sampling_rate / self.window:g} Hz; take a longer window or fewer bands"
            )
        self._rings = SampleWindows(self.window, self.hop or self.window // 2)
        self._state = SeriesState(sum=Field(np.float64, 0, (self.bands,)), seen=Field(np.int64))

    def fit(self, rows: Rows) -> None:
        """Learn from rows of normal operation ahead, as if they had come live; no result is emitted."""
        self.process(rows)

    def outputs(self) -> tuple[str, ...]:
        return (*COLUMNS, *self.texts)

    def process(self, rows: Rows) -> Rows:
        """A row a window: `score`, `power` (mean square), `peak`, `centroid` and most `moved` band in Hz."""
        return judge_windows(self._rings, rows, self.metric, self._score, COLUMNS, {"reason": REASONS}, MISSING)

    def _score(self, cut: WindowBatch) -> tuple[Floats, Codes]:
        """Values `(k, len(COLUMNS))` and code of the reason `(k, 1)`, -1 = none."""
        values = np.full((len(cut), len(COLUMNS)), np.nan)
        why = np.full(len(cut), -1, np.int32)
        rate, gap = uneven_times(cut.times, self.sampling_rate, self.rate_tolerance)
        why[rate], why[gap] = RATE, MISSING
        why[~measurable(cut.samples)] = INFINITE
        whole = np.flatnonzero(why < 0)
        power = spectra(np.ascontiguousarray(cut.samples[whole]))
        inside = np.flatnonzero(self._band >= 0)
        power = np.ascontiguousarray(power[:, inside[0] : inside[-1] + 1])  # a sum's order follows the layout
        share = np.add.reduceat(power, np.flatnonzero(np.diff(self._band[inside], prepend=-1)), axis=1)
        total = share.sum(axis=1)
        powered = total > 1e-24 * np.square(np.abs(cut.samples[whole]).max(axis=1, initial=0.0))
        why[whole[~powered]] = NO_POWER
        whole, power, share, total = whole[powered], power[powered], share[powered], total[powered]
        if not len(whole):
            return values, why[:, None]
        share = share / total[:, None]
        frequency = inside * (self.sampling_rate / self.window)
        values[whole, 1] = total
        values[whole, 2] = frequency[np.argmax(power, axis=1)]
        values[whole, 3] = (power * frequency).sum(axis=1) / total
        reference, ready = self._learned(cut.key[whole], share)
        why[whole[~ready]] = LEARNING
        p, q = reference + FLOOR, share + FLOOR
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
        parts = p * np.log(p / q)
        width = ((self.high or self.sampling_rate / 2) - self.low) / self.bands
        moved = self.low + width * (np.argmax(np.abs(p - q), axis=1) + 0.5)
        values[whole, 0] = np.where(ready, np.maximum(parts.sum(axis=1) + 0.0, 0.0), np.nan)
        values[whole, 4] = np.where(ready, moved, np.nan)
        return values, why[:, None]

    def _learned(self, key: Ints, share: Floats) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
        """Mean shares of the first `learn` windows of each series, and whether there were so many before."""
        self._state.grow(int(key.max()) + 1)
        total, seen = self._state["sum"], self._state["seen"]
        series = Grouping(key)
        number = seen[key] + series.unsorted(series.number)
        seen += np.bincount(key, minlength=len(seen))
        early = series.order[number[series.order] < self.learn]
        np.add.at(total, key[early], share[early])  # in order of the windows, so a cut changes no bit
        return total[key] / self.learn, number >= self.learn
