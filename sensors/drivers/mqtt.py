"""Readings from an MQTT broker: topics are subscribed, what has arrived is decoded together.

That a message arrives does not make it a reading of now. What the broker sends because it remembers the last value
(retained), what it sends again because our acknowledgement was lost, and what a device sends once more with the time it
had, is passed over and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

from sensors.batch import Batch, Codes, Text
from sensors.codecs import Codec
from sensors.codecs.fields import Fields
from sensors.codecs.json_lines import JsonLines
from sensors.codecs.words import Words
from sensors.source import Source, SourceError
from sensors.transport.mqtt import (
    Address,
    Connection,
    ConnectionLostError,
    Received,
    client_id,
    connect,
    properties_of,
)
from sensors.transport.tls import Tls, read_secret
from sensors.transport.topics import TopicNames
from sensors.units import Duration

_V5, _V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
_TOPICS = 65_536
_PROTOCOLS = {"auto": (_V5, _V311), "5": (_V5,), "3.1.1": (_V311,)}


@dataclass(kw_only=True)
class MqttSource(Source):
    """Messages of one or more topics; with QoS 1 each is acknowledged only when the next batch is asked for.

    Attributes:
        url: `mqtt://host:1883`, or `mqtts://host:8883` for TLS.
        topic: what to subscribe to, with wildcards; one or several. A level may have a name: the text of
            `{machine}` is the machine, that of any other a column of texts, as in `plant/{line}/{machine}/temp`.
            Where neither it nor the payload names the machine, the whole topic is the machine.
        codec: how a message is written.
        machine_level: level of the topic, counted from 0, that names the machine where the payload does not;
            negative = counted from the end; instead of `{machine}`.
        retained: what a broker remembers of a topic and sends when we subscribe is the last known value, not a
            reading of now: "ignore" it, or "use" it as a reading (which a payload with a time of its own dates).
        qos: 0 or 1.
        user, password_file, tls: as in the MQTT sink.
        client_id: fixed, so that the broker keeps what comes while we are away; the default is made of site, agent
            and source, and of the machine and state directory the agent runs with.
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
    retained: Literal["ignore", "use"] = "ignore"
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
        fields = self.codec if isinstance(self.codec, Fields) else None
        self._names_itself = fields is None or bool(fields.machine)  # the payload may name the machine
        topics = (self.topic,) if isinstance(self.topic, str) else self.topic
        self._names = TopicNames(topics, self.machine_level, fields.machine_id if fields else "")
        self._protocols = _PROTOCOLS[self.protocol]
        self._connection: Connection | None = None
        self._client = "-".join(topics)
        self._handed_over: list[Received] = []
        self._ready: deque[Batch] = deque()  # decoded and not handed over
        self._seen: dict[int, int] = {}  # packet -> hash of the message, of those handed over
        self._dated = fields is not None and bool(fields.time)  # the same payload is of the same time
        self._last: dict[str, int] = {}  # topic -> hash of its last payload
        self._given: tuple[str, ...] = ()
        self._translation: _Translation | None = None

    def known_as(self, client: str) -> None:
        self._client = client

    def claims(self) -> tuple[str, ...]:
        host, port, _ = self._address
        return (f'client_id "{self._client_id(_V5)}" at {host}:{port}',)

    def warnings(self) -> tuple[str, ...]:
        fields = self.codec if isinstance(self.codec, Fields) else None
        if not self._names.wild or self._names.explicit or fields is None or fields.machine:
            return ()
        what = f'all that come are the machine "{fields.machine_id}"' if fields.machine_id else (
            "each whole topic is a machine of its own"
        )  # fmt: skip
        return (
            f"topic: it has a wildcard and nothing says which level is the machine, so {what}; "
            "write {machine} for that level, or set codec.machine",
        )

    def _client_id(self, protocol: aiomqtt.ProtocolVersion) -> str:
        return self.client_id or client_id("edge-in", self._client, short=protocol == _V311)

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
        window = min(self.max_queued, 65_535)
        try:
            connection = await connect(
                self._address,
                self._protocols,
                self.timeout.seconds,
                context,
                {
                    "username": self.user or None,
                    "password": password,
                    "keepalive": max(1, round(self.keepalive.seconds)),
                },
                {
                    _V5: {
                        "identifier": self._client_id(_V5),
                        "clean_start": False,
                        "properties": properties_of(
                            PacketTypes.CONNECT,
                            SessionExpiryInterval=round(self.session.seconds),
                            ReceiveMaximum=window,
                        ),
                    },
                    _V311: {"identifier": self._client_id(_V311), "clean_session": False},
                },
                self.max_queued,
            )
        except ConnectionLostError as error:
            raise SourceError(f"{self.url}: {error}") from error
        self._protocols = (connection.protocol,)
        try:
            filters = self._names.filters
            granted = await connection.subscribe([(topic, self._options(connection)) for topic in filters])
            refused = [t for t, code in zip(filters, granted, strict=True) if _code(code) >= 128]
            if refused:
                raise SourceError(f"{self.url}: the broker refuses {', '.join(refused)}")
        except (aiomqtt.MqttError, ValueError) as error:
            connection.abandon()
            raise SourceError(f"{self.url}: {error}") from error
        except BaseException:
            connection.abandon()
            raise
        self._handed_over = []
        self._ready.clear()
        self._connection = connection
        return self

    def _options(self, connection: Connection) -> Any:
        """How to subscribe; MQTT 5 can ask not to be sent at all what is retained."""
        if connection.protocol != _V5:
            return self.qos
        handling = SubscribeOptions.RETAIN_DO_NOT_SEND if self.retained == "ignore" else 0
        return SubscribeOptions(qos=self.qos, retainHandling=handling)

    async def __aexit__(self, *exc: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if not connection.lost() and not self._ready:
                self._acknowledge(connection)
            await connection.close()

    def outputs(self) -> tuple[str, ...] | None:
        given = self.codec.outputs()
        return None if given is None else tuple(dict.fromkeys((*given, *self._names.columns)))

    async def __anext__(self) -> Batch:
        connection = self._connection
        if connection is None:
            raise SourceError(f"{self.url}: not open")
        while not self._ready:
            self._acknowledge(connection)
            try:
                messages = await connection.receive()
            except ConnectionLostError as error:
                raise SourceError(f"{self.url}: {error}") from error
            self.counters.samples_lost += connection.take_dropped()
            self._handed_over = messages
            readings = [message for message in messages if self._is_reading(message)]
            self.counters.bytes_read += sum(len(message.body) for message in readings)
            if readings:
                self._ready.extend(self._decode(readings, time.time_ns()))
        return self._ready.popleft()

    def _is_reading(self, message: Received) -> bool:
        """Whether it is a reading; else it is counted."""
        if message.retained and self.retained == "ignore":
            self.counters.retained += 1
            return False
        again = message.repeated and self._seen.get(message.packet) == hash(message[:2])
        if not again and self._dated:
            said = hash(message.body)
            again = self._last.get(message.topic) == said
            if len(self._last) >= _TOPICS:
                self._last.clear()
            self._last[message.topic] = said
        self.counters.repeated += again
        return not again

    def _acknowledge(self, connection: Connection) -> None:
        for message in self._handed_over:
            if message.qos:
                self._seen[message.packet] = hash(message[:2])  # else it may come again, if this is lost
                connection.acknowledge(message.packet, message.qos)
        self._handed_over = []

    def _decode(self, messages: list[Received], read_at: int) -> Iterator[Batch]:
        """Their rows; in one batch, but where a payload names its machine and the topic has more to say."""
        names = self._names
        if not names.columns:
            machines = [names.machine(message.topic) for message in messages]
            batch = self.codec.decode([message.body for message in messages], read_at, None, machines)
            if batch is not None:
                yield batch
            return
        runs: Iterable[tuple[object, Iterable[Received]]] = [(None, messages)]
        if self._names_itself:
            runs = groupby(messages, key=lambda message: message.topic)
        for _, run in runs:
            part = list(run)
            topics = [message.topic for message in part]
            batch = self.codec.decode([message.body for message in part], read_at, None, topics)
            if batch is not None:
                yield self._with_texts(batch, topics[0])

    def _with_texts(self, batch: Batch, topic: str) -> Batch:
        """The batch, whose machines are topics where the payload names none, with what these say."""
        if batch.machines is not self._given or self._translation is None or self._names_itself:
            self._given = batch.machines
            self._translation = _Translation.of(batch.machines, self._names, topic if self._names_itself else None)
        return self._translation(batch)


@dataclass(frozen=True, slots=True)
class _Translation:
    """What is said by topics that stand in the place of machines.

    Attributes:
        machines: distinct names.
        machine: `(topics,)` index into `machines`.
        texts: column -> a text for each topic.
    """

    machines: tuple[str, ...]
    machine: Codes
    texts: dict[str, Text]

    @classmethod
    def of(cls, given: tuple[str, ...], names: TopicNames, topic: str | None) -> _Translation:
        """Of these machines; where they may be others than topics, all are of one `topic`."""
        said = [names.of(word if topic is None else topic) for word in given]
        called = [
            machine if topic in (None, word) else word for word, (machine, _) in zip(given, said, strict=True)
        ]
        machine = Words().encode(called)
        texts = {
            column: Words().encode_some([texts[place] for _, texts in said])
            for place, column in enumerate(names.columns)
        }
        return cls(machine.words, machine.codes, texts)

    def __call__(self, batch: Batch) -> Batch:
        codes = batch.machine
        texts = {name: Text(text.words, text.codes[codes]) for name, text in self.texts.items()}
        values = {name: column for name, column in batch.values.items() if name not in texts}
        return replace(
            batch,
            machines=self.machines,
            machine=self.machine[codes],
            values=values,
            texts={**batch.texts, **texts},
        )


def _code(granted: object) -> int:
    return granted if isinstance(granted, int) else int(getattr(granted, "value", 128))
