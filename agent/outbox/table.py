"""The tables of the outbox, as functions of a connection; they run in the database's thread."""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from agent.alerts import Kind, Message

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
)

_ROWS = 200  # of one INSERT
_OVERHEAD = 64  # bytes a row costs beside its texts


class Kept(NamedTuple):
    """A message in the log: its place, when it was stored (host time, ns) and what it weighs in bytes."""

    position: int
    message: Message
    stored: int
    size: int


@dataclass(slots=True)
class Held:
    """What a kind occupies."""

    messages: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that a sink's receiver refused for good."""

    sink: str
    reason: str
    at: int
    message: Message


@dataclass(slots=True)
class Changes:
    """What one transaction writes.

    Attributes:
        confirmed: (kinds, after, upto): rows of these kinds in this range have reached all their sinks.
        drop: (kinds, bytes): delete the oldest rows of these kinds until so many bytes are free.
        expire: (kinds, before): delete rows of these kinds stored before that time.
    """

    rows: list[Kept] = field(default_factory=list)
    notes: dict[str, bytes | None] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    confirmed: list[tuple[frozenset[Kind], int, int]] = field(default_factory=list)
    drop: list[tuple[frozenset[Kind], int]] = field(default_factory=list)
    expire: list[tuple[frozenset[Kind], int]] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    dead_limit: int = 1000


@dataclass(slots=True)
class Outcome:
    """What a transaction removed: kind -> (messages, bytes), and the positions of what never was delivered."""

    confirmed: dict[Kind, Held] = field(default_factory=dict)
    dropped: dict[Kind, Held] = field(default_factory=dict)
    expired: dict[Kind, Held] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)


def size_of(message: Message) -> int:
    """Bytes a message is taken to occupy."""
    return len(message.body) + len(message.id) + len(message.machine) + len(message.name) + _OVERHEAD


def apply(connection: sqlite3.Connection, changes: Changes) -> Outcome:
    """Write the changes."""
    outcome = Outcome()
    _insert(connection, changes.rows)
    for name, value in changes.notes.items():
        if value is None:
            connection.execute("DELETE FROM notes WHERE name = ?", (name,))
        else:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?,?,?)", (name, value, _crc_of(name, value)))
    connection.executemany(
        "INSERT OR REPLACE INTO cursors VALUES (?,?,?)",
        [(sink, position, _crc_of(sink, b"%d" % position)) for sink, position in changes.cursors.items()],
    )
    for kinds, after, upto in changes.confirmed:
        where, values = f"position > ? AND position <= ? AND {_among(kinds)}", (after, upto)
        _delete(connection, where, values, outcome.confirmed)
    for kinds, before in changes.expire:
        where = f"stored < ? AND {_among(kinds)}"
        outcome.lost += [row[0] for row in connection.execute(f"SELECT position FROM log WHERE {where}", (before,))]  # noqa: S608 kinds are a Literal
        _delete(connection, where, (before,), outcome.expired)
    for kinds, excess in changes.drop:
        _drop_oldest(connection, kinds, excess, outcome)
    if changes.dead:
        connection.executemany(
            "INSERT INTO dead (sink, reason, at, kind, id, machine, name, time, body) VALUES (?,?,?,?,?,?,?,?,?)",
            [
                (d.sink, d.reason, d.at, d.message.kind, d.message.id, d.message.machine, d.message.name,
                 d.message.time, d.message.body)
                for d in changes.dead
            ],
        )  # fmt: skip
        connection.execute(
            "DELETE FROM dead WHERE number <= (SELECT max(number) FROM dead) - ?", (changes.dead_limit,)
        )
    return outcome


def _insert(connection: sqlite3.Connection, rows: Sequence[Kept]) -> None:
    """Many rows a statement: each statement gives up Python's lock once, and gets it back only when others wait."""
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        values: list[object] = []
        for position, m, stored, size in part:
            values += (position, m.kind, m.id, m.machine, m.name, m.time, stored, size, _crc(m, stored), m.body)
        marks = ",".join(["(?,?,?,?,?,?,?,?,?,?)"] * len(part))
        connection.execute(f"INSERT OR REPLACE INTO log VALUES {marks}", values)  # noqa: S608 only marks


def _drop_oldest(connection: sqlite3.Connection, kinds: frozenset[Kind], excess: int, outcome: Outcome) -> None:
    upto = None
    for position, size in connection.execute(
        f"SELECT position, size FROM log WHERE {_among(kinds)} ORDER BY position"  # noqa: S608 kinds are a Literal
    ):
        if excess <= 0:
            break
        upto, excess = position, excess - size
        outcome.lost.append(position)
    if upto is not None:
        _delete(connection, f"position <= ? AND {_among(kinds)}", (upto,), outcome.dropped)


def _delete(connection: sqlite3.Connection, where: str, values: tuple[int, ...], into: dict[Kind, Held]) -> None:
    query = f"SELECT kind, count(*), sum(size) FROM log WHERE {where} GROUP BY kind"  # noqa: S608 kinds are a Literal
    found = connection.execute(query, values).fetchall()
    for kind, messages, size in found:
        held = into.setdefault(kind, Held())
        held.messages += messages
        held.bytes += size
    if found:
        connection.execute(f"DELETE FROM log WHERE {where}", values)  # noqa: S608 kinds are a Literal


def read(
    connection: sqlite3.Connection, after: int, upto: int, kinds: frozenset[Kind], limit: int
) -> list[Kept | int]:
    """Rows of these kinds with `after < position <= upto`, oldest first; a damaged row is its position only."""
    query = (
        "SELECT position, kind, id, machine, name, time, stored, size, crc, body FROM log"  # noqa: S608 kinds are a Literal
        f" WHERE position > ? AND position <= ? AND {_among(kinds)} ORDER BY position LIMIT ?"
    )
    return [_kept(row) for row in connection.execute(query, (after, upto, limit))]


