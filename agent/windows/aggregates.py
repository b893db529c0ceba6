"""The aggregates of a window: the names of aggregates, their spelling in SQL, what each needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SPELLINGS = {
    "avg": "mean", "average": "mean", "stddev": "std", "stddev_samp": "std", "std_samp": "std",
    "stddev_pop": "std_pop", "var_samp": "var", "variance": "var", "first_value": "first", "last_value": "last",
    "listagg": "collect", "count_distinct": "distinct", "n": "count", "total": "sum", "percentile": "quantile",
    "slope": "rate",
}  # fmt: skip
STREAMED = ("rows", "count", "missing", "sum", "mean", "min", "max", "range", "std", "std_pop", "var", "var_pop",
            "first", "last", "earliest", "latest", "rate")  # fmt: skip
"""Aggregates that fold from pane to pane."""
SAMPLED = ("median", "quantile", "distinct", "collect")
"""Aggregates that need the readings themselves."""
_CALL = re.compile(
    r"\s*([A-Za-z_][A-Za-z_0-9]*)\s*(?:\(\s*(?:(distinct)\s+)?([^,()]*?)\s*(?:,\s*([0-9.]+)\s*)?\))?\s*",
    re.IGNORECASE,
)
_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate of a window.

    Attributes:
        name: of the column in the result.
        function: one of `STREAMED` or `SAMPLED`.
        column: the column of the input it is about, empty where rows are counted.
        share: of a quantile, 0 to 1.
    """

    name: str
    function: str
    column: str = ""
    share: float = 0.0


def parse(aggregates: Iterable[str] | Mapping[str, str], metric: str) -> tuple[Aggregate, ...]:
    """The aggregates as configured: a list of calls, or a table of names and calls.

    `mean` is the mean of the metric; `max(pressure)` that of another column, named `max_pressure` in a list;
    `count(*)` counts rows, `count(temp)` those with a value; `p95` is `quantile(metric, 0.95)`.

    Raises:
        ValueError: an unknown function, a column that is missing, a share outside 0 to 1, a name twice.
    """
    if isinstance(aggregates, Mapping):
        found = [_one(text, metric, name) for name, text in aggregates.items()]
    else:
        found = [_one(text, metric, "") for text in aggregates]
    if not found:
        raise ValueError("aggregates is empty; name at least one, as in ['mean']")
    names = [item.name for item in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two aggregates are called {name!r}; give them names: {{ name = 'mean(column)' }}")
    return tuple(found)


def _one(text: str, metric: str, name: str) -> Aggregate:
    call = _CALL.fullmatch(text)
    if call is None:
        raise ValueError(f"{text!r} is not an aggregate; write it as in 'mean' or 'max(pressure)'")
    word, distinct, column, parameter = call[1].lower(), call[2], call[3], call[4]
    function = _SPELLINGS.get(word, word)
    share = float(parameter) if parameter else 0.0
    percentile = _PERCENTILE.fullmatch(word)
    if percentile:
        function, share = "quantile", float(percentile[1]) / 100
    if distinct:
        if function != "count":
            raise ValueError(f"{text!r}: distinct goes with count only")
        function = "distinct"
    if column == "*":
        if function != "count":
            raise ValueError(f"{text!r}: only count takes *; name a column")
        function, column = "rows", ""
    if function not in STREAMED and function not in SAMPLED:
        known = ", ".join((*STREAMED[1:], *SAMPLED))
        raise ValueError(f"{text!r}: unknown aggregate; known are {known}, p50 to p99")
    if function == "quantile" and not 0 <= share <= 1:
        raise ValueError(f"{text!r}: a quantile lies between 0 and 1")
    if function == "quantile" and not percentile and parameter is None:
        raise ValueError(f"{text!r}: which quantile? Write quantile(column, 0.95) or p95")
    if not name:
        name = word if not column or column == metric else f"{word}_{column}"
    if function == "rows" or (function == "count" and not (column or metric)):
        return Aggregate(name, "rows")
    if not (column or metric):
        raise ValueError(f"{text!r}: of which column? Set metric, or write {word}(column)")
    return Aggregate(name, function, column or metric, share)
