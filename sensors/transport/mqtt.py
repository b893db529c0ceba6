"""One connection to an MQTT broker: aiomqtt's client with what a gateway needs besides.

What it adds: many publishes under way at once without paho ever queueing for us, the broker's verdict on each of
them, a fall-back from MQTT 5 to 3.1.1, a connection closed by force where the other side does not answer, and
acknowledgement of received messages only on demand. It reaches into aiomqtt 2.5 (`_client`, `_on_...`), which is
pinned below 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

WINDOW = 20
"""Publishes under way at once; more only raises the number of repeats after a cut."""

_UNSUPPORTED = {1, 132}
_TAKEN_OVER, _UNSPECIFIED = 0x8E, 0x80
_SHORT_SECONDS = 30.0
"""Two clients with one id throw each other out within the longest pause between two tries."""
_SHORT_ID, _LONG_ID = 23, 120
_TIMED_OUT = "Operation timed out"  # aiomqtt's words for a missing CONNACK; a host that is away is "timed out"
_QUIET = logging.getLogger("mqtt.quiet")
_QUIET.setLevel(logging.CRITICAL)  # paho logs each packet; what matters is raised as an exception


class Publish(NamedTuple):
    """A message to publish."""

    topic: str
    body: bytes
    qos: int = 1
    retain: bool = False
    properties: Properties | None = None


class Received(NamedTuple):
    """A message that arrived."""

    topic: str
    body: bytes
    packet: int
    qos: int
    retained: bool
    properties: Properties | None
    repeated: bool = False


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """`mqtt://host[:1883]` or `mqtts://host[:8883]`.

        Raises:
            ValueError: it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts", "tcp", "ssl") or not parts.hostname:
            raise ValueError(f"{url!r} is no broker; write mqtt://host:1883 or mqtts://host:8883")
        if parts.username or parts.password:
            raise ValueError("no user or password in a URL; use `user` and `password_file`")
        tls = parts.scheme in ("mqtts", "ssl")
        return cls(parts.hostname, parts.port or (8883 if tls else 1883), tls)


def client_id(prefix: str, name: str, *, short: bool = False) -> str:
    """A client id made of a name; with `short`, one of 23 letters and digits at most, as every broker takes it."""
    readable = f"{prefix}-{re.sub(r'[^0-9A-Za-z_-]', '-', name)}"
    if len(readable) <= (_SHORT_ID if short else _LONG_ID):
        return readable
    mark = hashlib.sha256(name.encode()).hexdigest()
    if not short:
        return f"{readable[: _LONG_ID - 17]}-{mark[:16]}"
    letters = prefix.replace("-", "")
    return letters + mark[: _SHORT_ID - len(letters)]


class ConnectionLostError(Exception):
    """The broker is away, refuses or does not answer; says why."""


class NoAnswerError(ConnectionLostError):
    """It took the connection and did not say a word: it hangs, or waits for more of a packet it does not know."""


