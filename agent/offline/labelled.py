"""Labelled recordings to judge detectors by: CSV, NPZ, the layouts of NAB and of SKAB."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agent.core.rows import Rows, unsigned_zeros
from agent.offline.csv_table import CsvTable, read_csv
from agent.settings.files import check_labels, load_columns, load_texts
from sensors.batch import Floats, Ints
from sensors.codecs.fields import Fields
from sensors.codecs.paths import Path as FieldPath
from sensors.times import NANOSECONDS, TimeUnit
from sensors.units import SECOND

LABELS = ("label", "is_anomaly", "anomaly")
TIMES = ("time", "timestamp", "datetime", "ts")


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """What the columns of a labelled CSV or NPZ mean.

    Attributes:
        label: column of the label; empty = the first of `LABELS`.
        time: column of the time; empty = the first of `TIMES`, or else a row a second.
        time_unit: of times that are numbers: ns, us, ms, s; `iso` says that they are texts.
        machine: column of the machine; each of them is a recording of its own. Empty = there is one.
        metrics: columns to read; empty = all that are numbers.
        required: time and machine that were asked for; those of a codec may be called otherwise in a file.
    """

    label: str = ""
    time: str = ""
    time_unit: TimeUnit = "s"
    machine: str = ""
    metrics: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def truth(self, path: Path, columns: Collection[str]) -> str:
        """The label among the columns of a file.

        Raises:
            ValueError: if there is none.
        """
        names = (self.label,) if self.label else LABELS
        found = next((name for name in names if name in columns), None)
        if found is None:
            raise ValueError(f"{path}: no label column; say which with --label; there are: {', '.join(columns)}")
        return found

    def stamp(self, path: Path, columns: Collection[str]) -> str:
        """The time among the columns of a file; empty if it has none of the usual names.

        Raises:
            ValueError: if the column that is configured is not there, nor one of a usual name.
        """
        if self.time in columns:
            return self.time
        usual = next((name for name in TIMES if name in columns), "")
        if self.time and (self.time in self.required or not usual):
            raise ValueError(f"{path}: no time column {self.time}; there are: {', '.join(columns)}")
        return usual

    def machines(self, columns: Collection[str]) -> str:
        """The machine among the columns of a file; empty if it is of one."""
        return self.machine if self.machine in columns or self.machine in self.required else ""


PLAIN = ColumnNames()


@dataclass(frozen=True, slots=True)
class Labelled:
    """A recording and what of it is anomalous.

    Attributes:
        name: of the file, for reports.
        rows: readings of one series, in order.
        label: `(n,)` 1 where anomalous, else 0.
        category: name of its folder.
        kinds: what is wrong with each reading, empty = nothing; none if the file does not say.
    """

    name: str
    rows: Rows
    label: Floats
    category: str = ""
    kinds: Sequence[str] = ()


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


def nanoseconds(stamp: str, unit: str = "s") -> int:
    """A number of `unit` (of `iso`: of seconds) or an ISO time, in ns; UTC where it does not say.

    Raises:
        ValueError: if it is neither.
    """
    if unit != "iso":
        try:
            return int(stamp) * NANOSECONDS[unit] if stamp.isdigit() else round(float(stamp) * NANOSECONDS[unit])
        except ValueError:
            pass  # a text, then
    moment = datetime.fromisoformat(stamp)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND + moment.microsecond * 1000


def readings(time: Ints, values: dict[str, Floats]) -> Rows:
    """Readings of one series."""
    n = len(time)
    return Rows(
        np.zeros(n, np.int64), time, time, np.arange(n), unsigned_zeros(values), int(time.max()) if n else 0
    )


def read_table(path: Path, named: ColumnNames = PLAIN, codec: Fields | None = None) -> list[Labelled]:
    """A CSV with a header, a time column if it has one, a label column (0 or 1) and metrics: a recording a machine.

    Args:
        path: of the file.
        named: what its columns mean.
        codec: that reads it live; it says how the file is written, and which columns are metrics.

    Raises:
        ValueError: if there is no label column, a line is too short or too long, a cell is no number, or a label is
            neither 0 nor 1; the message names file and line.
    """
    table = read_csv(path, codec, [named.label] if named.label else LABELS)
    columns = table.columns
    truth, stamp = named.truth(path, columns), named.stamp(path, columns)
    if not stamp:
        _refuse_other_times(table)
    machine = named.machines(columns)
    missing = [name for name in (machine, *named.metrics) if name and name not in columns]
    if missing:
        there = ", ".join(name for name in columns if name not in (truth, stamp, "kind"))
        raise ValueError(f"{path}: no column {', '.join(missing)}; there are: {there}")
    n = len(table.lines)
    time = table.times(stamp, named.time_unit, machine) if stamp else SECOND * np.arange(n)
    answer = check_labels(path, table.numbers(truth), table.lines)
    names = named.metrics or _metrics(table, (truth, stamp, machine, "changepoint", "kind"))
    values = {name: table.numbers(name) for name in names}
    if not values:
        raise ValueError(
            f"{path}: no column beside the label {truth} holds numbers; there are: {', '.join(columns)}"
        )
    kinds = table.texts("kind") if "kind" in columns else []
    whole = Labelled(str(path), readings(time, values), answer, path.parent.name, kinds)
    return _by_machine(whole, table.texts(machine)) if machine else [whole]


def _metrics(table: CsvTable, others: Collection[str]) -> list[str]:
    """The columns that the codec reads as numbers, if the file has any of them; else all that are."""
    configured = [FieldPath.flat(spec).name for spec in table.codec.values] if table.configured else []
    names = [name for name in configured if name in table.columns] or list(table.columns)
    return [name for name in names if name not in others and not table.is_text(name)]


def _refuse_other_times(table: CsvTable) -> None:
    """No column has a usual name of times: one that holds texts which are times is no metric, and not nothing."""
    for name, cells in table.columns.items():
        if table.is_text(name) and cells[0]:
            try:
                nanoseconds(cells[0])
            except ValueError:
                continue
            raise ValueError(
                f"{table.path}: the column {name} holds times; say --time {name}, or call it {TIMES[0]}"
            )


def _by_machine(whole: Labelled, words: list[str]) -> list[Labelled]:
    """A recording of each machine, in order of appearance."""
    machine = np.array(words)
    parts = []
    for name in dict.fromkeys(words):
        mine = np.flatnonzero(machine == name)
        values = {column: value[mine] for column, value in whole.rows.values.items()}
        rows = readings(whole.rows.start[mine], values)
        kinds = [whole.kinds[row] for row in mine.tolist()] if whole.kinds else []
        parts.append(
            Labelled(f"{whole.name}, {name.replace('/', '_')}", rows, whole.label[mine], whole.category, kinds)
        )
    return parts


def read_skab(path: Path) -> Labelled:
    """A file of SKAB: `;`-separated, columns datetime, sensors, anomaly, changepoint."""
    (item,) = read_table(path, ColumnNames(label="anomaly"))
    return item


def read_npz(path: Path, named: ColumnNames = PLAIN) -> Labelled:
    """An NPZ of arrays of one length: metrics, a label, and perhaps a time: whole ns, or seconds with a fraction.

    Raises:
        ValueError: if there is no label, or the lengths differ.
    """
    arrays = load_columns(path)
    truth, stamped = named.truth(path, arrays), named.stamp(path, arrays)
    stamp = arrays.pop(stamped) if stamped else None
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
    missing = [name for name in named.metrics if name not in arrays]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; there are: {', '.join(arrays)}")
    names = named.metrics or [name for name in arrays if name != truth]
    metrics = {name: np.asarray(arrays[name], np.float64) for name in names}
    if not metrics:
        raise ValueError(f"{path}: there is no array beside the label {truth}")
    answer = check_labels(path, np.asarray(arrays[truth], np.float64))
    return Labelled(str(path), readings(time, metrics), answer, path.parent.name, load_texts(path, "kind") or ())


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
        table = read_csv(path)
        for column in ("timestamp", "value"):
            if column not in table.columns:
                raise ValueError(f"{path}: no column {column}; there are: {', '.join(table.columns)}")
        time = table.times("timestamp", "s")
        label = np.zeros(len(time))
        for begin, end in known[name]:
            inside = (time >= begin) & (time <= end)
            if not inside.any():
                raise ValueError(f"{windows}: a window of {name} holds no row of {path}")
            label[inside] = 1.0
        value = table.numbers("value")
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
