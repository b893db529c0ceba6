"""Speed and memory of every detector of the registry at 1, 100 and 10,000 series, beside River and PySAD.

`batch`: samples a second in batches of 1,000 rows a series (100 at 100 series, 2 at 10,000), after they have learnt;
    series began at different times, so that their states are not in step. A sample is a number: a row of eight
    columns is eight.
`call`: microseconds a call of one row. Peers take one row a call of one series (`make bench-peers` installs them).
`1,000 series at 10 Hz`: what that costs of a core, one row a machine a call, detector by detector and all together;
    a series is one number of a machine, so it is 125 machines where a row has eight.
All by CPU time of one process.
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

from agent.settings.registry import build
from benchmarks.detector_cases import CASES, WAVE, Case, rows_of
from benchmarks.figures import emit

PEER = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"


def fresh(case: Case) -> Any:
    """The detector of a case, new."""
    detector = build("detector", f"detector.{case.type}", case.table)
    if case.taught:
        windows = [rows_of(case, 1, detector.window, 7 * i, i).values["x0"] for i in range(case.taught)]
        detector.fit(np.array(windows))
    return detector


def warmed(case: Case, series: int) -> Any:
    """A detector that has learnt; ten thousand series are a hundred, a hundred times over."""
    few = min(series, 100)
    detector = _learnt(case, few)
    if few == series:
        return detector
    tiled, state = fresh(case), detector.extract(np.arange(few))
    tiled.grow(series)
    for begin in range(0, series, few):
        tiled.merge(np.arange(begin, begin + few), state)
    tiled.process(rows_of(case, series, 1, case.warm, 0))
    return tiled


def _learnt(case: Case, series: int) -> Any:
    """A detector that has seen rows 0 to `warm` of each series, but for those before the series began."""
    detector = fresh(case)
    for begin in range(0, case.warm, 50):
        rows = rows_of(case, series, 50, begin, begin)
        number = (rows.end - 10**18) // 10**8
        late = number < rows.key * 37 % case.stagger
        detector.process(rows.take(~late) if late.any() else rows)
    detector.process(rows_of(case, series, 1, case.warm, 0))
    return detector


def timed(case: Case, series: int, each: int, budget: float) -> tuple[float, float]:
    """Samples a second and seconds a call, by CPU time, in calls of `each` rows a series, for about `budget` seconds."""
    detector = warmed(case, series)
    spent, calls = 0.0, 0
    while spent < budget:
        rows = rows_of(case, series, each, case.warm + 1 + calls * each, calls)
        begun = process_time()
        detector.process(rows)
        spent += process_time() - begun
        calls += 1
    return calls * series * each * case.sensors / spent, spent / calls


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
    labels = [case.label for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks detectors", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="about how long each figure is measured")
    parser.add_argument("--only", nargs="*", choices=labels, default=labels)
    options = parser.parse_args(argv)
    begun = perf_counter()
    theirs = peers(options.seconds)
    for name, value in theirs.items():
        emit("detectors", f"peer {name}", value, "samples/s")
    load = {case.label: _figures(case, theirs, options.seconds) for case in CASES if case.label in options.only}
    waves = sum(load.get(case.label, 0.0) for case in CASES if case.signal == WAVE)
    whole = {"all but those for waveforms": sum(load.values()) - waves, "all": sum(load.values())}
    for name, share in whole.items():
        emit("detectors", f"{name}, 1,000 series at 10 Hz", 100 * share, "% of a core")
    print(f"took {perf_counter() - begun:.0f} s", file=sys.stderr)
    return 0


def _figures(case: Case, theirs: dict[str, float], seconds: float) -> float:
    """Print what there is to say of a case; the share of a core that it takes for 1,000 series at 10 Hz."""
    beside = {"peer": case.peer, "peer_value": theirs[case.peer]} if case.peer in theirs else {}
    for series in (1, 100, 10_000):
        each = {1: 1000, 100: 100}.get(series, 2)
        speed, _ = timed(case, series, each, seconds)
        ratio = {"ratio": speed / theirs[case.peer]} if beside else {}
        emit("detectors", f"{case.label} batch, {series} series", speed, "samples/s", **beside, **ratio)
    _, call = timed(case, 1, 1, seconds)
    emit("detectors", f"{case.label} call", 1e6 * call, "us")
    _, call = timed(case, 1000 // case.sensors, 1, seconds)
    emit("detectors", f"{case.label} 1,000 series at 10 Hz", 1000 * call, "% of a core")
    emit("detectors", f"{case.label} memory", warmed(case, 1).bytes_a_series, "bytes/series")
    return 10 * call
