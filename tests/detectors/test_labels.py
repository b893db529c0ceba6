"""Label files that do not fit: the commands say which file and which line, and end with code 2."""

import json

import numpy as np
import pytest

from tests.detectors.test_evaluate import agent

LINES = [f"{i},{np.sin(i / 3):.3f},{int(20 <= i < 25)}" for i in range(60)]


def csv(path, lines=LINES, head="time,x,label"):
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def changed(number, line):
    return [*LINES[:number], line, *LINES[number + 1 :]]


@pytest.mark.parametrize(
    ("lines", "head", "said"),
    [
        (changed(5, "5,1.0"), "time,x,label", "line 7: 2 cells instead of 3"),
        (changed(5, "5,1.0,0,9"), "time,x,label", "line 7: 4 cells"),
        (changed(5, "5,1.0,"), "time,x,label", "line 7: there is no label; 0 is normal and 1 anomalous"),
        (changed(5, "5,1.0,-1"), "time,x,label", "line 7: the label is -1"),
        (changed(5, "5,1.0,maybe"), "time,x,label", 'line 7: "maybe" in column label is no number'),
        (changed(5, "5,oops,0"), "time,x,label", 'line 7: "oops" in column x is no number'),
        (changed(5, "noon,1,0"), "time,x,label", 'line 7: "noon" in column time is no time'),
        (changed(5, "inf,1,0"), "time,x,label", 'line 7: "inf" in column time is no time'),
        (LINES, "time,x,truth", "no label column; say which with --label; there are: time, x, truth"),
        (["0,1", "1,0"], "time,label", "no column beside the label label holds numbers; there are: time, label"),
        ([], "time,x,label", "there are no rows"),
    ],
)
def test_evaluate_names_file_and_line(tmp_path, lines, head, said):
    path = csv(tmp_path / "a.csv", lines, head)
    done = agent("evaluate", path, "--detector", "robust_z")
    assert done.returncode == 2
    assert f"{path}" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros(10), "label": np.zeros(9)}, "differ in length"),
        ({"x": np.zeros(10), "label": np.full(10, 2)}, "row 0: the label is 2"),
        ({"x": np.zeros(10), "label": np.array(0)}, "differ in length"),
        ({"x": np.zeros(10), "label": np.array(["a"] * 10)}, "no label column"),
        ({"x": np.zeros(3), "label": np.zeros(3), "time": np.array([0.0, np.nan, 1.0])}, "without a time"),
    ],
)
def test_evaluate_names_the_array(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    done = agent("evaluate", tmp_path / "a.npz")
    assert done.returncode == 2
    assert f"{tmp_path / 'a.npz'}" in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("name", ["a.csv", "a.npz"])
def test_a_file_that_is_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00\x01 nonsense\n\x80\x81\n")
    for words in (("evaluate",), ("calibrate",), ("detect", "--model", "none.json")):
        done = agent(words[0], tmp_path / name, *words[1:])
        assert done.returncode == 2, words
        assert name in done.stderr
        assert "Traceback" not in done.stderr


NAB = {"c/f.csv": [["2014-01-01 00:03:00", "2014-01-01 00:05:00"]]}


@pytest.mark.parametrize(
    ("windows", "head", "said"),
    [
        ("{", "timestamp,value", "w.json is no JSON"),
        ("[1]", "timestamp,value", "not a table of file"),
        (json.dumps({"c/f.csv": [["x", "y"]]}), "timestamp,value", "with times"),
        (
            json.dumps({"c/f.csv": [["2015-01-01", "2015-01-02"]]}),
            "timestamp,value",
            "a window of c/f.csv holds no row",
        ),
        (json.dumps({"c/g.csv": []}), "timestamp,value", "g.csv"),
        (json.dumps(NAB), "timestamp,speed", "no column value; there are: timestamp, speed"),
    ],
)
def test_windows_of_nab_that_do_not_fit_are_named(tmp_path, windows, head, said):
    (tmp_path / "c").mkdir()
    csv(tmp_path / "c" / "f.csv", [f"2014-01-01 00:{i:02d}:00,{i}" for i in range(10)], head)
    (tmp_path / "w.json").write_text(windows)
    done = agent("evaluate", "--nab", tmp_path, "--windows", tmp_path / "w.json")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def wave(n=8000):
    t = np.arange(n)
    x = 325 * np.sin(2 * np.pi * 50 * t / 1000) + np.random.default_rng(0).normal(0, 1, n)
    return [f"{i / 1000:.3f},{v:.3f},{int(3000 <= i < 3100)}" for i, v in enumerate(x)]


@pytest.mark.parametrize(
    ("place", "line", "said"),
    [
        (500, "0.500,1.0", "line 502: 2 cells"),
        (500, "0.500,1.0,2", "line 502: the label is 2"),
        (500, "0.500,1.0,", "line 502: there is no label"),
        (500, "0.500,oops,0", 'line 502: "oops" in column voltage is no number'),
        (500, "7.500,1.0,0", "line 502: 7.001 s after the sample before, else 0.001 s"),
    ],
)
@pytest.mark.parametrize("command", ["calibrate", "detect"])
def test_calibrate_and_detect_name_file_and_line(tmp_path, command, place, line, said):
    lines = wave()
    lines[place] = line
    path = csv(tmp_path / "w.csv", lines, "time,voltage,is_anomaly")
    done = agent(command, path)
    assert done.returncode == 2
    assert f"{path}, {said}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sampling_rate_that_changes_is_an_error_with_its_line(tmp_path):
    lines = wave()
    lines[4000:] = [f"{4 + 0.002 * i:.3f},{line.split(',', 1)[1]}" for i, line in enumerate(lines[4000:])]
    path = csv(tmp_path / "w.csv", lines, "time,voltage,is_anomaly")
    done = agent("calibrate", path)
    assert done.returncode == 2
    assert "line 4003: 0.002 s after the sample before, else 0.001 s" in done.stderr
    assert "--sampling-rate" in done.stderr


def test_labels_that_are_words_are_no_labels(tmp_path):
    lines = [line.rsplit(",", 1)[0] + ",yes" for line in wave(4000)]
    done = agent("calibrate", csv(tmp_path / "w.csv", lines, "time,voltage,is_anomaly"))
    assert done.returncode == 2
    assert "is_anomaly holds no numbers" in done.stderr


def test_a_recording_without_a_score_is_not_silently_zero(tmp_path):
    lines = [f"{i},7.0,{int(i > 50)}" for i in range(60)]
    done = agent("evaluate", csv(tmp_path / "a.csv", lines), "--detector", "robust_z", "--json")
    assert done.returncode == 0
    assert "no row has a score: 20 x too few rows, 40 x no spread" in done.stderr
    told = json.loads(done.stdout)["at_threshold"]
    assert told["silent"] == 60
    assert told["f1"] is None


CONFIG = """
[window.mean]
type = "tumbling"
metric = "x"
size = "4s"

[detector.drift]
type = "robust_z"
on = "mean"
metric = "mean"
warmup = 5

[detector.many]
type = "anomaly_rate"
metrics = ["x", "pressure"]
"""


def test_a_detector_of_a_configuration_is_run_with_what_it_reads(tmp_path):
    x = np.random.default_rng(0).normal(0, 1, 400)
    x[300:320] += 10
    path = csv(tmp_path / "a.csv", [f"{i},{v:.3f},{int(300 <= i < 320)}" for i, v in enumerate(x)])
    (tmp_path / "agent.toml").write_text(CONFIG)
    words = ("evaluate", path, "-c", tmp_path / "agent.toml", "--json", "--threshold", "6", "--detector")
    done = agent(*words, "drift")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["at_threshold"]
    assert (told["events"], told["found"]) == (1, 1)
    assert told["rows"] + told["silent"] < 110  # windows, not readings
    for name, said in (("drifts", "no detector drifts; there are: drift, many"), ("many", "no column pressure")):
        done = agent(*words, name)
        assert done.returncode == 2
        assert said in done.stderr
