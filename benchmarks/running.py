"""An agent and a broker as child processes, for the benchmarks that measure the whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.brokers import Kafka, start_kafka, start_mock_kafka

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Running:
    """An agent that has said READY.

    Attributes:
        process: the child.
        ready_seconds: from the start of the process to READY=1.
        folder: its working directory, with `agent.toml` and `state`.
    """

    process: subprocess.Popen[bytes]
    ready_seconds: float
    folder: Path

    def cpu_seconds(self) -> float:
        """Processor time used so far by the threads it has, exact (`stat` counts ticks, and so mostly the timers)."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def memory(self, which: str = "VmRSS") -> float:
        """Resident memory, MB: `VmRSS` now, `VmHWM` at most."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{which}:")[2].split()[0]) / 1000


@contextlib.contextmanager
def agent(configuration: str, *arguments: str) -> Iterator[Running]:
    """`agent run` with this configuration; stopped at the end.

    Raises:
        RuntimeError: the agent ended before it was ready, or was not ready within 30 s.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "agent.toml").write_text(configuration)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(folder / "notify"))
            systemd.settimeout(0.1)
            environment = os.environ | {
                "NOTIFY_SOCKET": str(folder / "notify"),
                "PYTHONPATH": str(ROOT),
                "STATE_DIRECTORY": str(folder / "state"),
            }
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: compiled once
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "agent", "run", "-c", "agent.toml", *arguments],
                cwd=folder,
                env=environment,
                stderr=(folder / "log").open("wb"),
            )
            try:
                yield Running(process, _ready(process, systemd, started, folder), folder)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _ready(process: subprocess.Popen[bytes], systemd: socket.socket, started: float, folder: Path) -> float:
    while time.perf_counter() - started < 30:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in systemd.recv(4096):
                return time.perf_counter() - started
        if process.poll() is not None:
            break
    raise RuntimeError(f"the agent is not ready: {(folder / 'log').read_text()[-2000:]}")


@contextlib.contextmanager
def mosquitto() -> Iterator[int | None]:
    """A mosquitto on a free port of the loopback; None if it is not installed."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        print("mosquitto is not installed", file=sys.stderr)
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosquitto.conf"
        file.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            "set_tcp_nodelay true\n"
        )
        broker = subprocess.Popen([program, "-c", str(file)], stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield port
        finally:
            broker.terminate()
            broker.wait(10)


@contextlib.contextmanager
def kafka() -> Iterator[Kafka]:
    """A real Kafka broker; librdkafka's where Java or Maven is missing."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            broker = start_kafka(Path(folder))
        except RuntimeError as error:
            print(f"{error}; the broker inside librdkafka serves instead", file=sys.stderr)
            broker = start_mock_kafka(Path(folder))
        try:
            yield broker
        finally:
            broker.stop()
