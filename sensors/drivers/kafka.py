"""Readings from a Kafka topic, a block of messages at a time.

The partitions are assigned by hand: no group protocol, so a restart reads on at once and a rebalance never happens.
Where to read on is kept by whoever saves the state that the readings led to (`position`, `seek`); that is what makes
their effect on the state exactly once. Offsets are committed to the cluster, too, for monitoring and as a fall-back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.codecs.json_lines import JsonLines
from sensors.source import Positioned, SourceError
from sensors.transport.kafka_auth import Mechanism, options
from sensors.transport.kafka_fetch import Chunk, Names, Stamps, fetch_whole_batches
from sensors.transport.tls import Tls
from sensors.units import Duration

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class KafkaSource(Positioned):
    """Messages of one topic, decoded together.

    A message's key names the machine where the payload does not, its time stamp serves where the payload has none.

    Attributes:
        servers: `host:port`, several separated by commas.
        topic: its name; batches packed with snappy, lz4 or zstd need the package cramjam.
        codec: how a message is written.
        partitions: which ones to read; all if none is given. Agents that share a topic divide them.
        group: name under which positions are committed; empty = not at all.
        start: where to begin without checkpoint and commit.
        block: most messages read at once.
        sasl, user, password_file, tls, secure: as in the Kafka sink.
        timeout: bound of each wait for the broker; also how long it may be silent before it is pinged.
    """

    servers: str
    topic: str
    codec: Codec = field(default_factory=JsonLines)
    partitions: tuple[int, ...] = ()
    group: str = ""
    start: Literal["earliest", "latest"] = "latest"
    block: int = 20_000
    sasl: Mechanism | None = None
    user: str = ""
    password_file: Path | None = None
    tls: Tls | None = None
    secure: bool = False
    timeout: Duration = Duration("10s")

    def __post_init__(self) -> None:
        self.counters = self.codec.counters
        self._consumer: AIOKafkaConsumer | None = None
        self._next: dict[int, int] = {}
        self._ready: deque[tuple[int, Chunk]] = deque()  # fetched and not handed over
        self._whole = True  # the consumer hands out chunks, not records
        self._names = Names()

    async def __aenter__(self) -> Self:
        try:
            security = await asyncio.to_thread(
                options, self.secure, self.tls, self.sasl, self.user, self.password_file
            )
        except OSError as error:
            raise SourceError(f"{self.servers}: {error}") from error
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.servers,
            group_id=self.group or None,
            enable_auto_commit=False,
            auto_offset_reset=self.start,
            request_timeout_ms=max(600, int(self.timeout.seconds * 1000)),
            fetch_max_wait_ms=500,
            retry_backoff_ms=300,
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=16 << 20,
            **security,
        )
        try:
            # its own time-outs close what it opened; ours is for where it has none
            async with asyncio.timeout(3 * self.timeout.seconds):
                await consumer.start()
                self._whole = fetch_whole_batches(consumer)
                await self._assign(consumer)
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            await self._end(consumer)
            raise SourceError(f"{self.servers}: {_text(error)}") from error
        except BaseException:
            await self._end(consumer)
            raise
        self._consumer = consumer
        return self

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        cluster = await consumer._client.fetch_all_metadata()  # asking for the topic alone might create it
        known = cluster.partitions_for_topic(self.topic)
        wanted = self.partitions or tuple(sorted(known or ()))
        if not known or not known.issuperset(wanted):
            what = f"no partitions {sorted(set(wanted) - set(known or ()))}" if known else "no such topic"
            raise SourceError(f"{self.servers}: {self.topic}: {what}")
        consumer.assign([TopicPartition(self.topic, partition) for partition in wanted])
        for partition in wanted:
            place = TopicPartition(self.topic, partition)
            if partition in self._next:
                consumer.seek(place, self._next[partition])
            else:
                self._next[partition] = await consumer.position(place)

    async def __aexit__(self, *exc: object) -> None:
        consumer, self._consumer = self._consumer, None
        self._ready.clear()
        if consumer is not None:
            await self._end(consumer)

    async def _end(self, consumer: AIOKafkaConsumer) -> None:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(2.0):
                await consumer.stop()

    def outputs(self) -> tuple[str, ...] | None:
        return self.codec.outputs()

    async def __anext__(self) -> Batch:
        consumer = self._consumer
        if consumer is None:
            raise SourceError(f"{self.servers}: not open")
        while True:
            if not self._ready:
                await self._fetch(consumer)
            records: list[Any] = []
            while self._ready and len(records) < self.block:
                partition, chunk = self._ready.popleft()
                part, rest = chunk.cut(self.block - len(records))
                if rest is not None:
                    self._ready.appendleft((partition, rest))
                records += part.records
                self._next[partition] = part.offset + 1
            batch = self._decode(records) if records else None
            if batch is not None:
                return batch

    async def _fetch(self, consumer: AIOKafkaConsumer) -> None:
        """Wait for records, then take what has arrived: a block, and what the last chunk has beyond it.

        How many records a chunk holds is known only when it is unpacked, so chunks are taken one by one: of a
        compressed fetch, millions of records would be unpacked at once.
        """
        wait, left = max(100, int(self.timeout.seconds * 1000)), self.block
        try:
            parts = await consumer.getmany(timeout_ms=wait, max_records=1 if self._whole else left)
            if not parts:
                async with asyncio.timeout(self.timeout.seconds):
                    await consumer.end_offsets(consumer.assignment())
            while parts:
                for place in sorted(parts):
                    chunk = Chunk.of(parts[place])
                    self._ready.append((place.partition, chunk))
                    left -= len(chunk.records)
                parts = await consumer.getmany(max_records=1 if self._whole else left) if left > 0 else {}
        except (KafkaError, OSError, TimeoutError) as error:
            raise SourceError(f"{self.servers}: {self.topic}: {_text(error)}") from error

    def _decode(self, records: list[Any]) -> Batch | None:
        frames = [record.value for record in records]
        if None in frames:  # a tombstone holds nothing
            records = [record for record in records if record.value is not None]
            frames = [record.value for record in records]
        keys = [record.key for record in records]
        keyed = keys.count(None) < len(keys)
        machines = list(map(self._names.__getitem__, keys)) if keyed else None
        self.counters.bytes_read += sum(map(len, frames))
        return self.codec.decode(frames, time.time_ns(), Stamps(records), machines) if frames else None

    def position(self) -> Mapping[str, Any]:
        """Partition -> offset of the first message not handed over."""
        return {str(partition): offset for partition, offset in sorted(self._next.items())}

    def seek(self, position: Mapping[str, Any]) -> None:
        self._next = {int(partition): int(offset) for partition, offset in position.items()}

    async def commit(self, position: Mapping[str, Any]) -> None:
        """Commit to the cluster; that it does not answer now is no loss, since the checkpoint has them."""
        if not self.group or self._consumer is None:
            return
        offsets = {
            TopicPartition(self.topic, int(partition)): int(offset) for partition, offset in position.items()
        }
        try:
            async with asyncio.timeout(self.timeout.seconds):
                await self._consumer.commit(offsets)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("%s: %s: not committed: %s", self.servers, self.topic, _text(error))


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
