"""Sliding windows over time: one for each time at which a reading came, `[time - size, time]`, both ends inclusive.

The readings of the open windows are kept (`Journal`). Time is cut into panes of one `size`, so a window is the end of
one pane and the beginning of the next: two running aggregates, forward and backward, give every window of an orderly
stream at constant cost (van Herk 1992, Gil and Werman 1993). Readings behind others of their series take the same two
sums over the readings that had come by then, at a cost of the readings in the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from agent.core.rows import Rows, no_rows
from agent.core.series import State
from agent.windows import sorted_block as block
from agent.windows.aggregates import parse
from agent.windows.base import Window
from agent.windows.block_view import cut
from agent.windows.closed_windows import Told, together
from agent.windows.event_time_rows import Story
from agent.windows.lateness import Lateness
from agent.windows.results import results
from agent.windows.sampled_aggregates import Asked, with_columns
from agent.windows.search import first_at_least
from agent.windows.series_buffer import Journal
from agent.windows.watermark import NEVER, Horizon
from sensors.batch import Ints
from sensors.units import SECOND, Duration

_END = 1 << 62
_BLOCK = 1 << 15
_ZERO = Duration(0)


@dataclass(kw_only=True)
class Sliding(Window):
    """Windows of `size` that end with each reading.

    Attributes:
        size: of a window; both ends belong to it.
        grace: how late a reading may be.
        emit_late: keep the windows refused to late readings of the last call in `late`, for a side stream.
        emit: `current`: a reading tells the window that ends with it, and those after it that contain it; `final`: a
            window is told when the series has gone on by more than `grace`.
        most: readings kept of a series; the oldest beyond it are dropped and counted.
    """

    remembers: ClassVar = {**Window.remembers, "journal": "journal"}
    shared: ClassVar = {"arrived": ("_arrived", max)}

    size: Duration
    emit: Literal["current", "final"] = "final"
    grace: Duration = _ZERO
    emit_late: bool = False
    most: int = 100_000

    def __post_init__(self) -> None:
        if self.size <= 0:
            raise ValueError("size must be longer than zero")
        lateness = Lateness(self.emit_late)
        horizon = Horizon("key", self.grace, 0, None)
        self._begin(parse(self.aggregates, self.metric), self.most, horizon, lateness, lateness)
        fields = {"time": np.int64, "arrival": np.int64, "window": np.bool_}
        self.journal = Journal(fields | {f"x{i}": np.float64 for i in range(len(self.layout.columns))}, self.most)
        self._arrived = 0

    @property
    def dropped(self) -> int:
        """Readings beyond `most` of a series."""
        return max(super().dropped, self.journal.dropped)

    def process(self, rows: Rows) -> Rows:
        """Windows that the rows changed (`current`) or closed (`final`), in order."""
        self.late.clear()
        told: list[Told] = []
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            arrived, owner = self._arrived, rows.key[:0]
            if self.samples is not None and len(rows):
                owner = self.samples.add(rows, rows.end, self._kept(rows), arrived)
            for start in range(0, len(rows), _BLOCK):
                told += self._block(rows, start, min(start + _BLOCK, len(rows)))
            found = self._rows(told, rows, arrived)
            if self.samples is not None and len(owner):
                self.samples.drop(owner, self.horizon.at[owner] - self.size)
            return found

    def _kept(self, rows: Rows) -> Any:
        """Rows that take part, `(n,)` bool."""
        keep = rows.key >= 0
        return keep if self.where is None else keep & self.where.holds(rows)

    def finish(self, now: int) -> Rows:
        """End of input: tell every window that is open (`final` only)."""
        none = no_rows(now)
        who = np.flatnonzero(self.journal.count > 0)
        if self.emit == "current" or len(who) == 0:
            return self._rows([], none, 0)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            story = Story(self.layout, int(self.size), *self.journal.read(who))
            rows = story.windows()
            told = Told(story.key[rows], story.time[rows], np.full(len(rows), -1), story.tidy(rows))
            order = np.lexsort((told.key, told.window))
            self.touch(who)
            self.journal.evict(who)
            self.horizon.at[who] = _END
            return self._rows([told.take(order)], none, _END)

    def _block(self, rows: Rows, start: int, stop: int) -> list[Told]:
        key, time = rows.key[start:stop], rows.end[start:stop]
        position = np.flatnonzero(self._kept(cut(rows, slice(start, stop))))
        key, time = key[position], time[position]
        if len(key) == 0:
            return []
        highest = int(key.max())
        if highest >= self.horizon.series:
            self.grow(highest + 1)
        try:
            s = block.by_series(key, time, self.horizon, None)
        except block.TooWideError:
            middle = (start + stop) // 2
            return self._block(rows, start, middle) + self._block(rows, middle, stop)
        if s.order is not None:
            position = position[s.order]
        length = block.lengths(s.starts, len(s.key))
        told = self._new(rows, start, position, s.key, s.time, s.after, s.starts, length)
        self._arrived += stop - start
        return told

    def _new(
        self,
        rows: Rows,
        start: int,
        position: Ints,
        key: Ints,
        time: Ints,
        horizon: Ints,
        first: Ints,
        length: Ints,
    ) -> list[Told]:
        """Add readings, sorted by series, to the kept ones and tell windows."""
        size, owner = int(self.size), key[first]
        accepted = time >= horizon - size
        fits = np.maximum(time - size, 0) >= horizon - size
        if not fits.all():
            self.lateness.count(1 - fits, accepted)
            self._refuse(rows, start, position, key, time, horizon, np.flatnonzero(~fits))
        chosen = np.flatnonzero(accepted)
        kept_key, kept = self.journal.read(owner)
        new: dict[str, Any] = {
            "time": time[chosen],
            "arrival": self._arrived + position[chosen],
            "window": fits[chosen],
        }
        for i, name in enumerate(self.layout.columns):
            new[f"x{i}"] = block.column(rows.values, name, slice(None), len(rows))[start + position[chosen]]
        columns = {name: np.concatenate((kept[name], new[name])) for name in kept}
        story = Story(self.layout, size, np.concatenate((kept_key, key[chosen])), columns)
        inside = story.place[len(kept_key) :]
        orderly = horizon == time - self.grace
        strays = np.zeros(len(self.horizon.at), np.bool_)
        strays[key[~orderly]] = True
        if self.emit == "current":
            told = self._current(
                story, strays, inside, key[chosen], time[chosen], horizon[chosen], position[chosen]
            )
        else:
            told = self._final(story, strays, owner, first, length, horizon, position)
        self._keep(story, owner)
        return [item._replace(position=item.position + start) for item in told]

    def _current(
        self, story: Story, strays: Any, inside: Ints, key: Ints, time: Ints, horizon: Ints, position: Ints
    ) -> list[Told]:
        simple = np.flatnonzero(~strays[key])
        told = Told(key[simple], time[simple], position[simple], story.tidy(inside[simple]))
        hard = np.flatnonzero(strays[key])
        if len(hard):
            reading, window = story.after(inside[hard], horizon[hard])
            row = hard[reading]
            partial = story.as_of(window, story.arrival[inside[row]])
            told = together(told, Told(key[row], story.time[window], position[row], partial))
        return [_sorted(told)]

    def _final(
        self, story: Story, strays: Any, owner: Ints, first: Ints, length: Ints, horizon: Ints, position: Ints
    ) -> list[Told]:
        window = story.windows()
        number = np.searchsorted(owner, story.key[window])
        begin, end = first[number], first[number] + length[number]
        closes = np.maximum(story.time[window], self.size) + 1  # the horizon at which it closes
        cause = first_at_least(horizon, begin, end, closes)
        done = np.flatnonzero(cause < end)
        window, cause = window[done], cause[done]
        story.close(window)
        simple = np.flatnonzero(~strays[story.key[window]])
        row = window[simple]
        told = Told(story.key[row], story.time[row], position[cause[simple]], story.tidy(row))
        hard = np.flatnonzero(strays[story.key[window]])
        if len(hard):
            row = window[hard]
            partial = story.as_of(row, self._arrived + position[cause[hard]])
            told = together(told, Told(story.key[row], story.time[row], position[cause[hard]], partial))
        return [_sorted(told)]

    def _keep(self, story: Story, owner: Ints) -> None:
        """Put back what open windows need."""
        least = (self.horizon.at - self.size)[story.key]
        open_ = story.window & (np.maximum(story.time - self.size, 0) >= least)
        keep = np.flatnonzero(story.time >= least)
        columns = {name: column[keep] for name, column in story.columns.items()}
        columns["window"] = open_[keep]
        number = np.bincount(np.searchsorted(owner, story.key[keep]), minlength=len(owner))
        self.journal.write(owner, number, columns)

    def _refuse(
        self, rows: Rows, start: int, position: Ints, key: Ints, time: Ints, horizon: Ints, late: Ints
    ) -> None:
        if self.emit_late:
            late = late[np.argsort(position[late], kind="stable")]
            by = {"late_by": (horizon[late] - time[late]) / SECOND}
            begin = np.maximum(time[late] - self.size, 0)
            self.late.append(Rows(key[late], begin, time[late], rows.at[start + position[late]], by, rows.now))

    def _rows(self, told: list[Told], rows: Rows, arrived: int) -> Rows:
        """Windows as rows; so many readings had come before these."""
        key, time, position, partial = together(*told, size=self.layout.size)
        at = position if len(position) and position[0] < 0 else rows.at[position]
        values = results(self.layout, partial, int(self.size))
        start = np.maximum(time - self.size, 0)
        found = Rows(key, start, time, at, values, rows.now)
        if self.samples is None:
            return found
        return with_columns(found, *self.samples.of(Asked(key, start, time + 1, arrived + position)))

    def restore(self, state: State) -> None:
        super().restore(_upgraded(state))


def _upgraded(state: State) -> State:
    """A state with the horizon alone and one counter, as one of today."""
    if "refused" not in state:
        return state
    never = np.full(len(state["horizon"]), NEVER, np.int64)
    horizon = {"at": state["horizon"], "latest": never, "seen": never, "due": NEVER, "now": NEVER}
    return state | {"horizon": horizon, "late": state["refused"], "late_partly": 0}


def _sorted(told: Told) -> Told:
    """In order of cause, then time."""
    return told.take(np.lexsort((told.window, told.position)))
