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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from agent.alerts import Kind, Message, topic_name
from agent.sinks import RejectedError, SinkError
from sensors.kafka_security import Mechanism, options
from sensors.security import Tls
from sensors.units import MILLISECOND, Duration

log = logging.getLogger(__name__)

_FOR_GOOD = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTimestampError,
    InvalidTopicError,
    TopicAuthorizationFailedError,
)
_HEADERS = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
_LATE = [*_HEADERS, ("replayed", b"true")]


@dataclass
class KafkaSink:
    """One cluster. The key is `<site>/<agent>/<machine>`; of a state `<site>/<agent>/<machine>/<name>`.

    Attributes:
        servers: `host:port`, several separated by commas.
        alerts, raw, states, metrics: topics. `states` should be compacted: an ended state is a tombstone.
        compression: of batches; snappy, lz4 and zstd need the package cramjam.
        idempotent: let the broker drop repeats of a batch.
        security, sasl, user, password_file, tls: see `sensors.kafka_security`.
        timeout: bound of each wait for the broker.
        max_body: longest body, bytes; longer ones are dead-lettered.
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
    site: str = ""
    agent: str = ""

    def __post_init__(self) -> None:
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        self._partitions: dict[tuple[str, str], int] = {}
        self._topics: dict[Kind, str] = {
            "alert": self.alerts, "raw": self.raw, "state": self.states, "metric": self.metrics,
        }  # fmt: skip
        self._prefix = f"{topic_name(self.site or 'site')}/{topic_name(self.agent or 'agent')}/"

    async def __aenter__(self) -> Self:
        try:
            security = await asyncio.to_thread(
                options, self.secure, self.tls, self.sasl, self.user, self.password_file
            )
        except OSError as error:
            raise SinkError(f"{self.servers}: {error}") from error
        self._broken = False
        self._partitions = {}
        self._producer = producer = AIOKafkaProducer(
            bootstrap_servers=self.servers,
            client_id=f"edge-{topic_name(self.agent or 'agent')}",
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
        too_long = [m.id for m in messages if len(m.body) > self.max_body]
        if too_long:
            raise RejectedError(f"longer than {self.max_body} bytes", too_long)
        try:
            async with asyncio.timeout(self.timeout.seconds):
                parts: dict[tuple[str, int], list[Message]] = {}
                for message in messages:
                    topic = self._topics[message.kind]
                    parts.setdefault((topic, await self._partition(producer, topic, message)), []).append(message)
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

    async def _partition(self, producer: AIOKafkaProducer, topic: str, message: Message) -> int:
        key = (topic, message.machine + "/" + message.name if message.kind == "state" else message.machine)
        partition = self._partitions.get(key)
        if partition is None:
            await producer.partitions_for(topic)
            if len(self._partitions) > 100_000:
                self._partitions.clear()
            partition = producer._partition(topic, None, None, None, self._key(message), None)
            self._partitions[key] = partition
        return partition

    def _key(self, message: Message) -> bytes:
        tail = f"{message.machine}/{message.name}" if message.kind == "state" else message.machine
        return (self._prefix + tail).encode()

    async def _send_part(
        self, producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[Message]
    ) -> None:
        """Send what goes to one partition, in order."""
        start = 0
        while start < len(messages):
            batch = producer.create_batch()
            stop = start
            while stop < len(messages):
                message = messages[stop]
                headers = _LATE if message.body.endswith(b'"replayed":true}') else _HEADERS
                added = batch.append(
                    timestamp=None if message.body.startswith(b"{") else _event_time(message),
                    key=self._key(message),
                    value=message.body or None,
                    headers=headers,
                )
                if added is None:
                    break
                stop += 1
            batch.close()
            try:
                await (await producer.send_batch(batch, topic, partition=partition))
            except _FOR_GOOD as error:
                if stop - start == 1 or isinstance(error, InvalidTopicError | TopicAuthorizationFailedError):
                    raise RejectedError(f"{topic}: {_text(error)}", [m.id for m in messages[start:stop]]) from error
                await self._send_singly(producer, topic, partition, messages[start:stop])
            start = stop

    async def _send_singly(
        self, producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[Message]
    ) -> None:
        refused: list[str] = []
        for message in messages:
            try:
                await self._send_part(producer, topic, partition, [message])
            except RejectedError as error:
                refused += error.ids
        if refused:
            raise RejectedError(f"{topic}: too large", refused)


def _event_time(message: Message) -> int | None:
    """Time stamp of a body that does not tell its time, ms; others get the broker's, so that they are kept long.

    Never ahead of our clock: a broker refuses records an hour ahead, and one wild time would block the sink.
    """
    if message.kind != "raw" or not message.body:
        return None
    return max(0, min(message.time, time.time_ns()) // MILLISECOND)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
