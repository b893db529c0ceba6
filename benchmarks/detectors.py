"""Speed and memory of the metric detectors at 1, 100 and 10,000 series, beside River and PySAD.

`batch`: samples a second in batches of 1,000 rows a series (100 at 100 series, 2 at 10,000); `live`: one row a
    series a call;
`call`: microseconds a call of one row. Peers take one value a call of one series (`make bench-peers` installs
    them).
`share of a core`: what 1,000 series at 10 Hz cost, one row a series a call, detector by detector and all together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from agent.components import build
from agent.rows import Rows
from benchmarks.figures import emit

PEER = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"

DETECTORS = ("ewma", "cusum", "page_hinkley", "robust_z", "spatial", "seasonal", "spike", "noise_burst", "stuck",
             "neighbour", "calibrated", "combined", "auto")  # fmt: skip

COUNTERPARTS = {
    "ewma": "GaussianScorer", "cusum": "ADWIN", "page_hinkley": "PageHinkley", "robust_z": "RollingQuantile + MAD",
    "spatial": "HalfSpaceTrees", "seasonal": "HalfSpaceTrees", "spike": "GaussianScorer", "noise_burst": "KSWIN",
    "neighbour": "PySAD KNNCAD", "combined": "HalfSpaceTrees", "auto": "PySAD xStream",
}  # fmt: skip
"""Which peer does a like thing."""


def rows_of(series: int, each: int, begin: int, seed: int) -> Rows:
    """`each` rows of each series, in order of time."""
    n = series * each
    time = 10**18 + 10**8 * (begin + np.repeat(np.arange(each), series))
    values = {"x": np.random.default_rng(seed).normal(0, 1, n), "y": np.zeros(n)}
    return Rows(np.tile(np.arange(series), each), time, time, np.arange(n), values, int(time[-1]))


def timed(detector: Any, series: int, each: int, budget: float) -> tuple[float, float]:
    """Samples a second and seconds a call, by CPU time, in calls of `each` rows a series, for about `budget` seconds."""
    detector.process(rows_of(series, max(each, 200) if series <= 1000 else each, 0, 0))
    spent, calls = 0.0, 0
    while spent < budget:
        rows = rows_of(series, each, 1000 + calls * each, calls)
        begun = process_time()
        detector.process(rows)
        spent += process_time() - begun
        calls += 1
    return calls * series * each / spent, spent / calls


def peers(seconds: float) -> dict[str, float]:
    """Samples a second of each peer; empty where they are not installed."""
    python = Path(os.environ.get("PEERS_PYTHON", PEER))
    if not python.exists():
        print("River and PySAD are not installed; `make bench-peers` does it", file=sys.stderr)
        return {}
    script = Path(__file__).parent / "peers" / "streaming.py"
    done = subprocess.run(
        [python, script, "20000", str(seconds)], capture_output=True, text=True, timeout=300, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        if "error" in line:
            print(f"{line['detector']}: {line['error']}", file=sys.stderr)
    return {line["detector"]: line["rate"] for line in lines if "rate" in line}


def main(argv: Sequence[str]) -> int:
    """`python -m benchmarks detectors [--seconds S] [--only NAME ...]`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks detectors", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="about how long each figure is measured")
    parser.add_argument("--only", nargs="*", choices=DETECTORS, default=DETECTORS)
    options = parser.parse_args(argv)
    begun = perf_counter()
    theirs = peers(options.seconds)
    for name, value in theirs.items():
        emit("detectors", f"peer {name}", value, "samples/s")
    load = 0.0
    for name in options.only:

        def fresh(name: str = name) -> Any:
            return build("detector", f"detector.{name}", {"type": name, "metric": "x"})

        peer = COUNTERPARTS.get(name)
        beside = {"peer": peer, "peer_value": theirs[peer]} if peer in theirs else {}
        for series in (1, 100, 10_000):
            each = {1: 1000, 100: 100}.get(series, 2)
            speed, _ = timed(fresh(), series, each, options.seconds)
            ratio = {"ratio": speed / theirs[peer]} if peer in theirs else {}
            emit("detectors", f"{name} batch, {series} series", speed, "samples/s", **beside, **ratio)
        speed, call = timed(fresh(), 1, 1, options.seconds)
        emit("detectors", f"{name} call", 1e6 * call, "us")
        _, call = timed(fresh(), 1000, 1, options.seconds)
        load += 10 * call
        emit("detectors", f"{name} 1,000 series at 10 Hz", 1000 * call, "% of a core")
        emit("detectors", f"{name} memory", fresh().bytes_a_series, "bytes/series")
    emit(
        "detectors",
        "all of these, 1,000 series at 10 Hz",
        100 * load,
        "% of a core",
        seconds=perf_counter() - begun,
    )
    return 0
