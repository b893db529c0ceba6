"""When the state is saved: never before what it covers is safe, never twice at once, and not lost to a cancel."""

import asyncio
import threading

import numpy as np
import pytest

from agent.runtime.checkpointer import Checkpointer
from agent.runtime.incident_journal import IncidentJournal
from agent.runtime.publisher import Publisher
from agent.runtime.state_store import StateDirectory
from agent.runtime.write_budget import WriteBudget
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch
from sensors.source import Positioned
from tests.storage import single_file
from tests.storage.rewrite import rewrite

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
        self.events, self.write, self.error, self.size = [], threading.Event(), None, 100
        self.write.set()
        self.state = None

    def begin(self, engine, fingerprints, positions):
        self.events.append("begin")
        return MemorySaving(self, engine.incidents.sequence)

    def load(self):
        return None

    def quarantine(self, reason):
        self.events.append(reason)


class MemorySaving:
    """One save of it."""

    def __init__(self, store, sequence):
        self.store, self.sequence = store, sequence
        self.written = store.size

    async def write(self):
        return await asyncio.to_thread(self._write)

    def _write(self):
        assert self.store.write.wait(5)
        if self.store.error:
            raise self.store.error
        self.store.state = self.sequence
        self.store.events.append("written")
        return self.store.size

    def abandon(self):
        self.store.events.append("abandoned")


class Offsets(Positioned):
    """A source with a position."""

    def __init__(self, events):
        self.at, self.events = {}, events

    def position(self):
        return self.at

    def seek(self, position):
        self.at = position

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def __anext__(self):
        raise StopAsyncIteration

    async def commit(self, position):
        self.events.append(("commit", position))


class Agent:
    """What of an app saves and resumes."""

    def __init__(self, store=None):
        self.pipeline = build_pipeline(
            Settings(agent={"site": "s", "name": "a"}, rule={"hot": {"when": "x >= 90"}})
        )
        self.store, self.outbox = store or MemoryStore(), MemoryOutbox()
        if store is None:
            self.pipeline.sources["line"] = Offsets(self.store.events)
        self.engine = self.pipeline.engine()
        journal = IncidentJournal(self.pipeline.fingerprints)
        self.publisher = Publisher(self.outbox, self.pipeline.identity, journal, self.pipeline.sources)
        self.checkpointer = Checkpointer(
            self.pipeline, self.engine, self.publisher, self.outbox, journal, self.store
        )

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
    assert agent.store.events == ["begin", "abandoned"]
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
    agent.pipeline.sources["line"].at = {"0": 7}
    await agent.checkpointer.save()
    assert agent.store.events == ["begin", "written", ("commit", {"0": 7})]


async def test_a_source_is_in_the_checkpoint_before_it_is_read_for_the_first_time():
    agent = Agent()
    agent.pipeline.sources["line"].at = {"0": 7}
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


