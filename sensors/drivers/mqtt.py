"""Readings from an MQTT broker: topics are subscribed, what has arrived is decoded together."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.codecs.json_lines import JsonLines
from sensors.source import Source, SourceError
from sensors.transport.mqtt import Address, Connection, ConnectionLostError, Received, connect, properties_of
from sensors.transport.tls import Tls, read_secret
from sensors.units import Duration

_V5, _V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
_PROTOCOLS = {"auto": (_V5, _V311), "5": (_V5,), "3.1.1": (_V311,)}


@dataclass(kw_only=True)
class MqttSource(Source):
    """Messages of one or more topics; with QoS 1 each is acknowledged only when the next batch is asked for.

    Attributes:
        url: `mqtt://host:1883`, or `mqtts://host:8883` for TLS.
        topic: what to subscribe to, with wildcards; one or several.
        codec: how a message is written.
        machine_level: level of the topic, counted from 0, that names the machine where the payload does not;
            negative = counted from the end.
        qos: 0 or 1.
        user, password_file, tls: as in the MQTT sink.
        client_id: fixed, so that the broker keeps what comes while we are away; the default follows from `topic`.
        session: how long it keeps it (MQTT 5).
        protocol: "auto" = MQTT 5, and 3.1.1 where the broker does not speak it.
        keepalive: silence after which the connection is taken for dead.
        timeout: bound of each wait for the broker.
        max_queued: most messages kept while the agent is busy; with QoS 1 the broker holds back what is more
            (MQTT 5), else the oldest are dropped and counted.
    """

    url: str
    topic: str | tuple[str, ...]
    codec: Codec = field(default_factory=JsonLines)
    machine_level: int | None = None
    qos: Literal[0, 1] = 1
    user: str = ""
    password_file: Path | None = None
    tls: Tls | None = None
    client_id: str = ""
    session: Duration = Duration("1h")
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive: Duration = Duration("20s")
    timeout: Duration = Duration("10s")
    max_queued: int = 10_000

    def __post_init__(self) -> None:
        self.counters = self.codec.counters
        self._address = Address.parse(self.url)
        self._topics = (self.topic,) if isinstance(self.topic, str) else self.topic
        self._protocols = _PROTOCOLS[self.protocol]
        self._connection: Connection | None = None
        self._handed_over: list[Received] = []
        self._machines: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            context = (
                await asyncio.to_thread((self.tls or Tls()).context) if self.tls or self._address.tls else None
            )
            password = (
                None if self.password_file is None else await asyncio.to_thread(read_secret, self.password_file)
            )
        except OSError as error:
            raise SourceError(f"{self.url}: {error}") from error
        name = hashlib.sha1("\n".join(self._topics).encode(), usedforsecurity=False).hexdigest()[:12]
        window = min(self.max_queued, 65_535)
        try:
            connection = await connect(
                self._address,
                self._protocols,
                self.timeout.seconds,
                context,
                {
                    "identifier": self.client_id or f"edge-in-{name}",
                    "username": self.user or None,
                    "password": password,
                    "keepalive": max(1, round(self.keepalive.seconds)),
                },
                {
                    _V5: {
                        "clean_start": False,
                        "properties": properties_of(
                            PacketTypes.CONNECT,
                            SessionExpiryInterval=round(self.session.seconds),
                            ReceiveMaximum=window,
                        ),
                    },
                    _V311: {"clean_session": False},
                },
                self.max_queued,
            )
        except ConnectionLostError as error:
            raise SourceError(f"{self.url}: {error}") from error
        self._protocols = (connection.protocol,)
        try:
            wanted: list[tuple[str, int]] = [(topic, self.qos) for topic in self._topics]
            granted = await connection.subscribe(wanted)
            refused = [t for t, code in zip(self._topics, granted, strict=True) if _code(code) >= 128]
            if refused:
                raise SourceError(f"{self.url}: the broker refuses {', '.join(refused)}")
        except (aiomqtt.MqttError, ValueError) as error:
            connection.abandon()
            raise SourceError(f"{self.url}: {error}") from error
        except BaseException:
            connection.abandon()
            raise
        self._handed_over = []
        self._connection = connection
        return self

    async def __aexit__(self, *exc: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if not connection.lost():
                self._acknowledge(connection)
            await connection.close()

    def outputs(self) -> tuple[str, ...] | None:
        return self.codec.outputs()

    async def __anext__(self) -> Batch:
        connection = self._connection
        if connection is None:
            raise SourceError(f"{self.url}: not open")
        while True:
            self._acknowledge(connection)
            try:
                messages = await connection.receive()
            except ConnectionLostError as error:
                raise SourceError(f"{self.url}: {error}") from error
            self.counters.samples_lost += connection.take_dropped()
            self._handed_over = messages
            frames = [message.body for message in messages]
            self.counters.bytes_read += sum(map(len, frames))
            machines = None
            if self.machine_level is not None:
                machines = [self._machine(message.topic) for message in messages]
            batch = self.codec.decode(frames, time.time_ns(), None, machines)
            if batch is not None:
                return batch

    def _acknowledge(self, connection: Connection) -> None:
        for message in self._handed_over:
            if message.qos:
                connection.acknowledge(message.packet, message.qos)
        self._handed_over = []

    def _machine(self, topic: str) -> str:
        machine = self._machines.get(topic)
        if machine is None:
            levels = topic.split("/")
            try:
                machine = levels[self.machine_level or 0]
            except IndexError:
                machine = ""
            if len(self._machines) >= 100_000:
                self._machines.clear()
            self._machines[topic] = machine
        return machine


def _code(granted: object) -> int:
    return granted if isinstance(granted, int) else int(getattr(granted, "value", 128))
