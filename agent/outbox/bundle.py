"""Many messages of one kind in one row of the log: a burst of raw events costs some rows, not thousands.

A bundle is what came in one append, one after the other, of one kind, as far as it fits; never a state, since a newer
state replaces an older one. It is packed as a line of JSON (ids, machines, names, times, lengths of the bodies) and
the bodies behind it. It is the unit in which the log makes room and forgets, so it is small beside the quota.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, repeat

import orjson

from agent.alerts.alert import Kind, Message

MOST = 256
"""Messages in a bundle."""

_FEWEST = 8  # below, a row a message is as good, and each can be looked at with SQL
_BYTES = 64 * 1024
OVERHEAD = 64
"""Bytes a message is taken to cost beside its texts."""

_BUNDLED: frozenset[Kind] = frozenset({"alert", "raw", "metric"})


def size_of(message: Message) -> int:
    """Bytes a message is taken to occupy."""
    return len(message.body) + len(message.id) + len(message.machine) + len(message.name) + OVERHEAD


def weigh(messages: Sequence[Message]) -> int:
    """Bytes that messages are taken to occupy."""
    return sum(map(size_of, messages))


def bundles(kind: Kind, messages: Sequence[Message], quota: int) -> Iterator[Sequence[Message]]:
    """Cut messages of one kind into what goes into one row each; `quota` is the room for messages of that kind."""
    limit = min(_BYTES, quota // 64)
    if len(messages) < _FEWEST or kind not in _BUNDLED or weigh(messages[:1]) * _FEWEST > limit:
        yield from ([message] for message in messages)
        return
    start = 0
    while start < len(messages):
        part = messages[start : start + MOST]
        if weigh(part) > limit:
            sizes = accumulate(map(size_of, part))
            part = part[: max(1, sum(size <= limit for size in sizes))]
        yield part
        start += len(part)


def pack(messages: Sequence[Message]) -> bytes:
    """The body of a row that holds several messages."""
    ids, _, machines, names, bodies, times, _ = zip(*messages, strict=True)
    columns = (ids, _short(machines), _short(names), times, list(map(len, bodies)))
    return orjson.dumps(columns) + b"\n" + b"".join(bodies)


def _short(column: tuple[str, ...]) -> tuple[str, ...] | str:
    """One text if it is the same for all."""
    return column[0] if column.count(column[0]) == len(column) else column


def unpack(kind: Kind, body: bytes) -> list[Message]:
    """The messages of such a row.

    Raises:
        ValueError: it is damaged.
    """
    head, _, rest = body.partition(b"\n")
    ids, machines, names, times, lengths = orjson.loads(head)
    ends = list(accumulate(lengths))
    if ends[-1] != len(rest):
        raise ValueError(f"{len(rest)} bytes of bodies, {ends[-1]} were written")
    bodies = [rest[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    machines, names = ([column] * len(ids) if isinstance(column, str) else column for column in (machines, names))
    count = len(ids)
    rows = zip(ids, repeat(kind, count), machines, names, bodies, times, repeat(False, count), strict=True)
    return list(map(tuple.__new__, repeat(Message), rows))  # half the time of Message(...)
