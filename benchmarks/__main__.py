"""`python -m benchmarks NAME [options]`: run one benchmark, print JSON lines."""

from __future__ import annotations

import importlib
import sys

from agent.ops.memory import keep_freed_memory

BENCHMARKS = {
    "engine": "benchmarks.engine",
    "tutorial": "benchmarks.tutorial",
    "kafka": "benchmarks.kafka",
    "latency": "benchmarks.latency",
    "footprint": "benchmarks.footprint",
    "codecs": "benchmarks.codecs",
    "rules": "benchmarks.rules",
    "voltage": "benchmarks.voltage",
    "nab": "benchmarks.nab",
    "skab": "benchmarks.skab",
    "detectors": "benchmarks.detectors",
    "outbox": "benchmarks.outbox",
    "checkpoint": "benchmarks.checkpoint",
    "chaos": "benchmarks.chaos",
}


def main() -> int:
    """Run the benchmark named by the first argument."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        print(f"usage: python -m benchmarks NAME [options]\nnames: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    keep_freed_memory()  # as the agent does
    code: int = importlib.import_module(BENCHMARKS[sys.argv[1]]).main(sys.argv[2:]) or 0
    return code


if __name__ == "__main__":
    raise SystemExit(main())
