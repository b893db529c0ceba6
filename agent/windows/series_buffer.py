"""The readings of each series that some open window still needs, as rows of growing arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from agent.core.series import Field, SeriesState, State, Stateful
from agent.windows.search import spread
from sensors.batch import Ints


class SeriesBuffer(Stateful):
    """Rows per series. Each series has a stretch of the arrays, moved to the end when it outgrows it.

    Args:
        fields: name -> dtype of each column.
        most: rows a series may keep; the oldest beyond it are dropped and counted in `dropped`.
    """

    remembers: ClassVar = {"": "_stretches"}
    shared: ClassVar = {"dropped": ("dropped", max)}

    def __init__(self, fields: Mapping[str, Any], most: int) -> None:
        self.fields = dict(fields)
        self.most = most
        self.dropped = 0
        self._clear()

    def _clear(self) -> None:
        self._data = {name: np.zeros(0, dtype) for name, dtype in self.fields.items()}
        self._used = 0  # where the next stretch begins
        self._stretches = SeriesState(start=Field(np.int64), room=Field(np.int64), count=Field(np.int64))

    @property
    def count(self) -> Ints:
        """`(series,)` rows of each."""
        return self._stretches.arrays["count"]

    def read(self, keys: Ints) -> tuple[Ints, dict[str, Any]]:
        """Rows of these series, one after the other, oldest first: the series of each row, and the columns."""
        owner, index = spread(self._stretches["start"][keys], self.count[keys])
        return keys[owner], {name: column[index] for name, column in self._data.items()}

    def write(self, keys: Ints, number: Ints, columns: Mapping[str, Any]) -> None:
        """Replace the rows of these series.

        Args:
            keys: `(s,)`, each once.
            number: `(s,)` rows of each.
            columns: name -> rows of all of them, one series after the other, oldest first.
        """
        over = number > self.most
        if over.any():
            owner, place = spread(np.zeros_like(number), number)
            keep = place >= number[owner] - self.most
            self.dropped += int(len(keep) - np.count_nonzero(keep))
            columns = {name: column[keep] for name, column in columns.items()}
            number = np.minimum(number, self.most)
        outgrown = np.flatnonzero(number > self._stretches["room"][keys])
        if len(outgrown):
            self._move(keys[outgrown], 2 * number[outgrown])
        self.count[keys] = number
        _, index = spread(self._stretches["start"][keys], number)
        for name, column in columns.items():
            self._data[name][index] = column

    def _move(self, keys: Ints, room: Ints) -> None:
        """Give these series new stretches; what was in the old ones is lost."""
        start, rooms = self._stretches["start"], self._stretches["room"]  # views
        rooms[keys], self.count[keys] = room, 0
        need = int(room.sum())
        if self._used + need > len(self._data[next(iter(self.fields))]):
            everyone = np.flatnonzero(self.count > 0)
            _, columns = self.read(everyone)
            size = 2 * (int(rooms[everyone].sum()) + need) + 64
            self._data = {name: np.zeros(size, dtype) for name, dtype in self.fields.items()}
            start[everyone] = np.cumsum(rooms[everyone]) - rooms[everyone]
            _, index = spread(start[everyone], self.count[everyone])
            for name, column in columns.items():
                self._data[name][index] = column
            self._used = int(rooms[everyone].sum())
            rooms[self.count == 0] = 0
            rooms[keys] = room
        start[keys] = self._used + np.cumsum(room) - room
        self._used += need

    def snapshot(self) -> State:
        return self.extract(np.arange(self.series))

    def extract(self, keys: Ints) -> State:
        place = np.flatnonzero(keys < self.series)
        place = place[self.count[keys[place]] > 0]
        _, columns = self.read(keys[place])
        number = self.count[keys[place]]
        return {"keys": place, "number": number, "columns": columns, "dropped": self.dropped}

    def restore(self, state: State) -> None:
        self._clear()
        self.dropped = int(state["dropped"])
        self.merge(np.arange(int(np.max(state["keys"], initial=-1)) + 1), state)

    def merge(self, keys: Ints, state: State) -> None:
        if len(keys) == 0:
            return
        self.grow(int(keys.max()) + 1)
        self.dropped = max(self.dropped, int(state["dropped"]))
        columns = {name: np.array(state["columns"][name], dtype) for name, dtype in self.fields.items()}
        self.write(keys[np.asarray(state["keys"], np.int64)], np.array(state["number"], np.int64), columns)
