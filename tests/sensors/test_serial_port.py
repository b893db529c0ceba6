"""The serial line, on a real pseudo-terminal: halves, noise, hang-up, reopening."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sensors.batch import Batch
from sensors.codecs.json_lines import JsonLines
from sensors.drivers.serial import SerialSource, ports
from sensors.source import Source, SourceError
from sensors.units import Duration

LINE = b'{"Temperature_C": 65, "Timestamp": 1710856626905833677}\n'
PATIENCE = 5


class Device:
    """The other end of the line."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.plug()

    def plug(self) -> None:
        self.master, self._slave = os.openpty()
        os.set_blocking(self.master, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        os.close(self.master)
        os.close(self._slave)
        self.master = -1

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.master, view) :]
            except BlockingIOError:
                await asyncio.sleep(0)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path / "usb-sensor")
    yield device
    if device.master >= 0:
        device.unplug()


def source_of(device: Device, **fields: object) -> SerialSource:
    arguments = {"codec": JsonLines(time="Timestamp"), **fields}
    return SerialSource(port=str(device.link), **arguments)


async def take(source: SerialSource, rows: int) -> list[Batch]:
    batches: list[Batch] = []
    async with asyncio.timeout(PATIENCE):
        while sum(map(len, batches)) < rows:
            batches.append(await anext(source))
    return batches


async def test_a_tutorial_line_is_read_at_once(device: Device) -> None:
    async with source_of(device) as source:
        assert isinstance(source, Source)
        before = time.time_ns()
        await device.write(LINE)
        (batch,) = await take(source, 1)
    assert batch.values["Temperature_C"].tolist() == [65.0]
    assert batch.time.tolist() == [1710856626905833677]
    assert before <= batch.read_at <= time.time_ns()


@pytest.mark.parametrize("baud", [300, 9600, 115_200, 250_000, 921_600, 3_000_000, 12_345])
async def test_any_baud_rate_opens(device: Device, baud: int) -> None:
    async with source_of(device, baud=baud) as source:
        await device.write(LINE)
        assert len((await take(source, 1))[0]) == 1


async def test_lines_in_single_bytes_are_whole_lines(device: Device) -> None:
    async with source_of(device) as source:
        for byte in LINE * 3:
            await device.write(bytes([byte]))
            await asyncio.sleep(0)
        batches = await take(source, 3)
        assert source.counters.frames_ok == 3
        assert source.counters.frames_bad == 0
        assert source.counters.bytes_read == 3 * len(LINE)
    assert np.concatenate([batch.values["Temperature_C"] for batch in batches]).tolist() == [65.0] * 3


async def test_the_rest_of_a_frame_at_opening_is_no_broken_frame(device: Device) -> None:
    async with source_of(device) as source:
        await device.write(b'ture_C": 12, "Timestamp": 1}\n' + LINE)
        await take(source, 1)
        assert source.counters.frames_bad == 0
        assert source.counters.bytes_discarded == 28


async def test_noise_is_counted_and_the_next_line_is_read(device: Device) -> None:
    async with source_of(device) as source:
        await device.write(LINE + b"\xff" * 5000 + b"\n" + b"{half\n" + LINE)
        await take(source, 2)
        assert (source.counters.frames_ok, source.counters.frames_bad) == (2, 2)
        assert "no JSON" in source.counters.last_error


async def test_a_megabyte_without_newline_is_bounded_and_counted_once(device: Device) -> None:
    async with source_of(device, codec=JsonLines(time="Timestamp", max_length=10_000)) as source:
        reader = asyncio.create_task(take(source, 2))
        began = time.process_time()
        await device.write(LINE + b"x" * (1 << 20) + b"\n" + LINE)
        await reader
        assert time.process_time() - began < 3
        assert source.counters.frames_bad == 1
        assert source.counters.bytes_discarded == 1 << 20
        assert "longer than 10000 bytes" in source.counters.last_error


async def test_a_pulled_plug_is_a_source_error_after_the_last_line(device: Device) -> None:
    async with source_of(device) as source:
        await device.write(LINE)
        await asyncio.sleep(0.01)  # the kernel throws away what a closed pty had not delivered
        device.unplug()
        assert len((await take(source, 1))[0]) == 1
        with pytest.raises(SourceError, match="usb-sensor"):
            await take(source, 1)
        assert source._port is not None  # a hung-up descriptor is readable for ever: nobody may watch it
        assert not asyncio.get_running_loop().remove_reader(source._port.fileno())


