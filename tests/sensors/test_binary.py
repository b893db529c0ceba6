"""Binary frames: COBS, checksum, time by counter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.batch import Batch
from sensors.codecs import Codec, cobs
from sensors.codecs.binary import Binary, checksum, frame
from sensors.units import SECOND

NOW = 1_795_000_000 * 10**9
BYTES = st.lists(st.sampled_from([b"\0", b"\x01", b"a" * 253, b"b" * 254, b"c" * 255, b"xy"]), max_size=8).map(
    b"".join
)


@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_cobs_has_no_zero_and_comes_back(data: bytes) -> None:
    packed = cobs.encode(data)
    assert 0 not in packed
    assert cobs.decode(packed) == data
    assert len(packed) <= len(data) + 1 + len(data) // 254


@pytest.mark.parametrize(
    ("data", "packed"),
    [(b"", b"\x01"), (b"\0", b"\x01\x01"), (b"\x11\x22\0\x33", b"\x03\x11\x22\x02\x33"), (b"\x11\0\0\0", b"\x02\x11\x01\x01\x01")],
)  # fmt: skip
def test_cobs_of_the_paper(data: bytes, packed: bytes) -> None:
    assert cobs.encode(data) == packed


def test_the_checksum_is_ccitt_false() -> None:
    assert checksum(b"123456789") == 0x29B1


def wave(n: int, first: int = 0) -> np.ndarray:
    return np.sin(np.arange(first, first + n) / 7) * 300


def feed(codec: Binary, data: bytes, read_at: int = NOW) -> Batch:
    batch = codec.feed(data, read_at)
    assert batch is not None
    return batch


@pytest.mark.parametrize("scale", [0.0, 0.01])
def test_blocks_of_samples_come_back_with_evenly_spaced_times(scale: float) -> None:
    codec = Binary(columns=["voltage"], machines={"7": "line-7"})
    assert isinstance(codec, Codec)
    first = feed(codec, frame(wave(1000), 0, 1000.0, machine=7, scale=scale))
    second = feed(codec, frame(wave(1000, 1000), 1000, 1000.0, machine=7, scale=scale), NOW + SECOND + 3_000_000)
    values = np.concatenate([first.values["voltage"], second.values["voltage"]])
    assert np.allclose(values, wave(2000), atol=scale or 1e-4)
    assert first.machines == ("line-7",)
    time = np.concatenate([first.time, second.time])
    assert (np.diff(time) == 1_000_000).all()
    assert first.time[-1] == NOW
    assert codec.counters.frames_ok == 2


def test_a_hole_in_the_counter_is_a_hole_in_time_and_counted() -> None:
    codec = Binary()
    first = feed(codec, frame(wave(100), 2**32 - 100, 1000.0))
    after = feed(codec, frame(wave(100), 50, 1000.0), NOW + SECOND // 4)
    assert after.time[0] - first.time[-1] == 51 * SECOND // 1000
    assert codec.counters.samples_lost == 50


def test_a_device_that_starts_again_or_drifts_away_gets_the_hosts_time() -> None:
    codec = Binary()
    first = feed(codec, frame(wave(100), 5000, 1000.0))
    again = feed(codec, frame(wave(100), 0, 1000.0), NOW + 5 * SECOND)
    assert again.time[-1] == NOW + 5 * SECOND
    drifted = feed(codec, frame(wave(100), 100, 1000.0), NOW + 60 * SECOND)
    assert drifted.time[-1] == NOW + 60 * SECOND
    back = feed(codec, frame(wave(100), 0, 1000.0), NOW)  # the host's clock was set back: time does not
    assert back.time[0] > drifted.time[-1] > first.time[-1]
    assert codec.counters.samples_lost == 0


def test_a_device_with_a_clock_tells_the_time() -> None:
    stamp = NOW - 3600 * SECOND
    codec = Binary()
    batch = feed(codec, frame(wave(10), 0, 10.0, time=stamp) + frame(wave(10), 10, 10.0, time=5))
    assert batch.time.tolist() == [stamp + i * SECOND // 10 for i in range(10)]
    assert codec.counters.frames_bad == 1
    assert "1970" in codec.counters.last_error


def test_channels_are_columns_and_machines_may_have_different_ones() -> None:
    two = np.stack([wave(5), -wave(5)], axis=1)
    batch = feed(Binary(columns=["a"]), frame(two, 0, 10.0, machine=1) + frame(wave(3), 0, 10.0, machine=2))
    assert batch.machines == ("1", "2")
    assert batch.machine.tolist() == [0] * 5 + [1] * 3
    assert np.allclose(batch.values["a"], np.concatenate([wave(5), wave(3)]), atol=1e-4)
    assert np.isnan(batch.values["channel2"]).tolist() == [False] * 5 + [True] * 3


def test_what_is_no_number_is_missing() -> None:
    codec = Binary()
    batch = feed(codec, frame(np.array([1.0, np.nan, np.inf]), 0, 10.0))
    assert np.isnan(batch.values["value"]).tolist() == [False, True, True]
    assert codec.counters.values_bad == 2


def test_any_flipped_bit_is_a_wrong_checksum_and_the_next_frame_is_read() -> None:
    good = frame(wave(20), 0, 10.0)
    for place in range(len(good) - 1):
        codec = Binary()
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8
        batch = codec.feed(bytes(damaged) + frame(wave(20), 20, 10.0), NOW)
        assert batch is not None
        assert len(batch) == 20
        assert codec.counters.frames_bad >= 1


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    codec = Binary()
    assert codec.feed(frame(wave(4), 0, rate), NOW) is None
    assert codec.counters.frames_bad == 1


def test_the_rest_of_a_frame_at_opening_is_no_broken_frame() -> None:
    codec = Binary()
    codec.reset(discard=True)
    packed = frame(wave(20), 0, 10.0)
    assert len(feed(codec, packed[30:] + packed)) == 20
    assert (codec.counters.frames_bad, codec.counters.bytes_discarded) == (0, len(packed) - 31)


@pytest.mark.parametrize("columns", [[], [""], ["a", "a"]])
def test_columns_need_names(columns: list[str]) -> None:
    with pytest.raises(ValueError, match="columns"):
        Binary(columns=columns)
