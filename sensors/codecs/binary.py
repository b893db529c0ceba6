"""Waveforms in binary frames: blocks of samples with a counter and a rate, checked, in bytes that no noise forges.

A frame is the COBS form of header, samples and checksum, ended by a zero byte. All numbers are little-endian:

    kind u8          1 = int16, 2 = float32
    columns u8       samples taken at each instant (channels), interleaved
    machine u16      number of the machine
    counter u32      number of the first instant since the device started, wrapping
    rate f32         instants a second, Hz
    scale f32        what one step of an int16 is worth; 0 = 1
    time u64         of the first instant, ns since the epoch; 0 = the device has no clock
    samples          int16 or float32
    checksum u16     CRC-16/CCITT-FALSE (polynomial 0x1021, initial 0xFFFF) of all before

The counter keeps the time of a device without a clock: the last sample of the first frame was taken when it was
read, later ones by counter and rate, until they are further than `resync` from the time of reading. A hole in the
counter is a hole in time, and counted in `samples_lost`.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensors.batch import Batch, Floats, Ints
from sensors.codecs import Codec, cobs
from sensors.codecs.clock import Clock
from sensors.codecs.lines import LineBuffer
from sensors.codecs.words import Words
from sensors.source import Counters
from sensors.units import SECOND, Duration

_HEADER = struct.Struct("<BBHIffQ")
_CHECKSUM = struct.Struct("<H")
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<i2"), 2: np.dtype("<f4")}
_WRAP = 1 << 32


def checksum(data: bytes) -> int:
    """CRC-16/CCITT-FALSE."""
    return binascii.crc_hqx(data, 0xFFFF)


def frame(
    samples: Floats,
    counter: int,
    rate: float,
    machine: int = 0,
    scale: float = 0.0,
    time: int = 0,
) -> bytes:
    """A frame as a device writes it, delimiter included.

    Args:
        samples: `(n,)` or `(n, columns)`.
        counter: number of the first instant.
        rate: Hz.
        machine: number of the machine.
        scale: of an int16; 0 = send float32.
        time: of the first instant, ns; 0 = none.
    """
    columns = 1 if samples.ndim == 1 else samples.shape[1]
    if scale:
        kind, block = 1, np.clip(np.rint(samples / scale), -32768, 32767).astype("<i2").tobytes()
    else:
        kind, block = 2, samples.astype("<f4").tobytes()
    body = _HEADER.pack(kind, columns, machine, counter % _WRAP, rate, scale, time) + block
    return cobs.encode(body + _CHECKSUM.pack(checksum(body))) + b"\0"


@dataclass(slots=True)
class _Track:
    """Where a machine is: the counter expected next, and the instant `anchor` (ns) from which instants count."""

    expected: int
    anchor: int
    since: int
    rate: float
    last: int


@dataclass(kw_only=True)
class Binary(Codec):
    """Blocks of samples in checked frames; the module describes the format.

    Attributes:
        columns: names of the channels; further ones are called `channel2`, ...
        machines: number of a machine, as text -> its id; a machine that is not named goes by its number, number 0
            by the name of the source.
        resync: deviation of the device's time from the host's at which its clock is set anew.
        max_length: bytes of the longest frame.
        earliest: first believable time; frames before it are refused, as are those after `latest`.
        latest: last believable time.
    """

    columns: list[str] = field(default_factory=lambda: ["value"])
    machines: dict[str, str] = field(default_factory=dict)
    resync: Duration = field(default_factory=lambda: Duration("1s"))
    max_length: int = 1 << 20
    earliest: str = "2000-01-01T00:00:00Z"
    latest: str = "2100-01-01T00:00:00Z"

    def __post_init__(self) -> None:
        if not self.columns or not all(self.columns) or len(set(self.columns)) != len(self.columns):
            raise ValueError("columns need names, each another")
        self.counters = Counters()
        self._buffer = LineBuffer(self.counters, b"\0", self.max_length)
        self._clock = Clock("ns", "", self.earliest, self.latest)
        self._tracks: dict[int, _Track] = {}
        self._words = Words()
        self._joining = False

    def feed(self, data: bytes, read_at: int) -> Batch | None:
        frames = self._buffer.feed(data)
        if frames and self._joining:
            self._joining = False
            if _checked(frames[0]) is None:
                self.counters.bytes_discarded += len(frames.pop(0))
        return self.decode(frames, read_at)

    def decode(
        self,
        frames: list[bytes],
        read_at: int,
        times: Sequence[int] | None = None,
        machines: list[str] | None = None,
    ) -> Batch | None:
        blocks: list[tuple[str, Ints, Floats]] = []
        for row, packed in enumerate(frames):
            block = self._block(packed.rstrip(b"\0"), read_at if times is None else times[row])
            if block is not None:
                number, instants, samples = block
                named = self.machines.get(str(number), str(number) if number else "")
                blocks.append((named or (machines[row] if machines else ""), instants, samples))
        if not blocks:
            return None
        machine = self._words.encode([name for name, _, _ in blocks])
        lengths = [len(instants) for _, instants, _ in blocks]
        self.counters.rows += sum(lengths)
        width = max(samples.shape[1] for _, _, samples in blocks)
        if all(samples.shape[1] == width for _, _, samples in blocks):
            table = np.concatenate([samples for _, _, samples in blocks])
        else:
            table = np.full((sum(lengths), width), np.nan)
            begin = 0
            for _, instants, samples in blocks:
                table[begin : begin + len(instants), : samples.shape[1]] = samples
                begin += len(instants)
        return Batch(
            machine.words,
            np.repeat(machine.codes, lengths),
            np.concatenate([instants for _, instants, _ in blocks]),
            {self._name(column): np.ascontiguousarray(table[:, column]) for column in range(width)},
            read_at,
        )

    def reset(self, *, discard: bool = False) -> None:
        self._buffer.reset(discard=False)
        self._joining = discard  # a checksum tells the rest of a frame from a frame

    def silence(self) -> None:
        self._buffer.drop_half()

    def finish(self, read_at: int) -> Batch | None:
        return self.feed(b"\0", read_at)

    @property
    def half(self) -> int:
        return self._buffer.half

    def _name(self, column: int) -> str:
        return self.columns[column] if column < len(self.columns) else f"channel{column + 1}"

    def _block(self, packed: bytes, read_at: int) -> tuple[int, Ints, Floats] | None:
        """Machine, `(n,)` times and `(n, columns)` samples of a frame; None, and counted, if it is broken."""
        body = _checked(packed)
        if body is None:
            return self._refused("wrong checksum")
        kind, columns, number, counter, rate, scale, time = _HEADER.unpack_from(body)
        block = memoryview(body)[_HEADER.size :]
        dtype = _TYPES.get(kind)
        if dtype is None or not columns or not len(block) or len(block) % (dtype.itemsize * columns):
            return self._refused(f"kind {kind}, {columns} columns and {len(block)} bytes of samples do not fit")
        if not (math.isfinite(rate) and 1e-6 < rate < 1e9) or not math.isfinite(scale):
            return self._refused(f"rate {rate} Hz, scale {scale}")
        samples: Floats = np.frombuffer(block, dtype).reshape(-1, columns).astype(np.float64)
        if kind == 1 and scale:
            samples *= scale
        finite = np.isfinite(samples)
        if not finite.all():
            self.counters.values_bad += samples.size - int(np.count_nonzero(finite))
            samples[~finite] = np.nan
        if time:
            _, good = self._clock.times([time])
            if not good[0]:
                return self._refused(self._clock.reason)
        start, lost = self._start(number, counter, rate, len(samples), time, read_at)
        self.counters.samples_lost += lost
        self.counters.frames_ok += 1
        instants = start + np.rint(np.arange(len(samples)) * (SECOND / rate)).astype(np.int64)
        return number, instants, samples

    def _start(self, number: int, counter: int, rate: float, n: int, time: int, read_at: int) -> tuple[int, int]:
        """Time of the first instant, and instants lost before it."""
        span = round((n - 1) * SECOND / rate)
        track = self._tracks.get(number)
        ahead = 0 if track is None else (counter - track.expected) % _WRAP
        lost = ahead if ahead < _WRAP // 2 else 0  # else the device has started again
        if time:
            start = time
        elif track is None or track.rate != rate or ahead >= _WRAP // 2:
            start = read_at - span if track is None else max(read_at - span, track.last + 1)
            track = None
        else:
            start = track.anchor + round((track.since + lost) * SECOND / rate)
            if abs(start + span - read_at) > self.resync:
                start = max(read_at - span, track.last + 1)
                track = None
        if track is None or time:
            self._tracks[number] = _Track((counter + n) % _WRAP, start, n, rate, start + span)
        else:
            track.since += lost + n
            track.expected, track.last = (counter + n) % _WRAP, start + span
        return start, lost

    def _refused(self, reason: str) -> tuple[int, Ints, Floats] | None:
        self.counters.frames_bad += 1
        self.counters.last_error = reason
        return None


def _checked(packed: bytes) -> bytes | None:
    """Header and samples of a frame whose checksum is right."""
    data = cobs.decode(packed)
    if data is None or len(data) < _HEADER.size + _CHECKSUM.size:
        return None
    body, (sent,) = data[: -_CHECKSUM.size], _CHECKSUM.unpack_from(data, len(data) - _CHECKSUM.size)
    return body if checksum(body) == sent else None
