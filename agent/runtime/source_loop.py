"""Reading every source for as long as it lasts, and the clock beside them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.ops.systemd import Progress
from agent.runtime.host_clock import TOLERANCE, HostClock
from sensors.batch import Batch, Naming, tick
from sensors.source import Positioned, Source, SourceError
from sensors.transport.backoff import Backoff

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SourceLoop:
    """Hands each batch of each source, named and with the steps of the host clock in it, to `take`.

    A source that fails is closed, and opened again after a jittered pause; the others do not notice. Where nothing
    is read, a batch without rows moves time on, unless a source keeps a time of its own (simulated,
    recorded).

    Attributes:
        sources: by name.
        take: what is done with a batch; the next is read when it returns.
        tick_seconds: how often the clock moves on; 0 = never.
        opened: called when a source is open, before it is read.
        came: called with each batch before it is taken.
        ended: called when there is no more to come from a source.
        replayed: sources that are read again from a position. Until each has handed over something, or for
            `patience_seconds`, the clock stands: what they have may be older.
    """

    sources: Mapping[str, Source]
    take: Callable[[Batch], Awaitable[None]]
    tick_seconds: float = 1.0
    progress: Progress = field(default_factory=lambda: Progress(30.0))
    clock: HostClock = field(default_factory=HostClock)
    opened: Callable[[str], Awaitable[None]] | None = None
    came: Callable[[Batch], None] | None = None
    ended: Callable[[str], None] | None = None
    replayed: set[str] = field(default_factory=set)
    patience_seconds: float = 10.0

    async def run(self) -> None:
        """Until every source has ended."""
        async with asyncio.TaskGroup() as clock:
            ticking = clock.create_task(self._tick())
            async with asyncio.TaskGroup() as sources:
                for name, source in self.sources.items():
                    sources.create_task(self._read(name, source))
            ticking.cancel()

    async def _read(self, name: str, source: Source) -> None:
        backoff = Backoff(first=0.2)
        own, named = source.keeps_time, Naming(name)
        rows = 0
        while True:
            opened = time.monotonic()
            try:
                async with source:
                    log.info("source %s: open", name)
                    if self.opened is not None:
                        await self.opened(name)
                    async for batch in source:
                        self.progress.beat(name)
                        self.replayed.discard(name)
                        rows += len(batch)
                        step = batch.clock_step if own else self._step(batch)
                        batch = dataclasses.replace(named(batch), clock_step=step)
                        if self.came is not None:
                            self.came(batch)
                        await self.take(batch)
                        self.progress.done(name)  # a silent sensor is no task that hangs
                self._end(name, source, rows)
                return
            except SourceError as error:
                source.counters.last_error = str(error)
                log.warning("source %s: %s; trying again", name, error)
            finally:
                self.progress.done(name)  # a wait of its own
            await asyncio.sleep(backoff.next(time.monotonic() - opened))
            source.counters.reopened += 1

    def _end(self, name: str, source: Source, rows: int) -> None:
        """Say what came of a source, and aloud if that is less than it should be."""
        faults = source.counters.faults()
        old = not rows and name in self.replayed
        level = logging.WARNING if faults or not rows else logging.INFO
        summary = [
            "nothing new; to begin anew remove the state directory, or use agent replay"
            if old
            else f"{rows} readings"
        ]
        log.log(level, "source %s: ended; %s", name, "; ".join([*summary, faults] if faults else summary))
        if self.ended is not None:
            self.ended(name)

    async def _tick(self) -> None:
        if not self.tick_seconds or any(source.keeps_time for source in self.sources.values()):
            return
        started = time.monotonic()
        while True:
            await asyncio.sleep(self.tick_seconds)
            self.progress.beat("clock")
            if self.replayed and time.monotonic() - started < self.patience_seconds:
                continue
            await self.take(dataclasses.replace(tick(self.clock.wall()), clock_step=noted_step(self.clock)))

    def _step(self, batch: Batch) -> int:
        """The clock's step before the batch; one read before the clock was set back leaves it to the next."""
        return 0 if batch.read_at > self.clock.wall() + TOLERANCE else noted_step(self.clock)


def noted_step(clock: HostClock) -> int:
    """By how much the host clock was set since the last call, ns; a step is logged."""
    steps = clock.steps
    _, step = clock.read()
    if clock.steps > steps:
        log.warning("the host clock was set by %+.3f s", step / 1e9)
    return step


def positions(sources: Mapping[str, Source]) -> dict[str, dict[str, Any]]:
    """Where the sources stand that can be read again; exact between two batches."""
    return {name: dict(source.position()) for name, source in sources.items() if isinstance(source, Positioned)}
