"""The running agent: sources -> engine -> outbox -> sinks, started and stopped in order."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agent import checkpoint
from agent.alerts import Message, encode
from agent.clock import HostClock
from agent.compose import Parts
from agent.delivery import Delivery
from agent.engine import Decisions
from agent.outbox import Outbox
from agent.service import Progress
from sensors.batch import Batch, tick
from sensors.source import Positioned, Source, SourceError

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE, STABLE = 0.2, 30.0, 60.0  # seconds; back-off of a source that fails


class Looker(Protocol):
    """Someone who looks on: the live view, a recorder, metrics. Must return at once."""

    def look(self, batch: Batch, decisions: Decisions) -> None: ...


@dataclass(slots=True)
class App:
    """One agent in one process. `await run(stop)` is its whole life.

    Attributes:
        parts: made by `compose`.
        lookers: they see each batch and what was decided on it.
        progress: signs of life for the watchdog.
        ready: called once everything is open (brokers may be away).
    """

    parts: Parts
    lookers: list[Looker] = field(default_factory=list)
    progress: Progress = field(default_factory=lambda: Progress(30.0))
    ready: Callable[[], None] = lambda: None
    clock: HostClock = field(default_factory=HostClock)

    def __post_init__(self) -> None:
        self.engine = self.parts.engine()
        self.deliveries: dict[str, Delivery] = {}
        self._agent = self.parts.settings.agent
        self._appending: set[asyncio.Task[Any]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set or every source has ended; then close in order.

        Raises:
            Exception: whatever is nobody's to handle; systemd restarts, the state resumes from the check-point.
        """
        self._agent.state.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            self.outbox = await stack.enter_async_context(Outbox(self._agent.state / "outbox.db"))
            self._resume()
            await stack.enter_async_context(self._delivering())
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch())
                stopping = tasks.create_task(stop.wait())
                self.ready()
                await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
                watching.cancel()
                stopping.cancel()
            if self._appending:
                await asyncio.wait(self._appending, timeout=5)
            await self._save()

    @asynccontextmanager
    async def _delivering(self) -> AsyncIterator[None]:
        """Deliver to every sink; on leaving, drain for a bounded time."""
        async with asyncio.TaskGroup() as tasks:
            for name, sink in self.parts.sinks.items():
                self.deliveries[name] = Delivery(name, sink, self.outbox, drain_seconds=self._agent.drain.seconds)
                tasks.create_task(self.deliveries[name].run())
            try:
                yield
            finally:
                for delivery in self.deliveries.values():
                    delivery.stop()

    async def _watch(self) -> None:
        """All sources, the clock and the check-point, until every source has ended."""
        async with asyncio.TaskGroup() as tasks:
            clock = tasks.create_task(self._tick())
            saver = tasks.create_task(self._save_now_and_then())
            async with asyncio.TaskGroup() as sources:
                for name, source in self.parts.sources.items():
                    sources.create_task(self._read(name, source))
            clock.cancel()
            saver.cancel()

    async def _read(self, name: str, source: Source) -> None:
        """Read one source for ever: on an error close, wait with jittered back-off, open again."""
        pause = FIRST_PAUSE
        while True:
            opened = time.monotonic()
            try:
                async with source:
                    log.info("source %s: open", name)
                    async for batch in source:
                        self.progress.beat(name)
                        await self.decide(dataclasses.replace(batch, source=name))
                log.info("source %s: ended", name)
                self.progress.done(name)
                return
            except SourceError as error:
                source.counters.last_error = str(error)
                if time.monotonic() - opened > STABLE:
                    pause = FIRST_PAUSE
                log.warning("source %s: %s; trying again in %.1f s", name, error, pause)
            self.progress.done(name)  # a wait of its own
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (jitter)
            source.counters.reopened += 1
            pause = min(2 * pause, LONGEST_PAUSE)

    async def decide(self, batch: Batch) -> None:
        """Decide on one batch; when this returns, its alerts are safe on disk."""
        if not _own_clock(self.parts.sources.get(batch.source)):
            _, step = self.clock.read()
            if step:
                log.warning("the host clock was set by %+.3f s", step / 1e9)
                batch = dataclasses.replace(batch, clock_step=step)
        decisions = self.engine.process(batch)
        messages = self.messages(decisions)
        for looker in self.lookers:
            looker.look(batch, decisions)
        if messages:
            appending = asyncio.ensure_future(self.outbox.append(messages))
            self._appending.add(appending)
            appending.add_done_callback(self._appending.discard)
            await asyncio.shield(appending)  # a cancelled watcher must not lose an alert already raised

    def messages(self, decisions: Decisions) -> list[Message]:
        """What goes out for these decisions, in order."""
        return encode(decisions, self.engine, self.parts.identity, metrics=self._agent.metrics)

    async def _tick(self) -> None:
        """Tell the engine that time passes, also where nothing is read."""
        if any(_own_clock(source) for source in self.parts.sources.values()):
            return
        while True:
            await asyncio.sleep(self._agent.tick.seconds)
            self.progress.beat("clock")
            await self.decide(tick(time.time_ns()))

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._agent.checkpoint_every.seconds)
            await self._save()

    @property
    def _file(self) -> Path:
        return self._agent.state / "engine.checkpoint"

    async def _save(self) -> None:
        """Save the engine's state and where the sources stand, then tell the sources it is safe."""
        sources = {name: source for name, source in self.parts.sources.items() if isinstance(source, Positioned)}
        positions = {name: dict(source.position()) for name, source in sources.items()}
        state = {"engine": self.engine.state(), "prints": self.parts.fingerprints, "positions": positions}
        content = checkpoint.encode(state)
        if self._appending:  # what the state has decided must be safe before the state is
            await asyncio.wait(set(self._appending))
        try:
            await asyncio.to_thread(checkpoint.save, self._file, content)
        except OSError as error:
            log.error("check-point: %s; going on without it", error)
            return
        for name, source in sources.items():
            if positions[name]:
                await source.commit(positions[name])

    def _resume(self) -> None:
        """Go on from the check-point, as far as the configuration is still the same."""
        state = checkpoint.load(self._file)
        if state is None:
            return
        same = {name: state["prints"].get(name) == mark for name, mark in self.parts.fingerprints.items()}
        self.engine.restore(state["engine"], only=same)
        for name in (name for name, fits in same.items() if not fits):
            log.warning("%s is new or changed; it starts without memory", name)
        for name, position in state["positions"].items():
            source = self.parts.sources.get(name)
            if isinstance(source, Positioned) and position:
                source.seek(position)
        log.info("resumed from the check-point in %s", self._file)


def _own_clock(source: object) -> bool:
    """Whether the source brings its own time (simulated, recorded) instead of the host's."""
    return bool(getattr(source, "own_clock", False))
