"""Bytes at the edge become UTF-8: byte order marks, other encodings, bytes that are no text, NULs around a line."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field

from sensors.source import Counters, short

_MARK = "\ufeff".encode()
_REPLACED = "\ufffd"
_ORDERED = {"utf-16": b"\xfe\xff", "utf-32": b"\0\0\xfe\xff"}
"""Encodings of two byte orders -> the mark of the big-endian one."""
_PROBE = "\n,;0a"
_ALPHABETS = 6
"""Highest upper byte of the first letters of UTF-16 known by its mark: Latin to Arabic. Noise may begin with a mark."""


@dataclass
class Encoding:
    r"""Makes UTF-8 of whatever a sender writes; knows UTF-8 and UTF-16 by a mark at the beginning.

    Encodings in which `\n` is one byte are read line by line, so that a checksum can be taken of the bytes before.
    The others, such as UTF-16, are read as they come.

    Attributes:
        name: of the encoding, as Python knows it.
        counters: of the codec.
    """

    name: str
    counters: Counters
    _wide: str = field(default="", init=False)  # encoding of a stream that is read as it comes
    _lines: str = field(default="utf-8", init=False)  # encoding of its lines else
    _decoder: codecs.IncrementalDecoder | None = field(default=None, init=False)
    _head: bytes | None = field(default=b"", init=False)  # kept until it is clear whether it is a mark

    def __post_init__(self) -> None:
        try:
            name = codecs.lookup(self.name).name
            self._narrow = _PROBE.encode(name) == _PROBE.encode()
            _decoder(_order(name, b"    ") or name).decode(bytes(range(256)) * 2)
        except (LookupError, ValueError, TypeError) as error:
            raise ValueError(
                f"encoding = {self.name!r} is unknown; such as utf-8, latin-1, cp1252, utf-16"
            ) from error
        self._configured = "utf-8" if name in ("utf-8-sig", "ascii") else name
        self.begin(anew=True)

    def begin(self, *, anew: bool) -> None:
        """Another stream begins; `anew` forgets what the mark of the one before has said."""
        if anew:
            self._wide, self._lines = ("", self._configured) if self._narrow else (self._configured, "utf-8")
        self._decoder = _decoder(self._wide) if self._wide not in ("", *_ORDERED) else None
        self._head = b"" if self._narrow or self._configured in _ORDERED else None

    def is_plain(self, block: bytes) -> bool:
        """Whether bytes are ASCII without NULs, so that there is nothing to do to them."""
        return self._narrow and block.isascii() and b"\0" not in block

    @property
    def held(self) -> int:
        """Bytes kept of a beginning that may be a mark."""
        return len(self._head or b"")

    def stream(self, data: bytes) -> bytes:
        """The next bytes of a stream, so that its lines can be found."""
        if self._head is not None:
            data = self._head + data
            mark = _mark(data) if self._narrow else _order(self._configured, data)
            if mark is None:
                self._head = data
                return b""
            self._head = None
            if mark and mark != "utf-8":
                self._wide, self._decoder = mark, _decoder(mark)
            elif mark:
                self._wide, self._decoder, self._lines = "", None, mark
            if mark and self._narrow and mark != self._configured:
                self.counters.note("encoding", f"it is read as {mark.upper()}, as its byte order mark says")
        return data if self._decoder is None else self._utf8(self._decoder.decode(data))

    def end(self) -> bytes:
        """What was kept, the stream having ended."""
        rest, decoder = self._head or b"", self._decoder
        self.begin(anew=True)
        return rest if decoder is None else self._utf8(decoder.decode(rest, True))

    def messages(self, frames: list[bytes]) -> list[bytes]:
        """Whole messages, so that their lines can be found."""
        if not self._narrow:
            names = [_order(self._configured, frame + b"    ") or self._configured for frame in frames]
            return [
                self._utf8(_decoder(name).decode(frame, True)) for name, frame in zip(names, frames, strict=True)
            ]
        if b"".join(frames).isascii():
            return frames
        return [
            self._utf8(_decoder("utf-16").decode(frame, True))
            if (_mark(frame) or "").startswith("utf-16")
            else frame
            for frame in frames
        ]

    def bare(self, lines: list[bytes]) -> list[bytes]:
        """The lines without the mark and the NULs that may stand around each."""
        block = b"".join(lines)
        if b"\0" not in block and (block.isascii() or _MARK not in block):
            return lines
        return [line.strip(b"\0").removeprefix(_MARK).strip(b"\0") for line in lines]

    def text(self, lines: list[bytes]) -> list[bytes]:
        """The lines as UTF-8; what is no text in their encoding is replaced and counted."""
        block = b"\n".join(lines)
        if block.isascii():
            return lines
        if self._lines == "utf-8" and _is_utf8(block):
            return lines
        return [line if line.isascii() else self._line(line) for line in lines]

    def _line(self, line: bytes) -> bytes:
        text = line.decode(self._lines, "replace")
        count = text.count(_REPLACED)
        if count and self._lines == "utf-8":
            count -= line.count(_REPLACED.encode())
        self._count(count, line)
        return text.encode("utf-8", "replace")

    def _utf8(self, text: str) -> bytes:
        self._count(text.count(_REPLACED), text)
        return text.encode("utf-8", "replace")

    def _count(self, count: int, line: bytes | str) -> None:
        self.counters.bytes_replaced += count
        if count and not self.counters.bad_text:
            shown = short(line[:60]).removeprefix("b")
            advice = 'set encoding, such as "cp1252" or "utf-16"'
            self.counters.bad_text = f"{shown}, which is no {self._configured}; {advice}"


def _decoder(name: str) -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(name)("replace")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _order(name: str, data: bytes) -> str | None:
    """The encoding of these bytes with its byte order, little-endian without a mark; None = not clear yet.

    Empty if the order is no question in this encoding.
    """
    if name not in _ORDERED:
        return ""
    mark = _ORDERED[name]
    return None if len(data) < len(mark) else f"{name}-be" if data.startswith(mark) else f"{name}-le"


def _mark(data: bytes) -> str | None:
    """Encoding that a beginning shows by its mark; empty = it has none, None = that is not clear yet."""
    if not data:
        return None
    if data[0] not in b"\xef\xff\xfe":
        return ""
    if data.startswith(_MARK):
        return "utf-8"
    if _MARK.startswith(data):
        return None
    for mark, name, upper in ((b"\xff\xfe", "utf-16-le", 1), (b"\xfe\xff", "utf-16-be", 0)):
        if mark.startswith(data[:2]):
            if any(byte > _ALPHABETS for byte in data[2 + upper : 6 : 2]):
                return ""
            return name if len(data) >= 6 else None
    return ""
