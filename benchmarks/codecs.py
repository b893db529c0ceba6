"""Rows a second of CPU time of each codec, on blocks as a busy line delivers them; what a single line costs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import orjson

from benchmarks.figures import emit
from sensors.codecs import Codec
from sensors.codecs.binary import Binary, frame
from sensors.codecs.csv import Csv
from sensors.codecs.influx import Influx
from sensors.codecs.json_lines import JsonLines
from sensors.codecs.keyvalue import KeyValue
from sensors.codecs.nmea import Nmea, sentence
from sensors.drivers.simulated.orders import Orders

_STAMP = 1_710_856_626_905_833_677
_BLOCK = 65_536


def main(arguments: list[str]) -> int:
    """Print one figure a codec."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks codecs", description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    lines = parser.parse_args(arguments).lines
    for name, make, data in _cases(lines):
        best = min(_seconds(make(), data, _BLOCK) for _ in range(3))
        rows = _rows(make(), data)
        emit("codecs", f"{name}", rows / best, "rows/s", us_a_row=best / rows * 1e6)
    codec = JsonLines(time="Timestamp")
    single = b'{"Temperature_C": 65, "Timestamp": 1710856626905833677}\n'
    count = 5000
    emit("codecs", "json, a line at a time", _seconds(codec, single * count, len(single)) / count * 1e6, "us/line")
    return 0


def _cases(n: int) -> list[tuple[str, Callable[[], Codec], bytes]]:
    times = [_STAMP + row * 10**8 for row in range(n)]
    tutorial = b"".join(b'{"Temperature_C": %d, "Timestamp": %d}\n' % (60 + t % 30, t) for t in times)
    metrics = b"".join(
        b'{"machine":"m%d","t":%d,"a":1.5,"b":2.25,"c":3,"status":"RUN"}\n' % (t % 7, t) for t in times
    )
    broken = metrics.replace(b'"m3"', b'"m3')
    order_blocks = Orders().orders(_STAMP)
    orders = b"".join(
        orjson.dumps(order) + b"\n" for _ in range(max(1, n // 5120)) for order in next(order_blocks).documents()
    )
    csv = b"".join(b"%d,m%d,1.5,2.25,3\n" % (t, t % 7) for t in times)
    pairs = b"".join(b"t=%d m=m%d a=1.5 b=2.25 c=3\n" % (t, t % 7) for t in times)
    influx = b"".join(b"line,m=m%d a=1.5,b=2.25,c=3i %d\n" % (t % 7, t) for t in times)
    nmea = b"".join(sentence(f"PTEMP,m{t % 7},1.5,2.25,3") for t in times)
    wave = 325 * np.sin(np.arange(1000) / 3.18)
    waves = b"".join(
        frame(wave, 1000 * block, 1000.0, scale=0.02, time=_STAMP) for block in range(max(1, n // 200))
    )
    order = {"machine": "shop", "time": "timestamp", "time_unit": "ms", "texts": ["name"], "values": ["id"]}
    return [
        ("json, the tutorial's line", lambda: JsonLines(time="Timestamp"), tutorial),
        ("json, machine, 3 metrics, a text", lambda: JsonLines(machine="machine", time="t", texts=["status"]), metrics),
        ("json, one line in seven broken", lambda: JsonLines(machine="machine", time="t", texts=["status"]), broken),
        ("json, orders exploded to toppings",
         lambda: JsonLines(**order, explode="pizzas[].additionalToppings[] as topping"), orders),  # type: ignore[arg-type]
        ("csv, machine and 3 metrics", lambda: Csv(columns=["t", "m", "a", "b", "c"], machine="m", time="t"), csv),
        ("keyvalue, machine and 3 metrics", lambda: KeyValue(machine="m", time="t"), pairs),
        ("influx, machine and 3 metrics", lambda: Influx(machine="m"), influx),
        ("nmea, machine and 3 metrics", lambda: Nmea(sentences={"PTEMP": ["m", "a", "b", "c"]}, machine="m"), nmea),
        ("binary, int16 samples in blocks of 1000", Binary, waves),
    ]  # fmt: skip


def _seconds(codec: Codec, data: bytes, block: int) -> float:
    began = time.process_time()
    for start in range(0, len(data), block):
        codec.feed(data[start : start + block], _STAMP)
    return time.process_time() - began


def _rows(codec: Codec, data: bytes) -> int:
    batch = codec.feed(data, _STAMP)
    return 0 if batch is None else len(batch)
