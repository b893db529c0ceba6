"""Between descriptor and reader: order, silences, bounds."""

from __future__ import annotations

import asyncio

import pytest

from sensors.codecs.json_lines import JsonLines
from sensors.source import SourceError
from sensors.transport.byte_queue import ByteQueue
from sensors.units import Duration

LINE = b'{"x": 1}\n'


def queue_of(
    codec: JsonLines, watch: list[bool] | None = None, limit: int = 1000, full: str = "pause"
) -> ByteQueue:
    return ByteQueue(codec, Duration("0s"), limit, full, (watch if watch is not None else []).append)


async def test_a_silence_stands_where_it_was_between_the_bytes() -> None:
    codec = JsonLines()
    queue = queue_of(codec)
    queue.put(LINE + b'{"x":', 1)
    queue.cut()
    queue.put(LINE, 2)
    assert len(await queue.take()) == 1
    assert len(await queue.take()) == 1
    assert codec.counters.frames_bad == 1
    assert "silent after 5 bytes" in codec.counters.last_error


async def test_what_came_before_an_error_is_handed_over_first() -> None:
    queue = queue_of(JsonLines())
    queue.put(LINE * 2, 1)
    queue.fail(SourceError("gone"))
    assert len(await queue.take()) == 2
    for _ in range(2):
        with pytest.raises(SourceError, match="gone"):
            await queue.take()


async def test_a_waiting_reader_is_woken() -> None:
    queue = queue_of(JsonLines())
    reading = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put(LINE[:3], 1)
    await asyncio.sleep(0)
    queue.put(LINE[3:], 7)
    batch = await asyncio.wait_for(reading, 1)
    assert (len(batch), batch.read_at) == (1, 7)


async def test_reading_stops_at_half_of_the_buffer_and_goes_on_when_it_is_empty() -> None:
    watch: list[bool] = []
    queue = queue_of(JsonLines(), watch)
    queue.put(LINE * 10, 1)
    assert watch == []
    queue.put(LINE * 50, 1)
    assert watch == [False]
    assert len(await queue.take()) == 60
    assert watch == [False, True]


async def test_the_oldest_bytes_go_first_and_the_cut_frame_with_them() -> None:
    codec = JsonLines()
    queue = queue_of(codec, full="drop", limit=50)
    queue.put(LINE[:4], 1)
    for number in range(20):
        queue.put(b'{"x": %02d}\n' % number, 1)
    batch = await queue.take()
    assert batch.values["x"].tolist() == [15.0, 16.0, 17.0, 18.0, 19.0]
    assert codec.counters.frames_bad == 0
    assert codec.counters.bytes_discarded == 4 + 15 * 10
