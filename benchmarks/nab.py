"""NAB: the preset `auto` over labelled metrics, row by row through the live engine, scored by NAB's own rules.

One configuration for all files; the engine gets the rows of a file in order and never its length or range. Besides
the score with the best common threshold (as NAB gives it), a cross-validated one: the threshold for each category
of files is taken from all other categories.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np

from agent.alerts.alert import Identity
from agent.engine.engine import Engine
from agent.settings.registry import build
from benchmarks.figures import emit
from benchmarks.nab_score import PROFILES, Judged, best_threshold, hits, normalised, raw_at
from sensors.batch import Batch, Floats, Ints

SECOND = 10**9


def read_series(path: Path) -> tuple[list[str], Ints, Floats]:
    """Timestamps as written, in ns, and values of a NAB file."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    stamps = [row["timestamp"] for row in rows]
    return stamps, np.array([nanoseconds(s) for s in stamps]), np.array([float(row["value"]) for row in rows])


def nanoseconds(stamp: str) -> int:
    """A timestamp of NAB, which is UTC without saying so."""
    moment = datetime.fromisoformat(stamp).replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND + moment.microsecond * 1000


def score_series(time: Ints, value: Floats, detector: str, rows_a_batch: int) -> Floats:
    """Scores of one file through a fresh engine, in order, in batches; NaN as 0."""
    engine = Engine(
        {"d": build("detector", "detector.d", {"type": detector, "metric": "value"})}, {}, Identity("nab", "nab")
    )
    scores = []
    for begin in range(0, len(time), rows_a_batch):
        part = slice(begin, begin + rows_a_batch)
        batch = Batch(
            ("file",),
            np.zeros(len(time[part]), np.int32),
            time[part],
            {"value": value[part]},
            int(time[part].max()),
        )
        scores.append(engine.process(batch).results["d"].values["score"])
    return np.nan_to_num(np.concatenate(scores), nan=0.0)


def write_scores(path: Path, stamps: Sequence[str], value: Floats, score: Floats) -> None:
    """The result file of NAB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["timestamp", "value", "anomaly_score"])
        out.writerows(zip(stamps, value.tolist(), score.tolist(), strict=True))


def cross_validated(names: Sequence[str], files: Sequence[Judged], scores: Sequence[Floats], profile: str) -> float:
    """Score of which each category is judged with the threshold fitted on all others."""
    raw = silence = 0.0
    windows = 0
    category = [Path(name).parent.name for name in names]
    for left_out in sorted(set(category)):
        inside = [i for i, c in enumerate(category) if c == left_out]
        others = [i for i, c in enumerate(category) if c != left_out] or inside
        threshold = best_threshold([files[i] for i in others], [scores[i] for i in others], profile)
        part = raw_at([files[i] for i in inside], [scores[i] for i in inside], profile, threshold)
        raw, silence, windows = raw + part[0], silence + part[1], windows + part[2]
    return normalised(raw, silence, windows)


def main(argv: Sequence[str]) -> int:
    """`python -m benchmarks nab --data DIR --files LIST --windows JSON --out DIR`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks nab", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with <category>/<file>.csv")
    parser.add_argument("--files", type=Path, help="list of files, one a line; default: all of the windows")
    parser.add_argument(
        "--windows", type=Path, required=True, help="labelled windows, JSON: file -> [[from, to], ...]"
    )
    parser.add_argument("--out", type=Path, help="folder for <category>/<file>.csv with anomaly_score")
    parser.add_argument("--detector", default="auto", help="another detector of the registry, with its defaults")
    parser.add_argument("--batch", type=int, default=1024, help="rows a batch; changes nothing but the speed")
    options = parser.parse_args(argv)
    labels = json.loads(options.windows.read_text())
    listed = options.files.read_text().splitlines() if options.files else sorted(labels)
    names = [line.strip() for line in listed if line.strip() and not line.startswith("#")]
    files, scores, seconds = [], [], 0.0
    for name in names:
        stamps, time, value = read_series(options.data / name)
        begun = perf_counter()
        score = score_series(time, value, options.detector, options.batch)
        seconds += perf_counter() - begun
        windows = [(nanoseconds(a), nanoseconds(b)) for a, b in labels.get(name, [])]
        files.append(Judged.of(time, windows))
        scores.append(score)
        if options.out:
            write_scores(options.out / name, stamps, value, score)
    rows = sum(len(score) for score in scores)
    emit("nab", "rows/s", rows / seconds, "rows/s", detector=options.detector, files=len(names), rows=rows)
    for profile in PROFILES:
        threshold = best_threshold(files, scores, profile)
        found, false = hits(files, scores, threshold)
        emit(
            "nab", profile, normalised(*raw_at(files, scores, profile, threshold)), "score", threshold=threshold,
            windows=sum(file.windows for file in files), found=found, false_rows=false,
            left_out=cross_validated(names, files, scores, profile),
            at_1=normalised(*raw_at(files, scores, profile, 1.0)),
        )  # fmt: skip
    return 0
