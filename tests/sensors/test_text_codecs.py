"""CSV, key=value, line protocol and NMEA: what their lines mean, and what is thrown away."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_json_lines import NOW, STAMP, rows

from sensors.codecs import Codec
from sensors.codecs.csv import Csv
from sensors.codecs.influx import Influx
from sensors.codecs.keyvalue import KeyValue
from sensors.codecs.nmea import Nmea, sentence, xor


def read(codec: Codec, text: str | bytes) -> list[dict[str, object]]:
    return rows(codec.feed(text.encode() if isinstance(text, str) else text, NOW))


def test_csv_with_a_header_line() -> None:
    codec = Csv(machine="id", time="t", texts=["status"])
    assert isinstance(codec, Codec)
    found = read(codec, f't,id,temp,status\r\n{STAMP},a,21.5,RUN\r\n{STAMP},"b, c",,"say ""hi"""\r\n')
    assert found == [
        {"machine": "a", "time": STAMP, "temp": 21.5, "status": "RUN"},
        {"machine": "b, c", "time": STAMP, "status": 'say "hi"'},
    ]
    assert read(codec, "t,id,temp,status\n") == []  # the device restarted
    assert codec.counters.frames_bad == 0


def test_csv_with_configured_columns_and_a_decimal_comma() -> None:
    codec = Csv(columns=["", "temp", "hum"], separator=";", decimal=",")
    assert [(row["temp"], row["hum"]) for row in read(codec, "x;21,5;-40\nx;,5;1,5e1;\n")] == [
        (21.5, -40.0),
        (0.5, 15.0),
    ]
    assert read(codec, "x;1\n1;2;3;4\n") == []
    assert codec.counters.frames_bad == 2
    assert "4 cells instead of 3" in codec.counters.last_error


def test_csv_data_before_any_header_are_refused() -> None:
    codec = Csv()
    assert [row["b"] for row in read(codec, "1,2\na,b\n3,4\n")] == [4.0]
    assert codec.counters.frames_bad == 1
    assert "no header" in codec.counters.last_error


def test_csv_another_header_is_taken_after_opening_or_before_any_line_fitted() -> None:
    codec = Csv()
    read(codec, "a,b\n1,2\n")
    codec.reset()
    assert [row["c"] for row in read(codec, "c,d\n3,4\n")] == [3.0]
    assert read(codec, "RUN,OK\n") != []  # words among data are data
    assert codec.counters.frames_bad == 0
    assert read(codec, "garbage\n") == []
    fresh = Csv()
    assert [row["b"] for row in read(fresh, "noise\na,b\n1,2\n")] == [2.0]


def test_key_value_pairs() -> None:
    codec = KeyValue(machine="m", texts=["status"])
    found = read(codec, 'm=a temp=21.5, hum = 40;status="warming up" bad=x\ntemp:1\nm=b,temp=-1e1,temp=2,empty=\n')
    assert found == [
        {"machine": "a", "time": NOW, "temp": 21.5, "hum": 40.0, "status": "warming up"},
        {"machine": "b", "time": NOW, "temp": 2.0},
    ]
    assert codec.counters.frames_bad == 1
    colon = KeyValue(assign=":", time="at", time_unit="iso")
    assert read(colon, "temp: 21.5 at:2024-03-19T13:57:06.905833677Z\n") == [
        {"machine": "", "time": STAMP, "temp": 21.5}
    ]


def test_line_protocol() -> None:
    codec = Influx(machine="host", texts=["measurement", "note"])
    text = (
        f"cpu,host=a,rack=3 load=0.5,cores=8i,up=t {STAMP}\n"
        f"# a comment\n"
        f'cpu\\ x,host=a\\,b note="say \\"a, b\\" = c",load=1 {STAMP}\n'
        f"cpu,host=c load=2\n"
    )
    assert read(codec, text) == [
        {"machine": "a", "time": STAMP, "load": 0.5, "cores": 8.0, "up": 1.0, "measurement": "cpu"},
        {"machine": "a,b", "time": STAMP, "load": 1.0, "measurement": "cpu x", "note": 'say "a, b" = c'},
        {"machine": "c", "time": NOW, "load": 2.0, "measurement": "cpu"},
    ]
    assert codec.counters.frames_bad == 0
    (row,) = read(Influx(machine="measurement", prefix=True), "cpu,rack=3 load=1\n")
    assert (row["machine"], row["cpu.load"]) == ("cpu", 1.0)


