"""A burst goes into few rows of the log, and comes out message by message as if it had not."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.alerts.alert import Kind, Message
from agent.outbox import Outbox
from agent.outbox.bundle import MOST, bundles, pack, size_of, unpack, weigh
from agent.outbox.table import MIGRATIONS, Usage
from tests.delivery.fakes import message

RAW: frozenset[Kind] = frozenset({"raw"})
QUOTA = 64 << 20
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def burst(start: int, count: int) -> list[Message]:
    return [message(n, "raw", f"m{n % 3}") for n in range(start, start + count)]


@given(
    st.lists(st.tuples(texts, texts, texts, st.binary(max_size=9), st.integers(-(2**63), 2**63 - 1)), min_size=2)
)
@settings(max_examples=50, deadline=None)
def test_what_is_packed_comes_out_as_it_was(rows: list[tuple[str, str, str, bytes, int]]) -> None:
    given = [Message(id_, "raw", machine, name, body, time) for id_, machine, name, body, time in rows]
    assert unpack("raw", pack(given)) == given


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=600), st.sampled_from([QUOTA, 1 << 20, 5000]))
@settings(max_examples=50, deadline=None)
def test_a_bundle_is_bounded_and_nothing_is_left_out(lengths: list[int], quota: int) -> None:
    given = [message(n, "raw", body=b"x" * length) for n, length in enumerate(lengths)]
    rows = list(bundles("raw", given, quota))
    assert [m for row in rows for m in row] == given
    for row in rows:
        assert len(row) == 1 or (len(row) <= MOST and weigh(row) <= max(quota // 64, 2 * size_of(row[0])))


async def test_a_burst_is_a_few_rows_and_survives_a_restart_in_the_middle_of_one(tmp_path: Path) -> None:
    given = burst(0, 1000)
    got: list[Message] = []
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        await box.append(given)
        for _ in range(3):
            batch = await box.next("a", 100)
            assert batch is not None
            assert len(batch.messages) == 100
            box.confirm("a", batch)
            got += batch.messages
        with closing(sqlite3.connect(tmp_path / "o.db")) as file:
            assert file.execute("SELECT count(*), sum(count) FROM log").fetchone() == (4, 1000)
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        await box.append(burst(990, 20))  # ten of them are known
        assert box.counters.repeated == 10
        assert box.usage()["raw"].messages == 1010 - 256  # the first row is gone, the second begun
        while (batch := await box.next("a", 300)) is not None:
            box.confirm("a", batch)
            got += batch.messages
        assert got == burst(0, 1010)
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        assert box.usage() == {}
        assert await box.next("a") is None


async def test_a_damaged_bundle_costs_its_messages_and_no_others(tmp_path: Path) -> None:
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        await box.append(burst(0, 600))
    with closing(sqlite3.connect(tmp_path / "o.db")) as file, file:
        file.execute("UPDATE log SET body = CAST(replace(body, 'raw-300', 'raw-3OO') AS BLOB) WHERE position = 512")
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        got: list[Message] = []
        while (batch := await box.next("a", 100)) is not None:
            box.confirm("a", batch)
            got += batch.messages
        assert got == [*burst(0, 256), *burst(512, 88)]
        assert box.counters.dropped["unknown", "damaged"] == 256


async def test_replay_waits_for_the_machines_that_are_in_a_bundle(tmp_path: Path) -> None:
    clock = {"steady": 0.0}
    async with Outbox(tmp_path / "o.db", {"a": RAW}, monotonic=lambda: clock["steady"]) as box:
        await box.append(burst(0, 30))
        first = await box.next("a", 10)
        assert first is not None
        box.confirm("a", first)
        clock["steady"] = 60.0
        await box.begin("a")
        await box.append([message(100, "raw", "m1"), message(101, "raw", "other")])
        live = await box.next("a")
        assert live is not None
        assert [m.machine for m in live.messages] == ["other"]
        box.confirm("a", live)
        late: list[Message] = []
        while (batch := await box.next("a", 7)) is not None:
            box.confirm("a", batch)
            late += batch.messages
        assert [m.id for m in late] == [m.id for m in [*burst(10, 20), message(100, "raw", "m1")]]


async def everything(box: Outbox, sink: str, limit: int = 37) -> list[Message]:
    got: list[Message] = []
    while (batch := await box.next(sink, limit)) is not None:
        box.confirm(sink, batch)
        got += batch.messages
    return got


async def test_a_file_of_before_bundles_is_delivered_where_each_sink_stopped(tmp_path: Path) -> None:
    """`outbox-v1.db` was written by the code of before bundles: a had confirmed 30 of 102 messages, b 10 of 101."""
    shutil.copy(Path(__file__).with_name("outbox-v1.db"), tmp_path / "o.db")
    sinks: dict[str, frozenset[Kind]] = {
        "a": frozenset({"alert", "raw", "state"}),
        "b": frozenset({"alert", "raw"}),
    }
    events = burst(0, 100)
    state, alert = (
        Message("state-1", "state", "m1", "n", b'{"s":1}', 5),
        Message("alert-1", "alert", "m1", "n", b'{"z":1}', 1),
    )
    async with Outbox(tmp_path / "o.db", sinks) as box:
        assert box.notes() == {"open": b"xx"}
        assert box.usage()["raw"].messages == 90
        await box.append([*events[60:], *burst(100, 40)])  # 40 of them are known
        assert box.counters.repeated == 40
        old = [m._replace(name="n") for m in events]
        assert await everything(box, "a") == [*old[30:], state, alert, *burst(100, 40)]
        assert await everything(box, "b") == [*old[10:], alert, *burst(100, 40)]
        assert not box.counters.dropped
    async with Outbox(tmp_path / "o.db", sinks) as box:
        assert box.usage() == {}
    assert len(MIGRATIONS) == 2


@given(
    lengths=st.lists(st.integers(1, 1000), min_size=8, max_size=300),
    letter=st.sampled_from(["x", "\u00e4", "\x01"]),
)
@example(lengths=[1] + [1000] * 19, letter="x")
@example(lengths=[1000] + [1] * 299, letter="x")
@settings(max_examples=25, deadline=None)
async def test_names_of_any_lengths_are_weighed_and_survive_a_restart(lengths: list[int], letter: str) -> None:
    given = [message(n, "raw", letter * length) for n, length in enumerate(lengths)]
    given.append(Message("one", "raw", "m", "n" * 20_000, b"1", 1))
    weight = sum(map(size_of, given))
    with TemporaryDirectory() as directory:
        path = Path(directory, "o.db")
        async with Outbox(path, {"a": RAW}) as box:
            await box.append(given)
            assert box.usage()["raw"] == Usage(len(given), weight)
        async with Outbox(path, {"a": RAW}) as box:
            assert box.usage()["raw"] == Usage(len(given), weight)
            assert await everything(box, "a") == given
            assert not box.counters.dropped


async def test_a_burst_whose_first_name_is_short_stays_within_the_bound(tmp_path: Path) -> None:
    given = [message(n, "raw", "m" * (1 if n == 0 else 1000)) for n in range(400)]
    async with Outbox(tmp_path / "o.db", {"a": RAW}, alert_bytes=100_000, metric_bytes=10_000) as box:
        for start in range(0, 400, 20):
            await box.append(given[start : start + 20])
        await box.append([message(400, "raw")])
        left = await everything(box, "a")
        assert left == [*given, message(400, "raw")][-len(left) :]
        assert 80_000 < sum(map(size_of, left)) <= 110_000 + 30_000
        assert box.counters.dropped["raw", "space"] == 401 - len(left)


async def test_a_damaged_size_is_put_right_and_costs_nothing(tmp_path: Path) -> None:
    given = [*burst(0, 100), message(100, "raw")]
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        await box.append(given)
    for size in ("1", str(1 << 60), "-5", "'x'"):
        with closing(sqlite3.connect(tmp_path / "o.db")) as file, file:
            file.execute(f"UPDATE log SET size = {size}")
        async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
            assert box.usage()["raw"] == Usage(101, sum(map(size_of, given)))
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        assert await everything(box, "a") == given


async def test_what_is_removed_as_damaged_is_counted_in_messages(tmp_path: Path) -> None:
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        await box.append(burst(0, 600))
    with closing(sqlite3.connect(tmp_path / "o.db")) as file, file:
        file.execute("UPDATE log SET kind = 'rew' WHERE position = 256")
        file.execute("UPDATE log SET count = 1000000 WHERE position = 512")
    async with Outbox(tmp_path / "o.db", {"a": RAW}) as box:
        assert box.counters.dropped["unknown", "damaged"] == 256 + 1
        assert await everything(box, "a") == burst(512, 88)
