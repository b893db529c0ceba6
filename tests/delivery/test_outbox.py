"""What the outbox promises, on a real file."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agent.alerts.alert import Kind, Message
from agent.outbox import Outbox
from agent.outbox.bundle import size_of
from agent.storage.database import Database, DatabaseInUseError
from tests.delivery.fakes import ALL, message

ALERTS: frozenset[Kind] = frozenset({"alert"})


def outbox(tmp_path: Path, sinks: dict[str, frozenset[Kind]] | None = None, **options: object) -> Outbox:
    return Outbox(tmp_path / "outbox.db", sinks or {"a": ALL}, **options)  # type: ignore[arg-type]


async def drain(box: Outbox, sink: str = "a", limit: int = 500) -> list[Message]:
    got = []
    while (batch := await box.next(sink, limit)) is not None:
        got += batch.messages
        box.confirm(sink, batch)
    return got


async def test_what_is_appended_comes_out_in_order_and_survives_a_restart(tmp_path: Path) -> None:
    sent = [message(n) for n in range(1000)]
    async with outbox(tmp_path) as box:
        await box.append(sent[:600])
        await box.append(sent[600:])
        assert (await box.next("a", 10)).messages == sent[:10]
    async with outbox(tmp_path) as box:
        assert await drain(box, limit=300) == sent
    async with outbox(tmp_path) as box:
        assert await drain(box) == []
        assert box.usage() == {}


async def test_the_same_batch_comes_again_until_it_is_confirmed(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(n) for n in range(10)])
        first = await box.next("a", 4)
        assert (await box.next("a", 4)).messages == first.messages
        box.confirm("a", first)
        assert (await box.next("a", 4)).messages == [message(n) for n in range(4, 8)]


async def test_append_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(1)], notes={"open": b"state"})
        with sqlite3.connect(tmp_path / "outbox.db") as other:
            assert other.execute("SELECT id FROM log").fetchall() == [("alert-1",)]
            assert other.execute("SELECT name, value FROM notes").fetchall() == [("open", b"state")]
        other.close()


async def test_appends_that_wait_share_commits(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await asyncio.gather(*(box.append([message(n)]) for n in range(200)))
        assert box.counters.commits <= 4
        assert len(await drain(box)) == 200


async def test_a_cancelled_append_is_still_kept(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        task = asyncio.create_task(box.append([message(1)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await box.append([message(2)])
        assert [m.id for m in await drain(box)] == ["alert-1", "alert-2"]


async def test_repeated_ids_are_dropped_also_after_a_restart_and_after_delivery(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(1), message(1), message(1, kind="raw")])
        assert box.counters.repeated == 1
    async with outbox(tmp_path) as box:
        await box.append([message(1)])
        assert [m.id for m in await drain(box)] == ["alert-1", "raw-1"]
        await box.append([message(1)])
        assert await drain(box) == []
        assert box.counters.repeated == 2


async def test_each_sink_has_its_own_place_and_kinds(tmp_path: Path) -> None:
    async with outbox(tmp_path, {"a": ALERTS, "b": frozenset({"alert", "metric"})}) as box:
        await box.append([message(1), message(2, "metric"), message(3), message(4, "reply")])
        await box.append([message(5)])
        assert [m.id for m in await drain(box, "a")] == ["alert-1", "alert-3", "alert-5"]
        assert box.lag("a") == 0
        assert box.usage()["alert"].messages == 3
        assert [m.id for m in await drain(box, "b")] == ["alert-1", "metric-2", "alert-3", "alert-5"]
        assert box.counters.unwanted == 1
        await box.append([message(6)])
        assert box.usage()["alert"].messages == 1
        assert "metric" not in box.usage()


async def test_metrics_are_not_waited_for_but_follow(tmp_path: Path) -> None:
    async with outbox(tmp_path, linger_seconds=0.05) as box:
        await box.append([message(1, "metric")])
        assert box.counters.commits == 0
        await box.wait("a", 5)
        while (batch := await box.next("a")) is None:
            await box.wait("a", 5)
        assert batch.messages == [message(1, "metric")]


async def test_notes_change_with_the_messages_and_can_be_removed(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(1)], notes={"open": b"1", "sequence": b"7"})
        await box.append([], notes={"open": None})
        assert box.notes() == {"sequence": b"7"}
    async with outbox(tmp_path) as box:
        assert box.notes() == {"sequence": b"7"}


async def test_metrics_make_room_before_alerts(tmp_path: Path) -> None:
    body = b"x" * 1000
    size = size_of(message(10, body=body))
    async with outbox(tmp_path, alert_bytes=10 * size, metric_bytes=5 * size) as box:
        await box.append([message(n, "metric", body=body) for n in range(4)])
        await box.append([message(n, body=body) for n in range(10)])
        assert box.counters.dropped == {}
        await box.append([message(n, body=body) for n in range(10, 13)])
        assert box.counters.dropped["metric", "space"] >= 2
        assert box.counters.dropped["alert", "space"] == 0
        await box.append([message(n, body=body) for n in range(13, 20)])
        assert box.counters.dropped["alert", "space"] >= 5
        left = await drain(box)
        assert left[-1].id == "alert-19"
        assert [m.kind for m in left] == ["alert"] * len(left)
        assert sum(size_of(m) for m in left) <= 15 * size


async def test_metrics_drop_the_oldest_within_their_own_bound(tmp_path: Path) -> None:
    body = b"x" * 1000
    size = size_of(message(10, "metric", body=body))
    async with outbox(tmp_path, metric_bytes=5 * size, linger_seconds=0.02) as box:
        await box.append([message(n, "metric", body=body) for n in range(20)])
        await box.append([message(0)])
        left = [m.id for m in await drain(box)]
        assert left[-2:] == ["metric-19", "alert-0"]
        assert 3 <= len(left) <= 6


async def test_what_is_too_old_is_dropped_and_counted_but_a_stepping_clock_makes_nothing_old(
    tmp_path: Path,
) -> None:
    clock = {"wall": 10**18, "steady": 0.0}
    options = {"now": lambda: clock["wall"], "monotonic": lambda: clock["steady"], "linger_seconds": 0.01}
    async with outbox(tmp_path, alert_seconds=100.0, **options) as box:
        await box.append([message(1)])
        clock["wall"] += 10 * 365 * 86400 * 10**9
        clock["steady"] += 61.0
        await box.append([message(2)])
        assert box.counters.dropped == {}
        clock["steady"] += 61.0
        await box.append([message(3)])
        assert box.counters.dropped["alert", "age"] == 1
        assert [m.id for m in await drain(box)] == ["alert-2", "alert-3"]
    clock["wall"] -= 3600 * 10**9
    async with outbox(tmp_path, alert_seconds=100.0, **options) as box:
        await box.append([message(4)])
        assert len(await drain(box)) >= 1


async def test_late_messages_are_replayed_marked_and_do_not_hold_up_new_ones(tmp_path: Path) -> None:
    steady = {"now": 0.0}
    async with outbox(tmp_path, monotonic=lambda: steady["now"]) as box:
        await box.append([message(n, machine="old") for n in range(6)])
        steady["now"] = 60.0
        await box.begin("a")
        await box.append([message(7, machine="new"), message(8, machine="old")])
        got = []
        while (batch := await box.next("a", 2, replay=2)) is not None:
            got.append([m.id for m in batch.messages])
            assert batch.replayed == batch.messages[0].replayed == (b'"replayed":true' in batch.messages[0].body)
            box.confirm("a", batch)
        names = [id for part in got for id in part]
        assert names[0] == "alert-7"
        assert [n for n in names if n != "alert-7"] == [f"alert-{n}" for n in (0, 1, 2, 3, 4, 5, 8)]
        await box.append([message(9, machine="old")])
        assert (await box.next("a")).replayed is False


async def test_while_replaying_the_present_state_goes_first_and_only_the_last_of_each(tmp_path: Path) -> None:
    steady = {"now": 0.0}
    async with outbox(tmp_path, monotonic=lambda: steady["now"]) as box:
        for n in range(5):
            await box.append([message(n), message(n, "state", name="t.hot")])
        steady["now"] = 60.0
        await box.begin("a")
        assert [m.id for m in (await box.next("a")).messages] == ["state-4"]
        assert [m.id for m in await drain(box)] == ["state-4", *(f"alert-{n}" for n in range(5))]
        assert box.counters.superseded >= 4


async def test_stale_metrics_are_passed_over(tmp_path: Path) -> None:
    steady = {"now": 0.0}
    async with outbox(tmp_path, monotonic=lambda: steady["now"]) as box:
        await box.append([message(1, "metric"), message(2)])
        steady["now"] = 60.0
        await box.begin("a")
        assert [m.id for m in await drain(box)] == ["alert-2"]
        await box.append([message(3, "metric"), message(4)])
        assert [m.id for m in await drain(box)] == ["metric-3", "alert-4"]


async def test_a_replay_that_is_broken_off_sends_the_rest_with_the_same_ids(tmp_path: Path) -> None:
    steady = {"now": 0.0}
    async with outbox(tmp_path, monotonic=lambda: steady["now"]) as box:
        await box.append([message(n, machine="old") for n in range(6)])
        steady["now"] = 60.0
        await box.begin("a")
        await box.append([message(7, machine="new")])
        for _ in range(2):
            batch = await box.next("a", 2)
            box.confirm("a", batch)
    async with outbox(tmp_path) as box:
        ids = [m.id for m in await drain(box)]
        assert ids == ["alert-2", "alert-3", "alert-4", "alert-5", "alert-7"]


async def test_the_file_shrinks_after_the_drain(tmp_path: Path) -> None:
    async with outbox(tmp_path, confirm_seconds=0.0, linger_seconds=0.01) as box:
        for start in range(0, 8000, 1000):
            await box.append([message(n, body=b"x" * 500) for n in range(start, start + 1000)])
        full = occupied(tmp_path)
        await drain(box)
        await box.append([message(9000)])
        await drain(box)
    assert full > 4_000_000
    assert occupied(tmp_path) < 200_000


def occupied(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.glob("outbox.db*") if file.suffix != ".reserve")


async def test_a_refused_message_becomes_a_dead_letter_with_its_reason(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(1)])
        batch = await box.next("a")
        box.reject("a", batch.messages, "too large")
        box.confirm("a", batch)
        await box.append([message(2)])
    async with outbox(tmp_path) as box:
        [dead] = await box.dead_letters()
        assert (dead.sink, dead.reason, dead.message) == ("a", "too large", message(1))
        assert [m.id for m in await drain(box)] == ["alert-2"]


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    async with outbox(tmp_path):
        with pytest.raises(DatabaseInUseError, match="in use by another process"):
            await Database(tmp_path / "outbox.db", ()).__aenter__()
