"""`agent tail` beside a real broker."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.cli.tail import Printer, Trouble

ROOT = Path(__file__).parents[2]
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _event(number: int = 1, change: str = "raised") -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"id-{number}",
            "source": "/edge/plant/gw/2",
            "subject": "key",
            "sequence": str(number),
            "type": f"io.edge-agent.alert.{change}",
            "time": "2023-11-14T22:13:25.000Z",
            "severitytext": "ERROR",
            "data": {"machine": "2", "rule": {"id": "hot"}, "value": 91.0, "message": f"machine 2 is hot {number}"},
        }
    ).encode()


def test_what_comes_twice_is_shown_once_and_nonsense_is_told_apart(capsys):
    printer = Printer()
    for body in (_event(1), _event(1), b"", b"nonsense", _event(2, "resolved")):
        printer.show(body)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("ago  CRITICAL raised    machine 2 is hot 1")
    assert lines[1].endswith("ago  CRITICAL resolved  machine 2 is hot 2")
    assert "not understood" in said.err


def test_json_is_passed_on_as_it_is_and_counted(capsys):
    printer = Printer(as_json=True, count=1)
    assert not printer.done()
    printer.show(_event())
    assert printer.done()
    assert capsys.readouterr().out.encode().strip() == _event()


def test_a_broker_that_stays_away_does_not_fill_the_screen(capsys):
    trouble = Trouble()
    for why in ("refused", "refused", "refused", "timed out", "refused"):
        trouble(why)
    assert [line.partition(";")[0] for line in capsys.readouterr().err.splitlines()] == [
        "refused", "timed out", "refused",
    ]  # fmt: skip


@pytest.mark.mosquitto
def test_an_alert_on_the_broker_is_shown(tmp_path):
    if MOSQUITTO is None:
        assert os.environ.get("REQUIRE_BROKERS") != "1", "mosquitto is missing"
        pytest.skip("mosquitto is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    command = [sys.executable, "-m", "agent", "tail", "--broker", f"mqtt://127.0.0.1:{port}", "--count", "2"]
    tail = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    broker = subprocess.Popen(
        [MOSQUITTO, "-c", tmp_path / "conf"], stderr=subprocess.DEVNULL
    )  # after the subscriber
    try:
        topic = "edge/v1/plant/gw/2/event/alert"
        publish = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", topic, "-s"]
        deadline = time.monotonic() + 40
        for number in range(400):  # until the subscriber is there; each event is one of its own
            subprocess.run(publish, input=_event(number), capture_output=True, timeout=20, check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                tail.wait(0.1)
                break
            assert time.monotonic() < deadline
        lines = tail.communicate(timeout=20)[0].splitlines()
        assert tail.returncode == 0
        assert len(lines) == 2
        assert all("CRITICAL raised    machine 2 is hot" in line for line in lines)
    finally:
        tail.kill()
        tail.wait()
        broker.terminate()
        broker.wait(10)
