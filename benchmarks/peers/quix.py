"""The Quix tutorial's pipeline in Quix Streams itself, in process. Runs in `.venv-peers`, prints one JSON line.

    .venv-peers/bin/python benchmarks/peers/quix.py EVENTS ALERTS

Quix's own code does everything but the network: the topic decodes the JSON, the composed dataframe runs with state
in RocksDB, the producer's serialiser encodes, a checkpoint is taken after each 10,000 events (by default Quix takes
one each 5 s). Consumer and producer are stand-ins, changelogs are off, both to its advantage. The Timestamp field
counts as time, as the tutorial says it does.

EVENTS: one JSON document a line, `{"key", "value"}` with the value as text. ALERTS gets the produced messages:
key, window start in ms, value.
"""

import json
import logging
import sys
import tempfile
import time

from quixstreams import Application
from quixstreams.context import copy_context, set_message_context
from quixstreams.models import Topic, TopicConfig


class Arrived:
    """A message as confluent-kafka hands it over."""

    def __init__(self, key, value, offset):
        self._key, self._value, self._offset = key, value, offset

    def key(self):
        return self._key

    def value(self):
        return self._value

    def offset(self):
        return self._offset

    def headers(self):
        return None

    def topic(self):
        return "temperature_readings"

    def partition(self):
        return 0

    def timestamp(self):
        return (1, 0)

    def leader_epoch(self):
        return 0

    def latency(self):
        return None

    def error(self):
        return None

    def __len__(self):
        return len(self._value)


def pipeline(app, readings, alerts):
    """The tutorial's pipeline; `should_alert` takes the headers too, without which the tutorial's code fails."""

    def should_alert(window_value, key, timestamp, headers):
        return window_value >= 90

    sdf = app.dataframe(readings)
    sdf = sdf.apply(lambda data: data["Temperature_C"])
    sdf = sdf.hopping_window(duration_ms=5000, step_ms=1000).mean().current()
    sdf = sdf.apply(lambda result: round(result["value"], 2))
    return sdf.filter(should_alert, metadata=True).to_topic(alerts)


def extract_time(value, headers, timestamp, kind):
    """The tutorial's field, ns to ms."""
    return value["Timestamp"] // 1_000_000


def main(events, alerts):
    """Run all events of a file, keep the alerts in another."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address="127.0.0.1:1",
            consumer_group="bench",
            state_dir=folder,
            use_changelog_topics=False,
            loglevel=None,
        )
        readings = Topic(
            "temperature_readings",
            value_deserializer="json",
            key_deserializer="bytes",
            timestamp_extractor=extract_time,
        )
        out = Topic("alerts", value_serializer="json", key_serializer="bytes")
        readings.broker_config = out.broker_config = TopicConfig(
            num_partitions=1, replication_factor=1, extra_config={"retention.ms": "-1"}
        )
        pipeline(app, readings, out)
        produced = []
        context = app._processing_context
        app._producer.produce = lambda topic, key, value, timestamp, **_: produced.append((key, timestamp, value))
        app._producer.flush = lambda *args, **kwargs: 0
        app._consumer.commit = lambda *args, **kwargs: None
        run = app._dataframe_registry.compose_all()["temperature_readings"]
        for stream in app._dataframe_registry.get_stream_ids("temperature_readings"):
            app._state_manager.on_partition_assign(stream, 0, {"temperature_readings": 0})
        messages = []
        with open(events, "rb") as lines:
            for offset, line in enumerate(lines):
                event = json.loads(line)
                messages.append(Arrived(event["key"].encode(), event["value"].encode(), offset))
        context.init_checkpoint()
        started, cpu = time.perf_counter(), time.process_time()
        for message in messages:
            row = readings.row_deserialize(message)
            here = copy_context()
            here.run(set_message_context, row.context)
            here.run(run, row.value, row.key, row.timestamp, row.headers)
            context.store_offset("temperature_readings", 0, message.offset())
            if message.offset() % 10_000 == 9_999:
                context.commit_checkpoint(force=True)
        context.commit_checkpoint(force=True)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    with open(alerts, "wb") as file:
        for key, timestamp, value in produced:
            file.write(b"%s %d %s\n" % (key, timestamp, value))
    print(json.dumps({"events": len(messages), "alerts": len(produced), "seconds": seconds, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])
