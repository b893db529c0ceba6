"""A key keeps its former name for one release: it works, is warned about once, and cannot stand beside its new name."""

import json

import pytest

from agent.cli.main import main
from agent.settings.build import build_pipeline
from agent.settings.registry import ConfigError
from agent.settings.settings import load
from tests.integration.agent_process import AgentProcess

SETTINGS = [
    ("agent", "ahead", "max_future", "2h"),
    ("agent", "drain", "drain_timeout", "7s"),
    ("outbox", "late", "replay_after", "42s"),
]
MQTT = '[source.bus]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1"\ntopic = "t"\n'


def write(tmp_path, text=""):
    file = tmp_path / "agent.toml"
    file.write_text(text)
    return file


def advice(table, former, now):
    return f"{table}.{former}: is now called {now}; the next release will refuse the former name"


@pytest.mark.parametrize("form", ["file", "environment", "--set"])
@pytest.mark.parametrize(("table", "former", "now", "value"), SETTINGS)
def test_the_former_name_of_a_setting_works_and_is_warned_about_once(
    tmp_path, monkeypatch, form, table, former, now, value
):
    file, overrides = write(tmp_path, f'[{table}]\n{former} = "{value}"\n' if form == "file" else ""), []
    if form == "environment":
        monkeypatch.setenv(f"AGENT_{table}__{former}".upper(), value)
    if form == "--set":
        overrides = [f"{table}.{former}={value}"]
    pipeline = build_pipeline(load(file, overrides))
    monkeypatch.undo()
    with_new_name = load(write(tmp_path, f'[{table}]\n{now} = "{value}"\n'))
    assert getattr(getattr(pipeline.settings, table), now) == getattr(getattr(with_new_name, table), now)
    assert pipeline.warnings == (advice(table, former, now),)
    assert with_new_name.warnings == ()


@pytest.mark.parametrize(("table", "former", "now", "value"), SETTINGS)
def test_both_names_of_a_setting_at_once_are_an_error(tmp_path, table, former, now, value):
    file = write(tmp_path, f'[{table}]\n{former} = "{value}"\n{now} = "{value}"\n')
    with pytest.raises(ConfigError, match=rf"{table}\.{former}: is now called {now}, which is there, too"):
        load(file)


def test_the_new_name_on_the_command_line_stands_above_the_former_one_in_the_file(tmp_path):
    file = write(tmp_path, '[agent]\nahead = "2h"\n')
    assert load(file, ["agent.max_future=5h"]).agent.max_future == 5 * 3600 * 10**9
    assert load(write(tmp_path, '[agent]\nmax_future = "2h"\n'), ["agent.ahead=false"]).agent.max_future is None


def test_the_queue_of_an_mqtt_source_goes_by_either_name_but_not_by_both(tmp_path):
    pipeline = build_pipeline(load(write(tmp_path, MQTT + "waiting = 50\n")))
    assert pipeline.sources["bus"].max_queued == 50
    assert pipeline.warnings == (advice("source.bus", "waiting", "max_queued"),)
    with pytest.raises(ConfigError, match=r"source\.bus\.waiting: is now called max_queued, which is there, too"):
        build_pipeline(load(write(tmp_path, MQTT + "waiting = 50\nmax_queued = 50\n")))


def test_check_warns_once(tmp_path, capsys):
    assert (
        main(["check", "--json", "-c", str(write(tmp_path, MQTT + 'waiting = 50\n[outbox]\nlate = "5s"\n'))]) == 0
    )
    warnings = " ".join(json.loads(capsys.readouterr().out)["warnings"])
    assert warnings.count(advice("outbox", "late", "replay_after")) == 1
    assert warnings.count(advice("source.bus", "waiting", "max_queued")) == 1


async def test_the_start_warns_once(tmp_path):
    file = write(tmp_path, f'[agent]\nstate = "{tmp_path}/state"\ndrain = "1s"\n')
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says(advice("agent", "drain", "drain_timeout"))
        await agent.stop()
    assert sum("is now called" in line for line in agent.lines) == 1


def test_what_is_wrong_with_a_value_is_said_of_the_name_that_stands_there(tmp_path):
    with pytest.raises(ConfigError, match=r"source\.bus\.waiting: Input should be a valid integer"):
        build_pipeline(load(write(tmp_path, MQTT + 'waiting = "many"\n')))
