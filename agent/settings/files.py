"""Reading files: those that a configuration names, for the parts built of it, and columns of samples.

Parts open no file themselves; what they get is in `agent.core.files`.
"""

from __future__ import annotations

import csv
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from agent.core.files import ColumnsFile, TextFile
from sensors.batch import Floats

_WORDS = {"": float("nan"), "true": 1.0, "false": 0.0}


def read_text(path: str, what: str) -> TextFile:
    """The text at `path`, which the key `what` names.

    Raises:
        ValueError: if there is no such file, or it is no text.
    """
    try:
        _refuse_devices(Path(path))
        content = Path(path).read_bytes()
        return TextFile(path, _digest(content), content.decode())
    except OSError as error:
        raise ValueError(f"cannot read the {what} {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8") from error


def read_columns(path: Path) -> ColumnsFile:
    """The columns of numbers of a file; see `load_columns`."""
    columns = load_columns(path)
    return ColumnsFile(str(path), _digest(path.read_bytes()), columns)


def _refuse_devices(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")  # a device may have no end, a pipe no writer


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def load_columns(path: Path) -> dict[str, Floats]:
    """Columns of numbers by name.

    Args:
        path: `.npz` (each array a column), `.npy` (one column, named `value`), or CSV with a header line; columns
            of a CSV that begin with a text are left out, an empty cell is NaN, `true` is 1 and `false` 0.

    Raises:
        ValueError: if there is no such file, or something in it cannot be read; the message names file and line.
    """
    _refuse_devices(path)
    try:
        if path.suffix in (".npz", ".npy"):
            return _load_arrays(path)
        return _load_csv(path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8") from error


def _load_arrays(path: Path) -> dict[str, Floats]:
    try:
        if path.suffix == ".npy":
            return {"value": np.asarray(np.load(path, allow_pickle=False), np.float64)}
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if archive[name].dtype.kind in "fiub"}
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no {path.suffix[1:]} file of numbers: {error}") from error


def _load_csv(path: Path) -> dict[str, Floats]:
    with path.open(encoding="utf-8-sig") as file:
        header = [name.strip() for name in file.readline().split(",")]
        if header == [""]:
            raise ValueError(f"{path} is empty")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # no lines at all: reported below
                table = np.loadtxt(file, delimiter=",", ndmin=2)
        except ValueError:
            return _read_cells(path)
    if not table.size:
        raise ValueError(f"{path} has a header and no lines")
    if table.shape[1] != len(header):
        raise ValueError(f"{path}, line 2: {table.shape[1]} cells, the header names {len(header)} columns")
    return {name: table[:, i] for i, name in enumerate(header) if not np.isnan(table[:, i]).all()}


def _read_cells(path: Path) -> dict[str, Floats]:
    """A CSV that is not all numbers, cell by cell."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = [name.strip() for name in next(lines)]
        table: list[list[str]] = []
        places: list[int] = []
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"{path}, line {lines.line_num}: {len(cells)} cells, the header names {len(header)} columns"
                )
            table.append(cells)
            places.append(lines.line_num)
    columns: dict[str, Floats] = {}
    for name, column in zip(header, zip(*table, strict=True), strict=True):
        first = next((cell for cell in column if cell.strip()), "")
        if first and number(first) is not None:
            columns[name] = _numbers(path, name, column, places)
    return columns


def _numbers(path: Path, name: str, column: Sequence[str], places: Sequence[int]) -> Floats:
    values = np.empty(len(column))
    for i, (cell, line) in enumerate(zip(column, places, strict=True)):
        value = number(cell)
        if value is None:
            raise ValueError(f'{path}, line {line}: "{cell}" in column {name} is no number')
        values[i] = value
    return values


def number(cell: str) -> float | None:
    """The number that a cell of a CSV holds: NaN if it is empty, None if it holds something else."""
    word = cell.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return float(word)
    except ValueError:
        return None


def check_labels(path: Path, label: Floats, places: Sequence[int] | None = None) -> Floats:
    """The labels, if each is 0 (normal) or 1 (anomalous).

    Args:
        path: of the file they are from.
        label: `(n,)`.
        places: line of each; None: a line each, after a header (CSV), or rows from 0 (NPZ).

    Raises:
        ValueError: naming file, line and what stands there.
    """
    wrong = np.flatnonzero(~((label == 0.0) | (label == 1.0)))
    if not len(wrong):
        return label
    first = int(wrong[0])
    arrays = path.suffix in (".npz", ".npy")
    place = f"row {first}" if arrays else f"line {places[first] if places is not None else first + 2}"
    what = "there is no label" if np.isnan(label[first]) else f"the label is {label[first]:g}"
    raise ValueError(f"{path}, {place}: {what}; 0 is normal and 1 anomalous")


def load_texts(path: Path, name: str) -> list[str] | None:
    """A column of text, or None if the file has none of that name.

    Args:
        path: as in `load_columns`; a CSV must have as many cells in each line as its header.
        name: of the column.
    """
    if path.suffix == ".npy":
        return None
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            known = name in archive.files and archive[name].dtype.kind in "US"
            return [str(word) for word in archive[name].astype(str).ravel().tolist()] if known else None
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        header = [cell.strip() for cell in next(lines, [])]
        if name not in header:
            return None
        place = header.index(name)
        return [line[place].strip() if place < len(line) else "" for line in lines if line]
