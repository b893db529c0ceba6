"""Watch a wave that should be a sine, mains voltage or the vibration of a turning machine, and name what is wrong.

In each window a sine is tracked, measures that keep still in normal operation are taken of it, and the score is the
largest distance of a measure from its normal range: 1 is at the limit. See `measures`, `model`, `disturbance`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.files import TextFile
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.detectors.histograms.windowed import judge_windows, measurable, uneven_times
from agent.detectors.power_quality.disturbance import NAMES, UNITS, name_disturbances
from agent.detectors.power_quality.events import EventTracker
from agent.detectors.power_quality.learning import Learning
from agent.detectors.power_quality.measures import MEASURES, harmonics, measure
from agent.detectors.power_quality.model import BLOCK, SAG, WaveModel
from agent.detectors.power_quality.power import COLUMNS, power_figures
from agent.detectors.power_quality.sine import follow
from agent.windows.sample_windows import SampleWindows, WindowBatch
from sensors.batch import Codes, Floats, Ints
from sensors.units import SECOND

REASONS = (
    "still learning what is normal",
    "samples are missing",
    "not the sampling rate",
    "a sample is not finite",
    "no sine near the nominal frequency",
)
LEVEL, OFFSET = MEASURES.index("level"), MEASURES.index("offset")
LEARNING, GAP, RATE, INFINITE, NO_SINE = range(5)


@dataclass
class Mains(Operator):
    """Disturbances of a sine at a known frequency, in the words of IEEE 1159.

    Score: largest ratio of a measure's distance from normal to the distance of its limit; 1 at the limit, NaN
    with a reason. It does not depend on where in its period a window begins, nor on a gain, an offset or a
    frequency within what the reference holds. Scale and offset of the metric do not matter if what is normal was
    learned with them.

    Attributes:
        metric: column of the readings.
        sampling_rate: samples a second.
        nominal: frequency of the sine, Hz; at most a quarter of the sampling rate.
        window: samples in a window; 0 = one second, at least ten periods. Three periods is the least.
        hop: samples between windows; 0 = a period.
        model: file that `agent calibrate --model` wrote; empty = learn it from each series.
        learn: windows, one after the other, from which a series without a model learns.
        level_tolerance: such a series tolerates at least this deviation of the voltage, share.
        frequency_tolerance: and this one of the frequency, share; 0.004 = 200 mHz at 50 Hz.
        sag: share below the normal level that is never normal; 1 = no such rule, as for a machine.
        threshold: a window is anomalous where its score is greater.
        rate_tolerance: share by which the times of a window may differ from `sampling_rate`; a step of more than
            three samples is a gap. 0 = do not look at the times (they are those of a batch, not of a sample).
        on: name of the window whose rows it reads; empty = readings.
        by: columns that make a series.
    """

    metric: str
    sampling_rate: float = 1000.0
    nominal: float = 50.0
    window: int = 0
    hop: int = 0
    model: TextFile | None = None
    learn: int = 60
    level_tolerance: float = 0.1
    frequency_tolerance: float = 0.004
    sag: float = SAG
    threshold: float = 1.0
    rate_tolerance: float = 0.01
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    _rings: SampleWindows = field(init=False, repr=False)
    _shared: WaveModel | None = field(init=False, repr=False, default=None)
    _learning: Learning = field(init=False, repr=False)
    _events: EventTracker = field(init=False, repr=False)

    remembers: ClassVar = {"rings": "_rings", "learning": "_learning", "events": "_events"}
    texts: ClassVar = ("reason", "disturbance")
    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 1.0
    explains: ClassVar = dict.fromkeys(
        ("score", "anomaly"), Explanation("is not its usual wave", "is its usual wave again")
    )

    def __post_init__(self) -> None:
        if not 0 < self.nominal <= self.sampling_rate / 4:
            raise ValueError(
                f"a sine of {self.nominal:g} Hz needs at least {4 * self.nominal:g} samples a second, "
                f"not {self.sampling_rate:g}"
            )
        period = self.sampling_rate / self.nominal
        size = self.window or round(max(self.sampling_rate, 10 * period))
        if size < 3 * max(4, round(period)):
            raise ValueError(f"a window of {size} samples is shorter than three periods of {period:g} samples")
        if self.learn < 2:
            raise ValueError(f"learn must be at least 2 windows, not {self.learn}")
        hop = self.hop or max(1, round(period))
        self._rings = SampleWindows(size, hop)
        self._events = EventTracker(merge_gap=round(SECOND / self.nominal))
        self._learning = Learning(
            self.nominal / self.sampling_rate,
            size,
            self.learn,
            max(1, -(-size // hop)),
            self.level_tolerance,
            self.frequency_tolerance,
            self.sag,
        )
        if self.model is not None:
            self.use(WaveModel.of_file(self.model))

    @property
    def size(self) -> int:
        """Samples in a window."""
        return self._rings.size

    def use(self, model: WaveModel) -> None:
        """Take `model` as what is normal in every series.

        Raises:
            ValueError: if it was learned from windows of another length or at another frequency.
        """
        if model.length != self.size or not np.isclose(model.nominal, self.nominal / self.sampling_rate):
            raise ValueError(
                f"the model is for windows of {model.length} samples at {model.nominal:.6g} periods a sample, "
                f"here they have {self.size} at {self.nominal / self.sampling_rate:.6g}"
            )
        self._shared = model

    def fit(self, windows: Floats) -> None:
        """Learn what is normal in every series from windows `(k, size)`, none of them disturbed."""
        self.use(WaveModel.fit(windows, self.nominal / self.sampling_rate))

    def outputs(self) -> tuple[str, ...]:
        return (*_VALUES, *self.texts)

    def process(self, rows: Rows) -> Rows:
        """One row a window: `score`, `anomaly`, `size`, `duration` (s), figures of the wave; texts why and what.

        `evidence` holds the figures, and the event so far; normal windows bear the last event for ten minutes, so
        that the end of an alert has all of it.
        """
        texts = {"reason": REASONS, "disturbance": NAMES}
        found = judge_windows(self._rings, rows, self.metric, self._judge, _VALUES, texts, GAP)
        return replace(found, lists={"evidence": self._evidence(found)})

    def _evidence(self, found: Rows) -> list[dict[str, object] | None]:
        """What an alert has beside names and score: figures of the window, and the event that it belongs to."""
        evidence: list[dict[str, object] | None] = [None] * len(found)
        what, known = found.texts["disturbance"].codes, found.values["anomaly"]
        some = np.flatnonzero((known == 0) | (what >= 0)) if self._events else np.flatnonzero(what >= 0)
        if len(some) and not self._events:  # before the first event there is none
            some = np.flatnonzero((known == 0) & (np.arange(len(found)) > some[0]) | (what >= 0))
        table = np.stack([found.values[name][some] for name in _VALUES], axis=1).tolist()
        for i, key, name, start, end, values in zip(
            some.tolist(), found.key[some].tolist(), what[some].tolist(), found.start[some].tolist(),
            found.end[some].tolist(), table, strict=True,
        ):  # fmt: skip
            if name < 0:
                over = self._events.quiet(key, end)
                evidence[i] = None if over is None else {"event": over}
                continue
            row = dict(zip(_VALUES, values, strict=True))
            begin = start + round(row["begin"] * SECOND)
            last = begin + round(row["duration"] * SECOND)
            event = self._events.disturbed(key, name, row["size"], begin, last, row["rms_min"], row["rms_max"])
            evidence[i] = _window(row, name) | {"event": event}
        return evidence

    def _judge(self, cut: WindowBatch) -> tuple[Floats, Codes]:
        scored = [self._score(block) for block in self._blocks(cut)]
        values, reason, name = (np.concatenate(part) for part in zip(*scored, strict=True))
        return values, np.stack([reason, name], axis=1)

    def _blocks(self, cut: WindowBatch) -> list[WindowBatch]:
        many = max(1, BLOCK // self.size)
        parts = [slice(first, first + many) for first in range(0, len(cut), many)]
        return [WindowBatch(cut.key[p], cut.at[p], cut.samples[p], cut.times[p]) for p in parts]

    def _score(self, cut: WindowBatch) -> tuple[Floats, Codes, Codes]:
        """Values `(k, len(_VALUES))`, code of the reason and of the disturbance `(k,)`, -1 = none."""
        k = len(cut)
        values = np.full((k, len(_VALUES)), np.nan)
        name = np.full(k, -1, np.int32)
        reason = self._unfit(cut)
        whole = np.flatnonzero(reason < 0)
        if not len(whole):
            return values, reason, name
        x = np.ascontiguousarray(cut.samples[whole])
        track = follow(x, self.nominal / self.sampling_rate)
        orders = harmonics(track)
        measures = measure(x, track, orders)
        values[whole, len(_VALUES) - len(COLUMNS) :] = power_figures(
            x, track, orders, measures[:, LEVEL], measures[:, OFFSET], self.sampling_rate
        )
        model, why = self._normal(cut.key[whole], measures)
        reason[whole] = why
        known = np.flatnonzero(why < 0)
        ratios = model.ratios(measures)
        score = np.where(why < 0, ratios.max(axis=1), np.nan)
        values[whole, 0] = score
        values[whole, 1] = np.where(why < 0, score > self.threshold, np.nan)
        anomalous = known[score[known] > self.threshold]
        if len(anomalous):
            with np.errstate(over="ignore"):  # samples absurdly far from a tiny wave
                found = name_disturbances(
                    x[anomalous], track.take(anomalous), measures[anomalous], model.take(anomalous)
                )
            name[whole[anomalous]] = found.name
            values[whole[anomalous], 2] = np.where(
                found.name == NAMES.index("frequency deviation"), found.size * self.sampling_rate, found.size
            )
            values[whole[anomalous], 3] = found.duration / self.sampling_rate
            values[whole[anomalous], 4] = found.start / self.sampling_rate
            values[whole[anomalous], 5] = found.component * self.sampling_rate
        return values, reason, name

    def _unfit(self, cut: WindowBatch) -> Codes:
        """Code of the reason why a window cannot be measured, -1 = it can."""
        reason = np.full(len(cut), -1, np.int32)
        rate, gap = uneven_times(cut.times, self.sampling_rate, self.rate_tolerance)
        reason[rate], reason[gap] = RATE, GAP
        reason[~measurable(cut.samples)] = INFINITE
        return reason

    def _normal(self, key: Ints, measures: Floats) -> tuple[WaveModel, Codes]:
        """The model for each window, and why there is none."""
        if self._shared is not None:
            return self._shared, np.full(len(key), -1, np.int32)
        model, state = self._learning.models(key, measures)
        return model, np.choose(state, [-1, LEARNING, NO_SINE]).astype(np.int32)


def _window(row: dict[str, float], what: int) -> dict[str, object]:
    """Figures of the window in an alert."""
    figures = {name: row[name] for name in COLUMNS if np.isfinite(row[name])}
    if np.isfinite(row["component"]):
        figures["component_hz"] = row["component"]
    return {
        "score": row["score"], "size": row["size"], "size_unit": UNITS[what], "duration_s": row["duration"], **figures
    }  # fmt: skip


_VALUES = ("score", "anomaly", "size", "duration", "begin", "component", *COLUMNS)


def fresh(detector: Mains) -> Mains:
    """A detector of the same configuration that has seen nothing but has the same model."""
    new = replace(detector)
    if detector._shared is not None:
        new.use(detector._shared)
    return new
