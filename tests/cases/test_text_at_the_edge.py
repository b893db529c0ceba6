"""Encodings, blanks, quotes, headers, decimal marks, units: read as meant, or refused with what would help."""

from __future__ import annotations

import codecs

import pytest

from agent.settings.registry import ConfigError
from tests.cases.reading import Row, codec_of, message, read

LOCAL = 'time = "time", time_unit = "iso", time_zone = "Europe/Berlin", values = ["temp"]'
EXPORT = "time,temp\n2026-01-01 00:00:00,20\n2026-01-01 00:01:00,31\n"
QUOTED = '"time","temp"\r\n"2026-01-01 00:00:00","20"\r\n"2026-01-01 00:01:00","31"\r\n'
BOM = codecs.BOM_UTF8


def temps(rows: list[Row], name: str = "temp") -> list[float | None]:
    return [row.get(name) for row in rows]


@pytest.mark.parametrize(
    "text", [EXPORT, QUOTED, EXPORT.replace("\n", "\r"), EXPORT.replace("\n", "\r\n"), EXPORT.strip()]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be with a mark"])
def test_a_mark_or_another_line_end_is_no_part_of_a_name(text: str, encoding: str) -> None:
    mark = codecs.BOM_UTF16_BE if encoding.endswith("mark") else b""
    data = mark + text.encode(encoding.removesuffix(" with a mark"))
    for rows, counters in (read(f'type = "csv", {LOCAL}', data), message(f'type = "csv", {LOCAL}', data)):
        assert temps(rows) == [20.0, 31.0]
        assert not counters.faults()
    assert rows[0]["time"] == "2025-12-31T23:00:00"


@pytest.mark.parametrize("name", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "cp437", "shift_jis"])
def test_an_encoding_can_be_named(name: str) -> None:
    degree = "\u00b0" if name != "shift_jis" else "\u6e29"
    text = f"time;Temp {degree}C;state\n2026-01-01 00:00:00;20;{degree}\n"
    table = (
        f'type = "csv", encoding = "{name}", time = "time", time_unit = "iso", time_zone = "UTC", '
        f'values = ["Temp {degree}C as temp"], texts = ["state"]'
    )
    for rows, counters in (read(table, text.encode(name)), message(table, text.encode(name))):
        assert [(row["time"], row["temp"], row["state"]) for row in rows] == [("2026-01-01T00:00:00", 20.0, degree)]
        assert not counters.faults()


@pytest.mark.parametrize("name", ["utf-9", "base64", "rot13", "idna"])
def test_what_is_no_encoding_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="encoding"):
        codec_of(f'type = "json", encoding = "{name}"')


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ('type = "keyvalue", assign = ":", values = ["temp"]', b"Humidity: 45.00 %\ttemp: 22.10 \xb0C\r\n"),
        ('type = "csv", columns = ["temp", "note"], values = ["temp"]', b"22.1,26 \xb0C f\xfcnf\n"),
        ('type = "influx", values = ["temp"]', b"m,room=K\xfcche temp=22.1\n"),
        ('type = "json", values = ["temp"]', b'{"temp": 22.1, "unit": "\xb0C"}\n'),
        (
            'type = "nmea", sentences = { T = ["temp", "unit"] }, values = ["temp"], checksum = false',
            b"$T,22.1,\xb0C\n",
        ),
        ('type = "nmea", sentences = { T = ["temp", "unit"] }, values = ["temp"]', b"$T,22.1,\xb0C*B8\r\n"),
    ],
)
def test_a_degree_sign_costs_no_line(table: str, line: bytes) -> None:
    rows, counters = read(table, line)
    assert temps(rows) == [22.1]
    assert counters.bytes_replaced >= 1
    assert "set encoding" in counters.faults()
    assert "\\xb0" in counters.faults() or "\\xfc" in counters.faults()


