"""Paths into nested records: `event.category`, `Power[1]`, `pizzas[].pizzaName as pizza`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from sensors.codecs.json_grid import Grid

Key = str | int
"""Name of a member of an object, or place in a list, counted from its end if negative."""

_INDEX = re.compile(r"-?[0-9]{1,9}")
_KEY = re.compile(r'[^.\["\]]+')

ROOT = ""
"""Name under which a message that is no object, but a bare list, stands in its record."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a field is.

    Attributes:
        source: as written, without `as`.
        name: of the column.
        levels: keys that lead to each list that is exploded, outermost first.
        keys: keys within the innermost object; empty = the element itself.
    """

    source: str
    name: str
    levels: tuple[tuple[Key, ...], ...]
    keys: tuple[Key, ...]

    @classmethod
    def parse(cls, spec: str) -> Self:
        """Read a path: names between points, a name with points in quotes, `[2]` for a place in a list, `[]` for all.

        Raises:
            ValueError: if it is none; says at which character.
        """
        source, name = _named(spec)
        levels: list[tuple[Key, ...]] = []
        keys: list[Key] = []
        place, fresh = 0, True  # fresh: a name has to follow
        while place < len(source):
            sign = source[place]
            if sign == "[":
                end = source.find("]", place)
                inner = source[place + 1 : end]
                if end < 0 or not (inner == "" or _INDEX.fullmatch(inner)):
                    _refuse(
                        spec, place, "brackets hold a place in a list, as in [0], or nothing; else quote the name"
                    )
                if fresh and (place or not inner):
                    _refuse(spec, place, "a name is missing before it")
                if not place:
                    keys.append(ROOT)
                if inner:
                    keys.append(int(inner))
                elif not keys:
                    _refuse(spec, place, "a list in a list needs a place, as in [0]")
                else:
                    levels.append(tuple(keys))
                    keys = []
                place, fresh = end + 1, False
            elif sign == ".":
                if fresh or place + 1 == len(source):
                    _refuse(spec, place, "a name is missing")
                place, fresh = place + 1, True
            else:
                if not fresh:
                    _refuse(spec, place, "a point is missing before the name")
                if sign == '"':
                    end = source.find('"', place + 1)
                    if end <= place + 1:
                        _refuse(spec, place, "a name in quotes has no end, or is empty")
                    keys.append(source[place + 1 : end])
                    place = end + 1
                else:
                    found = _KEY.match(source, place)
                    if found is None:
                        _refuse(spec, place, "no bracket is open")
                    keys.append(found[0])
                    place = found.end()
                fresh = False
        if not source or fresh:
            _refuse(spec, place, "a name is missing")
        default = _shown(keys or levels[-1]) if levels else source.replace('"', "")
        return cls(source, name or default, tuple(levels), tuple(keys))

    @classmethod
    def flat(cls, spec: str) -> Self:
        """The field of a record without objects, whose names may hold anything: `Power [kW] as power`.

        Raises:
            ValueError: if the name is empty.
        """
        source, name = _named(spec)
        if not source:
            raise ValueError(f"{spec!r} names no field")
        return cls(source, name or source, (), (source,))

    def within(self, other: Path) -> bool:
        """Whether the lists on this path are the first lists on the other."""
        return self.levels == other.levels[: len(self.levels)]

    def column(self, contexts: list[Any] | Grid, *, exploded: bool) -> list[Any]:
        """The field of each record (or, `exploded`, of each context); None where it is absent."""
        if isinstance(contexts, Grid):
            return contexts.column(str(self.keys[0]) if len(self.keys) == 1 else self.source)
        if exploded:
            depth = len(self.levels)
            return [get(context[depth], self.keys) for context in contexts]
        if len(self.keys) == 1:
            key = self.keys[0]
            try:
                return [record[key] for record in contexts]
            except KeyError:
                return [record.get(key) for record in contexts]
        whole = self.source  # a key may hold points itself
        return [record[whole] if whole in record else get(record, self.keys) for record in contexts]


def get(value: Any, keys: tuple[Key, ...]) -> Any:
    """What lies behind the keys; None if nothing does."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _named(spec: str) -> tuple[str, str]:
    """What stands before and behind the last ` as ` outside quotes."""
    source, sign, name = spec.rpartition(" as ")
    if not sign or source.count('"') % 2:
        return spec.strip(), ""
    return source.strip(), name.strip()


def _shown(keys: list[Key] | tuple[Key, ...]) -> str:
    """The last name, with the places behind it."""
    last = max((place for place, key in enumerate(keys) if isinstance(key, str)), default=0)
    return "".join(f"[{key}]" if isinstance(key, int) else key for key in keys[last:])


def _refuse(spec: str, place: int, reason: str) -> NoReturn:
    raise ValueError(
        f"{spec!r} is no path: at character {place + 1}, {reason}; "
        f"write it as in 'event.category', 'Power[0] as p1', 'pizzas[].name as pizza' or '\"a.b\".c'"
    )
