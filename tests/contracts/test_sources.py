"""What every source of the registry keeps, whoever wrote it: on a real pty, socket, file and broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import numpy as np
import pytest

from agent.settings.registry import REGISTRY
from agent.testing import Check, check_source
from sensors.batch import Batch
from sensors.codecs.json_lines import JsonLines
from sensors.drivers.file import FileSource
from sensors.drivers.kafka import KafkaSource
from sensors.drivers.mqtt import MqttSource
from sensors.drivers.recording import Recorder, RecordingSource
from sensors.drivers.serial import SerialSource
from sensors.drivers.simulated import Orders, Temperature, Voltage
from sensors.drivers.tcp import TcpSource
from sensors.units import Duration

T = 1_710_856_626 * 10**9
FIXED = {"start": "2026-01-01T00:00:00Z", "speed": "max", "duration": Duration("20s")}


def line(n: int) -> bytes:
    return json.dumps({"x": n, "t": T + n * 10**8}).encode() + b"\n"


def codec() -> JsonLines:
    return JsonLines(time="t")


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def sending(send: Callable[[bytes], Awaitable[None]]) -> AsyncIterator[None]:
    """A device that sends a line every few milliseconds."""

    async def run() -> None:
        for n in range(100_000):
            await send(line(n))
            await asyncio.sleep(0.005)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def serial(request: pytest.FixtureRequest) -> list[Check]:
    @asynccontextmanager
    async def world():
        master, slave = os.openpty()
        os.set_blocking(master, False)

        async def send(data: bytes) -> None:
            with contextlib.suppress(BlockingIOError):
                os.write(master, data)

        try:
            async with sending(send):
                yield lambda: SerialSource(port=os.ttyname(slave), codec=codec())
        finally:
            os.close(master)
            os.close(slave)

    return check_source(
        lambda: SerialSource(port="/dev/none", codec=codec()), world, lambda: SerialSource(port="/dev/none")
    )


def tcp(request: pytest.FixtureRequest) -> list[Check]:
    @asynccontextmanager
    async def world():
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                try:
                    for n in range(100_000):
                        writer.write(line(n))
                        await writer.drain()
                        await asyncio.sleep(0.005)
                finally:
                    writer.close()
                    await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            yield lambda: TcpSource(port=port, codec=codec())
            server.close()

    gone = unused_port()
    return check_source(lambda: TcpSource(port=1, codec=codec()), world, lambda: TcpSource(port=gone))


def file(request: pytest.FixtureRequest) -> list[Check]:
    folder: Path = request.getfixturevalue("tmp_path")
    (folder / "x.jsonl").write_bytes(b"".join(map(line, range(300))))
    return check_source(
        lambda: FileSource(path=folder / "x.jsonl", codec=codec()),
        broken=lambda: FileSource(path=folder / "none", codec=codec()),
        repeats=True,
    )


def recording(request: pytest.FixtureRequest) -> list[Check]:
    folder: Path = request.getfixturevalue("tmp_path")
    with Recorder(folder / "x.rec") as recorder:
        for n in range(30):
            time = np.arange(10) * 10**8 + T + n * 10**9
            recorder.write(
                Batch(("a", "b"), np.arange(10, dtype=np.int32) % 2, time, {"x": time / 1e9}, T + n * 10**9)
            )
    return check_source(
        lambda: RecordingSource(folder / "x.rec", "max"),
        broken=lambda: RecordingSource(folder / "none", "max"),
        repeats=True,
    )


def mqtt(request: pytest.FixtureRequest) -> list[Check]:
    broker = request.getfixturevalue("mosquitto")
    topic = f"contract/{request.node.name.partition('-')[2]}"

    @asynccontextmanager
    async def world():
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:

            async def send(data: bytes) -> None:
                await client.publish(f"{topic}/a", data, qos=1)

            async with sending(send):
                yield lambda: MqttSource(url=broker.url, topic=f"{topic}/+", codec=codec(), timeout=Duration("5s"))

    away = f"mqtt://127.0.0.1:{unused_port()}"
    return check_source(
        lambda: MqttSource(url="mqtt://127.0.0.1:1", topic="a", codec=codec()),
        world,
        lambda: MqttSource(url=away, topic="a", timeout=Duration("1s")),
    )


def kafka(request: pytest.FixtureRequest) -> list[Check]:
    from aiokafka import AIOKafkaProducer

    broker = request.getfixturevalue("kafka")

    @asynccontextmanager
    async def world():
        topic = broker.topic("contract")
        producer = AIOKafkaProducer(bootstrap_servers=broker.servers)
        await producer.start()
        try:
            for n in range(50):
                await producer.send_and_wait(topic, line(n))
            yield lambda: KafkaSource(
                servers=broker.servers, topic=topic, codec=codec(), start="earliest", block=10
            )
        finally:
            await producer.stop()

    away = f"127.0.0.1:{unused_port()}"
    return check_source(
        lambda: KafkaSource(servers="127.0.0.1:1", topic="t", codec=codec()),
        world,
        lambda: KafkaSource(servers=away, topic="t", timeout=Duration("1s")),
    )


CASES: dict[str, Callable[[pytest.FixtureRequest], list[Check]]] = {
    "serial": serial,
    "tcp": tcp,
    "file": file,
    "recording": recording,
    "mqtt": mqtt,
    "kafka": kafka,
    "temperature": lambda request: check_source(lambda: Temperature(**FIXED), repeats=True),
    "voltage": lambda request: check_source(lambda: Voltage(machines=2, **FIXED), repeats=True),
    "orders": lambda request: check_source(lambda: Orders(**FIXED), repeats=True),
}
BROKERS = {"mqtt": pytest.mark.mosquitto, "kafka": pytest.mark.kafka}
NAMES = [str(check) for check in check_source(lambda: None)]


def test_every_source_of_the_registry_is_tested_here() -> None:
    assert set(CASES) == set(REGISTRY["source"])


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, id=f"{case}-{name}", marks=[BROKERS[case]] if case in BROKERS else [])
        for case in CASES
        for name in NAMES
    ],
)
def test_contract(request: pytest.FixtureRequest, case: str, name: str) -> None:
    (check,) = [check for check in CASES[case](request) if str(check) == name]
    check()
