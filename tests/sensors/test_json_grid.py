"""Lines of one shape are read as one array: the same values as one by one, and never a line that is no JSON."""

from __future__ import annotations

from itertools import chain

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensors.codecs.json_grid import grid
from sensors.codecs.json_lines import JsonLines

NOW = 1_795_000_000 * 10**9
TUTORIAL = [
    b'{"Temperature_C": %d, "Timestamp": %d}' % (row - 5, 1_710_856_626_905_833_677 + row) for row in range(12)
]

names = st.sampled_from(["a", "b", "Temperature_C", "e", "a b", "a,b", "a:b", "{", "t1", "-", "", "ä", 'a"b'])
values = st.one_of(
    st.integers(-(2**64), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([None, True, "x", "1", "", [], [1, 2], {"c": 1}]),
)
digit_or_two = st.sampled_from(["0", "2", "5", "05", "12", ""])
blanks = st.sampled_from(["", " ", "\t", "\r", "  "])
bytes_that_matter = st.sampled_from(list(b'{}",:09.-+eE\n\t [5anul\\\xff'))


def scientific(letter: str) -> st.SearchStrategy[str]:
    """Numbers with an exponent, all with this letter; one in some has leading zeros or a bare point, which is no JSON."""
    mantissa = st.sampled_from(["1", "0", "-15", "2.5", "-0.25", "1.0", "9"] * 4 + ["00", "01", "1.", "+1", ".5"])
    exponent = st.sampled_from(["0", "5", "+2", "-3", "+05", "-12", "12"] * 4 + ["", "-"])
    return st.tuples(mantissa, exponent).map(letter.join)


def json(value: object) -> str:
    return str(value) if type(value) is int else orjson.dumps(value).decode()  # orjson knows 64 bits


kinds = st.sampled_from([
    st.integers(-99, 99).map(json), st.floats(0, 100).map(lambda x: json(round(x, 2))),
    st.sampled_from(["0", "7", "-1", "1.5", "1.25"] * 3 + ["007", "-01"]),
    values.map(json), scientific("e"), scientific("E"), st.sampled_from(["1e5", "2.5", "-1E-5", "3"]),
])  # fmt: skip


@st.composite
def shaped(draw: st.DrawFn) -> list[bytes]:
    """Lines with the same fields, written the same way; as a rule all are numbers."""
    fields = draw(st.lists(names, min_size=1, max_size=4))
    space = [draw(blanks) for _ in range(5)]
    value = draw(kinds)
    lines = []
    for _ in range(draw(st.integers(2, 6))):
        pairs = [f"{space[0]}{json(name)}{space[1]}:{space[2]}{draw(value)}" for name in fields]
        lines.append((space[3] + "{" + ",".join(pairs) + space[4] + "}" + space[3]).encode())
    return lines


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """The same with up to four bytes put in, taken out or moved, in any of the lines."""
    lines = [bytearray(line) for line in draw(shaped())]
    for _ in range(draw(st.integers(0, 4))):
        line = draw(st.sampled_from(lines))
        where = draw(st.integers(0, max(0, len(line) - 1)))
        what = draw(st.sampled_from(["in", "out", "move"]))
        if what == "in":
            line.insert(where, draw(bytes_that_matter))
        elif line:
            byte = line.pop(where)
            if what == "move":
                other = draw(st.sampled_from(lines))
                other.insert(draw(st.integers(0, len(other))), byte)
    return [bytes(line) for line in lines]


@settings(max_examples=400, deadline=None)
@given(damaged())
@example([b'{"a":1}', b'{"a":}2'])
@example([b'{"a":1}', b'2{"a":}'])
@example([b'{"a":1}', b'{"2":}'])
@example([b'{"a":1}', b'{"a"2:}'])
@example([b'{"a":1,"b":2}', b'{"a":1', b'"b":2},{"a":3,"b":4}'])
@example([b'{"a":1}', b'{"a":\n1}'])
@example([b'{"a":15}', b'{"a":1e5}'])
@example([b'{"a":1,"a":2}', b'{"a":3,"a":4}'])
@example([b'{"t1e":1}', b'{"te1":2}'])
@example([b'{"a":1e5}', b'{"a":2e5}'])
@example([b'{"a":1E5}', b'{"a":2E5}'])
@example([b'{"a":1e-5}', b'{"a":-2.5e+5}'])
@example([b'{"a":1e5,"b":2}', b'{"a":2e5,"b":3}'])
@example([b'{"e":0e0}', b'{"e":1e0}'])
@example([b'{"a":01}', b'{"a":02}'])
@example([b'{"a":true}', b'{"a":true}'])
@example([b'{"a":1,"b":null}', b'{"a":1,"b":null}'])
@example([b'{"a":1}', b'{"a":1null}'])
@example([b'{"a":NaN,"b":1}', b'{"a":NaN,"b":1}'])
@example([b'{"a":-Infinity}', b'{"a":-Infinity}'])
def test_a_grid_is_exactly_what_the_lines_say(lines: list[bytes]) -> None:
    found = grid(lines)
    if found is not None:
        records = [orjson.loads(line) for line in lines]
        assert list(found) == records
        assert [list(map(type, row.values())) for row in found] == [
            list(map(type, row.values())) for row in records
        ]


@settings(max_examples=100, deadline=None)
@given(damaged(), st.sampled_from(["", "a", "b"]), st.sampled_from(["", "a", "b", "Temperature_C"]))
@example([b'{"a":1e5,"b":2}', b'{"a":25e-1,"b":3}'], "", "")
@example([b'{"a":1E5}', b'{"a":2E5}'], "", "")
def test_a_block_gives_the_rows_of_its_lines(lines: list[bytes], machine: str, time: str) -> None:
    lines = lines * 4  # enough that the block is looked at as a grid
    settings = {"machine": machine, "time": time, "earliest": "1970-01-01T00:00:00Z"}
    whole, single = JsonLines(**settings), JsonLines(**settings)
    batch = whole.decode(lines, NOW)
    parts = [part for line in lines if (part := single.decode([line], NOW)) is not None]
    rows = [] if batch is None else batch.time.tolist()
    assert rows == list(chain.from_iterable(part.time.tolist() for part in parts))
    assert whole.counters.frames_bad == single.counters.frames_bad
    for name in [] if batch is None else batch.values:
        column = chain.from_iterable(
            part.values[name].tolist() if name in part.values else [None] * len(part) for part in parts
        )
        for found, wanted in zip(batch.values[name].tolist() if batch else [], column, strict=True):
            assert found == wanted or (found != found and (wanted is None or wanted != wanted))


@pytest.mark.parametrize("lines", [TUTORIAL, [b'{"a":1.5}'] * 9, [b' { "a" : -1 , "b" : 2.25 } \r'] * 9])
def test_lines_of_one_shape_are_a_grid(lines: list[bytes]) -> None:
    found = grid(lines)
    assert found is not None
    assert list(found) == [orjson.loads(line) for line in lines]


def test_a_key_fallback_and_a_refused_time_work_on_a_grid() -> None:
    codec = JsonLines(time="Timestamp", machine_id="alone")
    lines = [*TUTORIAL, b'{"Temperature_C": 7, "Timestamp": 3}']
    batch = codec.decode(lines, NOW, None, ["m1", *[""] * 12])
    assert batch is not None
    assert [batch.machines[code] for code in batch.machine.tolist()] == ["m1", *["alone"] * 11]
    assert (codec.counters.frames_ok, codec.counters.frames_bad) == (12, 1)
    assert batch.values["Temperature_C"].tolist() == [float(row - 5) for row in range(12)]
