"""Replaying a golden recording: the alerts it gives, and hashes of all that windows and detectors say."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from agent.runtime.messages import encode
from agent.settings import settings
from agent.settings.build import Pipeline, build_pipeline
from agent.storage.single_file import load
from sensors.batch import Batch
from sensors.drivers.recording import batches

HERE = Path(__file__).parent
RECORDINGS = ("machines", "waves", "metrics")
DIGITS = 9


def processor() -> str:
    """A mark of what the last bit of `exp`, a Fourier transform or a matrix product depends on."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else [platform.machine(), platform.processor()]
    about = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return hashlib.sha256(repr((about or lines, found, np.__version__, scipy.__version__)).encode()).hexdigest()[
        :16
    ]


def unpacked(name: str, folder: Path) -> Path:
    """The file of this name beside this one, unpacked into a folder."""
    file = folder / name
    file.write_bytes(gzip.decompress((HERE / f"{name}.gz").read_bytes()))
    return file


def pipeline_of(name: str) -> Pipeline:
    """The pipeline of a golden configuration."""
    return build_pipeline(settings.load(HERE / f"{name}.toml"))


def resume(engine: Any, pipeline: Pipeline, file: Path) -> tuple[set[str], dict[str, str]]:
    """Go on from a checkpoint as the agent does: parts whose configuration it does not know, or whose state."""
    state = load(file)
    assert state is not None, "the checkpoint cannot be read"
    known = {name: state["prints"].get(name) == mark for name, mark in pipeline.fingerprints.items()}
    unfit = engine.restore(state["engine"], only=known)
    return {name for name, same in known.items() if not same}, unfit


def replayed(engine: Any, pipeline: Pipeline, recording: Path | Iterator[Batch]) -> tuple[bytes, dict[str, Any]]:
    """The alerts as `agent replay` prints them, and the hashes of the results."""
    lines, told, results = [], hashlib.sha256(), Results()
    for batch in batches(recording) if isinstance(recording, Path) else recording:
        decisions = engine.process(batch)
        results.add(decisions.results)
        for message in encode(decisions, engine, pipeline.identity, metrics=False):
            if message.kind in ("alert", "raw"):
                lines.append(message.body + b"\n")
            else:  # present states, replies to commands
                told.update(repr((message.id, message.kind, message.machine, message.name, message.body)).encode())
    return b"".join(lines), {"states and replies": told.hexdigest()[:16], **results.hashes()}


class Results:
    """All rows of each window and detector, column by column."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._columns: dict[str, dict[str, Any]] = {}

    def add(self, results: Any) -> None:
        """The results of one batch. Those without rows count for nothing: how a stream is cut does not matter."""
        for step, rows in results.items():
            before = self._rows.setdefault(step, 0)
            self._rows[step] = before + len(rows)
            columns = {"key": rows.key, "start": rows.start, "end": rows.end, **rows.values, **rows.lists}
            columns |= {name: text.tolist() for name, text in rows.texts.items()}
            mine = self._columns.setdefault(step, {})
            for name, column in columns.items() if len(rows) else ():
                mine.setdefault(name, hashlib.sha256()).update(said(column).encode())

    def hashes(self) -> dict[str, Any]:
        """Step -> number of rows and a hash a column; a column that some batches lack says so by its hash."""
        return {
            step: {"rows": count} | {name: made.hexdigest()[:16] for name, made in self._columns[step].items()}
            for step, count in self._rows.items()
        }


def said(column: Any) -> str:
    """A column as text, a value a line; numbers to nine digits."""
    return "".join(
        f"{plain(value)!r}\n" for value in (column.tolist() if isinstance(column, np.ndarray) else column)
    )


def plain(value: Any) -> Any:
    """The value without classes; of numbers nine digits, and 0 for what rounding leaves of one."""
    if isinstance(value, float):
        return 0.0 if abs(value) < 1e-9 else float(f"{value:.{DIGITS}g}")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [plain(getattr(value, item.name)) for item in dataclasses.fields(value)]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
