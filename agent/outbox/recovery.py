"""What the file holds when it is opened, and what can be saved from a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from agent.alerts.alert import Kind
from agent.outbox.bundle import MOST, OVERHEAD, weigh
from agent.outbox.table import BUNDLED, COLUMNS, Usage, among, checksum, row_of


@dataclass(slots=True)
class LoadedState:
    """What the file held when it was opened."""

    end_offset: int
    held: dict[Kind, Usage]
    cursors: dict[str, int]
    notes: dict[str, bytes]
    ids: list[tuple[Kind, str]]
    states: dict[tuple[str, str], int]
    stored: int  # when the newest row was stored, 0 if there is none
    damaged: int = 0  # messages of rows that cannot be what was written; they are gone


_WHOLE = (
    "typeof(id) = 'text' AND typeof(machine) = 'text' AND typeof(name) = 'text' AND typeof(time) = 'integer'"
    " AND typeof(stored) = 'integer' AND typeof(crc) = 'integer' AND typeof(body) = 'blob'"
    f" AND typeof(count) = 'integer' AND count BETWEEN 1 AND {MOST}"
)
"""What every row fulfils unless a byte of the file was overwritten; the checksum is looked at when it is sent."""

_SIZE = f"length(body) + length(id) + length(machine) + length(name) + {OVERHEAD} * count"
"""What a row of one message weighs; of a bundle, whose names are in the body, about."""


def load(connection: sqlite3.Connection) -> LoadedState:
    """Everything the outbox keeps in memory; bodies stay on disk. Rows and values that are damaged are removed.

    A row's size is never a reason to remove it: it only serves the bounds, and is put right from what is there.
    """
    damaged = _remove_damaged(connection)
    connection.execute(f"UPDATE log SET size = {_SIZE} WHERE count = 1 AND size IS NOT {_SIZE}")  # noqa: S608
    ids = _ids(connection)
    last = connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()[0]
    cursors, notes = _values(connection, "cursors"), _values(connection, "notes")
    times = connection.execute("SELECT stored FROM log ORDER BY position DESC LIMIT 3").fetchall()
    return LoadedState(
        end_offset=max([last, *cursors.values()]),
        held={
            kind: Usage(messages, size)
            for kind, messages, size in connection.execute(
                "SELECT kind, sum(count), sum(size) FROM log GROUP BY kind"
            )
        },
        cursors=cursors,
        notes=notes,
        ids=ids,
        states={
            (machine, name): offset
            for machine, name, offset in connection.execute(
                "SELECT machine, name, max(position) FROM log WHERE kind = 'state' GROUP BY machine, name"
            )
        },
        stored=sorted(time for (time,) in times)[len(times) // 2] if times else 0,  # one may be damaged
        damaged=damaged,
    )


def _remove_damaged(connection: sqlite3.Connection) -> int:
    """How many messages went with the rows; one whose number of messages is damaged counts as one."""
    where = f"NOT ({among(get_args(Kind))} AND {_WHOLE})"
    count = f"iif(typeof(count) = 'integer' AND count BETWEEN 1 AND {MOST}, count, 1)"
    damaged = connection.execute(f"SELECT coalesce(sum({count}), 0) FROM log WHERE {where}").fetchone()[0]  # noqa: S608
    if damaged:
        connection.execute(f"DELETE FROM log WHERE {where}")  # noqa: S608
    return int(damaged)


def _ids(connection: sqlite3.Connection) -> list[tuple[Kind, str]]:
    """The ids of all messages; while bundles are unpacked for theirs, their sizes are put right."""
    ids: list[tuple[Kind, str]] = []
    sizes: list[tuple[int, int]] = []
    query = f"SELECT {BUNDLED}, {_SIZE} FROM log ORDER BY position"  # noqa: S608 constants
    for *row, about in connection.execute(query):
        offset, kind, id_, *_, size, _, _, count = row
        if count == 1:
            ids.append((kind, id_))
            continue
        kept = row_of(row)  # None: damaged, which is counted when it is read
        right = about if kept is None else weigh(kept.messages)
        ids += [(kind, message.id) for message in (kept.messages if kept else ())]
        if right != size:
            sizes.append((right, offset))
    connection.executemany("UPDATE log SET size = ? WHERE position = ?", sizes)
    return ids


def _values(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    """What a table of named values holds, as far as it is whole."""
    values: dict[str, Any] = {}
    for name, value, crc in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 a constant
        if isinstance(value, int | bytes):
            text = value if isinstance(value, bytes) else b"%d" % value
            if checksum(str(name), text) == crc:
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
                whole = row if len(row) > 10 else (*row, 1)  # of before bundles
                kept = row_of(whole)
                if kept is not None:
                    connection.execute(
                        f"INSERT OR REPLACE INTO log ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 a constant
                        whole,
                    )
                    found += len(kept.messages)
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
