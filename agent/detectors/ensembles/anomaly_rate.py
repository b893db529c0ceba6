"""Anomaly rate of a machine: the share of its signals that are strange at about the same time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.grouping import Grouping
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Field, SeriesState
from agent.detectors.base.series_blocks import series_blocks
from agent.detectors.base.streaming import COUNT, MISSING, REASONS, TOO_FEW_ROWS, StreamingDetector
from agent.detectors.ensembles.members import fresh
from sensors.batch import Text

_NEVER = -(1 << 40)


@dataclass
class AnomalyRate(Operator):
    """Each metric has a detector of its own; the score is the share of the metrics that were strange of late.

    A metric is strange for `hold` rows from a row on whose score is `limit` or more. One noisy sensor moves the
    rate little; a machine that fails moves many. A metric without a score counts as usual; where none has
    one, the score is NaN. The list `evidence` names the strange metrics. Scale and offset do not matter.

    Attributes:
        metrics: columns, two or more.
        on: name of the window whose results it watches; empty = the readings.
        by: grouping columns of a series.
        detector: of each metric: the name of a detector of one metric, which then has its defaults, or a table such as
            `{ type = "ewma", alpha = 0.05 }`.
        limit: score at which a metric is strange.
        hold: rows for which it stays so.
    """

    metrics: tuple[str, ...]
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    detector: str | StreamingDetector = "robust_z"
    limit: float = 5.0
    hold: int = 10
    metric: str = field(init=False, repr=False, compare=False)
    _parts: list[StreamingDetector] = field(init=False, repr=False, compare=False)
    _table: SeriesState = field(init=False, repr=False, compare=False)

    remembers: ClassVar = {"parts": "_parts", "table": "_table"}
    texts: ClassVar = ("reason",)
    default_limit: ClassVar[float] = 0.5
    explains: ClassVar = {
        "score": Explanation(
            "are unusual at the same time", "are usual again", "several of its sensors", share=True
        )
    }

    def __post_init__(self) -> None:
        if len(self.metrics) < 2 or self.hold < 1:
            raise ValueError("metrics must be two or more, hold at least 1 row")
        self.metric = "+".join(self.metrics)
        self._parts = [fresh(self.detector, metric) for metric in self.metrics]
        self._table = SeriesState(
            **{COUNT: Field(np.int64), "strange": Field(np.int64, _NEVER, (len(self.metrics),))}
        )

    def fit(self, rows: Rows) -> None:
        """Learn from rows of normal operation ahead, as if they had come live; no result is emitted."""
        self.process(rows)

    def outputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.metrics, "score", "reason")))

    def inputs(self) -> tuple[str, ...]:
        return self.metrics

    def watched(self) -> tuple[str, ...]:
        return self.metrics

    def process(self, rows: Rows) -> Rows:
        """One score for each row of a known series, in the order of the rows."""
        parts = [part.process(rows) for part in self._parts]
        key = parts[0].key
        scores = np.array([part.values["score"] for part in parts]).T
        beyond = np.nan_to_num(scores, nan=-np.inf) >= self.limit
        strange = np.zeros_like(beyond)
        if len(key):
            self._table.grow(int(key.max()) + 1)
        for block in series_blocks(Grouping.of(parts[0]), self._table[COUNT]):
            state, view = self._table.at(block.keys)
            number = state[COUNT][:, None] + np.arange(block.index.shape[1])
            since = np.where(beyond[block.index], number[:, :, None], _NEVER)
            since = np.maximum.accumulate(np.concatenate([state["strange"][:, None], since], axis=1), axis=1)[:, 1:]
            line, column, position = block.rows()
            strange[position] = (number[:, :, None] - since < self.hold)[line, column]
            state["strange"][:] = since[np.arange(len(since)), block.valid_length - 1]
            state[COUNT] += block.valid_length
            if not view:
                self._table.put(block.keys, state)
        unscored = np.isnan(scores).all(axis=1)
        codes = np.array([part.texts["reason"].codes for part in parts]).max(axis=0)
        score = np.where(unscored, np.nan, strange.mean(axis=1))
        evidence = [
            {"metrics": [name for name, on in zip(self.metrics, row, strict=True) if on]} if any(row) else None
            for row in strange.tolist()
        ]
        reason = np.where(unscored, np.where(codes < 0, TOO_FEW_ROWS, np.maximum(codes, MISSING)), -1)
        return Rows(
            key=key,
            start=parts[0].start,
            end=parts[0].end,
            at=parts[0].at,
            values={
                **{name: part.values[name] for name, part in zip(self.metrics, parts, strict=True)},
                "score": score,
            },
            now=rows.now,
            texts={"reason": Text(REASONS, reason.astype(np.int32))},
            lists={"evidence": evidence},
        )
