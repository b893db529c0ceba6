"""The scoring rules of the Numenta Anomaly Benchmark (Lavin and Ahmad 2015; NAB 1.1), written from the paper.

A labelled window is worth its earliest detection: +1 at its left edge, falling with `2 / (1 + exp(5 y)) - 1`
towards 0 at its right edge, where `y` runs from -1 to 0. A detection outside costs up to `fp`, less just after a
window by the same curve; a window without detection costs `fn`. The first 15 % of a file, at most 750 rows, are
not judged. One threshold a profile for all files. 0 is no detection at all, 100 a perfect detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

PROFILES = {"standard": (0.11, 1.0), "low_fp": (0.22, 1.0), "low_fn": (0.11, 2.0)}
"""Profile -> (cost of a false row, cost of a missed window)."""


def worth(y: Floats) -> Floats:
    """Scaled sigmoid of a position in window widths: -1 at the left edge of a window, 0 at its right edge."""
    return np.where(y > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(y, 10.0))) - 1.0)


@dataclass(frozen=True)
class Judged:
    """What each row of one file is worth, whatever the detector says.

    Attributes:
        window: `(n,)` number of the window a row lies in, -1 outside.
        value: `(n,)` share of +1 (inside) or of the cost of a false row (outside, negative).
        windows: how many windows the file has, also those in the rows that are not judged.
        first: first row that is judged.
    """

    window: Ints
    value: Floats
    windows: int
    first: int

    @classmethod
    def of(cls, time: Ints, windows: Sequence[tuple[int, int]]) -> Judged:
        """Judge rows at `time` by windows `(from, to)`, both inclusive and in the same unit."""
        n = len(time)
        rows = np.arange(n)
        window, value = np.full(n, -1, np.int64), np.full(n, -1.0)
        for number, (begin, end) in enumerate(windows):
            left, right = (int(np.flatnonzero(time == edge)[0]) for edge in (begin, end))
            inside = (rows >= left) & (rows <= right)
            window[inside] = number
            best = float(worth(np.array(-1.0)))
            value[inside] = worth((rows[inside] - right - 1) / (right - left + 1)) / best
            value[right + 1 :] = worth((rows[right + 1 :] - right) / max(right - left, 1))
        return cls(window, value, len(windows), int(np.ceil(min(n * 15 // 100, 750))))


def totals(files: Sequence[Judged], scores: Sequence[Floats], profile: str) -> tuple[Floats, Floats, float, int]:
    """Raw total at every threshold that matters: thresholds (falling), totals, total of silence, number of windows."""
    fp, fn = PROFILES[profile]
    score, change, silence, windows = [np.empty(0)], [np.empty(0)], 0.0, 0
    for file, values in zip(files, scores, strict=True):
        window, value, said = file.window[file.first :], file.value[file.first :], values[file.first :]
        outside = window < 0
        score.append(said[outside])
        change.append(fp * value[outside])
        for number in np.unique(window[~outside]):
            rows = np.flatnonzero(window == number)
            order = rows[np.argsort(-said[rows], kind="stable")]
            best = np.maximum.accumulate(np.concatenate([[-fn], value[order]]))
            score.append(said[order])
            change.append(np.diff(best))
            silence -= fn
        windows += file.windows
    said, delta = np.concatenate(score), np.concatenate(change)
    order = np.argsort(-said, kind="stable")
    said, total = said[order], silence + np.cumsum(delta[order])
    last = np.flatnonzero(np.append(said[1:] != said[:-1], True)) if len(said) else np.empty(0, np.int64)
    return np.append(np.inf, said[last]), np.append(silence, total[last]), silence, windows


def best_threshold(files: Sequence[Judged], scores: Sequence[Floats], profile: str) -> float:
    """The threshold with the highest total; the highest of equals."""
    thresholds, total, _, _ = totals(files, scores, profile)
    return float(thresholds[int(np.argmax(total))])


def raw_at(
    files: Sequence[Judged], scores: Sequence[Floats], profile: str, threshold: float
) -> tuple[float, float, int]:
    """Total at a threshold, total of silence, number of windows."""
    thresholds, total, silence, windows = totals(files, scores, profile)
    at = int(np.searchsorted(-thresholds, -threshold, side="right")) - 1
    return float(total[max(at, 0)]), silence, windows


def normalised(raw: float, silence: float, windows: int) -> float:
    """0 for silence, 100 for perfection."""
    return 100.0 * (raw - silence) / (windows - silence) if windows else float("nan")


def hits(files: Sequence[Judged], scores: Sequence[Floats], threshold: float) -> tuple[int, int]:
    """Windows found and false rows at a threshold."""
    found = false = 0
    for file, values in zip(files, scores, strict=True):
        on: npt.NDArray[np.bool_] = (values >= threshold) & (np.arange(len(values)) >= file.first)
        found += len(np.unique(file.window[on & (file.window >= 0)]))
        false += int((on & (file.window < 0)).sum())
    return found, false
