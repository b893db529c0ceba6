"""Readings from a Kafka topic, a block of messages at a time.

The partitions are assigned by hand: no group protocol, so a restart reads on at once and a rebalance never happens.
Where to read on is kept by whoever saves the state that the readings led to (`position`, `seek`); that is what makes
their effect on the state exactly once. Committing tells the cluster too, for monitoring and as a fall-back.

A position is one of a topic, by its id, and for each partition. Where it leads nowhere, because the messages are gone or
the topic was made anew, what is left is read, and what is lost is said. Where to begin without a position (`start`) is
another question: a partition that is new to a topic is read from its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.codecs.json_lines import JsonLines
from sensors.source import Positioned, SourceError
from sensors.transport.kafka_auth import Mechanism, options
from sensors.transport.kafka_fetch import Chunk, Names, Stamps, fetch_whole_batches
from sensors.transport.kafka_topic import Topic, topic_of
from sensors.transport.tls import Tls
from sensors.units import Duration

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
"""How often to look whether the topic has more partitions, or is another."""


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
        start: where to begin without checkpoint and commit; a partition that is added later, or a topic that was made
            anew, is read from its beginning.
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
        self._topic_id = ""
        self._look_at = math.inf  # when to look whether the topic is still the same
        self._resumed = False  # whether it goes on where it stood

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
            auto_offset_reset="none",  # what is out of range is for us to say
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
        """Read all partitions wanted from where they stand, or where that leads nowhere, from what there is."""
        topic = await topic_of(consumer, self.topic)
        self._look_at = time.monotonic() + _pause(topic)
        wanted = self.partitions or tuple(sorted(topic.partitions))
        if not topic.partitions.issuperset(wanted) or not wanted:
            missing = f"no partitions {sorted(set(wanted) - topic.partitions)}"
            raise SourceError(f"{self.servers}: {self.topic}: {missing if topic.partitions else 'no such topic'}")
        anew = "" != self._topic_id != topic.id != ""
        same = self._topic_id == topic.id != ""
        places = {partition: TopicPartition(self.topic, partition) for partition in wanted}
        consumer.assign(list(places.values()))
        first = await consumer.beginning_offsets(list(places.values()))
        end = await consumer.end_offsets(list(places.values()))
        stands = {} if anew else dict(self._next) or await self._committed(consumer, places.values())
        if anew:
            log.error("%s: %s: the topic was deleted and made anew since it was read; what was not read of it is gone; "
                      "reading the new one from its beginning", self.servers, self.topic)  # fmt: skip
            self._next.clear()
        self._topic_id, self._resumed = topic.id or self._topic_id, bool(stands)
        grown = anew or (bool(stands) and not self.partitions)  # what is not known of has come since
        for partition, place in places.items():
            if partition in stands:
                offset = self._in_range(partition, stands[partition], first[place], end[place], same=same)
            else:
                offset = first[place] if grown or self.start == "earliest" else end[place]
                if grown and not anew:
                    log.info("%s: %s: partition %d is new; reading it from its beginning",
                             self.servers, self.topic, partition)  # fmt: skip
            self._next[partition] = offset
            consumer.seek(place, offset)

    async def _committed(self, consumer: AIOKafkaConsumer, places: Iterable[TopicPartition]) -> dict[int, int]:
        """What the cluster knows of where this group stands."""
        if not self.group:
            return {}
        known = {place.partition: await consumer.committed(place) for place in places}
        return {partition: offset for partition, offset in known.items() if offset is not None}

    def _in_range(self, partition: int, offset: int, first: int, end: int, *, same: bool) -> int:
        """The offset, or where to go on instead; `same` = it is certainly the topic that was read."""
        name = f"{self.servers}: {self.topic}: partition {partition}"
        if offset < first:
            self.counters.samples_lost += first - offset
            log.error(
                "%s: the messages at offsets %d to %d (%d) are gone, the topic does not keep them for so long; going on "
                "with the oldest there is, %d", name, offset, first - 1, first - offset, first,
            )  # fmt: skip
            return first
        if offset > end and same:
            log.error("%s: the cluster has lost the messages from offset %d to %d; going on with what comes",
                      name, end, offset - 1)  # fmt: skip
            return end
        if offset > end:
            self._resumed = False
            log.error(
                "%s: ends at offset %d, before %d where it was to go on: the topic was made anew; reading it from its "
                "beginning", name, end, offset,
            )  # fmt: skip
            return first
        return offset

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
        wait, left = max(100, int(min(self.timeout.seconds, _LOOK_SECONDS) * 1000)), self.block
        try:
            if time.monotonic() >= self._look_at:
                await self._look(consumer)
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
        except OffsetOutOfRangeError:
            await self._begin_again(consumer)
        except (KafkaError, OSError, TimeoutError) as error:
            raise SourceError(f"{self.servers}: {self.topic}: {_text(error)}") from error

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Whether the topic has more partitions by now, or is another."""
        topic = await topic_of(consumer, self.topic)
        self._look_at = time.monotonic() + _pause(topic)
        another = not topic.partitions or topic.id not in ("", self._topic_id)
        if another or (not self.partitions and topic.partitions - self._next.keys()):
            await self._begin_again(consumer)

    async def _begin_again(self, consumer: AIOKafkaConsumer) -> None:
        """Read from where it stands, as after opening."""
        self._ready.clear()
        try:
            async with asyncio.timeout(3 * self.timeout.seconds):
                await self._assign(consumer)
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
        """Partition -> offset of the first message not handed over; and which topic that is of."""
        if not self._next:
            return {}
        offsets = {str(partition): offset for partition, offset in sorted(self._next.items())}
        return offsets | {"topic": self.topic, "topic_id": self._topic_id}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go on from there; a position of a topic of another name is none."""
        if position.get("topic", self.topic) == self.topic:
            self._next, self._topic_id = _offsets(position), str(position.get("topic_id", ""))

    def resumed(self) -> str:
        places = ", ".join(f"{partition} {offset}" for partition, offset in sorted(self._next.items()))
        return places if self._resumed else ""

    async def commit(self, position: Mapping[str, Any]) -> None:
        """Commit to the cluster; that it does not answer now is no loss, since the checkpoint has them."""
        if not self.group or self._consumer is None:
            return
        offsets = {
            TopicPartition(self.topic, partition): offset for partition, offset in _offsets(position).items()
        }
        try:
            async with asyncio.timeout(self.timeout.seconds):
                await self._consumer.commit(offsets)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("%s: %s: not committed: %s", self.servers, self.topic, _text(error))


def _pause(topic: Topic) -> float:
    """How long until the next look; a cluster that knows no ids sends all that it has for it."""
    return _LOOK_SECONDS if topic.id else 3 * _LOOK_SECONDS


def _offsets(position: Mapping[str, Any]) -> dict[int, int]:
    """Those of a position, by partition."""
    return {int(partition): int(offset) for partition, offset in position.items() if partition.isdecimal()}


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
