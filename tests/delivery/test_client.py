"""The subscribers' library: on real brokers, and its bookkeeping against a plain oracle."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiomqtt
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.alerts.alert import Identity, Message
from agent.alerts.cloudevents import as_replayed
from agent.runtime.demo_broker import embedded_broker
from agent.sinks.kafka import KafkaSink
from agent.sinks.mqtt import MqttSink
from agent.subscriber import Deduplicator, Event, MqttEvents, subscribe
from agent.subscriber.kafka import KafkaEvents
from sensors.transport.backoff import Backoff
from tests.brokers import Kafka, Mosquitto, free_port


def body(sequence: int, change: str = "raised", agent: str = "gateway-1", machine: str = "press-7") -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{agent}-{change}-{sequence}",
            "source": f"/edge/plant-1/{agent}/{machine}",
            "type": f"io.edge-agent.alert.{change}",
            "subject": "key",
            "time": "2026-11-22T01:02:03.000Z",
            "sequence": str(sequence),
            "correlationid": "incident",
            "data": {
                "machine": machine,
                "signal": "t",
                "rule": {"id": "hot"},
                "severity": "critical",
                "value": 91.5,
            },
        }
    )


def message(sequence: int) -> Message:
    return Message(f"id-{sequence}", "alert", "press-7", "", body(sequence), 0)


def test_an_event_says_what_the_message_says() -> None:
    event = Event.parse(body(7))
    assert (event.change, event.agent, event.machine, event.signal) == (
        "raised",
        "plant-1/gateway-1",
        "press-7",
        "t",
    )
    assert (event.rule, event.severity, event.value, event.sequence) == ("hot", "critical", 91.5, 7)
    assert event.time.isoformat() == "2026-11-22T01:02:03+00:00"
    assert not event.replayed
    assert Event.parse(as_replayed(message(7)).body).replayed


@pytest.mark.parametrize(
    "payload",
    [b"", b"nonsense", b"[]", b"{}", b"\xff", b"1" * (2 << 20), body(1).replace(b"1.0", b"2.0"),
     body(1).replace(b'"sequence":"1"', b'"sequence":"-1"'), body(1).replace(b"91.5", b'"hot"'),
     body(1).replace(b"2026-11-22", b"2026-11-99"), body(1).replace(b"/edge/", b"/else/"),
     body(1).replace(b"io.edge-agent.alert", b"com.example")],
)  # fmt: skip
def test_what_is_no_event_is_refused_and_counted(payload: bytes) -> None:
    deduplicator = Deduplicator()
    assert deduplicator.take(payload) is None
    assert deduplicator.counters.refused == 1


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_nothing_that_comes_breaks_the_ledger(payload: bytes) -> None:
    Deduplicator().take(payload)
    Deduplicator().take(body(1)[: len(payload)] + payload)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 12)), max_size=40))
def test_each_event_comes_once_and_gaps_are_those_of_a_plain_count(arrivals: list[tuple[str, int]]) -> None:
    deduplicator, once = Deduplicator(), dict.fromkeys(arrivals)
    taken = [
        event
        for agent, number in arrivals
        if (
            event := deduplicator.take(as_replayed(Message("", "alert", "", "", body(number, agent=agent), 0)).body)
        )
    ]
    assert [(e.agent[-1], e.sequence) for e in taken] == list(once)
    for agent in "ab":
        numbers = [number for who, number in once if who == agent]
        if numbers:
            missing = (
                set(range(numbers[0], max(numbers) + 1)) - set(numbers) if numbers[0] <= max(numbers) else set()
            )
            assert set(deduplicator.open_gaps(f"plant-1/{agent}")) == missing
    assert deduplicator.counters.repeated == len(arrivals) - len(once)


def test_a_gap_is_told_with_the_event_after_it_and_may_be_filled_by_a_replay() -> None:
    deduplicator = Deduplicator()
    assert [deduplicator.take(body(n)).missed for n in (1, 2, 5)] == [0, 0, 2]
    assert deduplicator.open_gaps("plant-1/gateway-1") == [3, 4]
    deduplicator.take(as_replayed(message(3)).body)
    assert deduplicator.open_gaps("plant-1/gateway-1") == [4]
    assert (deduplicator.counters.missed, deduplicator.counters.filled) == (2, 1)


def test_an_agent_that_lost_its_memory_counts_anew() -> None:
    deduplicator = Deduplicator()
    for n in (100, 101):
        deduplicator.take(body(n))
    assert [deduplicator.take(body(n, "resolved")).missed for n in (1, 2)] == [0, 0]
    assert deduplicator.counters.restarts == 1


def test_memory_is_bounded() -> None:
    deduplicator = Deduplicator(remember=10, most_open=5)
    for n in range(1, 1000, 7):
        deduplicator.take(body(n))
    assert len(deduplicator._ids) == 10
    assert len(deduplicator.open_gaps("plant-1/gateway-1")) == 5


def test_addresses() -> None:
    assert isinstance(subscribe("mqtts://broker.plant", site="x"), MqttEvents)
    kafka = subscribe("kafka://a:1,b:2/t1,t2")
    assert isinstance(kafka, KafkaEvents)
    assert (kafka.servers, kafka.topics) == ("a:1,b:2", ("t1", "t2"))
    with pytest.raises(ValueError, match="write mqtt"):
        subscribe("http://x")


def quick() -> Backoff:
    return Backoff(first=0.05, longest=0.2, random=random.Random(1))


@pytest.mark.parametrize("client_id", ["", "night-shift"])
async def test_the_broker_of_the_demo_is_spoken_to_in_the_protocol_it_knows(
    client_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes properties of MQTT 5 for the length of a name, and waits for the rest of that."""
    troubles: list[str] = []
    async with embedded_broker(free_port()) as port:
        url, topic = f"mqtt://127.0.0.1:{port}", "edge/v1/plant-1/gateway-1/press-7/event/alert"
        options = {"client_id": client_id, "timeout": 1.0, "backoff": quick(), "trouble": troubles.append}
        async with (
            asyncio.timeout(30),
            subscribe(url, **options) as events,
            aiomqtt.Client("127.0.0.1", port) as publisher,
            asyncio.TaskGroup() as tasks,
        ):
            news = tasks.create_task(anext(events))
            while not news.done():  # until the subscriber is there
                await publisher.publish(topic, body(1), qos=1)
                await asyncio.wait({news}, timeout=0.05)
        assert news.result().machine == "press-7"
    assert len(troubles) == (1 if client_id else 0)  # who wants to be remembered has to ask in MQTT 5 first
    assert "Traceback" not in caplog.text


