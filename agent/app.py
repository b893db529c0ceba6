"""The running agent: sources -> engine -> outbox -> sinks, started and stopped in order."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from agent import checkpoint, health
from agent.alerts import Message
from agent.clock import HostClock
from agent.compose import Parts, command_sources
from agent.control import COMMANDS
from agent.delivery import Delivery
from agent.engine import Decisions, Engine
from agent.messages import encode
from agent.outbox import Outbox
from agent.reading import Reading
from agent.service import Progress
from agent.summary import Summary
from sensors.batch import Batch
from sensors.source import Positioned

log = logging.getLogger(__name__)


class Looker(Protocol):
    """Someone who looks on: the live view, a recorder, metrics. Must return at once."""

    def update(self, engine: Engine, batch: Batch, decisions: Decisions) -> None: ...


@dataclass
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
        kinds = {name: sink.kinds for name, sink in self.parts.sinks.items()}
        self.outbox = Outbox(self.parts.settings.agent.state / "outbox.db", kinds)
        self.summary = Summary(self.parts.identity)
        self.deliveries: dict[str, Delivery] = {}
        self._agent = self.parts.settings.agent
        self._appending: set[asyncio.Task[Any]] = set()
        self._noted: set[str] = set()  # notes in the outbox that the check-point does not yet cover

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set or every source has ended; then close in order.

        Raises:
            Exception: whatever is nobody's to handle; systemd restarts, the state resumes from the check-point.
        """
        self._agent.state.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.outbox)
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
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for name, sink in self.parts.sinks.items():
                delivery = Delivery(self.outbox, name, sink, drain_seconds=self._agent.drain.seconds)
                self.deliveries[name] = delivery
                tasks.create_task(delivery.run(stop))
            try:
                yield
            finally:
                stop.set()

    async def _watch(self) -> None:
        """Read all sources, save the state now and then, until every source has ended."""
        reading = Reading(self.parts.sources, self.decide, self._agent.tick.seconds, self.progress, self.clock)
        async with asyncio.TaskGroup() as tasks:
            commands = Reading(command_sources(self.parts.sinks), self._obey, 0, self.progress, self.clock)
            beside = [
                tasks.create_task(self._save_now_and_then()),
                tasks.create_task(self._report_now_and_then()),
                tasks.create_task(commands.run()),
            ]
            await reading.run()
            for task in beside:
                task.cancel()

    async def _obey(self, batch: Batch) -> None:
        await self.decide(dataclasses.replace(batch, source=COMMANDS))

    async def decide(self, batch: Batch) -> None:
        """Decide on one batch; when this returns, its alerts are safe on disk."""
        decisions = self.engine.process(batch)
        messages = self.messages(decisions)
        for looker in self.lookers:
            looker.update(self.engine, batch, decisions)
        if messages:
            notes = self._notes(decisions)
            appending = asyncio.ensure_future(self.outbox.append(messages, notes))
            self._appending.add(appending)
            appending.add_done_callback(self._appending.discard)
            await asyncio.shield(appending)  # a cancelled watcher must not lose an alert already raised

    def counters(self) -> dict[str, int]:
        """What is sent and what waits, for the live view."""
        confirmed = self.outbox.counters.confirmed
        return {name: confirmed[name] for name in self.deliveries} | {
            f"{name} waiting": self.outbox.behind(name) for name in self.deliveries
        }

    def status(self) -> str:
        """One line for `systemctl status`."""
        counts = self.engine.counts
        waiting = max((self.outbox.behind(name) for name in self.deliveries), default=0)
        return f"{counts.readings} readings, {counts.alerts} alerts, {waiting} messages waiting"

    def messages(self, decisions: Decisions) -> list[Message]:
        """What goes out for these decisions, in order."""
        out = encode(decisions, self.engine, self.parts.identity, metrics=self._agent.metrics)
        return out + self.summary.update(decisions.alerts) if decisions.alerts else out

    def _notes(self, decisions: Decisions) -> dict[str, bytes]:
        """What is remembered of the incidents that changed, to be kept with their alerts."""
        notes = {}
        for (rule, series), saved in decisions.incidents.items():
            mark = {"rule": rule, "series": series, "print": self.parts.fingerprints.get(rule)}
            notes["incident/" + json.dumps([rule, *series])] = orjson.dumps({**saved, **mark})
        if decisions.silences is not None:
            notes["silences"] = orjson.dumps(decisions.silences)
        self._noted |= notes.keys()
        return notes

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._agent.checkpoint_every.seconds)
            await self._save()

    async def _report_now_and_then(self) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(self._agent.health.seconds)
            uptime = time.monotonic() - started
            report = health.report(self.parts, self.engine, self.outbox, self.deliveries, uptime, self.clock.steps)
            await self.outbox.append([health.message(report)])

    @property
    def _file(self) -> Path:
        return self._agent.state / "engine.checkpoint"

    async def _save(self) -> None:
        """Save the engine's state and where the sources stand, then tell the sources it is safe."""
        sources = {name: source for name, source in self.parts.sources.items() if isinstance(source, Positioned)}
        positions = {name: dict(source.position()) for name, source in sources.items()}
        state = {"engine": self.engine.state(), "prints": self.parts.fingerprints, "positions": positions}
        content = checkpoint.encode(state)
        covered, self._noted = self._noted, set()
        if self._appending:  # what the state has decided must be safe before the state is
            await asyncio.wait(set(self._appending))
        try:
            await asyncio.to_thread(checkpoint.save, self._file, content)
        except OSError as error:
            log.error("check-point: %s; going on without it", error)
            self._noted |= covered
            return
        if covered - self._noted:
            await self.outbox.append([], dict.fromkeys(covered - self._noted))
        for name, source in sources.items():
            if positions[name]:
                await source.commit(positions[name])

    def _resume(self) -> None:
        """Go on from the check-point, as far as the configuration is still the same, and the incidents since."""
        state = checkpoint.load(self._file)
        if state is not None:
            self._restore(state)
        for name, note in self.outbox.notes().items():
            if name == "silences":
                self._noted.add(name)
                self.engine.silences.restore(orjson.loads(note))
            elif name.startswith("incident/"):
                self._noted.add(name)
                saved = orjson.loads(note)
                if saved["print"] == self.parts.fingerprints.get(saved["rule"]):
                    self.engine.adopt(saved["rule"], tuple(saved["series"]), saved)

        self.summary.resume(self.engine)

    def _restore(self, state: dict[str, Any]) -> None:
        same = {name: state["prints"].get(name) == mark for name, mark in self.parts.fingerprints.items()}
        self.engine.restore(state["engine"], only=same)
        for name in (name for name, fits in same.items() if not fits):
            log.warning("%s is new or changed; it starts without memory", name)
        for name, position in state["positions"].items():
            source = self.parts.sources.get(name)
            if isinstance(source, Positioned) and position:
                source.seek(position)
        log.info("resumed from the check-point in %s", self._file)
