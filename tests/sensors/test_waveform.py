"""The waveform: the tutorial's data set number for number, and the kinds of window."""

from __future__ import annotations

import numpy as np
import pytest

from sensors.drivers.simulated.waveform import FAULTS, WINDOW_KINDS, tutorial_dataset, windows


def tutorial_loop(seed: int, seconds: int, probability: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tutorial's own loop, as printed."""
    np.random.seed(seed)  # noqa: NPY002 - what the tutorial does
    time = np.arange(0, seconds, 1 / 1000)
    normal_wave = 230 * np.sqrt(2) * np.sin(2 * np.pi * 50 * time)
    anomaly_wave = np.copy(normal_wave)
    labels = np.zeros_like(time, dtype=int)
    in_anomaly = False
    for i in range(len(time)):
        if np.random.rand() < probability and not in_anomaly:  # noqa: NPY002
            end_index = min(i + 100, len(time))
            anomaly_wave[i:end_index] = anomaly_wave[i:end_index] * 0.2
            labels[i:end_index] = 1
            in_anomaly = True
        elif labels[i] == 0:
            in_anomaly = False
    return normal_wave, anomaly_wave, labels


@pytest.mark.parametrize(("seed", "probability"), [(0, 0.00009), (1, 0.003), (2, 0.02), (3, 0.5)])
def test_the_data_set_is_the_tutorials_number_for_number(seed: int, probability: float) -> None:
    data = tutorial_dataset(duration=20, anomaly_probability=probability, seed=seed)
    normal, wave, label = tutorial_loop(seed, 20, probability)
    assert np.array_equal(data.normal_wave, normal)
    assert np.array_equal(data.anomaly_wave, wave)
    assert np.array_equal(data.is_anomaly, label)


@pytest.mark.parametrize("kind", list(WINDOW_KINDS))
def test_windows_are_labelled_and_anomalies_differ_from_the_clean_sine(kind: str) -> None:
    what = WINDOW_KINDS[kind]
    made = windows(kind, 20, np.random.default_rng(1))
    clean = 230 * np.sqrt(2) * np.sin(2 * np.pi * 50 * np.arange(1000) / 1000)
    assert made.waves.shape == made.is_anomaly.shape == (20, 1000)
    assert made.is_anomaly.any() != what.normal
    if not what.normal:
        changed = np.abs(made.waves - clean) > 1e-6
        assert changed.any(axis=1).all()
        assert not (changed & (made.is_anomaly == 0)).any()
        length = {fault.length for fault in what.faults}.pop()
        expected = 500 if what.from_middle else (length or 1000) * len(what.faults)
        assert (made.is_anomaly.sum(axis=1) == expected).all()


def test_normal_windows_stay_within_their_tolerance() -> None:
    rng = np.random.default_rng(1)
    gain = windows("none_gain_5pct", 500, rng).waves.max(axis=1) / (230 * np.sqrt(2))
    assert 0.03 < gain.std() < 0.07
    assert windows("none", 2, rng, noise=2.0).waves.std() > 160
    assert set(FAULTS) >= {"drop", "swell", "interruption", "frequency", "stuck", "spike"}
