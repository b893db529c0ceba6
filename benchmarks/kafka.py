"""The Quix tutorial's pipeline from topic to topic through a Kafka broker, beside Quix Streams itself.

Both read the same topic and write to a topic of their own; the alerts are compared. Ours is the
whole agent: codec, engine, outbox on disk, sink with acks=all; Quix commits and keeps its changelog.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.figures import emit
from benchmarks.running import agent, kafka
from benchmarks.tutorial import PEER, START, Events, Told, events, ours, told
from tests.brokers import Kafka

CONFIGURATION = """
[agent]
site = "plant"
name = "bench"
max_future = false

[source.readings]
type = "kafka"
servers = "{servers}"
topic = "{readings}"
start = "earliest"
codec = {{ type = "json", time = "Timestamp", time_unit = "ns" }}

[window.mean_5s]
type = "hopping"
metric = "Temperature_C"
size = "5s"
step = "1s"
emit = "current"
aggregates = ["mean"]

[rule.hot]
on = "mean_5s"
when = "round(mean, 2) >= 90"
mode = "raw"
digits = 2
payload = "value"

[sink.log]
type = "kafka"
servers = "{servers}"
raw = "{alerts}"
"""


def main(arguments: list[str]) -> int:
    """Run for 3 and 100 machines; ends with 1 if the results differ."""
    parser = argparse.ArgumentParser(prog="benchmarks kafka", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--machines", type=int, nargs="+", default=[3, 100])
    options = parser.parse_args(arguments)
    same = True
    with kafka() as broker:
        for machines in options.machines:
            given = events(options.events, machines)
            expected = told(ours(given, 10_000)[1])
            readings = broker.topic("readings")
            cpu, seconds, alerts = _ours(broker, readings, given, len(expected))
            same &= _by_machine(alerts) == _by_machine(expected)
            mine = cpu / len(given) * 1e6
            more: dict[str, object] = {}
            if PEER.exists():
                other = _theirs(broker, readings, len(given), expected)
                more = {"peer": "quixstreams 3.28.1", "peer_value": other, "ratio": other / mine}
            emit("kafka", f"cpu_per_event_{machines}_machines", mine, "us", events=len(given), **more)
            emit("kafka", f"events_per_second_{machines}_machines", len(given) / seconds, "1/s")
            emit("kafka", f"identical_{machines}_machines", float(same), "1 = yes", alerts=len(expected))
    return 0 if same else 1


def _ours(broker: Kafka, readings: str, given: Events, expected: int) -> tuple[float, float, list[Told]]:
    """CPU seconds, seconds and alerts of the agent, from the first reading on; it is connected before that."""
    alerts = broker.topic("alerts")
    configuration = CONFIGURATION.format(servers=broker.servers, readings=readings, alerts=alerts)
    with agent(configuration) as running:
        time.sleep(2)
        before, started = running.cpu_seconds(), time.perf_counter()
        _fill(broker, readings, given)
        _wait(broker, alerts, expected, 120)
        seconds, cpu = time.perf_counter() - started, running.cpu_seconds() - before
    found = _read(broker, alerts)
    return cpu, seconds, [(key.decode().rpartition("/")[2], stamp, float(value)) for key, value, stamp in found]


def _theirs(broker: Kafka, readings: str, count: int, expected: list[Told]) -> float:
    """CPU of Quix, us an event; says so if its alerts are others."""
    alerts = broker.topic("quix")
    script = Path(__file__).parent / "peers" / "quix_kafka.py"
    command = [str(PEER), str(script), broker.servers, readings, alerts, str(count)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if run.returncode:
        raise RuntimeError(f"Quix Streams failed: {run.stderr[-2000:]}")
    figures = json.loads(run.stdout.splitlines()[-1])
    found = [(key.decode(), stamp, float(value)) for key, value, stamp in _read(broker, alerts)]
    if _by_machine(found) != _by_machine(expected):
        print(f"Quix raised {len(found)} alerts, {len(expected)} were expected", file=sys.stderr)
    cpu: float = figures["cpu_seconds"]
    return cpu / count * 1e6


def _fill(broker: Kafka, topic: str, given: Events) -> None:
    producer = Producer(
        {"bootstrap.servers": broker.servers, "linger.ms": 50, "queue.buffering.max.messages": 10**6}
    )
    for number, (key, value) in enumerate(zip(given.keys, given.values, strict=True)):
        producer.produce(topic, value, key, timestamp=START + number)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush(60)


def _wait(broker: Kafka, topic: str, count: int, seconds: float) -> None:
    """Until the topic holds so many messages."""
    consumer = Consumer({"bootstrap.servers": broker.servers, "group.id": "watch", "log_level": 0})
    deadline = time.perf_counter() + seconds
    high = 0
    while high < count:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{high} of {count} alerts in {seconds:g} s")
        time.sleep(0.02)
        high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 5)[1]
    consumer.close()


def _read(broker: Kafka, topic: str) -> Iterator[tuple[bytes, bytes, int]]:
    """Key, value and time stamp of each message of a topic."""
    consumer = Consumer({"bootstrap.servers": broker.servers, "group.id": "read", "enable.auto.commit": False})
    left = consumer.get_watermark_offsets(TopicPartition(topic, 0), 5)[1]
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline = time.perf_counter() + 60
    while left > 0 and time.perf_counter() < deadline:
        for message in consumer.consume(min(left, 10_000), 5):
            left -= 1
            yield message.key() or b"", message.value() or b"", message.timestamp()[1]
    consumer.close()


def _by_machine(alerts: Iterable[Told]) -> dict[str, list[Told]]:
    """Alerts of each machine in their order; among machines Kafka promises none."""
    found: dict[str, list[Told]] = defaultdict(list)
    for alert in alerts:
        found[alert[0]].append(alert)
    return found
