"""When the state is saved: never before what it covers is safe, never twice at once, and not lost to a cancel."""

import asyncio
import threading

import numpy as np
import pytest

from agent.compose import compose
from agent.runtime.checkpointer import Checkpointer, CheckpointFile
from agent.runtime.incident_journal import IncidentJournal
from agent.runtime.publisher import Publisher
from agent.settings import Settings
from sensors.batch import Batch

SECOND = 10**9
START = 1_700_000_000 * SECOND


def reading(value, now=START):
    return Batch(("m",), np.zeros(1, np.int32), np.array([now]), {"x": np.array([float(value)])}, now)


class MemoryOutbox:
    """An outbox that appends when it is let; its disk may fail."""

    def __init__(self):
        self.failing, self.write, self.fails = "", asyncio.Event(), ""
        self.kept = {}
        self.write.set()

    async def append(self, messages, notes=None):
        await self.write.wait()
        self.failing = self.fails
        for name, note in (notes or {}).items():
            if note is None:
                self.kept.pop(name, None)
            else:
                self.kept[name] = note

    def notes(self):
        return dict(self.kept)


class MemoryStore:
    """Keeps the state last written; writes when it is let."""

    def __init__(self):
        self.events, self.write, self.error = [], threading.Event(), None
        self.write.set()
        self.state = None

    def begin(self, engine, fingerprints, positions):
        self.events.append("begin")
        sequence = engine.desk.sequence

        def write():
            assert self.write.wait(5)
            if self.error:
                raise self.error
            self.state = sequence
            self.events.append("written")

        return lambda: asyncio.to_thread(write)

    def load(self):
        return None

    def quarantine(self, reason):
        self.events.append(reason)


class Offsets:
    """A source with a position."""

    def __init__(self, events):
        self.at, self.events = {}, events

    def position(self):
        return self.at

    def seek(self, position):
        self.at = position

    async def commit(self, position):
        self.events.append(("commit", position))


class Agent:
    """What of an app saves and resumes."""

    def __init__(self, store=None):
        self.parts = compose(Settings(agent={"site": "s", "name": "a"}, rule={"hot": {"when": "x >= 90"}}))
        self.store, self.outbox = store or MemoryStore(), MemoryOutbox()
        if store is None:
            self.parts.sources["line"] = Offsets(self.store.events)
        self.engine = self.parts.engine()
        journal = IncidentJournal(self.parts.fingerprints)
        self.publisher = Publisher(self.outbox, self.parts.identity, journal, self.parts.sources)
        self.checkpointer = Checkpointer(self.parts, self.engine, self.publisher, self.outbox, journal, self.store)

    async def decide(self, batch):
        decisions = self.engine.process(batch)
        await self.publisher.publish(self.publisher.messages(decisions, self.engine), decisions, batch.source)


async def started(task):
    task = asyncio.create_task(task)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_the_state_is_written_only_after_the_alerts_that_it_covers_are_safe():
    agent = Agent()
    agent.outbox.write.clear()
    deciding = await started(agent.decide(reading(95)))
    saving = await started(agent.checkpointer.save())
    assert agent.store.events == ["begin"]
    agent.outbox.write.set()
    await asyncio.gather(deciding, saving)
    assert agent.store.events == ["begin", "written"]
    assert agent.store.state == 1


async def test_no_checkpoint_covers_an_alert_that_the_disk_refused_meanwhile(caplog):
    agent = Agent()
    agent.outbox.write.clear()
    agent.outbox.fails = "disk full"
    deciding = await started(agent.decide(reading(95)))
    saving = await started(agent.checkpointer.save())
    agent.outbox.write.set()
    await asyncio.gather(deciding, saving)
    await agent.checkpointer.save()
    assert agent.store.events == ["begin"]
    assert "not saved while alerts are in memory only" in caplog.text
    agent.outbox.failing = ""
    await agent.checkpointer.save()
    assert agent.store.state == 1


async def test_one_save_at_a_time_and_a_cancelled_one_still_writes():
    agent = Agent()
    agent.store.write.clear()
    first = await started(agent.checkpointer.save())
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = await started(agent.checkpointer.save())
    assert agent.store.events == ["begin"]
    agent.store.write.set()
    await second
    assert agent.store.events == ["begin", "written", "begin", "written"]


async def test_a_source_hears_that_its_position_is_safe_once_it_is():
    agent = Agent()
    agent.parts.sources["line"].at = {"0": 7}
    await agent.checkpointer.save()
    assert agent.store.events == ["begin", "written", ("commit", {"0": 7})]


async def test_a_source_is_in_the_checkpoint_before_it_is_read_for_the_first_time():
    agent = Agent()
    agent.parts.sources["line"].at = {"0": 7}
    for _ in range(2):
        await agent.checkpointer.opened("line")
    assert agent.store.events == ["begin", "written", ("commit", {"0": 7})]


async def test_what_could_not_be_written_stays_in_the_journal(caplog):
    agent = Agent()
    await agent.decide(reading(95))
    await agent.decide(reading(10, START + SECOND))
    (name,) = (name for name in agent.outbox.kept if name != "mark")
    agent.store.error = OSError("no space")
    await agent.checkpointer.save()
    assert agent.checkpointer.failing == "checkpoint: no space"
    assert name in agent.outbox.kept
    agent.store.error = None
    await agent.checkpointer.save()
    assert agent.checkpointer.failing == ""
    assert name not in agent.outbox.kept


async def test_asked_to_it_saves_before_its_time():
    agent = Agent()
    running = asyncio.create_task(agent.checkpointer.run(every_seconds=3600))
    agent.checkpointer.save_soon()
    async with asyncio.timeout(5):
        while "written" not in agent.store.events:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    running.cancel()


@pytest.mark.parametrize("damage", ["engine", "prints", "positions"])
@pytest.mark.parametrize("value", [None, 3, "text", [], [1, 2], {}, {"x": {}}])
async def test_a_state_with_nonsense_in_it_is_put_aside_or_does_without(tmp_path, damage, value):
    from agent import checkpoint

    file = tmp_path / "engine.checkpoint"
    store = CheckpointFile(file)
    first = Agent(store)
    await first.decide(reading(95))
    await first.checkpointer.save()
    state = checkpoint.load(file)
    checkpoint.save(file, checkpoint.snapshot({**state, damage: value}))
    again = Agent(store)
    engine = again.checkpointer.resume()
    assert engine is again.checkpointer.engine
    assert bool(list(tmp_path.glob("*.corrupt-*"))) == (damage == "engine")
    engine.process(reading(95, START + SECOND))


async def test_a_bug_in_restoring_is_no_damaged_state(tmp_path, monkeypatch):
    store = CheckpointFile(tmp_path / "engine.checkpoint")
    first = Agent(store)
    await first.checkpointer.save()
    again = Agent(store)

    def restore(state, only=None):
        raise AttributeError("a bug")

    monkeypatch.setattr(again.engine, "restore", restore)
    with pytest.raises(AttributeError, match="a bug"):
        again.checkpointer.resume()
    assert not list(tmp_path.glob("*.corrupt-*"))
