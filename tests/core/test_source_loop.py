"""The loop that reads a source: every batch gets the clock's steps that lie before it."""

import numpy as np

from agent.runtime.host_clock import HostClock
from agent.runtime.source_loop import SourceLoop
from sensors.batch import Batch
from sensors.source import Counters

SECOND = 10**9
NOW = 1_795_000_000 * SECOND
HOUR = 3600 * SECOND


class Queue:
    """A source that hands over what it read a moment ago; meanwhile the host's clock may be set."""

    keeps_time = False

    def __init__(self, host, steps):
        self.host, self.steps, self.counters = host, steps, Counters()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def __aiter__(self):
        for step in self.steps:
            self.host["wall"] += SECOND
            self.host["monotonic"] += SECOND
            read_at = self.host["wall"]
            self.host["wall"] += step
            yield Batch(("m",), np.zeros(1, np.int32), np.array([read_at]), {"x": np.ones(1)}, read_at)


async def test_a_batch_read_before_the_clock_was_set_back_leaves_the_step_to_the_next():
    host = {"wall": NOW, "monotonic": 0}
    clock = HostClock(lambda: host["wall"], lambda: host["monotonic"])
    steps = []

    async def take(batch):
        steps.append((batch.read_at, batch.clock_step))

    await SourceLoop({"line": Queue(host, [0, -HOUR, 0, 0])}, take, tick_seconds=0, clock=clock).run()
    assert steps == [
        (NOW + SECOND, 0),
        (NOW + 2 * SECOND, 0),
        (NOW + 3 * SECOND - HOUR, -HOUR),
        (NOW + 4 * SECOND - HOUR, 0),
    ]
