"""Windows as Flink SQL has them: every row, and the event after which it comes."""

from __future__ import annotations

import json

from tests.conformance.flink_cases import KINDS, LENGTHS, codec, condition
from tests.conformance.harness import SIZES, cases, close, read_lines, run

MS = 1_000_000


def pytest_generate_tests(metafunc):
    chosen = [
        folder
        for folder in cases(metafunc.config, "flink")
        if json.loads((folder / "case.json").read_text())["rule"]["type"] == "window"
    ]
    metafunc.parametrize("folder", chosen, ids=[case.name for case in chosen])
    metafunc.parametrize("size", SIZES, ids=["one", "seven", "all"])


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


def test_flink_windows(folder, size):
    case = json.loads((folder / "case.json").read_text())
    lines = (folder / "input.jsonl").read_bytes().splitlines()
    read_at = max(json.loads(line)[case["time"]["ts_field"]] for line in lines) * MS
    out = run(tables(case), codec(case, lines), lines, size, read_at)
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
    assert out.counts["w"]["late"] == late
