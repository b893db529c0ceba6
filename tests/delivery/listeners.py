"""Subscribers for tests, on libraries of their own: what a stranger would see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
from aiokafka import AIOKafkaConsumer


@dataclass
class Listener:
    """What arrived, in order: (topic, payload, retained, properties) from MQTT."""

    got: list[tuple[str, bytes, bool, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arrived = asyncio.Event()

    async def until(self, count: int, topic: str = "", seconds: float = 15.0) -> list[tuple[str, bytes, bool, Any]]:
        """Wait for `count` messages whose topic contains `topic`."""
        async with asyncio.timeout(seconds):
            while len(found := [m for m in self.got if topic in m[0]]) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return found


@asynccontextmanager
async def listening(port: int, topic: str = "#", **options: Any) -> AsyncIterator[Listener]:
    listener = Listener()
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, **options) as client:
        await client.subscribe(topic, qos=1)

        async def collect() -> None:
            async for message in client.messages:
                properties = message.properties.json() if message.properties else {}
                listener.got.append((str(message.topic), bytes(message.payload), message.retain, properties))
                listener.arrived.set()

        task = asyncio.create_task(collect())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def consume(servers: str, topic: str, count: int, seconds: float = 20.0) -> list[Any]:
    """The first records of a topic."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=10
    )
    await consumer.start()
    try:
        records: list[Any] = []
        async with asyncio.timeout(seconds):
            while len(records) < count:
                for part in (await consumer.getmany(timeout_ms=200)).values():
                    records += part
        return records
    finally:
        await consumer.stop()
