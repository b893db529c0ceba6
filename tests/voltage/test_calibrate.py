"""`agent calibrate` on many windows, several files and any metric; what it prints is what the agent then does."""

import json
import tomllib

import numpy as np
import pytest

from agent.alerts.alert import Identity
from agent.cli.main import main
from agent.engine.engine import Engine
from agent.offline.labelled import read_table
from agent.settings.registry import build
from sensors.batch import Batch
from sensors.drivers.simulated.waveform import windows

KINDS = ("none", "none_random_phase", "drop0.5_100", "spike+100_1")
HEAD = '[agent]\nsite = "s"\nname = "n"\n[source.line]\ntype = "file"\npath = "x.csv"\ncodec = { type = "csv" }\n'
TAIL = '[sink.out]\ntype = "lines"\n'


def agent(capsys, *words):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def waves(seed=0, count=40, kinds=KINDS, noise=1.0):
    rng = np.random.default_rng(seed)
    made = np.concatenate([windows(kind, count, rng, noise).waves for kind in kinds])
    kind = np.repeat(kinds, count)
    return {"waves": made, "kind": kind, "truth": ~np.char.startswith(kind, "none"), "fs": np.array(1000.0)}


def pump(path, kind=True):
    rng = np.random.default_rng(3)
    value, label = rng.standard_normal(3000), np.zeros(3000, int)
    for start in range(200, 3000, 300):
        value[start : start + 5] += 8
        label[start : start + 5] = 1
    word = np.where(label > 0, np.where(np.arange(3000) % 600 < 300, "jump", "burst"), "")
    lines = [f"{i},{v!r},{one}{',' + w if kind else ''}\n" for i, (v, one, w) in
             enumerate(zip(value.tolist(), label.tolist(), word.tolist(), strict=True))]  # fmt: skip
    path.write_text(f"time,pressure,label{',kind' if kind else ''}\n" + "".join(lines))
    return path


def live(configuration, column, samples, step=10**6):
    """What the agent says with this configuration: rows of its only detector, alerts."""
    table = tomllib.loads(configuration)
    (name,), (rule,) = table["detector"], table["rule"]
    engine = Engine(
        {name: build("detector", f"detector.{name}", table["detector"][name])},
        {rule: build("rule", f"rule.{rule}", table["rule"][rule])},
        Identity("s", "n"),
    )
    rows, alerts = [], []
    for first in range(0, len(samples), 7_777):
        piece = samples[first : first + 7_777]
        time = (first + np.arange(len(piece))) * step
        batch = Batch(("m",), np.zeros(len(piece), np.int32), time, {column: piece}, int(time[-1]))
        found = engine.process(batch)
        rows += found.results[name].values["score"].tolist() if name in found.results else []
        alerts += found.alerts
    return rows, alerts, table["rule"][rule]["when"]


