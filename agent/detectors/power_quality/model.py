"""What is normal for a wave: the range of each measure, learned from windows in which nothing was wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from agent.core.files import TextFile
from agent.core.series import State
from agent.detectors.base.streaming import LARGEST
from agent.detectors.histograms.windowed import measurable
from agent.detectors.power_quality.measures import MEASURES, TWO_SIDED, harmonics, measure
from agent.detectors.power_quality.sine import follow
from sensors.batch import Floats, Ints

BLOCK = 1 << 16
"""Samples measured at a time; they and what is derived from them stay in the cache."""

TAIL = 0.001
"""Share of normal windows beyond the quantile on which a limit stands."""

MARGIN = 1.8
"""How far beyond that quantile the limit lies, as a factor of its distance from the median: 3.1 standard deviations
become 5.6, of which a day of windows that hardly overlap shows none."""

FLOOR = 1e-4
"""Smallest distance of a limit, as a share of the level: what a noiseless reference leaves to rounding."""

SAG = 0.096
"""The limit of `level` is at most so far below the median, whatever the reference tolerates: a sag is a voltage of
90 % or less of the declared one (IEC 61000-4-30, IEEE 1159), and 0.4 % is left for the error of measurement."""

SWELL = 1.56
"""The limit above lies at most so many times as far from the median as that below, 15 %: the standards begin swells at
10 %, but a supply whose gain has a standard deviation of 5 % would then raise more than 1 % of false alarms."""

FAR = np.array([20.0 if name in ("level", "frequency", "offset") else 8.0 for name in MEASURES])
"""Beyond so many times the distance of the 90 % quantile from the median a reference window was disturbed: 10 standard
deviations. Normal windows differ more among each other in the first three than any of them within itself."""

FEW_DISTURBED = 0.1
"""If more of the reference than this is so far away, it is no exception, and nothing is left out."""


def measures_of(windows: Floats, nominal: float) -> Floats:
    """`(k, len(MEASURES))` measures of windows `(k, n)`, block by block; NaN where a window is not finite."""
    result = np.full((len(windows), len(MEASURES)), np.nan)
    finite = np.flatnonzero(measurable(windows))
    many = max(1, BLOCK // windows.shape[1])
    for first in range(0, len(finite), many):
        some = finite[first : first + many]
        block = np.ascontiguousarray(windows[some])
        track = follow(block, nominal)
        result[some] = measure(block, track, harmonics(track))
    return result


def undisturbed(measures: Floats, floor: Floats) -> npt.NDArray[np.bool_]:
    """`(k,)` which windows of a reference are not obviously disturbed, by their measures `(k, m)`.

    Args:
        measures: of windows most of which are normal; a row with NaN is not.
        floor: `(m,)` distances from the median that are normal in any case.
    """
    whole: npt.NDArray[np.bool_] = np.all(np.isfinite(measures), axis=1)
    away = np.abs(measures[whole] - np.median(measures[whole], axis=0))
    usual = np.quantile(away, 0.9, axis=0, method="higher")
    fine = whole.copy()
    fine[whole] = (away <= np.maximum(FAR * usual, 2 * floor)).all(axis=1)
    return fine if np.count_nonzero(whole & ~fine) <= FEW_DISTURBED * len(away) else whole


def tolerated(level: float, nominal: float, level_tolerance: float, frequency_tolerance: float) -> Floats:
    """`(m,)` distances from the median that are normal whatever a reference shows; shares of level and frequency."""
    floor = np.full(len(MEASURES), FLOOR * level)
    floor[MEASURES.index("level")] = max(FLOOR, level_tolerance) * level
    floor[MEASURES.index("frequency")] = max(FLOOR, frequency_tolerance) * nominal
    floor[MEASURES.index("flat")] = 2.0
    return floor


@dataclass(frozen=True, slots=True)
class WaveModel:
    """The normal range of each measure.

    Attributes:
        nominal: frequency about which the sine is tracked, cycles a sample.
        length: samples in a window; the limits hold for windows of this length.
        windows: number of windows it was learned from.
        centre: `(m,)` median of each measure of `MEASURES`; or `(k, m)`, this and the limits for each of k windows.
        below: `(m,)` distance of the lower limit from it, infinite where small values are not strange.
        above: `(m,)` distance of the upper limit.
    """

    nominal: float
    length: int
    windows: int
    centre: Floats
    below: Floats
    above: Floats

    @classmethod
    def fit(cls, windows: Floats, nominal: float) -> Self:
        """Learn from normal windows `(k, n)`; see `learn`.

        Raises:
            ValueError: if there are fewer than two finite ones, or no sine in them.
        """
        return cls.learn(measures_of(windows, nominal), windows.shape[1], nominal)

    @classmethod
    def learn(
        cls,
        measures: Floats,
        length: int,
        nominal: float,
        level_tolerance: float = 0.0,
        frequency_tolerance: float = 0.0,
        sag: float = SAG,
    ) -> Self:
        """Learn from the measures `(k, m)` of normal windows.

        Args:
            measures: one row a window; rows with NaN are left out.
            length: samples in a window.
            nominal: cycles a sample.
            level_tolerance: share of the level by which it may at least differ from the median.
            frequency_tolerance: the same of the frequency.
            sag: share of the level below the median at which the limit lies at most, above at most `SWELL` times as
                far; 1 = no such rule.

        Raises:
            ValueError: if there are fewer than two whole rows, or no sine in them.
        """
        measures = measures[np.isfinite(measures).all(axis=1)]
        if len(measures) < 2:
            raise ValueError(f"{len(measures)} whole windows to learn from; at least 2 are needed")
        level = float(np.median(measures[:, MEASURES.index("level")]))
        if level <= 0 or level < np.median(measures[:, MEASURES.index("noise")]):
            raise ValueError(f"no sine near {nominal:.6g} cycles a sample in the reference")
        floor = tolerated(level, nominal, level_tolerance, frequency_tolerance)
        measures = measures[undisturbed(measures, floor)]
        centre: Floats = np.median(measures, axis=0)
        k = len(measures)
        # Of few windows the quantile is about their largest value; widen it as the spread of a maximum requires.
        margin = MARGIN * max(1.0, 3.0 / np.sqrt(2.0 * np.log(max(2.0, k)))) * (1 + 10 / k)
        above = np.maximum(margin * (np.quantile(measures, 1 - TAIL, axis=0) - centre), floor)
        below = np.maximum(margin * (centre - np.quantile(measures, TAIL, axis=0)), floor)
        return cls(nominal, length, k, centre, *cls.by_standard(below, above, level, sag))

    @staticmethod
    def by_standard(below: Floats, above: Floats, level: Floats | float, sag: float) -> tuple[Floats, Floats]:
        """Distances of limits `(..., m)`: infinite where only large values are strange; a sag or swell always is."""
        below = np.where(np.isin(MEASURES, TWO_SIDED), below, np.inf)
        index = MEASURES.index("level")
        below[..., index] = np.minimum(below[..., index], sag * level)
        above = above.copy()
        above[..., index] = np.minimum(above[..., index], SWELL * sag * level)
        return below, above

    def take(self, chosen: Ints) -> Self:
        """The model of some of the windows, if each has its own."""
        if self.centre.ndim == 1:
            return self
        return replace(self, centre=self.centre[chosen], below=self.below[chosen], above=self.above[chosen])

    def ratios(self, measures: Floats) -> Floats:
        """How far each measure is from its median, in units of the distance of the limit: 1 is at the limit."""
        away = measures - self.centre
        with np.errstate(over="ignore"):  # a value absurdly far from a model of a tiny wave
            ratio = np.where(away >= 0, away / self.above, -away / self.below)
        result: Floats = np.minimum(ratio, LARGEST)
        return result

    def limit(self, name: str) -> Floats:
        """Distance of the upper limit of a measure from its median, `()` or `(k,)`."""
        return np.asarray(self.above[..., MEASURES.index(name)])

    def lower(self, name: str) -> Floats:
        """Distance of the lower limit of a measure from its median, `()` or `(k,)`."""
        return np.asarray(self.below[..., MEASURES.index(name)])

    def middle(self, name: str) -> Floats:
        """Median of a measure, `()` or `(k,)`."""
        return np.asarray(self.centre[..., MEASURES.index(name)])

    def to_state(self) -> State:
        """Numbers and lists, as JSON has them."""
        state = asdict(self)
        for name in ("centre", "below", "above"):
            state[name] = [value if np.isfinite(value) else None for value in state[name].tolist()]
        return state | {"measures": list(MEASURES), "version": 1}

    @classmethod
    def from_state(cls, state: State) -> Self:
        """What `to_state` gave.

        Raises:
            ValueError: if it is of another version.
        """
        if state.get("version") != 1 or tuple(state.get("measures", ())) != MEASURES:
            raise ValueError("the model of the wave was learned by another version; learn it again")
        arrays: dict[str, Any] = {
            name: np.array([np.inf if value is None else value for value in state[name]], np.float64)
            for name in ("centre", "below", "above")
        }
        return cls(float(state["nominal"]), int(state["length"]), int(state["windows"]), **arrays)

    def to_text(self) -> str:
        """The model as JSON, for a file."""
        return json.dumps(self.to_state(), indent=1) + "\n"

    @classmethod
    def of_file(cls, file: TextFile) -> Self:
        """What `to_text` gave.

        Raises:
            ValueError: if the file holds something else.
        """
        try:
            state = json.loads(file.text)
        except ValueError as error:
            raise ValueError(f"{file.path} is not a model of a wave: {error}") from error
        if not isinstance(state, dict):
            raise ValueError(f"{file.path} is not a model of a wave")
        return cls.from_state(state)
