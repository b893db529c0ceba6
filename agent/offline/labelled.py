"""Labelled recordings to judge detectors by: CSV, NPZ, the layouts of NAB and of SKAB."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agent.rows import Rows
from sensors.batch import Floats, Ints
from sensors.units import SECOND

LABELS = ("label", "is_anomaly", "anomaly")
TIMES = ("time", "timestamp", "datetime")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A recording and what of it is anomalous.

    Attributes:
        name: of the file, for reports.
        rows: readings of one series, in order.
        label: `(n,)` 1 where anomalous, else 0.
        category: name of its folder.
    """

    name: str
    rows: Rows
    label: Floats
    category: str = ""


def of_windows(item: Labelled, found: Rows) -> Labelled:
    """A recording as the windows that a detector judged: a row for each, anomalous where any of its readings is.

    Args:
        item: the recording, in order of time.
        found: rows of the detector, with start and end of each window.
    """
    time = np.maximum.accumulate(item.rows.start)
    total = np.append(0, np.cumsum(item.label > 0))
    first, last = np.searchsorted(time, found.start), np.searchsorted(time, found.end, side="right")
    rows = item.rows.take(np.maximum(found.at, 0))
    return Labelled(item.name, rows, (total[last] > total[first]).astype(np.float64), item.category)


def nanoseconds(stamp: str) -> int:
    """An ISO time, or a number of seconds, in ns; UTC where it does not say.

    Raises:
        ValueError: if it is neither.
    """
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return round(float(stamp) * SECOND)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND + moment.microsecond * 1000


def readings(time: Ints, values: dict[str, Floats]) -> Rows:
    """Readings of one series."""
    n = len(time)
    return Rows(np.zeros(n, np.int64), time, time, np.arange(n), values, int(time.max()) if n else 0)


def read_table(path: Path, label: str = "") -> Labelled:
    """A CSV with a header, a time column if it has one, a label column and metrics.

    Raises:
        ValueError: if there is no label column, or a cell is no number; the message names file and column.
    """
    with path.open(newline="") as file:
        head = file.readline()
        file.seek(0)
        table = list(csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ","))
    if not table:
        raise ValueError(f"{path}: there are no rows")
    columns = {name: [row[name] for row in table] for name in table[0] if name}
    truth = next((name for name in (label, *LABELS) if name and name in columns), None)
    if truth is None:
        raise ValueError(f"{path}: no label column; say which with --label; there are: {', '.join(columns)}")
    stamp = next((name for name in TIMES if name in columns), None)
    try:
        time = (
            [nanoseconds(text) for text in columns.pop(stamp)] if stamp else [i * SECOND for i in range(len(table))]
        )
    except ValueError as error:
        raise ValueError(f"{path}: column {stamp}: {error}") from error
    numbers = {name: _numbers(path, name, cells) for name, cells in columns.items() if name != "changepoint"}
    answer = numbers.pop(truth)
    return Labelled(str(path), readings(np.array(time, np.int64), numbers), answer, path.parent.name)


def _numbers(path: Path, name: str, cells: list[str]) -> Floats:
    try:
        words = {"": np.nan, "true": 1.0, "false": 0.0}
        return np.array([words[c.lower()] if c.lower() in words else float(c) for c in cells])
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: column {name}: {error}") from error


def read_skab(path: Path) -> Labelled:
    """A file of SKAB: `;`-separated, columns datetime, sensors, anomaly, changepoint."""
    return read_table(path, "anomaly")


def read_npz(path: Path, label: str = "") -> Labelled:
    """An NPZ of arrays of one length: metrics, a label, and perhaps `time`: whole ns, or seconds with a fraction.

    Raises:
        ValueError: if there is no label, or the lengths differ.
    """
    with np.load(path) as file:
        arrays = {name: np.asarray(file[name], np.float64) for name in file.files if name != "time"}
        truth = next((name for name in (label, *LABELS) if name and name in arrays), None)
        if truth is None:
            raise ValueError(f"{path}: no label array; say which with --label; there are: {', '.join(arrays)}")
        n = len(arrays[truth])
        time = file["time"] if "time" in file.files else SECOND * np.arange(n)
        time = np.round(time * SECOND).astype(np.int64) if time.dtype.kind == "f" else time.astype(np.int64)
    wrong = [name for name, array in arrays.items() if array.shape != (n,)] + (
        ["time"] if time.shape != (n,) else []
    )
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)} and the label {truth} differ in length")
    metrics = {name: array for name, array in arrays.items() if name != truth}
    return Labelled(str(path), readings(time, metrics), arrays[truth], path.parent.name)


def read_nab(folder: Path, windows: Path, names: list[str] | None = None) -> Iterator[Labelled]:
    """The files of NAB that have windows, or those named; metric `value`.

    Raises:
        ValueError: if the windows do not know a file.
    """
    known = json.loads(windows.read_text())
    for name in names or sorted(known):
        if name not in known:
            raise ValueError(f"{windows}: no windows for {name}")
        with (folder / name).open(newline="") as file:
            table = list(csv.DictReader(file))
        time = np.array([nanoseconds(row["timestamp"]) for row in table], np.int64)
        label = np.zeros(len(time))
        for begin, end in known[name]:
            label[(time >= nanoseconds(begin)) & (time <= nanoseconds(end))] = 1.0
        value = np.array([float(row["value"]) for row in table])
        yield Labelled(name, readings(time, {"value": value}), label, Path(name).parent.name)
