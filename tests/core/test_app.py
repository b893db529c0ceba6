"""The running agent: what it must not take for silence, and when it must not say that all is safe."""

import asyncio
import threading

import numpy as np

from agent.runtime.app import App
from agent.runtime.host_clock import HostClock
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch

SECOND = 10**9
START = 1_700_000_000 * SECOND


def pipeline(state):
    return build_pipeline(
        Settings(
            agent={"site": "s", "name": "a", "state": state, "tick": "10ms"},
            rule={"hot": {"when": "x >= 90"}, "gone": {"type": "deadman", "after": "10s"}},
            sink={"file": {"type": "lines", "path": str(state / "alerts.jsonl")}},
        )
    )


def reading(value, now):
    return Batch(("m",), np.zeros(1, np.int32), np.array([now]), {"x": np.array([float(value)])}, now)


class Told:
    """Looks on until the agent has told itself how its disk is."""

    def __init__(self):
        self.alerts, self.told = [], threading.Event()

    def update(self, observation):
        self.alerts += [alert.rule for alert in observation.decisions.alerts]
        if observation.batch.source == "self":
            self.told.set()


async def test_what_the_agent_tells_of_itself_does_not_make_the_time_it_was_down_a_silence(tmp_path):
    wall = START
    first = App(pipeline(tmp_path))
    async with first.outbox:
        await first.decide(reading(50, wall))
        await first.checkpointer.save()
    wall += 3600 * SECOND
    app = App(pipeline(tmp_path), clock=HostClock(wall=lambda: wall))
    seen = Told()
    app.observers.add("told", seen)
    async with app.outbox:
        app.resume()
        monitoring = asyncio.create_task(app.monitor())  # before any source or tick has read the clock
        assert await asyncio.to_thread(seen.told.wait, 5)
        monitoring.cancel()
    assert seen.alerts == []
    assert app.engine.now < START + 10 * SECOND
