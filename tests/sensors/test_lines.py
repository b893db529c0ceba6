"""Lines in a stream: however it is cut, the same lines and the same counts."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.codecs.lines import LineBuffer
from sensors.source import Counters

BYTES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"x" * 7, b"--", b"-"]), max_size=60)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


@settings(max_examples=300, deadline=None)
@given(BYTES, st.lists(st.integers(0, 500), max_size=20), st.sampled_from([b"\n", b"\r\n", b"--"]), st.booleans())
def test_any_cut_gives_the_same_lines_and_counts(
    parts: list[bytes], places: list[int], delimiter: bytes, discard: bool
) -> None:
    data = b"".join(parts)
    results = []
    for pieces in ([data], cut(data, places), [data[i : i + 1] for i in range(len(data))]):
        counters = Counters()
        buffer = LineBuffer(counters, delimiter, max_length=6)
        buffer.reset(discard=discard)
        lines = [line for piece in pieces for line in buffer.feed(piece)]
        buffer.feed(delimiter)  # closes what is open
        results.append((lines, counters.frames_bad, counters.bytes_discarded))
    assert results[0] == results[1] == results[2]


def test_lines_are_split_and_carriage_returns_go() -> None:
    buffer = LineBuffer(Counters())
    assert buffer.feed(b"one\r\ntw") == [b"one"]
    assert buffer.feed(b"o\n\n\r\nthree") == [b"two"]
    assert buffer.half == 5
    assert buffer.feed(b"\n") == [b"three"]


def test_discarding_begins_after_the_first_delimiter() -> None:
    counters = Counters()
    buffer = LineBuffer(counters)
    buffer.reset(discard=True)
    assert buffer.feed(b"half") == []
    assert buffer.feed(b" line\nwhole\n") == [b"whole"]
    assert (counters.frames_bad, counters.bytes_discarded) == (0, 9)


def test_ten_megabytes_without_newline_cost_linear_time_and_no_memory() -> None:
    counters = Counters()
    buffer = LineBuffer(counters)
    began = time.process_time()
    for _ in range(10 * 1024):
        buffer.feed(b"y" * 1024)
        assert buffer.half <= 1 << 20
    assert time.process_time() - began < 2
    assert buffer.feed(b"\nafter\n") == [b"after"]
    assert counters.frames_bad == 1
    assert counters.bytes_discarded == 10 << 20


@pytest.mark.parametrize("skipping", [False, True])
def test_silence_throws_the_half_line_away(skipping: bool) -> None:
    counters = Counters()
    buffer = LineBuffer(counters, max_length=4)
    buffer.feed(b"abcdefg" if skipping else b"abc")
    buffer.drop_half()
    assert buffer.feed(b"new\n") == [b"new"]
    assert counters.frames_bad == 1
