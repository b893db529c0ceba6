"""The agent as systemd sees it: what it says on NOTIFY_SOCKET, how it takes signals, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = """
[agent]
site = "plant"
name = "gateway"

[source.machines]
type = "temperature"
"""


class Unit:
    """One start of the service."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.file = folder / "agent.toml"
        self.file.write_text(configuration)
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(folder / "notify"))
        self.systemd.settimeout(30)
        environment = os.environ | {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": "300000",
            "STATE_DIRECTORY": str(folder / "state"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", "run", "-c", self.file],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hears(self, word: str) -> list[str]:
        """The next notification that starts with `word`; fails after 30 s."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            said = self.systemd.recv(4096).decode().split("\n")
            if said[0].startswith(word):
                return said
        raise AssertionError(f"{word} was not said in 30 s")

    def ends(self) -> tuple[int, str]:
        """Exit code and log."""
        _, log = self.process.communicate(timeout=15)
        return self.process.returncode, log


@pytest.fixture
def start(tmp_path):
    units = []

    def _start(configuration: str = CONFIGURATION) -> Unit:
        units.append(Unit(tmp_path, configuration))
        return units[-1]

    yield _start
    for unit in units:
        unit.process.kill()
        unit.process.communicate()
        unit.systemd.close()


def test_a_service_starts_is_watched_reloads_and_stops(start):
    unit = start()
    assert unit.hears("READY=1")[1].startswith("STATUS=")
    for _ in range(3):
        unit.hears("WATCHDOG=1")
    unit.process.send_signal(signal.SIGHUP)
    assert unit.hears("RELOADING=1")[1].startswith("MONOTONIC_USEC=")
    unit.hears("READY=1")
    unit.hears("WATCHDOG=1")
    unit.process.send_signal(signal.SIGTERM)
    stopped = time.monotonic()
    unit.hears("STOPPING=1")
    code, log = unit.ends()
    assert code == 0, log
    assert time.monotonic() - stopped < 10
    assert "Traceback" not in log


def test_a_reload_of_a_broken_file_leaves_the_agent_as_it_is(start):
    unit = start()
    unit.hears("READY=1")
    unit.file.write_text(CONFIGURATION.replace("temperature", "temperatur"))
    unit.process.send_signal(signal.SIGHUP)
    unit.hears("RELOADING=1")
    unit.hears("READY=1")
    unit.hears("WATCHDOG=1")
    unit.process.send_signal(signal.SIGTERM)
    code, log = unit.ends()
    assert code == 0, log
    assert 'did you mean "temperature"?' in log


def test_twice_sigterm_still_ends_well(start):
    unit = start()
    unit.hears("READY=1")
    unit.process.send_signal(signal.SIGTERM)
    unit.process.send_signal(signal.SIGTERM)
    code, log = unit.ends()
    assert code == 0, log


def test_a_wrong_configuration_ends_with_78_so_that_systemd_does_not_try_again(start):
    unit = start(CONFIGURATION.replace("[source", "[sauce"))
    code, log = unit.ends()
    assert code == 78
    assert "sauce" in log
    assert 'did you mean "source"?' in log