def scan(
    connection: sqlite3.Connection, after: int, upto: int, kinds: frozenset[Kind]
) -> Iterator[tuple[int, Kind, str, int]]:
    """Position, kind, machine and time of storage of rows in the range, without their bodies."""
    query = (
        "SELECT position, kind, machine, stored FROM log"  # noqa: S608 kinds are a Literal
        f" WHERE position > ? AND position <= ? AND {_among(kinds)} ORDER BY position"
    )
    yield from connection.execute(query, (after, upto))


def backlog(
    connection: sqlite3.Connection, after: int, upto: int, kinds: frozenset[Kind], without: frozenset[int]
) -> Counter[str]:
    """How many messages of each machine wait in the range, apart from the positions `without`."""
    return Counter(m for position, _, m, _ in scan(connection, after, upto, kinds) if position not in without)


def _kept(row: Sequence[object]) -> Kept | int:
    position, kind, id_, machine, name, time, stored, size, crc, body = cast(
        tuple[int, Kind, str, str, str, int, int, int, int, bytes], row
    )
    message = Message(id_, kind, machine, name, body, time)
    return Kept(position, message, stored, size) if _crc(message, stored) == crc else position


def _crc(message: Message, stored: int) -> int:
    return _crc_of("\0".join((*message[:4], str(message.time), str(stored))), message.body)


def _crc_of(name: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(name.encode(errors="replace")))


def _among(kinds: Iterable[Kind]) -> str:
    return "kind IN ({})".format(",".join(f"'{kind}'" for kind in sorted(kinds)))


@dataclass(slots=True)
class Start:
    """What the file held when it was opened."""

    head: int
    held: dict[Kind, Held]
    cursors: dict[str, int]
    notes: dict[str, bytes]
    ids: list[tuple[Kind, str]]
    states: dict[tuple[str, str], int]
    stored: int  # when the newest row was stored, 0 if there is none
    damaged: int = 0  # rows of a kind that there is not; they are gone


_WHOLE = (
    "typeof(id) = 'text' AND typeof(machine) = 'text' AND typeof(name) = 'text' AND typeof(time) = 'integer'"
    " AND typeof(stored) = 'integer' AND typeof(crc) = 'integer' AND typeof(body) = 'blob' AND typeof(size) = 'integer'"
    f" AND size BETWEEN length(body) + {_OVERHEAD} AND length(body) + 10000"
)
"""What every row fulfils unless a byte of the file was overwritten; the checksum is looked at when it is sent."""


def load(connection: sqlite3.Connection) -> Start:
    """Everything the outbox keeps in memory; bodies stay on disk. Rows and values that are damaged are removed."""
    known = _among(get_args(Kind))
    damaged = connection.execute(f"DELETE FROM log WHERE NOT ({known} AND {_WHOLE})").rowcount  # noqa: S608
    last = connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()[0]
    cursors, notes = _values(connection, "cursors"), _values(connection, "notes")
    times = connection.execute("SELECT stored FROM log ORDER BY position DESC LIMIT 3").fetchall()
    return Start(
        head=max([last, *cursors.values()]),
        held={
            kind: Held(messages, size)
            for kind, messages, size in connection.execute(
                "SELECT kind, count(*), sum(size) FROM log GROUP BY kind"
            )
        },
        cursors=cursors,
        notes=notes,
        ids=connection.execute("SELECT kind, id FROM log ORDER BY position").fetchall(),
        states={
            (machine, name): position
            for machine, name, position in connection.execute(
                "SELECT machine, name, max(position) FROM log WHERE kind = 'state' GROUP BY machine, name"
            )
        },
        stored=sorted(time for (time,) in times)[len(times) // 2] if times else 0,  # one may be damaged
        damaged=damaged,
    )


def _values(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    """What a table of named values holds, as far as it is whole."""
    values: dict[str, Any] = {}
    for name, value, crc in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 a constant
        if isinstance(value, int | bytes):
            text = value if isinstance(value, bytes) else b"%d" % value
            if _crc_of(str(name), text) == crc:
                values[name] = value
    return values


def salvage(connection: sqlite3.Connection, path: Path) -> int:
    """Copy what is still readable in a corrupt file; returns the number of messages."""
    found = 0
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)) as damaged:
        damaged.text_factory = lambda text: text.decode(errors="replace")
        for table in ("cursors", "notes"):
            with suppress(sqlite3.Error, ValueError):
                for row in damaged.execute(f"SELECT * FROM {table}"):  # noqa: S608 a constant
                    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES (?,?,?)", row)  # noqa: S608 a constant
        for row in _readable(damaged):
            with suppress(sqlite3.Error, ValueError, TypeError, AttributeError):
                if isinstance(_kept(row), Kept):
                    connection.execute("INSERT OR REPLACE INTO log VALUES (?,?,?,?,?,?,?,?,?,?)", row)
                    found += 1
    return found


def _readable(damaged: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    """Rows of the log; where a page is beyond reading, go on behind it."""
    after, jump = -1, 1
    for _ in range(200):
        try:
            for row in damaged.execute("SELECT * FROM log WHERE position > ? ORDER BY position", (after,)):
                yield row
                after, jump = int(row[0]), 1
            return
        except (sqlite3.Error, TypeError, ValueError):
            after, jump = after + jump, min(jump * 2, 1 << 40)


def dead_letters(connection: sqlite3.Connection) -> list[Dead]:
    """What was refused for good, oldest first."""
    rows = connection.execute(
        "SELECT sink, reason, at, id, kind, machine, name, body, time FROM dead ORDER BY number"
    )
    return [Dead(sink, reason, at, Message(*rest)) for sink, reason, at, *rest in rows]
