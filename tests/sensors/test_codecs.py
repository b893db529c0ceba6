"""What holds for every codec: any cut gives the same rows, nothing raises, the next good frame is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.codecs.binary import Binary, frame
from sensors.codecs.csv import Csv
from sensors.codecs.influx import Influx
from sensors.codecs.json_lines import JsonLines
from sensors.codecs.keyvalue import KeyValue
from sensors.codecs.nmea import Nmea, sentence

NOW = 1_795_000_000 * 10**9
STAMP = 1_710_856_626_905_833_677
FLAT = {"machine": "m", "time": "t", "texts": ["s"]}

CODECS: dict[str, tuple[Callable[[], Codec], list[bytes]]] = {
    "json": (
        lambda: JsonLines(**FLAT, max_length=300),
        [b'{"m":"a","t":%d,"x":1.5}\n' % STAMP, b'{"m":"b","t":%d,"y":2,"s":"RUN"}\r\n' % STAMP],
    ),
    "json list": (
        lambda: JsonLines(**FLAT, explode="l[] as e", max_length=300),
        [b'{"m":"a","t":%d,"x":1,"l":["p","q"]}\n' % STAMP, b'{"m":"b","t":%d,"l":[]}\n' % STAMP],
    ),
    "csv": (lambda: Csv(**FLAT, max_length=300), [b"%d,a,1.5,RUN\n" % STAMP, b'%d,"b,c",,\n' % STAMP]),
    "keyvalue": (lambda: KeyValue(**FLAT, max_length=300), [b"m=a t=%d x=1.5 s=RUN\n" % STAMP, b"m=b;t=%d;y=2\n" % STAMP]),
    "influx": (
        lambda: Influx(machine="m", texts=["s"], max_length=300),
        [b'c,m=a x=1.5,s="RUN" %d\n' % STAMP, b"c,m=b y=2i %d\n" % STAMP],
    ),
    "nmea": (
        lambda: Nmea(machine="m", texts=["s"], sentences={"P": ["m", "x", "s"]}, max_length=300),
        [sentence("P,a,1.5,RUN"), sentence("P,b,2")],
    ),
    "binary": (
        lambda: Binary(columns=["x"], max_length=300),
        [frame(np.arange(4.0), 0, 10.0, machine=1, time=STAMP), frame(np.arange(9.0), 4, 10.0, machine=2, scale=0.5)],
    ),
}  # fmt: skip
HEADER = {"csv": b"t,m,x,s\n"}
NOISE = [b"\n", b"\0", b"\xff\xfe", b"{", b"}", b"[1]\n", b'"', b"garbage\n", b"a=b\n", b"x" * 400, b"$P,1*00\n", b",,,\n",
         b"NaN\n", b'{"t":1}\n', b"\r", b'{"m":"a","t":5,"x":1}\n', b"1,2,3,4\n", b"*", b"\\"]  # fmt: skip
ENDS = {"binary": b"\0"}


def table(batches: list[Batch | None]) -> list[dict[str, object]]:
    """A dict a row, without what is missing: how a stream was cut does not show."""
    found: list[dict[str, object]] = []
    for batch in batches:
        for row in range(len(batch) if batch is not None else 0):
            record: dict[str, object] = {
                "machine": batch.machines[batch.machine[row]],
                "time": int(batch.time[row]),
            }
            record |= {name: float(c[row]) for name, c in batch.values.items() if not math.isnan(c[row])}
            record |= {name: t.words[t.codes[row]] for name, t in batch.texts.items() if t.codes[row] >= 0}
            found.append(record)
    return found


@pytest.mark.parametrize("name", list(CODECS))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_cut_of_good_and_broken_frames_gives_the_same_rows_and_counts(name: str, data: st.DataObject) -> None:
    make, good = CODECS[name]
    parts = data.draw(
        st.lists(st.one_of(st.sampled_from(good), st.sampled_from(NOISE), st.binary(max_size=8)), max_size=25)
    )
    stream = HEADER.get(name, b"") + b"".join(parts)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=15))
    discard = data.draw(st.booleans())
    results = []
    for cuts in ([0, len(stream)], sorted({0, len(stream), *places}), list(range(len(stream) + 1))):
        codec = make()
        codec.reset(discard=discard)
        rows = table([codec.feed(stream[a:b], NOW) for a, b in pairwise(cuts)])
        results.append((rows, replace(codec.counters, last_error="")))
    assert results[0] == results[1]
    assert results[0] == results[2]


@pytest.mark.parametrize("name", list(CODECS))
@settings(max_examples=60, deadline=None)
@given(noise=st.one_of(st.binary(max_size=600), st.lists(st.sampled_from(NOISE), max_size=20).map(b"".join)))
def test_after_any_noise_the_next_good_frames_are_read(name: str, noise: bytes) -> None:
    make, good = CODECS[name]
    codec = make()
    codec.feed(HEADER.get(name, b""), NOW)
    codec.feed(noise, NOW)
    codec.feed(ENDS.get(name, b"\n"), NOW)
    if name == "csv":
        codec.feed(HEADER[name], NOW)
    assert len(table([codec.feed(b"".join(good), NOW)])) == len(table([make_and_feed(name)]))
    counters = codec.counters
    assert counters.frames_bad == 0 or counters.last_error
    assert "\n" not in counters.last_error


def make_and_feed(name: str) -> Batch | None:
    make, good = CODECS[name]
    return make().feed(HEADER.get(name, b"") + b"".join(good), NOW)


@pytest.mark.parametrize("name", list(CODECS))
@settings(max_examples=40, deadline=None)
@given(frames=st.lists(st.binary(max_size=60), max_size=10))
def test_messages_of_a_broker_may_hold_anything(name: str, frames: list[bytes]) -> None:
    make, good = CODECS[name]
    codec = make()
    if name == "csv":
        codec.decode([HEADER[name].strip()], NOW)
    mixed = [*frames, good[0].strip(b"\r\n\0"), *frames]
    batch = codec.decode(mixed, NOW, times=list(range(len(mixed))), machines=["k"] * len(mixed))
    assert batch is not None
    assert len(batch) >= 1
    assert all(len(column) == len(batch) for column in batch.values.values())
    assert batch.machine.max() < len(batch.machines)
    lines = sum(1 + message.count(b"\n") + message.count(b"\r") for message in mixed)
    assert codec.counters.frames_ok + codec.counters.frames_bad <= lines
    assert all(np.isfinite(column[~np.isnan(column)]).all() for column in batch.values.values())


@pytest.mark.parametrize("name", list(CODECS))
def test_silence_ends_a_frame(name: str) -> None:
    make, good = CODECS[name]
    codec = make()
    codec.feed(HEADER.get(name, b""), NOW)
    codec.feed(good[0][:-2], NOW)
    codec.silence()
    assert table([codec.feed(b"".join(good), NOW)]) == table([make_and_feed(name)])
    assert codec.counters.frames_bad == 1


@pytest.mark.parametrize("name", list(CODECS))
def test_a_megabyte_without_delimiter_is_bounded(name: str) -> None:
    make, good = CODECS[name]
    codec = make()
    codec.feed(HEADER.get(name, b""), NOW)
    for _ in range(1024):
        assert codec.feed(b"y" * 1024, NOW) is None
    codec.feed(ENDS.get(name, b"\n"), NOW)
    assert len(table([codec.feed(b"".join(good), NOW)])) == len(table([make_and_feed(name)]))
    assert codec.counters.frames_bad == 1
    assert codec.counters.bytes_discarded == 1 << 20
