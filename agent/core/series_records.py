"""What is remembered of a few series only and has no fixed shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.core.series import State, Stateful, entries
from sensors.batch import Ints


class SeriesRecords(Stateful):
    """A record of a few series, each plain JSON: `records[key]`. A leaf, for what is rare and has no fixed shape."""

    def __init__(self) -> None:
        self.of: dict[int, Any] = {}

    @property
    def series(self) -> int:
        return max(self.of, default=-1) + 1

    @property
    def bytes_a_series(self) -> int:
        return 0

    def grow(self, size: int) -> None:
        """There is always room."""

    def evict(self, keys: Ints) -> None:
        for key in keys.tolist() if self.of else ():
            self.of.pop(key, None)

    def snapshot(self) -> State:
        return {str(key): _copied(record) for key, record in sorted(self.of.items())}

    def extract(self, keys: Ints) -> State:
        if not self.of:
            return {}
        return {str(place): _copied(self.of[key]) for place, key in enumerate(keys.tolist()) if key in self.of}

    def restore(self, state: State) -> None:
        self.of = {int(key): _copied(record) for key, record in entries(state).items()}

    def merge(self, keys: Ints, state: State) -> None:
        self.of |= {key: _copied(record) for key, record in records_at(keys, state)}


def records_at(keys: Ints, state: Any) -> Iterator[tuple[int, Any]]:
    """The records of an extract, each with the key that its series gets.

    Raises:
        TypeError, ValueError: there are none in it, or one of a series beyond the keys.
    """
    for place, record in entries(state).items():
        if not 0 <= int(place) < len(keys):
            raise ValueError(f"a record of the series {place} of {len(keys)}")
        yield int(keys[int(place)]), record


def _copied(record: Any) -> Any:
    """Its lists and dicts are not those of the part, which may go on changing them."""
    match record:
        case list():
            return [_copied(item) for item in record]
        case dict():
            return {name: _copied(item) for name, item in record.items()}
        case _:
            return record
