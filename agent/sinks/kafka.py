"""To Kafka: acks=all, one partition per machine, batches of our own making, every wait bounded.

aiokafka's `start`, `send` and `stop` can wait for ever when a broker hangs, and its idempotent producer stays
wedged after some outages. So each is bounded here, and after any failure the producer is thrown away; the delivery
loop enters the sink again with a new one and sends from the cursor. What arrives twice has the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import ClassVar, Literal, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from agent.alerts.alert import Kind, Message, topic_name
from agent.sinks import RejectedError, Sink, SinkError
from sensors.transport.kafka_auth import Mechanism, options
from sensors.transport.tls import Tls
from sensors.units import MILLISECOND, Duration

log = logging.getLogger(__name__)

_FOR_GOOD = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTimestampError,
    InvalidTopicError,
    TopicAuthorizationFailedError,
)
_OBJECT = ord("{")
_body = itemgetter(4)
_HEADERS = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
_REPLAYED = [*_HEADERS, ("replayed", b"true")]

Place = tuple[tuple[str, int], bytes]
"""Topic and partition, and the key."""


@dataclass
class KafkaSink(Sink):
    """One cluster. The key is `<site>/<agent>/<machine>`; of a state `<site>/<agent>/<machine>/<name>`.

    Attributes:
        servers: `host:port`, several separated by commas.
        alerts, raw, states, metrics: topics. `states` should be compacted: an ended state is a tombstone.
        compression: of batches; snappy, lz4 and zstd need the package cramjam.
        idempotent: let the broker drop repeats of a batch.
        secure, sasl, user, password_file, tls: see `sensors.transport.kafka_auth`.
        timeout: bound of each wait for the broker.
        max_body: longest body, bytes; longer ones are dead-lettered.
        batch_bytes: largest batch for one partition.
        kinds: the classes of message it takes.
    """

    servers: str
    alerts: str = "edge.alerts.v1"
    raw: str = "edge.raw.v1"
    states: str = "edge.alert-state.v1"
    metrics: str = "edge.metrics.v1"
    compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None
    idempotent: bool = False
    sasl: Mechanism | None = None
    user: str = ""
    password_file: Path | None = None
    tls: Tls | None = None
    secure: bool = False
    timeout: Duration = Duration("10s")
    max_body: int = 900_000
    batch_bytes: int = 256 * 1024
    kinds: frozenset[Kind] = frozenset({"alert", "raw", "state", "metric"})

    batch_size: ClassVar[int] = 2000
    """Each time costs a round trip."""

    def __post_init__(self) -> None:
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        self._places: dict[tuple[Kind, str, str], Place] = {}
        self._prefix = ""
        self._topics: dict[Kind, str] = {
            "alert": self.alerts, "raw": self.raw, "state": self.states, "metric": self.metrics,
        }  # fmt: skip

    async def __aenter__(self) -> Self:
        try:
            security = await asyncio.to_thread(
                options, self.secure, self.tls, self.sasl, self.user, self.password_file
            )
        except OSError as error:
            raise SinkError(f"{self.servers}: {error}") from error
        self._broken = False
        self._places = {}
        self._prefix = f"{topic_name(self.identity.site)}/{topic_name(self.identity.agent)}/"
        self._producer = producer = AIOKafkaProducer(
            bootstrap_servers=self.servers,
            client_id=f"edge-{topic_name(self.identity.agent)}",
            acks="all",
            enable_idempotence=self.idempotent,
            compression_type=self.compression,
            max_batch_size=self.batch_bytes,
            max_request_size=2 * self.max_body,
            request_timeout_ms=max(100, int(self.timeout.seconds * 1000)),
            retry_backoff_ms=300,
            **security,
        )
        try:
            # its own time-outs close what it opened; ours, three of them, is for where it has none
            async with asyncio.timeout(3 * self.timeout.seconds):
                await producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self._abandon(producer)
            raise SinkError(f"{self.servers}: {_text(error)}") from error
        except BaseException:
            await self._abandon(producer)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if not self._broken and exc[0] is None:
            try:
                async with asyncio.timeout(2.0):
                    await producer.stop()
                return
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("%s: stop: %s", self.servers, _text(error))
        await self._abandon(producer)

    async def _abandon(self, producer: AIOKafkaProducer) -> None:
        """End the producer's tasks, so that nothing of it is sent any more; its own `stop` may wait for ever."""
        producer._closed = True
        for close in (producer._sender.close, producer.client.close):
            with contextlib.suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(1.0):
                    await close()

    async def send(self, messages: Sequence[Message]) -> None:
        producer = self._producer
        if producer is None:
            raise SinkError(f"{self.servers}: not connected")
        if not messages:
            return
        if max(map(len, map(_body, messages))) > self.max_body:
            too_long = [m.id for m in messages if len(m.body) > self.max_body]
            raise RejectedError(f"longer than {self.max_body} bytes", too_long)
        try:
            async with asyncio.timeout(self.timeout.seconds):
                parts: dict[tuple[str, int], list[tuple[bytes, Message]]] = defaultdict(list)
                for message in messages:
                    _, kind, machine, name, *_ = message
                    where = (kind, machine, name if kind == "state" else "")
                    target, key = self._places.get(where) or await self._place(producer, *where)
                    parts[target].append((key, message))
                answers = await asyncio.gather(
                    *(self._send_part(producer, topic, number, part) for (topic, number), part in parts.items()),
                    return_exceptions=True,
                )
        except (KafkaError, OSError, TimeoutError) as error:
            self._broken = True
            raise SinkError(f"{self.servers}: {_text(error)}") from error
        refused: list[str] = []
        reason = ""
        for answer in answers:
            if isinstance(answer, RejectedError):
                reason = str(answer)
                refused += answer.ids
            elif isinstance(answer, (KafkaError, OSError, TimeoutError)):
                self._broken = True
                raise SinkError(f"{self.servers}: {_text(answer)}") from answer
            elif isinstance(answer, BaseException):
                raise answer
        if refused:
            raise RejectedError(reason, refused)

    async def _place(self, producer: AIOKafkaProducer, kind: Kind, machine: str, name: str) -> Place:
        """Where messages of a machine (or states of that name) go; remembered."""
        topic = self._topics[kind]
        key = f"{self._prefix}{machine}/{name}" if kind == "state" else self._prefix + machine
        await producer.partitions_for(topic)
        if len(self._places) > 100_000:
            self._places.clear()
        place = (topic, producer._partition(topic, None, None, None, key.encode(), None)), key.encode()
        self._places[kind, machine, name] = place
        return place

    async def _send_part(
        self, producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[tuple[bytes, Message]]
    ) -> None:
        """Send what goes to one partition, in order: pairs of key and message."""
        start, now = 0, time.time_ns()
        while start < len(messages):
            batch = producer.create_batch()
            stop = start
            for key, (_, kind, _, _, body, at, replayed) in islice(messages, start, None):
                if kind == "raw" and body and body[0] != _OBJECT:  # a bare value, no CloudEvent
                    added = batch.append(timestamp=_stamp(at, now), key=key, value=body)
                else:
                    headers = _REPLAYED if replayed else _HEADERS
                    added = batch.append(timestamp=None, key=key, value=body or None, headers=headers)
                if added is None:
                    break
                stop += 1
            batch.close()
            try:
                await (await producer.send_batch(batch, topic, partition=partition))
            except _FOR_GOOD as error:
                if stop - start == 1 or isinstance(error, InvalidTopicError | TopicAuthorizationFailedError):
                    raise RejectedError(
                        f"{topic}: {_text(error)}", [m.id for _, m in messages[start:stop]]
                    ) from error
                await self._send_singly(producer, topic, partition, messages[start:stop])
            start = stop

    async def _send_singly(
        self, producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[tuple[bytes, Message]]
    ) -> None:
        refused: list[str] = []
        for pair in messages:
            try:
                await self._send_part(producer, topic, partition, [pair])
            except RejectedError as error:
                refused += error.ids
        if refused:
            raise RejectedError(f"{topic}: too large", refused)


def _stamp(time: int, now: int) -> int:
    """Time stamp of a body that does not carry its time, ms; others get the broker's, so that they are kept long.

    Never ahead of our clock: a broker refuses records an hour ahead, and one wild time would block the sink.
    """
    return max(0, (time if time < now else now) // MILLISECOND)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
