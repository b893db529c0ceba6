"""What the outbox survives: full disks, corrupt and foreign files, at the start and later."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.outbox import Outbox
from agent.outbox.bundle import size_of
from agent.storage.database import Database, DatabaseError
from tests.delivery.fakes import ALL, message
from tests.delivery.test_outbox import drain


def outbox(tmp_path: Path, **options: object) -> Outbox:
    return Outbox(tmp_path / "outbox.db", {"a": ALL}, **{"linger_seconds": 0.02} | options)  # type: ignore[arg-type]


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """A full disk, as far as one process can have one of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def recovered(box: Outbox) -> None:
    async with asyncio.timeout(10):
        while box.failing:  # noqa: ASYNC110 there is no event for it
            await asyncio.sleep(0.01)


async def test_while_the_disk_is_full_alerts_are_kept_and_delivered_from_memory(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(0)])
        with no_file_grows_beyond(100):
            for n in range(1, 50):
                await asyncio.wait_for(box.append([message(n)], notes={"last": b"%d" % n}), 5)
            assert "outbox.db" in box.failing
            batch = await box.next("a", 10)
            assert [m.id for m in batch.messages] == [f"alert-{n}" for n in range(10)]
            box.confirm("a", batch)
        await recovered(box)
        assert box.counters.failed_commits >= 1
    async with outbox(tmp_path) as box:
        assert [m.id for m in await drain(box)] == [f"alert-{n}" for n in range(10, 50)]
        assert box.notes() == {"last": b"49"}


async def test_memory_is_bounded_while_the_disk_is_full_and_metrics_go_first(tmp_path: Path) -> None:
    body = b"x" * 1000
    size = size_of(message(10, body=body))
    async with outbox(tmp_path, ring_bytes=20 * size) as box:
        with no_file_grows_beyond(100):
            await box.append([message(0, body=body)])
            await box.append([message(n, "metric", body=body) for n in range(10)])
            await box.append([message(n, body=body) for n in range(1, 20)])
            assert box.counters.dropped["metric", "memory"] >= 9
            assert box.counters.dropped["alert", "memory"] == 0
            await box.append([message(n, body=body) for n in range(20, 40)])
            assert box.counters.dropped["alert", "memory"] == 20
        await recovered(box)
        assert [m.id for m in await drain(box)] == [f"alert-{n}" for n in range(20, 40)]


async def test_a_disk_that_fails_at_the_start_hides_nothing_for_good(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(n, machine="old") for n in range(5)], notes={"a": b"old", "b": b"old"})
        batch = await box.next("a", 2)
        box.confirm("a", batch)
    path = tmp_path / "outbox.db"
    path.rename(tmp_path / "elsewhere")
    path.mkdir()  # as a mount that is not there yet
    async with outbox(tmp_path) as box:
        assert box.failing
        await asyncio.wait_for(
            box.append([message(10, machine="new"), message(11, machine="old")], {"b": b"new"}), 5
        )
        path.rmdir()
        (tmp_path / "elsewhere").rename(path)
        await recovered(box)
        await box.append([message(12, machine="new")])
        ids = [m.id for m in await drain(box)]
        assert sorted(ids) == sorted(f"alert-{n}" for n in (2, 3, 4, 10, 11, 12))
        assert [i for i in ids if i in {f"alert-{n}" for n in (2, 3, 4)}] == ["alert-2", "alert-3", "alert-4"]
        assert box.notes() == {"a": b"old", "b": b"new"}
    async with outbox(tmp_path) as box:
        assert await drain(box) == []
        assert box.notes() == {"a": b"old", "b": b"new"}


async def test_a_file_of_garbage_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"no database at all " * 1000)
    async with outbox(tmp_path) as box:
        assert box.counters.quarantined == 1
        await box.append([message(1)])
        assert [m.id for m in await drain(box)] == ["alert-1"]
    assert len(list(tmp_path.glob("outbox.db.corrupt-*"))) == 1  # noqa: ASYNC240


async def test_a_file_that_becomes_corrupt_under_way_is_replaced_and_nothing_new_is_lost(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(n) for n in range(20)])
        path = tmp_path / "outbox.db"
        await box._database.tidy(checkpoint=True)
        data = bytearray(path.read_bytes())
        data[100:] = b"\xa5" * (len(data) - 100)
        path.write_bytes(data)
        box._database._connection.execute("PRAGMA shrink_memory")  # else it would not look at the file
        await box.append([message(20)], notes={"n": b"1"})
        await recovered(box)
        await box.append([message(21)])
        assert box.counters.quarantined == 1
        assert [m.id for m in await drain(box)] == [f"alert-{n}" for n in range(22)]
    async with outbox(tmp_path) as box:
        assert box.notes() == {"n": b"1"}


@pytest.mark.parametrize("how", ["removed", "replaced", "folder"])
async def test_a_file_that_somebody_removes_under_way_is_begun_anew_and_nothing_known_is_lost(
    tmp_path: Path, how: str
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    async with outbox(state) as box:
        await box.append([message(n) for n in range(20)], notes={"n": b"1"})
        if how == "folder":
            shutil.rmtree(state)
        else:
            (state / "outbox.db").unlink()
        if how == "replaced":
            (state / "outbox.db").write_bytes(b"")
        await box.append([message(20)])
        assert box.failing
        await recovered(box)
        await box.append([message(21)])
    async with outbox(state) as box:
        assert [m.id for m in await drain(box)] == [f"alert-{n}" for n in range(22)]
        assert box.notes() == {"n": b"1"}


async def test_a_damaged_message_is_dropped_and_counted_and_the_others_go_out(tmp_path: Path) -> None:
    async with outbox(tmp_path) as box:
        await box.append([message(n) for n in range(5)])
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as file, file:
        file.execute("UPDATE log SET body = x'7b7d' WHERE id = 'alert-2'")
    async with outbox(tmp_path) as box:
        assert [m.id for m in await drain(box, limit=2)] == ["alert-0", "alert-1", "alert-3", "alert-4"]
        assert box.counters.dropped["unknown", "damaged"] == 1


async def test_an_older_schema_is_brought_up_and_a_newer_one_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    first, second = "CREATE TABLE t (a)", "ALTER TABLE t ADD COLUMN b DEFAULT 7"
    async with Database(path, (first,)) as database:
        await database.run(lambda c: c.execute("INSERT INTO t VALUES (1)"))
    async with Database(path, (first, second)) as database:
        assert await database.run(lambda c: c.execute("SELECT * FROM t").fetchall()) == [(1, 7)]
    async with Database(path, (first,)) as database:
        assert len(database.quarantined) == 1
        assert await database.run(lambda c: c.execute("SELECT * FROM t").fetchall()) == []


async def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    async with Database(tmp_path / "x.db", ("CREATE TABLE t (a UNIQUE)",)) as database:

        def twice(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("INSERT INTO t VALUES (1)")

        with pytest.raises(DatabaseError, match="UNIQUE"):
            await database.run(twice)
        assert await database.run(lambda c: c.execute("SELECT * FROM t").fetchall()) == []


async def test_rows_can_be_deleted_on_a_full_disk(tmp_path: Path) -> None:
    async with Database(tmp_path / "x.db", ("CREATE TABLE t (a)",)) as database:
        assert (tmp_path / "x.db.reserve").stat().st_size == 512 * 1024

        def fill(connection: sqlite3.Connection) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error

        with pytest.raises(DatabaseError, match="full"):
            await database.run(fill)
        assert not (tmp_path / "x.db.reserve").exists()
        await database.tidy()
        assert (tmp_path / "x.db.reserve").exists()
