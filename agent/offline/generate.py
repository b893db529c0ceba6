"""The voltage tutorial's labelled data set as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensors.drivers.simulated.waveform import Dataset

COLUMNS = ("time", "normal_wave", "anomaly_wave", "is_anomaly")


def write(data: Dataset, path: Path) -> None:
    """Write the columns to `.npz` or CSV; the numbers in a CSV read back to the same bits."""
    columns = [np.asarray(getattr(data, name)) for name in COLUMNS]
    if path.suffix == ".npz":
        np.savez_compressed(path, **dict(zip(COLUMNS, columns, strict=True)))  # type: ignore[arg-type]  # names are ours
        return
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(COLUMNS) + "\n")
        for row in zip(*(column.tolist() for column in columns), strict=True):
            file.write(",".join(map(repr, row)) + "\n")
