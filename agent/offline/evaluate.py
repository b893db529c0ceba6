"""Any detector over labelled recordings, the same code as live."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.alerts.alert import Identity
from agent.core.operator import Operator
from agent.core.rows import Rows, no_rows
from agent.engine.engine import Engine
from agent.offline.configured import codec_of, names_detector, tables_of
from agent.offline.labelled import ColumnNames, Labelled, of_windows, read_nab, read_npz, read_table
from agent.offline.progress import progress
from agent.settings.registry import Registry, build
from sensors.batch import Batch, Floats
from sensors.codecs.fields import Fields
from sensors.codecs.paths import Path as FieldPath

PIECE = 1 << 16
"""Rows that are judged in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Which detector is run over which labelled recordings.

    Attributes:
        files: CSV or NPZ with a label, or folders of them.
        nab: folder in the layout of NAB, with `windows`, its labelled windows.
        detector: its type; with `config` its name there.
        config: TOML whose `[detector.NAME]` is run, with what it reads; its codec says how the files are written.
        metric: column it watches; empty = the first.
        metrics: columns of a detector of several, comma-separated; empty = all.
        keys: further keys of the detector, `KEY=VALUE`.
        label, time, machine: columns; empty = by their usual names.
    """

    files: Sequence[Path] = ()
    nab: Path | None = None
    windows: Path | None = None
    detector: str = "auto"
    config: Path | None = None
    metric: str = ""
    metrics: str = ""
    keys: Sequence[str] = ()
    label: str = ""
    time: str = ""
    machine: str = ""

    @property
    def configured(self) -> bool:
        """Whether the detector is one of the configuration, which else says how the files are written."""
        return names_detector(self.config, self.detector)


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
    alarm = np.nan_to_num(score, nan=-np.inf) >= threshold
    hit, false = int((alarm & label).sum()), int((alarm & ~label).sum())
    missed, quiet = int((~alarm & label & known).sum()), int((~alarm & ~label & known).sum())
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


def recordings(options: EvaluationOptions) -> Iterator[Labelled]:
    """The labelled recordings that the arguments name.

    Raises:
        ValueError: none is named, or one does not fit.
    """
    if not options.files and not options.nab:
        raise ValueError("name a labelled CSV or NPZ, a folder of them, or --nab with --windows")
    if options.nab:
        if not options.windows:
            raise ValueError("--nab needs --windows")
        yield from read_nab(options.nab, options.windows)
    for path in options.files:
        if not path.exists():
            raise ValueError(f"cannot read {path}: No such file or directory")
        found = sorted([*path.rglob("*.csv"), *path.rglob("*.npz")]) if path.is_dir() else [path]
        for file in found:
            codec = codec_of(options.config, options.detector, file)
            named = _column_names(options, codec)
            yield from [read_npz(file, named)] if file.suffix == ".npz" else read_table(file, named, codec)


def _column_names(options: EvaluationOptions, codec: Fields | None) -> ColumnNames:
    """The columns as the command line, or else the codec of the configuration, names them."""
    time, machine = ("", "") if codec is None else (codec.time, codec.machine)
    if codec is not None and codec.nested:
        time, machine = (FieldPath.parse(spec).name if spec else "" for spec in (time, machine))
    metrics = [] if options.configured else [options.metric, *options.metrics.split(",")]
    own = codec is not None and time and options.time in ("", time)
    return ColumnNames(
        label=options.label, time=options.time or time, time_unit=codec.time_unit if own and codec else "s",
        machine=options.machine or machine,
        required=(options.time, options.machine),
        metrics=tuple(filter(None, metrics)),
    )  # fmt: skip


def scored(
    options: EvaluationOptions, item: Labelled, warn: Callable[[str], None]
) -> tuple[Labelled, Floats, Rows]:
    """Scores with what they are of, the recording, or its windows if it judges windows; and all its results."""
    found = _configured(options, item) if options.configured else _named(options, item)
    # What the clock emits stands before the rows of its call and is about none of them.
    found = found.take(found.at >= 0)
    score = np.asarray(found.values["score"])
    if not len(score):
        raise ValueError(f"{item.name}: {len(item.label)} rows are too few for a window of {options.detector}")
    if np.isnan(score).all():
        words = found.texts["reason"].tolist() if "reason" in found.texts else []
        why = ", ".join(f"{words.count(word)} x {word}" for word in dict.fromkeys(words) if word)
        warn(f"{item.name}: no row has a score: {why or 'the detector does not say why'}")
    if len(score) == len(item.label):
        return item, score, found
    return of_windows(item, found), score, found


def watched(options: EvaluationOptions, item: Labelled) -> list[str]:
    """Columns of the readings that the detector looks at."""
    table = keys_given(options, list(item.rows.values)) if not options.configured else {}
    if options.configured:
        tables = tables_of(options.config)
        known: dict[str, Any] = {**tables.get("window", {}), **tables.get("detector", {})}
        seen, name = set(), options.detector
        while name in known and name not in seen:
            seen.add(name)
            table, name = known[name], str(known[name].get("on", ""))
    return [str(table["metric"])] if "metric" in table else [str(one) for one in table.get("metrics", ())]


def usual_limit(options: EvaluationOptions, item: Labelled) -> float | None:
    """The score at which the detector alarms where a rule does not say; None if it has no such limit."""
    if options.configured:
        tables = tables_of(options.config).get("detector", {})
        table = {key: value for key, value in tables[options.detector].items() if key != "by"}
    else:
        table = keys_given(options, list(item.rows.values))
    limit: float | None = build("detector", f"detector.{options.detector}", table).default_limit
    return limit


def _named(options: EvaluationOptions, item: Labelled) -> Rows:
    """Results of a detector with the keys of the command line for a recording."""
    columns = list(item.rows.values)
    wanted = [name for name in [options.metric, *options.metrics.split(",")] if name]
    unknown = [name for name in wanted if name not in columns]
    if unknown:
        raise ValueError(f"{item.name}: no column {', '.join(unknown)}; there are: {', '.join(columns)}")
    table = keys_given(options, columns)
    detector: Operator = build("detector", f"detector.{options.detector}", table)
    return _in_pieces(item.rows, detector.process)


def _in_pieces(rows: Rows, process: Callable[[Rows], Rows]) -> Rows:
    """What comes of the rows, which does not depend on the pieces; between them the line on the terminal moves on."""
    found: list[Rows] = []
    for first in progress(range(0, max(1, len(rows)), PIECE), "evaluating"):
        piece = rows if len(rows) <= PIECE else _piece(rows, first)
        some = process(piece)
        found.append(replace(some, at=np.where(some.at >= 0, some.at + first, some.at)))
    while len(found) > 1:  # in pairs: each row is copied a few times only
        found = [found[i].then(found[i + 1]) if i + 1 < len(found) else found[i] for i in range(0, len(found), 2)]
    return found[0]


def _piece(rows: Rows, first: int) -> Rows:
    """Some of the rows, as they would have come: `now` is the latest time so far."""
    last = min(len(rows), first + PIECE)
    some = rows.take(np.arange(first, last))
    return replace(some, at=np.arange(last - first), now=int(rows.end[:last].max()))


def keys_given(options: EvaluationOptions, columns: Sequence[str]) -> dict[str, Any]:
    """The table of a detector that the command line describes, for recordings of these columns."""
    keys = Registry().keys_of("detector", options.detector)
    table: dict[str, Any] = {"type": options.detector}
    if "metrics" in keys:
        table["metrics"] = options.metrics.split(",") if options.metrics else columns
    else:
        table["metric"] = options.metric or columns[0]
    return table | {key: _value(text) for key, _, text in (pair.partition("=") for pair in options.keys)}


def _configured(options: EvaluationOptions, item: Labelled) -> Rows:
    """What the table `[detector.NAME]` of a configuration gives, with the windows and detectors that it reads."""
    tables = tables_of(options.config)
    known = {name: (kind, t) for kind in ("window", "detector") for name, t in tables.get(kind, {}).items()}
    steps: dict[str, Operator] = {}
    name = options.detector
    if name not in tables.get("detector", {}):
        raise ValueError(
            f"{options.config}: no detector {name}; there are: {', '.join(tables.get('detector', {}))}"
        )
    while name in known and name not in steps:
        kind, table = known[name]
        steps[name] = build(kind, f"{kind}.{name}", {k: v for k, v in table.items() if k != "by"})
        name = str(table.get("on", ""))
    if name and name not in steps:
        last = next(reversed(steps))
        steps[last] = replace(steps[last], on="")  # type: ignore[type-var] # steps are dataclasses
    rows = item.rows
    missing = [column for column in steps[next(reversed(steps))].inputs() if column not in rows.values]
    if missing:
        raise ValueError(f"{item.name}: no column {', '.join(missing)}; there are: {', '.join(rows.values)}")
    engine = Engine(steps, {}, Identity("evaluate", "agent"))

    def process(piece: Rows) -> Rows:
        batch = Batch(("machine",), np.zeros(len(piece), np.int32), piece.end, dict(piece.values), piece.now)
        return engine.process(batch).results.get(options.detector, no_rows(piece.now))

    return _in_pieces(rows, process)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
