"""From the byte on the serial line to the alert at the subscriber: percentiles at several rates.

Lines are written to a pseudo-terminal at an even pace; 37 % of them (as in the tutorial) are above the limit of a raw
rule, and each of these is one alert. An MQTT subscriber (mosquitto) and a Kafka consumer take the time at which each
comes in. It is on disk before it is sent; `disk` is what the same disk takes right after for a plain file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import orjson

from benchmarks.figures import emit
from benchmarks.running import agent, kafka, mosquitto

CONFIGURATION = """
[agent]
site = "plant"
name = "bench"

[source.line]
type = "serial"
port = "{port}"
codec = {{ type = "json", machine = "machine" }}

[rule.hot]
when = "Temperature_C >= 90"
mode = "raw"
"""
MQTT = """
[sink.broker]
type = "mqtt"
url = "mqtt://127.0.0.1:{port}"
"""
KAFKA = """
[sink.log]
type = "kafka"
servers = "{server}"
raw = "{topic}"
"""
ALARMS = 0.37
TOPIC = b"edge/v1/plant/bench/+/event/raw"


class Subscriber(threading.Thread):
    """An MQTT 3.1.1 subscriber that only notes when each PUBLISH came in; QoS 0, so that it is not the bottleneck."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.arrived: list[tuple[int, bytes]] = []
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connect = b"\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench"
        self._socket.sendall(b"\x10" + bytes([len(connect)]) + connect)
        subscribe = b"\x00\x01" + len(TOPIC).to_bytes(2, "big") + TOPIC + b"\x00"
        self._socket.sendall(b"\x82" + bytes([len(subscribe)]) + subscribe)
        self._socket.settimeout(1)

    def run(self) -> None:
        buffer = b""
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                return
            now = time.perf_counter_ns()
            if not data:
                return
            buffer += data
            at = 0
            while (end := _packet_end(buffer, at)) is not None:
                if buffer[at] >> 4 == 3:
                    self.arrived.append((now, buffer[at:end]))
                at = end
            buffer = buffer[at:]

    def close(self) -> None:
        self._socket.close()


def _packet_end(buffer: bytes, at: int) -> int | None:
    """Where the MQTT packet that begins at `at` ends; None if it is not all there."""
    length = shift = 0
    for position in range(at + 1, min(at + 5, len(buffer))):
        length |= (buffer[position] & 127) << shift
        shift += 7
        if buffer[position] < 128:
            end = position + 1 + length
            return end if end <= len(buffer) else None
    return None


class Consumer(threading.Thread):
    """A Kafka consumer that only notes when each message came in."""

    def __init__(self, server: str, topic: str) -> None:
        super().__init__(daemon=True)
        from confluent_kafka import OFFSET_END, Consumer, TopicPartition

        self.arrived: list[tuple[int, bytes]] = []
        self._stop = threading.Event()
        self._consumer = Consumer(
            {"bootstrap.servers": server, "group.id": "bench", "fetch.wait.max.ms": 5, "enable.auto.commit": False}
        )
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_END)])

    def run(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.arrived.append((time.perf_counter_ns(), message.value() or b""))
        self._consumer.close()

    def close(self) -> None:
        self._stop.set()


def main(arguments: list[str]) -> int:
    """Measure each rate with a fresh agent."""
    parser = argparse.ArgumentParser(prog="benchmarks latency", description=__doc__)
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 200, 1000, 10_000])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", choices=["mqtt", "kafka"])
    options = parser.parse_args(arguments)
    if options.only != "kafka":
        with mosquitto() as port:
            for rate in options.rates if port is not None else []:
                _measure(rate, options.seconds, MQTT.format(port=port), "mqtt", lambda: Subscriber(port or 0))
    if options.only != "mqtt":
        with kafka() as broker:
            for rate in options.rates:
                topic = broker.topic("alerts")
                sink = KAFKA.format(server=broker.servers, topic=topic)
                _measure(rate, options.seconds, sink, "kafka", partial(Consumer, broker.servers, topic))
    return 0


def _measure(rate: int, seconds: float, sink: str, name: str, listen: Callable[[], Subscriber | Consumer]) -> None:
    with _line() as (master, path), agent(CONFIGURATION.format(port=path) + sink) as running:
        time.sleep(1.5)  # the broker's connection is no part of being ready
        listener = listen()
        listener.start()
        time.sleep(0.5)
        warm = rate * 2  # the first seconds pay for imports, metadata and just-in-time compilation on both sides
        count = warm + max(50, int(rate * seconds))
        before = running.cpu_seconds()
        written = _write(master, rate, count)
        alarms = [number for number in range(count) if _alarm(number)]
        deadline = time.perf_counter() + 10
        while len(listener.arrived) < len(alarms) and time.perf_counter() < deadline:
            time.sleep(0.05)
        cpu = running.cpu_seconds() - before
        listener.close()
        arrived = {_number(body): now for now, body in listener.arrived}
        late = [arrived[number] - written[number] for number in alarms if number in arrived and number >= warm]
        delays = np.array(late) / 1e6
        for percent in (50, 99):
            if len(delays):
                emit("latency", f"{name}_{rate}_per_second_p{percent}", float(np.percentile(delays, percent)), "ms")
        emit("latency", f"{name}_{rate}_per_second_missing", len(alarms) - len(arrived), "alerts", sent=len(alarms))
        emit("latency", f"{name}_{rate}_per_second_cpu", cpu / count * 1e6, "us an event")
        syncs = _syncs(running.folder / "state" / "plain", min(rate * ALARMS, 400))
        for percent in (50, 99):
            emit("latency", f"{name}_{rate}_per_second_disk_p{percent}", float(np.percentile(syncs, percent)), "ms")


def _syncs(path: Path, rate: float) -> list[float]:
    """What the disk takes for 8 KiB of a plain file, ms: the least that an alert waits to be safe."""
    taken: list[float] = []
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(file, 0, 1 << 20)
        for number in range(500):
            time.sleep(1 / rate if rate > 100 else 0.002)
            began = time.perf_counter()
            os.pwrite(file, b"x" * 8192, number % 128 * 8192)
            os.fdatasync(file)
            taken.append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(file)
        path.unlink()
    return taken


@contextlib.contextmanager
def _line() -> Iterator[tuple[int, str]]:
    """A serial line: our end's descriptor and the path of the other."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


def _write(master: int, rate: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Write the lines at an even pace; the time of each write, ns. Above 1,000/s several lines go in one write."""
    group = max(1, rate // 1000)
    written = np.zeros(count, np.int64)
    started = time.perf_counter_ns()
    for first in range(0, count, group):
        due = started + first * 10**9 // rate
        while (left := due - time.perf_counter_ns()) > 0:
            time.sleep(left / 1e9)
        numbers = range(first, min(first + group, count))
        data = b"".join(
            b'{"machine":"%d","Temperature_C":%d,"n":%d}\n' % (n % 3, 95 if _alarm(n) else 60, n) for n in numbers
        )
        written[first : first + group] = time.perf_counter_ns()
        while data:
            data = data[os.write(master, data) :]
    late = (time.perf_counter_ns() - started) / 1e9 - count / rate
    if late > 0.5:
        print(f"the writer was {late:.1f} s late at {rate}/s", file=sys.stderr)
    return written


def _alarm(number: int) -> bool:
    return int(number * ALARMS) != int((number + 1) * ALARMS)


def _number(body: bytes) -> int:
    """The number that the line carried, out of the alert (behind the topic of an MQTT packet)."""
    return int(orjson.loads(body[body.index(b"{") :])["data"]["values"]["n"])
