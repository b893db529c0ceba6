"""What every codec of the registry keeps, whoever wrote it; tests/sensors/test_codecs.py draws harder cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agent.settings.registry import REGISTRY
from agent.testing import check_codec
from sensors.codecs import Codec
from sensors.codecs.binary import Binary, frame
from sensors.codecs.csv import Csv
from sensors.codecs.influx import Influx
from sensors.codecs.json_lines import JsonLines
from sensors.codecs.keyvalue import KeyValue
from sensors.codecs.nmea import Nmea, sentence

T = 1_710_856_626_905_833_677
FLAT = {"machine": "m", "time": "t", "texts": ["s"]}
COUNT = range(20)

CASES: dict[str, tuple[Callable[[], Codec], list[bytes]]] = {
    "json": (
        lambda: JsonLines(**FLAT),
        [b'{"m":"a","t":%d,"x":%d.5,"s":"RUN"}\n' % (T + n, n) for n in COUNT],
    ),
    "json of one shape": (lambda: JsonLines(time="t"), [b'{"t":%d,"x":%d.5}\n' % (T + n, n) for n in COUNT]),
    "json, nested": (
        lambda: JsonLines(**FLAT, explode="l[] as e"),
        [b'{"m":"b","t":%d,"l":["p","q"]}\r\n' % (T + n) for n in COUNT],
    ),
    "csv": (
        lambda: Csv(**FLAT, columns=["t", "m", "x", "s"]),
        [b'%d,"a,b",%d.5,RUN\n' % (T + n, n) for n in COUNT],
    ),
    "keyvalue": (lambda: KeyValue(**FLAT), [b"m=a t=%d x=%d; s=RUN\n" % (T + n, n) for n in COUNT]),
    "influx": (
        lambda: Influx(machine="m", texts=["s"]),
        [b'c,m=a x=%d.5,s="RUN" %d\n' % (n, T + n) for n in COUNT],
    ),
    "nmea": (
        lambda: Nmea(machine="m", texts=["s"], sentences={"P": ["m", "x", "s"]}),
        [sentence(f"P,a,{n}.5,RUN") for n in COUNT],
    ),
    "binary": (
        lambda: Binary(columns=["x"]),
        [frame(np.arange(9.0) + n, 9 * n, 10.0, machine=1 + n % 2, time=T) for n in COUNT],
    ),
}


def test_every_codec_of_the_registry_is_tested_here() -> None:
    assert {case.partition(" ")[0].strip(",") for case in CASES} == set(REGISTRY["codec"])


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{case}-{check}")
        for case, (make, frames) in CASES.items()
        for check in check_codec(make, b"".join(frames), [frame.strip(b"\r\n\0") for frame in frames])
    ],
)
def test_contract(check) -> None:
    check()
