"""Input from a hostile or broken world: the agent goes on, counts it, and everything else comes through."""

import asyncio
import contextlib
import json
import os
import time
import tty
from pathlib import Path

import aiomqtt
import jsonschema
import pytest

from tests.faults.test_restart import until
from tests.integration.agent_process import ROOT, AgentProcess

SCHEMA = json.loads((ROOT / "agent/alerts/schema/alert.v1.json").read_text())
SECOND = 10**9

NAMES = [
    "a/b", "+", "#", "a+b#c", "nul\0inside", "x" * 1000, "\u202eright-to-left", "status", "cmd", "health", " ", "..",
    "$SYS", "emoji \U0001f525", "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "new\nline",
]  # fmt: skip


def configuration(tmp_path, source, url, more=""):
    file = tmp_path / "agent.toml"
    file.write_text(f"""
[agent]
site = "s"
name = "a"
state = "{tmp_path}/state"
tick = "100ms"
health = "500ms"
series = 1000

[source.line]
{source}

[rule.hot]
when = "x >= 90"
clear = "x < 80"
{more}

[sink.broker]
type = "mqtt"
url = "{url}"
""")
    return file


class Listener:
    """All that an agent publishes."""

    def __init__(self, url):
        self.host, self.port = url.removeprefix("mqtt://").split(":")
        self.events, self.topics, self.health = {}, set(), {}
        self.ready = asyncio.Event()

    async def run(self):
        async with aiomqtt.Client(self.host, int(self.port), protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.subscribe("edge/#", qos=1)
            self.ready.set()
            async for message in client.messages:
                topic = str(message.topic)
                if topic.endswith("/event/alert"):
                    event = json.loads(message.payload)
                    self.events[event["id"]] = event
                    self.topics.add(topic)
                elif topic.endswith("/health"):
                    self.health = json.loads(message.payload)

    def said(self, machine):
        events = [event for event in self.events.values() if event["data"]["machine"] == machine]
        return [
            event["type"].rpartition(".")[2] for event in sorted(events, key=lambda event: int(event["sequence"]))
        ]


@pytest.fixture
async def listener(mosquitto):
    listener = Listener(mosquitto.url)
    task = asyncio.create_task(listener.run())
    await listener.ready.wait()
    yield listener
    task.cancel()


@pytest.fixture
def lines():
    """Two serial lines; a device is plugged in under another name."""
    made = []
    for _ in range(2):
        ours, theirs = os.openpty()
        tty.setraw(ours)
        made.append((ours, theirs, os.ttyname(theirs)))
    yield made
    for ours, theirs, _ in made:
        for end in (ours, theirs):
            with contextlib.suppress(OSError):
                os.close(end)


def serial(port):
    codec = '{ type = "json", machine = "m", time = "t" }'
    return f'type = "serial"\nport = "{port}"\ncodec = {codec}'


def resident(pid):
    """Memory of a process, KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


async def write(line, data):
    """All of it, at the pace at which the other end reads."""
    os.set_blocking(line, False)
    while data:
        try:
            data = data[os.write(line, data[:4096]) :]
        except BlockingIOError:
            await asyncio.sleep(0.001)


def frame(machine, value, when=None):
    return json.dumps({"m": machine, "x": value, "t": when or time.time_ns()}).encode() + b"\n"


async def test_hostile_names_wild_values_and_wrong_times(tmp_path, lines, mosquitto, listener):
    ours, _, port = lines[0]
    async with AgentProcess("run", "-c", configuration(tmp_path, serial(port), mosquitto.url)) as agent:
        await agent.says("source line: open")
        await agent.says("sink broker: connected")
        await write(ours, b"\n")
        now = time.time_ns()
        for name in NAMES:
            await write(ours, frame(name, 95))
        for wild in (
            "NaN",
            "Infinity",
            "-Infinity",
            "1e999",
            "null",
            '"hot"',
            "[]",
            "{}",
            "true",
            "1e308",
            "-1e308",
        ):
            await write(ours, b'{"m":"wild","x":%s,"t":%d}\n' % (wild.encode(), now))
        for when in (-5, 0, now // SECOND, now + 10 * 365 * 86400 * SECOND, 2**63, 2**70, 1.5e300, "soon", None):
            await write(ours, json.dumps({"m": "times", "x": 95, "t": when}).encode() + b"\n")
        await write(ours, b"x" * (1 << 20) + b"\n" + b"\xff\x00" * 5000 + b"\n")
        await write(ours, b"[" * 100_000 + b"\n")
        await write(ours, frame("last", 95))
        await until(lambda: listener.said("last") == ["raised"], 20)
        for event in listener.events.values():
            jsonschema.validate(event, SCHEMA)
        assert {event["data"]["machine"] for event in listener.events.values()} >= set(NAMES)
        assert listener.said("times") == []
        assert len(listener.topics) == len({event["data"]["machine"] for event in listener.events.values()})
        await until(lambda: listener.health.get("sources", {}).get("line", {}).get("frames_bad", 0) >= 11)
        assert await agent.stop() == 0
    assert not [text for text in agent.lines if "Traceback" in text]


async def test_a_thousand_crossings_a_minute_are_one_incident_with_hold(tmp_path, lines, mosquitto, listener):
    ours, _, port = lines[0]
    file = configuration(tmp_path, serial(port), mosquitto.url, 'hold = "30s"')
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        await agent.says("sink broker: connected")
        await write(ours, b"\n")
        start = time.time_ns() - 200 * SECOND
        for crossing in range(1000):
            await write(ours, frame("m", 95 if crossing % 2 == 0 else 60, start + crossing * 60_000_000))
        for second in range(60, 100):
            await write(ours, frame("m", 60, start + second * SECOND))
        await write(ours, frame("end", 95))
        await until(lambda: listener.said("end") == ["raised"], 20)
        assert listener.said("m") == ["raised", "resolved"]
        assert await agent.stop() == 0


async def test_a_device_replugged_under_another_name_is_found_by_its_link(tmp_path, lines, mosquitto, listener):
    (first, first_end, first_name), (second, _, second_name) = lines
    link = tmp_path / "usb-sensor"
    link.symlink_to(first_name)
    async with AgentProcess("run", "-c", configuration(tmp_path, serial(link), mosquitto.url)) as agent:
        await agent.says("source line: open")
        await agent.says("sink broker: connected")
        await write(first, b"\n" + frame("before", 95))
        await until(lambda: listener.said("before") == ["raised"])
        link.unlink()
        os.close(first_end)
        os.close(first)
        await agent.says("source line:", 10)
        await agent.says("trying again", 10)
        link.symlink_to(second_name)
        await until(lambda: sum("source line: open" in text for text in agent.lines) >= 2, 15)
        await write(second, b"\n" + frame("after", 95) + frame("before", 10))
        await until(lambda: listener.said("after") == ["raised"])
        await until(lambda: listener.said("before") == ["raised", "resolved"])
        assert await agent.stop() == 0


async def test_a_hundred_thousand_machines_are_capped_and_counted(tmp_path, mosquitto, listener):
    codec = '{ type = "json", explode = "r[]", machine = "r[].m", values = ["r[].x as x"] }'
    source = f'type = "mqtt"\nurl = "{mosquitto.url}"\ntopic = "in/+"\ncodec = {codec}'
    async with AgentProcess("run", "-c", configuration(tmp_path, source, mosquitto.url)) as agent:
        await agent.says("source line: open")
        await agent.says("sink broker: connected")
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            for block in range(0, 100_000, 500):
                rows = [{"m": f"machine {number}", "x": 1} for number in range(block, block + 500)]
                await client.publish("in/a", json.dumps({"r": rows}), qos=1)
            await client.publish("in/a", json.dumps({"r": [{"m": "machine 7", "x": 95}]}), qos=1)
        await until(lambda: listener.said("machine 7") == ["raised"], 30)
        await until(lambda: listener.health.get("series_refused", 0) >= 99_000)
        assert listener.health["series"]["machine"] <= 1000
        assert resident(agent.process.pid) < 200_000
        assert await agent.stop() == 0
