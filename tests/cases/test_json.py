"""Paths with places in lists, bare lists and numbers, nulls; a path that cannot be."""

from __future__ import annotations

import pytest

from agent.settings.registry import ConfigError
from tests.cases.reading import codec_of, decided, message, read

METER = b'{"ENERGY": {"Power": [11, 3400, 0], "a.b": {"c d": [[1, 2], [3, 4]]}}, "x.y": 5, "Power[0]": 6}\n'


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("ENERGY.Power[1] as p2", "p2", 3400.0),
        ("ENERGY.Power[0]", "ENERGY.Power[0]", 11.0),
        ("ENERGY.Power[-1] as last", "last", 0.0),
        ("ENERGY.Power[3] as none", "none", None),
        ("ENERGY.Power[-4] as none", "none", None),
        ("ENERGY.Power as list", "list", None),
        ('ENERGY."a.b"."c d"[1][0] as deep', "deep", 3.0),
        ('"x.y" as xy', "xy", 5.0),
        ("x.y", "x.y", 5.0),
        ('"Power[0]" as p', "p", 6.0),
        ("ENERGY[0] as none", "none", None),
    ],
)
def test_a_path_leads_into_objects_and_lists(path: str, name: str, value: float | None) -> None:
    table = f"type = 'json', values = ['{path}']"
    for rows, _ in (read(table, METER), message(table, METER)):
        assert [row.get(name) for row in rows] == [value]
    assert codec_of(table).outputs() == (name,)


@pytest.mark.parametrize(
    ("path", "place"),
    [("a[x]", 2), ("a..b", 3), ("a.", 2), (".a", 1), ("a[", 2), ("a]b", 2), ('"a', 1), ("a[0]b", 5), ("a[1.5]", 2),
     ("[]", 1), ("a[][]", 4), ('a."".b', 3), ("", 1), (" as b", 1)],
)  # fmt: skip
def test_a_path_that_cannot_be_is_refused_with_its_place(path: str, place: int) -> None:
    with pytest.raises(ConfigError, match=rf"source\.case\.codec: .* is no path: at character {place},"):
        codec_of(f"type = 'json', values = ['{path}']")


def test_names_of_flat_records_are_no_paths() -> None:
    rows, _ = read(
        "type = 'csv', values = ['Power [kW] as p', 'a..b', 'T[0] as t']", b"a..b,Power [kW],T[0]\n1,2,3\n"
    )
    assert rows == [{"time": "1970-01-01T00:00:00", "p": 2.0, "a..b": 1.0, "t": 3.0}]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (b"[21.5, 40]", [(21.5, 40.0)]),
        (b"[21.5]", [(21.5, None)]),
        (b"21.5", [(21.5, None)]),
        (b'"21.5"', [(21.5, None)]),
        (b"true", [(1.0, None)]),
        (b"[[1, 2], [3, 4]]", [(1.0, 2.0), (3.0, 4.0)]),
        (b"[null, 4]", [(None, 4.0)]),
        (b'{"t": 1, "h": 2}{"t": 3}', [(1.0, 2.0), (3.0, None)]),
        (b"\xef\xbb\xbf[1,2]\0", [(1.0, 2.0)]),
    ],
)
def test_a_message_without_names_gets_them(line: bytes, values: list[tuple[float | None, float | None]]) -> None:
    for table in ("bare = ['t', 'h'], values = ['t', 'h']", "bare = ['t', 'h']"):
        for rows, counters in (
            read(f"type = 'json', {table}", line + b"\n"),
            message(f"type = 'json', {table}", line),
        ):
            assert [(row.get("t"), row.get("h")) for row in rows] == values
            assert not counters.faults()


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("", b"21.5", "set bare ="),
        ("", b"[1, 2]", "set bare ="),
        (", bare = ['t']", b"[1, 2]", "no list of 1"),
        (", bare = ['t']", b"null", "no JSON object"),
        (", bare = ['t']", b'[{"t": 1}, 2]', "no JSON"),
        ("", b'{"a": 1}{"a": ', "no JSON"),
        ("", b'{"a": 1}5', "no JSON"),
    ],
)
def test_what_has_no_name_is_refused_with_the_key_that_helps(table: str, line: bytes, said: str) -> None:
    for rows, counters in (read(f"type = 'json'{table}", line + b"\n"), message(f"type = 'json'{table}", line)):
        assert [row for row in rows if len(row) > 2 or "t" in row] == []
        assert counters.frames_bad == 1 or "t" in table
        assert said in counters.faults() or counters.values_bad


