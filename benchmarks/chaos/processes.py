"""Faults of the whole agent: killed, told to stop with the broker away, its serial line pulled.

What must arrive is known exactly: alerts' ids follow from the readings, so the same readings are put through an engine
in this process, and the sets of ids are compared.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import random
import resource
import signal
import socket
import subprocess
import sys
import time
import tty
from pathlib import Path

from agent.settings.build import Pipeline, build_pipeline
from agent.settings.settings import load
from benchmarks.chaos.delivery import Broker, _until, subscriber
from benchmarks.chaos.tally import Tally, peak_mb
from benchmarks.running import ROOT
from sensors.batch import Batch
from sensors.codecs.json_lines import JsonLines

START = 1_700_000_000_000_000_000
CODEC = '{ type = "json", machine = "machine", time = "t", time_unit = "ns" }'
RULE = """
[rule.hot]
when = "v >= 90"
clear = "v < 80"
severity = "critical"
"""


def readings(count: int, machines: int = 5) -> list[bytes]:
    """Lines in which each machine is hot for two readings of every eight."""
    return [
        json.dumps(
            {
                "machine": f"press-{n % machines}",
                "v": 95 if (n // machines) % 8 in (3, 4) else 50,
                "t": START + n * 10_000_000,
            }
        ).encode()
        for n in range(count)
    ]


def configure(directory: Path, source: str, broker: int) -> Path:
    """A configuration file: this source, one rule on the readings, alerts to the broker."""
    file = directory / "agent.toml"
    file.write_text(
        f"""[agent]
site = "plant-1"
name = "gateway-1"
state = "{directory}/state"
checkpoint_every = "300ms"
idle = false
{source}
{RULE}
[sink.broker]
type = "mqtt"
url = "mqtt://127.0.0.1:{broker}"
timeout = "2s"
"""
    )
    return file


def expected(file: Path, lines: list[bytes]) -> list[str]:
    """Ids of the alerts that these readings mean."""
    engine = build_pipeline(load(file)).engine()
    codec = JsonLines(machine="machine", time="t", time_unit="ns")
    ids = []
    for start in range(0, len(lines), 1000):
        batch = codec.decode(lines[start : start + 1000], time.time_ns())
        if batch is not None:
            ids += [alert.id for alert in engine.process(batch).alerts]
    return ids


class Agent:
    """An `agent run` that is started, killed and started again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.log = (file.parent / "agent.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "run", "-c", str(self.file)],
            cwd=self.file.parent, env=environment, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> float:
        """SIGTERM; the seconds it took to end, 60 if it had to be killed."""
        if self.process is None:
            return 0.0
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return 60.0
        self.process = None
        return time.monotonic() - began

    def close(self) -> None:
        self.kill()
        self.log.close()


async def killed(directory: Path, servers: str, topic: str, kills: int = 200, seed: int = 3) -> Tally:
    """`kill -9` at random moments; readings come from Kafka, so that none is lost or counted twice."""
    from aiokafka import AIOKafkaProducer

    chance = random.Random(seed)
    broker = Broker(directory / "mosquitto")
    source = f"""[source.readings]
type = "kafka"
servers = "{servers}"
topic = "{topic}"
start = "earliest"
codec = {CODEC}"""
    file = configure(directory, source, broker.port)
    lines = readings(400 * (kills + 2))
    wanted = await asyncio.to_thread(expected, file, lines)
    agent = Agent(file)
    feeding = True

    async def feed() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5)
        await producer.start()
        try:
            for start in range(0, len(lines), 20):
                for line in lines[start : start + 20]:
                    await producer.send(topic, line)
                if feeding:
                    await asyncio.sleep(0.05)
        finally:
            await producer.stop()

    with broker:
        try:
            async with subscriber(broker.port) as arrived:
                feeder = asyncio.create_task(feed())
                for _ in range(kills):
                    await asyncio.to_thread(agent.start)
                    await asyncio.sleep(chance.uniform(0.2, 2.5))
                    await asyncio.to_thread(agent.kill)
                feeding = False
                over = time.monotonic()
                await asyncio.to_thread(agent.start)
                await feeder
                await _until(lambda: set(wanted) <= set(arrived), 90)
                seconds = time.monotonic() - over
                await asyncio.to_thread(agent.stop)
        finally:
            agent.close()
    peak = peak_mb(resource.RUSAGE_CHILDREN)
    return Tally.of("agent killed -9", wanted, arrived, seconds, peak_mb=peak, note=f"{kills} kills")


async def stopped_without_broker(directory: Path) -> Tally:
    """SIGTERM while the broker is away; alerts wait on disk, and go out after the next start."""
    broker, lines = Broker(directory / "mosquitto"), readings(2000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = f'[source.line]\ntype = "tcp"\nhost = "127.0.0.1"\nport = {port}\nlisten = true\ncodec = {CODEC}'
    file = configure(directory, source, broker.port)
    wanted = await asyncio.to_thread(expected, file, lines)
    agent = Agent(file)
    try:
        agent.start()
        writer = await _connect(port)
        writer.write(b"\n".join(lines) + b"\n")
        await writer.drain()
        writer.close()
        await _until(lambda: _held(directory) >= len(wanted), 20)
        ending = await asyncio.to_thread(agent.stop)
        with broker:
            async with subscriber(broker.port) as arrived:
                over = time.monotonic()
                agent.start()
                await _until(lambda: set(wanted) <= set(arrived), 60)
                seconds = time.monotonic() - over
                await asyncio.to_thread(agent.stop)
    finally:
        agent.close()
    peak = peak_mb(resource.RUSAGE_CHILDREN)
    note = f"ended {ending:.1f} s after SIGTERM"
    return Tally.of("SIGTERM with the broker away", wanted, arrived, seconds, peak_mb=peak, note=note)


async def _connect(port: int) -> asyncio.StreamWriter:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                return writer
            except OSError:
                await asyncio.sleep(0.05)


def _held(directory: Path) -> int:
    """Alerts in the agent's outbox."""
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"file:{directory}/state/outbox.db?mode=ro", uri=True, timeout=1)) as file:
            return int(file.execute("SELECT coalesce(sum(count), 0) FROM log WHERE kind = 'alert'").fetchone()[0])
    except sqlite3.Error:
        return 0


