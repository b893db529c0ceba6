"""Where a recording cannot be written, `record` says so and `run` goes on without it."""

import asyncio
import sys

import pytest

from agent.cli.run import Recording
from agent.engine.engine import Decisions
from agent.ops.observers import Observation, Observers, WhenFull
from sensors.batch import tick
from sensors.drivers.recording import RecordingError
from tests.integration.agent_process import ROOT, AgentProcess

CONFIGURATION = """
[agent]
state = "{tmp}/state"

[source.machines]
type = "temperature"
speed = 60
duration = "2m"

[rule.hot]
when = "Temperature_C >= 90"

[sink.console]
type = "lines"
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(CONFIGURATION.format(tmp=tmp_path))
    return file


async def test_record_and_replay_by_hand(tmp_path, file):
    async with AgentProcess("record", "-c", file, "-o", tmp_path / "a.rec") as agent:
        assert await agent.wait() == 0
        assert "720 readings" in agent.lines[-1]
    async with AgentProcess("replay", tmp_path / "a.rec", "-c", file) as agent:
        assert await agent.wait() == 0
        assert any("alert.raised" in line for line in agent.lines)


@pytest.mark.parametrize("command", ["record", "run"])
async def test_a_file_of_something_else_is_not_overwritten(tmp_path, file, command):
    target = tmp_path / "notes.txt"
    target.write_text("not a recording")
    option = "-o" if command == "record" else "--record"
    async with AgentProcess(command, "-c", file, option, target) as agent:
        assert await agent.wait() == 1
        assert "not overwritten" in agent.lines[-1]
        assert not any("Traceback" in line for line in agent.lines)
    assert target.read_text() == "not a recording"


async def test_a_full_disk_ends_record_with_a_sentence(tmp_path, file):
    target = tmp_path / "a.rec"
    command = f"ulimit -f 8; exec {sys.executable} -m agent record -c {file} -o {target}"
    process = await asyncio.create_subprocess_exec("bash", "-c", command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert said.decode().splitlines()[-1] == f"agent: {target}: File too large"
    assert b"Traceback" not in said


def test_a_disk_that_fills_ends_the_recording_and_nothing_else(caplog):
    class Full:
        def __init__(self):
            self.written = []

        def write(self, batch):
            self.written.append(batch)
            if len(self.written) == 2:
                raise RecordingError("a.rec: No space left on device")

    full, observers = Full(), Observers()
    observers.add("recording", Recording(full), WhenFull.END)
    for number in range(5):
        observers.put(Observation(tick(number), Decisions(), [], {}, {}))
    observers.close()
    assert [batch.read_at for batch in full.written] == [0, 1]
    (said,) = (record.message for record in caplog.records)
    assert said.startswith("observer recording: RecordingError: a.rec: No space left on device (")
    assert said.endswith("it ends here after 1 batches, the agent goes on")
