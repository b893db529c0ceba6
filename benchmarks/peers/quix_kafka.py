"""The Quix tutorial as it stands, from topic to topic through a broker. Runs in `.venv-peers`, prints one JSON line.

.venv-peers/bin/python benchmarks/peers/quix_kafka.py SERVERS READINGS ALERTS COUNT
"""

import json
import sys
import tempfile
import time

from quix import extract_time, pipeline
from quixstreams import Application


def main(servers, readings, alerts, count):
    """Process `count` messages, then end."""
    marks = []

    def seen(topic, partition, offset):
        if not marks:
            marks.append((time.perf_counter(), time.process_time()))
        if offset == int(count) - 1:
            app.stop()

    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=servers,
            consumer_group=f"quix-{readings}",
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="ERROR",
            on_message_processed=seen,
        )
        pipeline(app, app.topic(readings, timestamp_extractor=extract_time), app.topic(alerts))
        app.run()
        ended = (time.perf_counter(), time.process_time())
    seconds, cpu = (end - start for end, start in zip(ended, marks[0], strict=True))
    print(json.dumps({"events": int(count), "seconds": seconds, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])
