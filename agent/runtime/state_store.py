"""The state of an agent in its state directory: engine, fingerprints and where the sources stood."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.core.series import entries
from agent.engine.engine import Engine
from agent.storage import single_file
from agent.storage.checkpoint import Checkpoint, CheckpointStore

log = logging.getLogger(__name__)

Positions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SavedState:
    """What was saved, as far as it is known: it may be damaged, or of another version.

    Attributes:
        common: what the engine remembers but not by series.
        fingerprints: of each part's configuration; a state fits only where it is the same.
        positions: where the sources stood, by name.
        resume: bring an engine there, as far as the fingerprints are the same; as `Engine.restore`.
        parts: windows, detectors and rules of which there is something.
        outdated: a newer one was damaged.
    """

    common: Any
    fingerprints: Any
    positions: Any
    resume: Callable[[Engine, Mapping[str, bool]], dict[str, str]]
    parts: frozenset[str] = frozenset()
    outdated: bool = False

    def check(self) -> None:
        """Raise TypeError where there is no name for what should have one."""
        for part in (self.common, self.fingerprints, self.positions):
            if not isinstance(part, Mapping):
                raise TypeError(f"no state of an agent: {part!r:.60}")

    @property
    def sequence(self) -> int:
        """Number of the last alert in it.

        Raises:
            KeyError, TypeError, ValueError: there is none.
        """
        return int(entries(entries(self.common)["desk"])["sequence"])


class PendingSave(Protocol):
    """A save that has begun, of the moment at which it did."""

    @property
    def written(self) -> int:
        """Bytes written so far, whatever comes of it."""

    async def write(self) -> int:
        """Write it; returns how many bytes that were, when it is safe.

        Raises:
            OSError: it could not be written; the state saved before is still whole.
        """

    def abandon(self) -> None:
        """It shall not be."""


class StateStore(Protocol):
    """Where the state outlasts the process."""

    def begin(self, engine: Engine, fingerprints: Mapping[str, str], positions: Positions) -> PendingSave:
        """Take hold of the state as it is now, between two batches.

        Raises:
            OSError: not now.
        """

    def load(self) -> SavedState | None:
        """The state saved last; None if there is none, or it is damaged and was moved aside."""

    def quarantine(self, reason: str) -> None:
        """Move aside what was loaded, since nothing can be made of it."""


class StateDirectory:
    """Saves what changed to `checkpoint/`; reads what agents up to format 1 wrote to `engine.checkpoint`.

    That file stays until the first save of today's kind is safe: an agent that dies before goes on from it again.
    """

    def __init__(self, directory: Path) -> None:
        self._store = CheckpointStore(directory / "checkpoint")
        self._old = directory / "engine.checkpoint"
        self._from_old = False

    def begin(self, engine: Engine, fingerprints: Mapping[str, str], positions: Positions) -> PendingSave:
        """Take hold of what changed."""
        document = {"engine": engine.common(), "prints": dict(fingerprints), "positions": positions}
        return _PendingSave(self._store.begin(engine.tracked(), document), self._old)

    def load(self) -> SavedState | None:
        """Read the newest that is whole; its parts are read when an engine resumes."""
        found = self._store.load()
        self._from_old = found is None
        if found is not None:
            if isinstance(found.document, Mapping):
                return _segmented(found, found.document)
            self.quarantine("it is no state of an agent")
            return None
        state = single_file.load(self._old)
        if state is None:
            return None
        if not isinstance(state, Mapping):
            self.quarantine("it is no state of an agent")
            return None
        engine: Any = state.get("engine")
        parts = _names(engine, "steps") | _names(engine, "rules")
        return SavedState(
            engine,
            state.get("prints"),
            state.get("positions"),
            lambda fresh, only: fresh.restore(engine, only),
            parts,
        )

    def quarantine(self, reason: str) -> None:
        """Rename it."""
        if self._from_old:
            single_file.give_up(self._old, reason)
        else:
            self._store.quarantine(reason)


@dataclass(frozen=True, slots=True)
class _PendingSave:
    saving: PendingSave
    old: Path

    @property
    def written(self) -> int:
        return self.saving.written

    async def write(self) -> int:
        size = await self.saving.write()
        try:
            self.old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("checkpoint: the file %s, which is no longer needed, stays: %s", self.old, error)
        return size

    def abandon(self) -> None:
        self.saving.abandon()


def _segmented(found: Checkpoint, document: Mapping[str, Any]) -> SavedState:
    common: Any = document.get("engine")
    parts = frozenset(name.partition(".")[2] for name in found.names if name.startswith(("step.", "rule.")))
    return SavedState(
        common,
        document.get("prints"),
        document.get("positions"),
        lambda fresh, only: fresh.resume(common, found, only),
        parts,
        found.outdated,
    )


def _names(engine: Any, kind: str) -> frozenset[str]:
    parts = engine.get(kind) if isinstance(engine, Mapping) else None
    return frozenset(parts) if isinstance(parts, Mapping) else frozenset()
