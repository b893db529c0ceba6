"""A CSV file as columns, read by the codec that reads it live; what a stream passes over is an error here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.offline.progress import progress
from sensors.batch import Floats, Ints
from sensors.codecs.clock import Clock
from sensors.codecs.csv import Csv
from sensors.codecs.encoding import Encoding
from sensors.codecs.fields import Fields, Record
from sensors.codecs.numbers import NumberReader, number
from sensors.codecs.paths import Path as FieldPath
from sensors.codecs.words import Words
from sensors.source import Counters
from sensors.times import TimeUnit

Cells = list[str | None]

_FIRST, _BLOCK = 64, 1 << 13
"""Lines that are split in one go; between them the bar moves on."""
_EARLIEST, _LATEST = "1678-01-01T00:00:00Z", "2262-01-01T00:00:00Z"
"""Times of a file may count from its start."""
_WORDS: dict[str, str | None] = {"true": "1", "false": "0", "nan": None}


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The cells of a CSV file, and how to read them.

    Attributes:
        codec: says what numbers and times look like, and which columns are what.
        columns: name -> cells; None = empty.
        lines: number in the file of each row.
        configured: whether the codec is that of a configuration.
    """

    path: Path
    codec: Csv
    columns: dict[str, Cells]
    lines: Sequence[int]
    configured: bool

    def numbers(self, name: str) -> Floats:
        """A column as numbers; an empty cell is NaN, `true` is 1 and `false` 0.

        Raises:
            ValueError: a cell is no number; the message names file and line, and what would help.
        """
        cells, counters = self.columns[name], Counters()
        found = self._reader(counters).read(name, cells)
        if not counters.values_bad:
            return found
        cells = [_WORDS.get(cell.lower(), cell) if cell else cell for cell in cells]
        found = self._reader(Counters()).read(name, cells)
        for row in np.flatnonzero(np.isnan(found)).tolist():
            advice = self._trouble(name, cells[row])
            if advice is not None:
                said = f'{self.path}, line {self.lines[row]}: "{cells[row]}" in column {name} is no number'
                raise ValueError(f"{said}; {advice}" if advice else said)
        return found

    def is_text(self, name: str) -> bool:
        """Whether a column begins with a text: the name of something, and no metric; an empty one does not."""
        first = next(filter(None, self.columns[name]), None)
        if first is None:
            return False
        advice = self._trouble(name, _WORDS.get(first.lower(), first))
        return advice is not None and not advice.startswith(("set decimal", "it may be"))

    def texts(self, name: str) -> list[str]:
        """A column as texts; an empty cell is an empty text."""
        return [cell or "" for cell in self.columns[name]]

    def times(self, name: str, unit: TimeUnit, machine: str = "") -> Ints:
        """A column as ns since the epoch: numbers in `unit`, or texts, local ones in the zone of the codec, else UTC.

        Raises:
            ValueError: a cell is no time; the message names file and line.
        """
        cells = self.columns[name]
        form = self.codec.time_format if name == self.codec.time else ""
        first = next(filter(None, cells), "")
        if form or unit == "iso" or math.isnan(number(first)):
            unit = "iso"
        clock = Clock(unit, self.codec.time_zone or "UTC", _EARLIEST, _LATEST, form)
        machines = Words().encode_some(list(self.columns[machine])) if machine else None
        found, good = clock.times(list(cells), machines=machines)
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            clock.times([cells[row]])
            said = f'"{cells[row] or ""}" in column {name} is no time: {clock.reason}'
            raise ValueError(f"{self.path}, line {self.lines[row]}: {said}")
        return found

    def seconds(self, name: str, unit: TimeUnit) -> Floats:
        """A column of times in seconds; numbers without a format keep all their digits."""
        plain = unit == "s" and not (self.codec.time_format and name == self.codec.time)
        if plain and not self.is_text(name):
            return self.numbers(name)
        time = self.times(name, unit)
        since: Floats = (time - time[:1].sum()) / 1e9
        return since

    def _reader(self, counters: Counters) -> NumberReader:
        codec = self.codec
        return NumberReader(codec.decimal, codec.thousands, codec.units, codec.invalid, counters)

    def _trouble(self, name: str, cell: str | None) -> str | None:
        """What would help with a cell that is no number; None if it is one, or empty."""
        counters = Counters()
        self._reader(counters).read(name, [cell])
        if not counters.values_bad:
            return None
        advice = counters.bad_value.partition(f" in {name}; ")[2]
        return f"{advice} in the codec of a configuration (-c)" if advice and not self.configured else advice


