"""File, environment and command line; whatever is wrong is named with its place and the nearest right word."""

import re
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.ops.health import version_of_agent
from agent.runtime.data_watch import config_warnings
from agent.settings.build import build_pipeline
from agent.settings.registry import ConfigError
from agent.settings.settings import AgentSettings, OutboxSettings, PluginSettings, load, unknown_variables

CONFIG = Path(__file__).parents[2] / "config"


def write(tmp_path, text):
    file = tmp_path / "agent.toml"
    file.write_text(text)
    return file


def problem_of(tmp_path, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), overrides)
    return str(caught.value)


def test_the_command_line_is_above_the_environment_and_that_above_the_file(tmp_path, monkeypatch):
    file = write(
        tmp_path, '[agent]\nsite = "file"\nname = "file"\nlog = "error"\n[source.line]\ntype = "tcp"\nport = 1\n'
    )
    monkeypatch.setenv("AGENT_AGENT__SITE", "environment")
    monkeypatch.setenv("AGENT_AGENT__NAME", "environment")
    monkeypatch.setenv("AGENT_SOURCE__LINE__PORT", "2")
    settings = load(file, ["agent.name=line"])
    assert (settings.agent.site, settings.agent.name, settings.agent.log) == ("environment", "line", "error")
    assert settings.source == {"line": {"type": "tcp", "port": "2"}}


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        load(tmp_path / "absent.toml")


