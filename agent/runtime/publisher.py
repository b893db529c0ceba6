"""From decisions to what subscribers get: encoded, with the state of each machine, safe in the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from agent.alerts.alert import Identity, Message
from agent.engine.engine import Decisions, Engine
from agent.outbox import Outbox
from agent.runtime.incident_journal import IncidentJournal
from agent.runtime.machine_state import MachineState
from agent.runtime.messages import encode
from agent.runtime.source_loop import positions
from sensors.source import Source


class Publisher:
    """Hands what was decided to the outbox, together with what a crash must not forget of it.

    Args:
        outbox: where messages are safe.
        identity: of the agent.
        journal: of the incidents.
        sources: whose positions stand beside the incidents.
        metrics: whether window results and scores go out too.
    """

    def __init__(
        self,
        outbox: Outbox,
        identity: Identity,
        journal: IncidentJournal,
        sources: Mapping[str, Source],
        metrics: bool = False,
    ) -> None:
        self._outbox, self._identity, self._journal = outbox, identity, journal
        self._sources, self._metrics = sources, metrics
        self._machines = MachineState(identity)
        self._appending: set[asyncio.Task[Any]] = set()

    def resume(self, engine: Engine) -> None:
        """Take over what fires after a restart."""
        self._machines.resume(engine)

    def messages(self, decisions: Decisions, engine: Engine) -> list[Message]:
        """What goes out for these decisions, in order. To be called once for each, it keeps up the machines' state."""
        out = encode(decisions, engine, self._identity, metrics=self._metrics)
        return out + self._machines.update(decisions.alerts, engine) if decisions.alerts else out

    async def publish(self, messages: list[Message], decisions: Decisions, source: str) -> None:
        """Returns once the messages for these decisions, on a batch of `source`, are safe on disk."""
        if not messages:
            return
        entries = self._journal.of(decisions, source, positions(self._sources))
        appending = asyncio.ensure_future(self._outbox.append(messages, entries))
        self._appending.add(appending)
        appending.add_done_callback(self._appending.discard)
        await asyncio.shield(appending)  # a cancelled source loop must not lose an alert already raised

    async def settle(self, seconds: float | None = None) -> None:
        """Wait until all that has been decided so far is safe, at most `seconds`."""
        if self._appending:
            await asyncio.wait(set(self._appending), timeout=seconds)
