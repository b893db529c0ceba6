"""A configuration that is right but does nothing must not look like a healthy plant."""

import asyncio
import contextlib

import pytest

from tests.integration.agent_process import AgentProcess

CONFIGURATION = """
[agent]
state = "{tmp}/state"
[source.export]
type = "file"
path = "{tmp}/pump.csv"
codec = {{ type = "csv", {codec} }}
[detector.any]
type = "auto"
metric = "pressure"
[rule.strange]
on = "any"
[sink.console]
type = "lines"
"""

LIVE = """
[agent]
state = "{tmp}/state"
tick = "100ms"
health = "1s"
[source.line]
type = "tcp"
port = {port}
codec = "json"
"""


def plant(tmp_path, codec, lines):
    (tmp_path / "pump.csv").write_text("\n".join(["ts,pressure", *lines]) + "\n")
    file = tmp_path / "agent.toml"
    file.write_text(CONFIGURATION.format(tmp=tmp_path, codec=codec))
    return file


async def told(*arguments, code=0):
    async with AgentProcess(*arguments) as agent:
        assert await agent.wait() == code
    return agent.lines


LOCAL = [f"2026-11-01 00:{minute:02}:00,3.1" for minute in range(20)]
GERMAN = ["01.11.2026 00:00,3.1"]


@pytest.mark.parametrize(
    ("codec", "lines", "said"),
    [
        ('time = "ts", time_unit = "iso"', LOCAL, "0 readings; 20 of 20 frames refused, last: '2026-11-01 00:19:00' "
         "is no time in iso (local times need time_zone)"),
        ('time = "ts", time_unit = "ms"', LOCAL, "20 of 20 frames refused, last: '2026-11-01 00:19:00' is no time in ms"),
        ('time = "ts", time_unit = "iso"', GERMAN, "last: '01.11.2026 00:00' is no time in iso"),
        ('time = "time"', LOCAL, "21 of 21 frames refused, last: no header line"),
        ('time = "ts", values = ["presure"]', LOCAL, "21 of 21 frames refused, last: no header line"),
    ],
)  # fmt: skip
async def test_a_file_of_which_no_row_can_be_read_says_so_at_its_end(tmp_path, codec, lines, said):
    file = plant(tmp_path, codec, lines)
    if "presure" in codec:
        file.write_text(file.read_text().replace('metric = "pressure"', 'metric = "presure"'))
    (line,) = [line for line in await told("run", "-c", file, code=65) if "source export: ended" in line]
    assert "WARNING" in line
    assert said in line
    (line,) = [line for line in await told("record", "-c", file, "-o", tmp_path / "x.rec") if "x.rec: " in line]
    assert "x.rec: 0 readings; export: " in line
    assert "frames refused, last: " in line


async def test_what_the_codec_found_out_by_itself_is_told(tmp_path):
    file = plant(tmp_path, 'time = "ts", time_unit = "iso", time_zone = "Europe/Berlin"', GERMAN)
    lines = await told("run", "-c", file)
    assert any("source export: ended; 1 readings" in line and "INFO" in line for line in lines), lines
    (line,) = [line for line in lines if "'01.11.2026 00:00' are read as day.month.year" in line]
    assert "INFO" in line


async def test_a_text_among_numbers_is_missing_and_told(tmp_path):
    lines = [f"2026-11-01T00:00:{second:02}Z,{'n/a' if second in (3, 7) else second}" for second in range(20)]
    file = plant(tmp_path, 'time = "ts", time_unit = "iso"', lines)
    (line,) = [line for line in await told("run", "-c", file) if "source export: ended" in line]
    assert "WARNING" in line
    assert "20 readings; 2 values are no number, first: 'n/a' in pressure" in line


async def test_a_file_read_twice_says_why_nothing_comes(tmp_path):
    file = plant(tmp_path, 'time = "ts", time_unit = "iso", time_zone = "UTC"', LOCAL)
    lines = await told("run", "-c", file)
    assert any("source export: ended; 20 readings" in line and "INFO" in line for line in lines), lines
    lines = await told("run", "-c", file)
    assert any("source export: continues after" in line and "rows 20" in line for line in lines), lines
    assert any(
        "WARNING" in line and "nothing new; to begin anew remove the state directory" in line for line in lines
    ), lines


async def test_a_misspelt_metric_is_told_when_the_source_has_ended(tmp_path):
    file = plant(tmp_path, 'time = "ts", time_unit = "iso", time_zone = "UTC"', LOCAL)
    file.write_text(file.read_text().replace('metric = "pressure"', 'metric = "presure"'))
    found = [line for line in await told("run", "-c", file) if 'has had "presure"' in line]
    assert len(found) == 1
    assert "WARNING" in found[0]
    assert 'detector any: no reading has had "presure" yet; did you mean "pressure"?' in found[0]


async def test_what_never_comes_from_a_live_source_is_told_while_it_runs(tmp_path):
    lines = [b"garbage\n"]

    async def device(reader, writer):
        while not reader.at_eof():
            writer.write(lines[0])
            with contextlib.suppress(TimeoutError):  # the pace of the device; it never hears anything
                await asyncio.wait_for(reader.read(), 0.05)
        writer.close()

    server = await asyncio.start_server(device, "127.0.0.1")
    file = tmp_path / "agent.toml"
    file.write_text(
        LIVE.format(tmp=tmp_path, port=server.sockets[0].getsockname()[1])
        + '[detector.together]\ntype = "pca"\nmetrics = ["pressure", "flwo"]\n[rule.strange]\non = "together"\n'
    )
    async with AgentProcess("run", "-c", file) as agent:
        assert "alerts reach nobody" in await agent.says("configuration: there are rules but no sink")
        assert "frames refused, last: " in await agent.says("WARNING source line: ")
        assert "frames refused" in await agent.says("source line: no reading yet; ")
        lines[0] = b'{"pressure": 3.1, "flow": 12}\n'
        said = await agent.says('detector together: no reading has had "flwo" yet')
        assert said.endswith('; did you mean "flow"?')
        assert await agent.stop() == 0
        assert sum('"flwo"' in line for line in agent.lines) == 1
        assert not any('"pressure"' in line for line in agent.lines)
    server.close()


async def test_check_names_what_nothing_can_come_of(tmp_path):
    file = plant(tmp_path, 'time = "ts"', [])
    file.write_text(
        file.read_text().replace('[sink.console]\ntype = "lines"\n', "").replace("pump.csv", "pumpp.csv")
    )
    lines = await told("check", "-c", file)
    assert any("there are rules but no sink; alerts reach nobody" in line for line in lines)
    assert any(f"source.export.path: {tmp_path}/pumpp.csv is not there" in line for line in lines)
    assert any(": right (" in line for line in lines)
