"""What saving the state costs: how long the loop waits for it, memory, bytes of flash, and the time to go on from it.

python -m benchmarks checkpoint [--parts stall,wear] [--series 100000]

stall   100,000 series of mean + rule, and of KL, all changed: the longest that a task which wants to run each
        millisecond waits while they are saved, and how much of that is processor time of the loop (the rest is
        other threads and processes); peak memory while saving; a call on 100 readings while it is saved and while
        not; seconds to go on from it
wear    1,000 series at 10 Hz with `auto`: bytes of a save after ten minutes in which all machines sent, and after
        one in which 1 % did; what that makes a day with the default settings
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.engine.engine import Engine
from agent.ops.memory import tune_garbage_collector
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from agent.storage.checkpoint import CheckpointStore
from benchmarks.figures import emit
from sensors.batch import Batch

SECOND = 10**9
START = 1_700_000_000 * SECOND
WINDOW = {"mean": {"type": "hopping", "metric": "x", "size": "5s", "step": "1s"}}
STATES: dict[str, dict[str, Any]] = {
    "mean and rule": {
        "window": WINDOW,
        "rule": {"high": {"on": "mean", "when": "mean > 51", "clear": "mean < 50"}},
    },
    "kl": {
        "detector": {"kl": {"type": "kl", "metric": "x", "size": "5s", "step": "1s", "bins": 50, "learn": "2s"}}
    },
}
AUTO: dict[str, Any] = {"detector": {"auto": {"type": "auto", "metric": "x"}}}
DEFAULT = Settings().agent


def engine(tables: dict[str, Any], series: int) -> Engine:
    """An engine with room for so many series."""
    return build_pipeline(Settings(agent={"idle": False, "series": series}, **tables)).engine()


class Stream:
    """Readings of machines in turn."""

    def __init__(self, machines: int, rate: float) -> None:
        self.names, self.rng = tuple(f"machine-{n}" for n in range(machines)), np.random.default_rng(1)
        self.step, self.at = int(SECOND / rate / machines), 0

    def batch(self, size: int, of: np.ndarray[Any, Any] | None = None) -> Batch:
        """The next `size` readings, of all machines or of these in turn."""
        number = self.at + np.arange(size)
        self.at += size
        who = number % len(self.names) if of is None else of[number % len(of)]
        time_ = START + number * self.step
        values = {"x": self.rng.normal(50, 5, size)}
        return Batch(self.names, who.astype(np.int32), time_, values, int(time_[-1]))


class Ticker:
    """A task that wants to run each millisecond, while a block runs; how long it had to wait, s.

    Attributes:
        waits: by the clock; other processes on a busy machine are in it.
        holds: processor time that the loop's thread took in between.
    """

    async def __aenter__(self) -> Ticker:
        self.waits: list[float] = []
        self.holds: list[float] = []
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0.01)
        return self

    async def _tick(self) -> None:
        while True:
            begin, held = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.waits.append(time.perf_counter() - begin - 0.001)
            self.holds.append(time.thread_time() - held)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()


async def decide(tested: Engine, stream: Stream, until: asyncio.Future[Any] | None, most: int) -> float:
    """Seconds of a median call on 100 readings, one call after the other until that is done."""
    calls: list[float] = []
    while len(calls) < most and not (until is not None and until.done()):
        batch = stream.batch(100)
        begin = time.perf_counter()
        tested.process(batch)
        calls.append(time.perf_counter() - begin)
        await asyncio.sleep(0)
    return float(np.median(calls))


class Memory:
    """Peak of the process's own memory while a block runs, bytes."""

    def __enter__(self) -> Memory:
        self.before = self.most = _resident()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._end.wait(0.002):
            self.most = max(self.most, _resident())

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def stall(options: argparse.Namespace, folder: Path) -> None:
    """Measure the first part."""
    for name, tables in STATES.items():
        tested, stream = engine(tables, options.series), Stream(options.series, 100.0)
        for _ in range(options.rounds):  # KL has learnt
            tested.process(stream.batch(options.series))
        store = CheckpointStore(folder / name)

        async def saved(store: CheckpointStore = store, tested: Engine = tested) -> int:
            return await store.begin(tested.tracked(), {"engine": tested.common()}).write()

        more: dict[str, Any] = {"state": name, "series": options.series}
        for number in range(3):
            tested.process(stream.batch(options.series))
            with Memory() as memory:
                begin = time.perf_counter()
                async with Ticker() as ticker:
                    size = await saved()
                took = time.perf_counter() - begin
            more["save"] = number + 1
            emit("checkpoint", "loop_wait", max(ticker.waits) * 1000, "ms", **more)
            emit("checkpoint", "loop_held", max(ticker.holds) * 1000, "ms", **more)
            emit("checkpoint", "save", took, "s", **more)
            emit("checkpoint", "bytes", size / 1e6, "MB", **more)
            emit("checkpoint", "memory", memory.most / memory.before, "x", before=memory.before / 1e6, **more)
        alone = await decide(tested, stream, None, 300)
        tested.process(stream.batch(options.series))
        saving = asyncio.create_task(saved())
        await asyncio.sleep(0)
        emit("checkpoint", "call", await decide(tested, stream, saving, 100_000) * 1000, "ms", saving=True, **more)
        emit("checkpoint", "call", alone * 1000, "ms", saving=False, **more)
        await saving
        again = engine(tables, options.series)
        begin = time.perf_counter()
        checkpoint = CheckpointStore(folder / name).load()
        assert checkpoint is not None
        unfit = again.resume(checkpoint.document["engine"], checkpoint)
        assert not unfit, unfit
        emit("checkpoint", "resume", time.perf_counter() - begin, "s", state=name, series=options.series)


async def wear(options: argparse.Namespace, folder: Path) -> None:
    """Measure the second part."""
    machines = 1000
    tested, stream = engine(AUTO, machines), Stream(machines, 10.0)
    store = CheckpointStore(folder / "auto")
    few = np.random.default_rng(2).choice(machines, machines // 100, replace=False)
    per_day, least = DEFAULT.checkpoint_bytes_per_day, DEFAULT.checkpoint_every.seconds

    async def saved() -> int:
        return await store.begin(tested.tracked(), {"engine": tested.common()}).write()

    for _ in range(options.minutes * 60):
        tested.process(stream.batch(machines * 10))
    await saved()
    for share, chosen in ((1.0, None), (0.01, few)):
        sizes = []
        for _ in range(3):
            for _ in range(30):
                tested.process(stream.batch(machines * 10 if chosen is None else len(few) * 10, chosen))
            sizes.append(await saved())
        size = float(np.median(sizes))
        pause = max(least, size / per_day * 86_400)
        more = {"series": machines, "rate": 10, "share_that_sends": share}
        emit("checkpoint", "bytes_a_save", size / 1e6, "MB", **more)
        emit("checkpoint", "pause", pause, "s", **more)
        emit("checkpoint", "bytes_a_day", size * 86_400 / pause / 1e9, "GB", **more)
    emit("checkpoint", "bytes_on_disk", sum(f.stat().st_size for f in (folder / "auto").iterdir()) / 1e6, "MB")


def main(argv: list[str]) -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks checkpoint", description=__doc__)
    parser.add_argument("--parts", default="stall,wear")
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=260, help="of readings before the stall is measured")
    parser.add_argument("--minutes", type=int, default=10, help="of readings before the wear is measured")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args(argv)
    tune_garbage_collector()  # as the agent does
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for part in options.parts.split(","):
            asyncio.run({"stall": stall, "wear": wear}[part](options, Path(directory)))
    return 0
