"""`agent evaluate`: any detector over labelled recordings, the same code as live."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agent.alerts.alert import Identity
from agent.core.operator import Operator
from agent.core.rows import Rows
from agent.engine.engine import Engine
from agent.offline.help_text import progress
from agent.offline.labelled import Labelled, Layout, of_windows, read_nab, read_npz, read_table
from agent.settings.registry import ConfigError, Registry, build
from sensors.batch import Batch, Floats

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_EPILOG = """examples:
  agent evaluate pump.csv --detector pca --metrics pressure,flow,power --train 400 --set train=400
  agent evaluate recordings/ --detector auto --metric value --threshold 1 --plots pictures/
  agent evaluate pump.csv -c config/metrics.toml --detector pressure --train 500
  agent evaluate --nab nab/ --windows windows.json --detector auto --json
"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a detector did on some recordings at one threshold.

    Attributes:
        rows: judged: with a score and a label.
        silent: rows without a score.
        events: runs of anomalous rows; `found` of them have an alarm.
        alarms: runs of rows at or above the threshold; `false` of them touch no event.
        roc_auc: chance that an anomalous row scores above a normal one; NaN without both.
    """

    threshold: float
    rows: int
    silent: int
    precision: float
    recall: float
    f1: float
    false_alarm_rate: float
    events: int
    found: int
    alarms: int
    false: int
    roc_auc: float

    def document(self) -> dict[str, float | None]:
        """For JSON: NaN as null."""
        return {name: None if (v := getattr(self, name)) != v else v for name in self.__slots__}


def judge(scores: Sequence[Floats], labels: Sequence[Floats], threshold: float) -> Judgement:
    """Row-wise and event-wise figures over several recordings."""
    score, label = np.concatenate(scores), np.concatenate(labels) > 0.0
    known = ~np.isnan(score)
    said = np.nan_to_num(score, nan=-np.inf) >= threshold
    hit, false = int((said & label).sum()), int((said & ~label).sum())
    missed, quiet = int((~said & label & known).sum()), int((~said & ~label & known).sum())
    events = found = alarms = wrong = 0
    for one, truth in zip(scores, labels, strict=True):
        on = np.nan_to_num(one, nan=-np.inf) >= threshold
        for begin, end in runs(truth > 0.0):
            events += 1
            found += bool(on[begin:end].any())
        for begin, end in runs(on):
            alarms += 1
            wrong += not (truth[begin:end] > 0.0).any()
    return Judgement(
        threshold, int(known.sum()), int((~known).sum()), _share(hit, hit + false), _share(hit, hit + missed),
        _share(2 * hit, 2 * hit + false + missed), _share(false, false + quiet), events, found, alarms, wrong,
        roc_auc(score[known], label[known]),
    )  # fmt: skip


def runs(on: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Begin and end (exclusive) of each run of true rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]])))
    yield from zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)


def roc_auc(score: Floats, label: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney 1947); ties count half."""
    positive, negative = int(label.sum()), int((~label).sum())
    if positive == 0 or negative == 0:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2.0
    return float((middle[place][label].sum() - positive * (positive + 1) / 2.0) / (positive * negative))


def best_threshold(scores: Sequence[Floats], labels: Sequence[Floats]) -> float:
    """The threshold with the highest F1 over the rows; fitted on what it is shown with, so no forecast."""
    score, label = np.concatenate(scores), np.concatenate(labels) > 0.0
    order = np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")
    hit = np.cumsum(label[order])
    f1 = 2 * hit / (np.arange(1, len(order) + 1) + max(label.sum(), 1))
    ordered = score[order]
    last = np.append(ordered[1:] != ordered[:-1], True) & ~np.isnan(ordered)
    return float(ordered[np.argmax(np.where(last, f1, -1.0))]) if last.any() else float("nan")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def register(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "evaluate", help="Score a detector on labelled recordings.", description=__doc__, epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "files", nargs="*", type=Path, help="CSV or NPZ with a label, or folders of them (SKAB layout)"
    )
    parser.add_argument("--nab", type=Path, help="folder in the layout of NAB, with --windows")
    parser.add_argument("--windows", type=Path, help="labelled windows of NAB, JSON")
    parser.add_argument("--detector", default="auto", help="type of the detector; with -c its name there")
    parser.add_argument("-c", "--config", type=Path, help="TOML whose [detector.NAME] is run, with what it reads")
    parser.add_argument("--metric", default="", help="column it watches; default: the first")
    parser.add_argument(
        "--metrics", default="", help="columns of a detector of several, comma-separated; default: all"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="further keys of the detector"
    )
    add_columns(parser)
    parser.add_argument(
        "--train", type=int, default=0, help="first rows of each recording that are not judged; what a detector "
        "learns from is a key of its own, such as --set train=1200"
    )  # fmt: skip
    parser.add_argument("--threshold", type=float, default=1.0, help="alarm at this score and above (default 1)")
    parser.add_argument("--plots", type=Path, help="folder for a picture of each recording")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(func=evaluate)


