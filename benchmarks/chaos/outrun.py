"""A source faster than its sink: rows leave the outbox's memory for the disk while the sink reads them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from agent.alerts.alert import Kind, Message
from agent.outbox import Outbox
from agent.outbox.bundle import size_of
from agent.outbox.delivery import Delivery
from agent.outbox.log import TAIL_BYTES, TAIL_MESSAGES
from agent.sinks import Sink
from benchmarks.chaos.delivery import ALERT, Load, alert
from benchmarks.chaos.tally import Tally

WRITERS = 3  # so that a write is under way nearly always


@dataclass
class AtTheEdge(Sink):
    """A receiver that takes messages only while it is so far behind that they are about to leave memory."""

    box: Outbox
    edge: int
    random: random.Random
    arrived: list[str] = field(default_factory=list)
    hurry: bool = False
    kinds: frozenset[Kind] = ALERT

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def send(self, messages: Sequence[Message]) -> None:
        wanted = self.edge + self.random.randrange(-500, 3000)  # what is not on disk yet is in memory, too
        for _ in range(100):
            if self.hurry or not messages or self.box.lag("slow") > wanted:
                break
            await asyncio.sleep(0.0005)
        self.arrived += [message.id for message in messages]


async def outrun(directory: Path, count: int) -> Tally:
    """`count` alerts; the sink stays where the rows in memory begin, now a little before and now behind."""
    edge = min(TAIL_MESSAGES, TAIL_BYTES // size_of(alert(10_000)))
    chance, stop = random.Random(5), asyncio.Event()
    async with Outbox(directory / "outbox.db", {"slow": ALERT}) as box:
        load, sink = Load(box, 0.0), AtTheEdge(box, edge, chance)
        delivery = Delivery(box, "slow", sink, drain_seconds=60.0)
        farthest = 0

        async def write() -> None:
            nonlocal farthest
            while load.number < count:
                behind = box.lag("slow")
                farthest = max(farthest, behind)
                if behind > edge + 5000:
                    await asyncio.sleep(0.0005)
                else:
                    burst = 3000 if behind < edge else chance.choice((1, 50, 700))
                    await load.add(min(burst, count - load.number))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(delivery.run(stop))
            async with asyncio.TaskGroup() as writers:
                for _ in range(WRITERS):
                    writers.create_task(write())
            ended, sink.hurry = time.monotonic(), True
            stop.set()  # the rest is drained
        seconds = time.monotonic() - ended
    numbers = [int(name.removeprefix("id-")) for name in sink.arrived]
    note = f"at most {farthest} behind; " + ("in order" if numbers == sorted(numbers) else "OUT OF ORDER")
    return Tally.of("source outruns the sink", load.safe, sink.arrived, seconds, note=note)
