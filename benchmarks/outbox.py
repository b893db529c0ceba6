"""How fast alerts are made safe and delivered, and what that writes to the disk.

    append      durable alerts/s and the time of one append, with and without grouping (many appends waiting at once)
    delivery    alerts/s from `append` to the broker's confirmation, to mosquitto and, with `--kafka`, to Kafka;
                beside it a plain paho loop and robmqtt, where it is installed, without any durability
    drain       the same after an outage in which a backlog was stored; peak memory meanwhile
    wear        bytes written to the disk for each message, in batches and at ten alerts a minute

Figures are of the directory given by `--directory` (default: a temporary one); a tmpfs would flatter them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np

from agent.alerts.alert import Identity, Kind, Message
from agent.outbox import Outbox
from agent.outbox.delivery import Delivery
from agent.sinks import Sink
from benchmarks.figures import emit
from benchmarks.running import ROOT, mosquitto

ALERT: frozenset[Kind] = frozenset({"alert"})
BODY = b'{"specversion":"1.0","data":"' + b"x" * 370 + b'"}'


def messages(start: int, count: int, machines: int = 100) -> list[Message]:
    """Alerts of 400 bytes."""
    return [
        Message(f"00000000-0000-4000-8000-{n:012d}", "alert", f"machine-{n % machines}", "", BODY, n)
        for n in range(start, start + count)
    ]


def main(argv: list[str]) -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks outbox", description=__doc__)
    parser.add_argument("parts", nargs="*", default=["append", "delivery", "drain", "wear"])
    parser.add_argument("--kafka", default="", help="HOST:PORT of a broker")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for part in options.parts:
            asyncio.run(PARTS[part](Path(directory), options))
    return 0


async def append(directory: Path, options: argparse.Namespace) -> None:
    """Appends alone, to a sink that is away."""
    for waiting in (1, 64):
        count = 1_000 if waiting == 1 else options.messages // 2
        taken: list[float] = []
        async with Outbox(directory / f"append-{waiting}.db", {"away": ALERT}) as box:
            queue = iter(messages(0, count))

            async def producer(box: Outbox = box, queue: object = queue, taken: list[float] = taken) -> None:
                for message in queue:  # type: ignore[attr-defined]
                    began = time.perf_counter()
                    await box.append([message])
                    taken.append(time.perf_counter() - began)

            began = time.perf_counter()
            await asyncio.gather(*(producer() for _ in range(waiting)))
            seconds = time.perf_counter() - began
            commits = box.counters.commits
        how = "one at a time" if waiting == 1 else f"{waiting} waiting"
        emit("outbox", f"append, {how}", count / seconds, "alerts/s", commits=commits)
        emit("outbox", f"append p50, {how}", 1e3 * float(np.quantile(taken, 0.5)), "ms")
        emit("outbox", f"append p99, {how}", 1e3 * float(np.quantile(taken, 0.99)), "ms")


async def delivery(directory: Path, options: argparse.Namespace) -> None:
    """From append to confirmation, and what the library alone does."""
    with mosquitto() as port:
        if port is None:
            return
        rate = await _through(directory / "mqtt.db", _mqtt(port), options.messages)
        await asyncio.to_thread(_paho_loop, port, min(options.messages, 20_000), rate)
        await asyncio.to_thread(_robmqtt, port, min(options.messages, 1_000), rate)
    if options.kafka:
        await _through(directory / "kafka.db", _kafka(options.kafka), options.messages, "Kafka")


async def _through(path: Path, sink: Sink, count: int, name: str = "mosquitto") -> float:
    """Alerts/s made durable and delivered at the same time, in appends of 100."""
    stop = asyncio.Event()
    cpu = time.process_time()
    taken: list[float] = []
    async with Outbox(path, {"sink": ALERT}) as box, asyncio.TaskGroup() as tasks:
        tasks.create_task(Delivery(box, "sink", sink).run(stop))
        began = time.perf_counter()
        for start in range(0, count, 100):
            await _until(lambda: box.lag("sink") <= 5_000)
            before = time.perf_counter()
            await box.append(messages(start, 100))
            taken.append(time.perf_counter() - before)
        await _until(lambda: not box.lag("sink"))
        seconds = time.perf_counter() - began
        stop.set()
    emit("outbox", f"durable and delivered to {name}", count / seconds, "alerts/s")
    emit("outbox", f"CPU, {name}", 1e6 * (time.process_time() - cpu) / count, "us/alert")
    emit("outbox", f"append of 100 p99 under load, {name}", 1e3 * float(np.quantile(taken, 0.99)), "ms")
    return count / seconds


async def drain(directory: Path, options: argparse.Namespace) -> None:
    """After an outage: how fast the backlog goes, and whether memory stays flat."""
    with mosquitto() as port:
        if port is None:
            return
        path = directory / "drain.db"
        async with Outbox(path, {"sink": ALERT}) as box:
            for start in range(0, options.backlog, 500):
                await box.append(messages(start, 500))
        full = path.stat().st_size
        stop = asyncio.Event()
        before, peak = _rss(), 0.0
        opening = time.perf_counter()
        async with Outbox(path, {"sink": ALERT}, replay_after_seconds=0.0) as box, asyncio.TaskGroup() as tasks:
            emit("outbox", f"opening with {options.backlog} held", time.perf_counter() - opening, "s")
            opened = _rss()
            tasks.create_task(Delivery(box, "sink", _mqtt(port), replay_per_second=1e9).run(stop))
            began = time.perf_counter()
            while box.lag("sink"):
                await asyncio.sleep(0.05)
                peak = max(peak, _rss())
            seconds = time.perf_counter() - began
            stop.set()
        emit("outbox", f"drain of {options.backlog}", options.backlog / seconds, "alerts/s")
        emit("outbox", "memory for the ids held", opened - before, "MB")
        emit("outbox", "memory added during the drain", peak - opened, "MB")
        emit("outbox", "file before the drain", full / 1e6, "MB")
        emit("outbox", "file after the drain", path.stat().st_size / 1e6, "MB")


async def wear(directory: Path, options: argparse.Namespace) -> None:
    """Bytes the process wrote (`/proc/self/io`) for each message that came and went."""
    for batch in (1, 10, 100):
        count = {1: 200, 10: 5_000, 100: 20_000}[batch]
        before = _written()
        async with Outbox(directory / f"wear-{batch}.db", {"sink": ALERT}, confirm_seconds=1.0) as box:
            for start in range(0, count, batch):
                await box.append(messages(start, batch))
                if (sent := await box.next("sink")) is not None:
                    box.confirm("sink", sent)
        emit(
            "outbox", f"written, appends of {batch}", (_written() - before) / count, "bytes/message", body=len(BODY)
        )
    clock = {"now": 0.0}
    before = _written()
    async with Outbox(directory / "day.db", {"sink": ALERT}, monotonic=lambda: clock["now"]) as box:
        for number in range(600):  # an hour at ten a minute
            clock["now"] += 6.0
            await box.append(messages(number, 1))
            if (sent := await box.next("sink")) is not None:
                box.confirm("sink", sent)
    emit("outbox", "written in a day at 10 alerts/min", 24 * (_written() - before) / 1e6, "MB")


def _mqtt(port: int) -> Sink:
    from agent.sinks.mqtt import MqttSink

    return MqttSink(f"mqtt://127.0.0.1:{port}").signed(Identity("plant-1", "gateway-1"))


def _kafka(servers: str) -> Sink:
    from agent.sinks.kafka import KafkaSink

    return KafkaSink(servers, alerts="benchmark.outbox").signed(Identity("plant-1", "gateway-1"))


def _paho_loop(port: int, count: int, ours: float) -> None:
    """What most people write: paho's thread, QoS 1, wait for each to be published."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    for window in (1, 20):
        client = paho.Client(CallbackAPIVersion.VERSION2, f"plain-{window}", protocol=paho.MQTTv5)
        done = threading.Semaphore(window)
        client.on_publish = lambda *_, done=done: done.release()
        client.connect("127.0.0.1", port)
        client.loop_start()
        part = count if window > 1 else count // 10
        began = time.perf_counter()
        for n in range(part):
            done.acquire()
            client.publish(f"plain/{n % 100}", BODY, 1)
        for _ in range(window):
            done.acquire()
        rate = part / (time.perf_counter() - began)
        client.disconnect()
        client.loop_stop()
        figure = f"beside a plain paho loop, {window} under way, not durable"
        emit("outbox", figure, ours, "alerts/s", peer="paho", peer_value=rate, ratio=ours / rate)


def _robmqtt(port: int, count: int, ours: float) -> None:
    """robmqtt keeps in-flight messages in SQLite, too; it needs an older paho, so it runs in `.venv-peers`."""
    python = ROOT / ".venv-peers" / "bin" / "python"
    script = ROOT / "benchmarks" / "peers" / "robmqtt_publish.py"
    command = [str(python), str(script), str(port), str(count), str(len(BODY))]
    try:
        ran = subprocess.run(command, capture_output=True, timeout=300, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"robmqtt: {error} (make bench-peers)", file=sys.stderr)
        return
    rate = json.loads(ran.stdout.splitlines()[-1])["rate"]
    emit("outbox", "beside robmqtt", ours, "alerts/s", peer="robmqtt", peer_value=rate, ratio=ours / rate)


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 an event would cost what is measured
        await asyncio.sleep(0.001)


def _rss() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _written() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


PARTS: dict[str, Callable[[Path, argparse.Namespace], Coroutine[Any, Any, None]]] = {
    "append": append,
    "delivery": delivery,
    "drain": drain,
    "wear": wear,
}
