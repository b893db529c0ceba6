"""What an operator remembers, series by series.

State is a tree. Its leaves hold the memory: `SeriesState` (arrays whose first axis is the series) and `SeriesRecords`
(a few records of plain JSON, `agent.core.series_records`). Its inner nodes are operators and what they are made of;
they only name their children (`remembers`) and the few numbers that all series share (`shared`). Everything else is
derived here, once for all:

* `snapshot` and `restore`: all of it, to go on from exactly here;
* `extract` and `merge`: some series, out of one operator and into another of the same configuration, which then goes
  on with them as if it had seen them from the start. A reload, a checkpoint of what changed and a hand-over of a
  partition are nothing but this;
* `evict`: these series are new again, their rows may be given to others.

A row of state (a key) has a meaning only beside its key table. In what `extract` gives the first axis is the position
in the keys asked for, so that `merge` can put the series at other rows.

What changes a series calls `touch` first, before anything of it is written. The engine does it for the series of
the rows it hands over; an operator that lets the clock change a silent series does it itself. So a checkpoint has
what it must write, and may copy a large state in slices between two batches: see
`agent.core.changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from agent.core.changes import Changes
from sensors.batch import Ints

State = dict[str, Any]
"""Arrays, numbers, strings, lists and dicts of these by name; no objects."""

Arrays = dict[str, npt.NDArray[Any]]


class Stateful:
    """Something that remembers; its state follows from what it names.

    A subclass names attributes, nothing more:

        remembers = {"life": "life", "": "_state"}    # name in the state -> attribute that is `Stateful`
        shared = {"now": ("_now", max)}               # name in the state -> attribute, and how two values become one

    Under the empty name the entries of the child, or of each of several, stand among the own ones. An attribute may be
    None (nothing is kept of it), or a tuple, list or dict of `Stateful`.

    Whatever series are taken out, all of `shared` goes with them. One operator's series may come back in several
    blocks, each of which carries it, so two equal values must become that value: `max`, also of a counter, never the
    sum. The counter of an operator that took over the series of several others is therefore a lower bound.

    Attributes:
        state_version: raised with each change after which a state saved before has another shape or its numbers
            another meaning.
    """

    remembers: ClassVar[Mapping[str, str]] = {}
    shared: ClassVar[Mapping[str, tuple[str, Callable[[Any, Any], Any]]]] = {}
    state_version: ClassVar[int] = 1

    _changes: Changes | None = None

    def track(self, changes: Changes | None) -> None:
        """Report changes of series there."""
        self._changes = changes
        for child in self.children():
            child.track(changes)

    def touch(self, keys: Ints) -> None:
        """Say that the clock, not a row, is about to change these series."""
        if self._changes is not None:
            self._changes.touch(keys)

    def children(self) -> Iterator[Stateful]:
        """What it remembers by, one after the other."""
        for attribute in self.remembers.values():
            yield from _members(getattr(self, attribute))

    @property
    def series(self) -> int:
        """Rows of state in use: one more than the highest key seen."""
        return max((child.series for child in self.children()), default=0)

    @property
    def bytes_a_series(self) -> int:
        """Memory that a further series takes."""
        return sum(child.bytes_a_series for child in self.children())

    def grow(self, size: int) -> None:
        """Have room for the series 0 to `size` - 1."""
        for child in self.children():
            child.grow(size)

    def evict(self, keys: Ints) -> None:
        """These series are new again; other series may get their rows. `(k,)`, rows beyond `series` are allowed."""
        for child in self.children():
            child.evict(keys)

    def snapshot(self) -> State:
        """A copy of all that it remembers."""
        return self._collect(lambda child: child.snapshot())

    def extract(self, keys: Ints) -> State:
        """A copy of what it remembers of some series.

        Args:
            keys: `(k,)`, each once; those beyond `series` are as new.
        """
        return self._collect(lambda child: child.extract(keys))

    def restore(self, state: State) -> None:
        """Go on from `state`, and nothing else.

        Raises:
            KeyError, TypeError, ValueError: it was not taken from an operator of this configuration.
        """
        self._set_shared(state)
        self._distribute(state, lambda child, part: child.restore(part))

    def merge(self, keys: Ints, state: State) -> None:
        """Go on with these series from `state`; the others stay as they are.

        Args:
            keys: `(k,)` row that the series at each position of `state` gets; new or evicted here.
            state: from `extract`.

        Raises:
            KeyError, TypeError, ValueError: it was not taken from an operator of this configuration.
        """
        entries(state)
        self.touch(keys)
        for name, (attribute, combine) in self.shared.items():
            mine = getattr(self, attribute)
            setattr(self, attribute, type(mine)(combine(mine, state[name])))
        self._distribute(state, lambda child, part: child.merge(keys, part))

    def restore_shared(self, state: State) -> None:
        """Set what all series share to what it was when `state` was taken, and nothing else.

        Where the series come from several states (each `merge` combines what they share), this comes last.
        """
        self._set_shared(state)
        self._distribute(state, lambda child, part: child.restore_shared(part))

    def _set_shared(self, state: State) -> None:
        entries(state)
        for name, (attribute, _) in self.shared.items():
            setattr(self, attribute, type(getattr(self, attribute))(state[name]))

    def versions(self) -> dict[str, int]:
        """Class name -> `state_version`, of it and of all below it, where it is not 1."""
        found = {type(self).__name__: self.state_version} if self.state_version != 1 else {}
        for child in self.children():
            found |= child.versions()
        return found

    def _collect(self, of: Callable[[Stateful], State]) -> State:
        state: State = {name: getattr(self, attribute) for name, (attribute, _) in self.shared.items()}
        for name, attribute in self.remembers.items():
            member = getattr(self, attribute)
            if name:
                state[name] = _mapped(member, of)
            else:
                for child in _members(member):
                    state |= of(child)
        return state

    def _distribute(self, state: State, to: Callable[[Stateful, State], None]) -> None:
        for name, attribute in self.remembers.items():
            member = getattr(self, attribute)
            if not name:
                for child in _members(member):
                    to(child, state)
            elif member is not None:
                _paired(member, state[name], to)


class Field(NamedTuple):
    """One array of a `SeriesState`: `dtype`, shape beyond the first axis, and what it holds of a new series."""

    dtype: Any
    neutral: Any = 0
    shape: tuple[int, ...] = ()


class Tracked(NamedTuple):
    """A part and the record of which series of it changed; parts with the same keys share a `Changes`."""

    part: Stateful
    changes: Changes


class SeriesState(Stateful):
    """Arrays whose first axis is the series: `state["count"][key]`. A leaf.

    An array is replaced when it grows: do not keep it across calls.
    """

    def __init__(self, **fields: Field) -> None:
        self.fields = fields
        self.arrays: Arrays = {
            name: np.full((0, *field.shape), field.neutral, field.dtype) for name, field in fields.items()
        }
        self._series = 0

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]

    def __len__(self) -> int:
        """Series there is room for."""
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    @property
    def series(self) -> int:
        return self._series

    @property
    def bytes_a_series(self) -> int:
        return sum(int(np.prod(f.shape)) * np.dtype(f.dtype).itemsize for f in self.fields.values())

    def grow(self, size: int) -> None:
        if size <= self._series:
            return
        self._series = size
        have = len(self)
        if size <= have:
            return
        capacity = max(size, have + have // 2, 8)
        for name, field in self.fields.items():
            grown = np.empty((capacity, *field.shape), field.dtype)
            grown[:have], grown[have:] = self.arrays[name], field.neutral
            self.arrays[name] = grown

    def at(self, keys: Ints) -> tuple[Arrays, bool]:
        """State of some series (ascending): views where the series lie side by side, else copies to `put` back."""
        if int(keys[-1]) - int(keys[0]) + 1 == len(keys):
            part = slice(int(keys[0]), int(keys[-1]) + 1)
            return {name: array[part] for name, array in self.arrays.items()}, True
        return {name: array[keys] for name, array in self.arrays.items()}, False

    def put(self, keys: Ints, part: Arrays) -> None:
        """Write back what `at` copied."""
        for name, array in part.items():
            self.arrays[name][keys] = array

    def evict(self, keys: Ints) -> None:
        known = keys[keys < self._series]
        for name, field in self.fields.items():
            self.arrays[name][known] = field.neutral

    def snapshot(self) -> State:
        return {name: array[: self._series].copy() for name, array in self.arrays.items()}

    def extract(self, keys: Ints) -> State:
        known = keys < self._series
        if known.all():
            if len(keys) and int(keys[-1]) - int(keys[0]) + 1 == len(keys) and bool((np.diff(keys) == 1).all()):
                part = slice(int(keys[0]), int(keys[-1]) + 1)  # side by side: copied five times faster
                return {name: array[part].copy() for name, array in self.arrays.items()}
            return {name: array[keys] for name, array in self.arrays.items()}
        state: State = {}
        for name, field in self.fields.items():
            state[name] = np.full((len(keys), *field.shape), field.neutral, field.dtype)
            state[name][known] = self.arrays[name][keys[known]]
        return state

    def restore(self, state: State) -> None:
        given = self._checked(state)
        size = max((len(array) for array in given.values()), default=0)
        self.arrays = {
            name: np.full((0, *field.shape), field.neutral, field.dtype) for name, field in self.fields.items()
        }
        self._series = 0
        self.grow(size)
        for name, array in given.items():
            self.arrays[name][: len(array)] = array

    def merge(self, keys: Ints, state: State) -> None:
        given = self._checked(state)
        if len(keys) == 0:
            return
        self.grow(int(keys.max()) + 1)
        for name, array in given.items():
            self.arrays[name][keys[: len(array)]] = array[: len(keys)]

    def _checked(self, state: State) -> Arrays:
        given = {name: np.asarray(state[name]) for name in self.fields}
        for name, array in given.items():
            if array.ndim == 0:
                raise ValueError(f"state of {name!r} is one {type(state[name]).__name__}, not a value a series")
            if array.shape[1:] != self.fields[name].shape:
                raise ValueError(
                    f"state of {name!r} has {array.shape[1:]} values a series, here it is {self.fields[name].shape}"
                )
        return given


def entries(state: Any) -> State:
    """The state itself.

    Raises:
        TypeError: it is no table by name or series.
    """
    if not isinstance(state, dict):
        raise TypeError(f"a state has entries by name, this is a {type(state).__name__}")
    return state


def _members(value: Any) -> Iterator[Stateful]:
    match value:
        case None:
            return
        case Stateful():
            yield value
        case dict():
            for item in value.values():
                yield from _members(item)
        case _:
            for item in value:
                yield from _members(item)


def _mapped(value: Any, of: Callable[[Stateful], State]) -> Any:
    match value:
        case None:
            return None
        case Stateful():
            return of(value)
        case dict():
            return {name: _mapped(item, of) for name, item in value.items()}
        case _:
            return [_mapped(item, of) for item in value]


def _paired(value: Any, state: Any, to: Callable[[Stateful, State], None]) -> None:
    match value:
        case Stateful():
            to(value, entries(state))
        case dict():
            for name, item in value.items():
                _paired(item, entries(state)[name], to)
        case _:
            for item, part in zip(value, state, strict=True):
                if item is not None:
                    _paired(item, part, to)
