"""The lines sink on real files and pipes."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from agent.sinks import SinkError
from agent.sinks.lines import LinesSink
from sensors.units import Duration
from tests.delivery.fakes import message


async def test_bodies_are_appended_one_a_line(tmp_path: Path) -> None:
    sink = LinesSink(str(tmp_path / "new" / "alerts.jsonl"))
    for n in (1, 2):
        async with sink:
            await sink.send([message(n), message(n, "state", body=b"")])
    assert (tmp_path / "new" / "alerts.jsonl").read_bytes() == b'{"n":1}\n{"n":2}\n'


async def test_a_long_file_is_rotated_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    async with LinesSink(str(path), max_bytes=20, keep=2) as sink:
        for n in range(10):
            await sink.send([message(n)])
    assert sorted(os.listdir(tmp_path)) == ["alerts.jsonl", "alerts.jsonl.1", "alerts.jsonl.2"]
    lines = b"".join((tmp_path / f"alerts.jsonl{n}").read_bytes() for n in (".2", ".1", "")).splitlines()
    assert lines == [b'{"n":%d}' % n for n in range(10)][-len(lines) :]


async def test_a_directory_that_cannot_be_made_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="file"):
        await LinesSink(str(tmp_path / "file" / "x.jsonl")).__aenter__()


async def test_a_pipe_that_nobody_reads_is_a_sink_error_in_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sink = LinesSink(str(tmp_path / "pipe"), timeout=Duration("200ms"))
    await sink.__aenter__()
    with pytest.raises(SinkError, match="nobody reads"):
        await sink.send([message(1, body=b"x" * 200_000)])
    os.close(reader)  # lets the thread that writes end, with an error
    await sink.__aexit__(None, None, None)


async def test_a_full_disk_leaves_no_half_line_behind(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    async with LinesSink(str(path)) as sink:
        await sink.send([message(1)])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(SinkError, match="File too large"):
                await sink.send([message(n) for n in range(50)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        await sink.send([message(2)])
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n'
