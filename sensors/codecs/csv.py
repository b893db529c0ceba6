"""Comma-separated values, one reading a line, with a header line or configured columns."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sensors.codecs.csv_header import LONGEST, LinesBefore, distinct, is_row, lacking, looks_like_names, names_in
from sensors.codecs.fields import Record
from sensors.codecs.line_codec import LineCodec
from sensors.source import short

SEPARATORS = (",", ";", "\t", "|")


@dataclass(kw_only=True)
class Csv(LineCodec):
    """Lines such as `1710856626905833677,press-1,21.5,RUN`; see `Fields` for what the columns mean.

    Where no columns are configured, the first line that holds the names of all configured fields is the header,
    whatever its other cells look like; where no field is configured, the first that looks like names. It is left out
    where it comes again; one with other columns is taken from there on. Lines before it, empty ones and comments (`#`)
    are passed over. An empty cell is missing. Cells may be quoted; blanks around them are none of theirs.

    Attributes:
        columns: names in order; an empty name leaves its column out.
        separator: between two cells, one character (a blank stands for several); empty = that of `,` `;` tab `|` with
            which the header, or the first line, has the columns.
        quote: around a cell with a separator in it, one character.
    """

    columns: list[str] = field(default_factory=list)
    separator: str = ""
    quote: str = '"'

    nested: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.quote) != 1:
            raise ValueError(f"quote = {self.quote!r} must be one character")
        if self.separator and (len(self.separator) != 1 or self.separator == self.quote):
            raise ValueError(f"separator = {self.separator!r} must be one character")
        if self.decimal == self.separator:
            raise ValueError(f"decimal = {self.decimal!r} must not be the separator")
        paths = (self._machine_path, self._time_path, *self._value_paths, *self._text_paths)
        self._needed = list(dict.fromkeys(path.source for path in paths if path is not None))
        if self.columns and (names := lacking(self._needed, self.columns)):
            raise ValueError(f"columns = {self.columns} lack {names}")
        # a cell with the name of a time or a number is neither, so that its line is a header wherever it comes
        self._telling = [path.source for path in (self._time_path, *self._value_paths) if path is not None]
        self._before = LinesBefore(self._needed)
        self._separator = self.separator
        self._dialects: dict[str, Any] = {}
        self._header: list[str] = []
        self._mark = ""  # a name that is in every line that may be a header
        self._have(list(self.columns), list(self.columns))
        self._opening = False
        self._fitting = False  # whether a line has fitted the header

    def outputs(self) -> tuple[str, ...] | None:
        named = super().outputs()
        if named is not None or not self.columns:
            return named
        return (*self._ordinary(filter(None, self.columns)), *(path.name for path in self._text_paths))

    def records(self, lines: list[bytes]) -> tuple[list[Record], list[int] | None]:
        records, which = [], []
        texts = [line.decode() for line in lines]
        plain = self._is_plain("\n".join(texts))
        header, mark, settled = self._header, self._mark, self._is_settled()
        for row, text in enumerate(texts):
            separator = self._separator
            cells = text.split(separator) if plain == separator else self._cells(text, separator)
            if not settled or mark in cells or not cells[0] or len(cells) != len(header) or row in self.starts:
                fitted = self._row(text, cells, lines[row], row in self.starts)
                header, mark, settled = self._header, self._mark, self._is_settled()
                if fitted is None:
                    continue
                cells = fitted
            records.append({name: cell or None for name, cell in zip(header, cells, strict=True) if name})
            which.append(row)
        return records, which

    def _is_settled(self) -> bool:
        """Whether lines are rows from here on, unless they look like the header."""
        return bool(self._header) and self._fitting and not self._opening

    def _row(self, text: str, cells: list[str], line: bytes, first: bool) -> list[str] | None:
        """The cells of a line that may be something else than a row; None if it is."""
        self._opening |= first
        expecting = not self.columns and (self._opening or not self._fitting)
        if (expecting or self._mark in cells) and self._is_header(text, cells, expecting):
            return None
        if len(cells) != len(self._header):
            cells = self._fitted(text, cells)
            if len(cells) != len(self._header):
                self._pass_over(text, cells, line)
                return None
        if not any(cells):
            return None  # an empty row of a spreadsheet
        self._opening, self._fitting = False, True
        return cells

    def reset(self, *, discard: bool = False) -> None:
        super().reset(discard=discard)
        self._opening = True

    def _is_plain(self, block: str) -> str:
        """The separator, if nothing but splitting is to be done to the lines; no separator otherwise."""
        mark = self._separator
        odd = not mark or mark in " \t" or self.quote in block or "\t" in block or not block.isascii()
        if odd or f"{mark} " in block or f" {mark}" in block or "\n " in block or " \n" in block:
            return "none"
        return "none" if block[:1] == " " or block[-1:] == " " else mark

    def _cells(self, text: str, separator: str) -> list[str]:
        if not separator:
            return [text.strip().strip(self.quote)]
        if separator == " " and self.quote not in text:
            return text.split()  # columns that blanks line up
        if self.quote in text:
            try:
                cells = next(csv.reader([text], self._dialect(separator)))
            except (csv.Error, StopIteration):
                cells = text.split(separator)
        else:
            cells = text.split(separator)
        if " " in text or "\t" in text or not text.isascii():
            return [cell.strip() for cell in cells]
        return cells

    def _dialect(self, separator: str) -> Any:
        """How cells are quoted, made once: a reader a line is dear otherwise."""
        if separator not in self._dialects:
            reader = csv.reader([], delimiter=separator, quotechar=self.quote, skipinitialspace=True)
            self._dialects[separator] = reader.dialect
        return self._dialects[separator]

    def _splits(self, text: str) -> dict[str, list[str]]:
        """The cells by each separator that may be the one; the whole line where none is in it."""
        if self.separator:
            return {self.separator: self._cells(text, self.separator)}
        return {mark: self._cells(text, mark) for mark in SEPARATORS if mark in text} or {"": self._cells(text, "")}

    def _is_header(self, text: str, cells: list[str], expecting: bool) -> bool:
        """Whether the line names the columns; where others than before, they are taken from here on."""
        if self._header and [name for name in cells if name] == [name for name in self._raw if name]:
            return True
        if self.columns:
            return False
        best: tuple[list[str], list[str], str] | None = None
        for separator, found in self._splits(text).items():
            if self._needed:
                names = names_in(found, self._needed) if expecting or self._telling else None
            else:
                names = found if expecting and looks_like_names(found) else None
            if names is not None and (best is None or len(names) > len(best[1])):
                best = found, names, separator
        if best is None:
            return False
        self._separator = best[2]
        self._forgive(best[1])
        self._have(best[0], best[1])
        self._note_separator()
        self._opening = self._fitting = False
        return True

    def _have(self, raw: list[str], names: list[str]) -> None:
        """Have these columns from here on."""
        self._raw = raw
        self._header, twice = distinct(names)
        there = [name for name in raw if name and (name in self._needed or not self._needed)]
        self._mark = max(there, key=len, default="\n")
        if twice:
            said = (
                f"there are several columns {', '.join(map(repr, twice))}; the first has the name, others a number"
            )
            self.counters.note("double names", said)

    def _fitted(self, text: str, cells: list[str]) -> list[str]:
        """The cells of a line that has others than the header, if that is a matter of its end, or of the separator."""
        width = len(self._header)
        if self.columns and not self._separator:
            for separator, found in self._splits(text).items():
                if len(found) == width or (len(found) == width + 1 and not found[-1]):
                    self._separator, cells = separator, found
                    self._note_separator()
                    break
        if len(cells) == width + 1 and not cells[-1]:
            cells.pop()  # a separator at the end of the line
        elif len(cells) == width - 1 and cells != [""] and self._header and not self._header[-1]:
            cells.append("")  # one at the end of the header
        return cells

    def _pass_over(self, text: str, cells: list[str], line: bytes) -> None:
        """A line that is no row: an empty one, a comment, something before the header, or a broken one."""
        if text.lstrip().startswith("#") or not text.strip(f"{self._separator or ',;|'}{self.quote} \t"):
            return
        others = [mark for mark in SEPARATORS if self.separator and mark != self.separator and mark in text]
        if self._fitting or self.columns:
            fits = [mark for mark in others if len(self._cells(text, mark)) == len(self._header)]
            advice = f"; set separator = {fits[0]!r}" if fits else ""
            self.refuse(f"{len(cells)} cells instead of {len(self._header)}{advice}", line)
            return
        reason = self._before.add(text, self._splits(text).values())
        for mark in others if self._needed and len(text) <= LONGEST else ():
            if names_in(self._cells(text, mark), self._needed):
                reason = self._before.reason = f"the header has another separator; set separator = {mark!r}"
        self.refuse(reason, line)

    def _forgive(self, names: list[str]) -> None:
        """The header has come: what stood before it and is no row of it, such as a title, was no fault."""
        title = [
            text
            for text in self._before.texts
            if not is_row(names, self._cells(text, self._separator), self._telling)
        ]
        self._before.clear()
        if title:
            self.counters.frames_bad -= len(title)
            if not self.counters.frames_bad:
                self.counters.last_error = ""
            said = f"{len(title)} lines before the header are passed over, the first is {short(title[0])}"
            self.counters.note("title", said)

    def _note_separator(self) -> None:
        if not self.separator and self._separator not in ("", ","):
            self.counters.note("separator", f"the separator is {self._separator!r}")
