"""The running agent: sources -> engine -> outbox -> sinks, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agent import checkpoint
from agent.alerts import Kind, Message
from agent.compose import Parts, command_sources
from agent.control import COMMANDS
from agent.delivery import Delivery
from agent.engine import UNFIT, Decisions, Engine
from agent.ops import health
from agent.ops.memory import collect_young
from agent.ops.systemd import Progress
from agent.outbox import Outbox
from agent.runtime.data_watch import DataWatch
from agent.runtime.host_clock import HostClock
from agent.runtime.incident_journal import IncidentJournal
from agent.runtime.machine_state import MachineState
from agent.runtime.messages import encode
from agent.runtime.self_monitor import SelfMonitor
from agent.runtime.source_loop import SourceLoop, keeps_time, noted_step
from sensors.batch import Batch
from sensors.source import Positioned, Source

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
        self.outbox = self._outbox(kinds)
        self.summary = MachineState(self.parts.identity)
        self.deliveries: dict[str, Delivery] = {}
        self._agent = self.parts.settings.agent
        self._appending: set[asyncio.Task[Any]] = set()
        self._notes = IncidentJournal(self.parts.fingerprints)
        self._behind: set[str] = set()  # sources that are read again from the check-point
        self._unsaved = ""  # why the last check-point could not be saved
        self._saving: set[asyncio.Future[None]] = set()
        self._placed: set[str] = set()  # sources whose place is in the check-point
        self._one_save = asyncio.Lock()
        self._save_soon = asyncio.Event()
        self._commands: dict[str, Source] = {}
        self._silence = DataWatch(self.parts, self.engine)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set or every source has ended; then close in order.

        Raises:
            Exception: whatever is nobody's to handle; systemd restarts, the state resumes from the check-point.
        """
        try:
            self._agent.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # the outbox goes on in memory, and says so
            log.error("state directory %s: %s", self._agent.state, error)
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

    def _outbox(self, kinds: Mapping[str, frozenset[Kind]]) -> Outbox:
        chosen = self.parts.settings.outbox
        return Outbox(
            self.parts.settings.agent.state / "outbox.db",
            kinds,
            alert_bytes=chosen.alert_bytes,
            metric_bytes=chosen.metric_bytes,
            alert_seconds=chosen.alert_age.seconds,
            metric_seconds=chosen.metric_age.seconds,
            ring_bytes=chosen.ring_bytes,
            late_seconds=chosen.late.seconds,
            replay_metrics=chosen.replay_metrics,
            confirm_seconds=chosen.confirm_every.seconds,
        )

    @asynccontextmanager
    async def _delivering(self) -> AsyncIterator[None]:
        """Deliver to every sink; on leaving, drain for a bounded time."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for name, sink in self.parts.sinks.items():
                replay = float(self.parts.settings.outbox.replay_per_second)
                drain = self._agent.drain.seconds
                delivery = Delivery(self.outbox, name, sink, replay_per_second=replay, drain_seconds=drain)
                self.deliveries[name] = delivery
                tasks.create_task(delivery.run(stop))
            try:
                yield
            finally:
                stop.set()

    async def _watch(self) -> None:
        """Read all sources, save the state now and then, until every source has ended."""
        reading = SourceLoop(self.parts.sources, self.decide, self._agent.tick.seconds, self.progress, self.clock)
        reading.behind, reading.opened = self._behind, self._opened
        reading.ended = self._silence.ended
        async with asyncio.TaskGroup() as tasks:
            self._commands = command_sources(self.parts.sinks)
            commands = SourceLoop(self._commands, self._obey, 0, self.progress, self.clock)
            beside = [
                tasks.create_task(self._save_now_and_then()),
                tasks.create_task(self._report_now_and_then()),
                tasks.create_task(commands.run()),
                tasks.create_task(self._watch_self()),
            ]
            await reading.run()
            for task in beside:
                task.cancel()

    async def _watch_self(self) -> None:
        own = any(map(keeps_time, self.parts.sources.values()))
        now = (lambda: self.engine.host_time) if own else self.clock.wall
        watch = SelfMonitor(
            self._agent.name, lambda: self.outbox.failing or self._unsaved, now, self.decide if own else self._timed
        )
        patience = time.monotonic() + 10  # like the clock, it waits for sources that are read again
        while True:
            await asyncio.sleep(self._agent.tick.seconds)
            if not self._behind or time.monotonic() > patience:
                await watch.look()
            self._silence.look()
            collect_young()

    async def _timed(self, batch: Batch) -> None:
        """Decide on what bears the host's time; like a reading, it must not hide that the clock was set."""
        await self.decide(dataclasses.replace(batch, clock_step=noted_step(self.clock)))

    async def _obey(self, batch: Batch) -> None:
        await self.decide(dataclasses.replace(batch, source=COMMANDS))

    async def decide(self, batch: Batch) -> None:
        """Decide on one batch; when this returns, its alerts are safe on disk."""
        decisions = self.engine.process(batch)
        messages = self.messages(decisions)
        for looker in self.lookers:
            looker.update(self.engine, batch, decisions)
        if messages:
            notes = self._notes.of(decisions, batch.source, self._positions())
            appending = asyncio.ensure_future(self.outbox.append(messages, notes))
            self._appending.add(appending)
            appending.add_done_callback(self._appending.discard)
            if decisions.replies:
                self._save_soon.set()  # commands are not read again
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

    def _positions(self) -> dict[str, dict[str, Any]]:
        """Where the sources stand that can be read again; exact between two batches."""
        sources = self.parts.sources.items()
        return {name: dict(source.position()) for name, source in sources if isinstance(source, Positioned)}

    async def _save_now_and_then(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._agent.checkpoint_every.seconds):
                    await self._save_soon.wait()
            self._save_soon.clear()
            await self._save()

    async def _opened(self, name: str) -> None:
        """A source that can be read again must be, after a crash, from where it began."""
        source = self.parts.sources[name]
        if isinstance(source, Positioned) and name in self._behind:
            place = ", ".join(f"{key} {value}" for key, value in source.position().items())
            log.info("source %s: continues after what was read before (%s)", name, place)
        if isinstance(source, Positioned) and name not in self._placed:
            await self._save()

    async def _report_now_and_then(self) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(self._agent.health.seconds)
            self._silence.look_closely()
            uptime = time.monotonic() - started
            report = health.report(
                self.parts, self._commands, self.engine, self.outbox, self.deliveries, uptime, self.clock.steps
            )
            await self.outbox.append([health.message(report)])

    @property
    def _file(self) -> Path:
        return self._agent.state / "engine.checkpoint"

    async def _save(self) -> None:
        """Save the engine's state and where the sources stand, then tell the sources it is safe."""
        async with self._one_save:
            await self._save_all()

    async def _save_all(self) -> None:
        if self._saving:  # one that was cancelled still writes
            await asyncio.wait(self._saving)
        if self.outbox.failing:
            log.warning("check-point: not saved while alerts are in memory only")
            return
        positions = self._positions()
        state = {"engine": self.engine.snapshot(), "prints": self.parts.fingerprints, "positions": positions}
        content = checkpoint.snapshot(state)
        covered = self._notes.begin_save()
        if self._appending:  # what the state has decided must be safe before the state is
            await asyncio.wait(set(self._appending))
        if self.outbox.failing:  # meanwhile; what the state has decided is in memory only
            self._notes.not_saved(covered)
            log.warning("check-point: not saved while alerts are in memory only")
            return
        saving = asyncio.ensure_future(asyncio.to_thread(checkpoint.save, self._file, content))
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)
        try:
            await asyncio.shield(saving)
        except OSError as error:
            log.error("check-point: %s; going on without it", error)
            self._unsaved = f"check-point: {error}"
            self._notes.not_saved(covered)
            return
        self._unsaved = ""
        self._placed |= {name for name, position in positions.items() if position}
        gone = self._notes.saved(covered)
        if gone:
            await self.outbox.append([], gone)
        for name, position in positions.items():
            source = self.parts.sources[name]
            if position and isinstance(source, Positioned):
                await source.commit(position)

    def _resume(self) -> None:
        """Go on from the check-point, as far as the configuration is still the same, and the incidents since."""
        state, unfit, positions = checkpoint.load(self._file), set[str](), {}
        if state is not None:
            try:
                unfit = self._restore(state)
            except UNFIT as error:
                checkpoint.put_aside(self._file, repr(error))
                self._behind.clear()
                self.parts.renew()
                self.engine = self.parts.engine()
                positions, state = self._salvage(state), None
                self._silence = DataWatch(self.parts, self.engine)
        sequence = None if state is None else int(state["engine"]["desk"]["sequence"])
        positions |= self._notes.resume(self.outbox.notes(), self.engine, sequence, self._behind, unfit)
        self._seek(positions)
        if self.engine.host_time and not any(map(keeps_time, self.parts.sources.values())):
            self.clock.resume(self.engine.host_time)
        self.summary.resume(self.engine)

    def _restore(self, state: dict[str, Any]) -> set[str]:
        """Go on from this state; the names of the parts it does not fit, though their configuration is the same."""
        same = {name: state["prints"].get(name) == mark for name, mark in self.parts.fingerprints.items()}
        unfit = self.engine.restore(state["engine"], only=same)
        for name in (name for name, fits in same.items() if not fits):
            log.warning("%s is new or changed; it starts without memory", name)
        for name, why in unfit.items():
            log.warning("%s: what was saved of it does not fit (%s); it starts without memory", name, why)
        self._seek(state["positions"])
        log.info("resumed from the check-point in %s", self._file)
        return set(unfit)

    def _salvage(self, state: Any) -> dict[str, Any]:
        """Of a check-point that cannot be gone on from, number and time; where the sources stood is returned."""
        with contextlib.suppress(*UNFIT):
            self.engine.go_on(int(state["engine"]["desk"]["sequence"]), int(state["engine"]["now"]))
        with contextlib.suppress(*UNFIT):
            return dict(state["positions"])
        return {}

    def _seek(self, positions: Mapping[str, Any]) -> None:
        for name, position in positions.items():
            source = self.parts.sources.get(name)
            if isinstance(source, Positioned) and position:
                source.seek(position)
                self._behind.add(name)
