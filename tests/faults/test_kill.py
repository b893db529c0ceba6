"""Killed at random moments while Kafka feeds it: no alert is lost, none is raised twice, ids are the same for ever."""

import asyncio
import json
import random
import signal
import time

import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from agent.settings.build import build_pipeline
from agent.settings.settings import load
from sensors.codecs.json_lines import JsonLines
from tests.integration.agent_process import AgentProcess

SECOND = 10**9
KILLS = 4


def configuration(tmp_path, servers, topic):
    file = tmp_path / "agent.toml"
    file.write_text(f"""
[agent]
site = "s"
name = "a"
state = "{tmp_path}/state"
checkpoint_every = "700ms"
tick = "200ms"

[source.readings]
type = "kafka"
servers = "{servers}"
topic = "{topic}"
start = "earliest"
codec = {{ type = "json", machine = "machine", time = "time", time_unit = "ns" }}

[window.mean]
type = "hopping"
metric = "x"
size = "5s"
step = "1s"
emit = "current"
aggregates = ["mean"]

[rule.hot]
on = "mean"
when = "mean >= 90"
clear = "mean < 80"

[rule.long]
when = "x >= 90"
clear = "x < 80"
for = "1s"
hold = "1s"

[rule.silent]
type = "deadman"
after = "4s"

[sink.file]
type = "lines"
path = "{tmp_path}/alerts.jsonl"
""")
    return file


def readings(count, seed):
    """Ten machines that cross the limits now and then; 250 ms of event time between two readings of a machine."""
    rng = np.random.default_rng(seed)
    start = (time.time_ns() // SECOND - 36_000) * SECOND
    level = rng.uniform(60, 120, 10)
    rows = []
    for number in range(count):
        machine = number % 10
        if rng.random() < 0.05:
            level[machine] = rng.uniform(60, 120)
        instant = start + number // 10 * SECOND // 4
        rows.append({"machine": f"m{machine}", "x": round(float(level[machine]), 2), "time": instant})
    return [orjson.dumps(row) for row in rows]


def expected(file, lines):
    """The alerts of the whole stream, decided without a break: id -> (sequence, change)."""
    pipeline = build_pipeline(load(file))
    engine = pipeline.engine()
    batch = JsonLines(machine="machine", time="time").decode(lines, time.time_ns())
    return {alert.id: (alert.sequence, alert.change) for alert in engine.process(batch).alerts}


def delivered(path):
    """The alerts in the file, each as often as it is there."""
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [
        (event["id"], (int(event["sequence"]), event["type"].rpartition(".")[2]))
        for event in events
        if ".alert." in event["type"]
    ]


async def until(true, seconds):
    """Wait until it is true, or the time is over: what follows says what is missing."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:  # noqa: ASYNC110 another process makes it true
        await asyncio.sleep(0.1)


async def produce(servers, topic, lines, seconds):
    producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5)
    await producer.start()
    try:
        pause = seconds / (len(lines) / 50)
        for start in range(0, len(lines), 50):
            for line in lines[start : start + 50]:
                await producer.send(topic, line, partition=0)
            await asyncio.sleep(pause)
        await producer.flush()
    finally:
        await producer.stop()


@pytest.mark.kafka
async def test_killed_again_and_again_it_says_what_an_undisturbed_agent_says(tmp_path, kafka):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    topic = kafka.topic("in")
    file = configuration(tmp_path, kafka.servers, topic)
    lines = readings(16_000, seed)
    wanted = expected(file, lines)
    assert len(wanted) > 100
    feeding = asyncio.create_task(produce(kafka.servers, topic, lines, 10))
    for _ in range(KILLS):
        async with AgentProcess("run", "-c", file) as agent:
            await agent.says("source readings: open")
            await asyncio.sleep(chance.uniform(0, 1.5))
            agent.process.send_signal(signal.SIGKILL)
            await agent.wait()
    await feeding
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source readings: open")
        await until(lambda: set(wanted) <= {i for i, _ in delivered(tmp_path / "alerts.jsonl")}, 15)
        assert await agent.stop() == 0
    last = max(sequence for sequence, _ in wanted.values())  # on a busy machine the clock adds some after the end
    got = [alert for alert in delivered(tmp_path / "alerts.jsonl") if alert[1][0] <= last]
    assert {i: known for i, known in got if i not in wanted} == {}, "alerts that were never due"
    assert {i: known for i, known in wanted.items() if i not in dict(got)} == {}, "lost"
    assert dict(got) == wanted
