"""TCP: as a client and as a server, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sensors.codecs.json_lines import JsonLines
from sensors.drivers.tcp import TcpSource
from sensors.source import Source, SourceError
from sensors.units import Duration

LINE = b'{"Temperature_C": 65, "Timestamp": 1710856626905833677}\n'
CODEC = {"time": "Timestamp"}


async def rows_of(source: TcpSource, count: int) -> int:
    rows = 0
    async with asyncio.timeout(5):
        while rows < count:
            rows += len(await anext(source))
    return rows


async def test_a_client_reads_lines_until_the_server_closes() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(LINE[:20])
        await writer.drain()
        writer.write(LINE[20:] + LINE * 99)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        source = TcpSource(port=port, codec=JsonLines(**CODEC))
        assert isinstance(source, Source)
        for turn in (1, 2):  # also a second time
            async with source:
                assert await rows_of(source, 100) == 100
                with pytest.raises(SourceError, match=f"127.0.0.1:{port}: closed by the other side"):
                    await rows_of(source, 1)
            assert source.counters.frames_ok == turn * 100


async def test_nobody_there_is_a_source_error() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(SourceError, match=f"127.0.0.1:{port}"):
        async with TcpSource(port=port):
            pass


async def test_a_silent_server_is_a_source_error_where_silence_is_bounded() -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        source = TcpSource(port=server.sockets[0].getsockname()[1], silence_timeout=Duration("20ms"))
        async with source:
            with pytest.raises(SourceError, match="silent for 20ms"):
                await rows_of(source, 1)
        async with asyncio.timeout(5):
            await gone.wait()


async def test_devices_connect_one_after_the_other_and_a_new_one_takes_over() -> None:
    async with TcpSource(port=0, listen=True, codec=JsonLines(**CODEC)) as source:
        from_source, first = await asyncio.open_connection(*source.address)
        first.write(LINE + LINE[:30])
        assert await rows_of(source, 1) == 1
        _, second = await asyncio.open_connection(*source.address)
        second.write(LINE * 2)
        assert await rows_of(source, 2) == 2
        assert source.counters.frames_bad == 1  # the half line of the first
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(from_source.read(), 5) == b""
        second.close()
        await second.wait_closed()
        _, third = await asyncio.open_connection(*source.address)
        third.write(LINE)
        assert await rows_of(source, 1) == 1
        for writer in (first, third):
            writer.close()


async def test_a_fast_sender_waits_for_a_slow_reader() -> None:
    total = 100_000
    async with TcpSource(port=0, listen=True, codec=JsonLines(**CODEC), buffer_bytes=65_536) as source:
        _, writer = await asyncio.open_connection(*source.address)
        writer.write(LINE * total)
        for _ in range(500):
            await asyncio.sleep(0)
        assert source.counters.bytes_read < 500_000
        assert await rows_of(source, total) == total
        writer.close()
    assert source.counters.frames_bad == 0


@pytest.mark.parametrize("fields", [{"port": 70_000}, {"port": 1, "buffer_bytes": 5}])
def test_impossible_settings_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        TcpSource(**fields)