async def test_it_opens_again_under_another_name(device: Device) -> None:
    source = source_of(device)
    async with source:
        await device.write(LINE)
        await take(source, 1)
        first = os.readlink(device.link)
        keep = os.openpty()  # so that the new terminal has another number
        device.unplug()
        with pytest.raises(SourceError):
            await take(source, 1)
    with pytest.raises(SourceError, match="No such file"):
        async with source:
            pass
    second = os.openpty()
    device.plug()
    assert os.readlink(device.link) != first
    async with source:
        await device.write(LINE)
        assert len((await take(source, 1))[0]) == 1
    for descriptor in (*keep, *second):
        os.close(descriptor)


async def test_an_absent_port_is_a_source_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ttyNOT: No such file or directory"):
        async with SerialSource(port=str(tmp_path / "ttyNOT")):
            pass


async def test_what_a_board_says_while_it_restarts_is_thrown_away(device: Device) -> None:
    source = source_of(device, settle=Duration("50ms"), dtr_on_open=False)
    opening = asyncio.create_task(source.__aenter__())
    await asyncio.sleep(0)
    await device.write(b'{"Temperature_C": 1, "Timestamp": 1710856626905833677}\n' * 3)
    await opening
    await device.write(LINE)
    (batch,) = await take(source, 1)
    assert batch.values["Temperature_C"].tolist() == [65.0]
    await source.__aexit__()


async def test_a_cancelled_opening_lets_go_of_the_port(device: Device) -> None:
    opening = asyncio.create_task(source_of(device, settle=Duration("1h")).__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with source_of(device):
        pass


async def test_something_that_is_no_port_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LINE)
    with pytest.raises(SourceError, match="file"):
        async with SerialSource(port=str(tmp_path / "file")):
            pass


async def test_two_readers_do_not_share_a_port(device: Device) -> None:
    async with source_of(device):
        with pytest.raises(SourceError, match="usb-sensor: another program has it open"):
            async with source_of(device):
                pass
    async with source_of(device) as source:  # closed: free again
        await device.write(LINE)
        await take(source, 1)


async def test_a_gap_within_a_frame_begins_a_new_one(device: Device) -> None:
    async with source_of(device, gap=Duration("20ms"), discard_first=False) as source:
        await device.write(LINE + LINE[:20])
        await take(source, 1)
        while not source.counters.frames_bad:  # the silence has been noticed
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(source)
            await device.write(LINE)
            await take(source, 1)
        assert source.counters.frames_bad == 1
        assert "silent" in source.counters.last_error


async def test_a_cancelled_read_loses_nothing(device: Device) -> None:
    async with source_of(device) as source:
        rows = 0
        for number in range(50):
            await device.write(LINE[:30] if number % 2 else LINE[30:] if number else LINE)
            try:
                async with asyncio.timeout(0.001 * (number % 3)):
                    rows += len(await anext(source))
            except TimeoutError:
                pass
        await device.write(LINE[30:])
        rows += sum(map(len, await take(source, 26 - rows)))
    assert rows == 26


@pytest.mark.parametrize("when_full", ["pause", "drop"])
async def test_a_reader_that_does_not_read_keeps_memory_bounded(device: Device, when_full: str) -> None:
    total = 20_000
    async with source_of(device, buffer_bytes=65_536, when_full=when_full) as source:
        writer = asyncio.create_task(device.write(LINE * total))
        for _ in range(2000):  # turns of the loop in which nobody takes anything
            await asyncio.sleep(0)
        assert writer.done() == (when_full == "drop")
        if when_full == "pause":
            assert sum(map(len, await take(source, total))) == total
            await writer
            assert source.counters.bytes_discarded == 0
        else:
            batch = await anext(source)
            assert 0 < len(batch) <= 65_536 // len(LINE) + 1
            assert source.counters.frames_bad == 0
            assert source.counters.bytes_discarded > 1_000_000


async def test_a_single_line_waits_less_than_a_millisecond_or_two_and_a_flood_comes_in_blocks(
    device: Device,
) -> None:
    async with source_of(device) as source:
        await device.write(LINE)
        await take(source, 1)
        delays = []
        for _ in range(50):
            await asyncio.sleep(0.003)
            began = time.monotonic()
            await device.write(LINE)
            await take(source, 1)
            delays.append(time.monotonic() - began)
        assert sorted(delays)[45] < 0.005
        writer = asyncio.create_task(device.write(LINE * 2000))
        batches = await take(source, 2000)
        await writer
        assert len(batches) < 500


def test_ports_are_listed_with_names_that_outlive_replugging(tmp_path: Path) -> None:
    for port in ports(tmp_path):
        assert port.device
        assert port.advice == port.device


@pytest.mark.parametrize("fields", [{"baud": 0}, {"stopbits": 3}, {"buffer_bytes": 10}])
def test_impossible_settings_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SerialSource(port="/dev/null", **fields)
