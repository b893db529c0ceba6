"""What comes twice: what a power cut sends again is bounded, and what a repeat after a restart means."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.alerts.alert import Message
from agent.outbox import Outbox
from agent.outbox.outbox import SENT_AGAIN
from tests.delivery.fakes import ALL, message


def on_disk(path: Path) -> int:
    """Up to where the sink's confirmations would survive a power cut now."""
    with closing(sqlite3.connect(path)) as file:
        row = file.execute("SELECT position FROM cursors WHERE sink = 'a'").fetchone()
    return row[0] if row else 0


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 500, 1024, 2000, 5000])
async def test_a_power_cut_repeats_a_bounded_number_whenever_it_comes(
    tmp_path: Path, limit: int, late: bool
) -> None:
    clock = {"steady": 0.0}
    count, path = (3000 if limit < 500 else 20_000), tmp_path / "o.db"
    async with Outbox(path, {"a": ALL}, confirm_seconds=1e9, monotonic=lambda: clock["steady"]) as box:
        await box.append([message(n, "raw") for n in range(count)])
        if late:
            clock["steady"] = 60.0
            await box.begin("a")
        sent, worst = 0, 0
        while (batch := await box.next("a", limit)) is not None:
            assert batch.replayed == late
            sent += len(batch.messages)
            if limit >= 500 or sent % 100 < limit:
                worst = max(worst, sent - on_disk(path))
            box.confirm("a", batch)
        assert sent == count
        assert worst <= max(SENT_AGAIN, limit)
        assert box.counters.commits <= 3 + 2 * count // (SENT_AGAIN // 2)


async def test_what_is_sent_ahead_of_a_backlog_waits_for_no_disk(tmp_path: Path) -> None:
    clock = {"steady": 0.0}
    async with Outbox(tmp_path / "o.db", {"a": ALL}, monotonic=lambda: clock["steady"]) as box:
        await box.append([message(0, machine="old")])
        clock["steady"] = 60.0
        await box.begin("a")
        await box.append([message(n) for n in range(1, 5001)])
        commits = box.counters.commits
        async with asyncio.timeout(10):
            while (batch := await box.next("a", 500, 0)) is not None:
                box.confirm("a", batch)
        assert box.counters.confirmed["a"] == 5000
        assert box.counters.commits == commits


async def test_an_old_state_repeated_alone_after_a_restart_is_taken_for_the_newest(tmp_path: Path) -> None:
    """What is held is known, and dropped; of what all sinks have, the ids are forgotten. See promise 3."""
    raised, resolved = message(1, "state", name="x"), message(2, "state", name="x")
    path = tmp_path / "o.db"
    async with Outbox(path, {"a": ALL}) as box:
        await box.append([raised, resolved])
        await box.append([raised])  # no restart: known
        assert await told(box) == [raised, resolved]
        await box.append([raised])  # delivered: known still
        assert await told(box) == []
    async with Outbox(path, {"a": ALL}) as box:
        await box.append([raised])
        assert await told(box) == [raised]


async def test_who_repeats_everything_since_ends_with_the_newest_state(tmp_path: Path) -> None:
    states = [message(n, "state", name="x") for n in range(5)]
    path = tmp_path / "o.db"
    async with Outbox(path, {"a": ALL}) as box:
        await box.append(states)
        batch = await box.next("a", 3)
        assert batch is not None
        box.confirm("a", batch)
    async with Outbox(path, {"a": ALL}) as box:  # 0 to 2 are forgotten, 3 and 4 are held
        for state in states:
            await box.append([state])
        assert (await told(box))[-1] == states[-1]


async def told(box: Outbox) -> list[Message]:
    """What the sink gets now."""
    got: list[Message] = []
    while (batch := await box.next("a")) is not None:
        box.confirm("a", batch)
        got += batch.messages
    return got
