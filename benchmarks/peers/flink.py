"""Runs in the environment that has apache-flink: one script to a blackhole, and the CPU seconds of its JVM.

    python flink.py script.json

script.json is a list of statements; the last is the INSERT. Prints one JSON object: cpu_seconds, seconds, memory (MiB).
"""

import json
import os
import sys
import time
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment


def java_cpu():
    """CPU seconds and peak memory (MiB) of the JVM, a child of this process."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
            if "(java)" in text:
                status = (stat.parent / "status").read_text()
                fields = text.rpartition(")")[2].split()
                peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
                mine = int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid")))
                if mine in family():
                    return (int(fields[11]) + int(fields[12])) / 100, peak / 1024
        except (OSError, StopIteration):
            continue
    return 0.0, 0.0


def family():
    """This process and its children."""
    return {os.getpid(), *map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        statements = json.load(file)
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for name, value in {"parallelism.default": "1", "table.local-time-zone": "UTC"}.items():
        tables.get_config().set(name, value)
    for statement in statements[:-1]:
        if not statement.startswith("SET"):
            tables.execute_sql(statement)
    before, _ = java_cpu()
    begin = time.perf_counter()
    tables.execute_sql(statements[-1]).wait()
    seconds = time.perf_counter() - begin
    after, memory = java_cpu()
    print(json.dumps({"cpu_seconds": after - before, "seconds": seconds, "memory": memory}))


main()
