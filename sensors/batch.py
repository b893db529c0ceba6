"""The table that flows from every source: one row a reading of one machine, in order of arrival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Text:
    """A column of strings, dictionary-encoded as in Arrow.

    Attributes:
        words: the distinct strings.
        codes: `(n,)` index into `words`, -1 where the text is missing.
    """

    words: tuple[str, ...]
    codes: Codes

    def tolist(self) -> list[str | None]:
        """The column as plain strings."""
        words = (*self.words, None)
        return [words[code] for code in self.codes.tolist()]


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings of one or many machines, columnar. Nobody changes its arrays.

    Attributes:
        machines: the ids of the machines that occur. A source that keeps handing over the same tuple object
            spares the engine the look-up.
        machine: `(n,)` index into `machines`.
        time: `(n,)` event time, ns since the epoch, UTC.
        values: column name -> `(n,)` numbers, NaN where missing.
        texts: column name -> strings.
        read_at: host time at which the batch was read, ns since the epoch. A batch without rows is how a source
            (or the clock) moves time on.
        source: name of the source, as configured.
        clock_step: by how much the host clock was set since the batch before, ns; 0 unless it was.
    """

    machines: tuple[str, ...]
    machine: Codes
    time: Ints
    values: Mapping[str, Floats]
    read_at: int
    texts: Mapping[str, Text] = field(default_factory=dict)
    source: str = ""
    clock_step: int = 0

    def __len__(self) -> int:
        return len(self.time)

    def slice(self, start: int, stop: int) -> Batch:
        """Rows `start` to `stop` as views; the cut changes nothing that is decided."""
        part = slice(start, stop)
        return Batch(
            machines=self.machines,
            machine=self.machine[part],
            time=self.time[part],
            values={name: column[part] for name, column in self.values.items()},
            read_at=self.read_at,
            texts={name: Text(text.words, text.codes[part]) for name, text in self.texts.items()},
            source=self.source,
            clock_step=self.clock_step if start == 0 else 0,
        )

    def take(self, index: Ints) -> Batch:
        """The rows at these positions."""
        return Batch(
            machines=self.machines,
            machine=self.machine[index],
            time=self.time[index],
            values={name: column[index] for name, column in self.values.items()},
            read_at=self.read_at,
            texts={name: Text(text.words, text.codes[index]) for name, text in self.texts.items()},
            source=self.source,
            clock_step=self.clock_step,
        )


def tick(read_at: int, source: str = "") -> Batch:
    """A batch without rows: nothing was read, but time has passed."""
    return Batch((), np.empty(0, np.int32), np.empty(0, np.int64), {}, read_at, source=source)


@dataclass(slots=True)
class Naming:
    """Marks batches as those of a source: they bear its name, and so do machines that have no id of their own."""

    source: str
    _given: tuple[str, ...] = ()
    _named: tuple[str, ...] = ()

    def __call__(self, batch: Batch) -> Batch:
        """The batch, named; the same tuple of machines in gives the same tuple out."""
        if batch.machines is not self._given:
            self._given = batch.machines
            nameless = "" in batch.machines and self.source
            self._named = tuple(name or self.source for name in self._given) if nameless else self._given
        return replace(batch, machines=self._named, source=self.source)
