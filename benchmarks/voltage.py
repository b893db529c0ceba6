"""Detection of voltage disturbances, beside the tutorial's method, at the same rate of false alarms.

`python -m benchmarks voltage [--trials 500] [--waves DIR]`, and `--variants [PATTERN]` for faults, lengths, rates,
noises and references that the 28 kinds do not hold (`benchmarks/voltage_variants.py`).

The rule of the threshold: for each noise level the detector learns from normal windows of all normal kinds (the
reference). Its threshold is 1, the limit of what it learned, unless that is too low for 1 % of false positives pooled
over the normal kinds: each fifth of the reference is scored by a model learned from the other four, so that no window is
judged by a model that knew it, and if more of them alarm than 1 % explains (95 % confidence) the threshold is the 99 %
quantile of their scores. What is normal by declaration is the default of `mains`: 10 % of level, 200 mHz at 50 Hz.
The windows tested take no part in it; how many of their normal ones alarm is printed (`false_positives`).
The tutorial's method is measured on the same windows: as published (threshold 0.0102, noiseless reference), and with
its threshold set by the same rule (`at 1 %`). `named` is the share of the windows found that carry a right name.
`latency` is measured live, a window every period: periods from the beginning of the fault to the end of the first
window that alarms, median.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binom

from agent.detectors.histograms.own_range import own_range_kl
from agent.detectors.histograms.tutorial_kl import TUTORIAL_THRESHOLD
from agent.detectors.power_quality.mains import Mains
from agent.detectors.power_quality.measures import MEASURES
from agent.detectors.power_quality.model import WaveModel, measures_of, tolerated, undisturbed
from agent.offline.waves import column, find_nominal, rows_of, score_windows, texts
from benchmarks.figures import emit
from benchmarks.voltage_kinds import NORMAL, Waves, from_files, generated, right_names, without_voltage
from benchmarks.voltage_variants import FAULTS, variants
from sensors.batch import Floats
from sensors.drivers.simulated.waveform import WINDOW_KINDS, windows

RATE = 0.01
TOLERANCES = (0.1, 0.004)
"""Shares of level and frequency that are normal by declaration, as `mains` has them."""
FOLDS = 5
LEVELS = (0.0, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Result:
    """Scores of a set: `(k,)` ours, names, the tutorial's; and thresholds for `RATE` of false positives."""

    score: Floats
    name: list[str | None]
    threshold: float
    kl: Floats
    kl_threshold: float
    model: WaveModel


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks voltage", description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500, help="windows of each kind and noise level")
    parser.add_argument("--waves", type=Path, help="folder of NPZ files to test instead of the generator")
    parser.add_argument("--variants", nargs="?", const="", metavar="PATTERN",
                        help="other faults in other circumstances; those whose name matches")  # fmt: skip
    parser.add_argument(
        "--nominal", type=float, default=0.0, help="Hz; 0 = the strongest frequency of the reference"
    )
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument(
        "--pictures", type=Path, help="only draw the pictures of the documentation, into this folder"
    )
    args = parser.parse_args(arguments)
    if args.pictures:
        from benchmarks.voltage_picture import draw  # needs matplotlib

        print("\n".join(str(path) for path in draw(args.pictures)))
        return 0
    if args.variants is not None:
        return _variants(min(args.trials, 100), args.seed, args.variants)
    sets = from_files(args.waves) if args.waves else generated(args.trials, LEVELS, args.seed)
    table = [
        "| kind | noise V | detected | tutorial | tutorial at 1 % | named | as |",
        "|---|---|---|---|---|---|---|",
    ]
    for waves in sets:
        began = time.perf_counter()
        try:
            nominal = args.nominal or _nominal(waves)
            result = evaluate(waves, nominal)
        except ValueError as error:
            raise SystemExit(f"{args.waves or 'generated waves'}: {error}") from error
        took = time.perf_counter() - began
        table += report(waves, result, nominal, took)
        if not args.waves:
            table += latency(waves, result, nominal)
    sys.stderr.write("\n".join(table) + "\n")
    return 0


