"""A full disk: the agent goes on deciding and telling, says what is wrong, and recovers by itself."""

import asyncio
import json
import os
import signal
import subprocess
import tty

import aiomqtt
import pytest

from tests.brokers import missing
from tests.faults.test_restart import newest_segment, say, until
from tests.integration.agent_process import AgentProcess


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "state"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "t", place], check=False).returncode
    ):
        missing("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def line():
    ours, theirs = os.openpty()
    tty.setraw(ours)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def fill(place):
    with open(place / "ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def configuration(tmp_path, port, url):
    file = tmp_path / "agent.toml"
    file.write_text(f"""
[agent]
site = "s"
name = "a"
state = "{tmp_path}/state"
tick = "100ms"
checkpoint_every = "300ms"

[source.line]
type = "serial"
port = "{port}"
codec = {{ type = "json", machine = "m" }}

[rule.hot]
when = "x >= 90"

[sink.broker]
type = "mqtt"
url = "{url}"
""")
    return file


async def listen(url, events, ready):
    host, port = url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("edge/v1/s/a/+/event/alert", qos=1)
        ready.set()
        async for message in client.messages:
            event = json.loads(message.payload)
            change, data = event["type"].rpartition(".")[2], event["data"]
            events[event["id"]] = (change, data["rule"]["id"], data["machine"], event["sequence"])


async def test_a_full_disk_is_survived_told_and_forgotten(tmp_path, line, small_disk, mosquitto):
    ours, port = line
    file = configuration(tmp_path, port, mosquitto.url)
    events, subscribed = {}, asyncio.Event()
    listening = asyncio.create_task(listen(mosquitto.url, events, subscribed))
    await subscribed.wait()

    def told(change, rule, machine):
        return any(event[:3] == (change, rule, machine) for event in events.values())

    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("sink broker: connected")
        await agent.says("source line: open")
        say(ours, "before", 1)
        fill(small_disk)
        for number in range(300):
            say(ours, f"m{number}", 95)
        await until(lambda: all(told("raised", "hot", f"m{number}") for number in range(300)))
        await until(lambda: told("raised", "agent_disk", "a"))
        await agent.says("checkpoint:")
        for number in range(300):
            say(ours, f"m{number}", 10)
        await until(lambda: all(told("resolved", "hot", f"m{number}") for number in range(300)))
        known = newest_segment(small_disk)
        (small_disk / "ballast").unlink()
        await until(lambda: told("resolved", "agent_disk", "a"))
        say(ours, "last", 95)
        await until(lambda: told("raised", "hot", "last"))
        await until(lambda: newest_segment(small_disk) != known)
        await agent.stop(signal.SIGKILL)
    assert not [text for text in agent.lines if "Traceback" in text]
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        say(ours, "before", 1)
        say(ours, "last", 10)
        await until(lambda: told("resolved", "hot", "last"))
        assert await agent.stop() == 0
    listening.cancel()
    changes = list(events.values())
    assert sum(event[0] == "raised" for event in changes) == sum(event[0] == "resolved" for event in changes) == 302
    assert sorted(int(event[3]) for event in changes) == list(range(1, 605))
