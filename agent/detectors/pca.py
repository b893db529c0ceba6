"""Several sensors of one machine: do they still move together as they did?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from agent.detectors.rounds import rounds
from agent.detectors.streaming import ABSURD, CAP, COUNT, FEW, FLAT, LARGEST, MISSING, REASONS, Arrays, Table
from agent.rows import Rows, State
from sensors.batch import Floats, Ints, Text

SETTLE = 50
"""Rows of the training that the following mean may take to settle before they count for the limits."""

RIDGE = 0.05
"""Smallest variance of a component, of a total of 1 a feature: what is smaller is noise of the estimate."""


@dataclass
class Pca:
    """Hotelling's T2 and the squared prediction error Q of principal components (Jackson and Mudholkar 1979).

    Features are mean and log deviation of the last `smooth` rows of each sensor, in spreads of the training. T2 is
    the distance within the plane of the usual movements, Q the distance from it, each over its own limit: the
    `quantile` of the training, judged row by row as later rows are, by a mean that follows. The mean follows only
    rows accepted as normal, so that slow drift is no alarm, and a fault is not learnt.

    The score is the larger of the two over `limit`; 1 and more is an alarm, and it stays so until the return to
    normal: until both have fallen to `clear` of the worst of this alarm (or below their limits), for `patience`
        rows.
    Before the alarm it is less than 1 until `patience` rows in a row were beyond. A row with a sensor
    missing has no score. In an alarm, the list `evidence` names the sensors that contribute most, with their
    shares. It learns from the first `train` rows; `fit` gives it these rows ahead. Scale and offset of a sensor do
    not matter.

    Attributes:
        metrics: columns, two or more.
        on: name of the window whose results it watches; empty = the readings.
        by: grouping columns of a series.
        train: rows to learn from.
        smooth: rows of the moving mean and deviation.
        variance: share of the variance that the plane explains.
        quantile: of T2 and Q in training, which makes their limits.
        limit: times its limit, from which on a row is beyond.
        clear: share of the worst value at which an alarm ends.
        patience: rows in a row that raise or clear.
        follow: weight of the newest normal row in the mean that follows; 0 = it stays that of the training.
    """

    metrics: tuple[str, ...]
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    train: int = 400
    smooth: int = 5
    variance: float = 0.9
    quantile: float = 0.99
    limit: float = 2.5
    clear: float = 0.3
    patience: int = 5
    follow: float = 0.03
    _table: Table = field(init=False, repr=False, compare=False)

    usual_limit: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if len(self.metrics) < 2 or len(set(self.metrics)) < len(self.metrics):
            raise ValueError("metrics must name two sensors or more, each once")
        if self.train < 2 * SETTLE or not 1 <= self.smooth < SETTLE or not 0.0 < self.quantile < 1.0:
            raise ValueError(
                f"train must be at least {2 * SETTLE} rows, smooth below {SETTLE}, quantile within (0, 1)"
            )
        sensors, features = len(self.metrics), 2 * len(self.metrics)
        self._table = Table({
            COUNT: ((), np.int64, 0),
            "recent": ((self.smooth, sensors), np.float64, np.nan),
            "training": ((self.train, sensors), np.float64, np.nan),
            "middle": ((sensors,), np.float64, 0.0),
            "floor": ((sensors,), np.float64, 0.0),
            "centre": ((features,), np.float64, 0.0),
            "scale": ((features,), np.float64, 1.0),
            "mean": ((features,), np.float64, 0.0),
            "t2": ((features, features), np.float64, 0.0),
            "q": ((features, features), np.float64, 0.0),
            "flat": ((), np.bool_, False),
            "alarm": ((), np.bool_, False),
            "worst": ((), np.float64, 0.0),
            "patient": ((), np.int64, 0),
        })  # fmt: skip

    @property
    def metric(self) -> str:
        """What an alert names as its signal."""
        return "+".join(self.metrics)

    def fit(self, rows: Rows) -> None:
        """Learn from rows of normal operation, at least `train` of each series."""
        self.process(rows)

    def process(self, rows: Rows) -> Rows:
        """One score for each row of a known series, in the order of the rows."""
        chosen = np.flatnonzero(rows.key >= 0)
        key = rows.key[chosen]
        x = np.full((len(chosen), len(self.metrics)), np.nan)
        for i, name in enumerate(self.metrics):
            if name in rows.values:
                x[:, i] = rows.values[name][chosen]
        usable = (np.abs(x) <= LARGEST).all(axis=1)
        reason = np.where(np.isnan(x).any(axis=1), MISSING, ABSURD)
        out = np.full((len(x), 3), np.nan)
        evidence: list[Any] = [None] * len(x)
        if len(key):
            self._table.grow(int(key.max()) + 1)
        for block in rounds(np.where(usable, key, -1), self._table.arrays[COUNT]):
            state, view = self._table.at(block.keys)
            for column in range(block.index.shape[1]):
                line = np.flatnonzero(block.take > column)
                at = block.index[line, column]
                reason[at] = np.where(state[COUNT][line] < self.train, FEW, FLAT)
                out[at] = self._step(state, line, x[at], at, evidence)
            if not view:
                self._table.put(block.keys, state)
        silent = np.isnan(out[:, 0])
        return Rows(
            key=key,
            start=rows.start[chosen],
            end=rows.end[chosen],
            at=rows.at[chosen],
            values={"score": np.minimum(out[:, 0], CAP), "t2": out[:, 1], "q": out[:, 2]},
            now=rows.now,
            texts={"reason": Text(REASONS, np.where(silent, reason, -1).astype(np.int32))},
            lists={"evidence": evidence},
        )

    def _step(self, state: Arrays, line: Ints, x: Floats, at: Ints, evidence: list[Any]) -> Floats:
        """Score and learn one row of each of some series; `(m, 3)` score, T2 and Q over their limits."""
        count = state[COUNT][line]
        state[COUNT][line] += 1
        state["recent"][line, count % self.smooth] = x
        learning = count < self.train
        if learning.any():
            state["training"][line[learning], count[learning]] = x[learning]
            for ready in line[count == self.train - 1].tolist():
                self._learn(state, ready)
        result = np.full((len(line), 3), np.nan)
        judged = np.flatnonzero(~learning)
        if len(judged):
            result[judged] = self._judge(state, line[judged], at[judged], evidence)
        return result

    def _judge(self, state: Arrays, line: Ints, at: Ints, evidence: list[Any]) -> Floats:
        """Score the newest row of series that are trained."""
        distance = self._features(state, line) - state["mean"][line]
        within = _form(distance, state["t2"][line])
        beside = _form(distance, state["q"][line])
        times = np.minimum(np.maximum(within, beside) / self.limit, CAP)
        alarm = self._life(state, line, times)
        accepted = ~alarm & (times < 1.0)
        state["mean"][line[accepted]] += self.follow * distance[accepted]
        score = np.where(alarm, np.maximum(times, 1.0), np.minimum(times, 0.99))
        silent = state["flat"][line] & (np.abs(distance) < 1e-3).all(axis=1)  # equal but for rounding
        for i in np.flatnonzero(alarm & ~silent).tolist():
            form = state["t2" if within[i] > beside[i] else "q"][line[i]]
            evidence[at[i]] = self._blame(distance[i] * (form @ distance[i]))
        result = np.stack([score, within, beside], axis=1)
        result[silent] = np.nan
        return result

    def _life(self, state: Arrays, line: Ints, times: Floats) -> npt.NDArray[np.bool_]:
        """Whether each series is in alarm after this row, `(m,)`."""
        alarm = state["alarm"][line]
        worst = np.where(alarm, np.maximum(state["worst"][line] * 0.998, times), times)
        turn = np.where(alarm, times < np.maximum(1.0 / self.limit, self.clear * worst), times > 1.0)
        patient = np.where(turn, state["patient"][line] + 1, 0)
        over = patient >= self.patience
        state["alarm"][line] = alarm ^ over
        state["worst"][line] = worst
        state["patient"][line] = np.where(over, 0, patient)
        after: npt.NDArray[np.bool_] = alarm ^ over
        return after

    def _features(self, state: Arrays, line: Ints) -> Floats:
        """Standardised features of the last rows, `(m, 2 * sensors)`."""
        recent = state["recent"][line] - state["middle"][line][:, None, :]
        features = _mean_and_deviation(recent, state["floor"][line])
        standard: Floats = (features - state["centre"][line]) / state["scale"][line]
        return standard

    def _learn(self, state: Arrays, row: int) -> None:
        """Make the model of one series from its training rows."""
        training = state["training"][row]
        middle, spread = training.mean(axis=0), training.std(axis=0)
        spread[spread <= 1e-12 * np.abs(middle)] = 0.0
        floor = np.where(spread > 0.0, 0.05 * spread, np.maximum(np.abs(middle) * 1e-9, 1e-300))
        windows = np.lib.stride_tricks.sliding_window_view(training - middle, self.smooth, axis=0)
        features = _mean_and_deviation(
            windows.transpose(0, 2, 1), np.broadcast_to(floor, (len(windows), len(floor)))
        )
        centre, scale = features.mean(axis=0), features.std(axis=0)
        still = scale <= 1e-9 * (1.0 + np.abs(centre))
        still[: len(floor)] = spread == 0.0
        scale[still] = np.concatenate([floor, np.ones(len(floor))])[still]
        standard = (features - centre) / scale
        variances, axes = np.linalg.eigh(np.cov(standard.T))
        variances, axes = np.maximum(variances[::-1], 0.0), axes[:, ::-1]
        total = variances.sum()
        kept = int(np.searchsorted(np.cumsum(variances), self.variance * total)) + 1 if total > 0.0 else 1
        plane = axes[:, :kept]
        t2 = (plane / np.maximum(variances[:kept], RIDGE)) @ plane.T
        q = np.eye(len(centre)) - plane @ plane.T
        mean, seen = np.zeros(len(centre)), []
        for row_features in standard:
            distance = row_features - mean
            seen.append((distance @ t2 @ distance, distance @ q @ distance))
            mean = mean + self.follow * distance
        limits = np.quantile(np.array(seen)[SETTLE:], self.quantile, axis=0)
        limits = np.where(limits > 1e-12, limits, 1.0)
        for name, value in {
            "middle": middle, "floor": floor, "centre": centre, "scale": scale, "mean": mean,
            "t2": t2 / limits[0], "q": q / limits[1], "flat": bool((spread == 0.0).all()),
        }.items():  # fmt: skip
            state[name][row] = value

    def _blame(self, share: Floats) -> dict[str, Any]:
        """The sensors that contribute most to a distance, largest first, with their shares."""
        part = np.maximum(share, 0.0).reshape(2, len(self.metrics)).sum(axis=0)
        part = part / max(part.sum(), 1e-300)
        order = np.argsort(-part, kind="stable")[:3]
        return {"sensors": {self.metrics[i]: round(float(part[i]), 3) for i in order.tolist() if part[i] > 0.01}}

    def state(self) -> State:
        return self._table.state()

    def restore(self, state: State) -> None:
        self._table.restore(state)

    def forget(self, keys: Ints) -> None:
        self._table.forget(keys)

    @property
    def bytes_a_series(self) -> int:
        """Memory of one series."""
        return self._table.bytes_a_series


def _mean_and_deviation(recent: Floats, floor: Floats) -> Floats:
    """Mean and log deviation of some rows `(m, rows, sensors)`: `(m, 2 * sensors)`; in a fixed order of addition."""
    rows = recent.shape[1]
    total, square = recent[:, 0], recent[:, 0] ** 2
    for i in range(1, rows):
        total, square = total + recent[:, i], square + recent[:, i] ** 2
    mean = total / rows
    deviation = np.sqrt(np.maximum(square / rows - mean**2, 0.0))
    return np.concatenate([mean, np.log(deviation + floor)], axis=1)


def _form(distance: Floats, matrix: Floats) -> Floats:
    """Quadratic forms `d' M d`, `(m,)`; at least 0. Each row is added in the same order, whatever the number of rows."""
    inner = (matrix * distance[:, None, :]).sum(axis=2)
    result: Floats = np.maximum((inner * distance).sum(axis=1), 0.0)
    return result