async def replugged(directory: Path, times: int = 3) -> Tally:
    """The serial adapter is pulled and comes back as another device, behind the same by-id name."""
    broker, lines = Broker(directory / "mosquitto"), readings(40 * times)
    link = directory / "by-id"
    source = f'[source.line]\ntype = "serial"\nport = "{link}"\ncodec = {CODEC}'
    file = configure(directory, source, broker.port)
    wanted = await asyncio.to_thread(expected, file, lines)
    agent, slowest = Agent(file), 0.0
    with broker:
        try:
            async with subscriber(broker.port) as arrived:
                agent.start()
                for number in range(times):
                    part = lines[40 * number : 40 * (number + 1)]
                    due = set(wanted[: len(expected(file, lines[: 40 * (number + 1)]))])
                    master, slave = pty.openpty()
                    tty.setraw(slave)
                    link.unlink(missing_ok=True)
                    link.symlink_to(os.ttyname(slave))
                    plugged = time.monotonic()
                    await _until(lambda slave=slave: _opened(agent, os.ttyname(slave)), 60)  # type: ignore[misc]
                    os.close(slave)
                    os.write(master, b"\n" + b"\n".join(part) + b"\n")
                    await _until(lambda due=due: due <= set(arrived), 30)  # type: ignore[misc]
                    slowest = max(slowest, time.monotonic() - plugged)
                    os.close(master)
                await asyncio.to_thread(agent.stop)
        finally:
            agent.close()
    peak = peak_mb(resource.RUSAGE_CHILDREN)
    return Tally.of("serial line replugged", wanted, arrived, slowest, peak_mb=peak, note=f"{times} times")


def _opened(agent: Agent, name: str) -> bool:
    """Whether the agent has this device open."""
    if agent.process is None:
        return False
    folder = Path(f"/proc/{agent.process.pid}/fd")
    try:
        return any(os.readlink(item) == name for item in folder.iterdir())
    except OSError:
        return False


def _pipeline(directory: Path, rule: str) -> Pipeline:
    file = directory / "engine.toml"
    file.write_text(f'[agent]\nsite = "plant-1"\nname = "gateway-1"\nidle = false\n{rule}')
    return build_pipeline(load(file))


def _batch(machines: tuple[str, ...], values: list[float], time_step: int, start: int = START) -> Batch:
    import numpy as np

    count = len(values)
    codes = np.arange(count, dtype=np.int32) % len(machines)
    times = start + np.arange(count, dtype=np.int64) * time_step
    return Batch(machines, codes, times, {"v": np.array(values)}, int(times[-1]), source="readings")


async def crossings(directory: Path) -> Tally:
    """1,000 crossings of the limit in a minute: one incident."""
    engine = _pipeline(directory, RULE).engine()
    values = [95.0 if n % 2 else 85.0 for n in range(2000)] + [50.0] * 10
    alerts = engine.process(_batch(("press-1",), values, 30_000_000)).alerts
    changes = [str(alert.change) for alert in alerts]
    wanted = [alert.id for alert in alerts if alert.change in ("raised", "resolved")][:2]
    note = f"1,000 crossings: {changes.count('raised')} raised, {changes.count('resolved')} resolved"
    return Tally.of("1,000 crossings a minute", wanted, [alert.id for alert in alerts], 0.0, note=note)


async def machine_ids(directory: Path, count: int = 100_000) -> Tally:
    """As many machines as there are messages, each with an alert; then the double of what the agent will keep."""
    from agent.outbox import Outbox
    from agent.runtime.messages import encode

    pipeline = _pipeline(directory, f"series = {count}\n{RULE}")
    engine = pipeline.engine()
    safe: list[str] = []
    arrived: list[str] = []
    began = time.monotonic()
    async with Outbox(directory / "ids.db", {"broker": frozenset({"alert"})}) as box:
        for start in range(0, 2 * count, 5000):
            names = tuple(f"machine-{n}" for n in range(start, start + 5000))
            batch = _batch(names, [95.0] * 5000, 1000, START + start * 1000)
            decisions = await asyncio.to_thread(engine.process, batch)
            messages = encode(decisions, engine, pipeline.identity)
            await box.append(messages)
            safe += [message.id for message in messages if message.kind == "alert"]
            while (sent := await box.next("broker")) is not None:
                arrived += [message.id for message in sent.messages]
                box.confirm("broker", sent)
    refused = sum(table.refused for table in engine.tables.values())
    note = f"{2 * count} machines, {refused} refused"
    return Tally.of("100,000 machine ids", safe, arrived, time.monotonic() - began, note=note)