@pytest.mark.parametrize("line", ["cpu", "cpu load", "cpu load=", "cpu load=x", "cpu load=1 soon", 'cpu s="open', "=1",
                                  "cpu,host load=1", " ", "cpu load=1,", "cpu load=1i5"])  # fmt: skip
def test_what_is_no_line_protocol_is_counted(line: str) -> None:
    codec = Influx()
    assert [row.get("load") for row in read(codec, f"cpu load=7\n{line}\ncpu load=8\n")] == [7.0, 8.0]
    assert codec.counters.frames_bad == 1


def test_nmea_sentences_with_their_checksum() -> None:
    codec = Nmea(sentences={"PTEMP": ["machine", "temp", "", "status"]}, machine="machine", texts=["status"])
    found = read(codec, sentence("PTEMP,press-1,21.5,9,RUN") + b"\xff\x00noise" + sentence("PTEMP,press-2,,9,RUN")
                 + sentence("GPGGA,1,2"))  # fmt: skip
    assert found == [
        {"machine": "press-1", "time": NOW, "temp": 21.5, "status": "RUN"},
        {"machine": "press-2", "time": NOW, "status": "RUN"},
    ]
    assert (codec.counters.frames_bad, codec.counters.bytes_discarded) == (0, 7)


def test_a_sentence_of_the_standard() -> None:
    line = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
    (row,) = read(Nmea(), line)
    assert (row["GPGGA.1"], row["GPGGA.9"]) == (123519.0, 545.4)
    (row,) = read(Nmea(sentences={"GGA": ["at", *[""] * 7, "height"]}), line)
    assert row["height"] == 545.4


@pytest.mark.parametrize("line", [b"$PTEMP,1*00", b"$PTEMP,1", b"$PTEMP,1*", b"$PTEMP,1*4", b"$PTEMP,1*ZZ", b"PTEMP,1",
                                  b"$PTEMP,1*+5", b"$PT\xffMP,1*BF", b"$P\xff,1*B2", b"$", b"*00"])  # fmt: skip
def test_a_wrong_checksum_is_counted(line: bytes) -> None:
    codec = Nmea()
    assert read(codec, line + b"\n" + sentence("PTEMP,2"))[-1]["PTEMP.1"] == 2.0
    assert codec.counters.frames_bad == 1
    assert codec.counters.last_error


def test_a_checksum_may_be_left_out_where_that_is_allowed() -> None:
    assert [row["P.1"] for row in read(Nmea(checksum=False), b"$P,1\r\n" + sentence("P,2"))] == [1.0, 2.0]


def test_xor_is_the_exclusive_or_of_all_bytes() -> None:
    for data in (b"", b"a", b"ab", bytes(range(256)), b"\xff" * 77):
        expected = 0
        for byte in data:
            expected ^= byte
        assert xor(data) == expected


@pytest.mark.parametrize(
    ("codec", "fields"),
    [(Csv, {"separator": "::"}), (Csv, {"decimal": "x"}), (Csv, {"decimal": ",", "separator": ","}), (KeyValue, {"assign": ","}),
     (KeyValue, {"assign": "=="})],
)  # fmt: skip
def test_impossible_settings_are_refused(codec: type, fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"one character|decimal"):
        codec(**fields)


WORDS = st.lists(
    st.sampled_from(["a", "b", "a=b", ",", ",", "=", "x=1", "t", "=1i", " ", "\\", '"']), max_size=8
).map("".join)


@settings(max_examples=300, deadline=None)
@given(WORDS, WORDS, st.sampled_from(["", " 5", " x", " 5 6"]))
def test_the_short_way_and_the_grammar_agree_on_plain_lines(head: str, fields: str, stamp: str) -> None:
    line = f"{head} {fields}{stamp}".strip()
    codec = Influx(machine="a", texts=["measurement"])
    results = []
    for read_line in (codec._plain, codec._record):
        try:
            results.append(read_line(line))
        except ValueError:
            results.append(None)
    if not set(line) & set('\\"') and "  " not in line and "#" not in line:
        assert results[0] == results[1]
