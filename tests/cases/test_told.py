"""What is refused behind the codec is told: whose clock is wrong, what comes too late, which column stays empty."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from agent.ops.counters import GRACE
from agent.runtime.app import App
from agent.runtime.arrival_watch import ArrivalWatch, in_words, is_time_zone
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch

S = 10**9
HOUR = 3600 * S
NOW = 1_700_000_000 * S
SOURCE = {"type": "tcp", "port": 1, "codec": {"type": "json", "time": "t"}}


@pytest.fixture
def app(tmp_path) -> App:
    settings = Settings(
        agent={"site": "s", "name": "a", "state": tmp_path, "series": 3},
        source={"plc": SOURCE, "other": SOURCE},
        window={"mean": {"type": "tumbling", "size": "10s", "metric": "x", "on": "plc"}},
        rule={"hot": {"when": "x > 90"}},
        sink={"console": {"type": "lines"}},
    )
    return App(build_pipeline(settings))


def batch(
    read_at: int, *leads: int, machines: tuple[str, ...] = ("press-1",), source: str = "plc", **values
) -> Batch:
    """Rows whose times are `leads` ahead of the host's clock, of the machines in turn."""
    n = len(leads)
    columns = {name: np.full(n, value) for name, value in ({"x": 1.0} | values).items()}
    codes = np.arange(n, dtype=np.int32) % len(machines)
    return Batch(machines, codes, read_at + np.array(leads, np.int64), columns, read_at, source=source)


async def run(app: App, caplog: pytest.LogCaptureFixture, *batches: Batch) -> list[str]:
    """The warnings after these batches, those of the report interval last."""
    watch = app._data_watch
    async with app.outbox:
        for each in batches:
            watch.observe(each)
            await app.decide(each)
            watch.look()
    for source in app.pipeline.sources.values():
        source.counters.rows += 1
    watch.look_closely()
    watch.look_closely()
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


async def test_readings_from_the_future_are_told_with_number_lead_and_remedy(app, caplog) -> None:
    assert await run(app, caplog, *(batch(NOW + n * S, 2 * HOUR) for n in range(16))) == [
        "source plc: 16 of 16 readings were refused, their times being more than agent.max_future (1h) ahead of the host's "
        "clock; that of press-1 by 2 h; if it is a local time, set time_zone in the codec, else set the clocks right "
        "(NTP) or raise agent.max_future"
    ]


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        (-HOUR, "1 h behind the host's clock, and so will be its alerts; if it is a local time, set time_zone"),
        (-7 * 60 * S, "7 min behind the host's clock, and so will be its alerts; set the clocks right (NTP)"),
        (30 * 60 * S, "30 min ahead of the host's clock, and so will be its alerts; if it is a local time"),
        (90 * S, "90 s ahead of the host's clock"),
    ],
)
async def test_a_clock_that_is_steadily_wrong_is_told_by_machine(app, caplog, lead, words) -> None:
    """One of two machines of the source is right."""
    rows = [batch(NOW + n * S, lead - n % 3 * 10**6, 0, machines=("press-1", "press-2")) for n in range(8)]
    (said,) = await run(app, caplog, *rows)
    assert said.startswith("source plc: the times of press-1 are ")
    assert words in said


@pytest.mark.parametrize(
    "leads",
    [
        [0, -1, 2],
        [-2 * HOUR, -HOUR, -HOUR // 2, -HOUR // 4, -1],  # a backlog that catches up
        [-9000 * HOUR + n * HOUR for n in range(9)],  # a topic from its beginning
        [-HOUR],  # one reading, kept by a broker
        [-HOUR, 0, -HOUR, 0, -HOUR, 0],
    ],
    ids=["right", "backlog", "history", "one", "a backlog beside what is new"],
)
async def test_what_is_old_but_no_wrong_clock_is_not_told(app, caplog, leads) -> None:
    said = await run(app, caplog, *(batch(NOW + n * S, lead) for n, lead in enumerate(leads)))
    assert [line for line in said if "clock, and so" in line] == []


async def test_a_source_with_a_time_of_its_own_has_no_wrong_clock(caplog) -> None:
    watch = ArrivalWatch(HOUR, keeps_time=True)
    for n in range(10):
        watch.look(batch(NOW + n * S, -HOUR))
    assert list(watch.wrong_clocks()) == []


async def test_what_came_too_late_is_told_with_number_and_how_late(app, caplog) -> None:
    rows = [batch(NOW, 0), batch(NOW + 30 * S, 0), *(batch(NOW + (31 + n) * S, -31 * S - n * S) for n in range(5))]
    said = [line for line in await run(app, caplog, *rows) if "late" in line]
    assert said == [
        "window mean: late 5, most of them of press-1 (readings that came after all of their windows had closed, up to "
        f"30 s behind newer ones); {GRACE}"
    ]


async def test_series_beyond_the_limit_are_told(app, caplog) -> None:
    machines = tuple("abcde")
    (said,) = await run(app, caplog, batch(NOW, 0, 0, 0, 0, 0, machines=machines))
    assert said.startswith("keys machine: refused 2 (readings of series beyond the most that are kept)")


async def test_a_column_that_stays_empty_is_told_once_and_not_twice(app, caplog) -> None:
    rows = [batch(NOW + n * S, 0, hum=np.nan, late=1.0 if n == 2 else np.nan) for n in range(3)]
    assert await run(app, caplog, *rows) == [
        'source plc: "hum" has had no value in 3 readings; compare what comes with the names in its codec'
    ]


async def test_a_column_that_a_rule_waits_for_is_told_by_the_rule_alone(app, caplog) -> None:
    said = await run(app, caplog, batch(NOW, 0, x=np.nan, y=1.0))
    assert all(line.startswith(("window mean: ", "rule hot: ")) for line in said)
    assert len(said) == 2


def test_one_wild_time_hides_no_disorder_and_no_clock() -> None:
    watch = ArrivalWatch(HOUR)
    watch.look(batch(NOW, 0, 9 * HOUR, machines=("a", "b")))
    watch.look(batch(NOW + S, -3 * S))
    assert (watch.refused, watch.furthest, watch.furthest_machine) == (1, 9 * HOUR, "b")
    assert watch.disorder == 2 * S


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (1.5 * S, "1.5 s"),
        (90 * S, "90 s"),
        (119 * 60 * S, "1 h 59 min"),
        (2 * HOUR, "2 h"),
        (-49 * HOUR, "2 d 1 h"),
    ],
)
def test_durations_in_words(duration, words) -> None:
    assert in_words(int(duration)) == words


@pytest.mark.parametrize(
    ("lead", "zone"),
    [(HOUR, True), (-2 * HOUR + 40 * S, True), (19800 * S, True), (900 * S, False), (HOUR + 400 * S, False),
     (40 * HOUR, False)],
)  # fmt: skip
def test_what_looks_like_a_time_zone(lead, zone) -> None:
    assert is_time_zone(lead) == zone
