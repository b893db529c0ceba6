"""Lines of `key=value` pairs, as many a microcontroller prints them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sensors.codecs.fields import Record
from sensors.codecs.line_codec import LineCodec


@dataclass(kw_only=True)
class KeyValue(LineCodec):
    """Lines such as `machine=press-1 temp=21.5, hum=40; status="warming up"`; see `Fields` for their meaning.

    Pairs are separated by blanks, commas or semicolons; values with those inside stand in double quotes. The last
    of several equal keys counts. A line without any pair is a bad frame.

    Attributes:
        assign: between key and value, one character: `=` or `:`, as a rule.
    """

    assign: str = "="

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.assign) != 1 or self.assign in ' \t,;"':
            raise ValueError(f"assign = {self.assign!r} must be one character, and none that separates pairs")
        sign = re.escape(self.assign)
        self._pair = re.compile(rf'([^\s,;"{sign}]+)[ \t]*{sign}[ \t]*(?:"([^"]*)"|([^\s,;"]*))')

    def records(self, lines: list[bytes]) -> tuple[list[Record], list[int] | None]:
        records, which = [], []
        pairs = self._pair.findall
        for row, line in enumerate(lines):
            try:
                found = pairs(line.decode())
            except UnicodeDecodeError:
                found = []
            if not found:
                self.refuse(f"no key{self.assign}value", line)
                continue
            records.append({key: quoted or plain or None for key, quoted, plain in found})
            which.append(row)
        return records, which