@pytest.mark.parametrize(
    "line", [b'\xef\xbb\xbf{"temp": 1}\n', b'\0{"temp": 1}\n', b'{"temp": 1}\0\r\n', b'{"temp": 1}']
)
def test_marks_and_nuls_around_a_line_are_none_of_it(line: bytes) -> None:
    first = b'{"temp": 0}\r\n'
    for rows, counters in (
        read('type = "json"', first + line),
        message('type = "json"', first, line.rstrip(b"\n") + b"\n"),
    ):
        assert temps(rows) == [0.0, 1.0]
        assert not counters.faults()


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ('type = "csv", columns = ["machine", "temp", "status"]', " pump-1 , 20.5, RUN\n"),
        ('type = "csv", columns = ["machine", "temp", "status"]', '"pump-1","20.5" , "RUN" \n'),
        (
            'type = "csv", columns = ["machine", "temp", "status"], separator = ";"',
            "\tpump-1;\u00a020.5; RUN\u00a0\r\n",
        ),
        ('type = "csv", columns = ["machine", "temp", "status"], quote = "\'"', "'pump-1', '20.5', 'RUN'\n"),
        ('type = "keyvalue"', 'machine="pump-1 " temp="20.5" status=\'RUN\'\n'),
        (
            'type = "nmea", checksum = false, sentences = { T = ["machine", "temp", "status"] }',
            "$T, pump-1, 20.5 ,RUN \n",
        ),
    ],
)
def test_blanks_and_quotes_around_a_cell_are_none_of_it(table: str, line: str) -> None:
    rows, counters = read(f'{table}, machine = "machine", values = ["temp"], texts = ["status"]', line.encode())
    assert [(row["machine"], row["temp"], row["status"]) for row in rows] == [("pump-1", 20.5, "RUN")]
    assert not counters.faults()


NAMES = ["", "Vibration (m/s^2)", '"Power, kW"', "#1 inlet", "flow*", "temp:1", "I/O #1", "T&P", "2nd stage", "$temp",
         "%RH", "l'eau", "\\\\PLANT\\cpu", "12", "2026", "5 kW", "time", "a[0]", "x as y", "Ger\u00e4t \u00b0C", '"say ""hi"""']  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_line_with_all_configured_names_is_the_header_whatever_else_is_in_it(name: str) -> None:
    for header, row in (
        (f"{name},time,temp", "0,2026-01-01 00:00:00,31"),
        (f"time,temp,{name}", "2026-01-01 00:00:00,31,0"),
    ):
        if name == "time" and header.startswith("time,time"):
            continue  # the first has the name
        text = f"{header}\n{row}\n"
        rows, counters = read(f'type = "csv", {LOCAL}', text.encode())
        assert temps(rows) == [31.0]
        assert not counters.faults()


def test_a_column_that_is_there_twice_is_told_and_the_first_is_read() -> None:
    rows, counters = read(f'type = "csv", {LOCAL}', b"time,temp,temp\n2026-01-01 00:00:00,31,99\n")
    assert temps(rows) == [31.0]
    assert "several columns 'temp'" in counters.notes["double names"]
    rows, _ = read('type = "csv"', b"a,b,a\n1,2,3\n")
    assert rows == [{"time": "1970-01-01T00:00:00", "a": 1.0, "b": 2.0, "a_2": 3.0}]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("time;temp;x\n2026-01-01 00:00:00;31;1\n", "the separator is ';'"),
        ("time\ttemp\n2026-01-01 00:00:00\t31\n", "the separator is '\\t'"),
        ("time|temp\n2026-01-01 00:00:00|31\n", "the separator is '|'"),
        ("time;temp;\n2026-01-01 00:00:00;31\n", "the separator is ';'"),
        ("time;temp;;\n2026-01-01 00:00:00;31;;\n;;;\n", "the separator is ';'"),
        (
            "Logger A5\nserial,77\n\ntime,temp\n2026-01-01 00:00:00,31\n",
            "2 lines before the header are passed over",
        ),
        ("Logger A5;;\n;;\n from; 1.1.; \ntime;temp;x\n2026-01-01 00:00:00;31;\n", "2 lines before the header"),
        ("# made by X\n# time,temp\n2026-01-01 00:00:00,31\n# the end\n", ""),
        ("time,temp\n\n,\n2026-01-01 00:00:00,31\ntime,temp\n", ""),
        ("temp,time\ntime,x,temp\n2026-01-01 00:00:00,5,31\n", ""),
    ],
)
def test_titles_empty_rows_and_separators_are_no_riddle(text: str, note: str) -> None:
    rows, counters = read(f'type = "csv", {LOCAL}', text.encode())
    assert temps(rows) == [31.0]
    assert not counters.faults()
    assert note in "; ".join(counters.notes.values())


def test_a_header_with_other_columns_in_mid_file_is_taken() -> None:
    rows, counters = read(f'type = "csv", {LOCAL}', b"time,temp\n2026-01-01,1\nx,temp,time\n9,2,2026-01-02\n")
    assert temps(rows) == [1.0, 2.0]
    assert not counters.faults()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Time;Temp", "'Time;Temp', lacks 'time' (there is 'Time'), 'temp' (there is 'Temp')"),
        ("time,temperature", "'time,temperature', lacks 'temp' (there is 'temperature')"),
        ("time,pressure", "'time,pressure', lacks 'temp'"),
    ],
)
def test_a_header_that_does_not_do_is_named_with_what_it_lacks(header: str, said: str) -> None:
    rows, counters = read(f'type = "csv", {LOCAL}', f"{header}\n2026-01-01 00:00:00,31\n".encode())
    assert rows == []
    assert said in counters.faults()


