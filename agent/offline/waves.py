"""Waves in files: a long one with labels, or many windows; and their scores by a live detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.core.files import ColumnsFile
from agent.core.rows import Rows, no_rows, unsigned_zeros
from agent.detectors.histograms.tutorial_kl import TutorialKL
from agent.detectors.power_quality.mains import Mains
from agent.offline.csv_table import read_csv
from agent.offline.progress import progress
from agent.offline.verdicts import Flags
from agent.settings.files import check_labels, load_columns, load_texts
from sensors.batch import Floats, Ints
from sensors.codecs.fields import Fields

Detector = Mains | TutorialKL

OBSERVED = ("anomaly_wave", "sample", "stream", "value", "voltage", "wave")
"""Names a column of samples may have, if none is given."""

_PIECE = 1 << 18
"""Samples of a long wave that are scored in one go; between them the bar moves on."""

_SERIES = 256
"""Windows of a set that are scored in one go, each as a series of its own."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave from a file.

    Attributes:
        samples: `(n,)`.
        rate: samples a second.
        normal: `(n,)` what it would be without anomalies, if the file says so.
        label: `(n,)` whether a sample is anomalous, if the file says so.
        kind: `(n,)` what is wrong with a sample, empty = nothing, if the file says so in a column `kind`.
        name: of the column.
    """

    samples: Floats
    rate: float
    normal: Floats | None
    label: Flags | None
    kind: list[str] | None
    name: str


@dataclass(frozen=True, slots=True)
class WaveColumns:
    """The columns of a file with a wave.

    Attributes:
        values: those of numbers, by name.
        time: name of the one with the times, s.
        kind: a column `kind`, if it is of texts.
        texts: names of the columns that hold texts.
        lines: number in the file of each row; empty where it has no lines.
    """

    path: Path
    values: dict[str, Floats]
    time: str
    kind: list[str] | None
    texts: tuple[str, ...] = ()
    lines: Sequence[int] = ()

    def first(self, names: Sequence[str]) -> Floats:
        """The first of the columns `names` that there is, or the only one, `(n,)`."""
        return ColumnsFile(str(self.path), "", self.values).first(names)


def read_wave_columns(
    path: Path, codec: Fields | None = None, time: str = "", *, timed: bool = True
) -> WaveColumns:
    """Read a file with a wave: CSV as `read_csv` does, arrays as `load_columns` does.

    Args:
        path: of the file.
        codec: of the source that reads it live.
        time: column of the times; empty = that of the codec, else `time`, if there is one.
        timed: whether the times are wanted.

    Raises:
        ValueError: something cannot be read, or `time` is no column of it; the message names file and line.
    """
    texts: tuple[str, ...] = ()
    lines: Sequence[int] = ()
    if path.suffix in (".npz", ".npy"):
        values, kind, stamp = load_columns(path), load_texts(path, "kind"), time or "time"
    else:
        table = read_csv(path, codec, (*OBSERVED, "is_anomaly"))
        own = "" if codec is None else codec.time
        stamp = time or (own if own in table.columns else "time")
        words = [name for name in table.columns if name != stamp and table.is_text(name)]
        filled = [name for name, cells in table.columns.items() if name not in (stamp, *words) and any(cells)]
        values = {name: table.numbers(name) for name in filled}
        if stamp in table.columns and timed:
            unit = codec.time_unit if codec is not None and stamp == own else "s"
            values = {stamp: table.seconds(stamp, unit), **values}
        texts, lines = tuple(words), table.lines
        kind = table.texts("kind") if "kind" in table.columns else None
    if time and timed and time not in values:
        raise ValueError(f"{path} has no column {time} of numbers; it has {', '.join(values) or 'none'}")
    return WaveColumns(path, values, stamp, kind, texts, lines)


def load_wave(path: Path, metric: str = "", rate: float = 0.0, time: str = "", codec: Fields | None = None) -> Wave:
    """Read a wave with its labels; see `read_wave_columns` and `wave_of`."""
    return wave_of(read_wave_columns(path, codec, time, timed=not rate or bool(time)), metric, rate)


def wave_of(file: WaveColumns, metric: str = "", rate: float = 0.0) -> Wave:
    """The wave in a file; its columns `normal_wave` or `reference`, and `is_anomaly` are understood.

    Args:
        file: as read.
        metric: column of the samples; empty = the first of `OBSERVED`, or the only column that is none of these.
        rate: samples a second; 0 = by the times, or 1000 without them.

    Raises:
        ValueError: if a column is missing, the labels do not fit, or the times do not rise evenly.
    """
    path, columns = file.path, file.values
    name = _observed(path, columns, metric, file.time)
    samples = np.asarray(columns[name], np.float64).ravel()
    label = columns.get("is_anomaly")
    if "is_anomaly" in file.texts or (label is None and _has_words(path, "is_anomaly")):
        raise ValueError(f"{path}: the column is_anomaly holds no numbers; 0 is normal and 1 anomalous")
    normal = columns.get("normal_wave", columns.get("reference"))
    for what, one in (("labels", label), ("kinds", file.kind), ("samples of the normal wave", normal)):
        if one is not None and len(one) != len(samples):
            raise ValueError(f"{path}: {len(one)} {what} do not fit {len(samples)} samples of {name}")
    if label is not None:
        check_labels(path, np.asarray(label, np.float64), file.lines or None)
    return Wave(
        samples,
        rate or _rate(file),
        None if normal is None else np.asarray(normal, np.float64).ravel(),
        None if label is None else np.asarray(label) != 0,
        file.kind,
        name,
    )


def _has_words(path: Path, name: str) -> bool:
    """Whether an archive has a column of texts of this name."""
    return path.suffix == ".npz" and load_texts(path, name) is not None


def _observed(path: Path, columns: dict[str, Floats], metric: str, time: str) -> str:
    if metric:
        if metric not in columns:
            raise ValueError(f"{path} has no column {metric}; it has {', '.join(columns) or 'none'}")
        return metric
    for name in OBSERVED:
        if name in columns:
            return name
    rest = [name for name in columns if name not in (time, "normal_wave", "reference", "is_anomaly")]
    if len(rest) != 1:
        raise ValueError(f"{path}: which column holds the samples? It has {', '.join(columns) or 'none'}")
    return rest[0]


def _rate(file: WaveColumns) -> float:
    path, time = file.path, file.values.get(file.time)
    if time is None or len(time) < 2:
        return 1000.0
    step = np.diff(np.asarray(time, np.float64))
    usual = float(np.median(step))
    if not usual > 0:
        raise ValueError(f"{path}: the times do not rise")
    uneven = np.flatnonzero(~((step > 0.5 * usual) & (step < 1.5 * usual)))
    if len(uneven):
        first = int(uneven[0])
        where = f"line {file.lines[first + 1]}" if file.lines else f"row {first + 1}"
        raise ValueError(
            f"{path}, {where}: {step[first]:.6g} s after the sample before, else {usual:.6g} s; cut the file there, or "
            "say --sampling-rate to take them as evenly spaced"
        )
    return float(f"{1 / usual:.9g}")  # 1 / 0.001 is 1000, whatever the last digit of the times


def kinds_of_windows(wave: Wave, ends: Ints, window: int) -> list[str]:
    """Kind of each window that ends before sample `ends`: that of its first anomalous sample, `anomaly` or `normal`."""
    label = np.zeros(len(wave.samples), np.bool_) if wave.label is None else wave.label
    places = np.flatnonzero(label)
    first = np.searchsorted(places, ends - window)
    found = np.append(places, len(label))[first]
    words = wave.kind or []
    return [
        "normal" if place >= end else (words[place] if words and words[place] else "anomaly")
        for place, end in zip(found.tolist(), ends.tolist(), strict=True)
    ]


def rows_of(key: Ints, samples: Floats, rate: float, first: int = 0, metric: str = "wave") -> Rows:
    """Readings of a metric as the engine sees them; time counts from sample `first` of each series."""
    n = len(samples)
    opens = np.append(True, key[1:] != key[:-1])
    place = np.arange(n)
    number = place - np.maximum.accumulate(np.where(opens, place, 0)) + first
    time = np.round(number * (1e9 / rate)).astype(np.int64)
    return Rows(key=key, start=time, end=time, at=place, values=unsigned_zeros({metric: samples}), now=0)


def score_series(detector: Detector, wave: Wave) -> Rows:
    """What the detector gives for each window of one series."""
    found = no_rows(0)
    for first in progress(range(0, max(1, len(wave.samples)), _PIECE), "scoring"):
        piece = wave.samples[first : first + _PIECE]
        key = np.zeros(len(piece), np.int64)
        found = found.then(detector.process(rows_of(key, piece, wave.rate, first, detector.metric)))
    return found


def score_windows(detector: Detector, windows: Floats, rate: float) -> list[Rows]:
    """What the detector gives for each of the windows `(k, n)`, n samples each: in all k rows, in their order."""
    results = []
    for first in range(0, len(windows), _SERIES):
        part = windows[first : first + _SERIES]
        k, n = part.shape
        results.append(
            detector.process(rows_of(np.repeat(np.arange(k), n), part.ravel(), rate, metric=detector.metric))
        )
        detector.evict(np.arange(k))
    return results


def column(results: Sequence[Rows], name: str) -> Floats:
    """A column of numbers of all the rows, `(k,)`."""
    return np.concatenate([np.empty(0), *(rows.values[name] for rows in results)])


def texts(results: Sequence[Rows], name: str) -> list[str | None]:
    """A column of text of all the rows."""
    return [word for rows in results for word in rows.texts[name].tolist()]


def find_nominal(samples: Floats, rate: float) -> float:
    """Frequency of the strongest oscillation, Hz, rounded to three digits: about where to track a sine.

    Raises:
        ValueError: if there is none.
    """
    finite = samples[np.isfinite(samples)][: 1 << 17]
    if len(finite) < 16:
        raise ValueError(f"{len(finite)} samples are too few to find the frequency")
    power = np.abs(np.fft.rfft((finite - finite.mean()) * np.hanning(len(finite)))) ** 2
    best = int(np.argmax(power))
    if not power[best] > 0:
        raise ValueError("the wave is constant, so it has no frequency")
    around = slice(max(best - 2, 0), best + 3)
    place = float((power[around] * np.arange(len(power))[around]).sum() / power[around].sum())
    return float(f"{place * rate / len(finite):.3g}")
