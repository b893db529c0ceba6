"""What a fetch in chunks hands out is what aiokafka's `getmany` hands out, on a real broker."""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from typing import Any, Literal

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition, codec
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import Producer

from sensors.codecs.json_lines import JsonLines
from sensors.drivers.kafka import KafkaSource
from sensors.transport.kafka_fetch import Chunk, Names, Stamps, fetch_whole_batches
from tests.brokers import Kafka
from tests.delivery.test_broker_sources import rows

Record = tuple[int, int, int, bytes | None, bytes | None, tuple[Any, ...]]
Isolation = Literal["read_uncommitted", "read_committed"]


def produce(kafka: Kafka, topic: str, first: int, count: int, **options: Any) -> None:
    """Records with and without key, value, headers and time; each `flush` ends a batch."""
    producer = Producer({"bootstrap.servers": kafka.servers, "linger.ms": 5, **options})
    ending = options.get("transactional.id", "")
    if ending:
        producer.init_transactions(10)
        producer.begin_transaction()
    for number in range(first, first + count):
        key = None if number % 5 == 0 else b"m%d" % (number % 3)
        value = None if number % 7 == 0 and key else b'{"v": %d}' % number
        headers = [("h", b"%d" % number), ("empty", None)] if number % 4 == 0 else None
        producer.produce(topic, value, key, timestamp=1_700_000_000_000 + number, headers=headers)
        if number % 10 == 9:
            producer.flush(10)
    producer.flush(10)
    if ending.startswith("abort"):
        producer.abort_transaction(10)
    elif ending:
        producer.commit_transaction(10)


UNPACKED = ["gzip", *(name for name in ("snappy", "lz4", "zstd") if getattr(codec, f"has_{name}")())]
"""Compressions of which aiokafka has the library here; all but the first need the package cramjam."""


def fill(kafka: Kafka) -> str:
    topic = kafka.topic("chunks", 1)
    produce(kafka, topic, 0, 25)
    for number, compression in enumerate((UNPACKED * 4)[:4]):
        produce(kafka, topic, 25 + 25 * number, 25, **{"compression.type": compression})
    produce(kafka, topic, 125, 25, **{"transactional.id": f"commit-{topic}"})
    produce(kafka, topic, 150, 25, **{"transactional.id": f"abort-{topic}"})
    produce(kafka, topic, 175, 25, **{"transactional.id": f"commit2-{topic}", "compression.type": "gzip"})
    return topic


async def read(kafka: Kafka, topic: str, start: int, whole: bool, isolation: Isolation, limit: int) -> list[Record]:
    """All records from an offset on, and, last, the position after them."""
    place = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.servers, enable_auto_commit=False, isolation_level=isolation,
        max_partition_fetch_bytes=1500,  # several fetches, cut anywhere
    )  # fmt: skip
    found: list[Record] = []
    chunks = 0
    await consumer.start()
    try:
        if whole:
            assert fetch_whole_batches(consumer)
        consumer.assign([place])
        consumer.seek(place, start)
        end = (await consumer.end_offsets([place]))[place]
        async with asyncio.timeout(20):
            while await consumer.position(place) < end:
                for part in (await consumer.getmany(timeout_ms=200, max_records=limit)).values():
                    chunks += sum(type(one) is Chunk for one in part)
                    found += [
                        (r.offset, r.timestamp, r.timestamp_type, r.key, r.value, tuple(r.headers))
                        for r in Chunk.of(part).records
                    ]
        assert (chunks > 0) == whole
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("isolation", ["read_uncommitted", "read_committed"])
async def test_chunks_hold_the_records_that_getmany_gives(real_kafka: Kafka, isolation: Isolation) -> None:
    topic = await asyncio.to_thread(fill, real_kafka)
    for start, limit in ((0, 1000), (0, 1), (17, 3), (33, 1000), (101, 2), (140, 1000), (163, 5)):
        plain = await read(real_kafka, topic, start, False, isolation, limit)
        assert plain
        assert await read(real_kafka, topic, start, True, isolation, limit) == plain
    numbers = {int(value[6:-1]) for _, _, _, _, value, _ in plain if value}
    assert max(numbers) >= 175
    assert numbers.isdisjoint(range(150, 175)) == (isolation == "read_committed")


