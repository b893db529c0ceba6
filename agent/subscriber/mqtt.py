"""Alerts from an MQTT broker, through interruptions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from agent.subscriber.events import Deduplicator, Event
from sensors.transport.backoff import Backoff
from sensors.transport.mqtt import (
    Address,
    Connection,
    ConnectionLostError,
    NoAnswerError,
    Received,
    connect,
    properties_of,
)
from sensors.transport.tls import Tls, read_secret

log = logging.getLogger(__name__)

_V5, _V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311


@dataclass
class MqttEvents:
    """`async with MqttEvents(url) as events: async for event in events: ...` It connects again for ever.

    With a `client_id` the broker keeps alerts while we are away, and each is acknowledged only when the next is
    asked for. Without one, what happens meanwhile is missed (and counted).

    Attributes:
        url: `mqtt://host:1883` or `mqtts://host:8883`.
        site, agent, machine: only these; `+` = all.
        raw: raw events too.
        present: first the alerts that are open now, from the retained topics.
        keep: with `client_id`, seconds for which the broker keeps what comes while we are away.
        trouble: called when the broker is away, and why.
    """

    url: str
    site: str = "+"
    agent: str = "+"
    machine: str = "+"
    root: str = "edge"
    raw: bool = True
    present: bool = False
    client_id: str = ""
    keep: float = 86400.0
    user: str = ""
    password_file: Path | None = None
    tls: Tls | None = None
    timeout: float = 10.0
    deduplicator: Deduplicator = field(default_factory=Deduplicator)
    backoff: Backoff = field(default_factory=Backoff)
    trouble: Callable[[str], None] = lambda why: log.warning("%s", why)

    def __post_init__(self) -> None:
        self._address = Address.parse(self.url)
        self.deduplicator.gaps = self.deduplicator.gaps and self.machine == "+"
        self._connection: Connection | None = None
        self._waiting: deque[Received] = deque()
        self._last: Received | None = None
        self._since = 0.0
        self._protocols = (_V5, _V311)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if exc[0] is None:  # else the last event was perhaps not dealt with
                self._acknowledge(connection)
            await connection.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            if self._connection is None:
                await self._connect()
            connection = self._connection
            if connection is None:
                continue
            self._acknowledge(connection)
            try:
                while not self._waiting:
                    self._waiting.extend(await connection.receive())
            except ConnectionLostError as error:
                self._connection = None
                connection.abandon()
                self.trouble(f"{self.url}: {error}")
                await asyncio.sleep(self.backoff.next(time.monotonic() - self._since))
                continue
            self._last = self._waiting.popleft()
            if self._last.body and (event := self.deduplicator.take(self._last.body)) is not None:
                return event

    def _acknowledge(self, connection: Connection) -> None:
        if self._last is not None and self._last.qos and not connection.lost():
            connection.acknowledge(self._last.packet, self._last.qos)
        self._last = None

    async def _connect(self) -> None:
        """Connect and subscribe; after a failure, wait and return without."""
        self._waiting.clear()
        self._last = None
        keep = round(self.keep) if self.client_id else 0
        options: dict[str, Any] = {"identifier": self.client_id or None, "keepalive": 20}
        try:
            context = (
                await asyncio.to_thread((self.tls or Tls()).context) if self.tls or self._address.tls else None
            )
            if self.user:
                secret = self.password_file
                password = None if secret is None else await asyncio.to_thread(read_secret, secret)
                options |= {"username": self.user, "password": password}
            options_5: dict[str, Any] = {"clean_start": not keep}
            if keep:  # brokers of 3.1.1 may wait for the rest of a packet with properties, and refuse one without
                options_5["properties"] = properties_of(PacketTypes.CONNECT, SessionExpiryInterval=keep)
            connection = await connect(
                self._address,
                self._protocols,
                self.timeout,
                context,
                options,
                {_V5: options_5, _V311: {"clean_session": not keep}},
                100_000,
            )
            base = f"{self.root}/v1/{self.site}/{self.agent}/{self.machine}"
            topics = [f"{base}/event/alert"] + [f"{base}/event/raw"] * self.raw + [f"{base}/alert/+"] * self.present
            wanted: list[tuple[str, int]] = [(topic, 1) for topic in topics]
            try:
                await connection.subscribe(wanted)
            except BaseException:
                connection.abandon()
                raise
        except (ConnectionLostError, aiomqtt.MqttError, OSError) as error:
            if isinstance(
                error, NoAnswerError
            ):  # perhaps another protocol; a broker that only hung answers to both
                self._protocols = self._protocols[::-1]
            self.trouble(f"{self.url}: {error}")
            await asyncio.sleep(self.backoff.next())
            return
        self._protocols = (_V5, _V311)
        self._connection, self._since = connection, time.monotonic()
