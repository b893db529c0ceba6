# ruff: noqa: D103 - the name of a check says what it checks
"""What codecs keep: however bytes are cut the same rows, nothing raised, nothing kept beyond a frame."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from agent.testing.streams import START, rows_of, wrong_in
from agent.testing.subject import Check, bound, holds, is_documented, keeps_the_protocol
from sensors.batch import Batch
from sensors.codecs import Codec

MIB = 1 << 20
MOST = 8 * MIB
"""Bytes that a codec may keep of a line without end."""


@dataclass(frozen=True)
class CodecSubject:
    """A codec under test; the fields are those of `check_codec`."""

    make: Callable[[], Codec]
    stream: bytes
    frames: tuple[bytes, ...]

    def fed(self, pieces: Iterable[bytes], codec: Codec | None = None) -> list[Any]:
        """The rows that come of these bytes."""
        codec = self.make() if codec is None else codec
        found = [codec.feed(piece, START) for piece in pieces]
        return rows_of(batch for batch in [*found, codec.finish(START)] if batch is not None)

    def cut(self, places: Iterable[int]) -> list[bytes]:
        """The stream in pieces."""
        edges = [0, *sorted(places), len(self.stream)]
        return [self.stream[a:b] for a, b in pairwise(edges)]


def it_keeps_the_protocol(subject: CodecSubject) -> None:
    keeps_the_protocol("codec", subject.make)


def it_is_documented(subject: CodecSubject) -> None:
    is_documented(subject.make)


def the_stream_has_rows(subject: CodecSubject) -> None:
    codec = subject.make()
    found = subject.fed([subject.stream], codec)
    holds(len(found) > 1, "fewer than two rows come of the stream; give one that shows what the codec does")
    holds(codec.counters.rows == len(found), f"counters.rows is {codec.counters.rows} after {len(found)} rows")
    holds(codec.counters.frames_ok > 0, "counters.frames_ok does not count")


def any_cut_of_the_bytes_gives_the_same_rows(subject: CodecSubject) -> None:
    whole = subject.fed([subject.stream])
    rng = np.random.default_rng(0)
    size = len(subject.stream)
    for count in (1, 2, 5, 20):
        for _ in range(5):
            places = rng.integers(0, size + 1, count).tolist()
            holds(subject.fed(subject.cut(places)) == whole, f"cut at {sorted(places)} it gives other rows")
    holds(subject.fed(subject.cut(range(1, size))) == whole, "byte by byte it gives other rows")


def batches_are_well_formed(subject: CodecSubject) -> None:
    codec = subject.make()
    for piece in subject.cut(range(0, len(subject.stream), 50)):
        batch = codec.feed(piece, START)
        if batch is not None:
            holds(not (wrong := wrong_in(batch)), f"a batch is malformed: {wrong}")
            holds(len(batch), "a batch without rows says that time has passed; give None")
            holds(batch.read_at == START, "read_at is not what feed was told")


def nonsense_is_counted_and_never_raised(subject: CodecSubject) -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        codec = subject.make()
        noise = rng.integers(0, 256, 400, np.uint8).tobytes()
        broken = bytearray(subject.stream)
        for place in rng.integers(0, len(broken), 1 + seed):
            broken[place] ^= int(rng.integers(1, 256))
        subject.fed([noise, b"\r\n\0" + noise], codec)
        subject.fed([bytes(broken), subject.stream[: len(subject.stream) * 2 // 3]], codec)
        seen = codec.counters
        counted = seen.rows + seen.frames_bad + seen.bytes_discarded
        holds(counted, "noise is neither a row nor counted in frames_bad or bytes_discarded")
        codec.decode([noise, b"", bytes(broken)], START)


def it_recovers_after_nonsense(subject: CodecSubject) -> None:
    codec = subject.make()
    codec.feed(subject.stream[: len(subject.stream) // 3], START)
    codec.feed(bytes(range(256)), START)
    codec.reset()
    holds(codec.half == 0, f"after reset() {codec.half} bytes of a half frame are left")
    found = subject.fed([subject.stream], codec)
    tail = subject.fed([subject.stream])[-1]
    holds(found and found[-1] == tail, "after nonsense and reset() a good stream is not read to its end")


def what_never_ends_takes_no_memory(subject: CodecSubject) -> None:
    codec = subject.make()
    endless = bytes(ord("a") + number % 20 for number in range(MIB))
    tracemalloc.start()
    try:
        for _ in range(16):
            codec.feed(endless, START)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    holds(kept <= MOST, f"{kept} bytes are kept of a frame that never ends")


def it_does_not_touch_its_input(subject: CodecSubject) -> None:
    frames, times, machines = list(subject.frames), [START] * len(subject.frames), ["m"] * len(subject.frames)
    before = (list(frames), list(times), list(machines))
    subject.make().decode(frames, START, times, machines)
    holds((frames, times, machines) == before, "decode changes the lists it is given")


def whole_frames_are_decoded(subject: CodecSubject) -> None:
    codec = subject.make()
    batch = codec.decode(list(subject.frames), START)
    holds(isinstance(batch, Batch) and len(batch) > 0, "decode gives no row for whole frames")
    holds(codec.decode([], START) is None, "decode of no frame has to give None")


def silence_and_the_end_break_nothing(subject: CodecSubject) -> None:
    codec = subject.make()
    codec.silence()
    holds(codec.finish(START) is None, "finish() gives rows although nothing was fed")
    codec.feed(subject.stream[: len(subject.stream) // 2], START)
    codec.silence()
    codec.reset(discard=True)
    codec.finish(START)
    holds(codec.finish(START) is None, "finish() gives rows a second time")


_CHECKS = (
    it_keeps_the_protocol,
    it_is_documented,
    the_stream_has_rows,
    any_cut_of_the_bytes_gives_the_same_rows,
    batches_are_well_formed,
    nonsense_is_counted_and_never_raised,
    it_recovers_after_nonsense,
    what_never_ends_takes_no_memory,
    it_does_not_touch_its_input,
    whole_frames_are_decoded,
    silence_and_the_end_break_nothing,
)


def check_codec(make: Callable[[], Codec], stream: bytes, frames: Iterable[bytes] = ()) -> list[Check]:
    """The checks of a codec.

    Args:
        make: makes one, always of the same configuration.
        stream: some frames as they come on a line.
        frames: some whole frames as they come from a broker; left out: the lines of the stream.
    """
    return bound(_CHECKS, CodecSubject(make, stream, tuple(frames) or tuple(stream.splitlines())))
