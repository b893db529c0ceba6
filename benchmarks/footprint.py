"""What the agent costs: time to import, to be ready and to the first window; memory and CPU when little happens.

Ten simulated machines at 10 Hz, hopping mean and rolling KL, a rule, alerts to a file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import emit
from benchmarks.running import ROOT, agent

CONFIGURATION = """
[agent]
site = "plant"
name = "bench"

[source.line]
type = "temperature"
machines = 10
rate = 10
overheating = []

[window.mean_5s]
type = "hopping"
metric = "Temperature_C"
size = "5s"
step = "1s"
emit = "{emit}"
aggregates = ["mean"]

[rule.overheating]
on = "mean_5s"
when = "mean >= {limit}"

[sink.file]
type = "lines"
path = "alerts.jsonl"
"""
DETECTOR = """
[detector.drift]
type = "kl"
metric = "Temperature_C"
size = "20s"
step = "1s"
reference = {{ low = 40, high = 80, counts = [{counts}] }}

[rule.drifting]
on = "drift"
when = "score >= 3"
"""
_PARTS = ("agent.engine.engine", "agent.settings.settings", "agent.runtime.app")


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks footprint", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long CPU is measured")
    options = parser.parse_args(arguments)
    bare = min(_wall("pass") for _ in range(5))
    for part in _PARTS:
        emit("footprint", f"import_{part}", min(_wall(f"import {part}") for _ in range(5)) - bare, "s")
    with agent(CONFIGURATION.format(emit="current", limit=-1000)) as running:
        started = time.perf_counter()
        first = running.ready_seconds + _first_line(running.folder / "alerts.jsonl") - started
        emit("footprint", "ready", running.ready_seconds, "s")
        emit("footprint", "first_window", first, "s")
    with agent(
        CONFIGURATION.format(emit="final", limit=90) + DETECTOR.format(counts=", ".join(["4"] * 52))
    ) as running:
        time.sleep(5)
        before, at = running.cpu_seconds(), time.perf_counter()
        time.sleep(options.seconds)
        used = (running.cpu_seconds() - before) / (time.perf_counter() - at)
        emit("footprint", "cpu_idle", used * 100, "% of a core", machines=10, rate=10)
        emit("footprint", "memory_idle", running.memory(), "MB")
        emit("footprint", "memory_most", running.memory("VmHWM"), "MB")
    return 0


def _wall(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    return time.perf_counter() - started


def _first_line(file: Path) -> float:
    """When the file got its first byte, on the clock of `perf_counter`."""
    for _ in range(10_000):
        if file.exists() and file.stat().st_size:
            return time.perf_counter()
        time.sleep(0.001)
    raise RuntimeError(f"{file}: nothing was written in 10 s")
