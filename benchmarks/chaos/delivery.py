"""Faults between the outbox and the broker, and of the disk: outbox, delivery loop and sink in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt

from agent.alerts.alert import Identity, Kind, Message
from agent.outbox import Outbox
from agent.outbox.delivery import Delivery
from agent.sinks.mqtt import MqttSink
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.tally import Tally, peak_mb
from benchmarks.running import mosquitto
from sensors.transport.backoff import Backoff
from sensors.units import Duration

ALERT: frozenset[Kind] = frozenset({"alert"})


@dataclass
class Load:
    """Appends alerts at a rate until told to stop; `safe` holds the ids whose append has returned."""

    box: Outbox
    per_second: float
    safe: list[str] = field(default_factory=list)
    number: int = 0
    slowest: float = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        began = time.monotonic()
        while not stop.is_set():
            due = int((time.monotonic() - began) * self.per_second) - self.number
            if due > 0:
                await self.add(due)
            await asyncio.sleep(0.005)

    async def add(self, count: int) -> None:
        """Append so many now."""
        messages = [alert(n) for n in range(self.number, self.number + count)]
        self.number += count
        before = time.monotonic()
        await self.box.append(messages)
        self.slowest = max(self.slowest, time.monotonic() - before)
        self.safe += [message.id for message in messages]


def alert(number: int) -> Message:
    """An alert of 300 bytes whose body holds its id."""
    body = json.dumps({"id": f"id-{number}", "padding": "x" * 250}).encode()
    return Message(f"id-{number}", "alert", f"machine-{number % 17}", "", body, number)


@asynccontextmanager
async def subscriber(port: int) -> AsyncIterator[list[str]]:
    """Ids in order of arrival; it connects again for ever, and its session is kept by the broker meanwhile."""
    arrived: list[str] = []

    async def collect() -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                client = aiomqtt.Client(
                    "127.0.0.1", port, identifier="chaos-subscriber", clean_session=False, timeout=2
                )
                async with client:
                    await client.subscribe("edge/v1/+/+/+/event/alert", qos=1)
                    ready.set()
                    async for message in client.messages:
                        found = json.loads(bytes(message.payload))
                        arrived.append(found["id"])
            await asyncio.sleep(0.05)

    ready = asyncio.Event()
    task = asyncio.create_task(collect())
    try:
        async with asyncio.timeout(10):
            await ready.wait()
        yield arrived
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run(
    fault: str,
    directory: Path,
    act: Callable[[Proxy], Awaitable[None]],
    broker_port: int,
    per_second: float = 300.0,
    seconds: float = 1.0,
) -> Tally:
    """Alerts flow for `seconds`, `act` does its worst, they flow on for `seconds`; then all must have arrived."""
    stop, enough = asyncio.Event(), asyncio.Event()
    quick = Backoff(first=0.1, longest=1.0, random=random.Random(1))
    async with Proxy(broker_port) as proxy, subscriber(broker_port) as arrived:
        sink = MqttSink(f"mqtt://127.0.0.1:{proxy.port}", timeout=Duration("1s"))
        sink.signed(Identity("plant-1", "gateway-1"))
        async with Outbox(directory / f"{fault}.db", {"broker": ALERT}) as box, asyncio.TaskGroup() as tasks:
            load = Load(box, per_second)
            tasks.create_task(Delivery(box, "broker", sink, backoff=quick).run(stop))
            producing = tasks.create_task(load.run(enough))
            await asyncio.sleep(seconds)
            await act(proxy)
            over, before = time.monotonic(), set(load.safe)
            await _until(lambda: before <= set(arrived), 60)
            recovery = time.monotonic() - over
            await asyncio.sleep(seconds)
            enough.set()
            await producing
            await _until(lambda: set(load.safe) <= set(arrived), 60)
            stop.set()
    note = f"append at most {load.slowest * 1000:.0f} ms"
    return Tally.of(fault, load.safe, arrived, recovery, note=note)


async def broker_killed(directory: Path, seconds: float = 3.0) -> Tally:
    """`kill -9` of mosquitto under load; it comes back with nothing in memory."""
    broker = Broker(directory / "mosquitto")

    async def act(proxy: Proxy) -> None:
        broker.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(broker.start)

    with broker:
        return await run("broker killed", directory, act, broker.port)


async def broker_hangs(directory: Path, seconds: float = 3.0) -> Tally:
    """The kernel accepts connections, nobody answers."""
    broker = Broker(directory / "mosquitto")

    async def act(proxy: Proxy) -> None:
        broker.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        broker.signal(signal.SIGCONT)

    with broker:
        return await run("broker accepts and never answers", directory, act, broker.port)


async def proxied(directory: Path, fault: str, seconds: float = 3.0) -> Tally:
    """A network that stalls, delays, refuses, or cuts connections in the middle of a packet."""

    async def act(proxy: Proxy) -> None:
        if fault == "connection cut in mid-packet":
            proxy.cut_after = 2_777
            proxy.cut()
        proxy.stalled = fault == "network stalls"
        proxy.refusing = fault == "connections refused"
        proxy.delay = 0.05 if fault == "network delays" else 0.0
        if proxy.refusing:
            proxy.cut()
        await asyncio.sleep(seconds)
        proxy.stalled = proxy.refusing = False
        proxy.delay, proxy.cut_after = 0.0, 0
        proxy.cut()

    with mosquitto() as port:
        if port is None:
            raise RuntimeError("mosquitto is not installed")
        return await run(fault, directory, act, port)


class Broker:
    """A mosquitto that can be killed and started again on its port."""

    def __init__(self, directory: Path) -> None:
        import socket

        directory.mkdir(exist_ok=True, parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.file = directory / "mosquitto.conf"
        self.file.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        import socket

        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise RuntimeError("mosquitto is not installed")
        self.process = subprocess.Popen([program, "-c", str(self.file)], stderr=subprocess.DEVNULL)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError("mosquitto does not listen")

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """As a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()


