"""From JSON lines to results: the four pipelines, patterns on readings, and what each kind of window costs.

Flat JSON as in the peer's runs: a line a topping, or a line a reading. CPU seconds count decoding, keys, windows and
rules; making the lines does not. The peer's figures are given ones (Flink 2.3.0, parallelism 1, the same kind of
input); where Flink is installed (`make test-flink`), `--flink` runs the same rules there, on the same lines.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from agent.offline.flink.script import to_flink
from agent.ops.memory import tune_garbage_collector
from agent.settings.build import build_pipeline
from agent.settings.registry import build
from agent.settings.settings import Settings
from benchmarks.figures import emit
from sensors.drivers.simulated.orders import CUSTOMERS, PROHIBITED, TOPPINGS

PEER = Path(__file__).parents[1] / ".venv-flink" / "bin" / "python"
START = 1_700_000_000_000
CHUNK = 10_000
BAD = "topping in (" + ", ".join(f"'{name}'" for name in PROHIBITED) + ")"
TREND = ["start", "up: > start", "down: (up - down) / up > 30 %"]


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration, the lines it reads (and which of their fields), and Flink's events per CPU second."""

    name: str
    lines: Literal["orders", "toppings", "readings"]
    tables: dict[str, Any]
    flink: float = 0.0


def _counts(size: str) -> dict[str, Any]:
    return {
        "type": "tumbling", "by": ["topping"], "where": BAD, "size": size, "closing": "watermark", "grace": "5s",
        "aggregates": {"nr_orders": "count(*)"},
    }  # fmt: skip


def _window(kind: str, **more: Any) -> dict[str, Any]:
    return {"window": {"w": {"type": kind, "metric": "temp", "aggregates": ["mean"], **more}}}


PIPELINES = [
    Case("filter", "orders", {"rule": {"r": {"type": "filter", "where": BAD}}}, 428_000),
    Case(
        "having",
        "orders",
        {
            "window": {
                "w": {
                    "type": "running",
                    "by": ["id", "name"],
                    "where": BAD,
                    "aggregates": {"n": "count(*)", "toppings": "collect(topping)"},
                }
            },
            "rule": {"r": {"type": "having", "on": "w", "by": ["id", "name"], "when": "n > 3"}},
        },
        200_000,
    ),
    Case(
        "tumbling",
        "toppings",
        {
            "window": {"w": _counts("5s")},
            "rule": {"r": {"type": "filter", "on": "w", "by": ["topping"], "where": "nr_orders > 10"}},
        },
        420_000,
    ),
    Case(
        "trend",
        "toppings",
        {
            "window": {"w": _counts("1s")},
            "rule": {"r": {"type": "pattern", "on": "w", "by": ["topping"], "metric": "nr_orders", "steps": TREND}},
        },
        384_000,
    ),
    Case(
        "tumbling, 1000 keys",
        "readings",
        _window("tumbling", size="5s", closing="watermark", grace="2s"),
        237_000,
    ),
    Case(
        "hopping 10 s / 2 s, 1000 keys",
        "readings",
        _window("hopping", size="10s", step="2s", closing="watermark", grace="2s"),
        169_000,
    ),
    Case(
        "pattern on readings, 1000 keys",
        "readings",
        {"rule": {"r": {"type": "pattern", "metric": "temp", "steps": TREND, "delay": "2s"}}},
        51_000,
    ),
]
WINDOWS = [
    Case("tumbling 5 s", "readings", _window("tumbling", size="5s")),
    Case("hopping 5 s / 1 s", "readings", _window("hopping", size="5s", step="1s")),
    Case("hopping 5 s / 1 s, current", "readings", _window("hopping", size="5s", step="1s", emit="current")),
    Case("cumulate 10 s / 2 s", "readings", _window("cumulate", size="10s", step="2s")),
    Case("sliding 5 s", "readings", _window("sliding", size="5s")),
    Case("count 10", "readings", _window("count", count=10)),
    Case("session 3 s", "readings", _window("session", gap="3s")),
    Case("running", "readings", _window("running")),
]
CODECS: dict[str, dict[str, Any]] = {
    "orders": {"values": ["id"], "texts": ["topping", "name"]},
    "toppings": {"values": ["id"], "texts": ["topping"]},
    "readings": {"values": ["temp"], "machine": "machine"},
}


