"""Bytes to rows and back, without I/O: each codec finds frames, checks them and counts what it threw away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sensors.batch import Batch
from sensors.source import Counters


@runtime_checkable
class Codec(Protocol):
    """A frame format. Dataclass fields are configuration; the buffer of a half frame is its only state.

    `feed` and `decode` never raise on bad input: they count and skip it.
    """

    counters: Counters

    def feed(self, data: bytes, read_at: int) -> Batch | None:
        """Rows of all frames that `data` completes (a stream); None if there is none yet."""

    def decode(
        self,
        frames: list[bytes],
        read_at: int,
        times: Sequence[int] | None = None,
        machines: list[str] | None = None,
    ) -> Batch | None:
        """Rows of whole frames (messages of a broker).

        `times` (ns) and `machines` (key, topic), one a frame, serve frames that do not name their own.
        """

    def reset(self, *, discard: bool = False) -> None:
        """Forget a half frame; with `discard`, also the rest of a frame that began before the line was opened."""
