"""What every sink of the registry keeps, whoever wrote it: on a real file and on real brokers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from agent.alerts.alert import Identity
from agent.settings.registry import REGISTRY
from agent.sinks.kafka import KafkaSink
from agent.sinks.lines import LinesSink
from agent.sinks.mqtt import MqttSink
from agent.testing import Check, check_sink
from sensors.units import Duration
from tests.brokers import free_port
from tests.delivery.listeners import listening


def lines(request: pytest.FixtureRequest) -> list[Check]:
    folder: Path = request.getfixturevalue("tmp_path")

    async def received() -> list[bytes]:
        return (folder / "alerts.jsonl").read_bytes().splitlines()

    (folder / "file").write_text("")
    return check_sink(
        lambda: LinesSink(str(folder / "alerts.jsonl")),
        received,
        away=lambda: LinesSink(str(folder / "file" / "x")),
    )


def mqtt(request: pytest.FixtureRequest) -> list[Check]:
    broker = request.getfixturevalue("mosquitto")

    def make(url: str) -> MqttSink:
        sink = MqttSink(url, timeout=Duration("2s"), will_delay=Duration("0s"))
        return sink.signed(Identity("plant-1", "gateway-1"))

    @asynccontextmanager
    async def world():
        async with listening(broker.port, "edge/v1/plant-1/gateway-1/+/event/alert") as listener:

            async def received() -> list[bytes]:
                return [body for _, body, *_ in listener.got]

            yield lambda: make(broker.url), received

    away = f"mqtt://127.0.0.1:{free_port()}"
    return check_sink(lambda: make("mqtt://127.0.0.1:1"), world=world, away=lambda: make(away))


def kafka(request: pytest.FixtureRequest) -> list[Check]:
    broker = request.getfixturevalue("kafka")

    @asynccontextmanager
    async def world():
        topic = broker.topic("contract")
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.servers, auto_offset_reset="earliest")
        await consumer.start()
        got: list[bytes] = []

        async def received() -> list[bytes]:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                got.extend(record.value for record in records)
            return got

        try:
            yield lambda: KafkaSink(broker.servers, alerts=topic), received
        finally:
            await consumer.stop()

    away = f"127.0.0.1:{free_port()}"
    return check_sink(
        lambda: KafkaSink("127.0.0.1:1"), world=world, away=lambda: KafkaSink(away, timeout=Duration("1s"))
    )


CASES: dict[str, Callable[[pytest.FixtureRequest], list[Check]]] = {"lines": lines, "mqtt": mqtt, "kafka": kafka}
BROKERS = {"mqtt": pytest.mark.mosquitto, "kafka": pytest.mark.kafka}
NAMES = [str(check) for check in check_sink(lambda: None)]


def test_every_sink_of_the_registry_is_tested_here() -> None:
    assert set(CASES) == set(REGISTRY["sink"])


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