def test_a_typo_is_named_with_path_and_nearest_key(tmp_path):
    assert 'agent.checkpoint_evry: unknown key; did you mean "checkpoint_every"?' in problem_of(
        tmp_path, '[agent]\ncheckpoint_evry = "5s"'
    )
    assert 'sinks: unknown key; did you mean "sink"?' in problem_of(tmp_path, "[sinks.a]\ntype = 'mqtt'")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[agent]\nsite = "North Hall"', "agent.site"),
        ("[agent]\ntick = 5", "has no unit"),
        ('[agent]\ntick = "5 parsecs"', "is not a duration"),
        ("[agent\n", "agent.toml"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(tmp_path, text, said):
    assert said in problem_of(tmp_path, text)


CALM = '[agent]\nsite = "s"\nname = "a"\n'
HOSTILE = {
    "a list in a list": "[rule.r]\nwhen = " + "[" * 3000 + "]" * 3000,
    "a table in a table": "[rule.r]\nwhen = " + "{a=" * 3000 + "1" + "}" * 3000,
    "deep headers": "[rule." + ".".join(["a"] * 900) + "]\nx = 1",
    "a long number": "[rule.r]\nwhen = 'x > 1'\nfor = " + "9" * 5000,
    "a sum": f"[rule.r]\nwhen = '{'+'.join(['x'] * 900)} > 1'",
    "a product": f"[rule.r]\nwhen = '{'x*' * 900}x > 1'",
    "a thousand not": f"[rule.r]\nwhen = '{'not ' * 990}(x > 1)'",
    "a duration beyond numbers": f"[rule.r]\ntype = 'deadman'\nafter = '{'1' * 400}s'",
    "a fraction beyond numbers": f"[rule.r]\ntype = 'deadman'\nafter = '{'1' * 400}.5s'",
    "a duration beyond time": "[rule.r]\ntype = 'deadman'\nafter = '9223372036854775807ns'",
    "a name that steers the terminal": '[rule."\\u001b[2J"]\nwhen = "x > 1"',
    "a name of two lines": '[rule."a\\nb"]\nwhen = "x > 1"',
    "a name without end": '[rule."a\\u0000b"]\nwhen = "x > 1"',
    "a key that steers the terminal": '[rule.r]\nwhen = "x > 1"\n"\\u001b[2J" = 1',
    "a type that steers the terminal": '[rule.r]\ntype = "\\u001b[2J"',
    "an expression that steers the terminal": '[rule.r]\nwhen = "x \\u0000 \\u001b[2J > 1"',
    "a path that is none": '[plugins]\npaths = ["a\\u0000.py"]',
    "a device for a model": '[detector.d]\ntype = "mains"\nmetric = "x"\nmodel = "/dev/zero"',
    "a device for samples": '[detector.d]\ntype = "tutorial_kl"\nmetric = "x"\nreference = "/dev/zero"',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_somebody_wrote_to_do_harm_is_refused_in_a_sentence(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        build_pipeline(load(write(tmp_path, CALM + text)))
    assert caught.value.problems
    assert all(sign.isprintable() or sign == "\n" for sign in str(caught.value))


def test_a_hundred_columns_can_be_added_up(tmp_path):
    text = f"[rule.r]\nwhen = '{'+'.join(f'x{n}' for n in range(200))} > 1'"
    assert "r" in build_pipeline(load(write(tmp_path, CALM + text))).engine().rules


def test_not_utf8_is_said(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_bytes(b'[agent]\nsite = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8 at byte"):
        load(file)


def test_a_bad_override_says_how_to_write_one(tmp_path):
    assert "write KEY.PATH=VALUE" in problem_of(tmp_path, "", "agent.site")


def test_variables_that_change_nothing_are_found():
    found = unknown_variables({"AGENT_SORCE__LINE__PORT": "x", "AGENT_SOURCE__LINE__PORT": "y", "HOME": "z"})
    assert found == ['AGENT_SORCE__LINE__PORT; did you mean "source"?']


def test_every_setting_has_a_line_in_the_example():
    text = (CONFIG / "agent.toml").read_text()
    known = {name for table in (AgentSettings, OutboxSettings, PluginSettings) for name in table.model_fields}
    assert set(re.findall(r"^(\w+) = ", text, re.MULTILINE)) == known


def test_the_example_shows_the_defaults(monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    settings = load(CONFIG / "agent.toml")
    assert settings.agent == AgentSettings(name="gateway-1")
    assert settings.outbox == OutboxSettings()
    assert settings.plugins == PluginSettings()


def test_a_rule_with_the_name_of_a_window_is_refused(tmp_path):
    text = """
[window.temp]
type = "tumbling"
metric = "x"
size = "5s"
aggregates = ["mean"]
[rule.temp]
on = "temp"
when = "mean >= 90"
"""
    with pytest.raises(ConfigError, match=r"rule\.temp: a window or detector has this name"):
        build_pipeline(load(write(tmp_path, text)))


SOURCE = '[source.line]\ntype = "tcp"\nport = 1\n'


def test_who_only_names_the_metric_gets_auto_and_its_default_limit(tmp_path):
    text = SOURCE + '[detector.any]\nmetric = "pressure"\n[rule.strange]\non = "any"\n'
    pipeline = build_pipeline(load(write(tmp_path, text)))
    assert type(pipeline.steps["any"]).__name__ == "Auto"
    assert pipeline.rules["strange"].raise_limit == "score >= 1"
    assert not [doubt for doubt in config_warnings(pipeline) if doubt.startswith("detector")]


def test_a_detector_without_a_default_limit_wants_a_condition(tmp_path):
    text = (
        SOURCE
        + '[detector.drift]\ntype = "kl"\nmetric = "x"\nsize = "10s"\nstep = "10s"\n[rule.strange]\non = "drift"\n'
    )
    with pytest.raises(ConfigError, match=r"rule\.strange\.when: missing"):
        build_pipeline(load(write(tmp_path, text)))


def test_a_detector_that_nothing_reads_is_told(tmp_path):
    settings = load(write(tmp_path, SOURCE + '[detector.any]\nmetric = "pressure"\n'))
    assert config_warnings(build_pipeline(settings)) == [
        'detector.any: no rule looks at its scores; add a table [rule.NAME] with on = "any"'
    ]


def test_a_path_that_is_no_text_is_refused_in_words_of_the_configuration(tmp_path):
    assert problem_of(tmp_path, "[agent]\nstate = 1\n").endswith("agent.state: a path is a text, in quotes")


def test_the_command_line_knows_its_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"edge-agent {version_of_agent()}\n"