async def cancelled(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_save_that_is_cancelled_while_alerts_are_on_their_way_is_abandoned():
    agent = Agent()
    agent.outbox.write.clear()
    deciding = await started(agent.decide(reading(95)))
    await cancelled(await started(agent.checkpointer.save()))
    assert agent.store.events == ["begin", "abandoned"]
    agent.outbox.write.set()
    await deciding
    await agent.checkpointer.save()
    assert agent.store.state == 1


async def test_a_large_save_makes_the_next_wait_and_a_command_less_so():
    agent = Agent()
    clock = [0.0]
    budget = agent.checkpointer._budget = WriteBudget(86_400, clock=lambda: clock[0])  # a byte a second
    agent.store.size = 5000
    await agent.checkpointer.save()
    assert budget.wait() == 5000
    assert budget.wait(urgent=True) == 1400
    for clock[0] in (0.0, 1400.0):  # until then a command must wait, and from then on only what is no command
        running = await started(agent.checkpointer.run(every_seconds=0.001))
        if clock[0] == 0.0:
            agent.checkpointer.save_soon()
            await asyncio.sleep(0.02)
            assert agent.store.events == ["begin", "written"]
        else:
            async with asyncio.timeout(5):
                while agent.store.events.count("written") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            assert agent.store.events.count("written") == 2
        await cancelled(running)
    assert budget.wait() == 3600 + 5000


async def test_what_a_save_wrote_that_failed_or_was_cancelled_counts_too():
    agent = Agent()
    budget = agent.checkpointer._budget = WriteBudget(86_400, clock=lambda: 0.0)  # a byte a second
    agent.store.size, agent.store.error = 5000, OSError("no space")
    await agent.checkpointer.save()
    assert budget.wait() == 5000
    agent.store.error = None
    agent.store.write.clear()
    await cancelled(await started(agent.checkpointer.save()))
    agent.store.write.set()
    await agent.checkpointer.save()
    assert budget.wait() == 3 * 5000
    assert agent.checkpointer.stats() == {"saved": 1, "failed": 1, "bytes": 15_000}


async def test_a_debt_is_paid_off_by_time_and_no_credit_is_kept():
    clock = [0.0]
    budget = WriteBudget(86_400, clock=lambda: clock[0])
    clock[0] = 1000.0
    assert budget.wait() == 0
    budget.spend(10)
    budget.spend(20)
    assert budget.wait() == 30
    clock[0] = 1029.0
    assert budget.wait() == 1
    clock[0] = 5000.0
    assert budget.wait() == 0


DAMAGE = pytest.mark.parametrize("damage", ["engine", "prints", "positions"])
NONSENSE = pytest.mark.parametrize(
    "value", [None, 3, "text", [], [1, 2], {}, {"x": {}}, {"desk": np.zeros(3)}, np.zeros(3), np.array(5)], ids=repr
)


async def saved(folder):
    first = Agent(StateDirectory(folder))
    await first.decide(reading(95))
    await first.checkpointer.save()
    return first


def resumes_and_goes_on(folder, quarantined):
    again = Agent(StateDirectory(folder))
    engine = again.checkpointer.resume()
    assert engine is again.checkpointer.engine
    assert bool(list(folder.glob("*.corrupt-*"))) == quarantined
    engine.process(reading(95, START + SECOND))


@DAMAGE
@NONSENSE
async def test_a_state_with_nonsense_in_it_is_quarantined_or_does_without(tmp_path, damage, value):
    await saved(tmp_path)
    rewrite(tmp_path / "checkpoint", lambda document: {**document, damage: value})
    usable = isinstance(value, dict) and damage != "engine"
    resumes_and_goes_on(tmp_path, not usable)


@pytest.mark.parametrize("value", [None, 3, "text", [], [1, 2]])
async def test_a_state_that_is_none_is_quarantined(tmp_path, value):
    await saved(tmp_path)
    rewrite(tmp_path / "checkpoint", lambda document: value)
    resumes_and_goes_on(tmp_path, True)


@DAMAGE
@NONSENSE
async def test_a_state_of_the_first_format_with_nonsense_in_it_is_quarantined_or_does_without(
    tmp_path, damage, value
):
    agent = Agent()
    await agent.decide(reading(95))
    state = {"engine": agent.engine.snapshot(), "prints": agent.pipeline.fingerprints, "positions": {}}
    single_file.save(tmp_path / "engine.checkpoint", {**state, damage: value})
    usable = isinstance(value, dict) and damage != "engine"
    resumes_and_goes_on(tmp_path, not usable)


@pytest.mark.parametrize(
    ("part", "state"),
    [
        (
            'names ["machine"]',
            {"names": np.frombuffer(b"[]", np.uint8), "free": np.zeros(0, np.int64), "refused": 0},
        ),
        (
            'names ["machine"]',
            {"names": np.frombuffer(b"{", np.uint8), "free": np.zeros(0, np.int64), "refused": 0},
        ),
        (
            'names ["machine"]',
            {"names": np.frombuffer(b'[["m"],["m"]]', np.uint8), "free": np.zeros(0, np.int64), "refused": 0},
        ),
        ('names ["machine"]', {"names": np.frombuffer(b"[" * 50_000, np.uint8)}),
        ('names ["machine"]', {"names": np.frombuffer(b"[" + b'[["m","n"]],' * 9 + b"[0]]", np.uint8)}),
        ('names ["machine"]', 3),
        ('names ["machine"]', {"names": ["m"]}),
        ('names ["machine"]', np.zeros((3, 3))),
        ('seen ["machine"]', np.zeros((3, 3))),
        ('seen ["machine"]', {"seen": np.zeros(9)}),
    ],
)
async def test_key_tables_that_say_nonsense_are_quarantined(tmp_path, part, state):
    await saved(tmp_path)
    rewrite(tmp_path / "checkpoint", parts={part: state})
    resumes_and_goes_on(tmp_path, True)


async def test_a_part_with_a_series_too_many_is_named_and_starts_without_memory(tmp_path, caplog):
    await saved(tmp_path)
    rewrite(tmp_path / "checkpoint", parts={"rule.hot": {}})
    resumes_and_goes_on(tmp_path, False)
    assert "hot: what was saved of it does not fit" in caplog.text


@pytest.mark.parametrize("value", [None, 3, "text", [], [1, 2], {"x": {}}, {"life": []}, np.zeros((3, 3))])
async def test_a_part_whose_state_is_of_something_else_is_named_and_starts_without_memory(tmp_path, caplog, value):
    await saved(tmp_path)
    rewrite(tmp_path / "checkpoint", parts={"rule.hot": value})
    resumes_and_goes_on(tmp_path, False)
    assert "hot: what was saved of it does not fit" in caplog.text


async def test_a_part_that_the_configuration_does_not_know_is_named(tmp_path, caplog):
    await saved(tmp_path)
    rewrite(tmp_path / "checkpoint", parts={"rule.gone": {}})
    resumes_and_goes_on(tmp_path, False)
    assert "gone: it is in the checkpoint, not in the configuration" in caplog.text


async def test_a_state_of_the_first_format_is_gone_on_from_and_then_replaced(tmp_path):
    agent = Agent()
    await agent.decide(reading(95))
    state = {"engine": agent.engine.snapshot(), "prints": agent.pipeline.fingerprints, "positions": {}}
    single_file.save(tmp_path / "engine.checkpoint", state)
    for _ in range(2):  # the first is killed before it saves
        again = Agent(StateDirectory(tmp_path))
        np.testing.assert_equal(again.checkpointer.resume().snapshot(), agent.engine.snapshot())
    await again.checkpointer.save()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    last = Agent(StateDirectory(tmp_path))
    assert last.checkpointer.resume().rules["hot"].life.firing().tolist() == [0]


async def test_a_bug_in_restoring_is_no_damaged_state(tmp_path, monkeypatch):
    await saved(tmp_path)
    again = Agent(StateDirectory(tmp_path))

    def resume(*_):
        raise AttributeError("a bug")

    monkeypatch.setattr(again.engine, "resume", resume)
    with pytest.raises(AttributeError, match="a bug"):
        again.checkpointer.resume()
    assert not list(tmp_path.glob("*.corrupt-*"))
