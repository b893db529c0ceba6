"""JSON, one object a line, with numbers, texts and nested lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import orjson

from sensors.batch import Batch
from sensors.codecs.fields import Record
from sensors.codecs.json_grid import Grid, grid
from sensors.codecs.line_codec import LineCodec

_GRID = 8
"""Fewest lines for which it pays to look whether they are of one shape."""
_LITERALS = (b"NaN", b"Infinity")


@dataclass(kw_only=True)
class JsonLines(LineCodec):
    """Objects such as `{"Temperature_C": 65, "Timestamp": 1710856626905833677}`; see `Fields` for their meaning.

    A block of lines is parsed at once; only a block with a broken line is parsed line by line. A list of objects in
    one line is read as so many lines. `NaN` and `Infinity`, which are not JSON but are sent all the same, are
    missing values.
    """

    self_checking: ClassVar[bool] = True

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
                record = _loads(line)
            except (ValueError, RecursionError) as error:
                self.refuse(f"no JSON ({error})" if len(str(error)) < 80 else "no JSON", line)
                continue
            several = record if isinstance(record, list) else [record]
            objects: list[Record] = [one for one in several if isinstance(one, dict)]
            if not objects or len(objects) < len(several):
                self.refuse("no JSON object", line)
                continue
            records += objects
            which += [row] * len(objects)
        return records, which

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
