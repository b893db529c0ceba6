"""When the state is saved, what must be safe before that, and how the agent goes on from it.

The order is what makes it right. A state that is saved covers alerts that were decided; so they are safe in the
outbox first. What is covered is then removed from the incident journal, and sources are told that they need not keep
it; so the state is safe before that. While alerts are in memory only, nothing is saved: after a crash they are
decided again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent import checkpoint
from agent.compose import Parts
from agent.engine import Engine
from agent.outbox import Outbox
from agent.runtime.incident_journal import UNFIT, IncidentJournal
from agent.runtime.publisher import Publisher
from agent.runtime.source_loop import positions
from sensors.source import Positioned

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedState:
    """What is saved.

    Attributes:
        engine: its snapshot.
        fingerprints: of each part's configuration; a state fits only where it is the same.
        positions: where the sources stood, by name.
    """

    engine: dict[str, Any]
    fingerprints: Mapping[str, str]
    positions: Mapping[str, Mapping[str, Any]]

    @property
    def sequence(self) -> int:
        """Number of the last alert that it knows."""
        return int(self.engine["desk"]["sequence"])


class StateStore(Protocol):
    """Where the state outlasts the process."""

    def begin(
        self, engine: Engine, fingerprints: Mapping[str, str], positions: Mapping[str, Mapping[str, Any]]
    ) -> Callable[[], Awaitable[None]]:
        """Take the state as it is now, between two batches. What is returned writes it, and returns when it is safe.

        Raises:
            OSError: from what is returned: it could not be written; the state saved before is still whole.
        """

    def load(self) -> SavedState | None:
        """The state saved last; None if there is none, or it is damaged and was put aside."""

    def quarantine(self, reason: str) -> None:
        """Put aside what was loaded, since nothing can be made of it."""


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A store that writes the state whole, to one file."""

    path: Path

    def begin(
        self, engine: Engine, fingerprints: Mapping[str, str], positions: Mapping[str, Mapping[str, Any]]
    ) -> Callable[[], Awaitable[None]]:
        """Copy the state."""
        state = {"engine": engine.snapshot(), "prints": fingerprints, "positions": positions}
        content = checkpoint.snapshot(state)
        return lambda: asyncio.to_thread(checkpoint.save, self.path, content)

    def load(self) -> SavedState | None:
        """Read it whole."""
        state = checkpoint.load(self.path)
        if state is None:
            return None
        if not isinstance(state, Mapping):
            self.quarantine("it is no state of an agent")
            return None
        return SavedState(*(_mapping(state.get(name)) for name in ("engine", "prints", "positions")))

    def quarantine(self, reason: str) -> None:
        """Rename it."""
        checkpoint.put_aside(self.path, reason)


def _mapping(value: Any) -> dict[str, Any]:
    """Nothing, where there should be names: then the engine refuses it, and what else there is can be kept."""
    return dict(value) if isinstance(value, Mapping) else {}


class Checkpointer:
    """Saves the state of an agent, now and then and when it must, and resumes from it.

    Args:
        parts: of the configuration.
        engine: whose state it is.
        publisher: appends what the engine decides.
        outbox: says whether appended means safe, and keeps the incident journal.
        journal: of the incidents.
        store: where the state goes.

    Attributes:
        engine: as above; after `resume` it may be a fresh one.
        replayed: sources that are read again from where they stood.
        failing: why the state could not be saved last; empty if it could.
    """

    def __init__(
        self,
        parts: Parts,
        engine: Engine,
        publisher: Publisher,
        outbox: Outbox,
        journal: IncidentJournal,
        store: StateStore,
    ) -> None:
        self.engine = engine
        self.replayed: set[str] = set()
        self.failing = ""
        self._parts, self._publisher, self._outbox, self._journal = parts, publisher, outbox, journal
        self._store = store
        self._one = asyncio.Lock()
        self._soon = asyncio.Event()
        self._writing: set[asyncio.Future[None]] = set()
        self._placed: set[str] = set()  # sources whose position has been saved

    async def run(self, every_seconds: float) -> None:
        """Save now and then, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_seconds):
                    await self._soon.wait()
            self._soon.clear()
            await self.save()

    def save_soon(self) -> None:
        """Something was decided that will not be read again."""
        self._soon.set()

    async def opened(self, name: str) -> None:
        """A source that can be read again must be, after a crash, from where it began."""
        source = self._parts.sources[name]
        if not isinstance(source, Positioned):
            return
        if name in self.replayed:
            place = ", ".join(f"{key} {value}" for key, value in source.position().items())
            log.info("source %s: continues after what was read before (%s)", name, place)
        if name not in self._placed:
            await self.save()

    async def save(self) -> None:
        """Save the engine's state and where the sources stand, then tell the sources that it is safe."""
        async with self._one:
            if self._writing:  # one that was cancelled still writes
                await asyncio.wait(self._writing)
            await self._save()

    async def _save(self) -> None:
        if self._in_memory_only():
            return
        where = positions(self._parts.sources)
        write = self._store.begin(self.engine, self._parts.fingerprints, where)
        covered = self._journal.begin_save()
        await self._publisher.settle()  # what the state has decided must be safe before the state is
        if self._in_memory_only():
            self._journal.not_saved(covered)
            return
        writing = asyncio.ensure_future(write())
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        try:
            await asyncio.shield(writing)
        except OSError as error:
            log.error("checkpoint: %s; going on without it", error)
            self.failing = f"checkpoint: {error}"
            self._journal.not_saved(covered)
            return
        self.failing = ""
        self._placed |= {name for name, position in where.items() if position}
        gone = self._journal.saved(covered)
        if gone:
            await self._outbox.append([], gone)
        for name, position in where.items():
            source = self._parts.sources[name]
            if position and isinstance(source, Positioned):
                await source.commit(position)

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
                self._parts.renew()
                self.engine = self._parts.engine()
                self._salvage(state)
                where, state = state.positions, None
        sequence = None if state is None else state.sequence
        at_last_alert = self._journal.resume(self._outbox.notes(), self.engine, sequence, self.replayed, unfit)
        self._seek({**where, **at_last_alert})
        return self.engine

    def _restore(self, state: SavedState) -> set[str]:
        """Go on from this state; the names of the parts it does not fit, though their configuration is the same."""
        same = {name: state.fingerprints.get(name) == mark for name, mark in self._parts.fingerprints.items()}
        unfit = self.engine.restore(state.engine, only=same)
        for name in (name for name, fits in same.items() if not fits):
            log.warning("%s is new or changed; it starts without memory", name)
        for name, why in unfit.items():
            log.warning("%s: what was saved of it does not fit (%s); it starts without memory", name, why)
        self._seek(state.positions)
        log.info("resumed from the checkpoint, after alert %d", state.sequence)
        return set(unfit)

    def _salvage(self, state: SavedState) -> None:
        """Of a state that cannot be gone on from, number and time: no id is given twice."""
        with contextlib.suppress(*UNFIT):
            self.engine.go_on(state.sequence, int(state.engine["now"]))

    def _seek(self, where: Mapping[str, Any]) -> None:
        for name, position in where.items():
            source = self._parts.sources.get(name)
            if isinstance(source, Positioned) and position:
                source.seek(position)
                self.replayed.add(name)
