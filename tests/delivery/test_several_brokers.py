"""One outbox, several receivers: each gets everything, none waits for another."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from agent.alerts.alert import Identity, Kind
from agent.outbox import Outbox
from agent.outbox.delivery import Delivery
from agent.sinks.kafka import KafkaSink
from agent.sinks.lines import LinesSink
from agent.sinks.mqtt import MqttSink
from sensors.transport.backoff import Backoff
from sensors.units import Duration
from tests.brokers import Kafka, Mosquitto
from tests.delivery.fakes import message
from tests.delivery.listeners import consume, listening

ALERT: frozenset[Kind] = frozenset({"alert"})


@pytest.mark.mosquitto
@pytest.mark.kafka
async def test_a_broker_that_is_away_holds_up_no_other_and_catches_up(
    mosquitto: Mosquitto, kafka: Kafka, tmp_path: Path
) -> None:
    second = Mosquitto(tmp_path / "second").start()
    stop = asyncio.Event()
    quick = {"timeout": Duration("1s"), "will_delay": Duration("0s")}
    sinks = {
        "first": MqttSink(mosquitto.url, **quick).signed(Identity("plant-1", "gateway-1")),  # type: ignore[arg-type]
        "second": MqttSink(second.url, **quick).signed(Identity("plant-1", "gateway-1")),  # type: ignore[arg-type]
        "kafka": KafkaSink(kafka.servers, alerts=kafka.topic("alerts")).signed(Identity("plant-1", "gateway-1")),
        "file": LinesSink(str(tmp_path / "alerts.jsonl")),
    }
    try:
        async with (
            Outbox(tmp_path / "o.db", dict.fromkeys(sinks, ALERT), replay_after_seconds=0.0) as box,
            asyncio.TaskGroup() as tasks,
            listening(mosquitto.port, "edge/#") as one,
        ):
            deliveries = {
                name: Delivery(box, name, sink, backoff=Backoff(first=0.3, longest=0.3, random=random.Random(1)))
                for name, sink in sinks.items()
            }
            for delivery in deliveries.values():
                tasks.create_task(delivery.run(stop))
            await box.append([message(0)])
            await one.until(1, "event/alert")
            second.kill()
            for n in range(1, 100):
                await box.append([message(n)])
            await one.until(100, "event/alert")
            assert box.lag("second") > 0
            second.start()
            async with listening(second.port, "edge/#") as two, asyncio.timeout(20):
                while any(box.lag(name) for name in sinks):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            stop.set()
        assert {name: delivery.sent for name, delivery in deliveries.items()} == dict.fromkeys(sinks, 100)
        late = [json.loads(body) for topic, body, *_ in two.got if topic.endswith("/event/alert")]
        assert all(event.get("replayed") for event in late)
        alerts = await consume(kafka.servers, sinks["kafka"].alerts, 100)
        assert [json.loads(record.value)["n"] for record in alerts] == list(range(100))
        lines = (tmp_path / "alerts.jsonl").read_text().splitlines()
        assert [json.loads(line)["n"] for line in lines] == list(range(100))
    finally:
        second.stop()
