"""Several detectors as one: each calibrated against its own past, then a weighted sum, then a refractory period."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.rows import Rows
from agent.core.series import Arrays, Field
from agent.detectors.base.streaming import REASONS, TOO_FEW_ROWS, StreamingDetector
from agent.detectors.ensembles.calibrated import Calibrated, Method
from agent.detectors.ensembles.members import fresh
from sensors.batch import Floats, Ints, Text


@dataclass
class Combined(StreamingDetector):
    """A weighted sum of detectors of one metric, each calibrated by its own past.

    Each part watches the metric, with its defaults or those of its table; its score is calibrated
    (`Calibrated`), weighted and added, then divided by the sum of the weights. A part without a score counts 0; where
    none has one, the score is NaN.
    After a score of `limit` or more it is 0 for `refractory` rows. Scale and offset of the metric do not matter.

    Attributes:
        parts: names or tables of detectors of one metric, such as `["ewma", { type = "robust_z", window = 50 }]`;
            their metric is this one's.
        weights: one for each part; empty = all equal.
        method: calibration of the parts: ratio, conformal or tail.
        half_life: of the calibration, rows.
        limit: what counts as an alarm.
        refractory: rows of silence after an alarm; 0 = none, else 16 or more.
    """

    parts: tuple[str | StreamingDetector, ...] = ("ewma", "robust_z", "spatial")
    weights: tuple[float, ...] = ()
    method: Method = "ratio"
    half_life: float = 2000.0
    limit: float = 0.9
    refractory: int = 50
    _inner: list[dict[str, StreamingDetector]] = field(init=False, repr=False, compare=False)
    _refractory: Calibrated = field(init=False, repr=False, compare=False)

    remembers: ClassVar = {"parts": "_inner", "rest": "_refractory"}
    default_limit: ClassVar[float] = 0.9
    explains: ClassVar = {"score": Explanation(resolved="shows nothing new")}  # it is 0 after an alarm

    def validate(self) -> None:
        if not self.parts or (self.weights and len(self.weights) != len(self.parts)):
            raise ValueError(f"parts must be one or more, weights one for each; not {self.parts}")
        scale = Calibrated("score", method=self.method, half_life=self.half_life)
        self._inner = [{"detector": fresh(part, self.metric), "scale": replace(scale)} for part in self.parts]
        self._refractory = Calibrated(
            "score", method="none", limit=self.limit, refractory=self.refractory, warmup=0
        )

    def state_fields(self) -> dict[str, Field]:
        return {}

    def score(self, state: Arrays, x: Floats, valid_length: Ints, time: Ints) -> Floats:
        raise NotImplementedError("the parts score")  # process is overridden

    def outputs(self) -> tuple[str, ...]:
        return (self.metric, "score", "reason")

    def process(self, rows: Rows) -> Rows:
        """One score for each row of a known series, in the order of the rows."""
        raw = [inner["detector"].process(rows) for inner in self._inner]
        scores = np.array([
            inner["scale"].process(part).values["score"] for part, inner in zip(raw, self._inner, strict=True)
        ])  # fmt: skip
        known = ~np.isnan(scores).all(axis=0)
        weights = self.weights or (1.0,) * len(self.parts)
        total = np.zeros(scores.shape[1])
        for weight, score in zip(weights, scores, strict=True):
            total = total + weight * np.where(np.isnan(score), 0.0, score)
        sums = replace(raw[0], values={"score": np.where(known, total / sum(weights), np.nan)})
        score = self._refractory.process(sums).values["score"]
        why = np.max([part.texts["reason"].codes for part in raw], axis=0)
        reason = Text(
            REASONS, np.where(~np.isnan(score), -1, np.where(why < 0, TOO_FEW_ROWS, why)).astype(np.int32)
        )
        return replace(
            raw[0], values={self.metric: raw[0].values[self.metric], "score": score}, texts={"reason": reason}
        )
