"""MQTT and Kafka as sources, on real brokers."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from sensors.batch import Batch
from sensors.codecs.json_lines import JsonLines
from sensors.drivers.kafka import KafkaSource
from sensors.drivers.mqtt import MqttSource
from sensors.source import Positioned, Source, SourceError
from sensors.transport.tls import Tls
from sensors.units import Duration
from tests.brokers import Certificates, Kafka, Mosquitto, free_port

NOW = 1_700_000_000_000_000_000


def codec(**options: object) -> JsonLines:
    return JsonLines(time="t", time_unit="ns", **options)  # type: ignore[arg-type]


def reading(number: int, machine: str | None = None) -> bytes:
    body: dict[str, object] = {"v": number, "t": NOW + number * 10**6}
    return json.dumps(body | ({"machine": machine} if machine else {})).encode()


async def rows(source: Source, count: int) -> list[tuple[str, float]]:
    """Machine and value of the next rows."""
    found: list[tuple[str, float]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            batch = await anext(aiter(source))
            found += unpack(batch)
    return found


def unpack(batch: Batch) -> list[tuple[str, float]]:
    return [(batch.machines[m], v) for m, v in zip(batch.machine.tolist(), batch.values["v"].tolist(), strict=True)]


@asynccontextmanager
async def publisher(broker: Mosquitto, **options: object) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5, **options) as client:  # type: ignore[arg-type]
        yield client


def mqtt(broker: Mosquitto, **options: object) -> MqttSource:
    return MqttSource(
        **{"url": broker.url, "topic": "in/#", "codec": codec(), "timeout": Duration("5s")} | options  # type: ignore[arg-type]
    )


@pytest.mark.mosquitto
async def test_messages_become_rows_and_the_topic_names_the_machine(mosquitto: Mosquitto) -> None:
    async with mqtt(mosquitto, machine_level=1) as source, publisher(mosquitto) as client:
        for n in range(5):
            await client.publish(f"in/press-{n % 2}/data", reading(n), qos=1)
        assert await rows(source, 5) == [(f"press-{n % 2}", float(n)) for n in range(5)]


@pytest.mark.mosquitto
async def test_nonsense_is_counted_and_skipped(mosquitto: Mosquitto) -> None:
    async with mqtt(mosquitto, codec=codec(machine="machine")) as source, publisher(mosquitto) as client:
        for body in (b"", b"\xff\x00", b"[1]", reading(1, "a"), b"{" * 100_000, reading(2, "a")):
            await client.publish("in/x", body, qos=1)
        assert await rows(source, 2) == [("a", 1.0), ("a", 2.0)]
        assert source.counters.frames_bad == 3  # an empty message has no line


@pytest.mark.mosquitto
async def test_what_was_not_acknowledged_comes_again_after_a_crash(mosquitto: Mosquitto) -> None:
    source = mqtt(mosquitto, machine_level=1)
    await source.__aenter__()
    async with publisher(mosquitto) as client:
        await client.publish("in/a/x", reading(1), qos=1)
        assert await rows(source, 1) == [("a", 1.0)]
        assert source._connection
        source._connection.abandon()
        await client.publish("in/a/x", reading(2), qos=1)
        async with mqtt(mosquitto, machine_level=1) as again:
            assert await rows(again, 2) == [("a", 1.0), ("a", 2.0)]
        async with mqtt(mosquitto, machine_level=1) as after:
            await client.publish("in/a/x", reading(3), qos=1)
            assert await rows(after, 1) == [("a", 3.0)]


@pytest.mark.mosquitto
async def test_a_flood_is_held_back_by_the_broker_and_nothing_is_lost(mosquitto: Mosquitto) -> None:
    async with mqtt(mosquitto, machine_level=1, max_queued=50) as source, publisher(mosquitto) as client:
        client.pending_calls_threshold = 10_000
        sending = asyncio.gather(*(client.publish("in/a/x", reading(n), qos=1) for n in range(1000)))
        assert await rows(source, 1000) == [("a", float(n)) for n in range(1000)]
        await sending
        assert source.counters.samples_lost == 0


@pytest.mark.mosquitto
async def test_a_broker_that_dies_is_a_source_error_and_it_can_be_opened_again(mosquitto: Mosquitto) -> None:
    source = mqtt(mosquitto, machine_level=1)

    async def killed() -> None:
        async with source, asyncio.timeout(10):
            mosquitto.kill()
            await anext(source)

    with pytest.raises(SourceError, match=mosquitto.url):
        await killed()
    with pytest.raises(SourceError):
        await source.__aenter__()
    mosquitto.start()
    async with source, publisher(mosquitto) as client:
        await client.publish("in/a/x", reading(1), qos=1)
        assert await rows(source, 1) == [("a", 1.0)]


@pytest.mark.mosquitto
async def test_a_cancelled_read_loses_nothing(mosquitto: Mosquitto) -> None:
    async with mqtt(mosquitto, machine_level=1) as source, publisher(mosquitto) as client:
        seen = []
        for n in range(20):
            waiting = asyncio.create_task(anext(source))
            await asyncio.sleep(0)
            waiting.cancel()
            [outcome] = await asyncio.gather(waiting, return_exceptions=True)
            if isinstance(outcome, Batch):
                seen += unpack(outcome)
            await client.publish("in/a/x", reading(n), qos=1)
        seen += await rows(source, 20 - len(seen))
        assert seen == [("a", float(n)) for n in range(20)]


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.mosquitto
async def test_a_secure_broker_is_read_and_a_topic_it_refuses_is_an_error(
    secure_mosquitto: Mosquitto, certificates: Certificates, tmp_path: Path
) -> None:
    tls = Tls(certificates.path("ca.pem"), certificates.path("client.pem"), certificates.path("client.key"))
    secure = {"user": "agent", "password_file": tmp_path / "password", "tls": tls, "machine_level": 1}
    async with mqtt(secure_mosquitto, **secure):
        pass
    with pytest.raises(SourceError):
        await mqtt(secure_mosquitto, **(secure | {"tls": None})).__aenter__()


@asynccontextmanager
async def producer(broker: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    client = AIOKafkaProducer(bootstrap_servers=broker.servers)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


def kafka_source(broker: Kafka, topic: str, **options: object) -> KafkaSource:
    return KafkaSource(
        **{"servers": broker.servers, "topic": topic, "codec": codec(), "start": "earliest"} | options  # type: ignore[arg-type]
    )


@pytest.mark.kafka
async def test_records_become_rows_and_the_key_names_the_machine(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    async with producer(kafka) as client:
        for n in range(5):
            await client.send_and_wait(topic, reading(n), key=f"press-{n % 2}".encode())
        await client.send_and_wait(topic, None, key=b"press-0")
        await client.send_and_wait(topic, b"nonsense", key=b"press-0")
        await client.send_and_wait(topic, reading(5, "named"), key=b"press-0")
    async with kafka_source(kafka, topic, codec=codec(machine="machine")) as source:
        assert isinstance(source, Positioned)
        assert await rows(source, 6) == [*((f"press-{n % 2}", float(n)) for n in range(5)), ("named", 5.0)]
        assert source.position()["0"] == 8
        assert source.counters.frames_bad == 1


@pytest.mark.kafka
async def test_the_record_time_serves_where_the_payload_has_none(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    async with producer(kafka) as client:
        await client.send_and_wait(topic, b'{"v": 1}', key=b"a", timestamp_ms=NOW // 10**6)
    async with kafka_source(kafka, topic, codec=JsonLines()) as source:
        batch = await asyncio.wait_for(anext(source), 10)
        assert batch.time.tolist() == [NOW]


@pytest.mark.kafka
async def test_reading_on_from_positions_at_random_places_sees_every_row_once(kafka: Kafka) -> None:
    topic = kafka.topic("in", 3)
    async with producer(kafka) as client:
        for n in range(300):
            await client.send(topic, reading(n), key=f"m{n % 5}".encode())
        await client.flush()
    seen: list[tuple[str, float]] = []
    position: dict[str, int] = {}
    chance = random.Random(7)
    while len(seen) < 300:
        source = kafka_source(kafka, topic, block=chance.randint(1, 60))
        if position:
            source.seek(position)
        async with source:
            for _ in range(chance.randint(1, 4)):
                if len(seen) < 300:
                    seen += unpack(await asyncio.wait_for(anext(source), 10))
            position = dict(source.position())
    assert sorted(value for _, value in seen) == [float(n) for n in range(300)]
    for machine in {m for m, _ in seen}:
        values = [value for m, value in seen if m == machine]
        assert values == sorted(values)


@pytest.mark.kafka
async def test_only_what_was_committed_is_committed(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    async with producer(kafka) as client:
        for n in range(10):
            await client.send_and_wait(topic, reading(n), key=b"a")
    async with kafka_source(kafka, topic, group=f"g-{topic}", block=4) as source:
        await rows(source, 4)
        await source.commit(source.position())
        await rows(source, 4)
    async with kafka_source(kafka, topic, group=f"g-{topic}") as source:
        assert (await rows(source, 6))[0] == ("a", 4.0)
    reader = AIOKafkaConsumer(bootstrap_servers=kafka.servers, group_id=f"g-{topic}")
    await reader.start()
    assert await reader.committed(TopicPartition(topic, 0)) == 4
    await reader.stop()


@pytest.mark.kafka
async def test_a_missing_topic_partition_or_broker_is_a_source_error(kafka: Kafka) -> None:
    with pytest.raises(SourceError, match="no such topic"):
        await kafka_source(kafka, "nobody-made-it").__aenter__()
    with pytest.raises(SourceError, match=r"no partitions \[7\]"):
        await kafka_source(kafka, kafka.topic("in"), partitions=(0, 7)).__aenter__()
    with pytest.raises(SourceError, match=r"127\.0\.0\.1"):
        await KafkaSource(servers=f"127.0.0.1:{free_port()}", topic="t", timeout=Duration("1s")).__aenter__()


@pytest.mark.kafka
async def test_a_broker_that_hangs_is_a_source_error_and_reading_goes_on_after_it(kafka: Kafka) -> None:
    topic = kafka.topic("in")
    async with producer(kafka) as client:
        await client.send_and_wait(topic, reading(1), key=b"a")
    source = kafka_source(kafka, topic, timeout=Duration("1s"))

    async def hang() -> None:
        async with source, asyncio.timeout(30):
            await rows(source, 1)
            kafka.pause()
            await anext(source)

    try:
        with pytest.raises(SourceError):
            await hang()
    finally:
        kafka.resume()
    async with producer(kafka) as client:
        await client.send_and_wait(topic, reading(2), key=b"a")
    async with source:
        assert await rows(source, 1) == [("a", 2.0)]
