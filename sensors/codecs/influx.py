"""InfluxDB line protocol: `machine,tag=value field=1.5,other=2i 1710856626905833677`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sensors.batch import Batch
from sensors.codecs.fields import Record
from sensors.codecs.json_grid import Grid
from sensors.codecs.line_codec import LineCodec

_PLAIN = r"(?:[^ ,=\\]|\\.)+"
_HEAD = re.compile(rf"((?:[^ ,\\]|\\.)+)((?:,{_PLAIN}={_PLAIN})*) +")
_TAG = re.compile(rf",({_PLAIN})=({_PLAIN})")
_FIELD = re.compile(rf'({_PLAIN})=("(?:[^"\\]|\\.)*"|[^ ,"]+)(,|$| )')
_ESCAPE = re.compile(r"\\(.)")
_TRUE, _FALSE = {"t", "T", "true", "True", "TRUE"}, {"f", "F", "false", "False", "FALSE"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}[iu]", re.ASCII)


@dataclass(kw_only=True)
class Influx(LineCodec):
    """InfluxDB's line protocol; fields become columns, the timestamp the time, or else the time of reading.

    Tags, and the measurement under the name `measurement`, are read where `machine` or `texts` name them. Comment
    lines begin with `#`.

    Attributes:
        prefix: call the columns `measurement.field`, where several measurements have fields of one name.
    """

    time: str = "time"
    prefix: bool = False

    nested: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tags = {self.machine, *self.texts}

    def rows(
        self,
        records: list[Record] | Grid,
        read_at: int,
        times: Sequence[int] | None = None,
        machines: list[str] | None = None,
    ) -> Batch | None:
        return super().rows(records, read_at, times or [read_at] * len(records), machines)

    def records(self, lines: list[bytes]) -> tuple[list[Record], list[int] | None]:
        records, which = [], []
        for row, line in enumerate(lines):
            text = line.decode().strip()
            if text.startswith("#"):
                continue
            try:
                plain = "\\" not in text and '"' not in text and "  " not in text
                record = self._plain(text) if plain else self._record(text)
            except ValueError:
                record = None
            if record is None:
                self.refuse("no line protocol", line)
                continue
            records.append(record)
            which.append(row)
        return records, which

    def _plain(self, line: str) -> Record | None:
        """A line without quotes and escapes, which is nearly every one."""
        head, _, rest = line.partition(" ")
        pairs, _, stamp = rest.partition(" ")
        measurement, *tags = head.split(",")
        if not measurement or not pairs:
            return None
        record: Record = {}
        for tag in tags:
            name, sign, value = tag.partition("=")
            if not name or not sign or not value or "=" in value:
                return None
            if name in self._tags:
                record[name] = value
        if "measurement" in self._tags:
            record["measurement"] = measurement
        before = f"{measurement}." if self.prefix else ""
        for pair in pairs.split(","):
            name, _, value = pair.partition("=")
            if not name or not value:
                return None
            record[before + name] = _value(value)
        if stamp:
            record[self.time] = int(stamp)
        return record

    def _record(self, line: str) -> Record | None:
        head = _HEAD.match(line)
        if head is None:
            return None
        measurement = _unescape(head[1])
        record: Record = {}
        if self._tags:
            tags = {_unescape(key): _unescape(value) for key, value in _TAG.findall(head[2])}
            tags["measurement"] = measurement
            record = {name: value for name, value in tags.items() if name in self._tags}
        place, more = head.end(), ","
        while more == ",":
            pair = _FIELD.match(line, place)
            if pair is None:
                return None
            name = _unescape(pair[1])
            record[f"{measurement}.{name}" if self.prefix else name] = _value(pair[2])
            place, more = pair.end(), pair[3]
        stamp = line[place:].strip()
        if stamp:
            record[self.time] = int(stamp)
        return record


def _value(text: str) -> Any:
    if text[0] == '"':
        return _unescape(text[1:-1])
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[-1] in "iu":
        if not _INTEGER.fullmatch(text):
            raise ValueError(text)
        return int(text[:-1])
    if "_" in text:  # which `float` would read
        raise ValueError(text)
    return float(text)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text
