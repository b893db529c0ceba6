"""From samples to a row a window: what all detectors of waveforms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from agent.core.rows import Rows
from agent.detectors.base.streaming import LARGEST
from agent.windows.sample_windows import SampleWindows, WindowBatch
from sensors.batch import Codes, Floats, Ints, Text


def measurable(windows: Floats) -> npt.NDArray[np.bool_]:
    """`(k,)` whether all samples of windows `(k, n)` are finite and not absurdly large."""
    result: npt.NDArray[np.bool_] = np.all(np.abs(windows) <= LARGEST, axis=1)
    return result


def uneven_times(
    times: Ints, sampling_rate: float, tolerance: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Windows `(k, n)` whose times, ns, are not those of `sampling_rate`, and windows with a gap, both `(k,)`.

    Args:
        times: of the samples.
        sampling_rate: samples a second.
        tolerance: share by which the mean step may differ; a step of more than three samples is a gap. 0 = none of
            them is looked at.
    """
    if not tolerance:
        return np.zeros(len(times), np.bool_), np.zeros(len(times), np.bool_)
    usual = 1e9 / sampling_rate
    took = (times[:, -1] - times[:, 0]) / (times.shape[1] - 1)
    return np.abs(took - usual) > tolerance * usual, np.diff(times, axis=1).max(axis=1) > 3 * usual


def judge_windows(
    rings: SampleWindows,
    rows: Rows,
    metric: str,
    judge: Callable[[WindowBatch], tuple[Floats, Codes]],
    columns: tuple[str, ...],
    texts: Mapping[str, tuple[str, ...]],
    missing_code: int,
) -> Rows:
    """Feed the rings and judge what they complete; in order of `at`.

    Args:
        rings: samples of each series.
        rows: readings.
        metric: column of the samples.
        judge: windows -> values `(k, len(columns))` and codes of the texts `(k, len(texts))`, -1 = none.
        columns: names of the values.
        texts: name -> words of each text; the first is the reason why there is no score.
        missing_code: code of that reason where a whole window of readings has no value.
    """
    missing = rings.gaps(rows, metric)
    key, at, start, end = [missing.key], [missing.at], [missing.time], [missing.time]
    values = [np.full((len(missing.key), len(columns)), np.nan)]
    no_score = np.full((len(missing.key), len(texts)), -1, np.int32)
    no_score[:, 0] = missing_code
    codes = [no_score]
    for cut in rings.feed(rows, metric):
        found, why = judge(cut)
        key.append(cut.key)
        at.append(cut.at)
        start.append(cut.times[:, 0])
        end.append(cut.times[:, -1])
        values.append(found)
        codes.append(why)
    positions = np.concatenate(at)
    order = np.argsort(positions, kind="stable")
    table, words = np.concatenate(values)[order], np.concatenate(codes)[order]
    return Rows(
        key=np.concatenate(key)[order],
        start=np.concatenate(start)[order],
        end=np.concatenate(end)[order],
        at=positions[order],
        values={name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(columns)},
        now=rows.now,
        texts={
            name: Text(known, np.ascontiguousarray(words[:, i])) for i, (name, known) in enumerate(texts.items())
        },
    )
