"""Bytes to lines: finds delimiters wherever the stream was cut, in bounded memory and linear time."""

from __future__ import annotations

from dataclasses import dataclass, field

from sensors.source import Counters

MAX_LENGTH = 1 << 20


@dataclass
class LineBuffer:
    r"""The half line between two reads.

    A line longer than `max_length` is thrown away up to its end and counted as one bad frame. What was searched
    once is not searched again, so that a megabyte in single bytes costs a megabyte of work.

    Attributes:
        counters: of the codec it works for.
        delimiter: ends a line; `\n` stands for `\r`, too, since an empty line between both is none.
        max_length: bytes of the longest line.
        plain: whether the lines of the last `feed` are ASCII without NULs, so that there is nothing to do to them.
    """

    counters: Counters
    delimiter: bytes = b"\n"
    max_length: int = MAX_LENGTH
    plain: bool = field(default=True, init=False)
    _rest: bytearray = field(default_factory=bytearray, init=False)
    _searched: int = field(default=0, init=False)
    _skipping: bool = field(default=False, init=False)
    _joining: bool = field(default=False, init=False)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without delimiters; empty ones are left out."""
        rest, delimiter = self._rest, self.delimiter
        rest += data.replace(b"\r", b"\n") if delimiter == b"\n" and b"\r" in data else data
        if rest.find(delimiter, self._searched) < 0:
            self._searched = max(0, len(rest) - len(delimiter) + 1)
            self._bound()
            return []
        whole = bytes(rest)
        self.plain = whole.isascii() and b"\0" not in whole
        lines = whole.split(delimiter)
        rest[:] = lines.pop()
        self._searched = max(0, len(rest) - len(delimiter) + 1)
        if self._skipping or self._joining:
            self._drop_first(lines)
        if len(whole) > self.max_length:
            lines = self._without_long(lines)
        self._bound()
        return lines if all(lines) else [line for line in lines if line]

    def reset(self, *, discard: bool) -> None:
        """Forget the half line; with `discard`, all bytes up to the next delimiter too."""
        self.counters.bytes_discarded += len(self._rest)
        self._rest.clear()
        self._searched = 0
        self._skipping = False
        self._joining = discard

    @property
    def half(self) -> int:
        """Bytes that wait for their delimiter."""
        return len(self._rest)

    def drop_half(self) -> None:
        """Throw away the half line: the line fell silent in the middle, what comes next is a new one."""
        if self._rest and not self._joining:
            if not self._skipping:
                self.counters.frames_bad += 1
                self.counters.last_error = f"the line fell silent after {len(self._rest)} bytes of a frame"
            self.counters.bytes_discarded += len(self._rest)
            self._rest.clear()
            self._searched = 0
        self._skipping = False

    def _bound(self) -> None:
        """Throw away what is too long, or to be discarded anyway; the beginning of a delimiter stays."""
        keep = len(self.delimiter) - 1
        count = len(self._rest) - keep
        dropping = self._skipping or self._joining
        if count <= 0 or (not dropping and count <= self.max_length):
            return
        if not dropping:
            self._too_long()
            self._skipping = True
        self.counters.bytes_discarded += count
        del self._rest[:count]
        self._searched = 0

    def _drop_first(self, lines: list[bytes]) -> None:
        self.counters.bytes_discarded += len(lines[0])
        lines[0] = b""
        self._skipping = self._joining = False

    def _without_long(self, lines: list[bytes]) -> list[bytes]:
        kept = []
        for line in lines:
            if len(line) > self.max_length:
                self._too_long()
                self.counters.bytes_discarded += len(line)
            else:
                kept.append(line)
        return kept

    def _too_long(self) -> None:
        self.counters.frames_bad += 1
        self.counters.last_error = f"a frame is longer than {self.max_length} bytes"
