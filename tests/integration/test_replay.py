"""Law 3: the recording of a live run, replayed, says byte for byte what was sent."""

import asyncio
import os
import random
import time
import tty

from tests.integration.agent_process import AgentProcess

CONFIGURATION = """
[agent]
site = "hall-1"
name = "line-a"
state = "{tmp}/state"
tick = "50ms"

[source.line]
type = "serial"
port = "{port}"
codec = {{ type = "json", machine = "machine", time = "Timestamp" }}


[window.mean_1s]
type = "hopping"
on = "line"
metric = "Temperature_C"
size = "1s"
step = "200ms"
emit = "current"
aggregates = ["mean", "std"]

[window.last_1s]
type = "tumbling"
metric = "Temperature_C"
size = "1s"
emit = "final"
aggregates = ["max", "count"]

[rule.overheating]
on = "mean_1s"
when = "round(mean, 2) >= 90"
clear = "mean < 88"
for = "300ms"

[rule.busy]
on = "last_1s"
when = "count > 8"
severity = "info"

[sink.file]
type = "lines"
path = "{tmp}/alerts.jsonl"
"""


async def test_the_recording_of_a_live_run_says_again_what_was_sent(tmp_path):
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    text = CONFIGURATION.format(tmp=tmp_path, port=os.ttyname(theirs))
    file, recording = tmp_path / "agent.toml", tmp_path / "run.rec"
    file.write_text(text)
    rng = random.Random(3)
    async with AgentProcess("run", "-c", file, "--record", recording) as agent:
        await agent.says("source line: open")
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < 5:
            for machine in range(4):
                heat = 95 if int(elapsed + machine / 2) % 2 else 70
                stamp = time.time_ns() - rng.choice([0, 0, 0, 10**8, 2 * 10**9])
                line = b'{"machine": "%d", "Temperature_C": %d, "Timestamp": %d}\n' % (machine, heat, stamp)
                os.write(ours, line + (b"noise\n" if rng.random() < 0.1 else b""))
            await asyncio.sleep(rng.choice([0, 0.001, 0.01, 0.05]))
        assert await agent.stop() == 0
    os.close(ours)
    os.close(theirs)
    live = (tmp_path / "alerts.jsonl").read_text().splitlines()
    assert sum("alert.raised" in line for line in live) > 4
    assert sum("alert.resolved" in line for line in live) > 4
    async with AgentProcess("replay", recording, "-c", file) as replay:
        assert await replay.wait() == 0
    assert replay.lines == live
