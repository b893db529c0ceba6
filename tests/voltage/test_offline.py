"""The commands for files: generate, calibrate, detect, as a user runs them."""

import json
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from agent.cli.main import main
from agent.offline.quantile import examine, threshold_for
from agent.offline.verdicts import curves, judge
from agent.settings.files import load_columns
from agent.settings.registry import build
from sensors.drivers.simulated.waveform import windows


def agent(capsys, *words):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def dataset(tmp_path, capsys):
    path = tmp_path / "dataset.csv"
    assert agent(capsys, "generate", "voltage", "-o", path, "--seed", 1)[0] == 0
    return path


@pytest.fixture
def noisy(tmp_path):
    """A minute of good windows of all kinds in turn, one in five spoiled."""
    rng = np.random.default_rng(0)
    kinds = ["none", "none_random_phase", "none", "none_mains_drift_20mHz", "drop0.5_100"] * 60
    wave = np.concatenate([windows(kind, 1, rng, noise=2.0).waves[0] for kind in kinds])
    label = np.repeat([kind.startswith("drop") for kind in kinds], 1000)
    path = tmp_path / "noisy.npz"
    np.savez(path, voltage=wave, is_anomaly=label.astype(int))
    return path


def test_the_data_set_is_the_tutorials_and_the_command_works_as_a_process(tmp_path):
    path = tmp_path / "d.npz"
    command = [
        sys.executable,
        "-m",
        "agent",
        "generate",
        "voltage",
        "-o",
        str(path),
        "--seed",
        "1",
        "--duration",
        "20",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    columns = load_columns(path)
    assert list(columns) == ["time", "normal_wave", "anomaly_wave", "is_anomaly"]
    random = np.random.RandomState(1)
    starts = np.flatnonzero(random.rand(20_000) < 9e-5)
    assert (
        np.flatnonzero(np.diff(columns["is_anomaly"], prepend=0) == 1).tolist() == starts.tolist() == [11063, 11846]
    )
    np.testing.assert_array_equal(columns["anomaly_wave"][11063:11163], 0.2 * columns["normal_wave"][11063:11163])


def test_csv_and_npz_hold_the_same_bits(tmp_path, capsys):
    for name in ("d.csv", "d.npz"):
        assert agent(capsys, "generate", "voltage", "-o", tmp_path / name, "--seed", 3, "--duration", 2)[0] == 0
    text, binary = load_columns(tmp_path / "d.csv"), load_columns(tmp_path / "d.npz")
    for name, column in binary.items():
        np.testing.assert_array_equal(text[name], column)


def test_calibration_as_in_the_tutorial(dataset, capsys):
    pytest.importorskip("matplotlib")
    code, out, _ = agent(capsys, "calibrate", dataset, "--method", "tutorial", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["threshold"] == pytest.approx(0.017978785811747673, rel=1e-9)
    assert report["confusion"] == {"tp": 12, "fp": 0, "fn": 0, "tn": 87}
    picture = dataset.with_name("dataset_calibration.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    code, out, _ = agent(capsys, "calibrate", dataset, "--method", "tutorial")
    assert "F1-Score: 1.0000" in out
    assert "threshold = 0.0179787858117476" in out


@pytest.mark.parametrize("detector", ["mains", "tutorial_kl"])
def test_calibration_by_quantile_gives_a_configuration_that_works(noisy, capsys, tmp_path, detector):
    toml = tmp_path / "wave.toml"
    code, out, _ = agent(
        capsys,
        "calibrate",
        noisy,
        "--detector",
        detector,
        "--hop",
        1000,
        "--false-alarms",
        0.05,
        "--json",
        "--toml",
        toml,
    )
    report = json.loads(out)
    assert code == 0
    assert report["normal_windows"] > 60
    assert report["interval"][0] <= report["quantile"]
    assert report["expected_false_alarms_a_day"] == pytest.approx(0.05 * 86_400)
    table = tomllib.loads(toml.read_text())
    if detector == "mains":
        assert report["recall"] > 0.95
        assert report["false_alarm_rate"] < 0.05
        assert report["roc_area"] > 0.99
        build("detector", "detector.wave", table["detector"]["wave"])
    assert table["rule"]["wave_disturbed"]["on"] == "wave"


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_each_kind_of_anomaly_is_counted(tmp_path, capsys, suffix):
    rng = np.random.default_rng(2)
    kinds = ["none", "none_mains_drift_20mHz", "none", "drop0.5_100", "none", "spike+500_1"] * 30
    wave = np.concatenate([windows(kind, 1, rng, noise=1.0).waves[0] for kind in kinds])
    words = np.repeat([kind.split("0")[0].split("+")[0] if "none" not in kind else "" for kind in kinds], 1000)
    path = tmp_path / f"kinds{suffix}"
    if suffix == ".npz":
        np.savez(path, voltage=wave, is_anomaly=(words != "").astype(int), kind=words)
    else:
        rows = zip(wave.tolist(), words.tolist(), strict=True)
        path.write_text("voltage,is_anomaly,kind\n" + "".join(f"{v!r},{int(w != '')},{w}\n" for v, w in rows))
    code, out, _ = agent(capsys, "calibrate", path, "--hop", 1000, "--false-alarms", 0.1, "--json")
    assert code == 0
    by_kind = json.loads(out)["by_kind"]
    assert set(by_kind) == {"normal", "drop", "spike"}
    assert by_kind["drop"]["alarms"] == by_kind["spike"]["alarms"] == 1
    assert by_kind["drop"]["windows"] >= 8


def test_without_matplotlib_the_calibration_says_so_and_goes_on(dataset, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    code, out, _ = agent(capsys, "calibrate", dataset, "--method", "tutorial")
    assert code == 0
    assert "No picture: matplotlib is not installed: pip install 'edge-agent[plot]'" in out


def test_without_matplotlib_evaluate_says_so_and_goes_on(dataset, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    words = ["evaluate", dataset, "--metric", "anomaly_wave", "--set", "hop=1000", "--detector", "tutorial_kl"]
    code, out, err = agent(capsys, *words, "--plots", dataset.parent / "p")
    assert code == 0
    assert "best F1" in out
    assert "no picture: matplotlib is not installed" in err


def test_detect_gives_score_and_verdict_of_each_window(dataset, capsys):
    code, out, _ = agent(capsys, "detect", dataset, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(records) == 100
    assert [r["window"] for r in records if r["verdict"] == "anomaly"][:3] == [11, 31, 41]
    code, out, _ = agent(capsys, "detect", dataset, "--detector", "mains", "--reference", dataset)
    assert code == 0
    assert "sag, size 0.8, 0.1" in out.splitlines()[12]


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_evaluate_judges_the_windows_of_a_detector_of_waveforms(dataset, capsys, tmp_path, suffix):
    path = dataset
    if suffix == ".npz":
        path = tmp_path / "d.npz"
        assert agent(capsys, "generate", "voltage", "-o", path, "--seed", 1)[0] == 0
    words = ["evaluate", path, "--metric", "anomaly_wave", "--set", "hop=1000", "--json", "--detector"]
    code, out, err = agent(capsys, *words, "tutorial_kl", "--threshold", 0.01)
    assert code == 0, err
    assert json.loads(out)["at_threshold"]["f1"] == 1
    code, out, err = agent(capsys, *words, "mains", "--set", "learn=5", "--train", 5000)
    assert code == 0, err
    assert json.loads(out)["at_threshold"]["f1"] == 1
    code, _, err = agent(capsys, *words, "mains", "--set", "window=200000")
    assert code == 2
    assert "too few for a window" in err


def test_detect_says_why_it_cannot_say(tmp_path, capsys):
    wave = np.sin(np.arange(3000) * 0.1)
    wave[1500] = np.inf
    np.save(tmp_path / "wave.npy", wave)
    code, out, _ = agent(capsys, "detect", tmp_path / "wave.npy", "--json")
    assert code == 0
    assert [json.loads(line)["verdict"] == "unknown" for line in out.splitlines()] == [False, True, False]
    assert json.loads(out.splitlines()[1])["reason"] == "a sample is not finite"
    assert json.loads(out.splitlines()[1])["kl"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "voltage", "-o", "x.txt"], ".csv or .npz"),
        (["generate", "voltage", "--duration", "0"], "--duration must be greater than 0"),
        (["generate", "voltage", "--anomaly-probability", "2"], "0 to 1"),
        (["calibrate", "{tmp}/none.csv"], "cannot read"),
        (["calibrate", "{tmp}/short.csv"], "20 at least"),
        (["calibrate", "{tmp}/short.csv", "--method", "tutorial"], "needs the columns"),
        (["calibrate", "{tmp}/misfit.npz"], "3 labels do not fit 9 samples"),
        (["calibrate", "{tmp}/short.csv", "--metric", "amps"], "no column amps; it has time, volts"),
        (["detect", "{tmp}/short.csv"], "less than a window"),
        (["detect", "{tmp}/constant.npy"], ""),
        (["detect", "{tmp}/constant.npy", "--detector", "mains"], "constant, so it has no frequency"),
        (["detect", "{tmp}/two.npz"], "which column"),
        (["detect", "{tmp}/empty.csv"], "empty"),
    ],
)
def test_bad_input_is_a_clear_message(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.csv").write_text("time,volts\n0,1\n0.001,2\n")
    (tmp_path / "empty.csv").write_text("")
    np.savez(tmp_path / "misfit.npz", voltage=np.arange(9.0), is_anomaly=np.zeros(3))
    np.savez(tmp_path / "two.npz", a=np.arange(9.0), b=np.arange(9.0))
    np.save(tmp_path / "constant.npy", np.full(2000, 3.0))
    code, out, err = agent(capsys, *(word.format(tmp=tmp_path) for word in words))
    if message:
        assert code in (1, 2)
        assert message in err
    else:
        assert code == 0
        assert "no reference yet, or a constant one" in out
    assert "Traceback" not in err


def test_the_threshold_is_exceeded_as_often_as_wanted_and_the_interval_covers_it():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        limit = threshold_for(rng.standard_normal(2000), 0.02)
        assert limit.low <= limit.value <= limit.high
        covered += limit.low <= 2.0537 <= limit.high  # the normal quantile at 0.98
    assert 0.9 <= covered / 200 <= 1.0
    assert not threshold_for(rng.standard_normal(50), 0.01).enough
    assert threshold_for(np.append(np.arange(100.0), np.nan), 0.1).value == 90.0
    for rate in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            threshold_for(np.arange(9.0), rate)
    with pytest.raises(ValueError, match="no normal window"):
        threshold_for(np.array([np.nan]), 0.1)


def test_figures_of_a_test_are_those_counted_by_hand():
    score = np.array([0.1, 0.4, 0.35, 0.8, np.nan])
    truth = np.array([False, False, True, True, True])
    result = examine(score, truth, ["n", "n", "a", "a", "b"], 0.36)
    assert result.verdict.confusion() == {"tp": 1, "fp": 1, "fn": 2, "tn": 1}
    assert result.by_kind == {"n": (2, 0.5), "a": (2, 0.5), "b": (1, 0.0)}
    assert result.unscored == 1
    away, recall, precision = curves(score[:4], truth[:4])
    assert away.tolist() == [0, 0.5, 0.5, 1]
    assert recall.tolist() == [0.5, 0.5, 1, 1]
    assert precision.tolist() == [1, 0.5, 2 / 3, 0.5]
    perfect = judge(np.array([True]), np.array([True]))
    assert (perfect.accuracy, perfect.precision, perfect.recall, perfect.f1, perfect.false_alarm_rate) == (
        1,
        1,
        1,
        1,
        0,
    )
