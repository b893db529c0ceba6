"""Lines of `key=value` pairs, as many a microcontroller prints them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from sensors.codecs.fields import Record
from sensors.codecs.line_codec import LineCodec

_CLASSES = bytes.maketrans(b"123456789 \xa0\x89\xaf", b"000000000,,,,")
_LEADING = b"\xc2\xe2\x80"  # the bytes before the last of a blank that is no ASCII
_DATE = (
    r"[0-9]{1,4}(?P<sign>[-./])[0-9]{1,2}(?P=sign)[0-9]{2,4}[ ]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
)
_ZONE = r"(?:[ ]?(?:[AaPp][Mm]\b|UTC\b|GMT\b|[Zz]\b|[+-][0-9]{2}:?[0-9]{2}))?"


@dataclass(kw_only=True)
class KeyValue(LineCodec):
    """Lines such as `machine=press-1 temp=21.5, hum=40; status="warming up"`; see `Fields` for their meaning.

    Pairs are separated by blanks, commas or semicolons; values with those inside stand in double quotes. A comma or
    blank between two digits is part of the value, unless a key follows. The last of several equal keys counts. A line
    without any pair is a bad frame, unless it is a comment (`#`).

    Attributes:
        assign: between key and value, one character: `=` or `:`, as a rule.
    """

    assign: str = "="

    nested: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.assign) != 1 or self.assign in ' \t,;"':
            raise ValueError(f"assign = {self.assign!r} must be one character, and none that separates pairs")
        sign = re.escape(self.assign)
        key, value = rf'([^\s,;"{sign}]+)[ \t]*{sign}[ \t]*', r'([^\s,;"]*)'
        self._pair = re.compile(rf'{key}(?:"([^"]*)"|{value})')
        gap = r"(?<=[0-9])(?:,|[ \u00a0\u2009\u202f](?=[0-9]{3}(?![0-9])))(?=[0-9])"
        more = rf'(?:{gap}(?![^\s,;"]*[ \t]*{sign})[^\s,;"]*)*'  # a number goes on, if no key stands there
        quoted = "(?:\"([^\"]*)\"|'([^']*)'|"
        self._odd_pair = re.compile(rf'{key}{quoted}({_DATE}{_ZONE}|[^\s,;"]*{more}))')

    def records(self, lines: list[bytes]) -> tuple[list[Record], list[int] | None]:
        records, which = [], []
        odd = _is_odd(b"\n".join(lines))
        for row, line in enumerate(lines):
            text = line.decode()
            found = self._odd(text) if odd and _is_odd(line) else self._pair.findall(text)
            if not found:
                if not text.lstrip().startswith("#"):
                    self.refuse(f"no key{self.assign}value", line)
                continue
            records.append({key: quoted.strip() or plain or None for key, quoted, plain in found})
            which.append(row)
        return records, which

    def _odd(self, text: str) -> list[tuple[str, str, str]]:
        """The pairs of a line in which a value goes on behind a comma or blank, or stands in single quotes."""
        return [(found[1], found[2] or found[3] or "", found[4] or "") for found in self._odd_pair.finditer(text)]


def _is_odd(line: bytes) -> bool:
    """Whether a value may go on behind a comma or a blank: `23,9`, `1 234`, `2026-01-01 00:00:00`; or is quoted."""
    return b"'" in line or b"0,0" in line.translate(_CLASSES, _LEADING)
