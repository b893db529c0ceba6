"""The running agent: sources -> engine -> outbox -> sinks, started and stopped in order."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from agent.alerts.commands import COMMANDS
from agent.ops import health
from agent.ops.counters import Stats, losses
from agent.ops.memory import collect_young
from agent.ops.observers import Observation, Observers
from agent.ops.systemd import Progress
from agent.outbox import Outbox
from agent.outbox.delivery import Delivery
from agent.runtime.checkpointer import Checkpointer
from agent.runtime.data_watch import DataWatch
from agent.runtime.host_clock import HostClock
from agent.runtime.incident_journal import IncidentJournal
from agent.runtime.publisher import Publisher
from agent.runtime.self_monitor import SelfMonitor
from agent.runtime.source_loop import SourceLoop, noted_step
from agent.runtime.state_store import StateDirectory
from agent.settings.build import Pipeline, command_sources
from sensors.batch import Batch
from sensors.source import Source

MOST_SHOWN = 5
"""Counters of what was lost that the live view shows: the largest."""

log = logging.getLogger(__name__)


@dataclass
class App:
    """One agent in one process. `await run(stop)` is its whole life.

    Attributes:
        pipeline: made by `build_pipeline`.
        progress: signs of life for the watchdog.
        ready: called once everything is open (brokers may be away).
        observers: they see each batch and what was decided on it.
    """

    pipeline: Pipeline
    progress: Progress = field(default_factory=lambda: Progress(30.0))
    ready: Callable[[], None] = lambda: None
    clock: HostClock = field(default_factory=HostClock)
    observers: Observers = field(default_factory=Observers)

    def __post_init__(self) -> None:
        pipeline, self._agent = self.pipeline, self.pipeline.settings.agent
        self.engine = pipeline.engine()
        self.outbox = _outbox(pipeline)
        self.deliveries: dict[str, Delivery] = {}
        self._commands: dict[str, Source] = {}
        journal = IncidentJournal(pipeline.fingerprints)
        self.publisher = Publisher(self.outbox, pipeline.identity, journal, pipeline.sources, self._agent.metrics)
        store, budget = StateDirectory(self._agent.state), self._agent.checkpoint_bytes_per_day
        self.checkpointer = Checkpointer(pipeline, self.engine, self.publisher, self.outbox, journal, store, budget)
        self._own_time = any(source.keeps_time for source in pipeline.sources.values())
        self._data_watch = DataWatch(pipeline, self.engine, self.stats)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set or every source has ended; then close in order.

        Raises:
            Exception: whatever is nobody's to handle; systemd restarts, the state resumes from the checkpoint.
        """
        try:
            self._agent.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # the outbox goes on in memory, and reports it
            log.error("state directory %s: %s", self._agent.state, error)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self.observers.close)
            await stack.enter_async_context(self.outbox)
            self.resume()
            await stack.enter_async_context(self._delivering())
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch())
                stopping = tasks.create_task(stop.wait())
                self.ready()
                await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
                watching.cancel()
                stopping.cancel()
            await self.publisher.settle(5.0)
            await self.checkpointer.save()

    def resume(self) -> None:
        """Go on from what was saved."""
        self.engine = self.checkpointer.resume()
        self._data_watch = DataWatch(self.pipeline, self.engine, self.stats)
        if self.engine.host_time and not self._own_time:
            self.clock.resume(self.engine.host_time)
        self.publisher.resume(self.engine)

    @asynccontextmanager
    async def _delivering(self) -> AsyncIterator[None]:
        """Deliver to every sink; on leaving, drain for a bounded time."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for name, sink in self.pipeline.sinks.items():
                replay = float(self.pipeline.settings.outbox.replay_per_second)
                drain = self._agent.drain_timeout.seconds
                delivery = Delivery(self.outbox, name, sink, replay_per_second=replay, drain_seconds=drain)
                self.deliveries[name] = delivery
                tasks.create_task(delivery.run(stop))
            try:
                yield
            finally:
                stop.set()

    async def _watch(self) -> None:
        """Read all sources, and do what is to be done beside them, until every source has ended."""
        tick = self._agent.tick.seconds
        loop = SourceLoop(self.pipeline.sources, self.decide, tick, self.progress, self.clock)
        loop.replayed, loop.opened = self.checkpointer.replayed, self.checkpointer.opened
        loop.came, loop.ended = self._data_watch.observe, self._data_watch.ended
        self._commands = command_sources(self.pipeline.sinks)
        commands = SourceLoop(self._commands, self._apply, 0, self.progress, self.clock)
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(self.checkpointer.run(self._agent.checkpoint_every.seconds)),
                tasks.create_task(self._report()),
                tasks.create_task(commands.run()),
                tasks.create_task(self.monitor()),
            ]
            await loop.run()
            for task in beside:
                task.cancel()

    async def decide(self, batch: Batch) -> None:
        """Decide on one batch; when this returns, its alerts are safe on disk."""
        decisions = self.engine.process(batch)
        messages = self.publisher.messages(decisions, self.engine)
        if self.observers:
            self.observers.put(Observation.of(self.engine, batch, decisions, messages))
        if decisions.replies:
            self.checkpointer.save_soon()  # commands are not read again
        await self.publisher.publish(messages, decisions, batch.source)
        await self.observers.room()

    async def _apply(self, batch: Batch) -> None:
        await self.decide(dataclasses.replace(batch, source=COMMANDS))

    async def _decide_at_host_time(self, batch: Batch) -> None:
        """Decide on what bears the host's time; like a reading, it must not hide that the clock was set."""
        await self.decide(dataclasses.replace(batch, clock_step=noted_step(self.clock)))

    async def monitor(self) -> None:
        """Watch the agent itself and what its sources bring, until cancelled."""
        own = self._own_time
        watch = SelfMonitor(
            self._agent.name,
            lambda: self.outbox.failing or self.checkpointer.failing,
            (lambda: self.engine.host_time) if own else self.clock.wall,
            self.decide if own else self._decide_at_host_time,
        )
        patience = time.monotonic() + 10  # like the clock, it waits for sources that are read again
        while True:
            await asyncio.sleep(self._agent.tick.seconds)
            if not self.checkpointer.replayed or time.monotonic() > patience:
                await watch.look()
            self._data_watch.look()
            collect_young()

    async def _report(self) -> None:
        """Send the health report now and then, until cancelled."""
        started = time.monotonic()
        while True:
            await asyncio.sleep(self._agent.health.seconds)
            self._data_watch.look_closely()
            report = health.report(
                self.pipeline,
                self._sources(),
                self.engine,
                self.outbox,
                self.deliveries,
                self.stats(),
                time.monotonic() - started,
                self.clock.steps,
            )
            await self.outbox.append([health.message(report)])

    def _sources(self) -> Mapping[str, Source]:
        return {**self.pipeline.sources, **self._commands}

    def stats(self) -> Stats:
        """What each part has counted."""
        counted = health.stats(self._sources(), self.engine, self.outbox, self.deliveries, self.observers)
        return {**counted, "checkpoint": self.checkpointer.stats()}

    def counters(self) -> dict[str, int]:
        """What is sent, what waits and what was lost, for the live view."""
        confirmed = self.outbox.counters.confirmed
        lost = sorted(losses(self.stats()), key=lambda loss: -loss[2])
        return (
            {name: confirmed[name] for name in self.deliveries}
            | {f"{name} waiting": self.outbox.lag(name) for name in self.deliveries}
            | {f"{part} {name}": count for part, name, count in lost[:MOST_SHOWN]}
        )

    def status(self) -> str:
        """One line for `systemctl status`."""
        counts = self.engine.counts
        waiting = max((self.outbox.lag(name) for name in self.deliveries), default=0)
        return f"{counts.readings} readings, {counts.alerts} alerts, {waiting} messages waiting"


def _outbox(pipeline: Pipeline) -> Outbox:
    chosen = pipeline.settings.outbox
    return Outbox(
        pipeline.settings.agent.state / "outbox.db",
        {name: sink.kinds for name, sink in pipeline.sinks.items()},
        alert_bytes=chosen.alert_bytes,
        metric_bytes=chosen.metric_bytes,
        alert_seconds=chosen.alert_age.seconds,
        metric_seconds=chosen.metric_age.seconds,
        ring_bytes=chosen.ring_bytes,
        replay_after_seconds=chosen.replay_after.seconds,
        replay_metrics=chosen.replay_metrics,
        confirm_seconds=chosen.confirm_every.seconds,
    )
