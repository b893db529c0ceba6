"""Alerts from Kafka, through interruptions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from agent.subscriber.events import Deduplicator, Event
from sensors.transport.backoff import Backoff
from sensors.transport.kafka_auth import Mechanism, options
from sensors.transport.tls import Tls

log = logging.getLogger(__name__)


@dataclass
class KafkaEvents:
    """Events of some topics: `async with KafkaEvents("host:9092") as events: async for event in events`.

    With a `group` the place is kept in the cluster: an event is committed only when the next is asked for, and each
    goes to one member of the group. Without one, reading starts at `start`.

    Attributes:
        servers: `host:port`, several separated by commas.
        topics: to read.
        start: where to begin without a committed place.
        commit_every: events after which the place is committed; also on leaving.
        trouble: called when the cluster is away, and why.
    """

    servers: str
    topics: tuple[str, ...] = ("edge.alerts.v1",)
    group: str = ""
    start: Literal["earliest", "latest"] = "latest"
    commit_every: int = 100
    sasl: Mechanism | None = None
    user: str = ""
    password_file: Path | None = None
    tls: Tls | None = None
    secure: bool = False
    timeout: float = 10.0
    deduplicator: Deduplicator = field(default_factory=Deduplicator)
    backoff: Backoff = field(default_factory=Backoff)
    trouble: Callable[[str], None] = lambda why: log.warning("%s", why)

    def __post_init__(self) -> None:
        self._consumer: Any = None
        self._waiting: deque[Any] = deque()
        self._done: dict[Any, int] = {}
        self._uncommitted = 0
        self._last: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            if exc[0] is None:  # else the last event was perhaps not dealt with
                self._finish()
            await self._commit(consumer)
            with contextlib.suppress(Exception):  # aiokafka may raise anything here, and we are leaving
                async with asyncio.timeout(2.0):
                    await consumer.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        from aiokafka.errors import KafkaError

        while True:
            self._finish()
            try:
                if self._consumer is None:
                    await self._connect()
                if self._uncommitted >= self.commit_every:
                    await self._commit(self._consumer)
                while not self._waiting:
                    for part in (await self._consumer.getmany(timeout_ms=1000, max_records=5000)).values():
                        self._waiting.extend(part)
            except (KafkaError, OSError, TimeoutError) as error:
                self.trouble(f"{self.servers}: {error or type(error).__name__}")
                await asyncio.sleep(self.backoff.next())
                continue
            self._last = self._waiting.popleft()
            if self._last.value and (event := self.deduplicator.take(self._last.value)) is not None:
                return event

    def _finish(self) -> None:
        """The event handed over last has been dealt with."""
        if self._last is not None:
            from aiokafka import TopicPartition

            self._done[TopicPartition(self._last.topic, self._last.partition)] = self._last.offset + 1
            self._uncommitted += 1
            self._last = None

    async def _connect(self) -> None:
        from aiokafka import AIOKafkaConsumer

        security = await asyncio.to_thread(options, self.secure, self.tls, self.sasl, self.user, self.password_file)
        consumer = AIOKafkaConsumer(
            *self.topics,
            bootstrap_servers=self.servers,
            group_id=self.group or None,
            enable_auto_commit=False,
            auto_offset_reset=self.start,
            request_timeout_ms=int(self.timeout * 1000),
            **security,
        )
        try:
            async with asyncio.timeout(3 * self.timeout):
                await consumer.start()
        except BaseException:
            with contextlib.suppress(Exception):  # it has not started: whatever it says is of no use
                async with asyncio.timeout(1.0):
                    await consumer.stop()
            raise
        self._consumer = consumer

    async def _commit(self, consumer: Any) -> None:
        from aiokafka.errors import KafkaError

        if not self.group or not self._done:
            return
        done, self._done, self._uncommitted = self._done, {}, 0
        try:
            async with asyncio.timeout(self.timeout):
                await consumer.commit(done)
        except (KafkaError, TimeoutError) as error:
            self.trouble(f"{self.servers}: not committed: {error}")
