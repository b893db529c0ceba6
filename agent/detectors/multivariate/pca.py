"""Several sensors of one machine: do they still move together as they did?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from agent.core.explanations import Explanation
from agent.core.grouping import Grouping
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.core.series import Arrays, Field, SeriesState
from agent.detectors.base.series_blocks import Block, series_blocks
from agent.detectors.base.streaming import COUNT, LARGEST, MISSING, NO_SPREAD, NOT_MEASURED, REASONS, TOO_FEW_ROWS
from agent.detectors.multivariate import pca_subspace as subspace
from agent.detectors.multivariate.adaptive_limits import AdaptiveLimits, ScoredStretch
from sensors.batch import Floats, Ints, Text

SETTLE = 50
"""Rows of the training that the following mean may take to settle before they count for the limits."""

MAX_CELLS = 1 << 13
"""Rows worked out at once; each takes some 600 bytes a sensor meanwhile."""

NAMED = 3
"""Most sensors that an alarm names."""

_NEVER = -(1 << 40)


@dataclass
class Pca(Operator):
    """Hotelling's T2 and the squared prediction error Q of principal components (Jackson and Mudholkar 1979).

    Features are mean and log deviation of the last `smooth` rows of each sensor, in spreads of the training. A sensor
    that wandered through the training counts less, for its range is not known. T2 is the distance within the
    subspace of the usual movements, Q the distance from it, each over its own limit: the `quantile` of the training,
    judged row by row as later rows are, by a mean that follows. The mean follows only rows accepted as normal, so that
    slow drift is no alarm, and a fault is not learnt.

    The score is the larger of the two over `limit`; 1 and more is an alarm, and it stays so until both are back below
    the limits of the training, or until nothing is left of the direction of the fault, for `patience` rows. In the
    latter case the machine came back to another state than before, which the mean takes over within `settle`
    rows; where that was a mistake, the state of the last long calm ends the alarm, too. Before the alarm the
    score is less than 1 until `patience` rows in a row were beyond. In an alarm, the list
    `evidence` names the sensors that explain most of it, with their shares.

    It learns from the first `train` rows; `fit` gives it these rows ahead. Scale and offset of a sensor do not matter.
    A missing value is taken as the last one for less than `smooth` rows; after that the sensor is left out until it
    comes back, and the others are judged (column `judged`: how many). A sensor that never came or never moved in
    training is left out for good: what is usual for it is not known.

    Attributes:
        metrics: columns, two or more.
        on: name of the window whose results it watches; empty = the readings.
        by: grouping columns of a series.
        train: rows to learn from.
        smooth: rows of the moving mean and deviation.
        variance: share of the variance that the subspace explains.
        quantile: of T2 and Q in training, which makes their limits.
        limit: times its limit, from which on a row is beyond.
        clear: share of the fault's own direction below which it counts as gone.
        patience: rows in a row that raise or clear.
        follow: weight of the newest normal row in the mean that follows; 0 = it stays that of the training.
        settle: rows that a new state takes to be the normal one after an alarm.
    """

    metrics: tuple[str, ...]
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    train: int = 400
    smooth: int = 12
    variance: float = 0.75
    quantile: float = 0.99
    limit: float = 2.8
    clear: float = 0.1
    patience: int = 5
    follow: float = 0.015
    settle: int = 45
    metric: str = field(init=False, repr=False, compare=False)
    _table: SeriesState = field(init=False, repr=False, compare=False)
    _limits: AdaptiveLimits = field(init=False, repr=False, compare=False)

    remembers: ClassVar = {"": "_table"}
    texts: ClassVar = ("reason",)
    state_version: ClassVar[int] = 2
    default_limit: ClassVar[float] = 1.0
    explains: ClassVar = {
        "score": Explanation("do not move together as usual", "move together as usual again", "its sensors")
    }

    def __post_init__(self) -> None:
        if len(self.metrics) < 2 or len(set(self.metrics)) < len(self.metrics):
            raise ValueError("metrics must name two sensors or more, each once")
        if self.train < 2 * SETTLE or not 2 <= self.smooth < SETTLE or not 0.0 < self.quantile < 1.0:
            raise ValueError(
                f"train must be at least {2 * SETTLE} rows, smooth 2 to {SETTLE - 1}, quantile within (0, 1)"
            )
        if not 0.0 <= self.follow <= 0.5 or not 0 <= self.settle <= 500 or self.patience < 1 or self.limit < 1.0:
            raise ValueError("follow must be 0 to 0.5, settle 0 to 500 rows, patience and limit at least 1")
        self.metric = "+".join(self.metrics)
        self._limits = AdaptiveLimits(self.limit, self.clear, self.patience, self.follow, self.settle)
        sensors, features = len(self.metrics), 2 * len(self.metrics)
        self._table = SeriesState(**{
            COUNT: Field(np.int64),
            "recent": Field(np.float64, 0, (self.smooth - 1, sensors)),
            "came": Field(np.int64, _NEVER, (sensors,)),
            "lost": Field(np.int64, _NEVER, (sensors,)),
            "training": Field(np.float64, np.nan, (self.train, sensors)),
            "middle": Field(np.float64, 0, (sensors,)),
            "spread": Field(np.float64, 1.0, (sensors,)),
            "centre": Field(np.float64, 0, (features,)),
            "weight": Field(np.float64, 1.0, (features,)),
            "axes": Field(np.float64, 0, (features, features)),
            "strength": Field(np.float64, 0, (features,)),
            "whole": Field(np.float64),
            "flat": Field(np.bool_),
            "mean": Field(np.float64, 0, (features,)),
            "place": Field(np.int64),
            "phase": Field(np.int8),
            "patient": Field(np.int64),
            "quiet": Field(np.int64),
            "worst": Field(np.float64),
            "fault": Field(np.float64, 0, (features,)),
            "home": Field(np.float64, 0, (features,)),
            "homeward": Field(np.int64),
            "calm": Field(np.int64),
        })  # fmt: skip

    def fit(self, rows: Rows) -> None:
        """Learn from rows of normal operation, at least `train` of each series."""
        self.process(rows)

    def outputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.metrics, "score", "t2", "q", "judged", "reason")))

    def inputs(self) -> tuple[str, ...]:
        return self.metrics

    def watched(self) -> tuple[str, ...]:
        return self.metrics

    def process(self, rows: Rows) -> Rows:
        """One score for each row of a known series, in the order of the rows."""
        chosen = np.flatnonzero(rows.key >= 0)
        key = rows.key[chosen]
        x = np.full((len(chosen), len(self.metrics)), np.nan)
        for i, name in enumerate(self.metrics):
            if name in rows.values:
                x[:, i] = rows.values[name][chosen]
        absurd = np.abs(x) > LARGEST
        reason = np.where(absurd.any(axis=1), NOT_MEASURED, MISSING)
        x[absurd] = np.nan
        usable = ~np.isnan(x).all(axis=1)
        out = np.full((len(x), 4), np.nan)
        out[:, 3] = 0.0
        evidence: list[Any] = [None] * len(x)
        if len(key):
            self._table.grow(int(key.max()) + 1)
        count = self._table[COUNT]
        young = usable & (count[key] < self.train)
        for some, boundary in (
            (young, self.train),
            (usable & ~young, 0),
        ):  # nobody is trained in the middle of a block
            if not some.any():
                continue
            for block in series_blocks(Grouping(np.where(some, key, -1)), count, boundary, MAX_CELLS):
                state, view = self._table.at(block.keys)
                self._block(state, block, x, out, reason, evidence)
                if not view:
                    self._table.put(block.keys, state)
        unscored = np.isnan(out[:, 0])
        return Rows(
            key=key,
            start=rows.start[chosen],
            end=rows.end[chosen],
            at=rows.at[chosen],
            values={
                **dict(zip(self.metrics, x.T, strict=True)),
                "score": out[:, 0],
                "t2": out[:, 1],
                "q": out[:, 2],
                "judged": out[:, 3],
            },
            now=rows.now,
            texts={"reason": Text(REASONS, np.where(unscored, reason, -1).astype(np.int32))},
            lists={"evidence": evidence},
        )

    def _block(
        self, state: Arrays, block: Block, x: Floats, out: Floats, reason: Ints, evidence: list[Any]
    ) -> None:
        """Score and learn the rows of a block; none of its lines crosses the end of a training."""
        values = x[block.index].transpose(2, 0, 1)
        series, known = self._without_gaps(state, values, block.valid_length)
        learning = state[COUNT] < self.train
        line, cell, position = block.rows()
        young = learning[line]
        reason[position] = np.where(young, TOO_FEW_ROWS, NO_SPREAD)
        out[position[young], 3] = (~np.isnan(values[:, line[young], cell[young]])).sum(axis=0)
        number = state[COUNT][line] + cell
        state["training"][line[young], number[young]] = values[:, line[young], cell[young]].T
        last = block.valid_length[:, None] + np.arange(self.smooth - 1)
        state["recent"][:] = series[:, np.arange(len(last))[:, None], last].transpose(1, 2, 0)
        state[COUNT] += block.valid_length
        for row in np.flatnonzero(learning & (state[COUNT] == self.train)).tolist():
            self._learn(state, row)
        old = np.flatnonzero(~learning)
        if len(old):
            part, some = (state, slice(None)) if len(old) == len(learning) else (None, old)
            mine = part if part is not None else {name: array[old] for name, array in state.items()}
            self._judge(
                mine, block.index[some], block.valid_length[some], series[:, some],
                None if known is None else known[:, some], out, evidence,
            )  # fmt: skip
            if part is None:
                for name, array in mine.items():
                    state[name][old] = array

    def _without_gaps(self, state: Arrays, values: Floats, valid_length: Ints) -> tuple[Floats, Any]:
        """Readings after those before them, `(sensors, k, smooth - 1 + length)`, no gaps; which features are known."""
        _, lines, length = values.shape
        series = np.concatenate([state["recent"].transpose(2, 0, 1), values], axis=2)
        missing = np.isnan(values)
        number = state[COUNT][:, None] + np.arange(length)
        old = state["lost"].T[:, :, None]
        if not missing.any() and not (number[:, :1] - old < self.smooth).any():
            state["came"][:] = (state[COUNT] + valid_length - 1)[:, None]
            return series, None
        cell = np.arange(length)
        from_ = np.maximum.accumulate(np.where(missing, -1, cell), axis=2)
        fill = np.take_along_axis(series, np.maximum(from_ + self.smooth - 1, self.smooth - 2), axis=2)
        series[:, :, self.smooth - 1 :] = fill
        came = np.where(from_ >= 0, state[COUNT][:, None] + from_, state["came"].T[:, :, None])
        gone = np.maximum.accumulate(np.where(missing, cell, -1), axis=2)
        lost = np.where(gone >= 0, state[COUNT][:, None] + gone, old)
        line = np.arange(lines)
        state["came"][:] = came[:, line, valid_length - 1].T
        state["lost"][:] = lost[:, line, valid_length - 1].T
        return series, np.concatenate([number - came < self.smooth, number - lost >= self.smooth])

    def _judge(
        self,
        state: Arrays,
        index: Ints,
        valid_length: Ints,
        series: Floats,
        known: Any,
        out: Floats,
        evidence: list[Any],
    ) -> None:
        """Score a block of rows of trained series."""
        u = subspace.standard(series, state["middle"].T[:, :, None], state["spread"].T[:, :, None])
        z = subspace.means_and_deviations(u, self.smooth)
        z -= state["centre"].T[:, :, None]
        z *= state["weight"].T[:, :, None]
        counted = state["weight"].T[: len(self.metrics), :, None] > 0.0
        if known is None:
            judged = np.broadcast_to(counted.sum(axis=0), index.shape)
        else:
            judged = (known[: len(self.metrics)] & counted).sum(axis=0)
            z[~known] = 0.0
        for piece in self._limits.run(state, z, known, valid_length):
            line, column = np.nonzero(np.arange(piece.ratio.shape[1]) < piece.valid_length[:, None])
            ratio, alarm = piece.ratio[line, column], piece.alarm[line, column]
            at = index[piece.line[line], piece.begin[line] + column]
            score = np.where(alarm, np.maximum(ratio, 1.0), np.minimum(ratio, 0.99))
            still = state["flat"][piece.line][line]
            out[at, 0] = np.where(still, np.nan, score)
            out[at, 1] = np.where(still, np.nan, piece.t2[line, column])
            out[at, 2] = np.where(still, np.nan, piece.spe[line, column])
            out[at, 3] = judged[piece.line[line], piece.begin[line] + column]
            if alarm.any():
                self._name_sensors(state, piece, line[alarm], column[alarm], at[alarm], evidence)

    def _learn(self, state: Arrays, row: int) -> None:
        """Make the model of one series from its training rows."""
        model, features = subspace.learn(state["training"][row], self.smooth, self.variance)
        whole: Arrays = {name: array[None] for name, array in model.items()}
        mean, place = np.zeros((1, len(features))), 0
        always, never = np.array([True]), np.array([False])
        seen = []
        while features.shape[2]:
            some = features[:, :, : self._limits.rescale_after]
            sums, scale = self._limits.means(mean, np.array([place]), some, always, never)
            d = some - sums[:, :, :-1] * scale[:, :-1]
            s = subspace.components(d, whole["axes"])
            seen.append(np.concatenate(subspace.forms(d, s, d, s, whole["strength"], whole["whole"])))
            mean = (sums[:, :, -1] * scale[:, -1]).T
            features = features[:, :, self._limits.rescale_after :]
        limits = np.quantile(np.concatenate(seen, axis=1)[:, SETTLE:], self.quantile, axis=1)
        limits = np.where(limits > 1e-12, limits, 1.0)
        model["strength"], model["whole"] = model["strength"] / limits[0], 1.0 / limits[1]
        for name, value in model.items():
            state[name][row] = value
        state["mean"][row] = state["home"][row] = mean[0]
        state["calm"][row] = self.train

    def _name_sensors(
        self, state: Arrays, piece: ScoredStretch, line: Ints, column: Ints, at: Ints, evidence: list[Any]
    ) -> None:
        """Name the sensors that explain most of some rows in alarm, largest first, with their shares."""
        row = piece.line[line]
        part = subspace.contributions(
            piece.distance[:, line, column], piece.component[:, line, column],
            state["axes"][row][:, :, : len(piece.component)], state["strength"][row], state["whole"][row],
        )  # fmt: skip
        share = np.round(part / np.maximum(part.sum(axis=1, keepdims=True), 1e-300), 3)
        order = np.argsort(-share, axis=1, kind="stable")[:, :NAMED]
        sorted_ = np.take_along_axis(share, order, axis=1)
        for i, names, shares in zip(at.tolist(), order.tolist(), sorted_.tolist(), strict=True):
            evidence[i] = {"sensors": {self.metrics[j]: v for j, v in zip(names, shares, strict=True) if v > 0.01}}
