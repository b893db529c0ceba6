"""`agent evaluate`: reading labels, judging, and refusing what does not fit."""

import json
import subprocess
import sys

import numpy as np
import pytest

from agent.offline.evaluate import best_threshold, judge, roc_auc, runs
from agent.offline.labelled import read_nab, read_npz, read_table


def agent(*words):
    return subprocess.run(
        [sys.executable, "-m", "agent", *map(str, words)], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def spiky(tmp_path):
    """A CSV in the layout of SKAB with one labelled fault."""
    x = np.random.default_rng(0).normal(10, 1, 600)
    x[400:430] += 15
    lines = [f"2020-01-01 00:{i // 60:02d}:{i % 60:02d};{v};{int(400 <= i < 430)};0" for i, v in enumerate(x)]
    path = tmp_path / "valve" / "1.csv"
    path.parent.mkdir()
    path.write_text("datetime;flow;anomaly;changepoint\n" + "\n".join(lines) + "\n")
    return path


def test_the_command_judges_a_recording_and_says_it_in_json(spiky):
    done = agent(
        "evaluate", spiky, "--detector", "robust_z", "--threshold", "6", "--json", "--plots", spiky.parent / "p"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["at_threshold"]["found"] == told["at_threshold"]["events"] == 1
    assert told["at_threshold"]["roc_auc"] > 0.9
    assert (spiky.parent / "p" / "1.png").stat().st_size > 5000


def test_further_keys_of_the_detector_are_passed_and_checked(spiky):
    assert agent("evaluate", spiky, "--detector", "robust_z", "--set", "window=50").returncode == 0
    done = agent("evaluate", spiky, "--detector", "robust_z", "--set", "windows=50")
    assert done.returncode != 0
    assert "window" in done.stderr


def test_what_does_not_fit_is_said_with_its_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,x\n1,2\n")
    done = agent("evaluate", path)
    assert done.returncode == 2
    assert "no label column" in done.stderr
    assert "a.csv" in done.stderr


def test_arrays_of_different_length_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(10), label=np.zeros(9))
    with pytest.raises(ValueError, match="differ in length"):
        read_npz(tmp_path / "a.npz")


def test_a_cell_that_is_no_number_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,x,label\n1,2,0\n2,oops,1\n")
    with pytest.raises(ValueError, match=r'line 3: "oops" in column x is no number'):
        read_table(path)


def test_windows_of_nab_become_labels(tmp_path):
    (tmp_path / "c").mkdir()
    stamps = [f"2014-01-01 00:{i:02d}:00" for i in range(10)]
    (tmp_path / "c" / "f.csv").write_text("timestamp,value\n" + "".join(f"{s},{i}\n" for i, s in enumerate(stamps)))
    windows = tmp_path / "w.json"
    windows.write_text(json.dumps({"c/f.csv": [["2014-01-01 00:03:00.000000", "2014-01-01 00:05:00.000000"]]}))
    (item,) = read_nab(tmp_path, windows)
    assert item.label.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]


def test_the_judgement_on_a_case_worked_by_hand():
    label = np.array([0, 0, 1, 1, 0, 0, 1, 0.0])
    score = np.array([np.nan, 0.1, 0.9, 0.2, 0.8, 0.1, 0.3, 0.1])
    got = judge([score], [label], 0.5)
    assert (got.rows, got.silent, got.events, got.found, got.alarms, got.false) == (7, 1, 2, 1, 2, 1)
    assert got.precision == 0.5
    assert got.recall == pytest.approx(1 / 3)
    assert got.false_alarm_rate == pytest.approx(1 / 4)
    assert best_threshold([score], [label]) == pytest.approx(0.2)


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    score, label = np.round(rng.normal(size=60), 1), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[label] for b in score[~label]]
    assert roc_auc(score, label) == pytest.approx(np.mean(pairs))
    assert list(runs(np.array([True, False, True, True]))) == [(0, 1), (2, 4)]
