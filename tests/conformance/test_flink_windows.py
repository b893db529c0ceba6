"""Windows as Flink SQL has them: every row, and the event after which it comes."""

from __future__ import annotations

import json

from tests.conformance.harness import SIZES, cases, close, read_lines, run

MS = 1_000_000
KINDS = {"tumble": "tumbling", "hop": "hopping", "cumulate": "cumulate", "session": "session"}
LENGTHS = {"size_ms": "size", "slide_ms": "step", "step_ms": "step", "gap_ms": "gap", "offset_ms": "offset"}


def pytest_generate_tests(metafunc):
    chosen = [
        folder
        for folder in cases(metafunc.config, "flink")
        if json.loads((folder / "case.json").read_text())["rule"]["type"] == "window"
    ]
    metafunc.parametrize("folder", chosen, ids=[case.name for case in chosen])
    metafunc.parametrize("size", SIZES, ids=["one", "seven", "all"])


def condition(where):
    """A filter of a case in our language."""
    for word in ("any", "all"):
        if word in where:
            return f" {'or' if word == 'any' else 'and'} ".join(condition(part) for part in where[word])
    name = where["field"]
    if "in" in where:
        return f"{name} in ({', '.join(json.dumps(word, ensure_ascii=False) for word in where['in'])})"
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "=", "ne": "!="}
    (word,) = (word for word in signs if word in where)
    return f"{name} {signs[word]} {where[word]}"


def tables(case):
    """The case as a configuration."""
    rule = case["rule"]
    window = {
        "type": KINDS[rule["window"]["kind"]],
        "aggregates": rule["agg"],
        "emit": "final",
        "closing": "watermark",
        "grace": f"{case['time']['watermark_delay_ms']}ms",
        "by": rule["group_by"],
        **{LENGTHS[name]: f"{length}ms" for name, length in rule["window"].items() if name in LENGTHS},
    }
    if "where" in rule:
        window["where"] = condition(rule["where"])
    found = {"agent": {"idle": False}, "window": {"w": window}}
    if "having" in rule:
        found["rule"] = {"having": {"on": "w", "when": rule["having"], "mode": "raw"}}
    return found


def codec(case, line):
    """How its lines are read, given the first."""
    found = {"type": "json", "time": case["time"]["ts_field"], "time_unit": "ms"}
    if "machine" in json.loads(line):
        found["machine"] = "machine"
    if "explode" in case["rule"]:
        found["explode"] = case["rule"]["explode"]
    return found


def test_flink_windows(folder, size):
    case = json.loads((folder / "case.json").read_text())
    lines = (folder / "input.jsonl").read_bytes().splitlines()
    read_at = max(json.loads(line)[case["time"]["ts_field"]] for line in lines) * MS
    out = run(tables(case), codec(case, lines[0]), lines, size, read_at)
    rows = out.results["w"]
    if "having" in case["rule"]:
        passed = {(row["key"], row["start"], row["end"]) for row in out.raw.get("having", [])}
        rows = [row for row in rows if (row["key"], row["start"], row["end"]) in passed]
    group = case["rule"]["group_by"]
    got, expected = {}, {}
    for row in rows:
        got.setdefault(row["key"], []).append(row)
    for row in read_lines(folder / "expected.jsonl"):
        expected.setdefault(tuple(row[name] for name in group), []).append(row)
    assert got.keys() == expected.keys()
    for key in expected:
        assert [(row["start"], row["end"], row["_at"]) for row in got[key]] == [
            (row["window_start"] * MS, row["window_end"] * MS, row["_after_event"]) for row in expected[key]
        ]
        for a, b in zip(got[key], expected[key], strict=True):
            wrong = [name for name in case["rule"]["agg"] if not close(a[name], b[name], 1e-9, 1e-9)]
            assert not wrong, (a, b)
    late = sum(case.get("late_records_dropped", {}).values())
    assert out.counts["w"].late == late
