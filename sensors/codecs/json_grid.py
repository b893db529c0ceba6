"""JSON lines of one shape, read as one flat array: no object a line, no look-up a field.

Most senders write the same fields in the same order for ever: `{"Temperature_C": 65, "Timestamp": 1710856626905833677}`.
What is left of such a line without the characters of numbers, its skeleton, is the same in all lines. Then the lines
are one array: names go, `{` becomes a space, `:` and `}` become commas,

     "",65,"",1710856626905833677,
     "",66,"",1710856627905833677,

and one call parses it. That each line is what it seems follows from four checks: all skeletons are that of the
first line, which was parsed as JSON and has numbers only; no letter stands outside quotes, so what goes is never part
of a value such as `1e5`; JSON allows exactly one value between two commas; and every name became an empty text, so no
digit stands anywhere but behind a colon. Lines that fail a check are no error: they are parsed one object a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress
from typing import Any

import orjson

_QUOTED = re.compile(rb'"[^"]*"')
_NUMERIC = b"0123456789+-."
_FRAME = b"{:,} \t\r"  # all that stands outside quotes in a skeleton
_MAP = bytes.maketrans(b"{:}", b" ,,")
_GONE = bytes(set(range(256)) - set(_NUMERIC + b'"{:,}' + b" \t\r\n"))
_SINGLE = {int, float}


@dataclass(frozen=True, slots=True)
class Grid:
    """Records with the same fields, column by column; `columns` has at least one, all of the same length."""

    columns: dict[str, list[Any]]
    length: int

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = list(self.columns)
        return (dict(zip(names, row, strict=True)) for row in zip(*self.columns.values(), strict=True))

    def column(self, name: str) -> list[Any]:
        """The field of each record; None where it is absent."""
        column = self.columns.get(name)
        return [None] * self.length if column is None else column

    def where(self, good: list[bool]) -> Grid:
        """The records for which it is true."""
        return Grid({name: list(compress(column, good)) for name, column in self.columns.items()}, sum(good))


def grid(lines: list[bytes]) -> Grid | None:
    """The lines as columns of numbers; None if they are not all of one shape."""
    first = lines[0]
    skeleton = first.translate(None, _NUMERIC)
    if b"\n" in skeleton or b"\\" in skeleton or len(skeleton) == len(first):
        return None
    if _QUOTED.sub(b"", skeleton).translate(None, _FRAME):
        return None  # letters outside quotes: an exponent, a literal
    text = b"\n".join(lines)
    if text.translate(None, _NUMERIC) != (skeleton + b"\n") * (len(lines) - 1) + skeleton:
        return None
    array = text.translate(_MAP, _GONE).rstrip()
    try:
        record = orjson.loads(first)
        flat = orjson.loads(b"[" + array.removesuffix(b",") + b"]") if array.endswith(b",") else []
    except orjson.JSONDecodeError:
        return None
    if type(record) is not dict or not set(map(type, record.values())) <= _SINGLE:
        return None
    width = 2 * len(record)
    if len(flat) != width * len(lines) or flat[::2] != [""] * (len(flat) // 2):
        return None
    return Grid(
        {name: flat[place::width] for place, name in zip(range(1, width, 2), record, strict=True)}, len(lines)
    )
