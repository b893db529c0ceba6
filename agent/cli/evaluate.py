"""`agent evaluate`: any detector over labelled recordings, the same code as live."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.cli import Commands, add_command, complain, options_of
from agent.offline.evaluate import (
    EvaluationOptions,
    Judgement,
    best_threshold,
    judge,
    recordings,
    scored,
    usual_limit,
    watched,
)
from agent.offline.progress import progress
from agent.settings.registry import ConfigError

_EXAMPLES = """  agent evaluate pump.csv --detector pca --metrics pressure,flow,power --train 400 --set train=400
  agent evaluate recordings/ --detector auto --metric value --threshold 1 --plots pictures/
  agent evaluate pump.csv -c config/metrics.toml --detector pressure --train 500
  agent evaluate --nab nab/ --windows windows.json --detector auto --json"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "evaluate", evaluate, _EXAMPLES)
    command.add_argument(
        "files", nargs="*", type=Path, help="CSV or NPZ with a label, or folders of them (SKAB layout)"
    )
    command.add_argument("--nab", type=Path, help="folder in the layout of NAB, with --windows")
    command.add_argument("--windows", type=Path, help="labelled windows of NAB, JSON")
    command.add_argument("--detector", default="auto", help="type of the detector; with -c its name there")
    command.add_argument("-c", "--config", type=Path, help="TOML whose [detector.NAME] is run, with what it reads")
    command.add_argument("--metric", default="", help="column it watches; default: the first")
    command.add_argument(
        "--metrics", default="", help="columns of a detector of several, comma-separated; default: all"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="keys", help="further keys of the detector"
    )
    add_columns(command)
    command.add_argument(
        "--train", type=int, default=0, help="first rows of each recording that are not judged; what a detector "
        "learns from is a key of its own, such as --set train=1200"
    )  # fmt: skip
    command.add_argument(
        "--threshold", type=float, default=None, help="alarm at this score and above; default: the usual limit of the "
        "detector, the one of a rule without `when`"
    )  # fmt: skip
    command.add_argument("--plots", type=Path, help="folder for a picture of each recording")
    command.add_argument("--json", action="store_true", help="one JSON object")


def add_columns(command: Any) -> None:
    """The options that say what the columns of a labelled file mean."""
    command.add_argument("--label", default="", help="label column; default: label, is_anomaly or anomaly")
    command.add_argument("--time", default="", metavar="COLUMN", help="time column (ISO, or seconds); default: that of "
                        "the codec with -c, else time, timestamp, datetime or ts, else a row a second")  # fmt: skip
    command.add_argument("--machine", default="", metavar="COLUMN", help="machine column: each is judged by itself; "
                        "default: that of the codec with -c, else there is one")  # fmt: skip


def evaluate(arguments: argparse.Namespace) -> int:
    """Run the detector over all recordings and print how it did."""
    options = options_of(EvaluationOptions, arguments)
    try:
        items = list(recordings(options))
        results = [scored(options, item, warn) for item in progress(items)]
        threshold = arguments.threshold
        if threshold is None:
            threshold = usual_limit(options, items[0])
    except (ConfigError, ValueError, OSError) as error:
        return complain("evaluate", error)
    if threshold is None:
        threshold = 1.0
        warn(f"{arguments.detector} has no usual limit, so it is judged at 1; say --threshold")
    recorded, items, scores = items, [item for item, _, _ in results], [score for _, score, _ in results]
    skipped = [int(np.searchsorted(item.rows.at, arguments.train)) for item in items]
    labels = [item.label[skip:] for item, skip in zip(items, skipped, strict=True)]
    judged = [score[skip:] for score, skip in zip(scores, skipped, strict=True)]
    whole = judge(judged, labels, threshold)
    best = judge(judged, labels, best_threshold(judged, labels))
    each = {r.name: judge([s], [t], threshold) for r, s, t in zip(items, judged, labels, strict=True)}
    if arguments.json:
        document = {
            "detector": arguments.detector,
            "metrics": watched(options, items[0]),
            "at_threshold": whole.document(),
            "best_f1": best.document(),
        }
        files = {name: one.document() for name, one in each.items()}
        sys.stdout.write(json.dumps(document | {"files": files}) + "\n")
    else:
        name = f"{'detector.' if options.configured else ''}{arguments.detector}"
        _print_table(f"{name} over {', '.join(watched(options, items[0]))}", each, whole, best)
    if arguments.plots:
        from agent.offline.score_plots import NoPlotError, plot_score  # matplotlib only where it is wanted

        try:
            for item, (_, score, found) in zip(recorded, results, strict=True):
                plot_score(arguments.plots, item, score, threshold, found.at, watched(options, item))
        except NoPlotError as error:
            warn(f"no picture: {error}")
    return 0


def warn(text: str) -> None:
    """Print what a person should know about the work."""
    print(f"agent evaluate: {text}", file=sys.stderr)  # noqa: T201


def _print_table(what: str, each: dict[str, Judgement], whole: Judgement, best: Judgement) -> None:
    head = "{:40.40s} {:>7s} {:>6s} {:>6s} {:>6s} {:>6s} {:>9s} {:>6s} {:>6s}\n"
    sys.stdout.write(f"{what}\n{'':40s} {' by row ':-^35s} {' by event ':-^16s} {'by row':>6s}\n")
    sys.stdout.write(head.format("", "rows", "prec.", "recall", "F1", "FAR", "found", "false", "AUC"))
    line = "{:40.40s} {:>7d} {:>6.3f} {:>6.3f} {:>6.3f} {:>6.3f} {:>4d}/{:<4d} {:>6d} {:>6.3f}\n"
    fitted = f"all, best F1 at {best.threshold:.4g}"
    if best.false_alarm_rate == 1.0:
        fitted = "all, best F1: none better than always"
    named = {**each, f"all, threshold {whole.threshold:.4g}": whole, fitted: best}
    for name, one in named.items():
        row = (one.rows, one.precision, one.recall, one.f1, one.false_alarm_rate, one.found, one.events, one.false)
        sys.stdout.write(line.format(name[-40:], *row, one.roc_auc))
