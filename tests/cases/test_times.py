"""Times of exports, local times that are twice or not at all, epochs with a fraction."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agent.settings.registry import ConfigError
from tests.cases.reading import codec_of, decided, message, read, rows_of, utc

BERLIN = 'type = "csv", columns = ["time", "v"], separator = ";", time = "time", time_zone = "Europe/Berlin"'
AFTERNOON = "2026-12-31T12:45:59"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("31.12.2026 13:45:59", AFTERNOON),
        ("31.12.26 13:45:59,25", AFTERNOON + ".25"),
        ("31.12.2026, 13:45:59 Uhr", AFTERNOON),
        ("31.12.2026", "2026-12-30T23:00:00"),
        ("1.2.2026 3:04", "2026-02-01T02:04:00"),
        ("12/31/2026 1:45:59 PM", AFTERNOON),
        ("12/31/2026 12:45:59 AM", "2026-12-30T23:45:59"),
        ("31/12/2026 13:45:59", AFTERNOON),
        ("31-12-2026 13:45:59", AFTERNOON),
        ("2026/12/31 13:45:59", AFTERNOON),
        ("2026-12-31 13:45:59,123", AFTERNOON + ".123"),
        ("2026-12-31 12:45:59 UTC", AFTERNOON),
        ("2026-12-31T12:45:59.5 GMT", AFTERNOON + ".5"),
        ("2026-12-31t12:45:59z", AFTERNOON),
        ("2026-12-31 13:45:59 +0100", AFTERNOON),
        ("2026-12-31T13:45:59+01", AFTERNOON),
        ("Thu, 31 Dec 2026 13:45:59 +0100", AFTERNOON),
        ("31-Dec-2026 13:45:59", AFTERNOON),
        ("Dec 31, 2026 1:45:59 PM", AFTERNOON),
        ("31/Dec/2026:13:45:59 +0100", AFTERNOON),
        ("Thu Dec 31 13:45:59 2026", AFTERNOON),
        ("20261231T124559Z", AFTERNOON),
    ],
)
def test_the_times_of_common_exports_are_read_by_themselves(text: str, time: str) -> None:
    rows, counters = read(f'{BERLIN}, time_unit = "iso"', f"{text};1\n{text};2\n".encode())
    assert [row["time"] for row in rows] == [time, time]
    assert not counters.faults()
    said = counters.notes.get("time", "")
    assert bool(said) == (not text.startswith(("2026-", "20261")))
    assert not said or repr(text) in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1/2/2026 13:45", "may begin with the day or the month; set time_format"),
        ("1-2-2026 13:45", "may begin with the day or the month; set time_format"),
        ("31/12/26 13:45", "may begin with the day or the year; set time_format"),
        ("31.13.2026 13:45", "is no time in iso; set time_format"),
        ("13:45", "is no time in iso; set time_format"),
        ("Thu Smarch 31 13:45:59 2026", "is no time in iso; set time_format"),
        ("12/31/2026 13:45 PM", "is no time in iso; set time_format"),
    ],
)
def test_a_time_that_may_be_two_is_asked_for(text: str, said: str) -> None:
    rows, counters = read(f'{BERLIN}, time_unit = "iso"', f"{text};1\n".encode())
    assert rows == []
    assert said in counters.faults()
    _, counters = read(BERLIN, b"2026-12-31T12:45:59Z;1\n")
    assert 'set time_unit = "iso"' in counters.faults()


def test_a_time_that_can_be_one_only_says_how_the_others_are_meant() -> None:
    times = "1/2/2026 10:00", "1/13/2026 10:00", "1/3/2026 10:00", "13/1/2026 10:00"
    rows, counters = read(f'{BERLIN}, time_unit = "iso"', "".join(f"{time};1\n" for time in times).encode())
    assert [row["time"][:10] for row in rows] == ["2026-01-13", "2026-01-03"]
    assert counters.frames_bad == 2


@pytest.mark.parametrize(
    ("form", "text", "time"),
    [
        ("%d.%m.%Y %H:%M:%S", "31.12.2026 13:45:59", AFTERNOON),
        ("%m/%d/%y %I:%M:%S %p", "01/02/26 12:00:01 PM", "2026-01-02T11:00:01"),
        ("%d/%m/%Y %H:%M:%S.%f", "01/02/2026 12:00:01.5", "2026-02-01T11:00:01.5"),
        ("%Y%m%d%H%M%S", "20261231134559", AFTERNOON),
        ("%d.%m.%Y %H:%M:%S,%f", "31.12.2026 13:45:59,123456789", AFTERNOON + ".123456789"),
        ("%Y-%m-%d %H:%M:%S %Z", "2026-12-31 12:45:59 UTC", AFTERNOON),
        ("%Y-%m-%d_%H%M%S%z", "2026-12-31_134559+0100", AFTERNOON),
        ("%Y-%j %H:%M:%S", "2026-365 13:45:59", AFTERNOON),
    ],
)
def test_a_format_says_how_times_are_written(form: str, text: str, time: str) -> None:
    rows, counters = read(f'{BERLIN}, time_format = "{form}"', f"{text};1\n2026;2\n".encode())
    assert [row["time"] for row in rows] == [time]
    assert f"'2026' is no time in {form}" in counters.faults()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('time_format = "%H:%M"', "year, month and day"),
        ('time_format = "%d.%m.%Y %I:%M"', "no %p"),
        ('time_format = "%Y-%m-%d %Q"', "no format"),
        ('time_format = "%Y-%m-%d", time_unit = "ms"', "leave one of them out"),
    ],
)
def test_a_format_that_is_none_is_refused(keys: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        codec_of(f'type = "csv", time = "t", {keys}')


def local(start: str, minutes: int, count: int, zone: str) -> tuple[list[str], list[str]]:
    """Local times as a logger writes them, and what they are in UTC."""
    begin = datetime.fromisoformat(start)
    instants = [begin + timedelta(minutes=minutes) * number for number in range(count)]
    return (
        [f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}" for instant in instants],
        [f"{instant:%Y-%m-%dT%H:%M:%S}" for instant in instants],
    )


@pytest.mark.parametrize("minutes", [1, 10, 15, 30, 45, 60, 7])
@pytest.mark.parametrize(
    ("start", "zone"),
    [
        ("2026-10-24T22:00:00+00:00", "Europe/Berlin"),
        ("2026-11-01T04:00:00+00:00", "America/New_York"),
        ("2026-10-24T22:30:00+00:00", "Atlantic/Azores"),
        ("2026-04-04T13:00:00+00:00", "Australia/Lord_Howe"),  # set back by half an hour
        ("2026-03-28T22:00:00+00:00", "Europe/Berlin"),
    ],
)
def test_the_hour_that_comes_twice_is_told_by_the_order_of_the_rows(start: str, zone: str, minutes: int) -> None:
    if zone == "Australia/Lord_Howe" and minutes > 15:
        pytest.skip("rows further apart than the clock is set back do not show it")
    texts, instants = local(start, minutes, 400 // minutes, zone)
    table = f'type = "csv", columns = ["time", "v"], time = "time", time_unit = "iso", time_zone = "{zone}"'
    rows, counters = read(table, "".join(f"{text},1\n" for text in texts).encode())
    assert [row["time"] for row in rows] == instants
    assert not counters.faults()
    twice = len(set(texts)) < len(texts)
    assert "repeated hour" in counters.notes or not twice


def test_each_machine_has_a_clock_of_its_own() -> None:
    texts, instants = local("2026-10-24T23:00:00+00:00", 10, 24, "Europe/Berlin")
    lines = [f"a;{text};1\n" for text in texts] + [f"b;{text};1\n" for text in texts[::2]]
    table = 'type = "csv", columns = ["m", "time", "v"], machine = "m", time = "time", time_unit = "iso"'
    rows, _ = read(f'{table}, separator = ";", time_zone = "Europe/Berlin"', "".join(lines).encode())
    assert [row["time"] for row in rows] == instants + instants[::2]


def test_rows_in_disorder_are_not_an_hour_late() -> None:
    times = ["02:10:00", "02:10:20", "02:10:10", "02:10:30", "02:59:00", "02:00:00", "02:00:20", "02:00:10"]
    lines = "".join(f"2026-10-25 {time};1\n" for time in times)
    rows, _ = read(f'{BERLIN}, time_unit = "iso"', lines.encode())
    hours = [int(row["time"][11:13]) for row in rows]
    assert hours == [0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("clock", "hour"), [("2026-10-25T00:31:00", 0), ("2026-10-25T01:31:00", 1)])
def test_a_single_local_time_is_the_one_nearer_to_the_clock(clock: str, hour: int) -> None:
    now = int(datetime.fromisoformat(clock + "+00:00").timestamp()) * 10**9
    table = 'type = "json", time = "t", time_unit = "iso", time_zone = "Europe/Berlin"'
    for rows, _ in (
        read(table, b'{"t": "2026-10-25 02:30:00", "v": 1}\n', now),
        message(table, b'{"t": "2026-10-25T02:30:00", "v": 1}', read_at=now),
    ):
        assert rows[0]["time"] == f"2026-10-25T0{hour}:30:00"


def test_a_local_time_that_does_not_exist_is_counted_and_told() -> None:
    rows, counters = read(
        f'{BERLIN}, time_unit = "iso"', b"2026-03-29 01:59:00;1\n2026-03-29 02:30:00;1\n2026-03-29 03:30:00;1\n"
    )
    assert [row["time"][11:16] for row in rows] == ["00:59", "01:30", "01:30"]
    assert counters.times_nonexistent == 1
    assert "2026-03-29 02:30:00 in Europe/Berlin, read as 03:30:00" in counters.faults()


AUTUMN = """
[source.export]
type = "file"
path = "@logger.csv"
codec = { type = "csv", time = "time", time_unit = "iso", time_zone = "Europe/Berlin", values = ["temp"] }
[rule.hot]
when = "temp > 90"
"""


async def test_an_incident_in_the_second_of_the_hours_is_dated_there(tmp_path) -> None:
    texts, instants = local("2026-10-24T22:00:00+00:00", 10, 36, "Europe/Berlin")
    hot = [time[11:13] == "01" for time in instants]
    lines = [f"{text},{95 if it else 50}\n" for text, it in zip(texts, hot, strict=True)]
    found = await decided(tmp_path, AUTUMN, {"logger.csv": ("time,temp\n" + "".join(lines)).encode()})
    assert [(change, time) for change, time, _, _ in found] == [
        ("raised", "2026-10-25T01:00:00"),
        ("resolved", "2026-10-25T02:00:00"),
    ]


SECOND = 1_710_856_626


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(
    ("unit", "digits"),
    [("s", ""), ("s", "e0"), ("ms", "e3"), ("us", "e6"), ("ns", "e9")],
)
def test_an_epoch_with_a_fraction_is_exact_to_the_microsecond(unit: str, digits: str, quoted: bool) -> None:
    codec = codec_of(f'type = "json", time = "t", time_unit = "{unit}"')
    power = {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
    lines, wanted = [], []
    for number in range(0, 1_000_000, 997):
        micros = SECOND * 10**6 + number
        whole, part = divmod(micros, 10 ** (6 - power)) if power < 6 else (micros * 10 ** (power - 6), 0)
        text = f"{micros}e-6" if digits == "e0" else f"{whole}.{part:0{max(1, 6 - power)}}"
        text = f"{micros / 10**6!r}{digits}" if unit in ("us", "ns") and number % 2 else text
        lines.append(f'{{"t": "{text}", "v": 1}}\n' if quoted else f'{{"t": {text}, "v": 1}}\n')
        wanted.append(micros * 1000)
    batch = codec.feed("".join(lines).encode(), 0)
    assert batch is not None
    assert batch.time.tolist() == wanted
    assert rows_of(codec_of(f'type = "json", time = "t", time_unit = "{unit}"').feed(lines[-1].encode(), 0))[0][
        "time"
    ] == utc(wanted[-1])


@pytest.mark.parametrize(
    ("keys", "text", "time"),
    [
        ('time_unit = "s"', "1710856626,905", "2024-03-19T13:57:06.905"),
        ('time_unit = "s"', "1710856626.905833677", "2024-03-19T13:57:06.905833677"),
        ('time_unit = "ms"', "1.710856626905e12", "2024-03-19T13:57:06.905"),
        ('time_unit = "ns"', "1710856626905833677", "2024-03-19T13:57:06.905833677"),
        ('time_unit = "s", earliest = "1970-01-01T00:00:00Z"', "0.000012345", "1970-01-01T00:00:00.000012345"),
    ],
)
def test_the_digits_of_a_text_are_read_to_the_last(keys: str, text: str, time: str) -> None:
    rows, _ = read(f"{BERLIN}, {keys}", f"{text};1\n".encode())
    assert [row["time"] for row in rows] == [time]


@pytest.mark.parametrize("text", ["1e999999999", "1e400", "-1e30", "1_000", "0x10", "nan"])
def test_what_is_beyond_all_times_is_refused(text: str) -> None:
    for line in (f'{{"t": "{text}"}}\n', f'{{"t": {text}}}\n'):
        rows, counters = read('type = "json", time = "t", time_unit = "s"', line.encode())
        assert rows == []
        assert counters.frames_bad == 1


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("ts=2026-01-01 10:00:00 T=5", "2026-01-01T10:00:00"),
        ("ts=01.02.2026 10:00:00,5 T=5", "2026-02-01T10:00:00.5"),
        ("ts=1/13/2026 1:00 PM T=5", "2026-01-13T13:00:00"),
        ("ts=2026-01-01T10:00:00Z;T=5", "2026-01-01T10:00:00"),
        ("ts='2026-01-01 10:00', T=5", "2026-01-01T10:00:00"),
    ],
)
def test_a_time_of_a_pair_is_not_cut_at_the_blank(line: str, time: str) -> None:
    rows, counters = read(
        'type = "keyvalue", time = "ts", time_unit = "iso", time_zone = "UTC"', f"{line}\n".encode()
    )
    assert rows == [{"time": time, "T": 5.0}]
    assert not counters.faults()
