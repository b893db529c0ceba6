"""Rows to feed operators with, and what came out of them in a form that can be compared to the last bit."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from agent.core.rows import Rows
from agent.rules import Verdict
from sensors.batch import Batch, Ints

START = 1_710_856_626 * 10**9
MINUTE = 60 * 10**9


def readings(
    columns: Sequence[str] = ("x",),
    n: int = 300,
    series: int = 3,
    seed: int = 0,
    wild: bool = True,
    step: int = MINUTE,
) -> Rows:
    """Readings of some series: noise, a shift, a spike, a constant stretch; with `wild`, gaps and nonsense, too."""
    rng = np.random.default_rng(seed)
    key = rng.integers(0, series, n)
    time = START + step * np.arange(n)
    values = {}
    for number, name in enumerate(columns):
        x = rng.normal(50, 2, n) + 10 * (np.arange(n) > 0.7 * n)
        x[n // 2] += 40
        x[n // 3 : n // 3 + n // 10] = 51.0
        if wild:
            x[5 + number :: 37] = np.nan
            x[[11 % n, 12 % n, 13 % n]] = np.inf, -np.inf, 1e308
        values[name] = x
    if wild:
        key[20 % n] = -1  # a series there was no room for
    return Rows(key, time, time, np.arange(n), values, now=START)


def part(rows: Rows, begin: int, end: int) -> Rows:
    """A cut of the table, with its places in the batch counted from its own start."""
    some = rows.take(np.arange(begin, end))
    return dataclasses.replace(some, at=np.arange(end - begin))


def cut(rows: Rows, places: Iterable[int] = ()) -> list[Rows]:
    """The table in parts."""
    edges = [0, *sorted(places), len(rows)]
    return [part(rows, a, b) for a, b in itertools.pairwise(edges)]


def renamed(rows: Rows, keys: Mapping[int, int]) -> Rows:
    """The rows of these series, under other keys."""
    some = rows.take(np.isin(rows.key, list(keys)))
    key = np.array([keys[old] for old in some.key.tolist()], np.int64)
    return dataclasses.replace(some, key=key)


def content(results: Sequence[Rows | Verdict], keys: Mapping[int, int] | None = None) -> list[Any]:
    """All that was given, series by series, but for the places within a batch; equal only if equal to the last bit.

    Args:
        results: of calls one after the other.
        keys: only these series, under other keys.
    """
    lines: dict[int, list[Any]] = {}
    for result in results:
        for key, line in _lines(result):
            if keys is None or key in keys:
                lines.setdefault(key if keys is None else keys[key], []).append(line)
    return sorted(lines.items())


def _lines(result: Rows | Verdict) -> Iterable[tuple[int, Any]]:
    if isinstance(result, Verdict):
        for change in result.transitions:
            plain = dataclasses.asdict(change) | {"key": 0, "at": 0}
            yield change.key, {name: exact(value) for name, value in plain.items()}
        if result.raw is not None:
            yield from _lines(result.raw)
        return
    columns = {name: column.tolist() for name, column in result.values.items()}
    columns |= {name: text.tolist() for name, text in result.texts.items()}
    columns |= {name: list(items) for name, items in result.lists.items()}
    spans = zip(result.key.tolist(), result.start.tolist(), result.end.tolist(), strict=True)
    for row, (key, start, end) in enumerate(spans):
        said = {name: exact(column[row]) for name, column in columns.items()}
        yield key, (start, end, {name: value for name, value in said.items() if value not in ("nan", None)})


def exact(value: Any) -> Any:
    """A value in a form for which `==` means: the same to the last bit, NaN being NaN."""
    match value:
        case float():
            return "nan" if value != value else value.hex()
        case np.ndarray():
            return value.dtype.str, value.shape, value.tobytes()
        case np.generic():
            return exact(value.item())
        case Mapping():
            return {name: exact(value[name]) for name in value}
        case list() | tuple():
            return [exact(item) for item in value]
        case _:
            return value


def rows_of(batches: Iterable[Batch]) -> list[Any]:
    """What batches say, row by row, however it was cut."""
    found = []
    for batch in batches:
        values = {name: column.tolist() for name, column in batch.values.items()}
        texts = {name: text.tolist() for name, text in batch.texts.items()}
        for row, (code, time) in enumerate(zip(batch.machine.tolist(), batch.time.tolist(), strict=True)):
            numbers = {name: exact(column[row]) for name, column in values.items()}
            words = {name: column[row] for name, column in texts.items()}
            said = {name: value for name, value in (numbers | words).items() if value not in ("nan", None)}
            found.append((batch.machines[code], time, said))
    return found


def wrong_in(batch: Batch) -> str:
    """What is wrong with a batch as such; empty if nothing is."""
    n = len(batch)
    columns: dict[str, Ints | Any] = {"machine": batch.machine, "time": batch.time, **batch.values}
    columns |= {name: text.codes for name, text in batch.texts.items()}
    for name, column in columns.items():
        if column.shape != (n,):
            return f"{name} has the shape {column.shape}, time has ({n},)"
    types = {"machine": np.int32, "time": np.int64} | dict.fromkeys(batch.values, np.float64)
    for name, dtype in (types | dict.fromkeys(batch.texts, np.int32)).items():
        if columns[name].dtype != dtype:
            return f"{name} is {columns[name].dtype}, not {np.dtype(dtype)}"
    if n and not (batch.machine.min() >= 0 and batch.machine.max() < len(batch.machines)):
        return "machine points at no machine"
    for name, text in batch.texts.items():
        if n and not (text.codes.min() >= -1 and text.codes.max() < len(text.words)):
            return f"{name} points at no word"
    return ""
