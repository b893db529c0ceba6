"""`agent evaluate` judges a detector at the limit that a rule on it has by default."""

import json

import pytest

from tests.offline.test_columns import agent, pumps

CONFIG = '[detector.odd]\ntype = "{type}"\nmetric = "pressure"\n'


@pytest.mark.parametrize(("type_", "limit"), [("ewma", 4.0), ("cusum", 8.0), ("robust_z", 4.0), ("spike", 12.0)])
def test_each_detector_is_judged_at_its_own_limit(tmp_path, capsys, type_, limit):
    path = pumps(tmp_path / "a.csv")
    (tmp_path / "agent.toml").write_text(CONFIG.format(type=type_))
    for words in (("--detector", type_), ("--detector", "odd", "-c", tmp_path / "agent.toml")):
        code, out, err = agent(capsys, "evaluate", path, *words, "--json")
        assert code == 0, err
        assert json.loads(out)["at_threshold"]["threshold"] == limit
        assert not err
    code, out, _ = agent(capsys, "evaluate", path, *words, "--json", "--threshold", 1)
    assert json.loads(out)["at_threshold"]["threshold"] == 1


def test_a_detector_without_a_limit_is_told(tmp_path, capsys):
    path = pumps(tmp_path / "a.csv")
    words = ("--detector", "kl", "--metric", "pressure", "--set", "size=20min", "--set", "step=20min")
    code, out, err = agent(capsys, "evaluate", path, *words, "--json")
    assert code == 0, err
    assert "kl has no usual limit, so it is judged at 1; say --threshold" in err
    assert json.loads(out)["at_threshold"]["threshold"] == 1
