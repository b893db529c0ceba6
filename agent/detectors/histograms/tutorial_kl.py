"""The tutorial's voltage detector, live: KL divergence of own-range histograms against a reference window."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.files import ColumnsFile
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState
from agent.detectors.histograms.own_range import WORDS, Reason, compare, counts_and_widths, densities
from agent.detectors.histograms.windowed import judge_windows
from agent.windows.sample_windows import SampleWindows, WindowBatch
from sensors.batch import Codes, Floats, Ints

TUTORIAL_THRESHOLD = 0.010199148586751076

NORMAL = ("normal_wave", "reference")
"""Columns that hold the normal wave, if a file has one of them."""

_CODES = np.full(max(WORDS) + 1, -1, np.int32)  # Reason -> place of its words
_CODES[list(WORDS)] = np.arange(len(WORDS))
_COLUMNS = ("score", "anomaly", "bin", "change")
_MISSING = int(_CODES[Reason.MISSING])


@dataclass
class TutorialKL(Operator):
    """KL of the last `window` samples against a reference, each histogram over its own range. See `own_range`.

    Score: nats, 0 or more; blind to gain and offset of the whole window, over-sensitive to noise, phase. The scale of
    the metric matters a little, since the tutorial adds 1e-10 to densities, which have a unit. NaN with
    a reason for windows with infinite samples, windows of fewer than 3 samples, and constant references.

    Attributes:
        metric: column of the readings.
        window: samples in a window.
        hop: samples from one window to the next.
        bins: bins of each histogram.
        threshold: a window is anomalous where its score is greater; the default is the tutorial's.
        reference: file (`.npz`, `.npy`, `.csv`) whose first `window` samples of the column `normal_wave` or `reference`,
            or else of the metric, are the normal wave; empty = the first window of each series.
        on: name of the window whose rows it reads; empty = readings.
        by: columns that make a series.
    """

    metric: str
    window: int = 1000
    hop: int = 100
    bins: int = 50
    threshold: float = TUTORIAL_THRESHOLD
    reference: ColumnsFile | None = None
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    explains: ClassVar = dict.fromkeys(
        ("score", "anomaly"), Explanation("is distributed unlike the normal wave", "is distributed as usual again")
    )

    _rings: SampleWindows = field(init=False, repr=False)
    _shared: Floats | None = field(init=False, repr=False, default=None)

    remembers: ClassVar = {"rings": "_rings", "": "_state"}
    texts: ClassVar = ("reason",)

    def __post_init__(self) -> None:
        if self.window < 3 or self.bins < 1:
            raise ValueError(f"a window of {self.window} samples in {self.bins} bins: 3 samples and 1 bin at least")
        self._rings = SampleWindows(self.window, self.hop)
        self._state = SeriesState(learned=Field(np.float64, np.nan, (self.bins,)))
        if self.reference is not None:
            self.fit(self.reference.first((*NORMAL, self.metric))[: self.window])

    @property
    def size(self) -> int:
        """Samples in a window."""
        return self._rings.size

    def fit(self, normal: Floats) -> None:
        """Take the samples of a normal wave `(m,)` as the reference of every series.

        Raises:
            ValueError: if they are too few, constant or not finite.
        """
        counts, widths, why = counts_and_widths(np.asarray(normal, np.float64)[None, :], self.bins)
        if why[0] != Reason.NONE:
            raise ValueError(f"not a reference: {WORDS[int(why[0])]}")
        self._shared = densities(counts, widths)[0]

    def outputs(self) -> tuple[str, ...]:
        return (*_COLUMNS, *self.texts)

    def process(self, rows: Rows) -> Rows:
        """A row a window: `score`, `anomaly` (1 or 0), the `bin` that moved most and its `change` in share; `reason`."""
        reasons = {"reason": tuple(WORDS.values())}
        found = judge_windows(self._rings, rows, self.metric, self._judge, _COLUMNS, reasons, _MISSING)
        evidence: list[dict[str, float] | None] = [None] * len(found)
        for i in np.flatnonzero(found.values["anomaly"] == 1).tolist():
            evidence[i] = {name: float(found.values[name][i]) for name in ("bin", "change")}
        return replace(found, lists={"evidence": evidence})

    def _judge(self, cut: WindowBatch) -> tuple[Floats, Codes]:
        score, reason, most_moved, change = self._score(cut.key, cut.samples)
        anomaly = np.where(np.isnan(score), np.nan, score > self.threshold)
        return np.stack([score, anomaly, most_moved, change], axis=1), _CODES[reason][:, None]

    def _score(self, key: Ints, samples: Floats) -> tuple[Floats, Ints, Floats, Floats]:
        if self._shared is not None:
            return compare(self._shared, samples, self.bins)
        since = self._learn(key, samples)
        reference = np.where((np.arange(len(key)) >= since)[:, None], self._state["learned"][key], np.nan)
        return compare(reference, samples, self.bins)

    def _learn(self, key: Ints, samples: Floats) -> Ints:
        """The first window of a series that can be a reference becomes it; its own score is 0.

        Returns:
            `(k,)` number of the window since which the series of each window has its reference.
        """
        room = int(key.max()) + 1
        self._state.grow(room)
        learned = self._state["learned"]
        new = np.flatnonzero(np.isnan(learned[key, 0]))
        since = np.zeros(len(key), np.int64)
        if not len(new):
            return since
        counts, widths, why = counts_and_widths(samples[new], self.bins)
        good = np.flatnonzero(why == Reason.NONE)
        series, first = np.unique(key[new[good]], return_index=True)
        learned[series] = densities(counts, widths)[good[first]]
        known_since = np.zeros(room, np.int64)
        known_since[series] = new[good[first]]
        return known_since[key]