async def test_blocks_are_cut_and_the_position_follows_what_was_handed_over(real_kafka: Kafka) -> None:
    topic = await asyncio.to_thread(fill, real_kafka)
    async with KafkaSource(
        servers=real_kafka.servers, topic=topic, start="earliest", block=7, codec=JsonLines(values=["v"])
    ) as source:
        values: list[float] = []
        while len(values) < 60:
            batch = await anext(aiter(source))
            assert len(batch) <= 7
            values += batch.values["v"].tolist()
        position = source.position()
    source.seek(position)
    async with source:
        more = await rows(source, 20)
    wanted = [float(n) for n in range(200) if n % 7 or not n % 5]
    assert values + [value for _, value in more] == wanted[: len(values) + len(more)]


def test_an_unexpected_fetcher_is_left_alone() -> None:
    class Odd:
        _fetcher = None

    assert not fetch_whole_batches(Odd())  # type: ignore[arg-type]
    odd = Odd()
    odd._fetcher = type("F", (), {"_records": OrderedDict(a=1)})()  # type: ignore[assignment]
    assert not fetch_whole_batches(odd)  # type: ignore[arg-type]


def test_single_records_make_a_chunk_and_names_and_stamps_are_as_the_records_say() -> None:
    class One:
        def __init__(self, offset: int) -> None:
            self.offset, self.timestamp = offset, 5 + offset

    singles = [One(1), One(2), One(3)]
    chunk = Chunk.of([Chunk(singles[:2]), singles[2]])
    assert chunk.records == singles
    assert chunk.offset == 3
    first, rest = chunk.cut(2)
    assert rest is not None
    assert (first.records, rest.records) == (singles[:2], singles[2:])
    assert list(Stamps(singles)) == [6_000_000, 7_000_000, 8_000_000]
    assert Stamps(singles)[1:][0] == 7_000_000
    names = Names()
    assert [names[key] for key in (b"a", None, b"\xff", b"a")] == ["a", "", "\ufffd", "a"]


class Fetched:
    """Stands for a consumer that has fetched a few compressed batches, as aiokafka keeps them."""

    def __init__(self, sizes: list[int]) -> None:
        data, first = b"", 0
        for size in sizes:
            builder = DefaultRecordBatchBuilder(2, 1, False, -1, -1, -1, 1 << 24)  # gzip
            for number in range(size):
                builder.append(number, 1_700_000_000_000, b"m", b'{"v": %d}' % (first + number), [])
            batch = bytearray(builder.build())
            struct.pack_into(">q", batch, 0, first)
            data, first = data + bytes(batch), first + size
        self.place, self.position, self.active, self.paused = TopicPartition("t", 0), 0, True, False
        self.unpacked = 0
        records = PartitionRecords(self.place, MemoryRecords(data), [], 0, None, None, False, 0)
        self._records: OrderedDict[Any, Any] = OrderedDict()
        self._fetcher = self
        assert fetch_whole_batches(self)  # type: ignore[arg-type]
        self._records[self.place] = FetchResult(self.place, assignment=self, partition_records=records, backoff=0)

    def state_value(self, place: TopicPartition) -> Fetched:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position

    async def getmany(self, *, timeout_ms: int = 0, max_records: int) -> dict[TopicPartition, list[Any]]:
        result = self._records[self.place]
        found = result.getall(max_records) if result.has_more() else []
        self.unpacked += sum(len(part.records) for part in found)
        return {self.place: found} if found else {}


@pytest.mark.parametrize("sizes", [[2000] * 20, [1] * 5 + [2000] * 20, [1, 2000] * 20])
async def test_a_compressed_fetch_is_unpacked_a_block_at_a_time(sizes: list[int]) -> None:
    source = KafkaSource(servers="x", topic="t", block=3000, codec=JsonLines(values=["v"]))
    consumer = Fetched(sizes)
    source._consumer = consumer  # type: ignore[assignment]
    values: list[float] = []
    while len(values) < sum(sizes):
        batch = await anext(source)
        values += batch.values["v"].tolist()
        assert len(batch) <= 3000
        assert consumer.unpacked - len(values) < 2000  # of a chunk that was begun
    assert values == list(range(sum(sizes)))
