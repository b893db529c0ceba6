"""A waveform in binary frames over a serial line: the sag is found and named, noise costs nothing."""

import asyncio
import json
import os
import tty
from time import time_ns

import numpy as np

from sensors.codecs.binary import frame
from tests.integration.agent_process import ROOT, AgentProcess

BLOCK = 50


def frames(seconds):
    """A 50 Hz wave of 1 V noise at 1 kHz, with a sag of 100 ms two seconds before its end, from a device with a clock."""
    rng = np.random.default_rng(1)
    began = time_ns() - seconds * 10**9
    time = np.arange(1000 * seconds)
    wave = 325.27 * np.sin(2 * np.pi * 50 * time / 1000) + rng.normal(0, 1, len(time))
    wave[-2000:-1900] *= 0.2
    for start in range(0, len(wave), BLOCK):
        yield frame(wave[start : start + BLOCK], start, 1000.0, machine=1, scale=0.02, time=began + start * 10**6)


async def test_a_sag_on_a_serial_line_is_named(tmp_path):
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    text = (ROOT / "config/serial-waveform.toml").read_text()
    port = text.partition('port = "')[2].partition('"')[0]
    text = text.replace(port, os.ttyname(theirs)).replace("[agent]", f'[agent]\nstate = "{tmp_path}/state"')
    text = text.replace('type = "mqtt"\nurl = "mqtt://127.0.0.1:1883"', 'type = "lines"')
    file = tmp_path / "agent.toml"
    file.write_text(text)
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("source feeds: open")
        for number, data in enumerate(frames(14)):
            os.write(ours, data if number % 20 else b"\xff\x13noise\0" + data)
            await asyncio.sleep(0.005)
        raised = json.loads(await agent.says("alert.raised"))
        assert (raised["data"]["machine"], raised["data"]["rule"]["id"]) == ("feed-1", "disturbance")
        assert raised["data"]["evidence"]["disturbance"] == "sag"
        assert await agent.stop() == 0
    os.close(ours)
    os.close(theirs)
