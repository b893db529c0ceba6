"""Records (names -> values) to batches: which field is the machine, the time, a number, a text, a nested list."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np

from sensors.batch import Batch, Floats, Ints, Text
from sensors.codecs import Codec
from sensors.codecs.clock import Bools, Clock
from sensors.codecs.explode import explode
from sensors.codecs.json_grid import Grid
from sensors.codecs.numbers import NumberReader, Units
from sensors.codecs.paths import Path
from sensors.codecs.words import Words, text
from sensors.source import Counters
from sensors.times import TimeUnit

Record = dict[str, Any]

MAX_COLUMNS = 256
"""Columns of numbers that are found by themselves in one block; a sender of ever new names gets no more."""


@dataclass(kw_only=True)
class Fields(Codec):
    """What the fields of a record mean.

    A field is named by its key, by a path into objects and lists (`event.category`, `Power[1]`) or, with `explode`,
    into the objects of the list (`pizzas[].pizzaName`); `path as name` gives the column another name.

    Attributes:
        machine: field with the id of the machine; empty = one machine.
        machine_id: id where there is no such field; empty = the name of the source.
        time: field with the event time; empty = the time of reading.
        time_unit: of numbers: ns, us, ms, s; `iso` for text: ISO 8601, and exports such as `31.12.2026 13:45:59`.
        time_format: of text that is written otherwise, as of `strptime`: `%d.%m.%Y %H:%M:%S`, `%m/%d/%y %I:%M %p`.
        time_zone: of times without an offset, such as `Europe/Berlin`.
        earliest: first believable time; frames before it are refused, as are those after `latest`.
        latest: last believable time.
        values: fields that are numbers; empty = all that are.
        texts: fields that are texts.
        decimal: the decimal mark of numbers in texts, `.` or `,`.
        thousands: mark between groups of three digits, where a number such as `1,234` shall be a thousand. Groups that
            can be nothing else (`1,234.5`, `1 234`) are read without it.
        units: `strip` takes off the unit behind a number, `26.2°C`, and refuses another one than the first of its
            column.
        invalid: numbers and texts that say that there is no value: `[-127, 85, "n/a"]`.
        explode: path of a nested list with one row an element: `pizzas[].additionalToppings[] as topping`.
    """

    machine: str = ""
    machine_id: str = ""
    time: str = ""
    time_unit: TimeUnit = "ns"
    time_format: str = ""
    time_zone: str = ""
    earliest: str = "2000-01-01T00:00:00Z"
    latest: str = "2100-01-01T00:00:00Z"
    values: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    decimal: str = "."
    thousands: str = ""
    units: Units = "refuse"
    invalid: list[float | str] = field(default_factory=list)
    explode: str = ""

    nested: ClassVar[bool] = True
    """Whether records hold objects and lists; where not, a name is a name, whatever it holds."""

    def __post_init__(self) -> None:
        self.counters = Counters()
        self._clock = Clock(
            self.time_unit, self.time_zone, self.earliest, self.latest, self.time_format, self.counters
        )
        self._reader = NumberReader(self.decimal, self.thousands, self.units, self.invalid, self.counters)
        self._list = Path.parse(self.explode) if self.explode else None
        self._machine_path = self._path(self.machine) if self.machine else None
        self._time_path = self._path(self.time) if self.time else None
        self._value_paths = [self._path(spec) for spec in self.values]
        self._text_paths = [self._path(spec) for spec in self.texts]
        self._machines = Words()
        self._words: dict[str, Words] = {}
        special = {self.machine, self.time, *(path.source for path in self._text_paths)}
        self._special = special - {""}
        nested = (self._list, self._machine_path, self._time_path, *self._value_paths, *self._text_paths)
        for path in nested:
            if path is not None and path.levels and (self._list is None or not path.within(self._list)):
                raise ValueError(f"field {path.source!r} is in a list that `explode` does not name")

    def outputs(self) -> tuple[str, ...] | None:
        if not self.values:
            return None
        exploded = () if self._list is None else (self._list.name,)
        return tuple(dict.fromkeys(p.name for p in (*self._value_paths, *self._text_paths))) + exploded

    def rows(
        self,
        records: list[Record] | Grid,
        read_at: int,
        times: Sequence[int] | None = None,
        machines: list[str] | None = None,
    ) -> Batch | None:
        """The rows of the records that can be read; the others are counted as bad frames.

        Args:
            records: one a frame.
            read_at: ns since the epoch.
            times: of each record, ns; for records without a time of their own.
            machines: of each record, for records without a machine of their own.
        """
        if not records:
            return None
        self.counters.frames_ok += len(records)
        contexts: list[Any] | Grid = records
        owner: Ints | None = None
        if self._list is not None:
            contexts, owner = explode(list(records), self._list)
        machine, named = self._machine(contexts, owner, machines)
        exact, timely = self._times(contexts, owner, read_at, times, machine)
        good, codes = timely & named, machine.codes
        if not good.all():
            refused = len(good) - int(np.count_nonzero(good)) if owner is None else len(np.unique(owner[~good]))
            self.counters.frames_ok -= refused
            self.counters.frames_bad += refused
            self.counters.last_error = "no machine in the frame" if timely.all() else self._clock.reason
            if not good.any():
                return None
            kept = good.tolist()
            contexts = contexts.where(kept) if isinstance(contexts, Grid) else list(compress(contexts, kept))
            exact, codes = exact[good], codes[good]
        self.counters.rows += len(exact)
        return Batch(machine.words, codes, exact, self._numbers(contexts), read_at, self._texts(contexts))

    def reset(self, *, discard: bool = False) -> None:
        self._clock.reset()

    def refuse(self, reason: str, frame: bytes = b"") -> None:
        """Count a frame that cannot be read."""
        self.counters.frames_bad += 1
        shown = repr(frame[:60])[1:] + ("..." if len(frame) > 60 else "") if frame else ""
        if frame.count(b"\0") * 3 > len(frame):
            shown += ' (is it UTF-16? set encoding = "utf-16")'
        self.counters.last_error = f"{reason}: {shown}" if shown else reason

    def _times(
        self,
        contexts: list[Any] | Grid,
        owner: Ints | None,
        read_at: int,
        times: Sequence[int] | None,
        machine: Text,
    ) -> tuple[Ints, Bools]:
        n = len(contexts)
        column = None if self._time_path is None else self._time_path.column(contexts, exploded=owner is not None)
        if column is not None and (times is None or None not in column):
            plain = isinstance(contexts, Grid) and self.time in contexts.columns
            near = read_at if times is None or owner is not None else times
            return self._clock.times(column, plain=plain, machines=machine, near=near)
        exact = np.full(n, read_at, np.int64) if times is None else np.fromiter(times, np.int64, len(times))
        if times is not None and owner is not None:
            exact = exact[owner]
        good = np.ones(n, np.bool_)
        own = np.array([value is not None for value in column or ()], np.bool_)
        if own.any():
            some = Text(machine.words, machine.codes[own])
            own_times = [value for value in column or () if value is not None]
            exact[own], good[own] = self._clock.times(own_times, machines=some, near=exact[own].tolist())
        return exact, good

    def _machine(
        self, contexts: list[Any] | Grid, owner: Ints | None, machines: list[str] | None
    ) -> tuple[Text, Bools]:
        n = len(contexts)
        if machines is not None and owner is not None:
            machines = [machines[row] for row in owner.tolist()]
        if self._machine_path is None:
            if machines is None:
                one = self._machines.encode([self.machine_id])
                return Text(one.words, np.repeat(one.codes, n)), np.ones(n, np.bool_)
            if self.machine_id and "" in machines:
                machines = [name or self.machine_id for name in machines]
            return self._machines.encode(machines), np.ones(n, np.bool_)
        column = self._machine_path.column(contexts, exploded=owner is not None)
        names: list[str | None] = column if set(map(type, column)) == {str} else [text(value) for value in column]
        if not all(names):
            fallback = machines or [self.machine_id] * n
            names = [name or other or None for name, other in zip(names, fallback, strict=True)]
        encoded = self._machines.encode_some(names)
        return encoded, encoded.codes >= 0

    def _numbers(self, contexts: list[Any] | Grid) -> dict[str, Floats]:
        columns: dict[str, Floats] = {}
        exploded = self._list is not None
        for path in self._value_paths:
            columns[path.name] = self._reader.read(path.name, path.column(contexts, exploded=exploded))
        if not self._value_paths:
            for name, column in self._found(contexts):
                found = self._reader.found(name, column, plain=isinstance(contexts, Grid))
                if found is not None:
                    columns[name] = found
        return columns

    def _found(self, contexts: list[Any] | Grid) -> Iterator[tuple[str, list[Any]]]:
        """Fields that occur in any record, in order of occurrence, as columns."""
        if isinstance(contexts, Grid):
            for name in self._ordinary(contexts.columns):
                yield name, contexts.columns[name]
            return
        records: list[Record] = [context[0] for context in contexts] if self._list is not None else contexts
        for name in self._ordinary(_names(records)):
            try:
                column = [record[name] for record in records]
            except KeyError:
                column = [record.get(name) for record in records]
            yield name, column

    def _ordinary(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._special][:MAX_COLUMNS]

    def _texts(self, contexts: list[Any] | Grid) -> dict[str, Text]:
        exploded = self._list is not None
        texts = {path.name: self._text(path.name, path.column(contexts, exploded=exploded))
                 for path in self._text_paths}  # fmt: skip
        if self._list is not None and self._list.name not in {path.name for path in self._value_paths}:
            texts[self._list.name] = self._text(self._list.name, self._list.column(contexts, exploded=True))
        return texts

    def _path(self, spec: str) -> Path:
        """The path of a field; the name given to the exploded list stands for its elements."""
        if self._list is not None and spec == self._list.name:
            return self._list
        return Path.parse(spec) if self.nested or self._list is not None else Path.flat(spec)

    def _text(self, name: str, column: list[Any]) -> Text:
        words = self._words.setdefault(name, Words())
        if set(map(type, column)) == {str}:
            return words.encode(column)
        return words.encode_some([text(value) for value in column])


def _names(records: list[Record]) -> Iterable[str]:
    """Names that occur in any record, in order of occurrence."""
    names: Iterable[str] = records[0]
    try:
        same = len(set(map(len, records))) == 1
        for name in names:
            deque(map(itemgetter(name), records), maxlen=0)
    except KeyError:
        same = False
    return names if same else dict.fromkeys(name for record in records for name in record)
