"""`agent detect FILE`: score and verdict of each window of a recorded wave."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.cli import Commands, HelpFormatter, add_command, complain, options_of
from agent.core.rows import Rows
from agent.detectors.histograms.tutorial_kl import TUTORIAL_THRESHOLD, TutorialKL
from agent.offline.detect import DetectionOptions
from agent.offline.detect import detect as scores_of
from agent.settings.registry import ConfigError

_EXAMPLES = """  agent detect dataset.csv --metric anomaly_wave
  agent detect recording.csv --detector mains --model dataset_model.json
  agent detect recording.csv -c agent.toml --detector wave      the same verdicts as the agent with this configuration"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "detect", detect, _EXAMPLES, HelpFormatter)
    command.add_argument("file", type=Path, help="CSV or NPZ with the samples")
    command.add_argument("--detector", default="tutorial_kl", help="tutorial_kl: KL of histograms; mains: the tracked "
                        "sine, which names what it finds; with -c its name there")  # fmt: skip
    command.add_argument("-c", "--config", type=Path, help="TOML whose [detector.NAME] is run, as live")
    command.add_argument("--metric", default="", help="column of the wave")
    command.add_argument("--reference", type=Path, default=None,
                        help="file with a normal wave; default: a column of it, or the first window")  # fmt: skip
    command.add_argument("--window", type=int, default=1000, help="samples in a window")
    command.add_argument("--hop", type=int, default=0, help="samples between windows; 0 = the window")
    command.add_argument("--bins", type=int, default=50, help="bins of a histogram")
    command.add_argument("--threshold", type=float, default=None,
                        help=f"anomalous above it; default {TUTORIAL_THRESHOLD:.4g}, of mains 1")  # fmt: skip
    command.add_argument("--sampling-rate", type=float, default=0.0, help="samples a second; 0 = by the times")
    command.add_argument("--nominal", type=float, default=0.0, help="frequency of the sine, Hz; 0 = find it")
    command.add_argument("--model", default="", help="of detector mains: what `agent calibrate` learned")
    command.add_argument("--json", action="store_true", help="one JSON object a window")


def detect(arguments: argparse.Namespace) -> int:
    """Print a line for each window."""
    try:
        detector, rows = scores_of(options_of(DetectionOptions, arguments))
    except (ConfigError, ValueError) as error:
        return complain("detect", error)
    write = _write_json if arguments.json else _write_table
    write(rows, "KL" if isinstance(detector, TutorialKL) else "score")
    return 0


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
