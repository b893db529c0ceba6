"""The preset `auto`: what one gets who only names the metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from agent.detectors.decay import Decay, keep
from agent.detectors.history import (
    Lags,
    neighbour_sums,
    phase_median,
    read,
    rows_a_period,
    sliding_distances,
    stored,
    write,
)
from agent.detectors.records import BASE, BLOCKS, held, record_age, rested
from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming
from agent.detectors.views import (
    BINS,
    LAST,
    VIEWS,
    distribution,
    long_run,
    long_run_shapes,
    outside,
    quantile_bins,
    rarity,
)
from sensors.batch import Floats, Ints

PERIODS, AROUND = 14, 6
"""Earlier periods compared with, and rows on either side of the same phase."""

WINDOWS = (8, 24, 64)
"""Rows of the windows whose neighbours are looked for."""

SAMPLE = 512
"""Values that stand for the history where its distribution is asked for."""

EPOCH = 64
"""Rows between two looks at the whole history: its distribution, and the sampling interval."""

FACTORS = (1.0, 0.75, 0.5)
"""A value counts as large as another if it is at least this share of it."""

ALARM = 0.85
"""Sum over the views that makes a score of 1; the one number fitted to labelled data (half of NAB)."""

_IN_UNITS = [VIEWS.index(name) for name in ("near_8", "near_24", "near_64", "period")]
_NEVER = -(1 << 40)


@dataclass
class Auto(Streaming):
    """Ten views of one metric; the score says how unusual they find it, all together, against all that was before.

    Each view (`agent.detectors.views`) is turned into the share of the history since it was last as large
    (`records`), so none of them has a scale to set. The shares of the last 16 rows are added; 1 is an alarm,
    larger is clearer. After an alarm the score rests at 0 for `rest` rows, so that one event is one alarm. The
    column `view` names what contributed most. Seasons need no setting: it compares with the same time of day if
    two days fit the memory.

    Scale and offset of the metric do not matter but for rounding. A constant series has no score. It needs
    about 32 KB a series and 30 to 50 microseconds a row.

    Attributes:
        memory: rows kept to compare with.
        warmup: rows before the first score; their median and MAD set the scale on which values are compressed.
        rest: rows of silence after an alarm; at least 16.
        half_life: rows after which a row counts half in the long mean, spread and restlessness.
    """

    memory: int = 4096
    warmup: int = 128
    rest: int = 50
    half_life: float = 2000.0
    _decay: Decay = field(init=False, repr=False, compare=False)

    words: ClassVar = {"view": VIEWS}
    cells: ClassVar[int] = 256

    usual_limit: ClassVar[float] = 1.0

    def _check(self) -> None:
        if self.memory < 512 or self.warmup < EPOCH or self.rest < BASE or not self.half_life > 0.0:
            raise ValueError(
                f"memory must be at least 512 rows, warmup {EPOCH}, rest {BASE}, half_life above 0, not "
                f"{self.memory}, {self.warmup}, {self.rest}, {self.half_life}"
            )
        self._decay = Decay(keep(self.half_life), BASE)

    def _shapes(self) -> dict[str, Shape]:
        return {
            "store": ((self.memory + 2 * LAST,), np.float32, 0.0),
            "centre": ((), np.float64, 0.0),
            "scale": ((), np.float64, 0.0),
            "low": ((), np.float64, np.inf),
            "high": ((), np.float64, -np.inf),
            "times": ((33,), np.int64, 0),
            "period": ((), np.int64, self.memory // PERIODS),
            "sample": ((SAMPLE,), np.float64, np.nan),
            "sums": ((len(WINDOWS), PERIODS, 2 * AROUND + 1), np.float64, 0.0),
            "edges": ((BINS - 1,), np.float64, np.nan),
            "usual": ((BINS,), np.float64, np.nan),
            **long_run_shapes(),
            "blocks": ((len(VIEWS), BLOCKS), np.float32, 0.0),
            "current": ((len(VIEWS),), np.float64, 0.0),
            "held": ((len(VIEWS), 15), np.float64, 0.0),
            "alarm": ((), np.int64, _NEVER),
        }

    @property
    def span(self) -> int:
        return BASE

    @property
    def needs(self) -> int:
        return self.warmup

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> tuple[Floats, dict[str, Floats]]:
        count = state[COUNT]
        number = count[:, None] + np.arange(x.shape[1])
        views, constant = self._views(state, x, take, time)
        ages = record_age(state["blocks"], state["current"], count, views, take, FACTORS)
        strange = held(state["held"], ages, take)
        total = strange[:, 0]
        for view in range(1, len(VIEWS)):  # in this order, whatever the shape
            total = total + strange[:, view]
        ready = np.where(number < self.needs, 0.0, total / ALARM)
        score = rested(state["alarm"], ready, number, take, 1.0, self.rest)
        top = np.where(score > 0.0, strange.argmax(axis=1), np.nan)
        return np.where(constant, np.nan, score), {"view": top}

    def _views(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """The ten views, `(k, 10, length)`, each 0 where it has nothing to say; and where all was constant."""
        count, length = state[COUNT], x.shape[1]
        state["centre"][:] = np.where(count == 0, x[:, 0], state["centre"])
        self._look_back(state)
        number = count[:, None] + np.arange(length)
        line, column = np.nonzero(np.arange(length) < take[:, None])
        state["times"][line, number[line, column] % 33] = time[line, column]
        y = self._compressed(state, x)
        write(state["store"], count, y, take)
        first = count - LAST + 1
        recent = read(state["store"], first[:, None] + np.arange(length + LAST - 1))
        recent[:, LAST - 1 :] = stored(y)  # cells that do not count are not in the store
        lags = Lags.of(state["period"], PERIODS, AROUND, self.memory)
        usual = phase_median(state["store"], number, Lags.of(state["period"], PERIODS, 1, self.memory))
        beyond, extent = outside(state["low"], state["high"], x)
        views = [
            beyond,
            rarity(state["sample"], x, extent),
            *sliding_distances(state["store"], state["sums"], count, length, take, lags, WINDOWS),
            np.abs(y - usual),
            *long_run(state, self._decay, recent, take),
            np.where(number < 2 * LAST, 0.0, distribution(recent, state["edges"], state["usual"])),
        ]
        stacked = np.stack(views, axis=1)
        return np.where(np.isnan(stacked), 0.0, stacked), (extent == 0.0) & (beyond == 0.0)

    @staticmethod
    def _compressed(state: Arrays, x: Floats) -> Floats:
        """`asinh((x - centre) / scale)`: nearly linear near the usual values, logarithmic far away."""
        away = x - state["centre"][:, None]
        scale = state["scale"][:, None]
        known = scale > 0.0
        return np.where(known, np.arcsinh(away / np.where(known, scale, 1.0)), np.clip(away, -1e30, 1e30))

    def _look_back(self, state: Arrays) -> None:
        """Every 64 rows of a series: set the scale if it is not yet set, learn the period and the distribution."""
        due = np.flatnonzero((state[COUNT] % EPOCH == 0) & (state[COUNT] > 0))
        if not len(due):
            return
        count = state[COUNT][due]
        self._set_scale(state, due[(state["scale"][due] == 0.0) & (count >= self.warmup)])
        gaps = np.sort(np.diff(np.sort(state["times"][due], axis=1), axis=1), axis=1)
        state["period"][due] = rows_a_period(gaps[:, 16], self.memory, PERIODS)
        lags = Lags.of(state["period"][due], PERIODS, AROUND, self.memory)
        state["sums"][due] = neighbour_sums(state["store"][due], count, lags, WINDOWS)
        kept = np.minimum(count, self.memory)
        back = np.maximum(kept // SAMPLE, 1)[:, None] * np.arange(SAMPLE)
        sample = read(state["store"][due], np.where(back < kept[:, None], count[:, None] - 1 - back, -1))
        state["edges"][due], state["usual"][due] = quantile_bins(sample)
        scale = state["scale"][due][:, None]
        plain = np.where(scale > 0.0, np.sinh(np.clip(sample, -230.0, 230.0)) * scale, sample)
        state["sample"][due] = plain + state["centre"][due][:, None]

    def _set_scale(self, state: Arrays, which: Ints) -> None:
        """Median and MAD of the last `warmup` rows become centre and scale, unless they are constant."""
        if not len(which):
            return
        last = (state[COUNT][which] - self.warmup)[:, None] + np.arange(self.warmup)
        values = read(state["store"][which], last)
        middle = np.median(values, axis=1)
        mad = np.median(np.abs(values - middle[:, None]), axis=1)
        scale = np.where(mad > 0.0, mad, values.std(axis=1))
        which, middle, scale = which[scale > 0.0], middle[scale > 0.0], scale[scale > 0.0]
        state["scale"][which] = scale
        state["centre"][which] += middle
        state["store"][which] = np.arcsinh((state["store"][which] - middle[:, None]) / scale[:, None])
        for name in long_run_shapes():
            state[name][which] = 0.0
        for view in _IN_UNITS:  # their records so far were in the unit of the metric
            state["blocks"][which, view] /= scale[:, None]
            state["current"][which, view] /= scale
