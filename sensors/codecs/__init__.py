"""Bytes to rows and back, without I/O: each codec finds frames, checks them and counts what it threw away."""

from __future__ import annotations

from typing import Protocol

from sensors.batch import Batch
from sensors.source import Counters


class Codec(Protocol):
    """A frame format. Dataclass fields are configuration; the buffer of a half frame is its only state.

    `feed` and `decode` never raise on bad input: they count and skip it.
    """

    counters: Counters

    def feed(self, data: bytes, read_at: int) -> Batch | None:
        """Rows of all frames that `data` completes (a stream); None if there is none yet."""

    def decode(self, frames: list[bytes], read_at: int, times: list[int] | None = None) -> Batch | None:
        """Rows of whole frames (messages of a broker); `times` (ns) serves frames without a time of their own."""

    def reset(self) -> None:
        """Forget a half frame and, for a stream, discard up to the next delimiter."""