async def power_cut(directory: Path, cuts: int = 50, seed: int = 1) -> Tally:
    """After each cut the file holds what was synced, and any part of what was being written, or garbage."""
    chance = random.Random(seed)
    safe: list[str] = []
    arrived: list[str] = []
    slowest = 0.0
    for number in range(cuts):
        case, torn = directory / f"cut-{number}", directory / f"torn-{number}"
        case.mkdir()
        async with Outbox(case / "o.db", {"away": ALERT}) as box:
            mine = [alert(1000 * number + n) for n in range(chance.randint(1, 60))]
            start = 0
            while start < len(mine):
                step = chance.randint(1, 10)
                await box.append(mine[start : start + step])
                start += step
            synced = _sizes(case)
            await box.append([alert(1000 * number + 900 + n) for n in range(5)])
            await asyncio.to_thread(shutil.copytree, case, torn)
        await asyncio.to_thread(_tear, torn, synced, chance)
        safe += [message.id for message in mine]
        before = time.monotonic()
        async with Outbox(torn / "o.db", {"away": ALERT}) as box:
            slowest = max(slowest, time.monotonic() - before)
            while (batch := await box.next("away")) is not None:
                arrived += [m.id for m in batch.messages if int(m.id[3:]) % 1000 < 900]
                box.confirm("away", batch)
    return Tally.of("power cut", safe, arrived, slowest, note=f"{cuts} torn write-ahead logs")


def _sizes(case: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in case.iterdir()}


def _tear(torn: Path, synced: dict[str, int], chance: random.Random) -> None:
    """Cut the write-ahead log somewhere after what was synced, and perhaps add garbage."""
    (torn / "o.db-shm").unlink(missing_ok=True)  # memory, gone with the power
    wal = torn / "o.db-wal"
    data = wal.read_bytes()
    keep = synced.get("o.db-wal", 0)
    cut = chance.randint(keep, len(data))
    garbage = chance.randbytes(chance.choice([0, 0, 100, 5000]))
    wal.write_bytes(data[:cut] + garbage)


