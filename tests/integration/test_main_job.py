"""The main job, whole: tutorial lines written to a serial line arrive as alerts from mosquitto and from Kafka."""

import asyncio
import json
import os
import time
import tty
from pathlib import Path

import aiomqtt
import jsonschema
import pytest
from aiokafka import AIOKafkaConsumer

from tests.integration.agent_process import ROOT, AgentProcess

SCHEMA = json.loads((ROOT / "agent/alerts/schema/alert.v1.json").read_text())


@pytest.fixture
def line():
    """Both ends of a serial line: what we write to, and the name of the port the agent opens."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def configuration(tmp_path, port, url, servers, topic):
    text = (ROOT / "config/serial.toml").read_text()
    text = text.replace("/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A1-if00-port0", port)
    text = text.replace("mqtt://127.0.0.1:1883", url).replace("alerts.jsonl", str(tmp_path / "alerts.jsonl"))
    text = text.replace("[agent]", f'[agent]\nstate = "{tmp_path}/state"')
    text += f'\n[sink.kafka]\ntype = "kafka"\nservers = "{servers}"\nalerts = "{topic}"\nstates = "{topic}-state"\n'
    file = tmp_path / "agent.toml"
    file.write_text(text)
    return file


def readings(start, seconds, machine, temperature):
    """Four lines a second, as the tutorial's producer writes them."""
    for quarter in range(4 * seconds):
        instant = start + quarter * 250_000_000
        yield json.dumps({"machine": machine, "Temperature_C": temperature, "Timestamp": instant}).encode() + b"\n"


async def from_mqtt(url, count, ready):
    host, port = url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("edge/v1/hall-1/line-a/+/event/alert", qos=1)
        ready.set()
        events = []
        async for message in client.messages:
            events.append(json.loads(message.payload))
            if len(events) == count:
                return events


async def from_kafka(servers, topic, count):
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    await consumer.start()
    try:
        records = []
        async for record in consumer:
            records.append((record.key, json.loads(record.value)))
            if len(records) == count:
                return records
    finally:
        await consumer.stop()


async def test_lines_on_a_serial_port_become_alerts_on_mosquitto_and_kafka(tmp_path, line, mosquitto, kafka):
    ours, port = line
    topic = kafka.topic("alerts")
    kafka.topic  # noqa: B018
    file = configuration(tmp_path, port, mosquitto.url, kafka.servers, topic)
    start = (time.time_ns() // 10**9 - 60) * 10**9
    subscribed = asyncio.Event()
    async with asyncio.timeout(60), AgentProcess("run", "-c", file) as agent:
        subscriber = asyncio.create_task(from_mqtt(mosquitto.url, 2, subscribed))
        consumer = asyncio.create_task(from_kafka(kafka.servers, topic, 2))
        await subscribed.wait()
        await agent.says("source line: open")
        os.write(ours, b'"half a line of the time before"}\n')
        for number, data in enumerate(readings(start, 10, "1", 60)):
            os.write(ours, data)
            if number == 5:
                os.write(ours, b"\xff\x00garbage\n{not json}\n")
        for data in readings(start, 10, "2", 95):
            os.write(ours, data)
        for data in readings(start + 10 * 10**9, 15, "2", 60):
            os.write(ours, data)
        events = await subscriber
        records = await consumer
        assert await agent.stop() == 0

    raised, resolved = events
    for event in events:
        jsonschema.validate(event, SCHEMA)
    assert raised["type"].endswith("raised")
    assert resolved["type"].endswith("resolved")
    assert raised["correlationid"] == resolved["correlationid"]
    assert (raised["data"]["machine"], raised["data"]["value"]) == ("2", 95.0)
    assert [event["id"] for _, event in records] == [raised["id"], resolved["id"]]
    assert {key for key, _ in records} == {b"hall-1/line-a/2"}
    written = [json.loads(text) for text in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert [e["id"] for e in written if e["type"].startswith("io.edge-agent.alert")] == [
        raised["id"],
        resolved["id"],
    ]


async def test_a_wrong_configuration_ends_with_78_and_names_the_key(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text('[source.line]\ntype = "serial"\nport = "/dev/ttyS0"\nbuad = 9600\n')
    async with AgentProcess("run", "-c", file) as agent:
        assert await agent.wait() == 78
    assert any('source.line.buad: unknown key; did you mean "baud"?' in line for line in agent.lines)


async def test_port_and_broker_absent_at_start_is_no_reason_to_stop(tmp_path):
    file = configuration(tmp_path, str(tmp_path / "absent"), "mqtt://127.0.0.1:1", "127.0.0.1:1", "t")
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line:")
        await agent.says("sink broker:")
        started = time.monotonic()
        assert await agent.stop() == 0
        assert time.monotonic() - started < 10


def test_every_example_is_right(tmp_path, monkeypatch):
    from agent.settings.build import build_pipeline
    from agent.settings.settings import load

    monkeypatch.chdir(tmp_path)
    examples = sorted(Path(ROOT / "config").glob("*.toml"))
    assert len(examples) >= 4
    for file in examples:
        build_pipeline(load(file))


async def test_a_second_agent_with_the_same_state_directory_ends_in_a_sentence(tmp_path):
    file = tmp_path / "agent.toml"
    source = '[source.t]\ntype = "temperature"\n'
    file.write_text(f'[agent]\nsite = "s"\nname = "a"\nstate = "{tmp_path}/state"\n{source}')
    async with AgentProcess("run", "-c", file) as first, AgentProcess("run", "-c", file) as second:
        done = await asyncio.wait(
            [asyncio.create_task(agent.wait()) for agent in (first, second)], return_when="FIRST_COMPLETED"
        )
        [ended] = done[0]
        assert await ended == 1
        refused, other = (first, second) if first.process.returncode is not None else (second, first)
        assert "Two cannot share the directory [agent] state" in "\n".join(refused.lines)
        assert "Traceback" not in "\n".join(refused.lines)
        assert await other.stop() == 0