def read_csv(path: Path, codec: Fields | None = None, hints: Sequence[str] = ()) -> CsvTable:
    """Read a file as `codec` does live; without one as the CSV codec does by itself.

    Args:
        path: of the file.
        codec: of the source that reads it live; one that is not of CSV says what numbers and times look like.
        hints: names of which a header may have one, where it does not look like a header else.

    Raises:
        ValueError: there is no header or no row, or a line cannot be read; the message names file and line.
    """
    trouble = ""
    for one in _attempts(codec, hints):
        lines = _lines_of(path, one)
        if one.counters.bytes_replaced:
            where = "" if codec is not None else " in the codec of a configuration (-c)"
            raise ValueError(f"{path}: {one.counters.problems()['bytes_replaced']}{where}")
        places = [place for place, line in enumerate(lines, 1) if line]
        lines = [line for line in lines if line]
        columns, which = _cells(one, lines)
        if which:
            if one.counters.frames_bad:
                raise ValueError(f"{path}, {_refusal(one, lines, places)}")
            return CsvTable(path, one, columns, [places[row] for row in which], codec is not None)
        if not one.counters.frames_bad:
            raise ValueError(f"{path}: there are no rows")
        trouble = trouble or _refusal(one, lines, places)
    raise ValueError(f"{path}, {trouble}")


def _attempts(codec: Fields | None, hints: Sequence[str]) -> Iterator[Csv]:
    """Codecs that may find the header: with the columns that are configured, without, with one that is hinted at."""
    dialect = Csv() if codec is None else _dialect(codec)
    if codec is not None:
        yield dialect
    if not dialect.columns:
        plain = dataclasses.replace(dialect, machine="", values=[], texts=[], time="")
        yield plain
        yield from (dataclasses.replace(plain, values=[name]) for name in hints)


def _dialect(codec: Fields) -> Csv:
    """A codec of CSV that takes numbers, times and names as `codec` does."""
    if isinstance(codec, Csv):
        return dataclasses.replace(codec)
    known = {item.name for item in dataclasses.fields(Csv) if item.init}
    keys = {item.name: vars(codec)[item.name] for item in dataclasses.fields(codec) if item.name in known}
    for key in ("machine", "time"):
        keys[key] = FieldPath.parse(keys[key]).name if keys[key] else ""
    for key in ("values", "texts"):
        keys[key] = [FieldPath.parse(spec).name for spec in keys[key]]
    return Csv(**keys | {"delimiter": "\n", "explode": ""})


def _lines_of(path: Path, codec: Csv) -> list[bytes]:
    """The lines as UTF-8, also the empty ones."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    encoding = Encoding(codec.encoding, codec.counters)
    data = encoding.stream(raw) or encoding.end()
    if codec.delimiter in ("\n", "\r"):
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    else:
        lines = data.split(codec.delimiter.encode())
    return encoding.text(encoding.bare(lines))


def _cells(codec: Csv, lines: list[bytes]) -> tuple[dict[str, Cells], list[int]]:
    """Cells by column, called as the codec calls them, and the place among the lines of each row."""
    named = {path.source: path.name for path in map(FieldPath.flat, (*codec.values, *codec.texts))}
    columns: dict[str, Cells] = {}
    which: list[int] = []
    # The first block is short: from then on the codec knows the separator, and need not look for it.
    starts = [0, *range(_FIRST, len(lines), _BLOCK)]
    for first, last in zip(progress(starts, "reading"), [*starts[1:], len(lines)], strict=True):
        records, places = codec.records(lines[first:last])
        for name in _names(records):
            cells = columns.setdefault(named.get(name, name), [None] * len(which))
            cells += [record.get(name) for record in records]
        which += range(first, first + len(records)) if places is None else [first + place for place in places]
        for cells in columns.values():
            cells += [None] * (len(which) - len(cells))  # of a header that came later, or no longer is
    return columns, which


def _names(records: list[Record]) -> Iterable[str]:
    """Names of all the records; where the header has not changed, those of the first."""
    same = not records or all(map(records[0].keys().__eq__, map(dict.keys, records)))
    return (records[0] if records else ()) if same else dict.fromkeys(name for one in records for name in one)


def _refusal(codec: Csv, lines: list[bytes], places: Sequence[int]) -> str:
    """The first line that the codec does not read, and why; lines before a header are none of these."""
    codec = dataclasses.replace(codec)
    refused: list[str] = []
    for line, place in zip(lines, places, strict=True):
        codec.records([line])
        if codec.counters.frames_bad > len(refused):
            refused.append(f"line {place}: {codec.counters.last_error}")
        del refused[codec.counters.frames_bad :]
    return refused[0] if refused else codec.counters.faults()
