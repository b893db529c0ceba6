"""The durable log between deciding and delivering: append, next, confirm; one cursor a sink.

Promises:

1. An alert is safe once `append` returns: it is on disk (or, while the disk fails, in a bounded ring in memory,
   and `failing` says so). All appends that wait share one commit. Metrics are not waited for; they follow within
   a second.
2. Each sink gets every message of its kinds at least once, per machine in order of append, with the same id always.
3. A second message of the same kind and id is dropped while the first is held and for some time after; a restart
   forgets the ids of what is not held. Who repeats after it repeats all that followed, in order, as the engine does:
   then the newest state is sent last. An old state repeated alone would be taken for the newest.
4. What is held is bounded in bytes and age. Room is made by dropping the oldest metrics first, then the oldest
   alerts; everything dropped is counted with its reason.
5. Notes (small named values, such as the open alerts) change in the same transaction as the messages beside them.
6. Every failure of the disk is survived without a restart; a corrupt file is moved aside and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Self

from agent.alerts.alert import Kind, Message
from agent.outbox.bundle import bundles
from agent.outbox.counters import OutboxCounters
from agent.outbox.cursor import PRESENT, Cursor, MessageBatch
from agent.outbox.log import MIB, MINOR, SECOND, Log
from agent.outbox.seen_ids import SeenIds
from agent.outbox.table import MIGRATIONS, DeadLetter, Transaction, Usage, backlog, dead_letters
from agent.storage.database import Database, DatabaseError

log = logging.getLogger(__name__)

_kind = itemgetter(1)
SENT_AGAIN = 2048
"""Messages that a sink may have been handed and that are not noted on disk as confirmed: a crash sends them again."""


@dataclass
class Outbox:
    """See the module. `async with Outbox(path, {"broker": kinds}) as outbox`.

    Attributes:
        sinks: name of each sink -> the kinds of message it takes. A kind that no sink takes is not kept.
        alert_bytes, metric_bytes: what alerts (and everything that is not a metric) and metrics may occupy; alerts
            may also take the room of the metrics.
        alert_seconds, metric_seconds: how long they are kept for a receiver that is away.
        ring_bytes: what is kept in memory while the disk fails.
        replay_after_seconds: what has waited longer when a sink connects is replayed and marked.
        replay_metrics: send metrics that are late; otherwise they are passed over.
        linger_seconds: how long metrics may wait for a commit.
        confirm_seconds: how long a confirmation may wait for a commit of its own; they mostly ride on another.
        recent_ids: how many ids of messages that are gone are remembered.
        now: the host's clock, ns since the epoch; `monotonic` the one that never steps, s. Age is counted in the
            latter: a clock that steps by ten years makes nothing old.
    """

    path: Path
    sinks: Mapping[str, frozenset[Kind]]
    alert_bytes: int = 64 * MIB
    metric_bytes: int = 16 * MIB
    alert_seconds: float = 7 * 86400.0
    metric_seconds: float = 3600.0
    ring_bytes: int = 8 * MIB
    replay_after_seconds: float = 10.0
    replay_metrics: bool = False
    linger_seconds: float = 1.0
    confirm_seconds: float = 10.0
    recent_ids: int = 65536
    now: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._counters = OutboxCounters()
        self._database = Database(self.path, MIGRATIONS)
        self._log = Log(self._database, self.ring_bytes, self.linger_seconds, self.monotonic)
        self._cursors = {name: Cursor(frozenset(kinds)) for name, kinds in self.sinks.items()}
        self._news = {name: asyncio.Event() for name in self.sinks}
        self._wanted: frozenset[Kind] = frozenset().union(*self.sinks.values())
        self._seen = SeenIds()
        self._before = 0  # the last offset when it was opened
        self._notes: dict[str, bytes] = {}
        self._pending = Transaction()
        self._written: dict[str, int] = {}  # cursors as they are on disk
        self._removed: dict[Kind, int] = {}  # up to where confirmed rows are deleted
        self._files = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._unsaved: Counter[str] = (
            Counter()
        )  # messages confirmed by each sink that its cursor on disk is without
        self._next_expiry = self._next_cursors = 0.0
        self._epoch, self._started = 0, 0.0

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        start = await self._log.open()
        self._files = self._log.files
        self._notes = start.notes
        self._seen.learn(start.ids)
        self._before = self._log.end_offset
        self._written = dict(start.cursors)
        for name, cursor in self._cursors.items():
            cursor.offset = start.end_offset if self._log.unread else start.cursors.get(name, 0)
        self._started, self._epoch = self.monotonic(), self.now()
        if start.stored:  # a clock that stepped while the agent was down counts as a day at most
            self._epoch = min(max(self._epoch, start.stored), start.stored + 86400 * SECOND)
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._tasks.create_task(self._write_forever(), name="outbox writer")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._closing = True
        self._wake.set()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            await self._database.__aexit__(*exc)

    @property
    def failing(self) -> str:
        """What is wrong with the disk; empty = nothing."""
        return self._log.failing

    @property
    def counters(self) -> OutboxCounters:
        """What has happened so far."""
        counters = self._counters
        counters.commits, counters.failed_commits = self._log.commits, self._log.failed_commits
        counters.dropped, counters.quarantined = self._log.dropped, len(self._database.quarantined)
        return counters

    # Putting in

    async def append(self, messages: Sequence[Message], notes: Mapping[str, bytes | None] | None = None) -> None:
        """Keep the messages, and change the notes, in one transaction; return when both are safe.

        An append that is cancelled is still carried out. A note of None is removed.
        """
        urgent = bool(notes)
        for kind, group in groupby(messages, key=_kind):
            urgent |= self._put(kind, list(group)) and kind not in MINOR
        self._seen.bound(self.recent_ids + sum(held.messages for held in self._log.held.values()))
        for name, value in (notes or {}).items():
            self._pending.notes[name] = value
            if value is None:
                self._notes.pop(name, None)
            else:
                self._notes[name] = value
        if self.failing:
            self._log.bound_ring()
            self._announce()
            self._wake.set()
        elif urgent or self._log.fresh_bytes > MIB:
            await self._next_write()

    async def _next_write(self) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._wake.set()
        await done

    def _put(self, kind: Kind, messages: Sequence[Message]) -> bool:
        """Take in what of these is wanted and new; whether there was any."""
        if kind not in self._wanted:
            self._counters.unwanted += len(messages)
            return False
        if kind == "state" and len(messages) > 1:  # each depends on the one before
            return sum(self._put(kind, [message]) for message in messages) > 0
        if kind == "state" and self._log.states.get(messages[0][2:4], 0) > self._before:
            self._seen.forget_old(messages[0])
        new = self._seen.new(kind, messages)
        self._counters.repeated += len(messages) - len(new)
        self._counters.appended += len(new)
        stored, quota = self._time(), self.metric_bytes if kind in MINOR else self.alert_bytes
        for row in bundles(kind, new, quota):
            self._log.put(row, stored)
        return bool(new)

    def notes(self) -> dict[str, bytes]:
        """The notes as last appended."""
        return dict(self._notes)

    # Taking out

    async def begin(self, sink: str) -> None:
        """The sink has connected: decide what is late and will be replayed."""
        cursor = self._cursors[sink]
        end_offset, after, ahead = self._log.visible, cursor.offset, frozenset(cursor.ahead)
        kinds = self._late_kinds(cursor) - PRESENT
        try:
            first, _ = await self._log.rows(after, end_offset, cursor.kinds, 1)
            if first and first[0].stored <= self._time() - int(self.replay_after_seconds * SECOND):
                machines = await self._database.run(lambda c: backlog(c, after, end_offset, kinds, ahead))
                for row in self._log.fresh:
                    machines.update(m.machine for m in row.messages if m.kind in kinds)
                cursor.begin_replay(end_offset, machines)
        except DatabaseError as error:
            self._log.failed(error)

    async def next(self, sink: str, limit: int = 500, replay: int | None = None) -> MessageBatch | None:
        """What to send now, at most `limit` messages, or None; the same again until it is confirmed.

        At most `replay` messages are replayed now; None = no bound. What a crash would send again is bounded: where
        this batch would make it more than `SENT_AGAIN`, what was confirmed is written first.
        """
        cursor = self._cursors[sink]
        self._news[sink].clear()
        while True:
            try:
                batch = await self._next_batch(cursor, limit, limit if replay is None else min(limit, replay))
            except DatabaseError as error:
                self._log.failed(error)
                return None
            if batch is None or batch.messages:
                if batch is not None and 0 < self._unsaved[sink] > SENT_AGAIN - len(batch.messages):
                    await self._save_cursors()
                return batch
            self.confirm(sink, batch)  # nothing in it for this sink: pass on

    async def _next_batch(self, cursor: Cursor, limit: int, replay: int) -> MessageBatch | None:
        lanes = cursor.lanes(self._log.visible, self._late_kinds(cursor), limit, replay)
        for lane, after, upto, kinds, bound in lanes:
            if after < upto and bound > 0:
                rows, end = await self._log.rows(after, upto, kinds, bound)
                return cursor.batch(lane, rows, end, self._log.states)
        return None

    def _late_kinds(self, cursor: Cursor) -> frozenset[Kind]:
        return cursor.kinds if self.replay_metrics else cursor.kinds - MINOR

    def confirm(self, sink: str, batch: MessageBatch) -> None:
        """The receiver has all of the batch; the log forgets it with one of the next commits."""
        self._cursors[sink].confirm(batch)
        self._counters.confirmed[sink] += len(batch.messages)
        self._counters.superseded += batch.superseded
        if batch.lane in ("follow", "replay"):  # the others do not move the offset, which is what is written
            self._unsaved[sink] += len(batch.messages)
            if self._unsaved[sink] > SENT_AGAIN // 2:  # early, so that `next` seldom waits for it
                self._next_cursors = 0.0
                self._wake.set()

    async def _save_cursors(self) -> None:
        """Wait until what is confirmed is on disk; while the disk fails it cannot be."""
        if not self.failing and not self._closing:
            self._next_cursors = 0.0
            await self._next_write()

    def reject(self, sink: str, messages: Sequence[Message], reason: str) -> None:
        """The receiver refuses these for good: keep them as dead letters, with the reason."""
        self._pending.dead += [DeadLetter(sink, reason, self.now(), message) for message in messages]
        self._counters.dead += len(messages)
        self._wake.set()

    async def wait(self, sink: str, seconds: float) -> None:
        """Until there is something new, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news[sink].wait()

    def lag(self, sink: str) -> int:
        """How far the sink's confirmed offset lags behind the newest message; 0 = it has everything."""
        return self._log.end_offset - self._cursors[sink].offset

    def usage(self) -> dict[Kind, Usage]:
        """Messages and bytes held, by kind."""
        return {kind: Usage(held.messages, held.bytes) for kind, held in self._log.held.items() if held.messages}

    async def dead_letters(self) -> list[DeadLetter]:
        """What was refused for good, oldest first."""
        return await self._database.run(dead_letters)

    # Writing

    async def _write_forever(self) -> None:
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.linger_seconds):
                    await self._wake.wait()
            self._wake.clear()
            if self._log.may_write:
                await self._write()
        self._next_cursors = 0.0
        await self._write()
        await self._log.shrink(closing=True)

    async def _write(self) -> None:
        """One transaction with everything that waits for one."""
        waiting, self._waiting = self._waiting, []
        if self._log.unread:
            await self._read_late()
        transaction, saved = None if self._log.unread else self._transaction(), self._unsaved.copy()
        if transaction is not None:
            try:
                await self._log.write(transaction)
            except DatabaseError:
                self._pending.notes = transaction.notes | self._pending.notes
                self._pending.dead = (transaction.dead + self._pending.dead)[-transaction.dead_limit :]
            else:
                self._written |= transaction.cursors
                self._unsaved -= saved
                for kinds, _, upto in transaction.confirmed:
                    self._removed |= dict.fromkeys(kinds, upto)
            if self._files != self._log.files:  # a new file: all of the small things are to be written again
                self._files = self._log.files
                self._written, self._removed = {}, {}
                self._pending.notes = {**self._notes, **self._pending.notes}
        for done in waiting:
            if not done.done():  # its owner was cancelled
                done.set_result(None)
        self._announce()
        if transaction is not None and transaction.confirmed and not self.failing:
            await self._log.shrink()

    async def _read_late(self) -> None:
        """The disk failed at the start; what it holds goes out beside what has come since."""
        try:
            start = await self._log.read_late()
            for name, cursor in self._cursors.items():
                after, live = start.cursors.get(name, 0), cursor.offset
                kinds = self._late_kinds(cursor) - PRESENT
                machines = await self._database.run(
                    lambda c, after=after, kinds=kinds: backlog(c, after, start.end_offset, kinds, frozenset())  # type: ignore[misc]
                )
                cursor.offset = after
                cursor.begin_replay(start.end_offset, machines)
                cursor.live = live
        except DatabaseError as error:
            self._log.failed(error)
            return
        self._files = self._log.files
        self._notes = {**start.notes, **self._notes}
        self._seen.learn(start.ids)
        self._written = dict(start.cursors)

    def _transaction(self) -> Transaction | None:
        now = self.monotonic()
        transaction, self._pending = self._pending, Transaction()
        transaction.drop = self._room()
        if now >= self._next_expiry:
            self._next_expiry = now + 60.0
            oldest = self._time()
            transaction.expire = [
                (self._wanted - MINOR, oldest - int(self.alert_seconds * SECOND)),
                (MINOR, oldest - int(self.metric_seconds * SECOND)),
            ]
        busy = bool(
            self._log.fresh or transaction.notes or transaction.dead or transaction.expire or transaction.drop
        )
        if busy or now >= self._next_cursors:
            for name, cursor in self._cursors.items():
                if cursor.offset != self._written.get(name):
                    transaction.cursors[name] = cursor.offset
            transaction.confirmed = self._removable()
        if transaction.cursors:
            self._next_cursors = now + self.confirm_seconds
        return transaction if busy or transaction.cursors or transaction.confirmed else None

    def _removable(self) -> list[tuple[frozenset[Kind], int, int]]:
        """Ranges in which the rows of some kinds have reached every sink that takes them."""
        groups: dict[tuple[int, int], set[Kind]] = {}
        for kind, held in self._log.held.items():
            upto = min((c.offset for c in self._cursors.values() if kind in c.kinds), default=self._log.durable)
            after = self._removed.get(kind, 0)
            if held.messages and upto > after:
                groups.setdefault((after, upto), set()).add(kind)
        return [(frozenset(kinds), after, upto) for (after, upto), kinds in groups.items()]

    def _room(self) -> list[tuple[frozenset[Kind], int]]:
        """What must go to stay within the bounds, and a little more, not to come back at once."""
        minor = sum(held.bytes for kind, held in self._log.held.items() if kind in MINOR)
        major = sum(held.bytes for kind, held in self._log.held.items() if kind not in MINOR)
        drop: list[tuple[frozenset[Kind], int]] = []
        limit = self.alert_bytes + self.metric_bytes
        excess = max(minor - self.metric_bytes, min(minor, minor + major - limit))
        if excess > 0:
            drop.append((MINOR, excess + self.metric_bytes // 64))
        if major > limit:
            drop.append((frozenset(self._log.held) - MINOR, major - limit + limit // 64))
        return drop

    def _announce(self) -> None:
        for news in self._news.values():
            news.set()

    def _time(self) -> int:
        """When something is stored: like the host's clock, but it never steps."""
        return self._epoch + int((self.monotonic() - self._started) * SECOND)