def add_columns(parser: Any) -> None:
    """The options that say what the columns of a labelled file mean."""
    parser.add_argument("--label", default="", help="label column; default: label, is_anomaly or anomaly")
    parser.add_argument("--time", default="", metavar="COLUMN", help="time column (ISO, or seconds); default: that of "
                        "the codec with -c, else time, timestamp, datetime or ts, else a row a second")  # fmt: skip
    parser.add_argument("--machine", default="", metavar="COLUMN", help="machine column: each is judged by itself; "
                        "default: that of the codec with -c, else there is one")  # fmt: skip


def evaluate(args: argparse.Namespace) -> int:
    """Run the detector over all recordings and print how it did."""
    try:
        items = list(recordings(args))
        results = [scored(args, item) for item in progress(items)]
    except (ConfigError, ValueError, OSError) as error:
        why = f"cannot use {error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        sys.stderr.write(f"agent evaluate: {why}\n")
        return 2
    recorded, items, scores = items, [item for item, _, _ in results], [score for _, score, _ in results]
    skipped = [int(np.searchsorted(item.rows.at, args.train)) for item in items]
    labels = [item.label[skip:] for item, skip in zip(items, skipped, strict=True)]
    judged = [score[skip:] for score, skip in zip(scores, skipped, strict=True)]
    whole = judge(judged, labels, args.threshold)
    best = judge(judged, labels, best_threshold(judged, labels))
    each = {r.name: judge([s], [t], args.threshold) for r, s, t in zip(items, judged, labels, strict=True)}
    if args.json:
        document = {
            "detector": args.detector,
            "metrics": watched(args, items[0]),
            "at_threshold": whole.document(),
            "best_f1": best.document(),
        }
        files = {name: one.document() for name, one in each.items()}
        sys.stdout.write(json.dumps(document | {"files": files}) + "\n")
    else:
        _table(
            f"{'detector.' if args.config else ''}{args.detector} over {', '.join(watched(args, items[0]))}",
            each,
            whole,
            best,
        )
    if args.plots:
        from agent.offline.score_plots import NoPlotError, plot_score  # matplotlib only where it is wanted

        try:
            for item, (_, score, found) in zip(recorded, results, strict=True):
                plot_score(args.plots, item, score, args.threshold, found.at, watched(args, item))
        except NoPlotError as error:
            sys.stderr.write(f"agent evaluate: no picture: {error}\n")
    return 0


def recordings(args: argparse.Namespace) -> Iterator[Labelled]:
    """The labelled recordings that the arguments name.

    Raises:
        ValueError: none is named, or one does not fit.
    """
    if not args.files and not args.nab:
        raise ValueError("name a labelled CSV or NPZ, a folder of them, or --nab with --windows")
    if args.nab:
        if not args.windows:
            raise ValueError("--nab needs --windows")
        yield from read_nab(args.nab, args.windows)
    layout = _layout(args)
    for path in args.files:
        if not path.exists():
            raise ValueError(f"cannot read {path}: No such file or directory")
        found = sorted([*path.rglob("*.csv"), *path.rglob("*.npz")]) if path.is_dir() else [path]
        for file in found:
            yield from [read_npz(file, layout)] if file.suffix == ".npz" else read_table(file, layout)


def _layout(args: argparse.Namespace) -> Layout:
    """The columns as the command line, or else the codec of the configuration, names them."""
    codecs = [source.get("codec", {}) for source in _tables(args).get("source", {}).values()] if args.config else []
    codec: dict[str, Any] = next((one for one in codecs if one.get("time")), next(iter(codecs), {}))
    unit = "s" if args.time or "time" not in codec else codec.get("time_unit", "ns")
    return Layout(
        label=args.label, time=args.time or codec.get("time", ""), time_unit=unit,
        machine=args.machine or codec.get("machine", ""),
        required=(args.time, args.machine),
        metrics=() if args.config else tuple(name for name in [args.metric, *args.metrics.split(",")] if name),
    )  # fmt: skip


