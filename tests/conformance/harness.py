"""Cases of other systems, run the public way: configuration -> codec and engine -> results."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from agent.settings.build import build_pipeline
from agent.settings.registry import build
from agent.settings.settings import Settings

GIVEN = Path(__file__).parent / "cases"
SIZES = (1, 7, 10**9)
"""Readings a batch; the last is everything at once."""


def cases(config, family):
    """Folders of the cases of a family under `--cases DIR` (default: our copies), with an input of lines."""
    given = config.getoption("--cases", default=None)
    folder = Path(given) if given else GIVEN
    folder = folder / family if (folder / family).is_dir() else folder
    return [
        path.parent
        for path in sorted(folder.glob("*/case.json"))
        if (path.parent / "input.jsonl").is_file() and family_of(json.loads(path.read_text())) == family
    ]


def family_of(case):
    """Whose case it is: Flink's name their version, Quix's their window."""
    return "flink" if "flink_version" in case else "quix" if "duration_ms" in case or "count" in case else ""


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@dataclass
class Run:
    """What came out: each row as a dict with `_at`, the number of the input line (None: at the end of input)."""

    results: dict[str, list[dict]] = field(default_factory=dict)
    raw: dict[str, list[dict]] = field(default_factory=dict)
    late: dict[str, list[dict]] = field(default_factory=dict)
    alerts: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)


def run(tables, codec, lines, size, read_at):
    """Run raw lines (bytes) through an engine of this configuration, so many lines a batch."""
    engine = build_pipeline(Settings(**tables)).engine()
    decoder, scout = (build("codec", "codec", codec) for _ in range(2))
    out = Run()
    for start in range(0, len(lines), size):
        part = lines[start : start + size]
        batch = decoder.decode(part, read_at)
        owner = []  # line of each row: a line with nested lists may be several rows, or none
        for number, line in enumerate(part):
            rows = scout.decode([line], read_at)
            owner += [start + number] * (0 if rows is None else len(rows))
        if batch is None:
            continue
        assert len(batch) == len(owner)
        decisions = engine.process(batch)
        for name, rows in decisions.results.items():
            out.results.setdefault(name, []).extend(plain(engine, name, rows, owner))
            for late in getattr(engine.steps[name], "late", []):
                out.late.setdefault(name, []).extend(plain(engine, name, late, owner))
        for name, rows in decisions.raw.items():
            out.raw.setdefault(name, []).extend(plain(engine, name, rows, owner))
        out.alerts += decisions.alerts
    ending = engine.finish()
    for name, step in engine.steps.items():
        out.results.setdefault(name, []).extend(plain(engine, name, ending.results[name], None))
        out.counts[name] = step.stats()
    for name, rows in ending.raw.items():
        out.raw.setdefault(name, []).extend(plain(engine, name, rows, None))
    return out


def plain(engine, name, rows, owner):
    """Rows as dicts; `owner` is the line of each row of the batch."""
    table = engine.series(name)
    columns = {column: values.tolist() for column, values in rows.values.items()}
    found = []
    for i in range(len(rows)):
        at = None if owner is None else owner[int(rows.at[i])]
        row = {"_at": at, "key": table.name(int(rows.key[i])), "start": int(rows.start[i]), "end": int(rows.end[i])}
        row.update({column: values[i] for column, values in columns.items()})
        row.update({column: text.tolist()[i] for column, text in rows.texts.items()})
        row.update({column: values[i] for column, values in rows.lists.items()})
        found.append(row)
    return found


def close(got, expected, rel, absolute):
    """Whether a number or a list is the expected one, null being NaN."""
    if isinstance(expected, list):
        return list(got) == expected
    if expected is None:
        return math.isnan(got)
    return math.isclose(got, expected, rel_tol=rel, abs_tol=absolute)
