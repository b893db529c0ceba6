"""What a restart must not do: raise again, forget what is open, or take the time it slept for silence."""

import asyncio
import json
import os
import signal
import time
import tty
from collections import Counter
from pathlib import Path

import pytest

from tests.brokers import missing
from tests.integration.agent_process import AgentProcess

SECOND = 10**9


@pytest.fixture
def line():
    """Both ends of a serial line: what we write to, and the name of the port the agent opens."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def configuration(tmp_path, source, more="", checkpoint="1h"):
    file = tmp_path / "agent.toml"
    file.write_text(f"""
[agent]
site = "s"
name = "a"
state = "{tmp_path}/state"
checkpoint_every = "{checkpoint}"
tick = "100ms"

[source.line]
{source}

[rule.hot]
when = "x >= 90"
clear = "x < 80"
{more}

[sink.file]
type = "lines"
path = "{tmp_path}/alerts.jsonl"
""")
    return file


def serial(port):
    return f'type = "serial"\nport = "{port}"\ncodec = {{ type = "json", machine = "m" }}'


def alerts(tmp_path):
    """The alerts in the file; one that is there twice, with the same id, counts once."""
    path = tmp_path / "alerts.jsonl"
    events = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    known = {event["id"]: event for event in events}.values()
    return [
        (event["type"].rpartition(".")[2], event["data"]["rule"]["id"], event["correlationid"]) for event in known
    ]


async def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():  # another process makes it true
        assert time.monotonic() < end, "in vain"
        await asyncio.sleep(0.02)


def newest_segment(state):
    """The newest of the checkpoint in a state directory; None if there is none."""
    return max((state / "checkpoint").glob("*.segment"), default=None)


def say(line, machine, value):
    os.write(line, json.dumps({"m": machine, "x": value}).encode() + b"\n")


@pytest.mark.parametrize("checkpoint", ["1h", "100ms"])
@pytest.mark.parametrize("damage", [False, True])
async def test_an_incident_survives_kill_and_is_resolved_if_its_cause_went_away_meanwhile(
    tmp_path, line, checkpoint, damage
):
    ours, port = line
    file = configuration(tmp_path, serial(port), checkpoint=checkpoint)
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        say(ours, "before", 1)  # completes the half line
        say(ours, "m", 95)
        await until(lambda: len(alerts(tmp_path)) == 1)
        if checkpoint != "1h":
            known = newest_segment(tmp_path / "state")
            await until(lambda: newest_segment(tmp_path / "state") != known)
        await agent.stop(signal.SIGKILL)
    saved = newest_segment(tmp_path / "state")
    if damage and saved is not None:
        saved.write_bytes(saved.read_bytes()[:-100])
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        say(ours, "before", 1)
        say(ours, "m", 96)
        say(ours, "m", 60)
        await until(lambda: len(alerts(tmp_path)) == 2)
        assert await agent.stop() == 0
    raised, resolved = alerts(tmp_path)
    assert (raised[0], resolved[0]) == ("raised", "resolved")
    assert raised[2] == resolved[2]


async def test_the_time_between_stop_and_start_is_no_silence(tmp_path, line):
    ours, port = line
    more = '[rule.gone]\ntype = "deadman"\nafter = "5s"\n[rule.long]\nwhen = "x >= 50"\nfor = "5s"'
    file = configuration(tmp_path, serial(port), more)
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        say(ours, "before", 1)
        say(ours, "m", 60)
        say(ours, "other", 95)
        await until(lambda: len(alerts(tmp_path)) == 1)
        assert await agent.stop() == 0
    await asyncio.sleep(5.2)  # it is the time that is tested
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source line: open")
        await asyncio.sleep(0.5)
        assert [rule for _, rule, _ in alerts(tmp_path)] == ["hot"]
        await until(lambda: {"gone", "long"} <= {rule for _, rule, _ in alerts(tmp_path)})
        assert await agent.stop() == 0


async def test_a_recording_goes_on_where_it_was_when_killed(tmp_path):
    import numpy as np

    from sensors.batch import Batch
    from sensors.drivers.recording import Recorder

    start = 1_700_000_000 * SECOND
    with Recorder(tmp_path / "input.rec") as recorder:
        for number in range(400):
            time_ = start + number * SECOND // 100
            x = 95.0 if number // 7 % 2 else 60.0
            recorder.write(Batch(("m",), np.zeros(1, np.int32), np.array([time_]), {"x": np.array([x])}, time_))
    source = f'type = "recording"\npath = "{tmp_path}/input.rec"'
    file = configuration(tmp_path, source, checkpoint="300ms")
    for seconds in (0.6, 1.0):
        async with AgentProcess("run", "-c", file) as agent:
            await agent.says("source line: open")
            await asyncio.sleep(seconds)
            await agent.stop(signal.SIGKILL)
    async with AgentProcess("run", "-c", file) as agent:
        assert await agent.wait() == 0
    found = alerts(tmp_path)
    assert len(found) == 400 // 7
    assert [change for change, _, _ in found] == ["raised", "resolved"] * (len(found) // 2) + ["raised"]


@pytest.fixture
def faked(tmp_path):
    """A clock for a process, to be set while it runs: write `+10d` to the file."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime*.so.1"))
    if not libraries:
        missing("faketime is not installed")
    file = tmp_path / "clock"
    file.write_text("+0")
    return file, {
        "LD_PRELOAD": str(libraries[-1]), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


async def test_a_process_whose_clock_is_set_goes_on(tmp_path, line, faked):
    ours, port = line
    clock, environment = faked
    window = '[window.w]\ntype = "hopping"\nmetric = "x"\nsize = "500ms"\nstep = "100ms"\n'
    rules = '[rule.mean]\non = "w"\nwhen = "mean >= 90"\nclear = "mean < 80"\n[rule.gone]\ntype = "deadman"\nafter = "30s"\n'
    file = configuration(tmp_path, serial(port), window + rules)
    async with AgentProcess("run", "-c", file, env=environment) as agent:
        await agent.says("source line: open")
        os.write(ours, b"\n")
        for number, step in enumerate(("+0", "+3650d", "-1h", "+0"), start=1):
            clock.write_text(step)
            for _ in range(8):
                say(ours, "m", 60)
                await asyncio.sleep(0.05)  # a sensor's pace
            for change, value in (("raised", 95), ("resolved", 60)):
                wanted = {(change, "hot"): number, (change, "mean"): number}
                async with asyncio.timeout(10):
                    while not wanted.items() <= Counter((c, rule) for c, rule, _ in alerts(tmp_path)).items():
                        say(ours, "m", value)
                        await asyncio.sleep(0.05)
        assert await agent.stop() == 0
    assert {rule for _, rule, _ in alerts(tmp_path)} == {"hot", "mean"}
    assert sum("host clock was set" in text for text in agent.lines) == 3
