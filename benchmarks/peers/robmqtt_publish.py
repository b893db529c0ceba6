"""robmqtt publishing to a broker: QoS 1, in-flight messages in SQLite. Runs in `.venv-peers`, prints one JSON line.

    .venv-peers/bin/python benchmarks/peers/robmqtt_publish.py PORT MESSAGES BYTES

As its own quick start does it, but with a window of 20, since paho 1.6 below it would send the 21st only later and
keep it in memory. The clock stops when the broker has acknowledged all.
"""

import json
import logging
import sys
import tempfile
import threading
import time

from robmqtt import ProductionMQTTClient

port, count, size = map(int, sys.argv[1:4])
body = "x" * size
with tempfile.TemporaryDirectory() as place:
    client = ProductionMQTTClient(
        client_id="robmqtt",
        broker_host="127.0.0.1",
        broker_port=port,
        max_queue_size=10 * count,
        db_path=f"{place}/client.db",
        log_dir=f"{place}/logs",
        log_level="ERROR",
    )
    logging.disable(logging.INFO)
    window = threading.Semaphore(20)
    before = client.client.on_publish

    def acknowledged(*arguments):
        before(*arguments)
        window.release()

    client.client.on_publish = acknowledged
    client.connect()
    client.start()
    while not client.is_connected:
        time.sleep(0.01)
    began = time.perf_counter()
    for number in range(count):
        if not window.acquire(timeout=20):
            sys.exit(f"no acknowledgement for 20 s after {number} messages")
        client.publish(f"plain/{number % 100}", body, qos=1)
    for _ in range(20):
        window.acquire(timeout=20)
    seconds = time.perf_counter() - began
    client.stop()
print(json.dumps({"rate": count / seconds}))
