"""Labelled recordings to judge detectors by: CSV, NPZ, the layouts of NAB and of SKAB."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agent.detectors.samples import check_labels, load_columns, number
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
    """A CSV with a header, a time column if it has one, a label column (0 or 1) and metrics.

    Raises:
        ValueError: if there is no label column, a line is too short or too long, a cell is no number, or a label is
            neither 0 nor 1; the message names file and line.
    """
    columns, places = _columns(path)
    truth = next((name for name in (label, *LABELS) if name and name in columns), None)
    if truth is None:
        raise ValueError(f"{path}: no label column; say which with --label; there are: {', '.join(columns)}")
    stamp = next((name for name in TIMES if name in columns), None)
    time = _times(path, stamp, columns.pop(stamp), places) if stamp else SECOND * np.arange(len(places))
    numbers = {
        name: _numbers(path, name, cells, places)
        for name, cells in columns.items()
        if name not in ("changepoint", "kind")
    }
    answer = check_labels(path, numbers.pop(truth), places)
    if not numbers:
        raise ValueError(f"{path}: there is no column beside the label {truth}")
    return Labelled(str(path), readings(time, numbers), answer, path.parent.name)


def _columns(path: Path) -> tuple[dict[str, list[str]], list[int]]:
    """Cells of a CSV by column, and the line of each row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            lines = csv.reader(file, delimiter=";" if head.count(";") > head.count(",") else ",")
            header = [name.strip() for name in next(lines, [])]
            table = [(lines.line_num, cells) for cells in lines if cells]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8") from error
    if not table:
        raise ValueError(f"{path}: there are no rows")
    for line, cells in table:
        if len(cells) != len(header):
            raise ValueError(f"{path}, line {line}: {len(cells)} cells, the header names {len(header)} columns")
    return {name: [cells[i] for _, cells in table] for i, name in enumerate(header) if name}, [n for n, _ in table]


def _times(path: Path, name: str, cells: list[str], places: list[int]) -> Ints:
    time = np.empty(len(cells), np.int64)
    for i, (cell, line) in enumerate(zip(cells, places, strict=True)):
        try:
            time[i] = nanoseconds(cell)
        except (ValueError, OverflowError) as error:
            raise ValueError(f'{path}, line {line}: "{cell}" in column {name} is no time') from error
    return time


def _numbers(path: Path, name: str, cells: list[str], places: list[int]) -> Floats:
    values = np.empty(len(cells))
    for i, (cell, line) in enumerate(zip(cells, places, strict=True)):
        value = number(cell)
        if value is None:
            raise ValueError(f'{path}, line {line}: "{cell}" in column {name} is no number')
        values[i] = value
    return values


def read_skab(path: Path) -> Labelled:
    """A file of SKAB: `;`-separated, columns datetime, sensors, anomaly, changepoint."""
    return read_table(path, "anomaly")


def read_npz(path: Path, label: str = "") -> Labelled:
    """An NPZ of arrays of one length: metrics, a label, and perhaps `time`: whole ns, or seconds with a fraction.

    Raises:
        ValueError: if there is no label, or the lengths differ.
    """
    arrays = load_columns(path)
    stamp = arrays.pop("time", None)
    truth = next((name for name in (label, *LABELS) if name and name in arrays), None)
    if truth is None:
        raise ValueError(f"{path}: no label array; say which with --label; there are: {', '.join(arrays)}")
    n = len(arrays[truth]) if arrays[truth].ndim else 0
    time = SECOND * np.arange(n) if stamp is None else stamp
    if time.dtype.kind == "f" and not np.isfinite(time).all():
        raise ValueError(f"{path}: there are rows without a time")
    time = np.round(time * SECOND).astype(np.int64) if time.dtype.kind == "f" else time.astype(np.int64)
    wrong = [name for name, array in (*arrays.items(), ("time", time)) if array.shape != (n,)]
    if wrong or not n:
        raise ValueError(
            f"{path}: {', '.join(wrong) or 'time'} and the label {truth} differ in length, or have none"
        )
    metrics = {name: np.asarray(array, np.float64) for name, array in arrays.items() if name != truth}
    if not metrics:
        raise ValueError(f"{path}: there is no array beside the label {truth}")
    answer = check_labels(path, np.asarray(arrays[truth], np.float64))
    return Labelled(str(path), readings(time, metrics), answer, path.parent.name)


def read_nab(folder: Path, windows: Path, names: list[str] | None = None) -> Iterator[Labelled]:
    """The files of NAB that have windows, or those named; metric `value`.

    Raises:
        ValueError: if the windows do not know a file, do not fit its times, or a file lacks its columns; the message
            names the file.
    """
    known = _windows_of_nab(windows)
    for name in names or sorted(known):
        if name not in known:
            raise ValueError(f"{windows}: no windows for {name}")
        path = folder / name
        columns, places = _columns(path)
        for column in ("timestamp", "value"):
            if column not in columns:
                raise ValueError(f"{path}: no column {column}; there are: {', '.join(columns)}")
        time = _times(path, "timestamp", columns["timestamp"], places)
        label = np.zeros(len(time))
        for begin, end in known[name]:
            inside = (time >= begin) & (time <= end)
            if not inside.any():
                raise ValueError(f"{windows}: a window of {name} holds no row of {path}")
            label[inside] = 1.0
        value = _numbers(path, "value", columns["value"], places)
        yield Labelled(name, readings(time, {"value": value}), label, Path(name).parent.name)


def _windows_of_nab(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Labelled windows of each file, ns, both ends inclusive."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    try:
        return {
            str(name): [(nanoseconds(begin), nanoseconds(end)) for begin, end in pairs]
            for name, pairs in known.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a table of file -> [[begin, end], ...] with times: {error}") from error
