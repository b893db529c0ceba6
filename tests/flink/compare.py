"""`make test-flink`: the SQL that `agent rules to-flink` writes, run by real Flink on the conformance inputs.

    python -m tests.flink.compare FLINK_PYTHON [--cases DIR] [name ...]

Each case is made a configuration (as in tests/conformance), that is made SQL, and the rows of local Flink are
compared with what the case expects.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from agent.offline.flink.script import to_flink
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from tests.conformance import flink_cases, test_flink_windows
from tests.conformance.harness import GIVEN, read_lines


def script(folder, case):
    """Statements for a case; the last is the query of its rule or window."""
    query = folder / "query.sql"
    sql = query.read_text() if query.is_file() else ""
    lines = (folder / "input.jsonl").read_bytes().splitlines()
    window = case["rule"]["type"] == "window"
    tables = test_flink_windows.tables(case) if window else flink_cases.tables(case, sql)
    codec = flink_cases.codec(case, lines)
    if "explode" in case["rule"]:
        codec["values"] = [name for name in codec["values"] if name != case["time"]["ts_field"]]
    tables["source"] = {"lines": {"type": "kafka", "servers": "none:1", "topic": "lines", "codec": codec}}
    if window and "having" not in case["rule"]:
        tables["rule"] = {"all": {"type": "filter", "on": "w", "where": "true", "by": case["rule"]["group_by"]}}
    connector = {"connector": "filesystem", "path": str((folder / "input.jsonl").resolve()), "format": "json"}
    made = to_flink(build_pipeline(Settings(**tables)), connector, insert=False)
    return [
        "\n".join(line for line in text.splitlines() if not line.startswith("--")).rstrip(";")
        for text in made.statements
    ]


def differences(folder, case, rows):
    """What real Flink gave otherwise than the case expects, as sentences."""
    if isinstance(rows, str):
        return [rows.strip().splitlines()[-1][:300]]
    names = {"ts": "rt", "timestamp": "rt", "orderTimestamp": "rt"}
    changes = folder / case["expected"].get("changelog_file", "expected.jsonl")
    wanted, got = {}, {}
    keys = [name for name in case["key"] if name in rows[0][1]] if rows else case["key"]
    columns = [
        name
        for name in case["expected"]["columns"]
        if rows and (name in rows[0][1] or names.get(name) in rows[0][1])
    ]
    shifted = flink_cases.window_times(
        case, (folder / "query.sql").read_text() if (folder / "query.sql").is_file() else ""
    )
    for row in read_lines(changes):
        told = [row.get("_kind", "+I"), *(shown(row[name]) for name in columns)]
        wanted.setdefault(tuple(str(shown(row[name])) for name in keys), []).append(told)
    for kind, row in rows:
        values = [shown(row.get(name, row.get(names.get(name))), shift=name in shifted) for name in columns]
        got.setdefault(tuple(str(shown(row[name])) for name in keys), []).append([kind, *values])
    found = [
        f"key {key}: wanted {wanted.get(key)}, got {got.get(key)}"
        for key in wanted.keys() | got.keys()
        if not alike(wanted.get(key), got.get(key))
    ]
    missing = set(case["expected"]["columns"]) - set(columns)
    return found + (
        [f"columns not compared: {sorted(missing)}"] if missing - set(case["key"]) and not columns else []
    )


def shown(value, shift=False):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return round(float(value) - shift, 6)


def alike(a, b):
    if a is None or b is None or len(a) != len(b):
        return False
    return all(
        x == y or (isinstance(x, float) and isinstance(y, float) and abs(x - y) <= 1e-6 * max(1, abs(x)))
        for left, right in zip(a, b, strict=True)
        for x, y in zip(left, right, strict=True)
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--cases", type=Path, default=GIVEN / "flink")
    options = parser.parse_args()
    folders = [path.parent for path in sorted(options.cases.glob("*/case.json"))]
    folders = [
        folder for folder in folders if not options.names or any(folder.name.startswith(n) for n in options.names)
    ]
    cases = {folder.name: json.loads((folder / "case.json").read_text()) for folder in folders}
    with tempfile.TemporaryDirectory() as scratch:
        scripts, rows = Path(scratch, "scripts.json"), Path(scratch, "rows.json")
        made, failed = {}, 0
        for folder in folders:
            try:
                made[folder.name] = script(folder, cases[folder.name])
            except Exception as error:
                print(f"{folder.name}: no SQL: {error}")
                failed += 1
        scripts.write_text(json.dumps(made))
        runner = [options.python, str(Path(__file__).with_name("run_sql.py")), str(scripts), str(rows)]
        subprocess.run(runner, check=True, timeout=900, stdout=subprocess.DEVNULL)
        results = json.loads(rows.read_text())
    for folder in folders:
        if folder.name not in made:
            continue
        wrong = differences(folder, cases[folder.name], results[folder.name])
        failed += bool(wrong)
        print(f"{folder.name}: {'the same' if not wrong else 'OTHERWISE'}")
        for sentence in wrong[:3]:
            print(f"    {sentence[:600]}")
    print(f"{len(folders) - failed} of {len(folders)} cases the same in real Flink")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