def toppings(events: int, seed: int = 0) -> Iterator[list[bytes]]:
    """Orders flattened to a line a topping, about 14 an order, 40 orders a second of event time."""
    rng = np.random.default_rng(seed)
    for first in range(0, events, CHUNK):
        row = np.arange(first, min(first + CHUNK, events))
        kind = rng.integers(0, len(TOPPINGS), len(row)).tolist()
        yield [
            orjson.dumps(
                {"ts": START + i // 14 * 25, "topping": TOPPINGS[k], "id": i // 14, "name": CUSTOMERS[i // 14 % 8]}
            )
            for i, k in zip(row.tolist(), kind, strict=True)
        ]


def readings(events: int, keys: int = 1000, seed: int = 0) -> Iterator[list[bytes]]:
    """Temperatures of many machines in turn, one reading a second of each."""
    rng = np.random.default_rng(seed)
    for first in range(0, events, CHUNK):
        row = np.arange(first, min(first + CHUNK, events))
        temp = np.round(rng.normal(70, 15, len(row)), 2).tolist()
        yield [
            orjson.dumps({"ts": START + i * 1000 // keys, "machine": f"m{i % keys}", "temp": t})
            for i, t in zip(row.tolist(), temp, strict=True)
        ]


def measure(case: Case, events: int) -> tuple[float, float, int]:
    """CPU seconds in all, CPU seconds of the engine alone, and rows told."""
    settings = Settings(**{"agent": {"series": 2_000_000, "idle": False, "max_future": False}, **case.tables})
    engine = build_pipeline(settings).engine()
    codec = build("codec", "codec", {"type": "json", "time": "ts", "time_unit": "ms", **CODECS[case.lines]})
    made = readings(events) if case.lines == "readings" else toppings(events)
    total, inside, told = 0.0, 0.0, 0
    for lines in made:
        begin = time.process_time()
        batch = codec.decode(lines, START * 10**6)
        middle = time.process_time()
        if batch is not None:
            decisions = engine.process(batch)
            chosen = decisions.raw if "rule" in case.tables else decisions.results
            told += sum(len(rows) for rows in chosen.values())
        end = time.process_time()
        total += end - begin
        inside += end - middle
    return total, inside, told


def flink(case: Case, events: int) -> dict[str, float]:
    """CPU seconds, seconds and memory (MiB) of real Flink on the same lines, from a file to nowhere."""
    codec = {"type": "json", "time": "ts", "time_unit": "ms", **CODECS[case.lines]}
    source = {"type": "kafka", "servers": "none:1", "topic": "lines", "codec": codec}
    every = {"rule": {"r": {"type": "filter", "on": "w", "where": "true"}}}
    pipeline = build_pipeline(Settings(**{**every, **case.tables, "source": {"lines": source}}))
    with tempfile.TemporaryDirectory() as scratch:
        path, script = Path(scratch, "lines.json"), Path(scratch, "script.json")
        with path.open("wb") as file:
            for lines in readings(events) if case.lines == "readings" else toppings(events):
                file.write(b"\n".join(lines) + b"\n")
        connector = {"connector": "filesystem", "path": str(path), "format": "json"}
        made = to_flink(pipeline, connector, sink={"connector": "blackhole"})
        statements = ["\n".join(line for line in text.splitlines() if line[:2] != "--") for text in made.statements]
        script.write_text(json.dumps([statement.rstrip(";") for statement in statements]))
        done = subprocess.run(
            [PEER, Path(__file__).with_name("peers") / "flink.py", script],
            capture_output=True,
            check=True,
            text=True,
        )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main(argv: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks rules", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--flink", action="store_true", help="measure Flink too (after `make test-flink`)")
    parser.add_argument("--only", default="", help="run the cases whose name contains this")
    options = parser.parse_args(argv)
    tune_garbage_collector()
    for case in PIPELINES:
        if options.only in case.name:
            total, inside, told = measure(case, options.events)
            speed = options.events / total
            more = {"peer": "Flink 2.3.0, given", "peer_value": case.flink, "ratio": speed / case.flink}
            if options.flink:
                peer = flink(case, options.events)
                theirs = options.events / peer["cpu_seconds"]
                more = {"peer": "Flink, this call", "peer_value": theirs, "ratio": speed / theirs}
                emit("rules", f"{case.name}: memory of Flink", peer["memory"], "MiB")
            emit("rules", case.name, options.events / total, "events/CPU s", told=told, **more)
            emit("rules", f"{case.name}: without decoding", options.events / inside, "events/CPU s")
    for case in WINDOWS:
        if options.only in case.name:
            try:
                _, inside, told = measure(case, options.events // 4)
            except Exception as error:  # a kind of window that is not there
                emit("rules", f"window {case.name}", float("nan"), "ns/event", error=str(error)[:80])
                continue
            emit("rules", f"window {case.name}", inside / (options.events // 4) * 1e9, "ns/event", told=told)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    emit(
        "rules", "peak memory of all", peak, "MiB", peer="Flink 2.3.0, given", peer_value=1200.0, ratio=peak / 1200
    )
    return 0
