"""A picture of a score over its signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.offline.labelled import Labelled
from agent.offline.plots import ANOMALY, LIMIT, NORMAL, NoPlotError, _figure, _save
from sensors.batch import Floats, Ints

__all__ = ["NoPlotError", "plot_score"]


def plot_score(
    folder: Path,
    item: Labelled,
    score: Floats,
    threshold: float,
    at: Ints | None = None,
    columns: Sequence[str] = (),
) -> Path:
    """Signals above, score below, labelled rows shaded; `<folder>/<name>.png`.

    Args:
        folder: made if it is not there.
        item: the recording.
        score: `(k,)`.
        threshold: limit of the score.
        at: `(k,)` row of the recording at which each score was given; without it every row has one.
        columns: which to draw; empty = all.

    Raises:
        NoPlotError: matplotlib is missing or the file cannot be written.
    """
    figure, grid = _figure(2, 1, (11.0, 4.5))
    above, below = grid[0][0], grid[1][0]
    shown = {name: column for name, column in item.rows.values.items() if not columns or name in columns}
    for name, column in shown.items():
        scale = np.nanstd(column) or 1.0
        several = len(shown) > 1
        signal = (column - np.nanmean(column)) / scale if several else column
        above.plot(signal, linewidth=0.6, color=None if several else NORMAL, label=name)
    if len(shown) > 1:
        above.set_ylabel("standard deviations", fontsize="small")
    above.set_title(Path(item.name).name, fontsize="small", loc="left")
    above.legend(loc="upper left", fontsize="x-small", ncols=4)
    place = np.arange(len(score)) if at is None else at
    below.plot(place, score, linewidth=0.8, marker="." if len(score) < 200 else "", color=LIMIT)
    below.axhline(threshold, linestyle="--", color=ANOMALY, linewidth=0.8, label=f"threshold {threshold:.4g}")
    below.legend(loc="upper left", fontsize="x-small")
    below.set(xlabel="row", ylabel="score")
    seen = score[np.isfinite(score)]
    if len(seen) and threshold > 0 and seen.min() >= 0 and seen.max() > 50 * threshold:
        below.set_yscale("symlog", linthresh=threshold)
        below.set_ylim(-0.1 * threshold, 3 * seen.max())
    edges = np.flatnonzero(np.diff(np.concatenate([[0], item.label > 0, [0]])))
    for axes in (above, below):
        for first, last in edges.reshape(-1, 2).tolist():
            axes.axvspan(first - 0.5, last - 0.5, color=ANOMALY, alpha=0.25, linewidth=1, zorder=3)
        axes.set_xlim(0, len(item.label))
    folder.mkdir(parents=True, exist_ok=True)
    file, comma, machine = Path(item.name).name.partition(", ")
    path = folder / f"{Path(file).stem}{comma and '-'}{machine}.png"
    _save(figure, path)
    return path
