"""Comma-separated values, one reading a line, with a header line or configured columns."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field

from sensors.codecs.fields import Record
from sensors.codecs.line_codec import LineCodec

_NAME = re.compile(r"[^\W\d][\w .()/%°\[\]-]*")
_COMMA_NUMBER = re.compile(r"\s*[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)


@dataclass(kw_only=True)
class Csv(LineCodec):
    """Lines such as `1710856626905833677,press-1,21.5,RUN`; see `Fields` for what the columns mean.

    Where no columns are configured, the first line that can be one is the header: nothing but names, and among them
    all fields that are configured. It is left out where it comes again (a device that restarted); another one is
    taken after opening. An empty cell is missing. Cells may be quoted.

    Attributes:
        columns: names in order; an empty name leaves its column out.
        separator: between two cells, one character.
        decimal: the decimal mark, `.` or `,`.
    """

    columns: list[str] = field(default_factory=list)
    separator: str = ","
    decimal: str = "."

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.separator) != 1 or self.separator == '"':
            raise ValueError(f"separator = {self.separator!r} must be one character")
        if self.decimal not in (".", ",") or self.decimal == self.separator:
            raise ValueError(f"decimal = {self.decimal!r} must be '.' or ',', and not the separator")
        self._header = list(self.columns)
        paths = (self._machine_path, self._time_path, *self._value_paths, *self._text_paths)
        self._needed = {path.source for path in paths if path is not None}
        self._opening = False
        self._fitting = False  # whether a line has fitted the header

    def outputs(self) -> tuple[str, ...] | None:
        named = super().outputs()
        if named is not None or not self.columns:
            return named
        return (*self._ordinary(filter(None, self.columns)), *(path.name for path in self._text_paths))

    def records(self, lines: list[bytes]) -> tuple[list[Record], list[int] | None]:
        records, which = [], []
        for row, line in enumerate(lines):
            cells = self._cells(line)
            if cells is None:
                self.refuse("no CSV", line)
                continue
            if (self._opening or not self.columns) and self._names_columns(cells):
                continue
            if len(cells) == len(self._header) + 1 and not cells[-1]:
                cells.pop()  # a separator at the end of the line
            if len(cells) != len(self._header):
                missing = "no header line with the names of the columns came before"
                if self._needed:
                    missing += f" (needed: {', '.join(sorted(self._needed))})"
                self.refuse(f"{len(cells)} cells instead of {len(self._header)}" if self._header else missing, line)
                continue
            self._opening, self._fitting = False, True
            records.append({name: cell or None for name, cell in zip(self._header, cells, strict=True) if name})
            which.append(row)
        if self.decimal == ",":
            _read_commas(records)
        return records, which

    def reset(self, *, discard: bool = False) -> None:
        super().reset(discard=discard)
        self._opening = True

    def _cells(self, line: bytes) -> list[str] | None:
        try:
            text = line.decode()
            return next(csv.reader([text], delimiter=self.separator)) if '"' in text else text.split(self.separator)
        except (UnicodeDecodeError, csv.Error, StopIteration):
            return None

    def _names_columns(self, cells: list[str]) -> bool:
        """Whether the line is a header; a new one is taken on, where it may come."""
        names = [cell.strip() for cell in cells]
        if names == self._header:
            return True
        if self.columns or not (self._opening or not self._fitting):
            return False
        if not all(_NAME.fullmatch(name) for name in names) or len(set(names)) != len(names):
            return False
        if not self._needed <= set(names):
            return False
        self._header, self._opening, self._fitting = names, False, False
        return True


def _read_commas(records: list[Record]) -> None:
    """Numbers with a decimal comma get a point."""
    for record in records:
        for name, cell in record.items():
            if cell and _COMMA_NUMBER.fullmatch(cell):
                record[name] = cell.replace(",", ".")
