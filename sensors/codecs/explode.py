"""Paths into nested records, and one row an element of a nested list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sensors.batch import Ints
from sensors.codecs.json_grid import Grid

Context = tuple[Any, ...]
"""The record, then the element of each list on the way to the row."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a field is: `machine`, `event.category`, `pizzas[].pizzaName as pizza`.

    Attributes:
        source: as written, without `as`.
        name: of the column.
        levels: keys that lead to each list, outermost first.
        keys: keys within the innermost object; empty = the element itself.
    """

    source: str
    name: str
    levels: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...]

    @classmethod
    def parse(cls, spec: str) -> Self:
        """Read a path.

        Raises:
            ValueError: if a part of it is empty.
        """
        source, _, name = spec.partition(" as ")
        source, name = source.strip(), name.strip()
        *lists, last = source.split("[]")
        levels = tuple(tuple(part.strip(".").split(".")) for part in lists)
        keys = tuple(last.strip(".").split(".")) if last.strip(".") else ()
        default = keys[-1] if keys else (levels[-1][-1] if levels else "")
        if not default or not all(all(part) for part in (*levels, keys)):
            raise ValueError(f"{spec!r} is no path; write it as in 'event.category' or 'pizzas[].name as pizza'")
        return cls(source, name or (source if not lists else default), levels, keys)

    def within(self, other: Path) -> bool:
        """Whether the lists on this path are the first lists on the other."""
        return self.levels == other.levels[: len(self.levels)]

    def column(self, contexts: list[Any] | Grid, *, exploded: bool) -> list[Any]:
        """The field of each record (or, `exploded`, of each context); None where it is absent."""
        if isinstance(contexts, Grid):
            return contexts.column(self.keys[0] if len(self.keys) == 1 else self.source)
        if exploded:
            depth = len(self.levels)
            return [_get(context[depth], self.keys) for context in contexts]
        if len(self.keys) == 1:
            key = self.keys[0]
            try:
                return [record[key] for record in contexts]
            except KeyError:
                return [record.get(key) for record in contexts]
        whole = self.source  # a key may hold points itself
        return [record[whole] if whole in record else _get(record, self.keys) for record in contexts]


def explode(records: list[dict[str, Any]], path: Path) -> tuple[list[Context], Ints]:
    """A context for each element of the nested list, and `(n,)` the record that each comes from.

    As UNNEST after a left join: a record whose lists hold no element at all has one context of Nones.
    """
    contexts: list[Context] = []
    owner: list[int] = []
    nothing = (None,) * len(path.levels)
    for row, record in enumerate(records):
        found: list[Context] = [(record,)]
        for keys in path.levels:
            found = [(*context, element) for context in found for element in _elements(_get(context[-1], keys))]
        found = found or [(record, *nothing)]
        contexts += found
        owner += [row] * len(found)
    return contexts, np.array(owner, np.int64)


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _get(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