async def corrupt_anywhere(directory: Path, cases: int = 30, seed: int = 2) -> Tally:
    """Bytes of the database are overwritten at random places: it starts, keeps what is whole, counts the rest."""
    chance = random.Random(seed)
    safe: list[str] = []
    arrived: list[str] = []
    quarantined = 0
    for number in range(cases):
        path = directory / f"corrupt-{number}.db"
        async with Outbox(path, {"away": ALERT}) as box:
            mine = [alert(1000 * number + n) for n in range(60)]
            await box.append(mine)
        await asyncio.to_thread(_overwrite, path, chance)
        safe += [message.id for message in mine]
        async with Outbox(path, {"away": ALERT}) as box:
            while (batch := await box.next("away")) is not None:
                arrived += [m.id for m in batch.messages]
                box.confirm("away", batch)
            quarantined += box.counters.quarantined
    tally = Tally.of("database corrupt at random places", safe, arrived, 0.0)
    tally.note = f"{cases} files, {quarantined} moved aside; beyond the promise: {tally.lost} were unreadable"
    tally.raised, tally.lost = tally.raised - tally.lost, 0
    return tally


def _overwrite(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 3, 100])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data)


@contextlib.contextmanager
def small_disk(directory: Path, megabytes: int = 16) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A file system of so many MB, and what makes it large; without the right to mount, a bound on file sizes."""
    place = directory / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        filler = place / "filler"
        filler.write_bytes(b"x" * ((megabytes << 20) - 600_000))
        try:
            yield place, filler.unlink
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        yield place, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def disk_full(directory: Path, alerts: int = 4000) -> Tally:
    """The disk fills while the broker is away; then there is room, and the broker returns."""
    with small_disk(directory) as (place, make_room):
        arrived: list[str] = []
        async with Outbox(place / "o.db", {"broker": ALERT}, linger_seconds=0.05) as box:
            load = Load(box, 0)
            while load.number < alerts:
                await load.add(50)
            failed = bool(box.failing)
            await asyncio.to_thread(make_room)
            over = time.monotonic()
            await _until(lambda: not box.failing, 20)
            recovery = time.monotonic() - over
        async with Outbox(place / "o.db", {"broker": ALERT}) as box:  # what is on disk, not in memory
            while (batch := await box.next("broker")) is not None:
                arrived += [message.id for message in batch.messages]
                box.confirm("broker", batch)
    note = f"disk failed: {failed}; append at most {load.slowest * 1000:.0f} ms"
    return Tally.of("disk full", load.safe, arrived, recovery, note=note)


async def clock_steps(directory: Path) -> Tally:
    """The host's clock is set ten years ahead and an hour back while alerts wait."""
    wall = {"now": 1_700_000_000 * 10**9}
    arrived: list[str] = []
    path = directory / "clock.db"
    async with Outbox(path, {"broker": ALERT}, now=lambda: wall["now"], linger_seconds=0.02) as box:
        load = Load(box, 0)
        for step in (0, 10 * 365 * 86400, -3600):
            wall["now"] += step * 10**9
            await load.add(50)
    wall["now"] += 10 * 365 * 86400 * 10**9
    async with Outbox(path, {"broker": ALERT}, now=lambda: wall["now"], linger_seconds=0.02) as box:
        load.box = box
        await load.add(50)
        while (batch := await box.next("broker")) is not None:
            arrived += [message.id for message in batch.messages]
            box.confirm("broker", batch)
    return Tally.of("clock set +10 years and -1 h", load.safe, arrived, 0.0)


def thousand_agents(agents: int = 1000) -> Tally:
    """A broker restarts: when do its clients come back?"""
    waits = [Backoff(random=random.Random(seed)) for seed in range(agents)]
    tries = sorted(at for wait in waits for at in _moments(wait, 60.0))
    busiest = max(sum(1 for at in tries if second <= at < second + 1) for second in range(2, 60))
    note = f"{len(tries)} tries in 60 s; after the first 2 s at most {busiest} in one second"
    return Tally("1,000 agents reconnect", 0, 0, 0, 0, 0.0, peak_mb(), note)


def _moments(backoff: Backoff, seconds: float) -> Iterator[float]:
    at = backoff.next()
    while at < seconds:
        yield at
        at += backoff.next()


async def _until(true: Callable[[], bool], seconds: float) -> None:
    """Wait for it; when the time is over, go on: the tally will show it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 what is measured has no event
                await asyncio.sleep(0.02)
