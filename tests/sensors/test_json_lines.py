"""JSON lines: what counts as a number, a time, a machine; and nothing a line can hold raises."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from sensors.batch import Batch, Naming
from sensors.codecs import Codec
from sensors.codecs.json_lines import JsonLines
from sensors.drivers.simulated import Orders, Temperature

NOW = 1_795_000_000 * 10**9
STAMP = 1_710_856_626_905_833_677


def decode(codec: JsonLines, *lines: str | bytes) -> Batch | None:
    return codec.decode([line.encode() if isinstance(line, str) else line for line in lines], NOW)


def rows(batch: Batch | None) -> list[dict[str, object]]:
    """A dict a row, without what is missing."""
    if batch is None:
        return []
    found = []
    for row in range(len(batch)):
        record: dict[str, object] = {"machine": batch.machines[batch.machine[row]], "time": int(batch.time[row])}
        record |= {name: float(c[row]) for name, c in batch.values.items() if not math.isnan(c[row])}
        record |= {name: t.words[t.codes[row]] for name, t in batch.texts.items() if t.codes[row] >= 0}
        found.append(record)
    return found


def test_the_tutorials_line() -> None:
    codec = JsonLines(machine_id="2", time="Timestamp")
    assert isinstance(codec, Codec)
    batch = decode(codec, '{"Temperature_C": 65, "Timestamp": 1710856626905833677}')
    assert rows(batch) == [{"machine": "2", "time": STAMP, "Temperature_C": 65.0}]


def test_a_line_may_carry_several_metrics_and_texts() -> None:
    codec = JsonLines(machine="id", time="t", texts=["status"])
    batch = decode(codec, f'{{"id": "a", "t": {STAMP}, "temp": 1.5, "hum": 40, "status": "RUN"}}',
                   f'{{"id": 7, "t": {STAMP}, "hum": 41, "new": 1}}')  # fmt: skip
    assert rows(batch) == [
        {"machine": "a", "time": STAMP, "temp": 1.5, "hum": 40.0, "status": "RUN"},
        {"machine": "7", "time": STAMP, "hum": 41.0, "new": 1.0},
    ]


@pytest.mark.parametrize(
    ("text", "value", "bad"),
    [("12.5", 12.5, 0), ('"12.5"', 12.5, 0), ('" -3e2 "', -300.0, 0), ("true", 1.0, 0), ("false", 0.0, 0),
     ("null", None, 0), ("1e308", 1e308, 0), ("1e999", None, 1), ("-1e999", None, 1), ("NaN", None, 1),
     ("Infinity", None, 1), ("-Infinity", None, 1), ('"abc"', None, 1), ('"nan"', None, 1), ('"1_000"', None, 1),
     ('"١٢"', None, 1), ("[1]", None, 1), ('{"a": 1}', None, 1), ("-0.0", 0.0, 0),
     ("123456789012345678901234567890", 123456789012345678901234567890.0, 0), ('""', None, 1)],
)  # fmt: skip
def test_what_counts_as_a_number(text: str, value: float | None, bad: int) -> None:
    listed = JsonLines(values=["x"])
    (row,) = rows(decode(listed, f'{{"x": {text}, "y": 1}}'))
    assert row.get("x") == value
    assert (listed.counters.values_bad, listed.counters.frames_bad, listed.counters.frames_ok) == (bad, 0, 1)
    (row,) = rows(decode(JsonLines(), f'{{"x": {text}, "y": 1}}'))
    assert (row.get("x"), row["y"]) == (value, 1.0)
    mixed = decode(JsonLines(), '{"x": 5, "y": 1}', f'{{"x": {text}, "y": 1}}')  # in a column with a number
    assert [row.get("x") for row in rows(mixed)] == [5.0, value]


@pytest.mark.parametrize("line", [" ", "5", "[1, 2]", '"text"', "null", "{", '{"a": }', '{"a": 1', "\x001", "{}}",
                                  '{"a": 1}, {"a": 2', '{"a": "\\ud800"}', "[" * 100_000, b"\xff\xfe",
                                  '{"a": NaN', '{"a": ' + "9" * 5000 + "}"])  # fmt: skip
def test_a_broken_line_is_counted_with_a_reason_and_the_others_are_read(line: str | bytes) -> None:
    codec = JsonLines()
    batch = decode(codec, '{"x": 1}', line, '{"x": 2}')
    found = [row["x"] for row in rows(batch) if "x" in row]
    assert found == [1.0, 2.0]
    if len(line) < 5000 or line.startswith("["):
        assert codec.counters.frames_bad == 1
        assert codec.counters.last_error
        assert "\n" not in codec.counters.last_error
        assert len(codec.counters.last_error) < 250


HALF = [
    rb'{"m": "\ud800", "a": NaN, "x": 2}', rb'{"m": "\uDFFF", "a": NaN, "x": 2}', rb'{"m": "a", "a": NaN, "\udc00": 2}',
    rb'{"m": "a", "s": "\ud83d \udd25", "a": Infinity}', rb'{"m": "a", "x": [{"\uD800": NaN}]}',
    rb'[{"m": "a", "x": NaN}, {"m": "\ud800", "x": 1}]',
    '{"m": "a", "a": NaN}'.encode("utf-32-le"),
]  # fmt: skip


@pytest.mark.parametrize("line", HALF)
def test_what_is_no_text_is_refused_beside_nan_as_anywhere_else(line: bytes) -> None:
    for written in (line, line.replace(b"NaN", b"1").replace(b"-Infinity", b"1").replace(b"Infinity", b"1")):
        codec = JsonLines(machine="m", texts=["s"])
        batch = decode(codec, b'{"m": "b", "x": 1}', written)
        assert [row["machine"] for row in rows(batch)] == ["b"]
        assert (codec.counters.frames_ok, codec.counters.frames_bad) == (1, 1)
        codec.counters.last_error.encode()
        assert "no JSON" in codec.counters.last_error


def test_a_whole_surrogate_pair_beside_nan_is_a_character() -> None:
    codec = JsonLines(machine="m", texts=["s"])
    (row,) = rows(decode(codec, rb'{"m": "\ud83d\udd25", "s": "\\ud800", "a": NaN, "x": 2}'))
    assert (row["machine"], row["s"], row["x"]) == ("\U0001f525", r"\ud800", 2.0)
    assert codec.counters.frames_bad == 0


@pytest.mark.parametrize(("unit", "value"), [("ns", STAMP), ("us", STAMP // 10**3), ("ms", STAMP // 10**6),
                                             ("s", STAMP // 10**9), ("s", STAMP / 10**9), ("ms", f'"{STAMP // 10**6}"'),
                                             ("iso", '"2024-03-19T13:57:06.905833677Z"'),
                                             ("iso", '"2024-03-19T14:57:06.905833677+01:00"')])  # fmt: skip
def test_time_units(unit: str, value: object) -> None:
    (row,) = rows(decode(JsonLines(time="t", time_unit=unit), f'{{"t": {value}}}'))
    precision = {"us": 10**3, "ms": 10**6, "s": 10**9 if isinstance(value, int) else 10**3}.get(unit, 1)
    assert abs(row["time"] - STAMP) < precision


def test_local_times_need_a_time_zone() -> None:
    line = '{"t": "2026-07-01 12:00:00", "x": 1}'
    without, berlin = JsonLines(time="t", time_unit="iso"), None
    assert decode(without, line) is None
    assert "time_zone" in without.counters.last_error
    berlin = decode(JsonLines(time="t", time_unit="iso", time_zone="Europe/Berlin"), line)
    assert rows(berlin)[0]["time"] == int(datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()) * 10**9
    with pytest.raises(ValueError, match="Mars/Olympus"):
        JsonLines(time_zone="Mars/Olympus")


@pytest.mark.parametrize(
    ("unit", "value", "reason"),
    [
        ("ns", STAMP // 10**9, "is its unit s?"),
        ("ns", STAMP // 10**6, "is its unit ms?"),
        ("ms", STAMP, "is its unit ns?"),
        ("s", STAMP // 10**6, "is its unit ms?"),
        ("ns", -STAMP, "1915"),
        ("ns", 0, "1970"),
        ("s", 10**30, "no time in s"),
        ("ns", '"soon"', "no time in ns"),
        ("iso", STAMP, "no time in iso"),
        ("ns", "true", "no time"),
        ("ns", "[1]", "no time"),
        ("ns", "null", "no time in the frame"),
        ("s", 1e300, "no time in s"),
    ],
)
def test_a_time_that_can_only_be_a_mistake_is_refused_and_explained(unit: str, value: object, reason: str) -> None:
    codec = JsonLines(time="t", time_unit=unit)
    good = {"ns": STAMP, "ms": STAMP // 10**6, "s": STAMP // 10**9, "iso": '"2024-03-19T13:57:06Z"'}[unit]
    batch = decode(codec, f'{{"t": {value}, "x": 1}}', f'{{"t": {good}, "x": 2}}')
    assert [row["x"] for row in rows(batch)] == [2.0]
    assert (codec.counters.frames_ok, codec.counters.frames_bad) == (1, 1)
    assert reason in codec.counters.last_error
    assert len(codec.counters.last_error) < 160


def test_a_time_whose_nanoseconds_overflow_is_not_mistaken_for_a_good_one() -> None:
    good = STAMP // 512 * 512
    seconds = good // 512 * pow(5**9, -1, 2**55) % 2**55
    assert seconds * 10**9 % 2**64 == good  # what 64 bits would make of it
    codec = JsonLines(time="t", time_unit="s")
    assert decode(codec, f'{{"t": {seconds}}}') is None
    assert codec.counters.frames_bad == 1


def test_which_years_are_believed_is_configurable() -> None:
    codec = JsonLines(time="t", time_unit="s", earliest="1960-01-01T00:00:00Z", latest="2000-01-01T00:00:00Z")
    batch = decode(codec, '{"t": 5}', '{"t": -5}', '{"t": 1710856626}')
    assert [row["time"] for row in rows(batch)] == [5 * 10**9, -5 * 10**9]


def test_a_frame_without_time_or_machine_takes_those_of_the_broker() -> None:
    codec = JsonLines(time="t", machine="m")
    frames = [b'{"x": 1}', b"broken", b'{"x": 2, "t": %d, "m": "own"}' % STAMP, b'{"x": 3, "t": null}']
    batch = codec.decode(frames, NOW, times=[1, 2, 3, 4], machines=["a", "b", "c", "d"])
    assert [(row["machine"], row["time"], row["x"]) for row in rows(batch)] == [
        ("a", 1, 1.0), ("own", STAMP, 2.0), ("d", 4, 3.0)]  # fmt: skip
    assert (codec.counters.frames_ok, codec.counters.frames_bad) == (3, 1)


def test_a_frame_without_machine_is_refused_where_one_is_expected() -> None:
    codec = JsonLines(machine="m")
    assert [row["x"] for row in rows(decode(codec, '{"x": 1}', '{"x": 2, "m": "a"}', '{"m": [], "x": 3}'))] == [2.0]
    assert codec.counters.frames_bad == 2
    assert "no machine" in codec.counters.last_error


def test_a_list_of_objects_is_read_as_so_many_lines() -> None:
    codec = JsonLines(machine="m")
    frames = [b'[{"x": 1}, {"x": 2, "m": "own"}]', b"[]", b'[{"x": 3}, 4]', b'{"x": 5}']
    batch = codec.decode(frames, NOW, times=[1, 2, 3, 4], machines=["a", "b", "c", "d"])
    assert [(row["machine"], row["time"], row["x"]) for row in rows(batch)] == [
        ("a", 1, 1.0), ("own", 1, 2.0), ("d", 4, 5.0)]  # fmt: skip
    assert (codec.counters.frames_ok, codec.counters.frames_bad) == (3, 2)


def test_a_machine_without_id_gets_the_name_of_the_source() -> None:
    codec, naming = JsonLines(), Naming("line-1")
    first, second = decode(codec, '{"x": 1}'), decode(codec, '{"x": 2}')
    assert first is not None
    assert second is not None
    assert naming(first).machines == ("line-1",)
    assert naming(first).source == "line-1"
    assert naming(second).machines is naming(first).machines
    own = decode(JsonLines(machine="m"), '{"m": "a"}')
    assert own is not None
    assert naming(own).machines == ("a",)


def test_the_table_of_machines_stays_the_same_object() -> None:
    codec = JsonLines(machine="m")
    first = decode(codec, '{"m": "a", "x": 1}', '{"m": "b", "x": 1}')
    second = decode(codec, '{"m": "b", "x": 1}')
    assert first is not None
    assert second is not None
    assert first.machines is second.machines
    assert second.machine.tolist() == [1]


def test_ever_new_machines_cost_bounded_memory() -> None:
    codec = JsonLines(machine="m")
    for block in range(20):
        frames = [b'{"m": "%d-%d", "x": 1}' % (block, row) for row in range(10_000)]
        batch = codec.decode(frames, NOW)
        assert batch is not None
        assert len(batch.machines) <= 80_000
        assert batch.machines[batch.machine[-1]] == f"{block}-9999"


def test_ever_new_fields_make_a_bounded_number_of_columns() -> None:
    batch = decode(JsonLines(), *[json.dumps({f"x{row}": 1}) for row in range(2000)])
    assert batch is not None
    assert len(batch.values) == 256
    assert len(batch) == 2000


ORDERS = JsonLines(machine="shop", time="timestamp", time_unit="ms", values=["id"],
                   texts=["name", "pizzas[].pizzaName as pizzaName"],
                   explode="pizzas[].additionalToppings[] as topping")  # fmt: skip


def test_orders_become_one_row_a_topping() -> None:
    batch = decode(ORDERS, json.dumps({
        "id": 3, "shop": "S", "name": "N", "timestamp": STAMP // 10**6,
        "pizzas": [{"pizzaName": "A", "additionalToppings": []},
                   {"pizzaName": "B", "additionalToppings": ["x", "y"]}]}),
        json.dumps({"id": 4, "shop": "S", "timestamp": STAMP // 10**6, "pizzas": []}))  # fmt: skip
    time = STAMP // 10**6 * 10**6
    assert rows(batch) == [
        {"machine": "S", "time": time, "id": 3.0, "name": "N", "pizzaName": "B", "topping": "x"},
        {"machine": "S", "time": time, "id": 3.0, "name": "N", "pizzaName": "B", "topping": "y"},
        {"machine": "S", "time": time, "id": 4.0},
    ]


def test_simulated_orders_are_what_the_codec_reads_from_their_json() -> None:
    block = next(Orders(seed=4).orders(STAMP))
    read = decode(ORDERS, *[json.dumps(document) for document in block.documents()])
    assert rows(read) == rows(block.rows())


@pytest.mark.parametrize("pizzas", [5, None, "x", {}, [5], [None], [{"additionalToppings": 7}], [[]]])
def test_a_nested_list_of_another_shape_is_an_empty_one(pizzas: object) -> None:
    (row,) = rows(decode(ORDERS, json.dumps({"id": 4, "shop": "S", "timestamp": STAMP // 10**6, "pizzas": pizzas})))
    assert "topping" not in row


def test_samples_in_a_list_become_rows_with_their_own_time() -> None:
    codec = JsonLines(time="samples[].t", time_unit="ns", values=["samples[].v as v"], explode="samples[]")
    line = json.dumps({"samples": [{"t": STAMP, "v": 1}, {"t": STAMP + 1, "v": 2}, {"t": 5, "v": 3}]})
    assert [(row["time"], row["v"]) for row in rows(decode(codec, line))] == [(STAMP, 1.0), (STAMP + 1, 2.0)]
    assert (codec.counters.frames_ok, codec.counters.frames_bad) == (0, 1)


def test_a_plain_list_of_numbers_may_be_a_column() -> None:
    codec = JsonLines(values=["volts"], explode="wave.samples[] as volts")
    assert [row["volts"] for row in rows(decode(codec, '{"wave": {"samples": [1, 2.5]}}'))] == [1.0, 2.5]


def test_fields_within_objects_have_paths() -> None:
    codec = JsonLines(machine="event.where", values=["event.temp", "event.deep.x as x"])
    (row,) = rows(decode(codec, '{"event": {"where": "m", "temp": 1, "deep": {"x": 2}}}'))
    assert (row["machine"], row["event.temp"], row["x"]) == ("m", 1.0, 2.0)


@pytest.mark.parametrize(
    "fields",
    [{"values": ["a[].b"]}, {"explode": "[]"}, {"texts": ["a..b"]}, {"time_unit": "weeks"}, {"earliest": "soon"},
     {"delimiter": ""}, {"explode": "a[]", "time": "b[].t"}],
)  # fmt: skip
def test_impossible_settings_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"path|list|unknown|soon|empty"):
        JsonLines(**fields)


async def test_what_is_encoded_is_read_back() -> None:
    batch = next(Temperature(labels=False).blocks(STAMP))
    codec = JsonLines(machine="machine", time="Timestamp")
    back = codec.feed(codec.encode(batch), NOW)
    assert back is not None
    assert np.array_equal(back.time, batch.time)
    assert np.array_equal(back.values["Temperature_C"], batch.values["Temperature_C"])
    assert rows(back) == rows(batch)