def _nominal(waves: Waves) -> float:
    """Frequency of the sine of most reference windows, Hz."""
    whole = waves.reference[np.isfinite(waves.reference).all(axis=1)]
    return float(np.median([find_nominal(window, waves.rate) for window in whole[:: max(1, len(whole) // 20)]]))


def evaluate(waves: Waves, nominal: float) -> Result:
    """Learn from the reference, score the windows."""
    n = min(waves.waves.shape[1], waves.reference.shape[1])
    reference = np.ascontiguousarray(waves.reference[:, :n])
    measures = measures_of(reference, nominal / waves.rate)
    level = float(np.nanmedian(measures[:, MEASURES.index("level")]))
    measures = measures[undisturbed(measures, tolerated(level, nominal / waves.rate, *TOLERANCES))]
    fold = np.arange(len(measures)) % FOLDS
    apart = np.empty(len(measures))
    for one in range(FOLDS):
        model = WaveModel.learn(measures[fold != one], n, nominal / waves.rate, *TOLERANCES)
        apart[fold == one] = model.ratios(measures[fold == one]).max(axis=1)
    threshold = _threshold(apart)
    model = WaveModel.learn(measures, n, nominal / waves.rate, *TOLERANCES)
    detector = Mains("wave", waves.rate, nominal, window=n, hop=n, threshold=threshold, rate_tolerance=0)
    detector.use(model)
    score, name = _strongest(detector, waves, n)
    kl, _ = own_range_kl(waves.clean[:n], waves.waves[:, :n])
    # Set anew for noise, it compares with a noisy wave, too: the first of the reference.
    again, _ = own_range_kl(reference[0], waves.waves[:, :n])
    limit = float(np.nanquantile(own_range_kl(reference[0], reference[1:])[0], 1 - RATE))
    return Result(score, name, threshold, np.stack([kl, again]), limit, model)


def _threshold(apart: Floats) -> float:
    """1, or the quantile if more scores `(k,)` of normal windows are beyond it than `RATE` explains."""
    many = int(binom.ppf(0.95, len(apart), RATE))
    beyond = np.sort(apart)[::-1][many : many + 1]  # so many may be above it
    return 1.0 if not len(beyond) or beyond[0] <= 1.0 else float(np.quantile(apart, 1 - RATE))


def _strongest(detector: Mains, waves: Waves, n: int) -> tuple[Floats, list[str | None]]:
    """Largest score of the stretches of n samples in each window, and the name given there."""
    total = waves.waves.shape[1]
    starts = sorted({*range(0, total - n + 1, n), total - n})
    best, names = np.full(len(waves.waves), np.nan), [None] * len(waves.waves)
    found: list[str | None] = list(names)
    for start in starts:
        rows = score_windows(detector, waves.waves[:, start : start + n], waves.rate)
        score, said = column(rows, "score"), texts(rows, "disturbance")
        better = np.flatnonzero(~(score <= best) & ~np.isnan(score))
        best[better] = score[better]
        for index in better.tolist():
            found[index] = said[index]
    return best, found


@dataclass(frozen=True, slots=True)
class Found:
    """Of the windows of a kind: share detected, of these share named right (NaN: no right name known), usual name."""

    detected: float
    named: float
    most: str


def by_kind(waves: Waves, result: Result, nominal: float) -> dict[str, Found]:
    """How each kind was detected and named; normal kinds have no name."""
    hit = np.nan_to_num(result.score, nan=-1.0) > result.threshold
    dead = without_voltage(waves, result.model.middle("level"), waves.rate / nominal)
    found = {}
    for kind in dict.fromkeys(waves.kind.tolist()):
        some = waves.kind == kind
        anomalous = bool(waves.truth[some].any())
        right = right_names(kind, 0.5 * waves.rate / nominal, waves.rate) if anomalous else ()
        places = np.flatnonzero(some & hit).tolist()
        names = [result.name[i] for i in places]
        good = [name in right or (name == "interruption" and "stuck" in right and bool(dead[i]))
                for i, name in zip(places, names, strict=True)]  # fmt: skip
        common = max(sorted({str(name) for name in names}), key=names.count) if names and anomalous else ""
        named = sum(good) / len(good) if right and good else float("nan")
        found[kind] = Found(float(hit[some].mean()), named, common)
    return found


def _variants(trials: int, seed: int, pattern: str) -> int:
    """Emit the figures of each circumstance of `voltage_variants`, and the faults that fall short in it."""
    table = ["| circumstances | false positives | lowest detection | lowest share named right | falls short |",
             "|---|---|---|---|---|"]  # fmt: skip
    for name, waves in variants(trials, seed, pattern):
        nominal = _nominal(waves)
        result = evaluate(waves, nominal)
        hit = np.nan_to_num(result.score, nan=-1.0) > result.threshold
        false = float(hit[~waves.truth].mean())
        faults = {kind: one for kind, one in by_kind(waves, result, nominal).items() if kind in FAULTS}
        detected = min(one.detected for one in faults.values())
        named = float(np.nanmin([one.named for one in faults.values()]))
        short = [f"{kind} ({one.detected:.2f}, {one.named:.2f} {one.most})".replace(", nan ", "")
                 for kind, one in faults.items() if one.detected < 0.95 or one.named < 0.9]  # fmt: skip
        where = {"circumstances": name, "threshold": result.threshold}
        emit("voltage", "variants: false positives", false, "1", **where)
        emit("voltage", "variants: lowest detection", detected, "1", **where)
        emit("voltage", "variants: lowest share named right", named, "1", **where, falls_short=short)
        table.append(f"| {name} | {false:.4f} | {detected:.3f} | {named:.3f} | {'; '.join(short)} |")
    sys.stderr.write("\n".join(table) + "\n")
    return 0


def report(waves: Waves, result: Result, nominal: float, took: float) -> list[str]:
    """Emit the figures of a set; lines of the table."""
    hit = np.nan_to_num(result.score, nan=-1.0) > result.threshold
    published = result.kl[0] > TUTORIAL_THRESHOLD
    recalibrated = result.kl[1] > result.kl_threshold
    where = {"noise_v": waves.noise, "sampling_rate": waves.rate}
    normal = ~waves.truth
    lines = []
    if normal.any():
        emit(
            "voltage", "false positives, normal kinds pooled", float(hit[normal].mean()), "1", **where,
            peer="tutorial", peer_value=float(published[normal].mean()),
            peer_at_1pct=float(recalibrated[normal].mean()), threshold=result.threshold,
        )  # fmt: skip
        lines.append(
            f"| all normal kinds | {waves.noise:g} | {hit[normal].mean():.3f} | {published[normal].mean():.3f} | "
            f"{recalibrated[normal].mean():.3f} | | |"
        )
    worst, shares = 1.0, []
    for kind, found in by_kind(waves, result, nominal).items():
        some = waves.kind == kind
        anomalous = bool(waves.truth[some].any())
        emit(
            "voltage", f"{'detection' if anomalous else 'false positives'} {kind}", found.detected, "1", **where,
            peer="tutorial", peer_value=float(published[some].mean()), peer_at_1pct=float(recalibrated[some].mean()),
            **({"unscored": int(np.isnan(result.score[some]).sum())} if anomalous else {}),
            **({} if np.isnan(found.named) else {"named": found.named}),
        )  # fmt: skip
        lines.append(
            f"| {kind} | {waves.noise:g} | {found.detected:.3f} | {published[some].mean():.3f} | "
            f"{recalibrated[some].mean():.3f} | {'' if np.isnan(found.named) else f'{found.named:.3f}'} | {found.most} |"
        )
        if anomalous:
            worst = min(worst, found.detected)
            shares += [] if np.isnan(found.named) else [found.named]
    emit("voltage", "lowest detection of an anomalous kind", worst, "1", **where)
    if shares:
        emit("voltage", "lowest share named right", min(shares), "1", **where)
    if normal.any():
        exact = float(np.quantile(result.score[normal & ~np.isnan(result.score)], 1 - RATE))
        missed = [
            float((result.score[waves.kind == kind] > exact).mean())
            for kind in dict.fromkeys(waves.kind[waves.truth].tolist())
        ]
        emit(
            "voltage",
            "lowest detection, 1 % of the tested normal windows alarming",
            min(missed, default=1.0),
            "1",
            **where,
        )
    emit("voltage", "time a window", took / len(waves.waves) * 1e3, "ms", **where)
    return lines


def latency(waves: Waves, result: Result, nominal: float, trials: int = 10) -> list[str]:
    """Emit the latency of each kind, live: a normal second, then the window with the fault."""
    n, random = waves.waves.shape[1], np.random.default_rng(8)
    period = waves.rate / nominal
    hop = round(period)
    late: dict[str, float] = {}
    for kind in WINDOW_KINDS:
        if kind in NORMAL:
            continue
        made = windows(kind, trials, random, waves.noise)
        before = windows("none", trials, random, waves.noise).waves
        detector = Mains(
            "wave", waves.rate, nominal, window=n, hop=hop, threshold=result.threshold, rate_tolerance=0
        )
        detector.use(result.model)
        stream = np.concatenate([before, made.waves], axis=1)
        out = detector.process(rows_of(np.repeat(np.arange(trials), 2 * n), stream.ravel(), waves.rate))
        delays = []
        for trial in range(trials):
            begin = n + min(start for start, _ in made.places[trial])
            end = out.at[(out.key == trial) & (out.values["anomaly"] == 1)] - trial * 2 * n
            after = end[end >= begin]
            delays.append((after[0] + 1 - begin) / period if len(after) else np.inf)
        late[kind] = float(np.median(delays))
        if np.isfinite(late[kind]):
            emit("voltage", f"latency {kind}", late[kind], "periods", noise_v=waves.noise, sampling_rate=waves.rate)
    finite = [value for value in late.values() if np.isfinite(value)]
    emit("voltage", "latency, median over kinds", float(np.median(finite)), "periods", noise_v=waves.noise)
    return [
        f"| latency in periods | {waves.noise:g} | {', '.join(f'{k} {v:.2g}' for k, v in late.items())} | | | | |"
    ]
