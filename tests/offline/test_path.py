"""The path of the tutorial on the command line: generate, calibrate, paste under the documented source, run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from agent.cli.main import main
from agent.detectors.histograms.tutorial_kl import NORMAL, TutorialKL
from agent.offline.waves import rows_of
from agent.settings.build import build_pipeline
from agent.settings.files import read_columns
from agent.settings.settings import load

ROOT = Path(__file__).parents[2]


def agent(capsys, *words):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def documented_source(path: Path) -> str:
    """The file source that docs/sensors.md shows for a data set, with the file's own place."""
    (block,) = re.findall(r"```toml\n(\[source\.dataset\]\n.*?)```", (ROOT / "docs/sensors.md").read_text(), re.S)
    assert '"dataset.csv"' in block
    return block.replace('"dataset.csv"', json.dumps(str(path)))


async def live(configuration: Path) -> list[tuple[int, float]]:
    """End and score of each row that the rule `verdict` lets through, with the source of the configuration."""
    pipeline = build_pipeline(load(configuration))
    engine, found = pipeline.engine(), []
    async with pipeline.sources["dataset"] as source:
        async for batch in source:
            rows = engine.process(batch).raw.get("verdict")
            if rows is not None:
                found += zip(rows.end.tolist(), rows.values["score"].tolist(), strict=True)
    return found


@pytest.mark.parametrize("method", ["tutorial", "quantile"])
async def test_what_calibrate_prints_says_live_what_detect_says(tmp_path, capsys, method):
    data, toml, whole = (tmp_path / name for name in ("dataset.csv", "part.toml", "agent.toml"))
    assert agent(capsys, "generate", "voltage", "-o", data, "--seed", 1)[0] == 0
    code, _, err = agent(capsys, "calibrate", data, "--method", method, "--toml", toml)
    assert code == 0, err
    assert 'metric = "anomaly_wave"' in toml.read_text()
    whole.write_text(
        f'[agent]\nsite = "s"\nname = "n"\n{documented_source(data)}{toml.read_text()}'
        '[rule.verdict]\non = "wave"\nwhen = "anomaly == 1"\nmode = "raw"\n[sink.out]\ntype = "lines"\n'
    )
    assert agent(capsys, "check", "-c", whole)[0] == 0
    code, out, err = agent(capsys, "detect", data, "-c", whole, "--detector", "wave", "--json")
    assert code == 0, err
    said = [one for one in map(json.loads, out.splitlines()) if one["verdict"] == "anomaly"]
    found = await live(whole)
    assert len(found) == len(said) == {"tutorial": 12, "quantile": 132}[method]
    assert [score for _, score in found] == [one.get("score", one.get("kl")) for one in said]
    if method == "tutorial":  # without a configuration, too
        threshold = json.loads(toml.read_text().split("threshold = ")[1].splitlines()[0])
        out = agent(capsys, "detect", data, "--threshold", threshold, "--json")[1]
        assert [one for one in map(json.loads, out.splitlines()) if one["verdict"] == "anomaly"] == said


@pytest.mark.parametrize("metric", ["anomaly_wave", "normal_wave", "voltage"])
def test_the_reference_is_the_normal_wave_whatever_the_metric_is_called(tmp_path, metric):
    random = np.random.default_rng(0)
    path, normal = tmp_path / "d.npz", np.sin(np.arange(3000) / 3)
    np.savez(path, anomaly_wave=random.standard_normal(3000), normal_wave=normal)
    by_file, by_hand = (TutorialKL(metric, window=500, reference=file) for file in (read_columns(path), None))
    by_hand.fit(normal[:500])
    wave = normal[:2500] + 0.1 * random.standard_normal(2500)
    scores = [
        one.process(rows_of(np.zeros(2500, np.int64), wave, 1000.0, metric=metric)).values["score"].tolist()
        for one in (by_file, by_hand)
    ]
    assert len(scores[0]) == 21
    assert scores[0] == scores[1]


def test_a_reference_without_a_normal_wave_is_the_metric(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("time,voltage,current\n" + "".join(f"{i},{i % 7},{i % 3}\n" for i in range(100)))
    assert read_columns(path).first((*NORMAL, "current"))[:4].tolist() == [0, 1, 2, 0]
    with pytest.raises(
        ValueError, match="no column normal_wave or reference or amps; it has time, voltage, current"
    ):
        read_columns(path).first((*NORMAL, "amps"))


def test_detect_does_not_take_another_column_than_the_agent(tmp_path, capsys):
    path, whole = tmp_path / "d.csv", tmp_path / "agent.toml"
    lines = "".join(f"{i / 1000},{(i * 7) % 13},{(i * 5) % 11}\n" for i in range(100))
    path.write_text("time,normal_wave,anomaly_wave\n" + lines)
    whole.write_text('[detector.wave]\ntype = "tutorial_kl"\nmetric = "voltage"\nwindow = 20\n')
    words = ("detect", path, "-c", whole, "--detector", "wave")
    code, out, err = agent(capsys, *words)
    assert (code, out) == (2, "")
    assert "has no column voltage, which detector.wave of" in err
    assert "it has time, normal_wave, anomaly_wave" in err
    assert agent(capsys, *words, "--metric", "anomaly_wave")[0] == 0


def test_too_few_windows_forecast_nothing(tmp_path, capsys):
    data = tmp_path / "dataset.csv"
    assert agent(capsys, "generate", "voltage", "-o", data, "--seed", 1)[0] == 0
    code, out, _ = agent(capsys, "calibrate", data, "--false-alarms", 0.001)
    assert code == 0
    assert (
        "Expected false alarms a day: not known from this data (25 windows that do not overlap); record about"
        in out
    )
    code, out, _ = agent(capsys, "calibrate", data, "--false-alarms", 0.3)
    assert code == 0
    assert re.search(r"Expected false alarms a day: 259200 windows at the wanted rate, \d+ to \d+ by the test", out)


def test_the_times_of_a_wave_may_have_another_name(tmp_path, capsys):
    data, other = tmp_path / "dataset.csv", tmp_path / "other.csv"
    assert agent(capsys, "generate", "voltage", "-o", data, "--seed", 1)[0] == 0
    other.write_text(data.read_text().replace("time,", "seconds,", 1))
    (one, _), (two, _) = (
        (json.loads(out), err)
        for _, out, err in (
            agent(capsys, "calibrate", data, "--json"),
            agent(capsys, "calibrate", other, "--json", "--time", "seconds"),
        )
    )
    assert one["threshold"] == two["threshold"]
    code, _, err = agent(capsys, "calibrate", other, "--time", "moment")
    assert code == 2
    assert "has no column moment of numbers; it has seconds, normal_wave, anomaly_wave, is_anomaly" in err
