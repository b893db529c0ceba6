"""To an MQTT broker: every alert confirmed by PUBACK, the agent's presence by birth and will."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import aiomqtt
import orjson
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.alerts.alert import Kind, Message, topic_name
from agent.alerts.command_codec import CommandCodec
from agent.sinks import RejectedError, Sink, SinkError
from agent.sinks.home_assistant import HomeAssistant
from agent.sinks.topics import ROUTES, topic_of
from sensors.drivers.mqtt import MqttSource
from sensors.source import Source
from sensors.transport.mqtt import (
    Address,
    Connection,
    ConnectionLostError,
    Publish,
    client_id,
    connect,
    properties_of,
)
from sensors.transport.tls import Tls, read_secret
from sensors.units import Duration

log = logging.getLogger(__name__)

V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
_PROTOCOLS = {"auto": (V5, V311), "5": (V5,), "3.1.1": (V311,)}
_CONTENT = {"alert": "application/cloudevents+json", "raw": "application/cloudevents+json",
            "metric": "application/cloudevents+json"}  # fmt: skip
_STATUS_SECONDS = 60.0


@dataclass
class MqttSink(Sink):
    """One broker. Topics: see `agent.sinks.topics`.

    Attributes:
        url: `mqtt://host:1883`, or `mqtts://host:8883` for TLS.
        user, password_file: who we are to the broker; the password is the file's first line.
        tls: certificates; without it `mqtts` trusts the system's authorities. Files that change are read again and
            the connection renewed.
        client_id: fixed, so that the broker knows us again; the default is made of site, agent and sink, and of the
            machine and state directory the agent runs with.
        root: first level of all topics.
        protocol: "auto" = MQTT 5, and 3.1.1 where the broker does not speak it.
        keepalive: silence after which the connection is taken for dead.
        timeout: bound of each wait for the broker.
        will_delay: how long the broker waits before it publishes that we are gone (MQTT 5).
        home_assistant: announce each alert to Home Assistant, as a binary sensor of its machine.
        discovery: first level of Home Assistant's own topics.
        max_body: longest body, bytes; longer ones are dead-lettered.
        commands: apply what is published under `cmd/` (acknowledge, silence); who may publish there is the
            broker's business.
        kinds: the classes of message it takes.
    """

    url: str
    user: str = ""
    password_file: Path | None = None
    tls: Tls | None = None
    client_id: str = ""
    root: str = "edge"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive: Duration = Duration("20s")
    timeout: Duration = Duration("10s")
    will_delay: Duration = Duration("10s")
    home_assistant: bool = False
    discovery: str = "homeassistant"
    max_body: int = 256 * 1024
    commands: bool = True
    kinds: frozenset[Kind] = frozenset(
        {"alert", "raw", "state", "status", "health", "metric", "reply", "discovery"}
    )

    def __post_init__(self) -> None:
        self._address = Address.parse(self.url)
        self._protocols = _PROTOCOLS[self.protocol]
        self._connection: Connection | None = None
        self._session = 0
        self._since = ""
        self._stamps: tuple[tuple[int, int], ...] = ()
        self._next_status = 0.0
        self._properties: dict[tuple[Kind, bool], Properties | None] = {}
        self._home: HomeAssistant | None = None
        self._client = ""

    def known_as(self, client: str) -> None:
        self._client = client

    def claims(self) -> tuple[str, ...]:
        host, port, _ = self._address
        return (f'client_id "{self._client_id(V5)}" at {host}:{port}',)

    def _client_id(self, protocol: aiomqtt.ProtocolVersion) -> str:
        name = self._client or f"{topic_name(self.identity.site)}-{topic_name(self.identity.agent)}"
        return self.client_id or client_id("edge", name, short=protocol == V311)

    @property
    def base(self) -> str:
        """What all topics of this agent begin with."""
        return f"{self.root}/v1/{topic_name(self.identity.site)}/{topic_name(self.identity.agent)}"

    def command_source(self) -> Source | None:
        """Messages of `<base>/cmd/<verb>`, JSON."""
        if not self.commands:
            return None
        source = MqttSource(
            url=self.url,
            topic=f"{self.base}/cmd/+",
            codec=CommandCodec(),
            machine_level=-1,
            user=self.user,
            password_file=self.password_file,
            tls=self.tls,
            client_id=self.client_id and f"{self.client_id}-commands",
            session=Duration("0s"),
            protocol=self.protocol,
            keepalive=self.keepalive,
            max_queued=100,
        )
        source.known_as(f"{self._client or self.base}-commands")
        return source

    async def __aenter__(self) -> Self:
        self._session = max(self._session + 1, int(time.time()))
        self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            context = await asyncio.to_thread(self._context)
            password = (
                None if self.password_file is None else await asyncio.to_thread(read_secret, self.password_file)
            )
        except OSError as error:
            raise SinkError(f"{self.url}: {error}") from error
        try:
            self._connection = await connect(
                self._address,
                self._protocols,
                self.timeout.seconds,
                context,
                {
                    "username": self.user or None,
                    "password": password,
                    "keepalive": max(1, round(self.keepalive.seconds)),
                },
                {V5: self._options_5(), V311: self._options_311()},
            )
        except ConnectionLostError as error:
            raise SinkError(f"{self.url}: {error}") from error
        self._protocols = (self._connection.protocol,)
        self._properties = {}
        try:
            await self._publish([self._status("online")])
            if self.home_assistant:
                self._home = HomeAssistant(self.base, self.identity, self.discovery)
                await self._connection.subscribe([(self._home.birth, 1)])
        except (SinkError, aiomqtt.MqttError) as error:
            await self._connection.close()
            raise SinkError(f"{self.url}: {error}") from error
        return self

    def _options_5(self) -> dict[str, Any]:
        delay = round(self.will_delay.seconds)
        return {
            "identifier": self._client_id(V5),
            "clean_start": False,
            "properties": properties_of(PacketTypes.CONNECT, SessionExpiryInterval=max(60, 2 * delay)),
            "will": self._will(properties_of(PacketTypes.WILLMESSAGE, WillDelayInterval=delay)),
        }

    def _options_311(self) -> dict[str, Any]:
        return {"identifier": self._client_id(V311), "clean_session": True, "will": self._will(None)}

    def _will(self, properties: Properties | None) -> aiomqtt.Will:
        topic, body, qos, retain, _ = self._status("offline", "connection_lost")
        return aiomqtt.Will(topic, body, qos, retain, properties)

    def _context(self) -> Any:
        if self.tls is not None:
            self._stamps = self.tls.stamps()
            return self.tls.context()
        return Tls().context() if self._address.tls else None

    async def __aexit__(self, *exc: object) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not connection.lost() and exc[0] is None:
            try:
                async with asyncio.timeout(1.0):
                    await connection.publish_all([self._status("offline", "shutdown")])
            except (ConnectionLostError, TimeoutError) as error:
                log.debug("%s: no good-bye: %s", self.url, error)
        if exc[0] is None:
            await connection.close()
        else:
            connection.abandon()

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish; an empty call keeps the presence fresh and finds out about a lost connection."""
        too_long = [m.id for m in messages if len(m.body) > self.max_body]
        if too_long:
            raise RejectedError(f"longer than {self.max_body} bytes", too_long)
        if time.monotonic() >= self._next_status:
            await self._refresh()
        if self._home is not None:
            await self._announce(self._home, messages)
        publishes = [self._encode(message) for message in messages]
        refused = await self._publish(publishes)
        if refused:
            reason = next(iter(refused.values()))
            if "quota" in reason.lower() or "busy" in reason.lower():
                raise SinkError(f"{self.url}: {reason}")
            raise RejectedError(reason, [messages[number].id for number in refused])

    async def _announce(self, home: HomeAssistant, messages: Sequence[Message]) -> None:
        for received in [] if self._connection is None else self._connection.take_received():
            if self._connection is not None and received.qos:
                self._connection.acknowledge(received.packet, received.qos)
            if received.body == b"online" and not received.retained:
                home.born()
        announcements = home.announce(messages)
        if announcements:
            await self._publish(announcements)

    async def _refresh(self) -> None:
        """Once a minute: an old will may have come after our birth; certificates may have been renewed."""
        if self.tls is not None and await asyncio.to_thread(self.tls.stamps) != self._stamps:
            await self.__aexit__(None, None, None)
            raise SinkError(f"{self.url}: certificates changed, connecting anew")
        await self._publish([self._status("online")])

    async def _publish(self, publishes: Sequence[Publish]) -> dict[int, str]:
        if self._connection is None:
            raise SinkError(f"{self.url}: not connected")
        try:
            if not publishes and self._connection.lost():
                raise ConnectionLostError(self._connection.lost())
            return await self._connection.publish_all(publishes)
        except (ConnectionLostError, ValueError) as error:
            raise SinkError(f"{self.url}: {error}") from error

    def _encode(self, message: Message) -> Publish:
        route = ROUTES[message.kind]
        topic = topic_of(message, self.base, topic_name(self.identity.agent), self.discovery)
        key = (message.kind, message.replayed)
        if key not in self._properties:
            self._properties[key] = self._properties_of(message.kind, route.expiry, message.replayed)
        return Publish(topic, message.body, route.qos, route.retain, self._properties[key])

    def _properties_of(self, kind: Kind, expiry: int, replayed: bool) -> Properties | None:
        if self._connection is None or self._connection.protocol != V5:
            return None
        values: dict[str, Any] = {"ContentType": _CONTENT.get(kind, "application/json")}
        if expiry:
            values["MessageExpiryInterval"] = expiry
        values["UserProperty"] = [("schema", "v1"), *([("replayed", "true")] if replayed else [])]
        return properties_of(PacketTypes.PUBLISH, **values)

    def _status(self, state: str, reason: str = "") -> Publish:
        self._next_status = time.monotonic() + _STATUS_SECONDS
        body = {"state": state, "since": self._since, "session": self._session}
        if reason:
            body["reason"] = reason
        return Publish(f"{self.base}/status", orjson.dumps(body), 1, True)
