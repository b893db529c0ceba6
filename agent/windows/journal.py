"""The readings of each series that some open window still needs, as rows of growing arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agent.rows import State
from sensors.batch import Ints


class Journal:
    """Rows per series. Each series has a stretch of the arrays, moved to the end when it outgrows it.

    Args:
        fields: name -> dtype of each column.
        most: rows a series may keep; the oldest beyond it are dropped and counted in `dropped`.
    """

    def __init__(self, fields: Mapping[str, Any], most: int) -> None:
        self.fields = dict(fields)
        self.most = most
        self.dropped = 0
        self._data = {name: np.zeros(0, dtype) for name, dtype in self.fields.items()}
        self._start: Ints = np.zeros(0, np.int64)
        self._room: Ints = np.zeros(0, np.int64)
        self.count: Ints = np.zeros(0, np.int64)
        self._used = 0

    def grow(self, series: int) -> None:
        """Make room for so many series."""
        more = max(series, 2 * len(self.count)) - len(self.count) if series > len(self.count) else 0
        if more:
            zeros = np.zeros(more, np.int64)
            self._start, self._room = np.append(self._start, zeros), np.append(self._room, zeros)
            self.count = np.append(self.count, zeros)

    def read(self, keys: Ints) -> tuple[Ints, dict[str, Any]]:
        """Rows of these series, one after the other, oldest first: the series of each row, and the columns."""
        number = self.count[keys]
        total = int(number.sum())
        begin = np.cumsum(number) - number
        index = np.arange(total) + np.repeat(self._start[keys] - begin, number)
        return np.repeat(keys, number), {name: column[index] for name, column in self._data.items()}

    def write(self, keys: Ints, number: Ints, columns: Mapping[str, Any]) -> None:
        """Replace the rows of these series.

        Args:
            keys: `(s,)`, each once.
            number: `(s,)` rows of each.
            columns: name -> rows of all of them, one series after the other, oldest first.
        """
        over = number > self.most
        if over.any():
            place = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
            keep = place >= np.repeat(number - self.most, number)
            self.dropped += int(len(keep) - np.count_nonzero(keep))
            columns = {name: column[keep] for name, column in columns.items()}
            number = np.minimum(number, self.most)
        outgrown = np.flatnonzero(number > self._room[keys])
        if len(outgrown):
            self._move(keys[outgrown], 2 * number[outgrown])
        self.count[keys] = number
        index = np.arange(int(number.sum())) + np.repeat(self._start[keys] - (np.cumsum(number) - number), number)
        for name, column in columns.items():
            self._data[name][index] = column

    def _move(self, keys: Ints, room: Ints) -> None:
        """Give these series new stretches; what was in the old ones is lost."""
        self._room[keys], self.count[keys] = room, 0
        need = int(room.sum())
        if self._used + need > len(self._data[next(iter(self.fields))]):
            everyone = np.flatnonzero(self.count > 0)
            number = self.count[everyone]
            _, columns = self.read(everyone)
            size = 2 * (int(self._room[everyone].sum()) + need) + 64
            self._data = {name: np.zeros(size, dtype) for name, dtype in self.fields.items()}
            self._start[everyone] = np.cumsum(self._room[everyone]) - self._room[everyone]
            index = np.arange(len(columns[next(iter(self.fields))]))
            index += np.repeat(self._start[everyone] - (np.cumsum(number) - number), number)
            for name, column in columns.items():
                self._data[name][index] = column
            self._used = int(self._room[everyone].sum())
            gone = np.flatnonzero(self.count == 0)
            self._room[gone] = 0
            self._room[keys] = room
        self._start[keys] = self._used + np.cumsum(room) - room
        self._used += need

    def evict(self, keys: Ints) -> None:
        """Drop the rows of these series."""
        self.count[keys[keys < len(self.count)]] = 0

    def snapshot(self) -> State:
        everyone = np.flatnonzero(self.count > 0)
        _, columns = self.read(everyone)
        return {"keys": everyone, "number": self.count[everyone], "columns": columns, "dropped": self.dropped}

    def restore(self, state: State) -> None:
        self.__init__(self.fields, self.most)  # type: ignore[misc]  # start anew, then fill
        keys = np.array(state["keys"], np.int64)
        if len(keys):
            self.grow(int(keys[-1]) + 1)
            columns = {name: np.array(state["columns"][name], dtype) for name, dtype in self.fields.items()}
            self.write(keys, np.array(state["number"], np.int64), columns)
        self.dropped = int(state["dropped"])