async def take(events: MqttEvents | KafkaEvents, count: int) -> list[int]:
    async with asyncio.timeout(20):
        return [(await anext(events)).sequence for _ in range(count)]


@pytest.mark.mosquitto
async def test_events_of_mqtt_come_once_also_through_a_broken_broker(mosquitto: Mosquitto) -> None:
    sink = MqttSink(mosquitto.url).signed(Identity("plant-1", "gateway-1"))
    troubles: list[str] = []
    async with MqttEvents(mosquitto.url, backoff=quick(), trouble=troubles.append) as events:
        reading = asyncio.create_task(take(events, 3))
        async with asyncio.timeout(10):
            while events._connection is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with sink:
            await sink.send([message(1), message(1), message(2)])
            await sink.send([Message("raw", "raw", "press-7", "", b"nonsense", 0), message(3)])
        assert await reading == [1, 2, 3]
        again = asyncio.create_task(take(events, 1))
        mosquitto.kill()
        mosquitto.start()
        async with asyncio.timeout(10):
            while not troubles or events._connection is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with sink:
            await sink.send([message(3), message(5)])
        assert await again == [5]
        assert (events.deduplicator.counters.refused, events.deduplicator.counters.missed) == (1, 1)


@pytest.mark.mosquitto
async def test_with_a_client_id_the_broker_keeps_what_comes_meanwhile(mosquitto: Mosquitto) -> None:
    sink = MqttSink(mosquitto.url).signed(Identity("plant-1", "gateway-1"))
    async with MqttEvents(mosquitto.url, client_id="archive") as events:
        reading = asyncio.create_task(take(events, 1))
        async with asyncio.timeout(10):
            while events._connection is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with sink:
            await sink.send([message(1)])
        assert await reading == [1]
    async with sink:
        await sink.send([message(2), message(3)])
    async with MqttEvents(mosquitto.url, client_id="archive") as events:
        assert await take(events, 2) == [2, 3]


@pytest.mark.mosquitto
async def test_what_is_open_now_comes_first_if_wanted(mosquitto: Mosquitto) -> None:
    sink = MqttSink(mosquitto.url).signed(Identity("plant-1", "gateway-1"))
    async with sink:
        await sink.send([Message("s", "state", "press-7", "t.hot", body(4), 0)])
    async with MqttEvents(mosquitto.url, present=True) as events:
        assert await take(events, 1) == [4]


@pytest.mark.kafka
async def test_events_of_kafka_and_the_place_of_a_group(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic("alerts")
    sink = KafkaSink(kafka.servers, alerts=topic).signed(Identity("plant-1", "gateway-1"))
    async with sink:
        await sink.send([message(1), message(2), message(2), message(3)])
    url, options = f"kafka://{kafka.servers}/{topic}", {"group": f"g-{topic}", "start": "earliest"}
    async with subscribe(url, **options) as events:
        assert await take(events, 2) == [1, 2]
    async with subscribe(url, **options) as events:
        assert await take(events, 2) == [2, 3]
