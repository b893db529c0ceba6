"""The benchmark of voltage disturbances runs on generated windows and on files."""

import json

import numpy as np
import pytest

from benchmarks.voltage import main
from benchmarks.voltage_kinds import right_names
from sensors.drivers.simulated.waveform import windows


def figures(capsys):
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {(line["figure"], line.get("noise_v")): line for line in lines}


def test_files_are_judged_by_their_own_reference(tmp_path, capsys):
    rng = np.random.default_rng(1)

    def waves(kinds, noise, trials):
        return np.concatenate([windows(kind, trials, rng, noise, 600, 1500, 60).waves for kind in kinds])

    normal = ("none", "none_random_phase", "none_mains_drift_20mHz")
    kinds = (*normal, "drop0.5_100", "spike+100_1", "harmonic5_10pct")
    np.savez(
        tmp_path / "waves.npz",
        waves=np.concatenate([waves(kinds, noise, 10) for noise in (0.0, 5.0)]),
        kind=np.tile(np.repeat([kind.replace("spike", "something") for kind in kinds], 10), 2),
        truth=np.tile(np.repeat([0, 0, 0, 1, 1, 1], 10), 2),
        noise=np.repeat([0.0, 5.0], 60),
        fs=1500,
    )
    reference = np.concatenate([waves(normal, noise, 40) for noise in (0.0, 5.0)])
    np.savez(tmp_path / "reference.npz", waves=reference, noise=np.repeat([0.0, 5.0], 120), fs=1500)
    assert main(["--waves", str(tmp_path)]) == 0
    found = figures(capsys)
    for noise in (0.0, 5.0):
        assert found["lowest detection of an anomalous kind", noise]["value"] == 1
        assert found["lowest share named right", noise]["value"] >= 0.9
        assert found["false positives, normal kinds pooled", noise]["value"] <= 0.1
        assert found["detection something+100_1", noise]["peer"] == "tutorial"
        assert "named" not in found["detection something+100_1", noise]
        assert found["detection drop0.5_100", noise]["named"] == 1


def a_set(**changed):
    rng = np.random.default_rng(1)
    made = [windows(kind, 8, rng, 1.0, 600).waves for kind in ("none_random_phase", "drop0.5_100")]
    return {
        "waves": np.concatenate(made).astype(np.float32), "kind": np.repeat(["normal", "17"], 8),
        "truth": np.repeat([False, True], 8), "fs": np.array(1000),
    } | changed  # fmt: skip


@pytest.mark.parametrize(
    "reference",
    [
        {"waves": windows("none_random_phase", 40, np.random.default_rng(2), 1.0, 600).waves},
        {"waves": windows("none", 1, np.random.default_rng(2), 1.0, 24_000).waves[0], "fs": 1000},
        {"normal": windows("none_random_phase", 40, np.random.default_rng(2), 1.0, 600).waves},
        {"waves": windows("none", 40, np.random.default_rng(2), 0.0, 400).waves},
        {"waves": np.where(np.arange(600) < np.arange(40)[:, None] - 37, np.nan,
                           windows("none", 40, np.random.default_rng(2), 1.0, 600).waves)},
    ],
    ids=["one a window", "one long wave", "another name", "shorter and quiet", "some not finite"],
)  # fmt: skip
def test_references_of_other_shapes_and_unknown_kinds(tmp_path, capsys, reference):
    np.savez(tmp_path / "some.npz", **a_set())
    np.savez(tmp_path / "reference.npz", **reference)
    assert main(["--waves", str(tmp_path)]) == 0
    found = {line["figure"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found["lowest detection of an anomalous kind"]["value"] == 1
    assert found["false positives, normal kinds pooled"]["value"] <= 1 / 8
    assert "lowest share named right" not in found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"waves": np.zeros((2, 2, 2))}, r"waves \(k, n\)"),
        ({"waves": np.zeros((0, 600))}, "empty"),
        ({"kind": np.array(["sag"] * 5)}, "5 elements of kind do not fit 16 waves"),
        ({"noise": np.full(16, np.nan)}, "noise must be"),
        ({"fs": 2000}, "no reference for 2000"),
        ({"kind": np.array(["sag"] * 16, dtype=object)}, "cannot be read"),
        ({"waves": np.ones((16, 30))}, "shorter than three periods"),
    ],
)
def test_a_file_that_does_not_fit_is_a_clear_error(tmp_path, changed, message):
    np.savez(tmp_path / "some.npz", **a_set(**changed))
    waves = windows("none", 40, np.random.default_rng(2), 1.0, 600).waves
    np.savez(tmp_path / "reference.npz", waves=waves, fs=1000)
    with pytest.raises(SystemExit, match=message):
        main(["--waves", str(tmp_path)])


def test_a_folder_without_a_reference_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"reference\.npz"):
        main(["--waves", str(tmp_path)])


@pytest.mark.slow
def test_generated_kinds_are_found(capsys):
    assert main(["--trials", "5"]) == 0
    found = figures(capsys)
    for noise in (0.0, 1.0, 5.0):
        assert found["lowest detection of an anomalous kind", noise]["value"] == 1
    assert found["latency drop0.5_100", 1.0]["value"] < 3


def test_right_names_follow_the_standard():
    assert right_names("drop0.2_5", 10) == ("sag", "notch")
    assert right_names("two_drops0.2_100", 10) == ("sag",)
    assert right_names("drop0.05_100", 10) == ("interruption",)
    assert right_names("freq49.5_full", 10) == ("frequency deviation",)
    assert right_names("something else", 10) == ()


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("sag_0.7_150ms", ("sag",)),
        ("sag_0.7_10ms", ("sag", "notch")),
        ("dip 30 %", ("sag",)),
        ("drop_95pct_200", ("interruption",)),
        ("drop1.2_full", ("swell",)),
        ("Over-voltage", ("swell",)),
        ("flicker_8.8Hz_3pct", ("flicker",)),
        ("interharmonic3.6", ("interharmonics",)),
        ("spikes5", ("transient",)),
        ("DC+5", ("dc offset",)),
        ("kind 17", ()),
    ],
)
def test_labels_of_others_are_understood(label, names):
    assert right_names(label, 10, 1000.0) == names


def test_variants_are_measured_beside_the_28_kinds(capsys):
    assert main(["--variants", "^500 samples", "--trials", "4"]) == 0
    found = {line["figure"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found["variants: lowest detection"]["value"] == 1
    assert found["variants: false positives"]["value"] <= 0.05
    assert found["variants: lowest share named right"]["circumstances"] == "500 samples"
