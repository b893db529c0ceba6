"""Calibration that holds: a threshold for a wanted rate of false alarms, tested on data apart.

The windows are taken in order of time. What is normal is learned from the first part, the threshold is the quantile
of the normal scores of the second, and the verdicts are counted on the rest. Windows that overlap tell less than
their number: intervals count those that do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.offline.verdicts import Flags, Verdicts, curves, judge
from sensors.batch import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class FittedThreshold:
    """A threshold with its interval.

    Attributes:
        value: the quantile of the normal scores.
        low: lower end of the interval.
        high: upper end; infinite where there are too few windows for the wanted rate.
        rate: wanted share of normal windows that alarm.
        windows: normal windows it rests on, and of these `independent` do not overlap.
    """

    value: float
    low: float
    high: float
    rate: float
    windows: int
    independent: int

    @property
    def enough(self) -> bool:
        """Whether the upper end is known."""
        return bool(np.isfinite(self.high))


def threshold_for(normal: Floats, rate: float, overlap: float = 1.0) -> FittedThreshold:
    """Threshold that a share `rate` of normal windows exceeds.

    The interval is that of order statistics, which asks nothing of the distribution: the number of scores below the
    true quantile is binomial.

    Args:
        normal: `(k,)` scores of normal windows; NaN are left out.
        rate: wanted share, between 0 and 1.
        overlap: windows that any sample lies in; 1 = they do not overlap.

    Raises:
        ValueError: if there is no score or the rate is none.
    """
    from scipy.stats import binom  # slow to import, and only calibration needs it

    if not 0 < rate < 1:
        raise ValueError(f"the wanted rate of false alarms is a share between 0 and 1, not {rate:g}")
    scores = np.sort(normal[~np.isnan(normal)])
    k = len(scores)
    if not k:
        raise ValueError("no normal window has a score")
    independent = max(1, int(k / max(1.0, overlap)))
    value = float(np.quantile(scores, 1 - rate, method="higher"))
    tail = (1 - CONFIDENCE) / 2
    low, high = (int(binom.ppf(level, independent, 1 - rate)) for level in (tail, 1 - tail))
    stretch = k / independent
    above = high + 1
    return FittedThreshold(
        value,
        min(value, float(scores[min(k - 1, max(0, int(low * stretch) - 1))])),
        float(scores[min(k - 1, int(above * stretch) - 1)]) if above <= independent else np.inf,
        rate,
        k,
        independent,
    )


@dataclass(frozen=True, slots=True)
class HeldOutResult:
    """How a threshold does on data apart.

    Attributes:
        verdict: counts at the threshold.
        by_kind: kind -> windows of it, share that alarms.
        roc: false-alarm rate and recall at each distinct score; `area` under it.
        precision: precision at the same points; `average` precision.
        rate_low: lower end of the interval of the false-alarm rate; `rate_high` its upper end.
        unscored: windows without a score.
    """

    verdict: Verdicts
    by_kind: dict[str, tuple[int, float]]
    roc: tuple[Floats, Floats]
    area: float
    precision: Floats
    average: float
    rate_low: float
    rate_high: float
    unscored: int


def examine(score: Floats, truth: Flags, kind: list[str], threshold: float, overlap: float = 1.0) -> HeldOutResult:
    """Count verdicts of scores `(k,)` against truth `(k,)`; a window without a score does not alarm."""
    from scipy.stats import beta

    alarm = np.nan_to_num(score, nan=-np.inf) > threshold
    verdict = judge(alarm, truth)
    away, recall, precision = curves(score, truth)
    both = bool(truth.any()) and not bool(truth.all())
    area = float(np.trapezoid(np.append(0.0, recall), np.append(0.0, away))) if both else np.nan
    average = float((np.diff(np.append(0.0, recall)) * precision).sum()) if truth.any() else np.nan
    independent = (verdict.fp + verdict.tn) / max(1.0, overlap)
    false = verdict.false_alarm_rate * independent
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, false, independent - false + 1)) if false > 0 else 0.0
    high = float(beta.ppf(1 - tail, false + 1, independent - false)) if false < independent else 1.0
    names = np.array(kind)
    by_kind = {
        name: (int(np.count_nonzero(names == name)), float(alarm[names == name].mean()))
        for name in dict.fromkeys(kind)
    }
    return HeldOutResult(
        verdict, by_kind, (away, recall), area, precision, average, low, high, int(np.isnan(score).sum())
    )
