"""Garbage of every kind through every codec into an engine with one of each window, detector and rule: nothing ends it,
and all that it says is JSON.
"""

import json
import random

import numpy as np
import pytest

from agent.alerts.alert import Identity
from agent.runtime.incident_journal import IncidentJournal
from agent.runtime.machine_state import MachineState
from agent.runtime.messages import encode
from agent.settings.build import build_pipeline
from agent.settings.registry import REGISTRY
from agent.settings.settings import Settings
from sensors.batch import tick
from sensors.codecs.csv import Csv
from sensors.codecs.influx import Influx
from sensors.codecs.json_lines import JsonLines
from sensors.codecs.keyvalue import KeyValue
from sensors.codecs.nmea import Nmea, sentence
from sensors.units import Duration
from tests.detectors.detector_cases import CASES

SECOND = 10**9
START = 1_795_000_000 * SECOND
IDENTITY = Identity("s", "a")
COLUMNS = ["sum", "mean", "min", "max", "range", "std", "var_pop", "first", "last"]
WINDOWS = {
    "tumbling": {"size": "5s", "aggregates": [*COLUMNS, "rate", "median", "p95", "distinct", "collect(s)"]},
    "hopping": {"size": "5s", "step": "1s", "emit": "current", "aggregates": [*COLUMNS, "rate"]},
    "cumulate": {"size": "5s", "step": "1s", "aggregates": COLUMNS},
    "count": {"count": 5, "aggregates": [*COLUMNS, "median"]},
    "running": {"aggregates": COLUMNS},
    "session": {"gap": "2s", "aggregates": COLUMNS},
    "sliding": {"size": "3s", "aggregates": [*COLUMNS, "median"]},
}
RULES = {
    "r_count": {"type": "count", "when": "x > 0", "least": 2, "of": 3},
    "r_deadman": {"type": "deadman", "after": "3s", "metric": "x"},
    "r_filter": {"type": "filter", "where": "x * y / z > 1 or s == 'a'"},
    "r_having": {"type": "having", "on": "running", "when": "sum > 3"},
    "r_pattern": {"type": "pattern", "metric": "x", "steps": ["a", "up: > a", "down: (up - down) / up > 30 %"]},
    "r_rate": {"type": "rate", "metric": "x", "when": "abs(rate) > 1"},
    "r_stuck": {"type": "stuck", "metric": "x", "after": "2s"},
    "r_threshold": {"when": "round(x, 2) >= 2 and y < 1e300", "for": "1s", "digits": 2, "no_data": "4s"},
}
NUMBERS = [
    "0", "-0.0", "1", "-1", "2.5", "1e5", "1E-5", "5e-324", "1e-310", "1e99", "-1e200", "1e308", "-1.7e308", "1e999",
    "NaN", "Infinity", "-Infinity", "null", "true", '""', '"x"', '"12"', '"1e400"', "[]", "[1,[2]]", '{"a":{"b":1}}',
    "9007199254740993", "18446744073709551616", '"\\ud800"', '"\\u0000"', "7", "50", "1" + "0" * 320, "1" * 4400,
]  # fmt: skip
TINY = ["0", "5e-324", "-5e-324", "1e-310", "-1e-308", "3e-308"]
HUGE = ["1e308", "-1.7e308", "1e99", "-1e100", "1e154", "1e200"]
NAMES = [
    "a",
    "b",
    "",
    "a/b",
    "+",
    "#",
    "\\u0000",
    "\\ud800",
    "\\udfff\\ud800",
    "\U0001f525",
    "x" * 300,
    "$SYS",
    '\\"',
]


def words(value):
    return str(value) if isinstance(value, Duration) else list(value) if isinstance(value, tuple) else value


def everything():
    windows = {name: {"type": name, "metric": "x", **table} for name, table in WINDOWS.items()}
    detectors = {
        f"d_{name}": {"type": name, **{key: words(value) for key, value in CASES[name].options.items()}}
        for name in REGISTRY["detector"]
    }
    detectors["d_kl"] |= {"size": "20s", "step": "5s", "learn": "5s"}
    rules = {f"r_{name}": {"on": name, "when": "score >= 0.5", "clear": "score < 0.2"} for name in detectors}
    rules |= {
        f"r_{name}": {"on": name, "when": "mean > 5 or max - min > 1e5"} for name in windows if name != "count"
    }
    return Settings(agent={"idle": "1h", "series": 50}, window=windows, detector=detectors, rule={**rules, **RULES})


def codecs():
    fields = {"machine": "m", "time": "t", "texts": ["s"]}
    return {
        "json": JsonLines(**fields),
        "csv": Csv(columns=["t", "m", "x", "y", "z", "s"], **fields),
        "keyvalue": KeyValue(**fields),
        "influx": Influx(machine="m", time="t"),
        "nmea": Nmea(machine="m", sentences={"PX": ["m", "x", "y", "z"]}),
    }


def line(chance, kind, pool, now):
    """A line of a codec; now and then some of its bytes are others."""
    x, y, z = chance.choices(pool, k=3)
    machine, text = chance.choice(NAMES), chance.choice(NAMES)
    time = chance.choice([now - chance.randrange(3 * SECOND)] * 9 + ["0", "-1", "1e300", "null", str(2**63), "NaN"])
    if kind == "nmea":
        return sentence(f"PX,{machine},{x},{y},{z}".encode("ascii", "ignore").decode()).strip()
    written = {
        "json": f'{{"m": "{machine}", "t": {time}, "x": {x}, "y": {y}, "z": {z}, "s": "{text}"}}',
        "csv": f"{time},{machine},{x},{y},{z},{text}",
        "keyvalue": f"t={time} m={machine} x={x}, y={y}; z={z} s={text}",
        "influx": f"all,m={machine} x={x},y={y},z={z} {time}",
    }[kind]
    data = bytearray(written.encode())
    if chance.random() < 0.05:
        for _ in range(4):
            data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("seed", range(6))
def test_no_garbage_ends_the_engine_and_all_it_says_is_json(seed):
    chance = random.Random(seed)
    engine, summary, notes, now = (
        build_pipeline(everything()).engine(),
        MachineState(IDENTITY),
        IncidentJournal({}),
        START,
    )
    readers, rows, said = codecs(), 0, 0
    normal = [repr(chance.gauss(50, 2)) for _ in range(20)]
    for _ in range(25):
        kind = chance.choice(["json", *readers])
        pool = chance.choice([NUMBERS, TINY, HUGE, normal, NUMBERS + TINY + HUGE])
        lines = []
        for _ in range(chance.choice([1, 9, 60])):
            now += 10**8
            lines.append(line(chance, kind, pool, now))
        codec = readers[kind]
        batch = codec.decode(lines, now) or tick(now)
        rows += len(batch)
        codec.counters.last_error.encode()
        decided = engine.process(batch)
        notes.of(decided, "line", {})
        for message in encode(decided, engine, IDENTITY, metrics=True) + summary.update(decided.alerts, engine):
            said += 1
            f"{message.id} {message.machine}".encode()
            if message.body:
                json.loads(message.body, parse_constant=lambda word: pytest.fail(f"{word} in a message"))
    ended = engine.finish()
    encode(ended, engine, IDENTITY, metrics=True)
    assert rows > 100
    assert said > 1000
    assert all(column.end.dtype == np.int64 for column in ended.results.values())
