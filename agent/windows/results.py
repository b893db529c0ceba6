"""Folded windows to the configured aggregates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agent.windows.partials import ENDS, PartialLayout
from sensors.batch import Floats


def results(layout: PartialLayout, window: Floats, pane: int) -> dict[str, Floats]:
    """Aggregates of folded windows by name, each `(m,)`; `count` and `missing` are always there.

    A sum beyond the range of numbers is NaN and is counted in `overflows`. `pane` is the length in ns.
    """
    out: dict[str, Floats] = {}
    bad = np.zeros(0, np.bool_)
    for row in layout.sum.values():
        finite = np.isfinite(window[row])
        if not finite.all():
            window[row] = np.where(finite, window[row], np.nan)
            bad = ~finite if not len(bad) else bad | ~finite
    layout.overflows += int(np.count_nonzero(bad))
    for item in layout.aggregates:
        if item.function in _FINISH:
            out[item.name] = _FINISH[item.function](layout, window, item.column, pane)
    if "count" not in out:
        out["count"] = window[layout.count[layout.metric]] if layout.metric else window[0]
    if "missing" not in out:
        out["missing"] = window[0] - (window[layout.count[layout.metric]] if layout.metric else window[0])
    return out


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.where(b > 0, a / b + 0.0, np.nan)  # -5e-324 / 2 is -0.0


def _empty_as_nan(layout: PartialLayout, window: Floats, column: str, value: Floats) -> Floats:
    count = window[layout.count[column]]
    return value if count.all() else np.where(count > 0, value, np.nan)


def _mean(layout: PartialLayout, window: Floats, column: str, pane: int) -> Floats:
    count = window[layout.count[column]]
    if count.all():
        return window[layout.sum[column]] / count + 0.0  # type: ignore[no-any-return]
    return _ratio(window[layout.sum[column]], count)


def _variance(layout: PartialLayout, window: Floats, column: str, less: int) -> Floats:
    return _finite(_ratio(window[layout.moment[column] + 1], window[layout.count[column]] - less))


def _finite(value: Floats) -> Floats:
    """What lies beyond all numbers, or is the difference of no two, is missing."""
    return np.where(np.isinf(value), np.nan, value)


def _rate(layout: PartialLayout, window: Floats, column: str, pane: int) -> Floats:
    """Change per second from the earliest to the latest value; NaN where they are of one instant."""
    old, new = layout.end["earliest", column], layout.end["latest", column]
    elapsed = (window[new + 1] - window[old + 1]) * pane + (window[new] - window[old])
    return _finite(_ratio((window[new + 2] - window[old + 2]) * 1e9, elapsed))


def _end(kind: str) -> Callable[[PartialLayout, Floats, str, int], Floats]:
    return lambda layout, window, column, pane: window[layout.end[kind, column] + 2]


_FINISH: dict[str, Callable[[PartialLayout, Floats, str, int], Floats]] = {
    "rows": lambda layout, window, column, pane: window[0],
    "count": lambda layout, window, column, pane: window[layout.count[column]],
    "missing": lambda layout, window, column, pane: window[0] - window[layout.count[column]],
    "sum": lambda layout, window, column, pane: _empty_as_nan(layout, window, column, window[layout.sum[column]]),
    "mean": _mean,
    "min": lambda layout, window, column, pane: _empty_as_nan(layout, window, column, window[layout.least[column]]),
    "max": lambda layout, window, column, pane: _empty_as_nan(layout, window, column, -window[layout.most[column]]),
    "range": lambda layout, window, column, pane: _finite(
        -window[layout.most[column]] - window[layout.least[column]]
    ),
    "std": lambda layout, window, column, pane: np.sqrt(_variance(layout, window, column, 1)),
    "std_pop": lambda layout, window, column, pane: np.sqrt(_variance(layout, window, column, 0)),
    "var": lambda layout, window, column, pane: _variance(layout, window, column, 1),
    "var_pop": lambda layout, window, column, pane: _variance(layout, window, column, 0),
    **{kind: _end(kind) for kind in ENDS},
    "rate": _rate,
}
