"""Where one sink stands in the log, and what it should get next. Plain logic: no I/O, no clock.

As a rule the sink follows the log: one position, everything up to it is confirmed. After an outage it *replays*:
what was stored meanwhile (the backlog) waits in front of it, and new messages must not wait behind that. Then there
are three lanes, in this order:

    live      messages newer than the backlog, unless their machine still has some in it: order per machine holds
    present   messages of the backlog that tell the present state (retained topics); only the last of each name
    replay    the backlog, oldest first, marked as replayed, as fast as the delivery loop allows

Invariants: `position` never goes back and nothing at or before it is sent again; a message is skipped only if it is
in `ahead` (confirmed on another lane) or a later state has replaced it; per machine, events leave in order of
position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from agent.alerts.alert import Kind, Message
from agent.outbox.table import Kept

PRESENT: frozenset[Kind] = frozenset({"state", "status", "health", "discovery", "reply"})
"""Kinds that tell how things are now; a newer one does not have to wait for an older event."""

MARKED: frozenset[Kind] = frozenset({"alert", "raw", "metric"})
"""Kinds whose body says so when it is sent late."""

Lane = Literal["follow", "live", "present", "replay"]


@dataclass(frozen=True, slots=True)
class Portion:
    """What to send next, to be confirmed as a whole.

    Attributes:
        messages: in the order in which to send them.
        positions: of the messages, on a lane that is ahead of the log.
        replayed: they come late; the bodies say so.
        end: the lane stands here once they are confirmed.
    """

    messages: list[Message]
    lane: Lane
    end: int
    positions: tuple[int, ...] = ()
    deferred: tuple[str, ...] = ()
    superseded: int = 0

    @property
    def replayed(self) -> bool:
        return self.lane == "replay"


@dataclass(slots=True)
class Cursor:
    """One sink's place. See the module.

    Attributes:
        position: everything up to here is confirmed.
        live: while replaying, where the live lane stands; the backlog ends here.
        present: while replaying, where the lane of present states stands; up to `present_end`.
        ahead: positions after `position` that are confirmed already.
        machines: messages of the backlog, by machine.
    """

    kinds: frozenset[Kind]
    position: int = 0
    replaying: bool = False
    live: int = 0
    present: int = 0
    present_end: int = 0
    ahead: set[int] = field(default_factory=set)
    machines: Counter[str] = field(default_factory=Counter)

    def begin_replay(self, head: int, machines: Counter[str]) -> None:
        """Take everything up to `head` as backlog; `machines` counts it, without what is `ahead`."""
        self.replaying = True
        self.live = self.present_end = head
        self.present = self.position
        self.machines = machines

    def lanes(
        self, visible: int, late: frozenset[Kind], limit: int, replay: int
    ) -> Sequence[tuple[Lane, int, int, frozenset[Kind], int]]:
        """Where to look next, first things first: lane, after, up to, kinds, how many messages at most.

        `visible` is the end of what may be sent, `late` the kinds that are replayed.
        """
        if not self.replaying:
            return (("follow", self.position, visible, self.kinds, limit),)
        return (
            ("live", self.live, visible, self.kinds, limit),
            ("present", self.present, self.present_end, self.kinds & PRESENT, limit),
            ("replay", self.position, self.live, late, replay),
        )

    def portion(self, lane: Lane, rows: Sequence[Kept], end: int, states: Mapping[tuple[str, str], int]) -> Portion:
        """What of these rows goes out on this lane.

        The rows were found by looking at positions up to `end`; `states` is the position of the newest state of
        each machine and name.
        """
        if lane == "follow":
            return Portion(list(chain.from_iterable(row.messages for row in rows)), lane, end)
        send: list[tuple[int, Message]] = []
        deferred: list[str] = []
        superseded = 0
        for position, message in chain.from_iterable(enumerate(row.messages, row.first) for row in rows):
            if position in self.ahead:
                continue
            if lane != "live" and message.kind == "state":
                newest = states.get((message.machine, message.name), 0)
                if newest > position:
                    superseded += 1
                    continue
            if lane == "live" and message.kind not in PRESENT and self.machines[message.machine] > 0:
                deferred.append(message.machine)
                continue
            send.append((position, message))
        messages = [mark(message) if lane == "replay" else message for _, message in send]
        return Portion(messages, lane, end, tuple(position for position, _ in send), tuple(deferred), superseded)

    def confirm(self, portion: Portion) -> None:
        """The receiver has all of it."""
        if portion.lane == "follow":
            self.position = max(self.position, portion.end)
        elif portion.lane == "live":
            self.live = portion.end
            self.ahead.update(portion.positions)
            self.machines.update(portion.deferred)
        elif portion.lane == "present":
            self.present = portion.end
            self.ahead.update(portion.positions)
        else:
            self.position = portion.end
            self.machines.subtract(m.machine for m in portion.messages if m.kind not in PRESENT)
            if len(self.ahead) > 4096 or self.position >= self.live:
                self.ahead = {position for position in self.ahead if position > self.position}
            if self.position >= self.live:
                self.replaying = False
                self.machines = Counter()


def mark(message: Message) -> Message:
    """The message with the CloudEvents attribute `replayed` in its body."""
    if message.kind not in MARKED or not message.body.endswith(b"}") or len(message.body) < 3:
        return message
    return message._replace(body=message.body[:-1] + b',"replayed":true}')
