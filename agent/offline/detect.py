"""`agent detect FILE`: score and verdict of each window of a recorded wave."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.core.rows import Rows
from agent.detectors.histograms.tutorial_kl import NORMAL, TUTORIAL_THRESHOLD, TutorialKL
from agent.detectors.power_quality.mains import Mains
from agent.offline.help_text import HelpFormatter
from agent.offline.waves import Detector, Wave, find_nominal, load_wave, score_series
from agent.settings.files import load_columns, read_columns, read_text
from agent.settings.registry import ConfigError, build

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


_EXAMPLES = """examples:
  agent detect dataset.csv --metric anomaly_wave
  agent detect recording.csv --detector mains --model dataset_model.json
  agent detect recording.csv -c agent.toml --detector wave      the same verdicts as the agent with this configuration"""


def register(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "detect", help="Score the windows of a recorded wave.", description=__doc__,
        formatter_class=HelpFormatter, epilog=_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("file", type=Path, help="CSV or NPZ with the samples")
    parser.add_argument("--detector", default="tutorial_kl", help="tutorial_kl: KL of histograms; mains: the tracked "
                        "sine, which names what it finds; with -c its name there")  # fmt: skip
    parser.add_argument("-c", "--config", type=Path, help="TOML whose [detector.NAME] is run, as live")
    parser.add_argument("--metric", default="", help="column of the wave")
    parser.add_argument("--reference", type=Path, default=None,
                        help="file with a normal wave; default: a column of it, or the first window")  # fmt: skip
    parser.add_argument("--window", type=int, default=1000, help="samples in a window")
    parser.add_argument("--hop", type=int, default=0, help="samples between windows; 0 = the window")
    parser.add_argument("--bins", type=int, default=50, help="bins of a histogram")
    parser.add_argument("--threshold", type=float, default=None,
                        help=f"anomalous above it; default {TUTORIAL_THRESHOLD:.4g}, of mains 1")  # fmt: skip
    parser.add_argument("--sampling-rate", type=float, default=0.0, help="samples a second; 0 = by the times")
    parser.add_argument("--nominal", type=float, default=0.0, help="frequency of the sine, Hz; 0 = find it")
    parser.add_argument("--model", default="", help="of detector mains: what `agent calibrate` learned")
    parser.add_argument("--json", action="store_true", help="one JSON object a window")
    parser.set_defaults(func=detect)


def detect(args: argparse.Namespace) -> int:
    """Print a line for each window."""
    try:
        table = _table(args) if args.config else {}
        wave = load_wave(args.file, args.metric or _watched(args, table), args.sampling_rate)
        detector: Detector = (
            build("detector", f"detector.{args.detector}", table) if table else _detector(args, wave)
        )
        if len(wave.samples) < detector.size:
            raise ValueError(f"{args.file}: {len(wave.samples)} samples are less than a window of {detector.size}")
        rows = score_series(detector, wave)
    except (ConfigError, ValueError) as error:
        sys.stderr.write(f"agent detect: {error}\n")
        return 2
    write = _write_json if args.json else _write_table
    write(rows, "KL" if isinstance(detector, TutorialKL) else "score")
    return 0


def _table(args: argparse.Namespace) -> dict[str, Any]:
    """The table of a detector of waves in a configuration, to run over one series."""
    try:
        tables = tomllib.loads(args.config.read_text(encoding="utf-8")).get("detector", {})
    except OSError as error:
        raise ValueError(f"cannot read {args.config}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{args.config}: {error}") from error
    if args.detector not in tables:
        raise ValueError(f"{args.config}: no detector {args.detector}; there are: {', '.join(tables) or 'none'}")
    table = tables[args.detector]
    if table.get("type") not in ("mains", "tutorial_kl"):
        raise ValueError(f"{args.config}: {args.detector} is no detector of waves; agent evaluate runs any")
    return {key: value for key, value in table.items() if key not in ("by", "on")}


def _watched(args: argparse.Namespace, table: dict[str, Any]) -> str:
    """The metric of a configured detector; a file that has several columns must have it."""
    metric = str(table.get("metric", ""))
    columns = list(load_columns(args.file)) if metric else []
    if metric in columns or len(columns) < 2:
        return metric if metric in columns else ""
    raise ValueError(
        f"{args.file} has no column {metric}, which detector.{args.detector} of {args.config} watches, so live it would "
        f"say nothing; it has {', '.join(columns)}: correct the metric, or choose a column with --metric"
    )


def _detector(args: argparse.Namespace, wave: Wave) -> Detector:
    hop = args.hop or args.window
    normal = wave.normal
    if args.reference is not None:
        normal = read_columns(args.reference).first((*NORMAL, wave.name))
    if args.detector not in ("tutorial_kl", "mains"):
        raise ValueError(f"{args.detector} is no detector of waves: tutorial_kl or mains; agent evaluate runs any")
    if args.detector == "tutorial_kl":
        threshold = TUTORIAL_THRESHOLD if args.threshold is None else args.threshold
        kl = TutorialKL("wave", window=args.window, hop=hop, bins=args.bins, threshold=threshold)
        if normal is not None:
            kl.fit(normal[: args.window])
        return kl
    mains = Mains(
        "wave",
        sampling_rate=wave.rate,
        nominal=args.nominal or find_nominal(wave.samples, wave.rate),
        window=args.window,
        hop=hop,
        model=read_text(args.model, "model") if args.model else None,
        threshold=1.0 if args.threshold is None else args.threshold,
    )
    if not args.model and args.reference is not None and normal is not None:
        starts = np.arange(0, len(normal) - args.window + 1, max(1, args.window // 10))
        mains.fit(normal[starts[:, None] + np.arange(args.window)])
    return mains


def _records(rows: Rows) -> list[dict[str, Any]]:
    texts = {name: text.tolist() for name, text in rows.texts.items()}
    return [
        {
            "window": i,
            "start": rows.start[i] / 1e9,
            "end": rows.end[i] / 1e9,
            "score": _number(rows.values["score"][i]),
            "verdict": {0.0: "normal", 1.0: "anomaly"}.get(float(rows.values["anomaly"][i]), "unknown"),
            **{
                name: _number(column[i]) for name, column in rows.values.items() if name not in ("score", "anomaly")
            },
            **{name: words[i] for name, words in texts.items() if words[i] is not None},
        }
        for i in range(len(rows))
    ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _write_json(rows: Rows, name: str) -> None:
    for record in _records(rows):
        sys.stdout.write(json.dumps({"kl" if name == "KL" and key == "score" else key: value
                                     for key, value in record.items()}) + "\n")  # fmt: skip


def _write_table(rows: Rows, name: str) -> None:
    sys.stdout.write(f"window   start (s)     end (s)  {name:>22}  verdict\n")
    for record in _records(rows):
        score = "-" if record["score"] is None else f"{record['score']:.16g}"
        what = record.get("disturbance") or record.get("reason") or ""
        if record.get("disturbance"):
            what += f", size {record['size']:.4g}, {record['duration']:.4g} s"
        line = f"{record['window']:6d}  {record['start']:10.3f}  {record['end']:10.3f}  {score:>22}  {record['verdict']}"
        sys.stdout.write(f"{line}  {what}".rstrip() + "\n")
