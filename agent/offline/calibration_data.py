"""What a calibration judges: windows or rows with a score and a label, and which part of the work each is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.detectors.histograms.tutorial_kl import NORMAL, TutorialKL
from agent.detectors.power_quality.mains import Mains
from agent.detectors.power_quality.model import WaveModel, measures_of
from agent.offline.configured import codec_of
from agent.offline.evaluate import EvaluationOptions, keys_given, recordings, scored, watched
from agent.offline.progress import progress
from agent.offline.verdicts import Flags
from agent.offline.waves import (
    OBSERVED,
    Detector,
    Wave,
    column,
    find_nominal,
    kinds_of_windows,
    load_wave,
    read_wave_columns,
    score_series,
    score_windows,
)
from agent.settings.files import check_labels, load_columns, load_texts
from sensors.batch import Floats, Ints
from sensors.codecs.fields import Fields
from sensors.units import SECOND

DAY = 86_400
LEARN, LIMIT, TEST, NONE = range(4)
PARTS = (0.3, 0.65)
"""Where the part to learn from ends and where the part to find the threshold on ends, as shares of the windows."""

WAVE_DETECTORS = ("mains", "tutorial_kl")
_TRUTH = ("truth", "is_anomaly", "label", "anomaly")


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions(EvaluationOptions):
    """What is calibrated, on what, and for what.

    Attributes:
        method: `quantile`: for a wanted rate of false alarms; `tutorial`: mean and deviations.
        false_alarms: wanted share of normal windows that alarm.
        reference: file of normal waves to learn from; None = a part of the files.
        window: samples in a window of a wave; 0 = 1000, or those of the file. `hop` 0 = a tenth of it.
        deviations: of method tutorial.
        nominal: frequency of the sine, Hz; 0 = find it.
        sampling_rate: samples a second; 0 = by the times.
        level_tolerance: share of the voltage that is normal anyway; `frequency_tolerance` likewise.
        plot: PNG to write; None = FILE_calibration.png.
        model: where to keep what is normal; None = FILE_model.json.
    """

    detector: str = "mains"
    method: str = "quantile"
    false_alarms: float = 0.01
    reference: Path | None = None
    window: int = 0
    hop: int = 0
    bins: int = 50
    deviations: float = 0.1
    nominal: float = 0.0
    sampling_rate: float = 0.0
    level_tolerance: float = 0.1
    frequency_tolerance: float = 0.004
    plot: Path | None = None
    model: Path | None = None


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """Windows (or rows) with a detector's scores.

    Attributes:
        score: `(k,)`.
        kind: `(k,)` what is wrong with each, `normal` = nothing.
        truth: `(k,)` whether it is anomalous.
        part: `(k,)` `LEARN`, `LIMIT` (to find the threshold on), `TEST`, or `NONE`: it shares samples with another part.
        overlap: windows that any sample lies in; 1 = they do not overlap.
        a_day: windows a day.
        name: of the detector in the configuration.
        table: its configuration; empty if it has one already.
        least: lowest threshold that makes sense.
        what: `windows` or `rows`.
        watched: columns that the detector looks at.
        lasting: how long an alarm must last, in TOML; empty = one is enough.
    """

    score: Floats
    kind: list[str]
    truth: Flags
    part: Ints
    overlap: float
    a_day: float
    name: str
    table: dict[str, Any]
    least: float
    what: str
    watched: tuple[str, ...] = ()
    lasting: str = ""


def calibration_data(options: CalibrationOptions, warn: Callable[[str], None]) -> CalibrationData:
    """What the options name; `warn` gets what a person should know of it.

    Raises:
        ValueError: a file that does not fit, or too little to calibrate on.
    """
    if options.configured or options.detector not in WAVE_DETECTORS:
        return _of_metric(options, warn)
    sets = [_holds_windows(path) for path in options.files]
    if any(sets):
        if not all(sets):
            raise ValueError("some files hold windows and some one long wave; calibrate on one sort")
        return _of_windows(options)
    return _of_waves(options)


def _parts(k: int, spare: int, learned: bool) -> Ints:
    """Part of each of k windows in order of time; `spare` of them share samples with the part before."""
    first, second = (0, k // 2) if learned else (int(share * k) for share in PARTS)
    part = np.full(k, NONE, np.int64)
    part[:first] = LEARN
    part[first + (0 if learned else spare) : second] = LIMIT
    part[min(second + spare, k - 1) :] = TEST
    return part


def _of_waves(options: CalibrationOptions) -> CalibrationData:
    """Windows of one or more long waves; each wave is cut into the parts by time."""
    waves = [
        load_wave(path, options.metric, options.sampling_rate, options.time, _codec(options, path))
        for path in options.files
    ]
    rate = _one_rate([(path, wave.rate) for path, wave in zip(options.files, waves, strict=True)])
    n = options.window or 1000
    hop = options.hop or max(1, n // 10)
    spare = round(max(1.0, n / hop))
    ends = [np.arange(n, len(wave.samples) + 1, hop) for wave in waves]
    total = sum(map(len, ends))
    if total < 20:
        some = sum(len(wave.samples) for wave in waves)
        raise ValueError(f"{some} samples make {total} windows; calibration needs 20 at least")
    kinds = [kinds_of_windows(wave, end, n) for wave, end in zip(waves, ends, strict=True)]
    parts = [_parts(len(end), spare, options.reference is not None) for end in ends]
    learn = [_cut(wave.samples, end[(part == LEARN) & (np.array(kind, dtype=object) == "normal")], n)
             for wave, end, part, kind in zip(waves, ends, parts, kinds, strict=True)]  # fmt: skip
    given = _reference(options, n, hop, rate)
    detector, table = _detector(options, np.concatenate(learn) if given is None else given, rate, n, hop)
    table["metric"] = waves[0].name
    score = np.concatenate([_scores(detector, wave) for wave in waves])
    kind = [word for words in kinds for word in words]
    least = 0.5 if isinstance(detector, Mains) else 0.0
    truth = np.array([word != "normal" for word in kind])
    return CalibrationData(
        score, kind, truth, np.concatenate(parts), max(1.0, n / hop), DAY * rate / hop, "wave", table, least, "windows",
        (waves[0].name,), _lasting(detector, rate, hop),
    )  # fmt: skip


def _codec(options: CalibrationOptions, path: Path) -> Fields | None:
    return codec_of(options.config, options.detector, path)


def _lasting(detector: Detector, rate: float, hop: int) -> str:
    """A disturbance is named by a few of its periods; where windows are further apart, one is all that is seen."""
    return "100ms" if isinstance(detector, Mains) and hop <= 0.1 * rate else ""


def _cut(samples: Floats, ends: Ints, n: int) -> Floats:
    windows: Floats = samples[ends[:, None] - n + np.arange(n)]
    return windows


def _scores(detector: Detector, wave: Wave) -> Floats:
    scores = score_series(detector, wave).values["score"]
    detector.evict(np.array([0]))
    return scores


def _of_windows(options: CalibrationOptions) -> CalibrationData:
    """Many windows, each apart from the others: of each kind every part gets its share."""
    found = [_windows_of(path) for path in options.files]
    rate = options.sampling_rate or _one_rate(
        [(path, one[3]) for path, one in zip(options.files, found, strict=True)]
    )
    lengths = {one[0].shape[1] for one in found}
    if len(lengths) > 1:
        raise ValueError(f"the windows have different lengths: {', '.join(map(str, sorted(lengths)))} samples")
    windows, kind, truth = (np.concatenate([one[i] for one in found]) for i in range(3))
    k, n = windows.shape
    hop = options.hop or n
    given = _reference(options, n, n, rate)
    part = np.empty(k, np.int64)
    for word in np.unique(kind):
        some = np.flatnonzero(kind == word)
        place = np.arange(len(some)) % 20 / 20  # neighbours come into all parts, whatever their order
        first, second = (0.0, 0.5) if given is not None else PARTS
        part[some] = np.select([place < first, place < second], [LEARN, LIMIT], TEST)
    if given is None:
        given = windows[(part == LEARN) & ~truth]
    detector, table = _detector(options, given, rate, n, hop)
    score = column([rows for block in progress(_blocks(windows), "scoring")
                    for rows in score_windows(detector, block, rate)], "score")  # fmt: skip
    least = 0.5 if isinstance(detector, Mains) else 0.0
    return CalibrationData(
        score, kind.tolist(), truth, part, 1.0, DAY * rate / hop, "wave", table, least, "windows",
        lasting=_lasting(detector, rate, hop),
    )  # fmt: skip


def _blocks(windows: Floats) -> list[Floats]:
    return [windows[first : first + 1024] for first in range(0, len(windows), 1024)]


def _holds_windows(path: Path) -> bool:
    return path.suffix == ".npz" and np.ndim(load_columns(path).get("waves", 0)) == 2


def _windows_of(path: Path) -> tuple[Floats, npt.NDArray[np.str_], Flags, float]:
    """Windows `(k, n)`, kind and truth `(k,)`, samples a second of an NPZ with `waves`, `kind`, `truth`, `fs`."""
    arrays = load_columns(path)
    windows = np.asarray(arrays["waves"], np.float64)
    k = len(windows)
    words = load_texts(path, "kind")
    label = next((np.atleast_1d(arrays[name]) for name in _TRUTH if name in arrays), None)
    for what, one in (("kinds", words), ("labels", label)):
        if one is not None and len(one) not in (1, k):
            raise ValueError(f"{path}: {len(one)} {what} do not fit {k} waves")
    if label is None and words is None:
        raise ValueError(f"{path}: neither truth nor kind says which of the waves are normal")
    kinds = np.broadcast_to(np.array(words if words is not None else ["anomaly"]), k)
    if label is None:
        truth = np.array([not word.lower().startswith(("none", "normal")) for word in kinds.tolist()])
    else:
        truth = np.broadcast_to(check_labels(path, np.asarray(label, np.float64)) > 0, k)
    if words is None:
        kinds = np.where(truth, "anomaly", "normal")
    return windows, kinds, truth, float(np.ravel(arrays.get("fs", np.array(1000.0)))[0])


def _one_rate(rates: Sequence[tuple[Path, float]]) -> float:
    for path, rate in rates:
        if rate != rates[0][1]:
            raise ValueError(f"{path} has {rate:g} samples a second, {rates[0][0]} has {rates[0][1]:g}")
    return rates[0][1]


def _reference(options: CalibrationOptions, n: int, hop: int, rate: float) -> Floats | None:
    """Windows `(k, n)` of a file of normal waves, or None without one."""
    path: Path | None = options.reference
    if path is None:
        return None
    if _holds_windows(path):
        arrays = load_columns(path)
        windows = np.asarray(arrays["waves"], np.float64)
        given = float(np.ravel(arrays.get("fs", np.array(rate)))[0])
        if windows.shape[1] < n or given != rate:
            raise ValueError(
                f"{path}: waves of {windows.shape[1]} samples at {given:g} Hz; wanted are {n} at {rate:g}"
            )
        return windows[:, :n]
    samples = read_wave_columns(path, _codec(options, path), timed=False).first(
        (*NORMAL, options.metric, *OBSERVED)
    )
    return _cut(samples, np.arange(n, len(samples) + 1, hop), n)


def _detector(
    options: CalibrationOptions, windows: Floats, rate: float, n: int, hop: int
) -> tuple[Detector, dict[str, Any]]:
    """The detector, taught with normal windows, and its configuration."""
    whole = windows[np.isfinite(windows).all(axis=1)]
    if len(whole) < 2:
        raise ValueError("there are fewer than two normal windows to learn from")
    first: Path = options.files[0]
    table: dict[str, Any] = {"type": options.detector, "metric": "voltage"}
    if options.detector == "tutorial_kl":
        kl = TutorialKL("wave", window=n, hop=hop, bins=options.bins)
        kl.fit(whole[0])
        path = options.model or first.with_name(first.stem + "_reference.npy")
        np.save(path, whole[0])
        return kl, table | {"window": n, "hop": hop, "bins": options.bins, "reference": str(path.resolve())}
    some = whole[:: max(1, len(whole) // 20)]
    nominal = options.nominal or float(f"{np.median([find_nominal(one, rate) for one in some]):.3g}")
    mains = Mains("wave", sampling_rate=rate, nominal=nominal, window=n, hop=hop)
    measures = measures_of(whole, nominal / rate)
    model = WaveModel.learn(measures, n, nominal / rate, options.level_tolerance, options.frequency_tolerance)
    mains.use(model)
    path = options.model or first.with_name(first.stem + "_model.json")
    path.write_text(model.to_text(), encoding="ascii")
    return mains, table | {
        "sampling_rate": rate, "nominal": nominal, "window": n, "hop": hop, "model": str(path.resolve())
    }  # fmt: skip


def _of_metric(options: CalibrationOptions, warn: Callable[[str], None]) -> CalibrationData:
    """Rows or windows of any detector over any labelled recording; it learns live, as it will in the agent."""
    items = list(recordings(options))
    score, kind, truth, part, overlaps, steps = [], [], [], [], [], []
    for item in progress(items, "scoring"):
        shown, scores, found = scored(options, item, warn)
        anomalous = shown.label > 0
        words = item.kinds if len(scores) == len(item.label) else ()
        score.append(scores)
        truth.append(anomalous)
        kind += [(words[i] if words and words[i] else "anomaly") if one else "normal"
                 for i, one in enumerate(anomalous.tolist())]  # fmt: skip
        step = float(np.median(np.diff(found.end))) if len(found) > 1 else 0.0
        overlaps.append(max(1.0, float(np.median(found.end - found.start)) / step) if step > 0 else 1.0)
        steps.append(step)
        part.append(_parts(len(scores), round(overlaps[-1]), learned=False))
    if sum(map(len, score)) < 20:
        raise ValueError(f"{sum(map(len, score))} rows have been judged; calibration needs 20 at least")
    step = float(np.median(steps)) / SECOND
    table = {} if options.configured else keys_given(options, list(items[0].rows.values))
    return CalibrationData(
        np.concatenate(score), kind, np.concatenate(truth), np.concatenate(part), max(overlaps),
        DAY / step if step > 0 else float("nan"), options.detector, table, -np.inf, "rows",
        tuple(watched(options, items[0])),
    )  # fmt: skip
