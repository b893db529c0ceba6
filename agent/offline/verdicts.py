"""How well verdicts agree with labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Counts of true and false, positive and negative verdicts. A ratio of nothing is 0, as in scikit-learn."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def accuracy(self) -> float:
        """Share of right verdicts."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def precision(self) -> float:
        """Share of alarms that are right."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of anomalies that are found."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def false_alarm_rate(self) -> float:
        """Share of normal windows that raise an alarm."""
        return _ratio(self.fp, self.fp + self.tn)

    def figures(self) -> dict[str, float]:
        """Those that a report of a classifier gives, by name."""
        return {"accuracy": self.accuracy, "precision": self.precision, "recall": self.recall, "f1": self.f1}

    def confusion(self) -> dict[str, int]:
        """The four counts by name."""
        return {"tp": self.tp, "fp": self.fp, "fn": self.fn, "tn": self.tn}


def judge(alarm: Flags, truth: Flags) -> Verdicts:
    """Compare alarms `(k,)` with labels `(k,)`."""
    return Verdicts(
        tp=int(np.count_nonzero(alarm & truth)),
        fp=int(np.count_nonzero(alarm & ~truth)),
        fn=int(np.count_nonzero(~alarm & truth)),
        tn=int(np.count_nonzero(~alarm & ~truth)),
    )


def curves(score: Floats, truth: Flags) -> tuple[Floats, Floats, Floats]:
    """Operating points from the strictest limit to the laxest, one for each distinct score.

    Returns:
        False-alarm rate, recall and precision, each `(m,)`; scores that are NaN never alarm.
    """
    order = np.argsort(np.where(np.isnan(score), np.inf, -score), kind="stable")
    order = order[~np.isnan(score[order])]
    hit, miss = np.cumsum(truth[order]), np.cumsum(~truth[order])
    last = np.append(np.diff(score[order]) != 0, True) if len(order) else np.empty(0, bool)
    hit, miss = hit[last].astype(float), miss[last].astype(float)
    return (
        miss / max(1, np.count_nonzero(~truth)),
        hit / max(1, np.count_nonzero(truth)),
        hit / np.maximum(1, hit + miss),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
