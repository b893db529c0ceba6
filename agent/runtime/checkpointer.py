"""When the state is saved, what must be safe before that, and how the agent goes on from it.

The order is what makes it right. A state that is saved covers alerts that were decided; so they are safe in the
outbox first. What is covered is then removed from the incident journal, and sources are notified that they need not keep
it; so the state is safe before that. While alerts are in memory only, nothing is saved: after a crash they are
decided again.

Saves are as far apart as the flash wants it: what one has written is paid off, out of the bytes a day that may be
written, before the next begins. What cannot be read again, such as commands, may be an hour ahead of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from agent.engine.engine import Engine
from agent.engine.state import UNFIT
from agent.outbox import Outbox
from agent.runtime.incident_journal import IncidentJournal
from agent.runtime.publisher import Publisher
from agent.runtime.source_loop import positions
from agent.runtime.state_store import PendingSave, SavedState, StateStore
from agent.runtime.write_budget import WriteBudget
from agent.settings.build import Pipeline
from sensors.source import Positioned

log = logging.getLogger(__name__)


class Checkpointer:
    """Saves the state of an agent, now and then and when it must, and resumes from it.

    Args:
        pipeline: of the configuration.
        engine: whose state it is.
        publisher: appends what the engine decides.
        outbox: reports whether appended means safe, and keeps the incident journal.
        journal: of the incidents.
        store: where the state goes.
        bytes_per_day: that may be written.

    Attributes:
        engine: as above; after `resume` it may be a fresh one.
        replayed: sources that are read again from where they stood.
        failing: why the state could not be saved last; empty if it could.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        engine: Engine,
        publisher: Publisher,
        outbox: Outbox,
        journal: IncidentJournal,
        store: StateStore,
        bytes_per_day: float = float("inf"),
    ) -> None:
        self.engine = engine
        self.replayed: set[str] = set()
        self.failing = ""
        self._counts = {"saved": 0, "failed": 0, "bytes": 0}
        self._pipeline, self._publisher, self._outbox, self._journal = pipeline, publisher, outbox, journal
        self._store, self._budget = store, WriteBudget(bytes_per_day)
        self._one = asyncio.Lock()
        self._soon = asyncio.Event()
        self._writing: set[asyncio.Future[int]] = set()
        self._placed: set[str] = set()  # sources whose position has been saved

    async def run(self, every_seconds: float) -> None:
        """Save now and then, until cancelled; `every_seconds` is the least pause."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(every_seconds, self._budget.wait())):
                    await self._soon.wait()
                    await asyncio.sleep(self._budget.wait(urgent=True))
            self._soon.clear()
            await self.save()

    def save_soon(self) -> None:
        """Something was decided that will not be read again."""
        self._soon.set()

    async def opened(self, name: str) -> None:
        """A source that can be read again must be, after a crash, from where it began."""
        source = self._pipeline.sources[name]
        if not isinstance(source, Positioned):
            return
        if name in self.replayed:
            place = source.resumed()
            if place:
                log.info("source %s: continues after what was read before (%s)", name, place)
            else:
                self.replayed.discard(name)
        if name not in self._placed:
            await self.save()

    async def save(self) -> None:
        """Save the engine's state and where the sources stand, then notify the sources that it is safe."""
        async with self._one:
            if self._writing:  # one that was cancelled still writes
                await asyncio.wait(self._writing)
            await self._save()

    async def _save(self) -> None:
        if self._in_memory_only():
            return
        where = positions(self._pipeline.sources)
        try:
            saving = self._store.begin(self.engine, self._pipeline.fingerprints, where)
        except OSError as error:
            self._failed(error)
            return
        covered = self._journal.begin_save()
        try:
            await self._publisher.settle()  # what the state has decided must be safe before the state is
        except BaseException:
            saving.abandon()
            self._journal.not_saved(covered)
            raise
        if self._in_memory_only():
            saving.abandon()
            self._journal.not_saved(covered)
            return
        try:
            await self._written(saving)
        except OSError as error:
            self._failed(error)
            self._journal.not_saved(covered)
            return
        self.failing = ""
        self._counts["saved"] += 1
        self._placed |= {name for name, position in where.items() if position}
        gone = self._journal.saved(covered)
        if gone:
            await self._outbox.append([], gone)
        for name, position in where.items():
            source = self._pipeline.sources[name]
            if position and isinstance(source, Positioned):
                await source.commit(position)

    async def _written(self, saving: PendingSave) -> None:
        writing = asyncio.ensure_future(saving.write())
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        writing.add_done_callback(lambda _: self._spend(saving.written))  # flash wears by failures, too
        await asyncio.shield(writing)

    def stats(self) -> dict[str, int]:
        """What it has counted since the start."""
        return dict(self._counts)

    def _spend(self, size: int) -> None:
        self._counts["bytes"] += size
        self._budget.spend(size)

    def _failed(self, error: OSError) -> None:
        self._counts["failed"] += 1
        log.error("checkpoint: %s; going on without it", error)
        self.failing = f"checkpoint: {error}"

    def _in_memory_only(self) -> bool:
        if self._outbox.failing:
            log.warning("checkpoint: not saved while alerts are in memory only")
        return bool(self._outbox.failing)

    def resume(self) -> Engine:
        """Go on from what was saved, as far as the configuration is still the same, and from the incidents since."""
        state, unfit = self._store.load(), set[str]()
        where: Mapping[str, Any] = {}
        if state is not None:
            try:
                unfit = self._restore(state)
            except UNFIT as error:
                self._store.quarantine(repr(error))
                self.replayed.clear()
                self._pipeline.renew()
                self.engine = self._pipeline.engine()
                where, state = self._salvage(state), None
        sequence = None if state is None else state.sequence
        notes = self._outbox.notes()
        at_last_alert = self._journal.resume(notes, self.engine, sequence, self.replayed, unfit)
        if state is not None and state.outdated:
            self._journal.catch_up(notes, self.engine, self.replayed)
        self._seek({**where, **at_last_alert})
        return self.engine

    def _restore(self, state: SavedState) -> set[str]:
        """Go on from this state; the names of the parts it does not fit, though their configuration is the same."""
        state.check()
        same = {name: state.fingerprints.get(name) == mark for name, mark in self._pipeline.fingerprints.items()}
        unfit = state.resume(self.engine, same)
        for name in (name for name, fits in same.items() if not fits):
            log.warning("%s is new or changed; it starts without memory", name)
        for name, why in unfit.items():
            log.warning("%s: what was saved of it does not fit (%s); it starts without memory", name, why)
        for name in sorted(state.parts - same.keys()):
            log.warning("%s: it is in the checkpoint, not in the configuration; the next save drops it", name)
        self._seek(state.positions)
        log.info("resumed from the checkpoint, after alert %d", state.sequence)
        return set(unfit)

    def _salvage(self, state: SavedState) -> Mapping[str, Any]:
        """Of a state that cannot be gone on from, number and time: no id is given twice; and the positions."""
        with contextlib.suppress(*UNFIT):
            self.engine.advance_to(state.sequence, int(state.common["now"]))
        return state.positions if isinstance(state.positions, Mapping) else {}

    def _seek(self, where: Mapping[str, Any]) -> None:
        for name, position in where.items():
            source = self._pipeline.sources.get(name)
            if isinstance(source, Positioned) and position:
                source.seek(position)
                self.replayed.add(name)
