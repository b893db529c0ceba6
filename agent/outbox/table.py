"""The tables of the outbox, as functions of a connection; they run in the database's thread. Opening: `recovery`."""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.alerts.alert import Kind, Message
from agent.outbox.bundle import MOST, pack, unpack

MIGRATIONS = (
    """
    CREATE TABLE log (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, machine TEXT NOT NULL,
        name TEXT NOT NULL, time INTEGER NOT NULL, stored INTEGER NOT NULL, size INTEGER NOT NULL,
        crc INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE cursors (sink TEXT PRIMARY KEY, position INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE notes (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE dead (number INTEGER PRIMARY KEY, sink TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL,
        kind TEXT NOT NULL, id TEXT NOT NULL, machine TEXT NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL,
        body BLOB NOT NULL);
    """,
    # `offset` of a row with several messages is that of the last
    "ALTER TABLE log ADD COLUMN count INTEGER NOT NULL DEFAULT 1;",
)

_ROWS = 200  # of one INSERT
COLUMNS = "position, kind, id, machine, name, time, stored, size, crc, body, count"
BUNDLED = COLUMNS.replace("body", "iif(count > 1, body, NULL)")
"""Where only the bodies of bundles are wanted."""


class LogRow(NamedTuple):
    """A row of the log: messages of one kind at adjoining offsets.

    Attributes:
        offset: of the last of them.
        stored: host time, ns.
        size: what they weigh, bytes; of a part of a row, what the whole row does.
    """

    offset: int
    messages: Sequence[Message]
    stored: int
    size: int

    @property
    def first(self) -> int:
        """Position of the first of them."""
        return self.offset - len(self.messages) + 1

    @property
    def kind(self) -> Kind:
        return self.messages[0].kind

    def part(self, after: int, upto: int, limit: int) -> LogRow:
        """The first of them, at most `limit`, with `after < offset <= upto`."""
        start = max(0, after + 1 - self.first)
        stop = min(len(self.messages) - max(0, self.offset - upto), start + limit)
        if start == 0 and stop == len(self.messages):
            return self
        return self._replace(offset=self.first + stop - 1, messages=self.messages[start:stop])


@dataclass(slots=True)
class Usage:
    """What a kind occupies."""

    messages: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that a sink's receiver refused for good."""

    sink: str
    reason: str
    at: int
    message: Message


@dataclass(slots=True)
class Transaction:
    """What one transaction writes.

    Attributes:
        confirmed: (kinds, after, upto): rows of these kinds in this range have reached all their sinks.
        drop: (kinds, bytes): delete the oldest rows of these kinds until so many bytes are free.
        expire: (kinds, before): delete rows of these kinds stored before that time.
    """

    rows: list[LogRow] = field(default_factory=list)
    notes: dict[str, bytes | None] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    confirmed: list[tuple[frozenset[Kind], int, int]] = field(default_factory=list)
    drop: list[tuple[frozenset[Kind], int]] = field(default_factory=list)
    expire: list[tuple[frozenset[Kind], int]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    dead_limit: int = 1000


@dataclass(slots=True)
class TransactionResult:
    """What a transaction removed: kind -> (messages, bytes), and the offsets of what never was delivered."""

    confirmed: dict[Kind, Usage] = field(default_factory=dict)
    dropped: dict[Kind, Usage] = field(default_factory=dict)
    expired: dict[Kind, Usage] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)


def apply(connection: sqlite3.Connection, transaction: Transaction) -> TransactionResult:
    """Write the transaction."""
    result = TransactionResult()
    _insert(connection, transaction.rows)
    for name, value in transaction.notes.items():
        if value is None:
            connection.execute("DELETE FROM notes WHERE name = ?", (name,))
        else:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?,?,?)", (name, value, checksum(name, value)))
    connection.executemany(
        "INSERT OR REPLACE INTO cursors VALUES (?,?,?)",
        [(sink, offset, checksum(sink, b"%d" % offset)) for sink, offset in transaction.cursors.items()],
    )
    for kinds, after, upto in transaction.confirmed:
        where, values = f"position > ? AND position <= ? AND {among(kinds)}", (after, upto)
        _delete(connection, where, values, result.confirmed)
    for kinds, before in transaction.expire:
        where = f"stored < ? AND {among(kinds)}"
        result.lost += [row[0] for row in connection.execute(f"SELECT position FROM log WHERE {where}", (before,))]  # noqa: S608 kinds are a Literal
        _delete(connection, where, (before,), result.expired)
    for kinds, excess in transaction.drop:
        _drop_oldest(connection, kinds, excess, result)
    if transaction.dead:
        connection.executemany(
            "INSERT INTO dead (sink, reason, at, kind, id, machine, name, time, body) VALUES (?,?,?,?,?,?,?,?,?)",
            [
                (d.sink, d.reason, d.at, d.message.kind, d.message.id, d.message.machine, d.message.name,
                 d.message.time, d.message.body)
                for d in transaction.dead
            ],
        )  # fmt: skip
        connection.execute(
            "DELETE FROM dead WHERE number <= (SELECT max(number) FROM dead) - ?", (transaction.dead_limit,)
        )
    return result


def _insert(connection: sqlite3.Connection, rows: Sequence[LogRow]) -> None:
    """Many rows a statement: each statement gives up Python's lock once, and gets it back only when others wait."""
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        values: list[object] = []
        for row in part:
            values += _values_of(row)
        marks = ",".join(["(?,?,?,?,?,?,?,?,?,?,?)"] * len(part))
        connection.execute(f"INSERT OR REPLACE INTO log ({COLUMNS}) VALUES {marks}", values)  # noqa: S608 only marks


