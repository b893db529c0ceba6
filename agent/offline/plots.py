"""Pictures of a calibration; the only place that needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.offline.quantile import HeldOutResult
from agent.offline.verdicts import Flags
from sensors.batch import Floats

NORMAL, ANOMALY, LIMIT = "#2b6cb0", "#c53030", "#4a5568"


class NoPlotError(Exception):
    """Why a picture was not made."""


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoPlotError("matplotlib is not installed: pip install 'edge-agent[plot]'") from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=90)
    except (OSError, ValueError) as error:
        raise NoPlotError(f"cannot write {path}: {error}") from error


def _scores(axes: Any, score: Floats, truth: Flags, threshold: float, name: str) -> None:
    place = np.arange(len(score))
    axes.plot(place[~truth], score[~truth], ".", color=NORMAL, label="normal")
    axes.plot(place[truth], score[truth], "x", color=ANOMALY, label="anomaly")
    axes.axhline(threshold, color=LIMIT, linestyle="--", label=f"threshold {threshold:.4g}")
    axes.set(xlabel="window", ylabel=name)
    seen = score[np.isfinite(score)]
    if len(seen) and seen.min() >= 0 and seen.max() > 50 * max(threshold, 1e-12):
        axes.set_yscale("symlog", linthresh=max(threshold, 1e-6))
        axes.set_ylim(-0.1 * max(threshold, 1e-6), 3 * seen.max())
    axes.legend(loc="best", fontsize="small")


def plot_scores(path: Path, score: Floats, truth: Flags, threshold: float, name: str, title: str) -> None:
    """Score of each window with its label and the threshold.

    Raises:
        NoPlotError: if it cannot be made; the calibration itself is not concerned.
    """
    figure, axes = _figure(1, 1, (9, 4))
    _scores(axes[0, 0], score, truth, threshold, name)
    axes[0, 0].set_title(title)
    _save(figure, path)


def plot_calibration(
    path: Path,
    score: Floats,
    truth: Flags,
    threshold: float,
    name: str,
    title: str,
    test: HeldOutResult,
    kind: Sequence[str] = (),
) -> None:
    """Scores, ROC and precision-recall curve of the windows kept apart; of several kinds the share found of each.

    Args:
        path: PNG to write.
        score: `(k,)`.
        truth: `(k,)`.
        threshold: limit of the score.
        name: of the score.
        title: of the first panel.
        test: what was counted.
        kind: `(k,)` what is wrong with each.

    Raises:
        NoPlotError: if it cannot be made.
    """
    several = len(set(kind)) > 2
    figure, axes = _figure(1, 4 if several else 3, (18 if several else 14, 4))
    _scores(axes[0, 0], score, truth, threshold, name)
    axes[0, 0].set_title(title)
    away, recall = test.roc
    axes[0, 1].step(np.append(0, away), np.append(0, recall), where="post", color=NORMAL)
    axes[0, 1].plot([0, 1], [0, 1], ":", color=LIMIT)
    axes[0, 1].plot([test.verdict.false_alarm_rate], [test.verdict.recall], "o", color=ANOMALY)
    axes[0, 1].set(xlabel="false-alarm rate", ylabel="recall", title=f"ROC, area {test.area:.4f}", ylim=(0, 1.02))
    axes[0, 2].step(recall, test.precision, where="pre", color=NORMAL)
    axes[0, 2].plot([test.verdict.recall], [test.verdict.precision], "o", color=ANOMALY)
    axes[0, 2].set(
        xlabel="recall", ylabel="precision", title=f"average precision {test.average:.4f}", xlim=(0, 1.02),
        ylim=(0, 1.02),
    )  # fmt: skip
    if several:
        names = list(test.by_kind)[::-1]
        colours = [NORMAL if not truth[list(kind).index(word)] else ANOMALY for word in names]
        axes[0, 3].barh(names, [test.by_kind[word][1] for word in names], color=colours)
        axes[0, 3].tick_params(axis="y", labelsize="x-small")
        axes[0, 3].set(xlabel="share that alarms", xlim=(0, 1.02), title="by kind")
    _save(figure, path)


def plot_windows(path: Path, panels: list[tuple[str, Floats, Floats, Floats]], threshold: float, name: str) -> None:
    """Score over signal, two panels a case.

    Args:
        path: PNG to write.
        panels: title, signal `(n,)`, place of each score in samples `(k,)`, score `(k,)`.
        threshold: drawn in the panels of the score.
        name: of the score.
    """
    figure, axes = _figure(2 * len(panels), 1, (8, 2.2 * len(panels)))
    for index, (title, signal, place, score) in enumerate(panels):
        top, bottom = axes[2 * index, 0], axes[2 * index + 1, 0]
        top.plot(signal, color=NORMAL, linewidth=0.6)
        top.set_title(title, fontsize="small", loc="left")
        bottom.plot(place, np.maximum(score, 1e-3), color=ANOMALY, linewidth=1)
        bottom.axhline(threshold, color=LIMIT, linestyle="--", linewidth=0.8)
        bottom.set(ylabel=name, yscale="log")
        for axis in (top, bottom):
            axis.set_xlim(0, len(signal))
            axis.tick_params(labelsize="x-small")
    _save(figure, path)
