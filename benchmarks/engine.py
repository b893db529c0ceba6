"""Samples per second of `Engine.process`: hopping mean, rolling KL of 50 bins and a threshold, on many machines.

    python -m benchmarks engine [--series 3,100,1000,10000] [--batch 1,100,10000,100000] [--seconds 1.0]

Each machine sends 100 samples a second, the machines in turn and each somewhat later than the one before, so that
windows do not all close at once; values are noise around a level, so the rule raises now and then. A call is timed
alone, after all series have learnt. The figure is that of the median call; of batches below 10,000, of which few close
a window, the median of the means of 100 calls.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from agent.engine.engine import Engine
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from benchmarks.figures import emit
from sensors.batch import Batch

RATE = 100  # samples a second of each machine
TABLES: dict[str, Any] = {
    "agent": {"idle": False},
    "window": {"mean": {"type": "hopping", "metric": "x", "size": "5s", "step": "1s", "emit": "final"}},
    "detector": {"kl": {"type": "kl", "metric": "x", "size": "5s", "step": "1s", "bins": 50, "learn": "2s"}},
    "rule": {"high": {"on": "mean", "when": "mean > 51", "clear": "mean < 50"}},
}


def engine() -> Engine:
    """The engine under test."""
    return build_pipeline(Settings(**TABLES)).engine()


class Stream:
    """Batches of machines that send in turn."""

    def __init__(self, series: int, size: int) -> None:
        self.machines = tuple(f"m{i}" for i in range(series))
        self.series, self.size = series, size
        self.at = 0
        self.step = 10**9 // (RATE * series)
        self.rng = np.random.default_rng(1)
        self.noise = self.rng.normal(50, 5, max(100_000, size) + 9973)

    def batch(self) -> Batch:
        """The next one."""
        number = self.at + np.arange(self.size)
        self.at += self.size
        machine = number % self.series
        event = 1_700_000_000 * 10**9 + number * self.step - machine * (10**9 // self.series)
        first = int(self.rng.integers(0, len(self.noise) - self.size + 1))
        return Batch(
            machines=self.machines,
            machine=machine.astype(np.int32),
            time=event,
            values={"x": self.noise[first : first + self.size]},
            read_at=int(event.max()),
        )


def measure(series: int, size: int, seconds: float) -> tuple[float, Engine]:
    """Seconds of a median call."""
    tested, stream = engine(), Stream(series, size)
    warm, stream.size = stream.size, max(size, min(100_000, series * 100))
    while stream.at < series * RATE * 8:  # learnt, and the first windows are full
        tested.process(stream.batch())
    stream.size = warm
    calls: list[float] = []
    end = time.perf_counter() + seconds
    while len(calls) < 7 or (time.perf_counter() < end and len(calls) < 20_000):
        batch = stream.batch()
        begin = time.perf_counter()
        tested.process(batch)
        calls.append(time.perf_counter() - begin)
    groups = (
        np.array_split(np.array(calls), max(1, len(calls) // 100)) if size < 10_000 else np.array(calls)[:, None]
    )
    return float(np.median([np.mean(group) for group in groups])), tested


def main(argv: list[str]) -> int:
    """Print a line a figure."""
    parser = argparse.ArgumentParser(prog="benchmarks engine", description=__doc__)
    parser.add_argument("--series", default="3,100,1000,10000")
    parser.add_argument("--batch", default="1,100,10000,100000")
    parser.add_argument("--seconds", type=float, default=1.0)
    chosen = parser.parse_args(argv)
    for series in map(int, chosen.series.split(",")):
        for size in map(int, chosen.batch.split(",")):
            took, tested = measure(series, size, chosen.seconds)
            emit("engine", f"samples_per_second.{series}_series.batch_{size}", size / took, "1/s")
            if size == 1:
                emit("engine", f"call.{series}_series.batch_1", took * 1e6, "us")
        parts = (tested.steps["mean"].bytes_a_series, tested.steps["kl"].bytes_a_series)
        emit("engine", f"bytes_per_series.{series}_series", sum(parts), "B", mean=parts[0], kl=parts[1])
    return 0