def test_what_keeps_a_line_from_being_a_header_is_told_where_no_field_is_named() -> None:
    rows, counters = read('type = "csv"', b"time,temp,12\n2026-01-01 00:00:00,31,1\n")
    assert rows == []
    assert "in 'time,temp,12' '12' looks like data: set columns, or values" in counters.faults()


def test_blanks_that_line_up_columns_are_one_separator() -> None:
    rows, counters = read('type = "csv", separator = " ", values = ["temp"]', b"  n   temp\n  1   20.5\n 10    7\n")
    assert temps(rows) == [20.5, 7.0]
    assert not counters.faults()


def test_a_wrong_separator_is_named() -> None:
    _, counters = read(f'type = "csv", separator = ",", {LOCAL}', b"time;temp\n2026-01-01 00:00:00;31\n")
    assert "set separator = ';'" in counters.faults()
    _, counters = read('type = "csv", separator = ",", columns = ["a", "b"]', b"1;2\n")
    assert "set separator = ';'" in counters.faults()
    with pytest.raises(ConfigError, match=r"lack 'temp' \(there is 'Temp'\)"):
        codec_of('type = "csv", columns = ["time", "Temp"], values = ["temp"]')


MARKS: list[tuple[str, str, float | None, str]] = [
    ("", "23,9", None, 'set decimal = ","'),
    ("", "1.234,5", None, 'set decimal = ","'),
    ("", "0,123", None, 'set decimal = ","'),
    ("", "1,234", None, 'set thousands = ","'),
    ("", "1,234.5", 1234.5, ""),
    ("", "1,234,567", 1234567.0, ""),
    ("", "1 234.5", 1234.5, ""),
    ("", "1\u00a0234", 1234.0, ""),
    ("", "1'234.5", 1234.5, ""),
    ("", "\u22125.5", -5.5, ""),
    ("", "1,23", None, 'set decimal = ","'),
    ("", "n/a", None, "set invalid = ['n/a']"),
    ("", "26.2\u00b0C", None, 'set units = "strip"'),
    ('decimal = ","', "23,9", 23.9, ""),
    ('decimal = ","', "-1,5e3", -1500.0, ""),
    ('decimal = ","', "1.234,5", 1234.5, ""),
    ('decimal = ","', "1.234", None, 'set thousands = "."'),
    ('decimal = ","', "21.5", None, 'set decimal = "."'),
    ('decimal = ","', "1 234,5", 1234.5, ""),
    ('decimal = ","', "12", 12.0, ""),
    ('decimal = ",", thousands = "."', "1.234", 1234.0, ""),
    ('decimal = ",", thousands = "."', "1.23", None, 'set decimal = "."'),
    ('thousands = ","', "1,234", 1234.0, ""),
    ('thousands = ","', "12,34", None, 'set decimal = ","'),
    ('units = "strip"', "26.2\u00b0C", 26.2, ""),
    ('units = "strip"', "446 mV", 446.0, ""),
    ('units = "strip"', "45 %", 45.0, ""),
    ('units = "strip"', "9.81 m/s\u00b2", 9.81, ""),
    ('units = "strip", decimal = ","', "3,5 kW", 3.5, ""),
    ('units = "strip"', "0x1F", None, "no number"),
    ('units = "strip"', "5-", None, "no number"),
    ("invalid = [85, -127, \"n/a\"]", "85", None, ""),
    ("invalid = [85, -127, \"n/a\"]", "-127.0", None, ""),
    ("invalid = [85, -127, \"n/a\"]", " n/a ", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "text", "value", "said"), MARKS)
@pytest.mark.parametrize("listed", [True, False])
def test_a_number_is_read_as_its_marks_say_or_refused_with_the_key_that_helps(
    keys: str, text: str, value: float | None, said: str, listed: bool
) -> None:
    keys = f", {keys}" if keys else ""
    keys += ', values = ["T"]' if listed else ""
    forms = {f'type = "csv", columns = ["T", "x"], separator = ";"{keys}': f"{text};1\n1;1\n"}
    forms[f'type = "json"{keys}'] = f'{{"T": "{text}"}}\n{{"T": 1}}\n'
    if text == text.strip() and " " not in text:
        forms[f'type = "keyvalue"{keys}'] = f"T={text} x=1\nT=1 x=1\n"
    for table, data in forms.items():
        if listed:
            rows, counters = read(table, data.encode())
        else:
            codec = codec_of(table)
            batch = codec.feed(data.encode(), 0)
            assert batch is not None
            rows = [{} if number != number else {"T": number} for number in batch.values["T"].tolist()]
            counters = codec.counters
        assert temps(rows, "T") == [value, 1.0]
        assert said in counters.faults()
        assert counters.values_bad == bool(said)
        assert counters.values_invalid == ("invalid" in keys)


