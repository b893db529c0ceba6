"""However a stream of odd text is cut, the same rows and counts; one by one, messages give what they give together."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases.reading import codec_of, rows_of

STREAMS: dict[str, list[str | bytes]] = {
    'type = "csv", time = "t", time_unit = "iso", time_zone = "Europe/Berlin", values = ["v"], machine = "m"': [
        "t,v,m\n", "m;t;v;\n", "t\tv\tm\n", "t,v\n", "Title,x\n", ";;\n", "# c\n", "2026-10-25 02:10:00,1,a\n",
        '2026-10-25 02:50:00,"1,234.5",b\n', "25.10.2026 02:00;1;a\n", "a;25.10.2026 02:30;1;\n", "1/2/2026 1:00,5,a\n",
        "1/13/2026 1:00,5,a\n", "2026-03-29 02:30:00,1,a\n", '"x\n', b"2026-01-01,\xb0,b\n", "\0", b"\xff\xfe", "\r", " ", ";",
    ],
    'type = "csv", units = "strip", decimal = ",", invalid = [85, "n/a"], values = ["a"]': [
        "a;b\n", "1,5 mV;2\n", "85;1\n", "n/a;2\n", "3 V;2\n", "1.234,5mV;1\n", "1.234;9\n", "a\n", "5\n", "\r",
    ],
    'type = "keyvalue", decimal = ",", values = ["a", "b"]': [
        "a=1,5 b=2\n", "a=1 234,5\n", "a='x' b=2\n", "ts=2026-01-01 10:00 a=3\n", "#\n", "a=1,b=2\n", "\0", b"a=\xb0\n", "\r",
    ],
    'type = "json", bare = ["a", "b"], values = ["a", "x[0] as y"]': [
        '{"a":1}\n', '{"a":1}{"a":2}\n', "[1,2]\n", "5\n", "[[1,2],[3]]\n", "null\n", '{"a":\n', '{"x":[7]}\n', b'{"\xb0":1}\n',
        "\ufeff", "\r", "\0",
    ],
    'type = "nmea", checksum = false, values = ["P.1"]': ["$P,1\n", "$P,1,x*00\n", "$P, 1 ,2\n", b"$P,\xb0\n", "x$P,3\n", "\0"],
    'type = "influx", machine = "m"': ["c,m=a x=1\n", "c,m=b x=2i 5\n", "# x\n", b"c,m=\xb0 x=2\n", " \n", "\r", "\0"],
    'type = "csv", encoding = "utf-16", values = ["v"]': [b"\xff\xfe", "v,w\n".encode("utf-16-le"), "1,2\n".encode("utf-16-le"), b"x"],
}  # fmt: skip


@pytest.mark.law2
@pytest.mark.parametrize("table", list(STREAMS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_gives_the_same_rows_and_counts(table: str, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from(STREAMS[table]), max_size=14))
    stream = b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    discard = data.draw(st.booleans())
    results = []
    for cuts in ([0, len(stream)], sorted({0, len(stream), *places}), range(len(stream) + 1)):
        codec = codec_of(table)
        codec.reset(discard=discard)
        batches = [codec.feed(stream[a:b], 7) for a, b in pairwise(cuts)]
        rows = rows_of(*batches, codec.finish(7))
        results.append((rows, replace(codec.counters, last_error="")))
    assert results[0] == results[1] == results[2]

    messages = [stream[a:b] for a, b in pairwise(sorted({0, len(stream), *places}))]
    names = [f"topic-{number}" for number in range(len(messages))]
    together, apart = codec_of(table), codec_of(table)
    single = [apart.decode([one], 7, [9], [name]) for one, name in zip(messages, names, strict=True)]
    assert rows_of(together.decode(messages, 7, [9] * len(messages), names)) == rows_of(*single)