def test_a_path_may_begin_with_a_place() -> None:
    rows, _ = read("type = 'json', values = ['[0] as t', '[-1] as h']", b"[21.5, 7, 40]\n")
    assert rows == [{"time": "1970-01-01T00:00:00", "t": 21.5, "h": 40.0}]
    rows, _ = read("type = 'json', values = ['[1].t as second']", b'[{"t": 1}, {"t": 2}]\n')
    assert rows == [{"time": "1970-01-01T00:00:00", "second": 2.0}]


def test_a_list_of_tags_keeps_the_name_value_and_time_of_each() -> None:
    table = """type = "json", explode = "values[]", machine = "values[].id", time = "values[].t", time_unit = "ms",
        values = ["values[].v as v", "values[].q as good"]""".replace("\n", " ")
    line = b'{"values": [{"id": "T1", "v": 1121, "q": true, "t": 1793500671342}, {"id": "T2", "v": 1500, "q": false, "t": 1793500671342}]}\n'
    rows, _ = read(table, line)
    assert rows == [
        {"time": "2026-11-01T02:37:51.342", "machine": "T1", "v": 1121.0, "good": 1.0},
        {"time": "2026-11-01T02:37:51.342", "machine": "T2", "v": 1500.0, "good": 0.0},
    ]


NULLS = """
[source.export]
type = "file"
path = "@t1.jsonl"
codec = { type = "json", time = "last_seen", time_unit = "iso", values = ["temperature"] }
[rule.hot]
when = "temperature > 30"
for = "2m"
[rule.no_temperature]
type = "deadman"
metric = "temperature"
after = "5m"
"""


async def test_a_null_neither_ends_a_condition_nor_is_a_sign_of_life(tmp_path) -> None:
    values = ["20" if not 4 <= n <= 9 else "35" for n in range(20)]
    values = [value if n % 2 == 0 and n < 19 else "null" for n, value in enumerate(values)] + ["null"] * 6
    lines = [f'{{"last_seen": "2026-11-01T00:{n:02}:00Z", "temperature": {v}}}\n' for n, v in enumerate(values)]
    found = await decided(tmp_path, NULLS, {"t1.jsonl": "".join(lines).encode()})
    assert [one[:3] for one in found] == [
        ("raised", "2026-11-01T00:06:00", "hot"),
        ("resolved", "2026-11-01T00:10:00", "hot"),
        ("raised", "2026-11-01T00:23:00", "no_temperature"),
    ]


CHANGES = """
[source.export]
type = "file"
path = "@door.csv"
codec = { type = "csv", time = "time", time_unit = "iso", values = ["temp"] }
[rule.hot]
when = "temp > 30"
for = "5m"
"""


async def test_a_sensor_that_sends_changes_only_is_late_for_no_alert(tmp_path) -> None:
    rows = ["00:00:00Z,20", "00:10:00Z,35", "00:40:00Z,20", "02:00:00Z,20"]
    data = "time,temp\n" + "".join(f"2026-11-01T{row}\n" for row in rows)
    found = await decided(tmp_path, CHANGES, {"door.csv": data.encode()})
    assert [one[:2] for one in found] == [("raised", "2026-11-01T00:15:00"), ("resolved", "2026-11-01T00:40:00")]
