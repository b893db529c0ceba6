"""A series that brings no model learns what is normal from its own first windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agent.core.grouping import Grouping
from agent.core.series import Field, SeriesState, Stateful
from agent.detectors.power_quality.measures import MEASURES
from agent.detectors.power_quality.model import WaveModel
from sensors.batch import Floats, Ints

READY, LEARNING, NO_SINE = range(3)
_KEPT = len(MEASURES)
_LEVEL, _FREQUENCY, _OFFSET = (MEASURES.index(name) for name in ("level", "frequency", "offset"))
_LEAST = 1e-290  # level of a sine; shares of a lesser one are nothing to divide by


@dataclass
class Learning(Stateful):
    """First windows of each series, and from when there are enough its limits.

    Of each series `learn` windows are kept that do not overlap: every `stride`-th. Their medians are taken, and
    limits are set at nine standard deviations (1.4826 x MAD; more if the windows are few), so that some disturbed
    windows among them do no harm; the tolerances widen them to what a short look cannot have seen.

    Attributes:
        nominal: cycles a sample.
        length: samples in a window.
        learn: windows to learn from.
        stride: take one in so many windows.
        level_tolerance: least tolerated deviation of level and, a tenth of it, offset; share of the level.
        frequency_tolerance: least tolerated deviation of frequency, share.
        sag: share below the level that is never normal.
    """

    nominal: float
    length: int
    learn: int
    stride: int
    level_tolerance: float
    frequency_tolerance: float
    sag: float

    remembers: ClassVar = {"": "_state"}

    def __post_init__(self) -> None:
        self._state = SeriesState(
            seen=Field(np.int64),
            kept=Field(np.float64, 0, (self.learn, _KEPT)),
            limits=Field(np.float64, np.nan, (3, _KEPT)),
        )

    def models(self, key: Ints, measures: Floats) -> tuple[WaveModel, Ints]:
        """What is normal for each window `(k,)`, learning from those of series that still learn.

        A window is judged by limits from windows before it only.

        Returns:
            A model with a row a window, and `READY`, `LEARNING` or `NO_SINE` for each.
        """
        self.grow(int(key.max()) + 1)
        seen, kept, ranges = (self._state[name] for name in ("seen", "kept", "limits"))
        series = Grouping(key)
        number = seen[key] + series.unsorted(series.number)
        seen += np.bincount(key, minlength=len(seen))
        last = (self.learn - 1) * self.stride
        kept_now = (number <= last) & (number % self.stride == 0)
        kept[key[kept_now], number[kept_now] // self.stride] = measures[kept_now]
        done = np.unique(key[number == last])
        if len(done):
            ranges[done] = self._range(kept[done])
        limits = ranges[key]
        ready = number > last
        no_sine = ready & np.isnan(limits[:, 0, 0])
        fine = (ready & ~no_sine)[:, None]
        model = WaveModel(
            self.nominal,
            self.length,
            self.learn,
            np.where(fine, limits[:, 0], 1.0),
            np.where(fine, limits[:, 1], 1.0),
            np.where(fine, limits[:, 2], 1.0),
        )
        return model, np.where(no_sine, NO_SINE, np.where(ready, READY, LEARNING))

    def _range(self, kept: Floats) -> Floats:
        """`(s, 3, m)` centre, distances below and above of windows `(s, learn, m)`; NaN where there is no sine."""
        centre = np.median(kept, axis=1)
        away = np.abs(kept - centre[:, None])
        spread = 9 * (1 + 10 / self.learn) * 1.4826 * np.median(away, axis=1)  # of few windows it is not well known
        level = centre[:, _LEVEL]
        floor = np.maximum(0.002 * level[:, None], 0.3 * centre)
        floor[:, _LEVEL] = self.level_tolerance * level
        floor[:, _OFFSET] = 0.1 * self.level_tolerance * level
        floor[:, _FREQUENCY] = self.frequency_tolerance * self.nominal
        floor[:, MEASURES.index("flat")] = 2.0
        away = np.maximum(spread, floor)
        limits = np.stack([centre, *WaveModel.by_standard(away, away, level, self.sag)], axis=1)
        limits[~(level > np.maximum(2 * centre[:, MEASURES.index("noise")], _LEAST))] = np.nan
        return limits
