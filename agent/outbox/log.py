"""The log itself: rows on disk, with the newest of them in memory, and a ring in memory while the disk fails.

on disk only ... | tail: on disk and in memory | fresh: not yet on disk
                                      `durable`            `end_offset`
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from agent.alerts.alert import Kind, Message
from agent.outbox.bundle import weigh
from agent.outbox.recovery import LoadedState, load, salvage
from agent.outbox.table import LogRow, Transaction, TransactionResult, Usage, apply, read
from agent.storage.database import Database, DatabaseError

log = logging.getLogger(__name__)

MINOR: frozenset[Kind] = frozenset({"metric", "health"})
"""Kinds that are dropped first and written lazily."""

_offset = attrgetter("offset")
MIB = 1 << 20
SECOND = 10**9
TAIL_BYTES = 8 * MIB
TAIL_MESSAGES = 65_536
"""What is kept in memory beside the disk: a burst of raw events. Reading back costs as much as writing."""


@dataclass
class Log:
    """Rows by offset. See the module.

    Attributes:
        ring_bytes: what `fresh` may hold while the disk fails.
        retry_seconds: pause between two tries of a failing disk.
        dropped: messages lost, by kind and reason.
        failing: what is wrong with the disk; empty = nothing.
        held: messages and bytes, by kind.
        states: offset of the newest state of each machine and name.
    """

    database: Database
    ring_bytes: int
    retry_seconds: float
    monotonic: Callable[[], float] = time.monotonic

    dropped: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)
    commits: int = field(default=0, init=False)
    failed_commits: int = field(default=0, init=False)
    failing: str = field(default="", init=False)
    held: dict[Kind, Usage] = field(default_factory=dict, init=False)
    states: dict[tuple[str, str], int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.end_offset = self.durable = 0
        self.files = 0  # corrupt files moved aside; when this grows, everything known has to be written again
        self.fresh: deque[LogRow] = deque()
        self.fresh_bytes = 0
        self._tail: deque[LogRow] = deque()
        self._tail_bytes = self._tail_messages = 0
        self._gone: dict[Kind, int] = {}  # rows up to here have reached all their sinks
        self.unread = False  # the file could not be read when it was opened
        self._busy = False
        self._next_try = self._next_word = 0.0

    async def open(self) -> LoadedState:
        """Read what the file holds, after saving what can be saved from a corrupt one.

        If it cannot be read now, offsets begin beyond all that it may hold, and `read_late` reads it later.
        """
        try:
            start = await self._load()
        except DatabaseError as error:
            self.failed(error)
            self.unread = True
            start = LoadedState(time.time_ns() // 1_000_000, {}, {}, {}, [], {}, 0)
        self.files = len(self.database.quarantined)
        self.end_offset = self.durable = start.end_offset
        self.held, self.states = start.held, start.states
        return start

    async def read_late(self) -> LoadedState:
        """What the file held, now that it can be read.

        Raises:
            DatabaseError: it still cannot.
        """
        start = await self._load()
        self.unread = False
        for kind, held in start.held.items():
            mine = self.held.setdefault(kind, Usage())
            mine.messages += held.messages
            mine.bytes += held.bytes
        self.states = {**start.states, **self.states}
        return start

    async def _load(self) -> LoadedState:
        for file in self.database.quarantined[self.files :]:
            found = await self.database.run(lambda c, file=file: salvage(c, file))  # type: ignore[misc]
            log.warning("%d messages were saved from %s", found, file)
        start = await self.database.run(load)
        if start.damaged:
            self.dropped["unknown", "damaged"] += start.damaged
            log.error("%d messages of %s are damaged and were dropped", start.damaged, self.database.path)
        return start

    def put(self, messages: Sequence[Message], stored: int) -> None:
        """Take messages in that make one row (see `bundle`); they are on disk after the next `write`."""
        self.end_offset += len(messages)
        row = LogRow(self.end_offset, messages, stored, weigh(messages))
        self.fresh.append(row)
        self.fresh_bytes += row.size
        self._hold(row)
        if row.kind == "state":
            self.states[messages[0].machine, messages[0].name] = row.offset

    def _hold(self, row: LogRow) -> None:
        held = self.held.setdefault(row.kind, Usage())
        held.messages += len(row.messages)
        held.bytes += row.size

    @property
    def visible(self) -> int:
        """The last offset that may be sent: what is on disk, or everything while the disk fails."""
        return self.end_offset if self.failing else self.durable

    @property
    def may_write(self) -> bool:
        return not self.failing or self.monotonic() >= self._next_try

    async def rows(self, after: int, upto: int, kinds: frozenset[Kind], limit: int) -> tuple[list[LogRow], int]:
        """Rows with `after < offset <= upto`, and the offset up to which there are no others.

        Raises:
            DatabaseError: the file cannot be read.
        """
        found: list[LogRow] = []
        left, oldest = limit, self._oldest
        if after + 1 < oldest:
            last = min(upto, oldest - 1)
            read_back = await self.database.run(lambda c: read(c, after, last, kinds, limit))
            found = read_back.rows
            for offset, messages in read_back.damaged:
                self.dropped["unknown", "damaged"] += messages
                log.error("the message at %d of %s is damaged and was dropped", offset, self.database.path)
            if read_back.end < last or self._oldest > last + 1:
                return found, read_back.end  # or a write meanwhile took rows out of memory; read them next time
            left -= sum(len(row.messages) for row in found)
        for memory in (self._tail, self.fresh):
            if left <= 0 or not memory or memory[-1].offset <= after:
                continue
            for place in range(bisect_right(memory, after, key=_offset), len(memory)):
                row = memory[place]
                if row.first > upto or left <= 0:
                    break
                if row.kind in kinds:
                    part = row.part(after, upto, left)
                    found.append(part)
                    left -= len(part.messages)
        return found, found[-1].offset if found and left <= 0 else upto

    @property
    def _oldest(self) -> int:
        """The first offset that is in memory."""
        return self._tail[0].first if self._tail else self.durable + 1

    async def write(self, transaction: Transaction) -> None:
        """Write what is fresh with the transaction.

        Raises:
            DatabaseError: nothing was written; the transaction is the caller's to try again.
        """
        transaction.rows = list(self.fresh)
        self._busy, files = True, self.files
        try:
            result = await self.database.run(lambda c: apply(c, transaction))
            if files != self.files:
                raise DatabaseError(f"{self.database.path} was moved aside meanwhile")
        except DatabaseError as error:
            self.failed_commits += 1
            self.failed(error)
            raise
        else:
            self._wrote(transaction, result)
        finally:
            self._busy = False
            self.bound_ring()

    def _wrote(self, transaction: Transaction, result: TransactionResult) -> None:
        if self.failing:
            held_back = sum(len(row.messages) for row in transaction.rows)
            log.warning("%s can be written again; memory held %d messages", self.database.path, held_back)
            self.failing = ""
        self.commits += 1
        for row in transaction.rows:
            self.fresh.popleft()
            self.fresh_bytes -= row.size
            self._tail.append(row)
            self._tail_bytes += row.size
            self._tail_messages += len(row.messages)
            self.durable = row.offset
        for reason, gone in (("", result.confirmed), ("space", result.dropped), ("age", result.expired)):
            for kind, held in gone.items():
                self.held[kind].messages -= held.messages
                self.held[kind].bytes -= held.bytes
                if reason:
                    self.count_dropped(kind, reason, held.messages)
        if result.lost:
            lost = set(result.lost)
            self._tail = deque(row for row in self._tail if row.offset not in lost)
            self._tail_bytes = sum(row.size for row in self._tail)
            self._tail_messages = sum(len(row.messages) for row in self._tail)
        for kinds, _, upto in transaction.confirmed:
            self._gone |= dict.fromkeys(kinds, upto)
        while self._tail and (
            self._tail_bytes > TAIL_BYTES
            or self._tail_messages > TAIL_MESSAGES
            or self._tail[0].offset <= self._gone.get(self._tail[0].kind, 0)
        ):
            row = self._tail.popleft()
            self._tail_bytes -= row.size
            self._tail_messages -= len(row.messages)

    def failed(self, error: DatabaseError) -> None:
        """The disk fails: go on in memory, try again later."""
        now = self.monotonic()
        if not self.failing or now >= self._next_word:
            self._next_word = now + 60.0
            log.error("%s; new alerts are kept in memory until it can be written again", error)
        self.failing = str(error)
        self._next_try = now + self.retry_seconds
        if len(self.database.quarantined) > self.files:
            self.files = len(self.database.quarantined)
            self._start_over()

    def _start_over(self) -> None:
        """The file is a new one: write again what is known of the old one's end."""
        self.fresh.extendleft(reversed(self._tail))
        self.fresh_bytes += self._tail_bytes
        self._tail.clear()
        self._tail_bytes = self._tail_messages = 0
        before = sum(held.messages for held in self.held.values())
        self.held = {}
        for row in self.fresh:
            self._hold(row)
        after = sum(held.messages for held in self.held.values())
        self.dropped["unknown", "corrupt"] += max(0, before - after)
        self._next_try = 0.0

    def bound_ring(self) -> None:
        """While the disk fails, bound what waits in memory: the oldest metrics go first."""
        if not self.failing or self._busy or self.fresh_bytes <= self.ring_bytes:
            return
        for minor in (True, False):
            kept: deque[LogRow] = deque()
            for row in self.fresh:
                if self.fresh_bytes > self.ring_bytes and (row.kind in MINOR) >= minor:
                    self.fresh_bytes -= row.size
                    held = self.held[row.kind]
                    held.messages -= len(row.messages)
                    held.bytes -= row.size
                    self.count_dropped(row.kind, "memory", len(row.messages))
                else:
                    kept.append(row)
            self.fresh = kept

    def count_dropped(self, kind: Kind, reason: str, messages: int) -> None:
        """Count messages lost; losing an alert is an error."""
        self.dropped[kind, reason] += messages
        if kind not in MINOR and self.monotonic() >= self._next_word:
            self._next_word = self.monotonic() + 60.0
            log.error("%d messages of kind %s were dropped: %s", messages, kind, reason)

    async def shrink(self, *, closing: bool = False) -> None:
        """Give the room of what was removed back to the file system; at the end, all of it."""
        try:
            await self.database.tidy(
                spare=0 if closing else 256, pages=1 << 20 if closing else 1024, checkpoint=closing
            )
        except DatabaseError as error:
            self.failed(error)
