"""What systemd hears, when the watchdog is fed, and what the log looks like."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from agent.ops.logging import OneLine, RateLimit, log_to_stderr
from agent.ops.systemd import Notifier, Progress, feed_watchdog

ROOT = Path(__file__).parents[2]


class Systemd:
    """The listening end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(10)

    def hears(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def hears_until_silent_for(self, seconds: float) -> None:
        self.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            for _ in range(100):
                self.socket.recv(4096)
            raise AssertionError("never silent")


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    end = Systemd(str(tmp_path / "notify") if request.param == "path" else f"@edge-agent-test-{uuid.uuid4()}")
    yield end
    end.socket.close()


def test_what_the_service_says(systemd):
    notifier = Notifier(systemd.address)
    notifier.ready("watching 3 machines")
    assert systemd.hears() == ["READY=1", "STATUS=watching 3 machines"]
    notifier.status("two\nlines, 20 °C")
    assert systemd.hears() == ["STATUS=two lines, 20 °C"]
    notifier.stopping()
    assert systemd.hears()[0] == "STOPPING=1"


def test_reloading_carries_its_time_in_the_same_datagram(systemd):
    before = time.monotonic_ns() // 1000
    Notifier(systemd.address).reloading()
    said = systemd.hears()
    assert said[0] == "RELOADING=1"
    name, value = said[1].split("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


def test_without_systemd_nothing_is_sent():
    assert Notifier.from_environment({}) == Notifier("", 0.0)
    Notifier("").ready()


def test_systemd_gone_is_a_warning_and_no_more(tmp_path, caplog):
    Notifier(str(tmp_path / "nobody")).ready()
    assert "systemd could not be notified" in caplog.text


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "nonsense"}, 0.0),
    ],
)
def test_the_watchdog_time_is_systemds(environment, seconds):
    assert Notifier.from_environment(environment).watchdog_seconds == seconds


async def test_the_watchdog_is_fed_while_every_task_progresses_and_only_then(systemd, caplog):
    now = [0.0]
    progress = Progress(10.0, clock=lambda: now[0])
    progress.beat("engine")
    progress.beat("delivery")
    feeding = asyncio.create_task(feed_watchdog(Notifier(systemd.address, 0.03), progress))
    try:
        for _ in range(3):
            assert await asyncio.to_thread(systemd.hears) == ["WATCHDOG=1"]
        now[0] = 11.0
        progress.beat("engine")
        await asyncio.to_thread(systemd.hears_until_silent_for, 0.15)  # five times the interval
        assert "delivery" in caplog.text
        assert "engine" not in caplog.text
        progress.done("delivery")
        systemd.socket.settimeout(10)
        assert await asyncio.to_thread(systemd.hears) == ["WATCHDOG=1"]
    finally:
        feeding.cancel()


def _log(handler_filter: logging.Filter | None = None, journal: bool = False) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(journal))
    if handler_filter:
        handler.addFilter(handler_filter)
    log = logging.Logger("test")
    log.addHandler(handler)
    return log, stream


def test_in_the_journal_an_event_is_one_line_with_its_level():
    log, stream = _log(journal=True)
    log.warning("port %s: %s", "/dev/ttyUSB0", "gone\nfor good")
    try:
        raise OSError("no such device")
    except OSError:
        log.exception("stopped")
    first, second = stream.getvalue().splitlines()
    assert first == "<4>port /dev/ttyUSB0: gone | for good"
    assert second.startswith("<3>stopped | Traceback")
    assert second.endswith("OSError: no such device")


def test_a_flapping_port_cannot_fill_the_disk_nor_hide_another():
    now = [0.0]
    log, stream = _log(RateLimit(burst=3, period=30.0, clock=lambda: now[0]))
    for _ in range(1000):
        log.warning("port %s is gone", "A")
    log.warning("port %s is gone", "B")
    now[0] = 31.0
    log.warning("port %s is gone", "A")
    lines = [line.split(" ", 2)[2] for line in stream.getvalue().splitlines()]
    assert lines == [
        "port A is gone",
        "port A is gone",
        "port A is gone",
        "port B is gone",
        "port A is gone (997 more like it were left out)",
    ]


def test_the_rate_limit_remembers_a_bounded_number_of_messages():
    limit = RateLimit(known=10)
    log, _ = _log(limit)
    for number in range(1000):
        log.warning("message %d", number)
    assert len(limit._seen) == 10


def test_the_log_goes_to_stderr_in_the_journals_form_if_the_journal_reads_it(tmp_path):
    code = "import logging; from agent.ops.logging import log_to_stderr as s; s(); logging.getLogger('x').info('started')"
    with (tmp_path / "stderr").open("wb") as stream:
        status = os.fstat(stream.fileno())
        environment = os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stderr=stream, env=environment, check=True, timeout=60
        )
    assert (tmp_path / "stderr").read_text() == "<6>started\n"


def test_an_early_hangup_is_survived():
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_DFL);"  # however the tests were started
        "from agent.ops.systemd import survive_early_signals as s; s();"
        "os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_the_level_can_be_chosen():
    stream = io.StringIO()
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    try:
        log_to_stderr("WARNING", stream)
        logging.getLogger("x").info("not this")
        logging.getLogger("x").warning("this")
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    assert stream.getvalue().endswith("WARNING this\n")