def test_many_windows_are_calibrated_by_kind(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **waves(0))
    np.savez(tmp_path / "b.npz", **waves(1))
    code, out, err = agent(capsys, "calibrate", tmp_path / "a.npz", tmp_path / "b.npz", "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert {kind: one["windows"] for kind, one in report["by_kind"].items()} == dict.fromkeys(KINDS, 28)
    assert report["by_kind"]["spike+100_1"]["alarms"] == report["by_kind"]["drop0.5_100"]["alarms"] == 1
    assert report["confusion"]["fp"] <= 2
    assert report["windows_learned_from"] == 48
    assert (tmp_path / "a_calibration.png").exists()


def test_a_reference_of_its_own_is_what_is_learned(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **waves(0))
    np.savez(tmp_path / "good.npz", **waves(2, kinds=KINDS[:2]))
    code, out, _ = agent(capsys, "calibrate", tmp_path / "a.npz", "--reference", tmp_path / "good.npz", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["windows_learned_from"] == 0
    assert report["normal_windows"] == 40
    assert report["recall"] == 1


@pytest.mark.parametrize("detector", ["mains", "tutorial_kl"])
def test_calibrate_paste_and_run_gives_the_verdicts_of_detect(tmp_path, capsys, detector):
    rng = np.random.default_rng(0)
    kinds = ["none"] * 4 + ["drop0.5_100"]
    noise = 1.0 if detector == "mains" else 0.0
    wave = np.concatenate([windows(kind, 1, rng, noise).waves[0] for kind in kinds * 12])
    label = np.repeat([kind != "none" for kind in kinds * 12], 1000).astype(int)
    path, toml, whole = tmp_path / "line.npz", tmp_path / "part.toml", tmp_path / "agent.toml"
    np.savez(path, voltage=wave, is_anomaly=label)
    code, _, err = agent(capsys, "calibrate", path, "--detector", detector, "--toml", toml, "--false-alarms", 0.05)
    assert code == 0, err
    whole.write_text(HEAD + toml.read_text() + TAIL)
    assert agent(capsys, "check", "-c", whole)[0] == 0
    code, out, _ = agent(capsys, "detect", path, "-c", whole, "--detector", "wave", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    scores, alerts, _ = live(toml.read_text(), "voltage", wave)
    assert scores == [record.get("score", record.get("kl")) for record in records]
    said = [record["verdict"] == "anomaly" for record in records]
    assert sum(said) > 50
    lasting = 2 if detector == "mains" else 1  # windows a tenth of a second apart, for = "100ms"
    assert tomllib.loads(toml.read_text())["rule"]["wave_disturbed"].get("for") == (
        "100ms" if lasting == 2 else None
    )
    runs = "".join("x" if one else " " for one in said).split()
    begins = sum(len(run) >= lasting for run in runs)
    assert sum(alert.change == "raised" for alert in alerts) == begins


def test_any_metric_with_a_label_is_calibrated_and_runs_so(tmp_path, capsys):
    path, toml = pump(tmp_path / "pump.csv"), tmp_path / "part.toml"
    words = ("calibrate", path, "--detector", "robust_z", "--metric", "pressure", "--toml", toml)
    code, out, err = agent(capsys, *words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert set(report["by_kind"]) == {"normal", "jump", "burst"}
    assert report["recall"] == 1
    assert report["expected_false_alarms_a_day"] == pytest.approx(864)
    (tmp_path / "agent.toml").write_text(HEAD + toml.read_text() + TAIL)
    assert agent(capsys, "check", "-c", tmp_path / "agent.toml")[0] == 0
    (item,) = read_table(path)
    _, alerts, when = live(toml.read_text(), "pressure", item.rows.values["pressure"], 10**9)
    assert when == f"score > {report['threshold']!r}"
    raised = [alert.started_at // 10**9 for alert in alerts if alert.change == "raised"]
    assert set(range(500, 3000, 300)) <= set(raised)
    code, out, err = agent(
        capsys, "calibrate", path, "-c", tmp_path / "agent.toml", "--detector", "robust_z", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["threshold"] == report["threshold"]
    assert "[detector" not in json.loads(out)["toml"]  # the configuration has it


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{tmp}/a.npz", "{tmp}/pump.csv"], "some one long wave"),
        (["{tmp}/short.npz", "{tmp}/a.npz"], "different lengths: 200, 1000"),
        (["{tmp}/fast.npz", "{tmp}/a.npz"], "a.npz has 1000 samples a second"),
        (["{tmp}/misfit.npz"], "3 kinds do not fit 160 waves"),
        (["{tmp}/nothing.npz"], "neither truth nor kind"),
        (["{tmp}/pump.csv", "--detector", "emwa"], 'did you mean "ewma"'),
        (["{tmp}/pump.csv", "--detector", "ewma", "--metric", "x"], "no column x; there are: pressure"),
        (["{tmp}/two.csv", "--detector", "ewma"], "needs 20 at least"),
        (["{tmp}/empty.csv", "--detector", "ewma"], "no normal window has a score"),
        (["{tmp}/none.csv"], "none.csv"),
        (["{tmp}/a.npz", "--false-alarms", "2"], "between 0 and 1"),
        (["{tmp}/a.npz", "--reference", "{tmp}/short.npz"], "wanted are 1000 at 1000"),
    ],
)
def test_what_cannot_be_calibrated_on_is_a_clear_message(tmp_path, capsys, words, message):
    some = waves()
    np.savez(tmp_path / "a.npz", **some)
    np.savez(tmp_path / "short.npz", **some | {"waves": some["waves"][:, :200]})
    np.savez(tmp_path / "fast.npz", **some | {"fs": 2000.0})
    np.savez(tmp_path / "misfit.npz", **some | {"kind": some["kind"][:3]})
    np.savez(tmp_path / "nothing.npz", waves=some["waves"])
    pump(tmp_path / "pump.csv")
    (tmp_path / "two.csv").write_text("time,p,label\n0,1,0\n1,2,1\n")
    (tmp_path / "empty.csv").write_text("time,p,label\n" + "".join(f"{i},,0\n" for i in range(50)))
    code, _, err = agent(capsys, "calibrate", *(word.format(tmp=tmp_path) for word in words))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_detector_that_finds_nothing_is_not_recommended_without_a_word(tmp_path, capsys):
    told = "It finds none of the rows that are labelled: try another detector, metric or rate."
    rng = np.random.default_rng(4)
    noise, label = rng.standard_normal(3000), (np.arange(3000) % 300 < 5).astype(int)
    file = tmp_path / "calm.csv"  # what is labelled is calmer than the rest
    value = np.where(label > 0, 0.0, noise)
    rows = (f"{i},{v!r},{one}\n" for i, (v, one) in enumerate(zip(value.tolist(), label.tolist(), strict=True)))
    file.write_text("time,pressure,label\n" + "".join(rows))
    code, out, _ = agent(capsys, "calibrate", file, "--detector", "ewma")
    assert (code, told in out.splitlines()) == (0, True)
    _, out, _ = agent(capsys, "calibrate", pump(tmp_path / "pump.csv"), "--detector", "ewma")
    assert told not in out
