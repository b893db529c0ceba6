"""The running agent: what it must not take for silence, and when it must not say that all is safe."""

import asyncio

import numpy as np

from agent import checkpoint
from agent.compose import compose
from agent.runtime.app import App
from agent.runtime.host_clock import HostClock
from agent.settings import Settings
from sensors.batch import Batch

SECOND = 10**9
START = 1_700_000_000 * SECOND


def parts(state):
    return compose(
        Settings(
            agent={"site": "s", "name": "a", "state": state, "tick": "10ms"},
            rule={"hot": {"when": "x >= 90"}, "gone": {"type": "deadman", "after": "10s"}},
            sink={"file": {"type": "lines", "path": str(state / "alerts.jsonl")}},
        )
    )


def reading(value, now):
    return Batch(("m",), np.zeros(1, np.int32), np.array([now]), {"x": np.array([float(value)])}, now)


class Seen:
    """Looks on until the agent has told itself how its disk is."""

    def __init__(self):
        self.alerts, self.told = [], asyncio.Event()

    def update(self, engine, batch, decisions):
        self.alerts += [alert.rule for alert in decisions.alerts]
        if batch.source == "self":
            self.told.set()


async def test_what_the_agent_tells_of_itself_does_not_make_the_time_it_was_down_a_silence(tmp_path):
    wall = START
    first = App(parts(tmp_path))
    async with first.outbox:
        await first.decide(reading(50, wall))
        await first._save()
    wall += 3600 * SECOND
    app = App(parts(tmp_path), clock=HostClock(wall=lambda: wall))
    seen = Seen()
    app.lookers.append(seen)
    async with app.outbox:
        app._resume()
        watching = asyncio.create_task(app._watch_self())  # before any source or tick has read the clock
        async with asyncio.timeout(5):
            await seen.told.wait()
        watching.cancel()
    assert seen.alerts == []
    assert app.engine.now < START + 10 * SECOND


class FillingDisk:
    """An outbox whose disk is full when the first alert gets there."""

    def __init__(self):
        self.failing, self.write = "", asyncio.Event()

    async def append(self, messages, notes=None):
        await self.write.wait()
        self.failing = "disk full"


async def test_no_check_point_covers_an_alert_that_the_disk_refused_meanwhile(tmp_path):
    app = App(parts(tmp_path))
    app.outbox = FillingDisk()
    deciding = asyncio.create_task(app.decide(reading(95, START)))
    await asyncio.sleep(0)  # the alert is on its way to the disk
    saving = asyncio.create_task(app._save())
    await asyncio.sleep(0)
    assert not deciding.done()
    app.outbox.write.set()
    async with asyncio.timeout(5):
        await asyncio.gather(saving, deciding)
    assert checkpoint.load(tmp_path / "engine.checkpoint") is None
