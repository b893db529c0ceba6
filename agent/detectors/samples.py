"""Reading a column of samples from a file: what a reference or a waveform to examine is kept in."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensors.batch import Floats


def load_columns(path: Path) -> dict[str, Floats]:
    """Columns of numbers by name.

    Args:
        path: `.npz` (each array a column), `.npy` (one column, named `value`), or CSV with a header line; columns
            of a CSV that are not numbers are left out, an empty cell is NaN.

    Raises:
        ValueError: if there is no such file, or nothing in it can be read as numbers.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files if archive[name].dtype.kind in "fiub"}
        if path.suffix == ".npy":
            return {"value": np.asarray(np.load(path, allow_pickle=False), np.float64)}
        return _load_csv(path)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error


def _load_csv(path: Path) -> dict[str, Floats]:
    with path.open(encoding="utf-8-sig") as file:
        header = [name.strip() for name in file.readline().split(",")]
        if header == [""]:
            raise ValueError(f"{path} is empty")
        try:
            table = np.loadtxt(file, delimiter=",", ndmin=2)
        except ValueError:
            file.seek(0)
            table = np.genfromtxt(file, delimiter=",", skip_header=1, ndmin=2, invalid_raise=False)
    if table.shape[1] != len(header) or not len(table):
        raise ValueError(f"{path}: the header names {len(header)} columns, the lines have {table.shape[1]}")
    return {name: table[:, i] for i, name in enumerate(header) if not np.isnan(table[:, i]).all()}


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


def load_samples(path: Path, names: Sequence[str]) -> Floats:
    """The first of the columns `names` that the file has, or its only column, `(n,)`.

    Raises:
        ValueError: if the file has none of them.
    """
    columns = load_columns(path)
    for name in names:
        if name in columns:
            return np.asarray(columns[name], np.float64).ravel()
    if len(columns) == 1:
        return np.asarray(next(iter(columns.values())), np.float64).ravel()
    raise ValueError(f"{path} has no column {' or '.join(names)}; it has {', '.join(columns) or 'none'}")
