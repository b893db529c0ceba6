"""A stop takes less than ten seconds whatever the brokers do, and loses nothing."""

import asyncio
import json
import os
import signal
import time
import tty

import aiomqtt
import pytest

from tests.brokers import free_port
from tests.faults.test_restart import say, until
from tests.integration.agent_process import AgentProcess
from tests.integration.test_main_job import from_kafka


@pytest.fixture
def line():
    ours, theirs = os.openpty()
    tty.setraw(ours)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def configuration(tmp_path, port, sinks):
    file = tmp_path / "agent.toml"
    file.write_text(f"""
[agent]
site = "s"
name = "a"
state = "{tmp_path}/state"
tick = "100ms"

[source.line]
type = "serial"
port = "{port}"
codec = {{ type = "json", machine = "m" }}

[rule.hot]
when = "x >= 90"

{sinks}
""")
    return file


def mqtt(url):
    return f'[sink.broker]\ntype = "mqtt"\nurl = "{url}"\n'


def kafka_sink(servers, topic="t"):
    return f'[sink.kafka]\ntype = "kafka"\nservers = "{servers}"\nalerts = "{topic}"\nstates = "{topic}-state"\n'


async def stopped(agent, *numbers):
    """Send the signals; the exit code and how long it took."""
    started = time.monotonic()
    for number in numbers:
        if agent.process.returncode is None:
            agent.process.send_signal(number)
        await asyncio.sleep(0.05)
    return await agent.wait(20), time.monotonic() - started


async def raised(url, count, ready):
    host, port = url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("edge/v1/s/a/+/event/alert", qos=1)
        ready.set()
        ids = {}
        async for message in client.messages:
            event = json.loads(message.payload)
            ids[event["id"]] = event["data"]["machine"]
            if len(ids) == count:
                return ids


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,), (signal.SIGINT, signal.SIGTERM)],
)
async def test_a_stop_with_the_brokers_absent_is_quick(tmp_path, line, signals):
    ours, port = line
    sinks = mqtt(f"mqtt://127.0.0.1:{free_port()}") + kafka_sink(f"127.0.0.1:{free_port()}")
    async with AgentProcess("run", "-c", configuration(tmp_path, port, sinks)) as agent:
        await agent.says("source line: open")
        say(ours, "before", 1)
        say(ours, "m", 95)
        await agent.says("sink broker:")
        code, seconds = await stopped(agent, *signals)
    assert (code, seconds < 10) == (0, True), seconds
    assert not [line for line in agent.lines if "Traceback" in line]


@pytest.mark.kafka
async def test_a_stop_while_both_brokers_hang_loses_nothing(tmp_path, line, mosquitto, real_kafka):
    ours, port = line
    topic = real_kafka.topic("alerts")
    file = configuration(tmp_path, port, mqtt(mosquitto.url) + kafka_sink(real_kafka.servers, topic))
    subscribed = asyncio.Event()
    subscriber = asyncio.create_task(raised(mosquitto.url, 50, subscribed))
    async with AgentProcess("run", "-c", file) as agent:
        await subscribed.wait()
        await agent.says("sink broker: connected")
        await agent.says("sink kafka: connected")
        say(ours, "before", 1)
        mosquitto.pause()
        real_kafka.pause()
        try:
            for number in range(50):
                say(ours, f"m{number}", 95)
            await until(lambda: '"m49"' in _notes(tmp_path))
            code, seconds = await stopped(agent, signal.SIGTERM)
        finally:
            mosquitto.resume()
            real_kafka.resume()
        assert (code, seconds < 10) == (0, True), seconds
    async with AgentProcess("run", "-c", file) as agent:
        on_mqtt = await asyncio.wait_for(subscriber, 20)
        on_kafka = {event["id"] for _, event in await from_kafka(real_kafka.servers, topic, 50)}
        assert await agent.stop() == 0
    assert set(on_mqtt.values()) == {f"m{number}" for number in range(50)}
    assert on_kafka == set(on_mqtt)


def _notes(tmp_path):
    import sqlite3

    with sqlite3.connect(f"file:{tmp_path}/state/outbox.db?mode=ro", uri=True) as database:
        return " ".join(name for (name,) in database.execute("SELECT name FROM notes"))


async def test_a_reload_at_any_time_does_not_end_it(tmp_path, line):
    ours, port = line
    sinks = f'[sink.file]\ntype = "lines"\npath = "{tmp_path}/alerts.jsonl"\n'
    file = configuration(tmp_path, port, sinks)
    good = file.read_text()
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        agent.process.send_signal(signal.SIGHUP)
        await agent.says("configuration is right")
        for broken in ("[agent\n", good.replace("x >= 90", "x >= "), good.replace("port =", "prot ="), "\xff"):
            file.write_text(broken, encoding="latin-1")
            refused = sum("configuration refused" in said for said in agent.lines)
            agent.process.send_signal(signal.SIGHUP)
            await until(lambda n=refused: sum("configuration refused" in said for said in agent.lines) > n)
        file.unlink()
        agent.process.send_signal(signal.SIGHUP)
        await agent.says("no such file")
        say(ours, "before", 1)
        say(ours, "m", 95)
        await until(lambda: (tmp_path / "alerts.jsonl").exists() and (tmp_path / "alerts.jsonl").read_text())
        assert (await stopped(agent, signal.SIGTERM))[0] == 0


async def test_a_pipe_that_nobody_reads_does_not_hold_it(tmp_path, line):
    ours, port = line
    os.mkfifo(tmp_path / "pipe")
    file = configuration(tmp_path, port, f'[sink.file]\ntype = "lines"\npath = "{tmp_path}/pipe"\n')
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        say(ours, "before", 1)
        say(ours, "m", 95)
        await until(lambda: '"m"' in _notes(tmp_path))
        code, seconds = await stopped(agent, signal.SIGTERM)
    assert (code, seconds < 10) == (0, True), seconds


async def test_a_second_one_on_the_same_state_is_told_so_in_a_sentence(tmp_path, line):
    file = configuration(tmp_path, line[1], '[sink.out]\ntype = "lines"\n')
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        async with AgentProcess("run", "-c", file) as second:
            assert await second.wait() == 1
        (said,) = second.lines
        assert said.endswith("is this agent running already? Two cannot share the directory [agent] state")
        assert await agent.stop() == 0
