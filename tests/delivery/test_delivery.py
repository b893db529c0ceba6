"""The loop between outbox and sink, with a receiver that misbehaves."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.outbox import Outbox
from agent.outbox.delivery import Delivery
from sensors.transport.backoff import Backoff
from tests.delivery.fakes import ALL, Receiver, message


@asynccontextmanager
async def delivering(box: Outbox, receiver: Receiver, **options: object) -> AsyncIterator[Delivery]:
    stop = asyncio.Event()
    quick = Backoff(first=0.01, longest=0.02)
    delivery = Delivery(box, "a", receiver, backoff=quick, **options)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(delivery.run(stop))
        try:
            yield delivery
        finally:
            stop.set()


async def test_messages_reach_the_sink_in_order(tmp_path: Path) -> None:
    receiver = Receiver()
    async with Outbox(tmp_path / "o.db", {"a": ALL}) as box, delivering(box, receiver):
        for n in range(50):
            await box.append([message(n)])
        await receiver.until(50)
        assert receiver.ids() == [f"alert-{n}" for n in range(50)]
    assert receiver.closed == receiver.opened == 1


async def test_a_sink_that_is_away_gets_everything_when_it_returns(tmp_path: Path) -> None:
    receiver = Receiver(away=True)
    async with Outbox(tmp_path / "o.db", {"a": ALL}) as box, delivering(box, receiver) as delivery:
        await box.append([message(n) for n in range(20)])
        await receiver.tried.wait()
        assert not delivery.connected
        receiver.away = False
        await receiver.until(20)
        assert delivery.connected
    assert receiver.ids() == [f"alert-{n}" for n in range(20)]


async def test_a_cut_in_the_middle_repeats_with_the_same_ids_and_loses_nothing(tmp_path: Path) -> None:
    receiver = Receiver(fail_sends=3)
    async with Outbox(tmp_path / "o.db", {"a": ALL}) as box, delivering(box, receiver):
        await box.append([message(n) for n in range(20)])
        await receiver.until(20 + 3 * 10)
    assert set(receiver.ids()) == {f"alert-{n}" for n in range(20)}
    assert receiver.ids()[-20:] == [f"alert-{n}" for n in range(20)]
    assert receiver.closed == receiver.opened == 4


async def test_refused_messages_do_not_stop_the_others(tmp_path: Path) -> None:
    receiver = Receiver(refuse=frozenset({"alert-3", "alert-5"}))
    async with Outbox(tmp_path / "o.db", {"a": ALL}) as box, delivering(box, receiver):
        await box.append([message(n) for n in range(10)])
        await receiver.until(8)
        assert box.counters.dead == 2
        await box.append([message(10)])
        assert {dead.message.id for dead in await box.dead_letters()} == {"alert-3", "alert-5"}
    assert "alert-3" not in receiver.ids()


async def test_stop_sends_what_is_left(tmp_path: Path) -> None:
    receiver = Receiver()
    async with Outbox(tmp_path / "o.db", {"a": ALL}) as box:
        async with delivering(box, receiver):
            await receiver.tried.wait()
            await box.append([message(n) for n in range(1200)])  # three batches
        assert len(receiver.got) == 1200


async def test_stop_with_a_hanging_receiver_ends_in_time_and_keeps_everything(tmp_path: Path) -> None:
    receiver = Receiver(hang=True)
    async with Outbox(tmp_path / "o.db", {"a": ALL}) as box:
        async with delivering(box, receiver, drain_seconds=0.1):
            await receiver.tried.wait()
            await box.append([message(n) for n in range(10)])
            began = time.monotonic()
        assert time.monotonic() - began < 3
        assert receiver.closed == 1
        assert len((await box.next("a")).messages) == 10


async def test_a_backlog_is_sent_at_the_given_rate_and_new_alerts_overtake_it(tmp_path: Path) -> None:
    async with Outbox(tmp_path / "o.db", {"a": ALL}, replay_after_seconds=0.0) as box:
        await box.append([message(n, machine="old") for n in range(300)])
        receiver = Receiver()
        began = time.monotonic()
        async with delivering(box, receiver, replay_per_second=500.0):
            await receiver.until(1)
            await box.append([message(1000, machine="new")])
            await receiver.until(301)
        assert time.monotonic() - began > 0.3
        assert receiver.ids().index("alert-1000") < 200


def test_back_off_grows_to_its_bound_and_is_reset_only_by_a_stable_connection() -> None:
    backoff = Backoff(random=random.Random(1))
    assert backoff.next() <= 1.0
    waits = [backoff.next(was_up_seconds=1.0) for _ in range(200)]
    assert max(waits) <= 30.0
    assert max(waits[10:]) > 25.0
    assert backoff.next(was_up_seconds=61.0) <= 1.0


def test_a_thousand_agents_do_not_return_together() -> None:
    agents = [Backoff(random=random.Random(seed)) for seed in range(1000)]
    moments = [sum(agent.next() for _ in range(6)) for agent in agents]
    busiest = max(sum(1 for m in moments if at <= m < at + 1) for at in range(64))
    assert max(moments) - min(moments) > 30
    assert busiest < 100