def _tables(args: argparse.Namespace) -> dict[str, Any]:
    try:
        return tomllib.loads(args.config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {args.config}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{args.config}: {error}") from error


def scored(
    args: argparse.Namespace, item: Labelled, command: str = "agent evaluate"
) -> tuple[Labelled, Floats, Rows]:
    """Scores with what they are of, the recording, or its windows if the detector judges windows; and all it says."""
    found = _configured(args, item) if args.config else _named(args, item)
    # What the clock tells stands before the rows of its call and is about none of them.
    found = found.take(found.at >= 0)
    score = np.asarray(found.values["score"])
    if not len(score):
        raise ValueError(f"{item.name}: {len(item.label)} rows are too few for a window of {args.detector}")
    if np.isnan(score).all():
        words = found.texts["reason"].tolist() if "reason" in found.texts else []
        why = ", ".join(f"{words.count(word)} x {word}" for word in dict.fromkeys(words) if word)
        sys.stderr.write(f"{command}: {item.name}: no row has a score: {why or 'the detector does not say why'}\n")
    if len(score) == len(item.label):
        return item, score, found
    return of_windows(item, found), score, found


def watched(args: argparse.Namespace, item: Labelled) -> list[str]:
    """Columns of the readings that the detector looks at."""
    table = keys_given(args, list(item.rows.values)) if not args.config else {}
    if args.config:
        tables = _tables(args)
        known: dict[str, Any] = {**tables.get("window", {}), **tables.get("detector", {})}
        seen, name = set(), args.detector
        while name in known and name not in seen:
            seen.add(name)
            table, name = known[name], str(known[name].get("on", ""))
    return [str(table["metric"])] if "metric" in table else [str(one) for one in table.get("metrics", ())]


def _named(args: argparse.Namespace, item: Labelled) -> Rows:
    """What a detector with the keys of the command line says of a recording."""
    columns = list(item.rows.values)
    wanted = [name for name in [args.metric, *args.metrics.split(",")] if name]
    unknown = [name for name in wanted if name not in columns]
    if unknown:
        raise ValueError(f"{item.name}: no column {', '.join(unknown)}; there are: {', '.join(columns)}")
    table = keys_given(args, columns)
    found: Rows = build("detector", f"detector.{args.detector}", table).process(item.rows)
    return found


def keys_given(args: argparse.Namespace, columns: Sequence[str]) -> dict[str, Any]:
    """The table of a detector that the command line describes, for recordings of these columns."""
    keys = Registry().keys_of("detector", args.detector)
    table: dict[str, Any] = {"type": args.detector}
    if "metrics" in keys:
        table["metrics"] = args.metrics.split(",") if args.metrics else columns
    else:
        table["metric"] = args.metric or columns[0]
    return table | {key: _value(text) for key, _, text in (pair.partition("=") for pair in args.set)}


def _configured(args: argparse.Namespace, item: Labelled) -> Rows:
    """What the table `[detector.NAME]` of a configuration says, with the windows and detectors that it reads."""
    tables = _tables(args)
    known = {name: (kind, t) for kind in ("window", "detector") for name, t in tables.get(kind, {}).items()}
    steps: dict[str, Operator] = {}
    name = args.detector
    if name not in tables.get("detector", {}):
        raise ValueError(f"{args.config}: no detector {name}; there are: {', '.join(tables.get('detector', {}))}")
    while name in known and name not in steps:
        kind, table = known[name]
        steps[name] = build(kind, f"{kind}.{name}", {k: v for k, v in table.items() if k != "by"})
        name = str(table.get("on", ""))
    if name and name not in steps:
        last = next(reversed(steps))
        steps[last] = replace(steps[last], on="")  # type: ignore[type-var] # steps are dataclasses
    rows = item.rows
    missing = [c for c in getattr(steps[next(reversed(steps))], "metrics", ()) if c not in rows.values]
    if missing:
        raise ValueError(f"{item.name}: no column {', '.join(missing)}; there are: {', '.join(rows.values)}")
    batch = Batch(("machine",), np.zeros(len(rows), np.int32), rows.end, dict(rows.values), rows.now)
    return Engine(steps, {}, Identity("evaluate", "agent")).process(batch).results[args.detector]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _table(what: str, each: dict[str, Judgement], whole: Judgement, best: Judgement) -> None:
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
