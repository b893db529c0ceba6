"""Filters, running aggregates with HAVING, and patterns as Flink SQL has them: every row, and after which event."""

from __future__ import annotations

import json
import math

from agent.settings.build import build_pipeline
from agent.settings.registry import build
from agent.settings.settings import Settings
from tests.conformance.flink_cases import aliases, codec, tables, window_times
from tests.conformance.harness import SIZES, cases, read_lines

MS = 1_000_000


def pytest_generate_tests(metafunc):
    chosen = [
        folder
        for folder in cases(metafunc.config, "flink")
        if json.loads((folder / "case.json").read_text())["rule"]["type"] in ("filter", "aggregate", "trend")
    ]
    metafunc.parametrize("folder", chosen, ids=[case.name for case in chosen])
    metafunc.parametrize("size", SIZES, ids=["one", "seven", "all"])


def run(tables, codec, lines, size, read_at):
    """Raw rows of rule `r` as dicts, with the line after which each came; None at the end of input."""
    engine = build_pipeline(Settings(**tables)).engine()
    decoder, scout = (build("codec", "codec", codec) for _ in range(2))
    found = []
    for start in range(0, len(lines), size):
        part = lines[start : start + size]
        owner = []
        for number, line in enumerate(part):
            rows = scout.decode([line], read_at)
            owner += [start + number] * (0 if rows is None else len(rows))
        batch = decoder.decode(part, read_at)
        if batch is not None:
            assert len(batch) == len(owner)
            found += told(engine, engine.process(batch).raw.get("r"), owner)
    return found + told(engine, engine.finish().raw.get("r"), None), engine


def told(engine, rows, owner):
    if rows is None:
        return []
    columns = {name: column.tolist() for name, column in rows.values.items()}
    columns |= {name: column.tolist() for name, column in rows.texts.items()}
    columns |= {name: list(column) for name, column in rows.lists.items()}
    series = engine.series("r")
    return [
        {
            **{name: column[i] for name, column in columns.items()},
            **dict(zip(series.by, series.name(int(rows.key[i])), strict=True)),
            "_time": int(rows.end[i]),
            "_after_event": None if owner is None else owner[int(rows.at[i])],
        }
        for i in range(len(rows))
    ]


def shown(value):
    """A value as Flink's sink writes it."""
    if isinstance(value, tuple):
        return ",".join(str(int(x)) if isinstance(x, float) and x.is_integer() else str(x) for x in value)
    return None if isinstance(value, float) and math.isnan(value) else value


def agrees(got, wanted):
    """Times in ms, numbers within 1e-9, keys as text."""
    if isinstance(got, float) and isinstance(wanted, int | float):
        got = got / MS if got > 1e15 else got  # a time, in ns
        return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-3 if wanted > 1e11 else 1e-9)
    return str(got) == str(wanted) if wanted is not None else got is None


def test_flink_rules(folder, size):
    case = json.loads((folder / "case.json").read_text())
    query = folder / "query.sql"
    sql = query.read_text() if query.is_file() else ""
    lines = (folder / "input.jsonl").read_bytes().splitlines()
    time = case["time"]["ts_field"]
    read_at = max(json.loads(line)[time] or 0 for line in lines) * MS
    configured = tables(case, sql)
    found, engine = run(configured, codec(case, lines), lines, size, read_at)
    changes = folder / case["expected"].get("changelog_file", "expected.jsonl")
    expected = read_lines(changes)
    kinds = [row.get("_kind", "+I") for row in expected]
    got, wanted = {}, {}
    names = aliases(case)
    for row in found:
        got.setdefault(tuple(str(row[names.get(name, name)]) for name in case["key"]), []).append(row)
    for row, kind in zip(expected, kinds, strict=True):
        wanted.setdefault(tuple(str(row[name]) for name in case["key"]), []).append((row, kind))
    assert got.keys() == wanted.keys()
    ends = window_times(case, sql)
    late_time = "_time" if case["rule"]["type"] == "filter" else None
    for key, rows in wanted.items():
        assert len(got[key]) == len(rows), key
        for mine, (theirs, kind) in zip(got[key], rows, strict=True):
            assert mine["_after_event"] == theirs["_after_event"]
            assert mine.get("retract", 0.0) == (kind in ("-U", "-D"))
            for name in case["expected"]["columns"]:
                value = shown(mine.get(names.get(name, name), mine.get(name)))
                if value is None and late_time and name == time:
                    value = mine["_time"] / MS
                if name in ends:
                    value -= MS
                assert agrees(value, theirs[name]), (name, mine, theirs)
    late = [count for name, count in case.get("late_records_dropped", {}).items() if name.startswith("Match")]
    if late:
        assert engine.rules["r"].late == sum(late)
