"""Kinds of voltage window: which names are right for each, and sets of them from the generator or from files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.detectors.power_quality.measures import MEASURES
from agent.detectors.power_quality.model import measures_of
from agent.offline.waves import find_nominal
from sensors.batch import Floats
from sensors.drivers.simulated.waveform import WINDOW_KINDS, windows

FEW = 40
"""Waves of a noise level that are enough to learn from."""

NORMAL = tuple(name for name, kind in WINDOW_KINDS.items() if kind.normal)

_BY_WORD = (
    (r"interrupt|outage|blackout", ("interruption",)),
    (r"swell|over.?voltage", ("swell",)),
    (r"sag|dip|brown|under.?voltage", ("sag",)),
    (r"flicker|fluctuat|modulat", ("flicker",)),
    (r"inter.?harmonic", ("interharmonics",)),
    (r"harmonic|thd|distort", ("harmonics",)),
    (r"phase", ("phase jump",)),
    (r"freq|hz", ("frequency deviation",)),
    (r"noise", ("noise",)),
    (r"spike|transient|impuls|surge|ringing|glitch", ("transient",)),
    (r"notch", ("notch",)),
    (r"stuck|frozen|freeze|flat|hold|held", ("stuck",)),
    (r"(?<![a-z])dc|offset|bias", ("dc offset",)),
)
"""What a label says, whatever stands beside it; the first that is found counts."""

_DROP = re.compile(
    r"(?:drop|sag|dip|interruption|gain)s?[_ -]?(?P<factor>\d*\.?\d+)(?P<percent> ?(?:%|pct|percent))?"
    r"(?:(?:[_ -]|.*_)(?P<length>\d+\.?\d*) ?(?P<unit>ms|s|samples)?$|.*full)?"
)


def right_names(kind: str, half_period: float, rate: float = 1000.0) -> tuple[str, ...]:
    """Names of a disturbance that are right for a kind; empty where its word is not known.

    IEEE 1159 calls less than half the voltage's period neither sag nor interruption, so for a drop of no more samples
    both `notch` and `sag` count. Below 10 % of the voltage it is an interruption.

    Args:
        kind: a label with a known word in it, such as `drop0.2_100` (factor and samples), `sag_0.7_150ms`,
            `dip 30 %` (lost), `flicker_8.8Hz`.
        half_period: samples of half a period.
        rate: samples a second, for lengths in ms.
    """
    word = kind.lower()
    names = next((names for pattern, names in _BY_WORD if re.search(pattern, word)), ())
    drop = _DROP.search(word)
    if drop and names in ((), ("sag",), ("interruption",)):
        factor = float(drop["factor"])
        factor = 1 - factor / 100 if drop["percent"] else factor / 100 if factor > 2 else factor
        samples = float(drop["length"] or np.inf) * {"ms": rate / 1000, "s": rate}.get(drop["unit"] or "", 1.0)
        deep = "interruption" if factor < 0.1 else "swell" if factor > 1 else "sag"
        return (deep, "notch") if samples <= half_period + 1 else (deep,)
    return names


@dataclass(frozen=True, slots=True)
class Waves:
    """Windows of one sampling rate and noise level.

    Attributes:
        waves: `(k, n)` V.
        kind: `(k,)` names.
        truth: `(k,)` whether a window is anomalous.
        noise: V of white noise.
        rate: samples a second.
        reference: `(r, n)` normal windows to learn from, of all the normal kinds.
        clean: `(n,)` the noiseless wave that the tutorial's method compares with.
    """

    waves: Floats
    kind: npt.NDArray[np.str_]
    truth: npt.NDArray[np.bool_]
    noise: float
    rate: float
    reference: Floats
    clean: Floats


def without_voltage(waves: Waves, level: Floats, period: float) -> npt.NDArray[np.bool_]:
    """`(k,)` whether a window stays below a tenth of the normal voltage for a period: by definition an interruption.

    So does a sensor that is stuck just when the wave crosses zero; no observer can tell the two apart.
    """
    low = np.abs(waves.waves) <= 0.1 * level + 4 * waves.noise
    total = np.concatenate([np.zeros((len(low), 1), np.int64), np.cumsum(low, axis=1)], axis=1)
    span = round(period)
    result: npt.NDArray[np.bool_] = (total[:, span:] - total[:, :-span] >= span).any(axis=1)
    return result


def generated(trials: int, levels: tuple[float, ...], seed: int) -> Iterator[Waves]:
    """The kinds of `sensors.drivers.simulated.waveform`, `trials` windows each; the reference is drawn apart."""
    for level in levels:
        random = np.random.default_rng([seed, int(1000 * level)])
        reference = np.concatenate([windows(kind, max(trials, 100), random, level).waves for kind in NORMAL])
        waves = np.concatenate([windows(kind, trials, random, level).waves for kind in WINDOW_KINDS])
        kind = np.repeat(list(WINDOW_KINDS), trials)
        clean = windows("none", 1, random).waves[0]
        yield Waves(waves, kind, ~np.isin(kind, NORMAL), level, 1000.0, reference, clean)


def from_files(folder: Path) -> Iterator[Waves]:
    """Windows from NPZ files, a set for each file, sampling rate and noise level.

    Each file holds `waves (k, n)`, `kind (k,)`, `truth (k,)`, and if it likes `noise (k,)` (else measured) and `fs`
    (1000), one for all or one a wave; `reference.npz` (or any file whose name begins so) holds normal `waves`, with
    `truth`, `noise` and `fs` if it likes; they may be longer, shorter, or one long wave.
    Of the reference those of the same sampling rate and noise level are taken; where it has too few, noise is added to
    quieter ones.

    Raises:
        SystemExit: if there is no reference, nothing to test, or a file that does not hold what it should.
    """
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder")
    files = [path for path in sorted(folder.glob("*.npz")) if not path.name.startswith("reference")]
    references = [_load(path) for path in sorted(folder.glob("reference*.npz"))]
    if not references or not files:
        raise SystemExit(f"{folder}: wanted are reference.npz with normal waves and NPZ files with waves to test")
    for path in files:
        held = _load(path)
        missing = [name for name in ("kind", "truth") if name not in held]
        if missing:
            raise SystemExit(f"{path}: has no array {' and no array '.join(missing)}; it has {', '.join(held)}")
        waves = held["waves"]
        kind, truth = _one_each(path, held, "kind").astype(str), _one_each(path, held, "truth") != 0
        rates = _one_each(path, held, "fs", 1000.0)
        if "noise" not in held:
            held["noise"] = _usual_noise(waves, truth, float(rates[0]))
        noise = _one_each(path, held, "noise")
        for rate, level in sorted({*zip(rates.tolist(), noise.tolist(), strict=True)}):
            some = (noise == level) & (rates == rate)
            n = waves.shape[1]
            reference = _reference(references, rate, level, path, n)
            clean = _reference(references, rate, 0.0, path, n)[0]
            yield Waves(waves[some], kind[some], truth[some], level, rate, reference, clean)


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a file; `waves` is `(k, n)` of float64.

    Raises:
        SystemExit: see `from_files`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"{path}: cannot be read: {error} (texts are stored as np.array(..., dtype=str))"
        ) from error
    tables = [name for name, array in held.items() if array.ndim == 2 and array.dtype.kind in "fiu"]
    if "waves" not in held and len(tables) == 1:  # whatever it is called
        held["waves"] = held.pop(tables[0])
    if "waves" not in held or held["waves"].dtype.kind not in "fiu" or held["waves"].ndim not in (1, 2):
        raise SystemExit(
            f"{path}: wanted is an array of numbers waves (k, n); it has {', '.join(held) or 'nothing'}"
        )
    held["waves"] = np.atleast_2d(np.asarray(held["waves"], np.float64))
    if not held["waves"].size:
        raise SystemExit(f"{path}: waves is empty")
    return held


def _one_each(
    path: Path, held: dict[str, npt.NDArray[Any]], name: str, usual: float | None = None
) -> npt.NDArray[Any]:
    """One element a wave, `(k,)`."""
    k = len(held["waves"])
    given = np.asarray(held.get(name, usual))
    given = given.reshape(-1)
    if name in ("noise", "fs") and (given.dtype.kind not in "fiu" or not (np.isfinite(given) & (given >= 0)).all()):
        raise SystemExit(f"{path}: {name} must be numbers of 0 or more")
    if len(given) not in (1, k):
        raise SystemExit(f"{path}: {len(given)} elements of {name} do not fit {k} waves")
    return np.broadcast_to(given, k).astype(np.float64) if name in ("noise", "fs") else np.broadcast_to(given, k)


def _reference(
    references: list[dict[str, npt.NDArray[Any]]], rate: float, level: float, path: Path, n: int
) -> Floats:
    """Normal windows of a sampling rate, as noisy as wanted; a longer wave gives several of n samples."""
    for reference in references:
        where = path.with_name("reference.npz")
        waves = reference["waves"]
        fine = _one_each(where, reference, "fs", rate) == rate
        if "truth" in reference:
            fine = fine & (_one_each(where, reference, "truth") == 0)
        fine = fine & np.isfinite(waves).all(axis=1)
        if not fine.any():
            continue
        waves = waves[fine]
        noise = _one_each(where, reference, "noise")[fine] if "noise" in reference else _noise_of(waves, rate)
        many = max(1, waves.shape[1] // n)
        if many > 1:
            waves, noise = waves[:, : many * n].reshape(-1, n), np.repeat(noise, many)
        if len(waves) < 2:
            raise SystemExit(
                f"{where}: {len(waves)} normal wave of {waves.shape[1]} samples; at least 2 are needed"
            )
        return as_noisy(waves, noise, level)
    raise SystemExit(f"{path}: no reference for {rate:g} samples a second")


def _usual_noise(waves: Floats, truth: npt.NDArray[np.bool_], rate: float) -> Floats:
    """White noise of most of the normal waves, or of all if none is, V; 0 if it cannot be told."""
    some = waves[~truth] if not truth.all() else waves
    some = some[np.isfinite(some).all(axis=1)]
    try:
        return np.array(float(f"{np.median(_noise_of(some, rate)):.2g}")) if len(some) else np.array(0.0)
    except ValueError:
        return np.array(0.0)


def _noise_of(waves: Floats, rate: float) -> Floats:
    """`(k,)` white noise of each wave by what a sine over one period leaves, V."""
    nominal = find_nominal(waves[np.isfinite(waves).all(axis=1)][0], rate) / rate
    measures = measures_of(waves, nominal)[:, MEASURES.index("noise")]
    length = max(4, round(1 / nominal))
    result: Floats = measures * np.sqrt(length / max(1, length - 3))
    return result


def as_noisy(waves: Floats, noise: Floats, level: float) -> Floats:
    """The waves whose noise is about `level`; if there are few, others too, with the noise added that they lack."""
    near = np.abs(noise - level) <= 0.2 * level + 0.05
    if np.count_nonzero(near) >= min(FEW, len(waves)):
        return waves[near]
    quiet = noise <= level + 0.2 * level + 0.05
    if not quiet.any():
        return waves
    lack = np.sqrt(np.maximum(level**2 - noise[quiet] ** 2, 0.0))
    random = np.random.default_rng(5)
    result: Floats = waves[quiet] + lack[:, None] * random.standard_normal(waves[quiet].shape)
    return result