class Connection(aiomqtt.Client):
    """A single-use connection. See the module; opened by `connect`."""

    def __init__(
        self,
        address: Address,
        timeout: float,
        context: ssl.SSLContext | None,
        max_queued: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__(
            address.host,
            address.port,
            timeout=timeout,
            tls_context=context,
            logger=_QUIET,
            max_inflight_messages=WINDOW,
            max_queued_outgoing_messages=WINDOW,
            **options,
        )
        self._client.connect_timeout = min(timeout, 5.0)  # it blocks a thread, which the end of the agent waits for
        self.protocol: aiomqtt.ProtocolVersion = options["protocol"]
        self._window = WINDOW
        self._under_way: dict[int, int] = {}
        self._refused: dict[int, str] = {}
        self._progress: asyncio.Future[None] | None = None
        self._low = 0
        self._client.manual_ack_set(True)
        self._thread, self._sending = threading.get_ident(), False
        self._opened = self._ended = time.monotonic()
        self._received: deque[Received] = deque(maxlen=max_queued)
        self._dropped = 0
        self._arrival: asyncio.Future[None] | None = None

    async def receive(self) -> list[Received]:
        """Wait for messages and take all that have arrived; each wants to be acknowledged.

        Raises:
            ConnectionLostError: and nothing is left to take.
        """
        while not self._received:
            if self._disconnected.done():
                raise ConnectionLostError(self.lost())
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        taken = list(self._received)
        self._received.clear()
        return taken

    def take_received(self) -> list[Received]:
        """What has arrived, without waiting."""
        taken = list(self._received)
        self._received.clear()
        return taken

    def take_dropped(self) -> int:
        """How many messages were dropped since the last call, because nobody took them."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        if len(self._received) == self._received.maxlen:
            self._dropped += 1
            oldest = self._received[0]
            if oldest.qos:
                self.acknowledge(oldest.packet, oldest.qos)
        topic = message._topic.decode(errors="replace")
        properties: Properties | None = getattr(message, "properties", None)
        self._received.append(
            Received(
                topic, bytes(message.payload), message.mid, message.qos, message.retain, properties, message.dup
            )
        )
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def acknowledge(self, packet: int, qos: int) -> None:
        """Acknowledge a received message: it is safe."""
        self._client.ack(packet, qos)

    def lost(self) -> str:
        """Why the connection is gone; empty while it is up."""
        if not self._disconnected.done():
            return ""
        error = self._disconnected.exception()
        if isinstance(error, aiomqtt.MqttCodeError) and _value(error.rc) == _TAKEN_OVER:
            return (
                f'session taken over: another client has the client_id "{self.identifier}", too; give each its own, '
                "by agent.name or by client_id"
            )
        if isinstance(error, aiomqtt.MqttCodeError) and _value(error.rc) == _UNSPECIFIED:  # paho's word for it
            up = self._ended - self._opened
            said = f"the broker closed the connection after {up:.0f} s"
            hint = f'; if it goes on, another client may have the client_id "{self.identifier}", too'
            return said + (hint if up < _SHORT_SECONDS else "")
        return str(error or "disconnected")

    async def publish_all(self, messages: Iterable[Publish]) -> dict[int, str]:
        """Publish in order, a window at a time; return when the broker has answered for each.

        Returns:
            Position -> reason, for messages that the broker refused.

        Raises:
            ConnectionLostError: not all are confirmed.
        """
        self._under_way.clear()
        self._refused = {}
        for number, (topic, body, qos, retain, properties) in enumerate(messages):
            if len(self._under_way) >= self._window:
                await self._wait_below(self._window // 2)
            info = self._client.publish(topic, body, qos, retain, properties)
            if info.rc != 0:
                raise ConnectionLostError(self.lost() or f"paho says {info.rc}")
            if not info.is_published():
                self._under_way[info.mid] = number
        await self._wait_below(0)
        return self._refused

    async def _wait_below(self, low: int) -> None:
        """Until at most `low` publishes are under way; each answer of the broker gives it more time."""
        while len(self._under_way) > low:
            if self._disconnected.done():
                raise ConnectionLostError(self.lost())
            before = len(self._under_way)
            self._low = low
            self._progress = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._progress}, timeout=self.timeout)
            self._progress = None
            if len(self._under_way) == before:
                raise ConnectionLostError(self.lost() or f"no answer for {self.timeout:g} s")

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        """There is something to send: send it right after what runs now, without asking first whether there is room."""
        if threading.get_ident() != self._thread:  # as it connects
            super()._on_socket_register_write(client, userdata, sock)
        elif not self._sending:
            self._sending = True
            self._loop.call_soon(self._send_now, sock)

    def _send_now(self, sock: Any) -> None:
        self._sending = False
        if self._disconnected.done():
            return
        try:
            self._client.loop_write()
        except Exception as error:  # whatever paho raises, the connection is lost; as in aiomqtt
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
            self._move_on_all()
            return
        if self._client.want_write():  # the rest, once there is room
            super()._on_socket_register_write(self._client, None, sock)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        number = self._under_way.pop(mid, None)
        if number is None:
            super()._on_publish(client, userdata, mid, reason_code, properties)
            return
        if reason_code is not None and reason_code.is_failure:
            self._refused[number] = str(reason_code)
        if len(self._under_way) <= self._low:
            self._move_on()

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Properties | None = None
    ) -> None:
        granted = getattr(properties, "ReceiveMaximum", None)
        if granted:
            self._window = max(1, min(WINDOW, granted))
        self._opened = time.monotonic()
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Properties | None = None
    ) -> None:
        self._ended = time.monotonic()
        if not self._connected.done():  # else aiomqtt would wait for its time-out
            self._connected.set_exception(aiomqtt.MqttError(f"closed before the answer: {reason_code}"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self._move_on_all()

    def _move_on(self) -> None:
        if self._progress is not None and not self._progress.done():
            self._progress.set_result(None)

    def _move_on_all(self) -> None:
        for future in (self._progress, self._arrival):
            if future is not None and not future.done():
                future.set_result(None)

    async def close(self, seconds: float = 2.0) -> None:
        """Say good-bye if the broker answers, and let go of the socket in any case."""
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError, OSError):
            if not self._disconnected.done():
                async with asyncio.timeout(seconds):
                    await self.__aexit__(None, None, None)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the socket at once."""
        self._client._sock_close()  # its public `disconnect` waits for the other side to take a packet
        for future in (self._connected, self._disconnected):
            if future.done() and not future.cancelled():
                future.exception()  # it has been seen; asyncio need not complain


async def connect(
    address: Address,
    protocols: Iterable[aiomqtt.ProtocolVersion],
    seconds: float,
    context: ssl.SSLContext | None,
    options: dict[str, Any],
    options_of: dict[aiomqtt.ProtocolVersion, dict[str, Any]],
    max_queued: int = 1000,
) -> Connection:
    """Connect with the first of the protocols that the broker speaks.

    Raises:
        NoAnswerError: the broker is silent. No other protocol is tried: a broker that hangs for a while would be
            spoken to in a lesser one for ever.
        ConnectionLostError: it did not work with any.
    """
    problem = ""
    for protocol in protocols:
        connection = Connection(
            address, seconds, context, max_queued, protocol=protocol, **options, **options_of.get(protocol, {})
        )
        try:
            async with asyncio.timeout(2 * seconds):
                await connection.__aenter__()
        except MqttConnectError as error:
            connection.abandon()
            problem = str(error)
            if _value(error.rc) not in _UNSUPPORTED:
                break
        except (aiomqtt.MqttError, TimeoutError, OSError, ValueError) as error:
            connection.abandon()
            problem = str(error) or "no answer in time"
            if problem == _TIMED_OUT:
                raise NoAnswerError(problem) from error
            if not isinstance(error, aiomqtt.MqttError) or "closed before" not in problem:
                break
        except BaseException:
            connection.abandon()
            raise
        else:
            return connection
    raise ConnectionLostError(problem)


def _value(code: ReasonCode | int | None) -> int | None:
    """The number of a reason code."""
    return code.value if isinstance(code, ReasonCode) else code


def properties_of(packet: int, **values: Any) -> Properties:
    """MQTT 5 properties of a packet type (`PacketTypes.PUBLISH`, ...), encoded once; not to be changed."""
    properties = Properties(packet)  # type: ignore[no-untyped-call]  # paho does not annotate it
    for name, value in values.items():
        setattr(properties, name, value)
    encoded: bytes = properties.pack()  # type: ignore[no-untyped-call]  # paho does not annotate it
    object.__setattr__(properties, "pack", lambda: encoded)  # paho would do it again for each packet
    return properties
