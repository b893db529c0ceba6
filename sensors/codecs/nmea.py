"""NMEA 0183 sentences, and what is written like them: `$PTEMP,press-1,21.5*0F`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from sensors.codecs.fields import Record
from sensors.codecs.line_codec import LineCodec


@dataclass(kw_only=True)
class Nmea(LineCodec):
    """Sentences from `$` (or `!`) to `*` and the XOR of the bytes between, in two hexadecimal digits.

    Noise before a sentence on its line is thrown away. An empty field is missing. Times of day are not read; the
    time is that of reading, unless a field holds one in a unit of `time_unit`.

    Attributes:
        sentences: name of a sentence (`PTEMP`, or `GGA` for that of any talker) -> names of its fields in order, an
            empty name leaving its field out; other sentences are passed over. Without any, all sentences are read,
            with fields `PTEMP.1`, `PTEMP.2`, ... The name of the sentence is the field `sentence`.
        checksum: whether a sentence without checksum is broken.
    """

    sentences: dict[str, list[str]] = field(default_factory=dict)
    checksum: bool = True

    nested: ClassVar[bool] = False
    self_checking: ClassVar[bool] = True
    of_bytes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._named = "sentence" in (self.machine, *self.texts)

    def records(self, lines: list[bytes]) -> tuple[list[Record], list[int] | None]:
        records, which = [], []
        for row, line in enumerate(lines):
            body = self._checked(line)
            if body is None:
                continue
            text = body.decode("ascii") if body.isascii() else self._encoding.text([body])[0].decode()
            name, *cells = text.split(",")
            if not name.isascii():
                self.refuse("the name of the sentence is no ASCII", line)
                continue
            if " " in text:
                cells = [cell.strip() for cell in cells]
            fields = self._fields(name, len(cells))
            if fields is None:
                continue
            record: Record = {"sentence": name} if self._named else {}
            record |= {key: cell or None for key, cell in zip(fields, cells, strict=False) if key}
            records.append(record)
            which.append(row)
        return records, which

    def _checked(self, line: bytes) -> bytes | None:
        """What stands between `$` and `*`; None, and counted, if the checksum says otherwise."""
        begin = max(line.rfind(b"$"), line.rfind(b"!"))
        if begin < 0:
            self.refuse("no sentence", line)
            return None
        self.counters.bytes_discarded += begin
        body, star, digits = line[begin + 1 :].partition(b"*")
        if not star and not self.checksum:
            return body.strip()
        try:
            sent = int(digits[:2], 16) if len(digits.strip()) == 2 and b"_" not in digits else -1
        except ValueError:
            sent = -1
        if sent != xor(body):
            self.refuse("wrong checksum" if star else "no checksum", line)
            return None
        return body

    def _fields(self, name: str, count: int) -> list[str] | None:
        if not self.sentences:
            return [f"{name}.{number}" for number in range(1, count + 1)]
        return self.sentences.get(name) or self.sentences.get(name[2:])


def xor(data: bytes) -> int:
    """The XOR of all bytes, by folding them as one big number."""
    if not data:
        return 0
    width = 1 << (len(data) - 1).bit_length()
    value = int.from_bytes(data, "little")
    while width > 1:
        width //= 2
        value = (value >> (8 * width)) ^ (value & ((1 << (8 * width)) - 1))
    return value


def sentence(body: str) -> bytes:
    """A whole sentence of a body such as `PTEMP,press-1,21.5`, as a device writes it."""
    packed = body.encode("ascii")
    return b"$%b*%02X\r\n" % (packed, xor(packed))
