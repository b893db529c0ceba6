"""JSON, one object a line, with numbers, texts and nested lists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from sensors.batch import Batch
from sensors.codecs.fields import Record
from sensors.codecs.json_grid import Grid, grid
from sensors.codecs.line_codec import LineCodec
from sensors.codecs.paths import ROOT

_GRID = 8
"""Fewest lines for which it pays to look whether they are of one shape."""
_BETWEEN = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()
_LITERALS = (b"NaN", b"Infinity")


@dataclass(kw_only=True)
class JsonLines(LineCodec):
    """Objects such as `{"Temperature_C": 65, "Timestamp": 1710856626905833677}`; see `Fields` for their meaning.

    A block of lines is parsed at once; only a block with a broken line is parsed line by line. A list of objects in
    one line, or several objects one behind the other, are read as so many lines. A message may hold one object on
    many lines, or one a line. `NaN` and `Infinity`, which are not JSON but are sent all the same, are missing values.

    Attributes:
        bare: names of the elements of a message that is a bare list, `[21.5, 40]`, or of one that is a bare number,
            `21.5`; a list of lists is read as so many lists. Paths such as `[0] as temp` say the same of lists.
    """

    bare: list[str] = field(default_factory=list)

    self_checking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(self.bare) or len(set(self.bare)) != len(self.bare):
            raise ValueError("bare needs names, each another")
        paths = (self._machine_path, self._time_path, *self._value_paths, *self._text_paths)
        self._rooted = any(path is not None and path.keys[:1] == (ROOT,) for path in paths)

    def records(self, lines: list[bytes]) -> tuple[list[Record] | Grid, list[int] | None]:
        if self._list is None and len(lines) >= _GRID:
            found = grid(lines)
            if found is not None:
                return found, None
        try:
            parsed = orjson.loads(b"[" + b",".join(lines) + b"]")
        except orjson.JSONDecodeError:
            parsed = None
        if parsed is not None and len(parsed) == len(lines) and set(map(type, parsed)) == {dict}:
            return parsed, None
        records: list[Record] = []
        which: list[int] = []
        for row, line in enumerate(lines):
            try:
                documents = _documents(line)
            except (ValueError, RecursionError) as error:
                self.refuse(f"no JSON ({error})" if len(str(error)) < 80 else "no JSON", line)
                continue
            objects: list[Record] = []
            for document in documents:
                several = self._objects(document)
                if isinstance(several, str):
                    self.refuse(several, line)
                    break
                objects += several
            else:
                records += objects
                which += [row] * len(objects)
        return records, which

    def lines_of(self, message: bytes) -> list[bytes]:
        """One, if it is JSON as a whole, such as an object on many lines; else its lines."""
        lines = super().lines_of(message)
        for part in (message, lines[0]):
            try:
                _loads(part)
            except (ValueError, RecursionError):
                continue
            return [message] if part is message else lines
        try:
            _documents(message)
        except (ValueError, RecursionError):
            return lines
        return [message]

    def _objects(self, document: Any) -> list[Record] | str:
        """The records of a document; else what is wrong with it."""
        if isinstance(document, dict):
            return [document]
        if self._rooted and isinstance(document, list):
            return [{ROOT: document}]
        if isinstance(document, list) and document and all(isinstance(one, dict) for one in document):
            return document
        if not self.bare:
            if document is None or (isinstance(document, list) and any(isinstance(one, dict) for one in document)):
                return "no JSON object"
            return 'no JSON object; set bare = ["NAME", ...] to name a bare number, or the elements of a bare list'
        rows = document if isinstance(document, list) else [[document]]
        if not rows or not all(isinstance(row, list) for row in rows):
            rows = [rows]
        if document is None or max(map(len, rows)) > len(self.bare):
            return f"no JSON object, and no list of {len(self.bare)}, as bare has names"
        return [dict(zip(self.bare, row, strict=False)) for row in rows]

    def encode(self, batch: Batch) -> bytes:
        """The rows as lines: the time field (`time` if none is configured), numbers and texts; NaN is left out."""
        if self._list is not None:
            raise ValueError("rows of a nested list cannot be written back")
        factor = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}.get(self.time_unit)
        if factor is None:
            raise ValueError("times are written as numbers; time_unit = 'iso' is for reading")
        machine, time = self.machine or "machine", self.time or "time"
        columns = {name: column.tolist() for name, column in batch.values.items()}
        texts = {name: column.tolist() for name, column in batch.texts.items()}
        lines = []
        for row, (code, instant) in enumerate(zip(batch.machine.tolist(), batch.time.tolist(), strict=True)):
            record: Record = {machine: batch.machines[code]} if batch.machines[code] else {}
            for name, numbers in columns.items():
                value = numbers[row]
                if value == value:
                    record[name] = int(value) if value.is_integer() and abs(value) < 2**53 else value
            record |= {name: words[row] for name, words in texts.items() if words[row] is not None}
            record[time] = instant // factor if instant % factor == 0 else instant / factor
            lines.append(orjson.dumps(record))
        return b"".join(line + self.delimiter.encode() for line in lines)


def _documents(line: bytes) -> list[object]:
    """The JSON documents that stand one behind the other; one, as a rule.

    Raises:
        ValueError, RecursionError: if there is anything else.
    """
    try:
        return [_loads(line)]
    except ValueError:
        if line.count(b"{") < 2:
            raise
        text, found, place = line.decode(), [], 0
        try:
            while place < len(text):
                _, end = _DECODER.raw_decode(text, place)
                if text[place] != "{":
                    raise ValueError("no JSON object") from None
                found.append(_loads(text[place:end].encode()))
                between = _BETWEEN.match(text, end)
                place = end if between is None else between.end()
        except (ValueError, RecursionError):
            found = []
        if not found:
            raise
        return found


def _loads(line: bytes) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if any(literal in line for literal in _LITERALS) or "infinity" in str(error):
            return _lenient(line.decode())
        raise


def _lenient(line: str) -> object:
    """JSON with `NaN` and `Infinity`; what `json` reads beyond that, half a surrogate pair, is no text here either."""
    found: object = json.loads(line)
    if "\\ud" in line.lower():
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("half a surrogate pair") from error
    return found