def _values_of(row: LogRow) -> tuple[object, ...]:
    offset, messages, stored, size = row
    m, count = messages[0], len(messages)
    if count == 1:
        return offset, m.kind, m.id, m.machine, m.name, m.time, stored, size, _crc(m, stored), m.body, 1
    body = pack(messages)
    crc = _crc_of_bundle(offset, m.kind, stored, count, body)
    return offset, m.kind, "", "", "", m.time, stored, size, crc, body, count


def _drop_oldest(
    connection: sqlite3.Connection, kinds: frozenset[Kind], excess: int, result: TransactionResult
) -> None:
    upto = None
    for offset, size in connection.execute(
        f"SELECT position, size FROM log WHERE {among(kinds)} ORDER BY position"  # noqa: S608 kinds are a Literal
    ):
        if excess <= 0:
            break
        upto, excess = offset, excess - size
        result.lost.append(offset)
    if upto is not None:
        _delete(connection, f"position <= ? AND {among(kinds)}", (upto,), result.dropped)


def _delete(connection: sqlite3.Connection, where: str, values: tuple[int, ...], into: dict[Kind, Usage]) -> None:
    query = f"SELECT kind, sum(count), sum(size) FROM log WHERE {where} GROUP BY kind"  # noqa: S608 kinds are a Literal
    found = connection.execute(query, values).fetchall()
    for kind, messages, size in found:
        held = into.setdefault(kind, Usage())
        held.messages += messages
        held.bytes += size
    if found:
        connection.execute(f"DELETE FROM log WHERE {where}", values)  # noqa: S608 kinds are a Literal


class ReadResult(NamedTuple):
    """What was read.

    Attributes:
        rows: whole ones, and parts of those at both ends.
        damaged: (offset, messages) of rows that are not what was written.
        end: up to here there are no others.
    """

    rows: list[LogRow]
    damaged: list[tuple[int, int]]
    end: int


def read(connection: sqlite3.Connection, after: int, upto: int, kinds: frozenset[Kind], limit: int) -> ReadResult:
    """At most `limit` messages of these kinds with `after < offset <= upto`, oldest first."""
    found = ReadResult([], [], upto)
    for row in _rows(connection, COLUMNS, after, upto, kinds):
        kept = row_of(row)
        if kept is None:
            found.damaged.append((int(row[0]), int(row[10])))
            continue
        part = kept.part(after, upto, limit)
        found.rows.append(part)
        limit -= len(part.messages)
        if limit <= 0:
            return found._replace(end=part.offset)
    return found


def _rows(
    connection: sqlite3.Connection, columns: str, after: int, upto: int, kinds: frozenset[Kind]
) -> Iterator[Sequence[Any]]:
    """Rows with any message in the range, oldest first; read while they are taken."""
    query = (
        f"SELECT {columns} FROM log WHERE position > ? AND position < ? AND position - count < ?"  # noqa: S608 constants
        f" AND {among(kinds)} ORDER BY position"
    )
    yield from connection.execute(query, (after, upto + MOST, upto))


def backlog(
    connection: sqlite3.Connection, after: int, upto: int, kinds: frozenset[Kind], without: frozenset[int]
) -> Counter[str]:
    """How many messages of each machine wait in the range, apart from the offsets `without`."""
    machines: Counter[str] = Counter()
    for row in _rows(connection, BUNDLED, after, upto, kinds):
        if row[10] == 1:
            machines[row[3]] += row[0] not in without
            continue
        kept = row_of(row)
        if kept is not None:  # damaged: it will not be sent, and so not be waited for
            places = range(kept.first, kept.offset + 1)
            machines.update(
                message.machine
                for message, place in zip(kept.messages, places, strict=True)
                if after < place <= upto and place not in without
            )
    return machines


def row_of(row: Sequence[Any]) -> LogRow | None:
    """The row; None if it is damaged."""
    offset, kind, id_, machine, name, time, stored, size, crc, body, count = row
    if count == 1:
        message = Message(id_, kind, machine, name, body, time)
        return LogRow(offset, [message], stored, size) if _crc(message, stored) == crc else None
    if _crc_of_bundle(offset, kind, stored, count, body) != crc:
        return None
    return LogRow(offset, unpack(kind, body), stored, size)


def _crc_of_bundle(offset: int, kind: Kind, stored: int, count: int, body: bytes) -> int:
    return checksum(f"{offset}/{kind}/{stored}/{count}", body)


def _crc(message: Message, stored: int) -> int:
    return checksum("\0".join((*message[:4], str(message.time), str(stored))), message.body)


def checksum(name: str, value: bytes) -> int:
    """Of a named value."""
    return zlib.crc32(value, zlib.crc32(name.encode(errors="replace")))


def among(kinds: Iterable[Kind]) -> str:
    """The condition that a row is of one of these kinds."""
    return "kind IN ({})".format(",".join(f"'{kind}'" for kind in sorted(kinds)))


def dead_letters(connection: sqlite3.Connection) -> list[DeadLetter]:
    """What was refused for good, oldest first."""
    rows = connection.execute(
        "SELECT sink, reason, at, id, kind, machine, name, body, time FROM dead ORDER BY number"
    )
    return [DeadLetter(sink, reason, at, Message(*rest)) for sink, reason, at, *rest in rows]
