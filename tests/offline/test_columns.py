"""Which columns of a labelled file are time, machine and metrics; what the commands say of it."""

import json
import re

import numpy as np
import pytest

from agent.cli.main import main
from agent.offline.labelled import ColumnNames, nanoseconds, read_npz, read_table


def agent(capsys, *words):
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def pumps(path, time="ts", stamp="2026-11-01T{:02d}:{:02d}:00", machines=("pump-1", "pump-2")):
    """Two pumps in turn; pump-2 stands still, pump-1 jumps at the end."""
    lines = [f"{time},machine,flow,pressure,label"]
    rng = np.random.default_rng(0)
    for i in range(400):
        for k, machine in enumerate(machines):
            odd = k == 0 and 380 <= i < 390
            value = rng.normal() + 30 * odd
            lines.append(f"{stamp.format(i // 60, i % 60)},{machine},{k},{value:.4f},{int(odd)}")
    path.write_text("\n".join(lines) + "\n")
    return path


CONFIG = """
[source.line]
type = "file"
path = "pumps.csv"
codec = {{ type = "csv", time = "{time}", time_unit = "{unit}", machine = "machine", values = ["pressure"] }}

[detector.odd]
type = "robust_z"
metric = "pressure"
"""


@pytest.mark.parametrize("time", ["ts", "timestamp", "Zeit"])
def test_a_time_and_a_machine_are_no_metrics(tmp_path, time):
    given = "" if time == "ts" else time
    (item,) = read_table(pumps(tmp_path / "a.csv", time), ColumnNames(time=given))
    assert list(item.rows.values) == ["flow", "pressure"]
    assert item.rows.end[2] - item.rows.end[0] == 60 * 10**9
    one, two = read_table(tmp_path / "a.csv", ColumnNames(time=given, machine="machine", metrics=("pressure",)))
    assert (one.name, two.name) == (f"{tmp_path}/a.csv, pump-1", f"{tmp_path}/a.csv, pump-2")
    assert list(one.rows.values) == ["pressure"]
    assert one.label.sum() == 10
    assert two.label.sum() == 0
    assert np.array_equal(one.rows.values["pressure"], item.rows.values["pressure"][::2])


def test_times_that_no_usual_name_tells_are_not_passed_over(tmp_path, capsys):
    code, _, err = agent(capsys, "evaluate", pumps(tmp_path / "a.csv", "Zeit"), "--detector", "robust_z")
    assert code == 2
    assert "the column Zeit holds times; say --time Zeit, or call it time" in err


def test_the_configuration_says_time_unit_and_machine(tmp_path, capsys):
    path = pumps(tmp_path / "pumps.csv", "when", "17000{:02d}{:02d}000000")  # ns
    (tmp_path / "agent.toml").write_text(CONFIG.format(time="when", unit="ns"))
    words = ("evaluate", path, "-c", tmp_path / "agent.toml", "--detector", "odd", "--threshold", 6, "--json")
    code, out, err = agent(capsys, *words)
    assert code == 0, err
    told = json.loads(out)
    assert told["metrics"] == ["pressure"]
    assert [name.rsplit(", ")[-1] for name in told["files"]] == ["pump-1", "pump-2"]
    assert (told["at_threshold"]["events"], told["at_threshold"]["found"]) == (1, 1)
    code, out, err = agent(capsys, "calibrate", path, "-c", tmp_path / "agent.toml", "--detector", "odd", "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"] == ["pressure"]
    (tmp_path / "agent.toml").write_text(CONFIG.format(time="wenn", unit="ns"))
    code, _, err = agent(capsys, *words)
    assert code == 2
    assert "no time column wenn; there are: when, machine, flow, pressure, label" in err


def test_a_file_may_call_its_columns_otherwise_than_the_codec_but_not_than_the_command_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timestamp,x,label\n10,1,0\n12,2,1\n")
    (item,) = read_table(path, ColumnNames(time="ts", time_unit="s", machine="machine"))
    assert item.rows.end.tolist() == [10 * 10**9, 12 * 10**9]
    for required, said in (("ts", "no time column ts"), ("machine", "no column machine")):
        with pytest.raises(ValueError, match=said):
            read_table(path, ColumnNames(time="ts", machine="machine", required=(required,)))


def test_numbers_are_times_in_their_unit_and_never_dates():
    assert nanoseconds("1712110101234", "ms") == 1712110101234 * 10**6  # not the year 1712
    assert nanoseconds("1710856626905833677", "ns") == 1710856626905833677
    assert nanoseconds("1.5") == 1_500_000_000
    assert nanoseconds("20240101", "iso") == nanoseconds("2024-01-01") == 1704067200 * 10**9


def test_arrays_have_a_time_of_another_name_too(tmp_path):
    np.savez(tmp_path / "a.npz", moment=np.arange(5.0) / 2, x=np.arange(5.0), y=np.ones(5), label=np.zeros(5))
    item = read_npz(tmp_path / "a.npz", ColumnNames(time="moment", metrics=("x",)))
    assert item.rows.end.tolist() == [0, 500_000_000, 10**9, 1_500_000_000, 2 * 10**9]
    assert list(item.rows.values) == ["x"]
    with pytest.raises(ValueError, match="no column z"):
        read_npz(tmp_path / "a.npz", ColumnNames(metrics=("z",)))


def test_the_table_says_what_was_watched_and_how_it_counts(tmp_path, capsys):
    path = pumps(tmp_path / "a.csv")
    code, out, err = agent(capsys, "evaluate", path, "--detector", "robust_z", "--metric", "pressure")
    assert code == 0, err
    assert out.startswith("robust_z over pressure\n")
    assert re.search(r"-- by row --.*-- by event --", out)
    assert "none better than always" not in out


def test_no_threshold_is_better_than_an_alarm_for_ever(tmp_path, capsys):
    lines = [f"{i},{1 + (i % 2)},{int(i % 3 > 0)}" for i in range(300)]
    (tmp_path / "a.csv").write_text("\n".join(["time,x,label", *lines]) + "\n")
    code, out, err = agent(capsys, "evaluate", tmp_path / "a.csv", "--detector", "robust_z", "--train", 100)
    assert code == 0, err
    assert "all, best F1: none better than always" in out


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "detect"])
@pytest.mark.parametrize("missing", ["nofile.csv", "nofile.toml"])
def test_a_missing_file_is_named_without_a_number(tmp_path, capsys, command, missing):
    pumps(tmp_path / "pump.csv")
    data = tmp_path / ("pump.csv" if missing == "nofile.toml" else missing)
    more = ("-c", tmp_path / missing) if missing == "nofile.toml" else ()
    code, _, err = agent(capsys, command, data, *more)
    assert code == 2
    assert f"cannot read {tmp_path / missing}: No such file or directory" in err
    assert "Errno" not in err


def test_each_machine_has_a_picture_of_its_own(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = pumps(tmp_path / "a.csv", machines=("pump-1", "hall/pump-2"))
    words = (
        "--detector",
        "robust_z",
        "--metric",
        "pressure",
        "--machine",
        "machine",
        "--plots",
        tmp_path / "pictures",
    )
    code, out, err = agent(capsys, "evaluate", path, *words)
    assert code == 0, err
    assert "a.csv, pump-1" in out
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == ["a-hall_pump-2.png", "a-pump-1.png"]
