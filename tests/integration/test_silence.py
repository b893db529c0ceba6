"""A configuration that is right but does nothing must not look like a healthy plant."""

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


def plant(tmp_path, codec, lines):
    (tmp_path / "pump.csv").write_text("\n".join(["ts,pressure", *lines]) + "\n")
    file = tmp_path / "agent.toml"
    file.write_text(CONFIGURATION.format(tmp=tmp_path, codec=codec))
    return file


async def told(*arguments):
    async with AgentProcess(*arguments) as agent:
        assert await agent.wait() == 0
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
    (line,) = [line for line in await told("run", "-c", file) if "source export: ended" in line]
    assert "WARNING" in line
    assert said in line
    (line,) = [line for line in await told("record", "-c", file, "-o", tmp_path / "x.rec") if "x.rec: " in line]
    assert "x.rec: 0 readings; export: " in line
    assert "frames refused, last: " in line


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
    assert any("WARNING" in line and "nothing new; to begin anew remove the state" in line for line in lines), lines
