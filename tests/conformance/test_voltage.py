"""Cases of the tutorial's voltage detector: single windows, rolling streams, calibrations, to 1e-9."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agent.detectors.histograms.own_range import counts_and_widths
from agent.detectors.histograms.tutorial_kl import TutorialKL
from agent.offline.tutorial import calibrate
from tests.voltage.streams import rows_of

GIVEN = Path(__file__).parent / "cases" / "voltage"


def cases(config):
    given = config.getoption("--cases", default=None)
    folder = Path(given) if given else GIVEN
    folder = folder / "voltage" if (folder / "voltage").is_dir() else folder
    return sorted(path.parent for path in folder.glob("*/case.json") if (path.parent / "input.npz").is_file())


def pytest_generate_tests(metafunc):
    kind = metafunc.function.__name__.split("_")[1]
    chosen = [
        case for case in cases(metafunc.config) if json.loads((case / "case.json").read_text())["kind"] == kind
    ]
    metafunc.parametrize("case", chosen, ids=[case.name for case in chosen])


def load(case):
    with np.load(case / "input.npz") as arrays:
        return (
            {name: arrays[name] for name in arrays.files},
            json.loads((case / "expected.json").read_text()),
            json.loads((case / "case.json").read_text()),
        )


def scores(detector, wave):
    return detector.process(rows_of(np.zeros(len(wave)), np.arange(len(wave)) * 10**6, wave))


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_window_cases(case):
    arrays, expected, settings = load(case)
    bins = settings["detector"]["bins"]
    detector = TutorialKL("v", window=len(arrays["sample"]), bins=bins, threshold=settings["detector"]["threshold"])
    detector.fit(arrays["reference"])
    out = scores(detector, arrays["sample"])
    close(out.values["score"], [expected["kl"]])
    assert bool(out.values["anomaly"][0]) == expected["detected"]
    for array, counts in (("reference", "ref_counts"), ("sample", "sample_counts")):
        if counts in expected:
            assert counts_and_widths(arrays[array][None, :], bins)[0][0].tolist() == expected[counts]


@pytest.mark.parametrize("piece", [10_000, 333, 1])
def test_rolling_cases(case, piece):
    arrays, expected, settings = load(case)
    stream = arrays["stream"][: 10_000 if piece > 1 else 1500]
    detector = TutorialKL("v", window=settings["window"], hop=settings["hop"], bins=settings["detector"]["bins"])
    detector.fit(arrays["reference"])
    got, starts = [], []
    for first in range(0, len(stream), piece):
        out = scores(detector, stream[first : first + piece])
        got += out.values["score"].tolist()
        starts += (first + out.at + 1 - settings["window"]).tolist()
    if piece > 1 and len(stream) == len(arrays["stream"]):
        assert len(got) == expected["n_windows"]
    close(got, expected["kl"][: len(got)])
    assert starts == expected["window_start"][: len(got)]


def test_calibration_cases(case):
    arrays, expected, settings = load(case)
    parameters = settings["params"]
    result = calibrate(
        arrays["normal_wave"],
        arrays["anomaly_wave"],
        arrays["is_anomaly"],
        chunk=parameters["chunk"],
        deviations=parameters["k_std"],
        bins=settings["detector"]["bins"],
    )
    assert result.length.tolist() == expected["chunk_len_after_trim"]
    close(result.score, expected["kl"])
    assert result.threshold == pytest.approx(expected["threshold"], rel=1e-9)
    assert result.truth.astype(int).tolist() == expected["truth"]
    assert (result.score > result.threshold).astype(int).tolist() == expected["predicted"]
    assert result.verdict.confusion() == expected["confusion"]
    for figure in ("accuracy", "precision", "recall", "f1"):
        assert getattr(result.verdict, figure) == pytest.approx(expected[figure])
