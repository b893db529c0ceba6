"""Bytes to rows and back, without I/O: each codec finds frames, checks them and counts what it threw away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sensors.batch import Batch
from sensors.source import Counters


class Codec(ABC):
    """A frame format: a dataclass whose fields are its configuration; the bytes of a half frame are its only state.

    However a stream is cut into calls of `feed`, the same rows come out. Bad input is never raised, but counted and
    skipped, and no input makes it keep more than a frame.

    Attributes:
        counters: what it has seen.
    """

    counters: Counters

    @abstractmethod
    def feed(self, data: bytes, read_at: int) -> Batch | None:
        """Rows of all frames that `data` completes (a stream); None if there is none yet."""

    @abstractmethod
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

    def reset(self, *, discard: bool = False) -> None:  # noqa: B027 - optional hook
        """Forget a half frame; with `discard`, also the rest of a frame that began before the line was opened."""

    def silence(self) -> None:  # noqa: B027 - optional hook
        """The line has been silent for longer than a gap within a frame: a half frame will not be completed."""

    def finish(self, read_at: int) -> Batch | None:
        """The stream has ended: the row of a last frame that lacks only its end."""
        return None

    @property
    def half(self) -> int:
        """Bytes kept of a frame that is not complete."""
        return 0

    def outputs(self) -> tuple[str, ...] | None:
        """Columns of its rows; None = the sender decides."""
        return None
