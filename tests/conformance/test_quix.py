"""Windows as Quix Streams has them: every emission, every window refused to a late reading."""

from __future__ import annotations

import json

from tests.conformance.harness import SIZES, cases, close, read_lines, run

MS = 1_000_000


def pytest_generate_tests(metafunc):
    chosen = cases(metafunc.config, "quix")
    metafunc.parametrize("folder", chosen, ids=[case.name for case in chosen])
    metafunc.parametrize("size", SIZES, ids=["one", "seven", "all"])


def tables(case):
    """The case as a configuration."""
    window = {
        "type": case["window"],
        "metric": "value",
        "aggregates": [case["aggregate"]],
        "emit": case["emit"],
    }
    if case["window"] == "count":
        window["count"] = case["count"]
        window["step"] = case.get("step_count") or case["count"]
    else:
        window["size"] = f"{case['duration_ms']}ms"
        window["grace"] = f"{case.get('grace_ms') or 0}ms"
        window["emit_late"] = True
        if "step_ms" in case:
            window["step"] = f"{case['step_ms']}ms"
        if case["window"] != "sliding":
            window["closing"] = case.get("closing_strategy", "key")
    found = {"agent": {"idle": False}, "window": {"w": window}}
    if "pipeline" in case:
        digits = case["pipeline"]["round"]
        limit = case["pipeline"]["alert_when"].split(" on ")[0]
        found["rule"] = {"hot": {"on": "w", "when": f"round({case['aggregate']}, {digits}) {limit}", "mode": "raw"}}
    return found


def test_quix(folder, size):
    case = json.loads((folder / "case.json").read_text())
    lines = (folder / "input.jsonl").read_bytes().splitlines()
    codec = {
        "type": "json",
        "machine": "key",
        "time": "timestamp_ms",
        "time_unit": "ms",
        "earliest": "1970-01-01T00:00:00Z",
        "values": ["value"],
    }
    read_at = max((json.loads(line)["timestamp_ms"] for line in lines), default=0) * MS
    out = run(tables(case), codec, lines, size, read_at)
    name = case["aggregate"]
    got = [(row["_at"], row["key"][0], row["start"], row["end"], row[name]) for row in out.results["w"]]
    got = [row for row in got if row[0] is not None]  # what is open at the end stays open in Quix
    expected = [
        (row["input_index"], row["key"], row["start"] * MS, row["end"] * MS, row["value"])
        for row in read_lines(folder / "expected.jsonl")
    ]
    if case["order_within_event"] != "as listed":
        got.sort(key=lambda row: row[:4])
        expected.sort(key=lambda row: row[:4])
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    tolerance = case["tolerance"]["rel"], case["tolerance"]["abs"]
    wrong = [(a, b[4]) for a, b in zip(got, expected, strict=True) if not close(a[4], b[4], *tolerance)]
    assert not wrong
    late = [(row["_at"], row["start"], row["end"]) for row in out.late.get("w", [])]
    refused = read_lines(folder / "late.jsonl")
    assert late == [(row["input_index"], row["start"] * MS, row["end"] * MS) for row in refused]
    if case.get("closing_strategy") == "key":
        by = [round(row["late_by"] * 1000) for row in out.late.get("w", [])]
        assert by == [row["late_by_ms"] for row in refused]
    if "pipeline" in case:
        alerts = [(row["_at"], row["key"][0], round(row["mean"], 2), row["start"]) for row in out.raw["hot"]]
        assert alerts == [
            (row["input_index"], row["key"], row["value"], row["timestamp_ms"] * MS)
            for row in read_lines(folder / "alerts.jsonl")
        ]
