"""Faults and what they cost: `python -m benchmarks chaos [FAULT ...]`, one JSON line a fault.

For each fault: alerts raised, lost (wanted 0), repeated under the same id (subscribers drop them), under another id
(wanted 0), time to recover, peak memory.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks.chaos import delivery, outrun, processes
from benchmarks.chaos.tally import Tally

FAULTS: dict[str, Callable[[Path, argparse.Namespace], Coroutine[Any, Any, Tally]]] = {
    "broker-killed": lambda place, options: delivery.broker_killed(place, options.seconds),
    "broker-hangs": lambda place, options: delivery.broker_hangs(place, options.seconds),
    "stall": lambda place, options: delivery.proxied(place, "network stalls", options.seconds),
    "delay": lambda place, options: delivery.proxied(place, "network delays", options.seconds),
    "refuse": lambda place, options: delivery.proxied(place, "connections refused", options.seconds),
    "cut": lambda place, options: delivery.proxied(place, "connection cut in mid-packet", options.seconds),
    "power-cut": lambda place, options: delivery.power_cut(place, options.times),
    "corrupt": lambda place, options: delivery.corrupt_anywhere(place, options.times),
    "disk-full": lambda place, options: delivery.disk_full(place),
    "outrun": lambda place, options: outrun.outrun(place, 200_000),
    "clock": lambda place, options: delivery.clock_steps(place),
    "agent-killed": lambda place, options: processes.killed(place, options.kafka, options.topic, options.kills),
    "sigterm": lambda place, options: processes.stopped_without_broker(place),
    "replug": lambda place, options: processes.replugged(place),
    "crossings": lambda place, options: processes.crossings(place),
    "machine-ids": lambda place, options: processes.machine_ids(place),
    "thousand": lambda place, options: asyncio.to_thread(delivery.thousand_agents),
}


def main(argv: list[str]) -> int:
    """Run the faults asked for; exit code 1 if an alert was lost or came under another id."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks chaos", description=__doc__)
    parser.add_argument("faults", nargs="*", default=[], help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long brokers and networks fail")
    parser.add_argument("--times", type=int, default=200, help="how often power is cut, files are damaged")
    parser.add_argument("--kafka", default="", help="HOST:PORT, for agent-killed: its readings come from there")
    parser.add_argument("--topic", default="chaos", help="an empty topic (default: %(default)s-TIME)")
    parser.add_argument("--kills", type=int, default=200, help="how often the agent is killed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.topic = f"{options.topic}-{time.time_ns()}" if options.topic == "chaos" else options.topic
    unknown = set(options.faults) - FAULTS.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if options.here:
        return _run(options.faults[0], options)
    failed = 0
    for name in options.faults or FAULTS:
        if name == "agent-killed" and not options.kafka:
            print("agent-killed needs --kafka HOST:PORT; left out", file=sys.stderr)
            continue
        rest = [argument for argument in argv if argument not in options.faults]
        command = [sys.executable, "-m", "benchmarks", "chaos", name, "--here", *rest]
        failed += subprocess.run(command, check=False).returncode != 0  # a process each: memory is its own
    return 1 if failed else 0


def _run(name: str, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as directory:
        tally = asyncio.run(FAULTS[name](Path(directory), options))
    print(tally.line(), flush=True)
    return 1 if tally.lost or tally.other_id else 0
