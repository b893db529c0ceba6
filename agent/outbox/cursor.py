"""Where one sink stands in the log, and what it should get next. Plain logic: no I/O, no clock.

As a rule the sink follows the log: one offset, everything up to it is confirmed. After an outage it *replays*:
what was stored meanwhile (the backlog) waits in front of it, and new messages must not wait behind that. Then there
are three lanes, in this order:

    live      messages newer than the backlog, unless their machine still has some in it: order per machine holds
    present   messages of the backlog that hold the present state (retained topics); only the last of each name
    replay    the backlog, oldest first, marked as replayed, as fast as the delivery loop allows

Invariants: `offset` never goes back and nothing at or before it is sent again; a message is skipped only if it is
in `ahead` (confirmed on another lane) or a later state has replaced it; per machine, events leave in order of
offset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from agent.alerts.alert import Kind, Message
from agent.alerts.cloudevents import as_replayed
from agent.outbox.table import LogRow

PRESENT: frozenset[Kind] = frozenset({"state", "status", "health", "discovery", "reply"})
"""Kinds that hold how things are now; a newer one does not have to wait for an older event."""

Lane = Literal["follow", "live", "present", "replay"]


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """What to send next, to be confirmed as a whole.

    Attributes:
        messages: in the order in which to send them.
        offsets: of the messages, on a lane that is ahead of the log.
        replayed: they come late; the bodies say so.
        end: the lane stands here once they are confirmed.
    """

    messages: list[Message]
    lane: Lane
    end: int
    offsets: tuple[int, ...] = ()
    deferred: tuple[str, ...] = ()
    superseded: int = 0

    @property
    def replayed(self) -> bool:
        return self.lane == "replay"


@dataclass(slots=True)
class Cursor:
    """One sink's place. See the module.

    Attributes:
        offset: everything up to here is confirmed.
        live: while replaying, where the live lane stands; the backlog ends here.
        present: while replaying, where the lane of present states stands; up to `present_end`.
        ahead: offsets after `offset` that are confirmed already.
        machines: messages of the backlog, by machine.
    """

    kinds: frozenset[Kind]
    offset: int = 0
    replaying: bool = False
    live: int = 0
    present: int = 0
    present_end: int = 0
    ahead: set[int] = field(default_factory=set)
    machines: Counter[str] = field(default_factory=Counter)

    def begin_replay(self, end_offset: int, machines: Counter[str]) -> None:
        """Take everything up to `end_offset` as backlog; `machines` counts it, without what is `ahead`."""
        self.replaying = True
        self.live = self.present_end = end_offset
        self.present = self.offset
        self.machines = machines

    def lanes(
        self, visible: int, late: frozenset[Kind], limit: int, replay: int
    ) -> Sequence[tuple[Lane, int, int, frozenset[Kind], int]]:
        """Where to look next, first things first: lane, after, up to, kinds, how many messages at most.

        `visible` is the end of what may be sent, `late` the kinds that are replayed.
        """
        if not self.replaying:
            return (("follow", self.offset, visible, self.kinds, limit),)
        return (
            ("live", self.live, visible, self.kinds, limit),
            ("present", self.present, self.present_end, self.kinds & PRESENT, limit),
            ("replay", self.offset, self.live, late, replay),
        )

    def batch(
        self, lane: Lane, rows: Sequence[LogRow], end: int, states: Mapping[tuple[str, str], int]
    ) -> MessageBatch:
        """What of these rows goes out on this lane.

        The rows were found by looking at offsets up to `end`; `states` is the offset of the newest state of
        each machine and name.
        """
        if lane == "follow":
            return MessageBatch(list(chain.from_iterable(row.messages for row in rows)), lane, end)
        send: list[tuple[int, Message]] = []
        deferred: list[str] = []
        superseded = 0
        for offset, message in chain.from_iterable(enumerate(row.messages, row.first) for row in rows):
            if offset in self.ahead:
                continue
            if lane != "live" and message.kind == "state":
                newest = states.get((message.machine, message.name), 0)
                if newest > offset:
                    superseded += 1
                    continue
            if lane == "live" and message.kind not in PRESENT and self.machines[message.machine] > 0:
                deferred.append(message.machine)
                continue
            send.append((offset, message))
        messages = [as_replayed(message) if lane == "replay" else message for _, message in send]
        return MessageBatch(messages, lane, end, tuple(offset for offset, _ in send), tuple(deferred), superseded)

    def confirm(self, batch: MessageBatch) -> None:
        """The receiver has all of it."""
        if batch.lane == "follow":
            self.offset = max(self.offset, batch.end)
        elif batch.lane == "live":
            self.live = batch.end
            self.ahead.update(batch.offsets)
            self.machines.update(batch.deferred)
        elif batch.lane == "present":
            self.present = batch.end
            self.ahead.update(batch.offsets)
        else:
            self.offset = batch.end
            self.machines.subtract(m.machine for m in batch.messages if m.kind not in PRESENT)
            if len(self.ahead) > 4096 or self.offset >= self.live:
                self.ahead = {offset for offset in self.ahead if offset > self.offset}
            if self.offset >= self.live:
                self.replaying = False
                self.machines = Counter()