@pytest.mark.parametrize(
    ("line", "without", "with_comma"),
    [
        ("T=23,9 H=45,2", {}, {"T": 23.9, "H": 45.2}),
        ("T=23,9,H=45,2", {}, {"T": 23.9, "H": 45.2}),
        ("T=23,9;H=45", {"H": 45.0}, {"T": 23.9, "H": 45.0}),
        ("T=1,2b=3", {"T": 1.0, "2b": 3.0}, {"T": 1.0, "2b": 3.0}),
        ("T=23, H=45", {"T": 23.0, "H": 45.0}, {"T": 23.0, "H": 45.0}),
        ("T=1 234,5 H=3", {"H": 3.0}, {"T": 1234.5, "H": 3.0}),
        ("T=1.234,5", {}, {"T": 1234.5}),
        ("T=1,234", {}, {"T": 1.234}),
        ("T=1,2,3 H=4", {"H": 4.0}, {"H": 4.0}),
    ],
)
def test_a_value_of_a_pair_is_never_cut_at_the_comma(line: str, without: Row, with_comma: Row) -> None:
    for keys, wanted in (("", without), (', decimal = ","', with_comma)):
        rows, counters = read(f'type = "keyvalue"{keys}', f"{line}\n".encode())
        assert rows == [{"time": "1970-01-01T00:00:00", **wanted}]
        told = line.replace(" 2", "").count("=") - len(wanted)
        assert counters.values_bad == told


def test_another_unit_than_the_first_is_refused() -> None:
    rows, counters = read(
        'type = "csv", columns = ["U"], values = ["U"], units = "strip"', b"446 mV\n447mV\n0.45 V\n12\n"
    )
    assert temps(rows, "U") == [446.0, 447.0, None, 12.0]
    assert "its unit was 'mV' before" in counters.faults()
    assert counters.notes["unit U"] == "U is in mV, which is taken off"


@pytest.mark.parametrize(
    ("table", "data", "values"),
    [
        (
            'type = "influx", machine = "m"',
            b"x,m=a temp=1 1767225600000000000\nx,m=b temp=2 1767225600000000000\r\n\r\n",
            [1, 2],
        ),
        ('type = "influx", machine = "m"', b"# batch\nx,m=a temp=1\n", [1]),
        ('type = "json", machine = "m"', b'{"m":"a","temp":1}\n{"m":"b","temp":2}\n', [1, 2]),
        ('type = "json", machine = "m"', b'{"m":"a",\n "temp":1\n}\n', [1]),
        ('type = "json", machine = "m"', b'{"m":"a","temp":1}{"m":"b","temp":2} {"m":"c","temp":3}', [1, 2, 3]),
        ('type = "json", machine = "m"', b'[{"m":"a","temp":1},\n{"m":"b","temp":2}]\r\n', [1, 2]),
        ('type = "csv", machine = "m", values = ["temp"]', b"m,temp\na,1\nb,2\n", [1, 2]),
        ('type = "csv", machine = "m"', b"m;temp\r\na;1\r\nb;2", [1, 2]),
        ('type = "keyvalue", machine = "m"', b"m=a temp=1\rm=b temp=2\0", [1, 2]),
        (
            'type = "nmea", machine = "m", sentences = { T = ["m", "temp"] }, checksum = false',
            b"$T,a,1\r\n$T,b,2\r\n",
            [1, 2],
        ),
    ],
)
def test_a_message_may_hold_many_lines(table: str, data: bytes, values: list[float]) -> None:
    rows, counters = message(table, data, b"", data)
    assert temps(rows) == values * 2
    assert [row["machine"] for row in rows] == [*"abc"[: len(values)]] * 2
    assert not counters.faults()


def test_lines_of_a_message_have_its_topic_and_the_broken_one_costs_itself() -> None:
    rows, counters = message('type = "json"', b'{"temp": 1}\n{"temp": \n{"temp": 3}', b'{"temp": 4}')
    assert [(row["machine"], row["temp"]) for row in rows] == [("topic-0", 1.0), ("topic-0", 3.0), ("topic-1", 4.0)]
    assert (counters.frames_ok, counters.frames_bad) == (3, 1)


def test_each_message_may_have_a_header_of_its_own() -> None:
    rows, _ = message('type = "csv"', b"a,b\n1,2\n", b"b,c\n3,4\n", b"5,6")
    assert [{k: v for k, v in row.items() if len(k) == 1} for row in rows] == [
        {"a": 1.0, "b": 2.0},
        {"b": 3.0, "c": 4.0},
        {"b": 5.0, "c": 6.0},
    ]
