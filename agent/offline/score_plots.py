"""A picture of a score over its signal."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.offline.labelled import Labelled
from agent.offline.plots import ANOMALY, LIMIT, NORMAL, NoPlotError, _figure, _save
from sensors.batch import Floats

__all__ = ["NoPlotError", "plot_score"]


def plot_score(folder: Path, item: Labelled, score: Floats, threshold: float) -> Path:
    """Signals above, score below, labelled rows shaded; `<folder>/<name>.png`.

    Raises:
        NoPlotError: matplotlib is missing or the file cannot be written.
    """
    figure, grid = _figure(2, 1, (11.0, 4.5))
    above, below = grid[0][0], grid[1][0]
    rows = np.arange(len(score))
    for name, column in item.rows.values.items():
        scale = np.nanstd(column) or 1.0
        several = len(item.rows.values) > 1
        shown = (column - np.nanmean(column)) / scale if several else column
        above.plot(rows, shown, linewidth=0.6, color=None if several else NORMAL, label=name)
    above.legend(loc="upper left", fontsize="x-small", ncols=4)
    below.plot(rows, score, linewidth=0.7, color=LIMIT)
    below.axhline(threshold, linestyle="--", color=ANOMALY, linewidth=0.8)
    below.set(xlabel="row", ylabel="score")
    for axes in (above, below):
        whole = axes.get_xaxis_transform()
        axes.fill_between(rows, 0, 1, where=item.label > 0, transform=whole, color=ANOMALY, alpha=0.15)
        axes.set_xlim(0, len(score))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(item.name).stem}.png"
    _save(figure, path)
    return path
