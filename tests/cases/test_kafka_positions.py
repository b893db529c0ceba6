"""Where a position in a Kafka topic leads when the messages are gone, the topic is another, or has grown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from sensors.drivers.kafka import KafkaSource
from sensors.source import SourceError
from sensors.units import Duration
from tests.brokers import Kafka
from tests.delivery.test_broker_sources import NOW, codec, rows

pytestmark = pytest.mark.kafka


async def send(broker: Kafka, topic: str, *values: int, partition: int = 0) -> None:
    client = AIOKafkaProducer(bootstrap_servers=broker.servers)
    await client.start()
    try:
        for value in values:
            body = json.dumps({"v": value, "t": NOW + value * 10**6}).encode()
            await client.send_and_wait(topic, body, partition=partition)
    finally:
        await client.stop()


async def admin(broker: Kafka, do: Callable[[Any], dict[Any, Any]]) -> None:
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": broker.servers, "log_level": 0})
    for future in do(client).values():
        await asyncio.to_thread(future.result, 20)


async def forget(broker: Kafka, topic: str, before: int, partition: int = 0) -> None:
    """Retention takes what is before an offset."""
    from confluent_kafka import TopicPartition as Place

    await admin(broker, lambda client: client.delete_records([Place(topic, partition, before)]))


async def make_anew(broker: Kafka, topic: str) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.cimpl import NewTopic

    await admin(broker, lambda client: client.delete_topics([topic]))
    await asyncio.sleep(0.5)
    with contextlib.suppress(KafkaException):  # a client that asks for it may have made it already
        await admin(broker, lambda client: client.create_topics([NewTopic(topic, 1, 1)]))
    await asyncio.sleep(0.5)


async def grow(broker: Kafka, topic: str, partitions: int) -> None:
    from confluent_kafka.admin import NewPartitions

    await admin(broker, lambda client: client.create_partitions([NewPartitions(topic, partitions)]))


def source_of(broker: Kafka, topic: str, position: dict[str, Any] | None = None, **options: Any) -> KafkaSource:
    """A source that begins with what comes, if it has no position."""
    source = KafkaSource(servers=broker.servers, topic=topic, codec=codec(), timeout=Duration("2s"), **options)
    if position is not None:
        source.seek(json.loads(json.dumps(position)))
    return source


async def values(source: KafkaSource, count: int) -> list[float]:
    return [value for _, value in await rows(source, count)]


async def read(broker: Kafka, topic: str, count: int) -> dict[str, Any]:
    """Read so many messages from the beginning; the position after them."""
    async with source_of(broker, topic, start="earliest") as source:
        await values(source, count)
        return dict(source.position())


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        one.message for one in caplog.records if one.levelno >= logging.ERROR and one.name.startswith("sensors")
    ]


async def test_what_retention_took_is_told_and_the_oldest_left_is_read(real_kafka, caplog) -> None:
    topic = real_kafka.topic("in", 2)
    await send(real_kafka, topic, 1, 2, 3)
    await send(real_kafka, topic, 11, 12, partition=1)
    position = await read(real_kafka, topic, 5)
    await send(real_kafka, topic, *range(101, 111))
    await send(real_kafka, topic, 13, partition=1)
    await forget(real_kafka, topic, 8)  # of one partition only
    async with source_of(real_kafka, topic, position) as source:
        assert sorted(await values(source, 6)) == [13, 106, 107, 108, 109, 110]
        assert source.counters.samples_lost == 5
        assert source.position() == position | {"0": 13, "1": 3}
        assert source.resumed() == "0 13, 1 3"
    (said,) = errors(caplog)
    assert f"{topic}: partition 0: the messages at offsets 3 to 7 (5) are gone" in said


async def test_what_retention_takes_while_it_is_read_is_told(real_kafka, caplog) -> None:
    topic = real_kafka.topic("in")
    async with source_of(real_kafka, topic) as source:
        await send(real_kafka, topic, 0)
        assert await values(source, 1) == [0]
        assert source._consumer
        source._consumer.pause(TopicPartition(topic, 0))  # it cannot keep up
        await send(real_kafka, topic, *range(1, 10))
        await forget(real_kafka, topic, 4)
        source._consumer.resume(TopicPartition(topic, 0))
        assert await values(source, 6) == [4, 5, 6, 7, 8, 9]
        assert source.counters.samples_lost == 3
    (said,) = errors(caplog)
    assert "offsets 1 to 3 (3) are gone" in said


async def test_a_topic_emptied_by_retention_goes_on_with_what_comes(real_kafka, caplog) -> None:
    topic = real_kafka.topic("in")
    await send(real_kafka, topic, *range(5))
    position = await read(real_kafka, topic, 2) | {"0": 2}
    await forget(real_kafka, topic, 5)
    async with source_of(real_kafka, topic, position) as source:
        await send(real_kafka, topic, 6)
        assert await values(source, 1) == [6]
    assert "offsets 2 to 4 (3) are gone" in errors(caplog)[0]


@pytest.mark.parametrize("new", [2, 9], ids=["shorter", "longer"])
async def test_a_topic_made_anew_is_read_from_its_beginning(real_kafka, caplog, new) -> None:
    topic = real_kafka.topic("in")
    await send(real_kafka, topic, *range(5))
    position = await read(real_kafka, topic, 5)
    await make_anew(real_kafka, topic)
    await send(real_kafka, topic, *range(50, 50 + new))
    async with source_of(real_kafka, topic, position) as source:
        assert await values(source, new) == list(range(50, 50 + new))
        assert source.resumed() == ""
    (said,) = errors(caplog)
    assert "deleted and made anew" in said


async def test_without_an_id_a_topic_that_is_shorter_is_taken_for_another(real_kafka, caplog) -> None:
    topic = real_kafka.topic("in")
    await send(real_kafka, topic, 1, 2)
    async with source_of(real_kafka, topic, {"0": 7}) as source:  # as releases before saved it
        assert await values(source, 2) == [1, 2]
        assert source.resumed() == ""
    assert "ends at offset 2, before 7" in errors(caplog)[0]


async def test_messages_that_the_cluster_lost_are_not_all_read_again(real_kafka, caplog) -> None:
    topic = real_kafka.topic("in")
    await send(real_kafka, topic, 1, 2)
    position = await read(real_kafka, topic, 2)
    async with source_of(real_kafka, topic, position | {"0": 5}) as source:
        await send(real_kafka, topic, 3)
        assert await values(source, 1) == [3]
    assert "the cluster has lost the messages from offset 2 to 4" in errors(caplog)[0]


async def test_a_topic_made_anew_while_it_is_read_is_noticed(real_kafka, caplog) -> None:
    topic = real_kafka.topic("in")
    await send(real_kafka, topic, 1, 2, 3)
    source = source_of(real_kafka, topic, start="earliest")
    found: list[float] = []
    async with asyncio.timeout(60):
        made = False
        while len(found) < 5:
            try:
                async with source:
                    while len(found) < 5:
                        found += await values(source, 1)
                        if len(found) == 3 and not made:
                            await make_anew(real_kafka, topic)
                            await send(real_kafka, topic, 4, 5)
                            made = True
            except (SourceError, TimeoutError):  # as whoever reads: open it again
                await asyncio.sleep(0.2)
    assert found == [1, 2, 3, 4, 5]
    assert any("anew" in line for line in errors(caplog))


async def test_a_partition_that_is_added_is_read_from_its_beginning(real_kafka) -> None:
    topic = real_kafka.topic("in")
    async with source_of(real_kafka, topic) as source:
        await send(real_kafka, topic, 1)
        assert await values(source, 1) == [1]
        await grow(real_kafka, topic, 3)
        await asyncio.sleep(1)
        await send(real_kafka, topic, 11, 12, partition=1)
        await send(real_kafka, topic, 2)
        found: list[float] = []
        async with asyncio.timeout(60):
            while len(found) < 3:
                found += await values(source, 1)
        assert sorted(found) == [2, 11, 12]
        position = dict(source.position())
    assert {key: position[key] for key in ("0", "1", "2")} == {"0": 2, "1": 2, "2": 0}


@pytest.mark.parametrize("known", ["position", "commit"])
async def test_a_partition_added_while_nobody_read_is_read_from_its_beginning(real_kafka, known) -> None:
    topic = real_kafka.topic("in")
    group = f"g-{topic}" if known == "commit" else ""
    await send(real_kafka, topic, 1)
    async with source_of(real_kafka, topic, group=group, start="earliest") as source:
        await values(source, 1)
        position = dict(source.position())
        await source.commit(position)
    await grow(real_kafka, topic, 2)
    await asyncio.sleep(1)
    await send(real_kafka, topic, 11, partition=1)
    async with source_of(real_kafka, topic, None if group else position, group=group) as source:
        assert await values(source, 1) == [11]


async def test_who_names_partitions_reads_no_other(real_kafka) -> None:
    topic = real_kafka.topic("in")
    async with source_of(real_kafka, topic, partitions=(0,)) as source:
        await grow(real_kafka, topic, 2)
        await send(real_kafka, topic, 11, partition=1)
        source._look_at = 0.0
        await send(real_kafka, topic, 1)
        assert await values(source, 1) == [1]
        assert set(source.position()) == {"0", "topic", "topic_id"}


async def test_a_position_in_a_topic_of_another_name_is_none(real_kafka, caplog) -> None:
    one, other = real_kafka.topic("in"), real_kafka.topic("in")
    await send(real_kafka, one, 1, 2)
    await send(real_kafka, other, 11, 12, 13)
    async with source_of(real_kafka, other, await read(real_kafka, one, 2), start="earliest") as source:
        assert await values(source, 3) == [11, 12, 13]
        assert source.resumed() == ""
    assert errors(caplog) == []


async def test_a_topic_made_anew_is_known_as_such_also_when_the_first_try_fails(real_kafka, caplog) -> None:
    topic = real_kafka.topic("in")
    await send(real_kafka, topic, 1, 2)
    position = await read(real_kafka, topic, 2)
    await make_anew(real_kafka, topic)
    await send(real_kafka, topic, 51, 52, 53)
    source = source_of(real_kafka, topic, position)
    real_kafka.pause()
    try:
        with pytest.raises(SourceError):
            await source.__aenter__()
    finally:
        real_kafka.resume()
    assert source.position() == position
    async with source:
        assert await values(source, 3) == [51, 52, 53]
