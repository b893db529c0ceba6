"""A part that somebody else wrote, used for a moment: what it does wrong is found by `agent check`, not at night."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agent.core.rows import Rows, no_rows
from agent.core.series_counter import SeriesCounter
from agent.rules import Verdict
from agent.settings import part_checks as checks
from agent.storage import records
from sensors.batch import Batch
from sensors.source import Positioned


def trial(kind: str, part: Any) -> list[str]:
    """What goes wrong when a fresh copy of a part is used for a moment; nothing is opened."""
    try:
        fresh = checks.within(lambda: dataclasses.replace(part))
    except Exception as error:
        return [f"cannot be made a second time: {checks.describe(error, checks.file_of(type(part)))}"]
    for name, step in _TRIALS[kind](fresh, part).items():
        try:
            wrong = checks.within(step)
        except Exception as error:
            return [f"{name}() failed: {checks.describe(error, checks.file_of(type(part)))}"]
        if wrong:
            return [f"{name}() {wrong}"]
    return []


def _try_operator(part: Any, same: Any) -> dict[str, Callable[[], str]]:
    result = Verdict if isinstance(part, checks.base_of("rule")) else Rows

    def process(rows: Rows) -> str:
        given = part.process(rows)
        if not isinstance(given, result):
            return f"gives {type(given).__name__}; it has to be {result.__name__}"
        return _unfit_rows(given) if isinstance(given, Rows) else ""

    def restore() -> str:
        other = dataclasses.replace(same)
        other.restore(part.snapshot())
        other.evict(np.arange(2))
        other.merge(np.array([1, 0]), part.extract(np.arange(2)))
        return ""

    def snapshot() -> str:
        state = part.snapshot()
        if not isinstance(state, dict):
            return f"gives {type(state).__name__}; it has to be dict"
        return _unfit_state(state) or _unfit_state(part.extract(np.arange(2)))

    def stats() -> str:
        counts, by_series = part.stats(), part.stats_by_series()
        if not isinstance(counts, dict) or not all(
            isinstance(count, int | np.integer) for count in counts.values()
        ):
            return "has to give a dict of whole numbers"
        good = isinstance(by_series, dict) and all(isinstance(c, SeriesCounter) for c in by_series.values())
        return "" if good else "is right, but stats_by_series() has to give a dict of SeriesCounter"

    def clock_step() -> str:
        part.on_clock_step(10**9)
        return ""

    return {
        "process": lambda: process(no_rows(1)) or process(_few_rows(part.inputs())),
        "finish": lambda: "" if isinstance(part.finish(10**18), result) else f"has to give {result.__name__}",
        "snapshot": snapshot,
        "restore": restore,
        "on_clock_step": clock_step,
        "stats": stats,
    }


def _unfit_rows(rows: Rows) -> str:
    """What is wrong with the columns of results."""
    columns = {"key": rows.key, "start": rows.start, "end": rows.end, "at": rows.at}
    for name, column in columns.items():
        if not isinstance(column, np.ndarray) or column.dtype.kind != "i":
            return f"gives rows whose {name} is no array of whole numbers"
    for name, values in {**columns, **rows.values}.items():
        if not isinstance(values, np.ndarray) or values.shape != rows.key.shape:
            return f"gives rows whose {name} is no array with a value a row"
    return "gives rows of a series that was not among those it got" if (rows.key < 0).any() else ""


def _unfit_state(state: Any) -> str:
    """Why a checkpoint cannot hold the state, if so."""
    try:
        records.pack(*records.strip(state))
    except (TypeError, ValueError, RecursionError) as error:
        return f"gives what no checkpoint can hold, only arrays and plain JSON: {error}"
    return ""


def _few_rows(columns: tuple[str, ...]) -> Rows:
    """Three readings of two series, with one value missing."""
    time = np.arange(1, 4) * 10**9
    values = {name: np.array([1.0, np.nan, 2.0]) for name in columns}
    return Rows(np.array([0, 1, 0]), time, time, np.arange(3), values, now=int(time[-1]))


def _try_codec(codec: Any, same: Any) -> dict[str, Callable[[], str]]:
    noise = bytes(range(256))

    def fed(result: object) -> str:
        return "" if result is None or isinstance(result, Batch) else "has to give a Batch or None"

    def ended(result: object) -> str:
        return "" if result is None else "has to give nothing"

    return {
        "feed": lambda: fed(codec.feed(b"", 0)) or fed(codec.feed(noise, 0)),
        "silence": lambda: ended(codec.silence()),
        "reset": lambda: ended(codec.reset(discard=True)),
        "finish": lambda: fed(codec.finish(0)),
        "decode": lambda: fed(codec.decode([noise, b""], 0)),
    }


def _try_source(source: Any, same: Any) -> dict[str, Callable[[], str]]:
    def position() -> str:
        place = source.position()
        source.seek(json.loads(json.dumps(dict(place))))
        return ""

    return {"position": position} if isinstance(source, Positioned) else {}


def _try_sink(sink: Any, same: Any) -> dict[str, Callable[[], str]]:
    def kinds() -> str:
        return "" if sink.kinds else "is empty; the sink would get nothing"

    return {
        "signed": lambda: "" if sink.signed(sink.identity) is sink else "has to return the sink",
        "kinds": kinds,
    }


_TRIALS: Mapping[str, Callable[[Any, Any], dict[str, Callable[[], str]]]] = {
    "source": _try_source,
    "codec": _try_codec,
    "window": _try_operator,
    "detector": _try_operator,
    "rule": _try_operator,
    "sink": _try_sink,
}
