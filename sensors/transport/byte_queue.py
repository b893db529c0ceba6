"""Between a descriptor that delivers bytes when it likes and a reader that takes batches: bounded, and in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.source import SourceError
from sensors.units import MILLISECOND, SECOND, Duration

WhenFull = Literal["pause", "drop"]

_GRAIN = 0.5 * MILLISECOND / SECOND
"""Shortest time between two batches, s: a single line goes at once, a flood goes in blocks."""


class ByteQueue:
    """Bytes of one open device on their way through the codec.

    Rules: bytes are decoded in order of arrival; what arrived before an error is handed over before the error is
    raised; a silence longer than `gap` is remembered at its place between the bytes. A loop that was busy is no
    silence: its timers run after the bytes that had arrived meanwhile.
    """

    def __init__(
        self, codec: Codec, gap: Duration, limit: int, when_full: WhenFull, watch: Callable[[bool], None]
    ) -> None:
        self._codec, self._gap = codec, gap
        self._limit, self._when_full, self._watch = limit, when_full, watch
        self._chunks: deque[bytes | None] = deque()  # None: a silence
        self._size = 0
        self._read_at = 0
        self._error: SourceError | None = None
        self._arrived = asyncio.Event()
        self._silence: asyncio.TimerHandle | None = None
        self._last = 0.0

    def put(self, data: bytes, read_at: int) -> None:
        """Bytes that were read at host time `read_at`, ns."""
        self._codec.counters.bytes_read += len(data)
        self._chunks.append(data)
        self._size += len(data)
        self._read_at = read_at
        if self._when_full == "drop":
            self._overflow()
        elif self._size >= self._limit // 2:
            self._watch(False)
        if self._gap:
            if self._silence is not None:
                self._silence.cancel()
            self._silence = asyncio.get_running_loop().call_later(self._gap.seconds, self._chunks.append, None)
        self._arrived.set()

    def cut(self) -> None:
        """Here one connection ended and another begins: a half frame will not be completed."""
        self._chunks.append(None)
        self._arrived.set()

    def fail(self, error: SourceError) -> None:
        """The device is lost; what was read before is still handed over."""
        self._error = error
        self._arrived.set()

    def close(self) -> None:
        """No more timers."""
        if self._silence is not None:
            self._silence.cancel()

    async def take(self) -> Batch:
        """The rows of all frames that have arrived.

        Raises:
            SourceError: as given to `fail`, once everything before it has been taken.
        """
        loop = asyncio.get_running_loop()
        while True:
            if not self._chunks:
                if self._error is not None:
                    raise self._error
                self._arrived.clear()
                await self._arrived.wait()
            early = self._last + _GRAIN - loop.time()
            if early > 0 and self._error is None:
                await asyncio.sleep(early)
            batch = self._decode()
            if batch is not None:
                self._last = loop.time()
                return batch

    def _decode(self) -> Batch | None:
        data: list[bytes] = []
        while self._chunks:
            chunk = self._chunks.popleft()
            if chunk is not None:
                data.append(chunk)
                continue
            if data:  # first what came before the silence
                self._chunks.appendleft(None)
                break
            self._codec.silence()
        if not data:
            return None
        whole = data[0] if len(data) == 1 else b"".join(data)
        self._size -= len(whole)
        if self._when_full == "pause" and self._error is None:
            self._watch(True)
        return self._codec.feed(whole, self._read_at)

    def _overflow(self) -> None:
        """If more came than fits, forget the oldest, and with it the frame that was cut."""
        if self._size <= self._limit:
            return
        while self._size > self._limit and len(self._chunks) > 1:
            chunk = self._chunks.popleft()
            if chunk is not None:
                self._size -= len(chunk)
                self._codec.counters.bytes_discarded += len(chunk)
        self._codec.counters.last_error = "the agent was too busy to read; the oldest bytes were dropped"
        self._codec.reset(discard=True)
