"""Each measure against the obvious way to take it."""

import itertools

import numpy as np
import pytest

from agent.detectors.power_quality.measures import MEASURES, TWO_SIDED, harmonics, longest_flat, measure
from agent.detectors.power_quality.model import WaveModel, measures_of
from agent.detectors.power_quality.power import COLUMNS, power_figures
from agent.detectors.power_quality.sine import follow, running

RATE, NOMINAL = 1000, 50


def wave(n=1000, level=300.0, phase=0.7, seed=0, noise=1.0):
    angle = 2 * np.pi * NOMINAL / RATE * np.arange(n) + phase
    return level * np.sin(angle) + noise * np.random.default_rng(seed).standard_normal(n)


def naive_fit(x, frequency, length):
    """Amplitude, offset, remainder of a fit at each place, by `lstsq`."""
    found = []
    for place in range(len(x) - length + 1):
        t = np.arange(place, place + length)
        basis = np.stack(
            [np.cos(2 * np.pi * frequency * t), np.sin(2 * np.pi * frequency * t), np.ones(length)], axis=1
        )
        fit, *_ = np.linalg.lstsq(basis, x[t], rcond=None)
        found.append((np.hypot(fit[0], fit[1]), fit[2], np.sqrt(np.mean((x[t] - basis @ fit) ** 2))))
    return np.array(found).T


def test_level_dip_rise_offset_and_remainder_are_those_of_the_fits():
    x = wave()
    x[300:340] *= 0.8
    x[700] += 40
    track = follow(x[None, :], NOMINAL / RATE)
    found = dict(zip(MEASURES, measure(x[None, :], track, harmonics(track))[0], strict=True))
    amplitude, offset, remainder = naive_fit(x, track.frequency[0], 20)
    assert found["level"] == pytest.approx(np.median(amplitude[::2]), rel=1e-9)
    assert found["dip"] == pytest.approx(found["level"] - amplitude.min(), rel=1e-9)
    assert found["rise"] == pytest.approx(amplitude.max() - found["level"], rel=1e-6)
    assert found["offset"] == pytest.approx(np.median(offset[::2]), abs=1e-9)
    assert found["shift"] == pytest.approx(np.abs(offset - found["offset"]).max(), rel=1e-6)
    assert found["remainder"] == pytest.approx(remainder.max(), rel=1e-6)
    assert found["noise"] == pytest.approx(np.median(remainder[::2]), rel=1e-6)


def test_the_frequency_is_found_within_a_thousandth_of_a_hertz():
    for frequency in (47.0, 49.5, 50.013, 53.1):
        x = 300 * np.sin(2 * np.pi * frequency / RATE * np.arange(1000) + 1)[None, :]
        assert follow(x, NOMINAL / RATE).frequency[0] * RATE == pytest.approx(frequency, abs=0.001)


def test_the_frequency_is_not_moved_by_what_a_quarter_of_the_window_does():
    x = wave(noise=0.0)
    x[400:600] = 0
    assert follow(x[None, :], NOMINAL / RATE).frequency[0] * RATE == pytest.approx(50, abs=0.001)


def test_harmonics_are_those_put_in():
    angle = 2 * np.pi * NOMINAL / RATE * np.arange(1000)
    x = 300 * np.sin(angle) + 9 * np.sin(3 * angle + 1) + 6 * np.sin(7 * angle)
    found = harmonics(follow(x[None, :], NOMINAL / RATE))[0]
    assert len(found) == 8  # 2 to 9: 450 Hz of 1000 samples a second
    assert found[1] == pytest.approx(9, rel=0.02)
    assert found[5] == pytest.approx(6, rel=0.02)
    assert np.delete(found, [1, 5]).max() < 0.2


def test_the_longest_run_of_equal_samples():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (50, 30)).astype(float)
    expected = [max(len(list(group)) for _, group in itertools.groupby(row)) - 1 for row in x.tolist()]
    assert longest_flat(x).tolist() == expected


def test_running_sums():
    x = np.arange(12.0).reshape(2, 6)
    assert running(x, 3).tolist() == [[x[i, j : j + 3].sum() for j in range(4)] for i in range(2)]


def test_power_figures_of_a_known_wave():
    angle = 2 * np.pi * NOMINAL / RATE * np.arange(1000)
    x = 325 * np.sin(angle) + 32.5 * np.sin(5 * angle) + 4
    x[500:540] *= 0.5
    track = follow(x[None, :], NOMINAL / RATE)
    level, dc = np.median(track.amplitude, axis=1), np.median(track.offset, axis=1)
    found = dict(zip(COLUMNS, power_figures(x[None, :], track, harmonics(track), level, dc, RATE)[0], strict=True))
    assert found["frequency"] == pytest.approx(50, abs=0.01)
    assert found["rms"] == pytest.approx(np.sqrt(np.mean(x * x)), rel=1e-12)
    assert found["crest"] == pytest.approx(np.abs(x).max() / found["rms"], rel=1e-12)
    assert found["thd"] == pytest.approx(0.1, abs=0.005)
    assert found["dc"] == pytest.approx(4, abs=0.01)
    rms = [np.sqrt(np.mean(x[i : i + 20] ** 2)) for i in range(0, 981, 10)]
    assert found["rms_min"] == pytest.approx(min(rms), rel=1e-9)
    assert found["rms_max"] == pytest.approx(max(rms), rel=1e-9)


def test_scale_offset_phase_and_gain_do_what_is_stated():
    x = wave()
    plain = measures_of(x[None, :], NOMINAL / RATE)[0]
    unit = np.array([name not in ("frequency", "flat") for name in MEASURES])
    np.testing.assert_allclose(
        measures_of(7 * x[None, :], NOMINAL / RATE)[0], np.where(unit, 7 * plain, plain), rtol=1e-6
    )
    moved = measures_of(x[None, :] + 25, NOMINAL / RATE)[0]
    moved[MEASURES.index("offset")] -= 25
    np.testing.assert_allclose(moved, plain, rtol=1e-5, atol=1e-6)


def test_measures_are_the_same_whatever_stands_beside():
    x = np.stack([wave(seed=seed, phase=seed) for seed in range(40)])
    together = measures_of(x, NOMINAL / RATE)
    for row, measures in zip(x, together, strict=True):
        assert measures_of(row[None, :], NOMINAL / RATE)[0].tobytes() == measures.tobytes()


def test_a_model_limits_both_sides_where_both_are_strange():
    normal = measures_of(np.stack([wave(seed=s, phase=s) for s in range(60)]), NOMINAL / RATE)
    model = WaveModel.learn(normal, 1000, NOMINAL / RATE)
    assert model.ratios(normal).max() < 1
    for index, name in enumerate(MEASURES):
        low = normal[0].copy()
        low[index] = model.centre[index] - 2 * model.above[index]
        strange = model.ratios(low)[index] > 1
        assert strange == (name in TWO_SIDED), name
    tolerant = WaveModel.learn(normal, 1000, NOMINAL / RATE, level_tolerance=0.05)
    assert tolerant.limit("level") == pytest.approx(0.05 * tolerant.middle("level"))


def test_limits_of_the_level_are_those_of_the_standard_whatever_a_reference_tolerates():
    normal = measures_of(
        np.stack([(1 + 0.1 * np.sin(s)) * wave(seed=s, phase=s) for s in range(60)]), NOMINAL / RATE
    )
    model = WaveModel.learn(normal, 1000, NOMINAL / RATE)
    assert model.lower("level") == pytest.approx(0.096 * model.middle("level"))
    assert model.limit("level") == pytest.approx(0.14976 * model.middle("level"))
    machine = WaveModel.learn(normal, 1000, NOMINAL / RATE, sag=1.0)
    assert machine.limit("level") > 0.15 * machine.middle("level")


def test_a_few_disturbed_windows_among_the_reference_widen_no_limit():
    waves = np.stack([wave(seed=s, phase=s) for s in range(60)])
    normal = WaveModel.fit(waves, NOMINAL / RATE)
    waves[7, 200:300] *= 0.4
    waves[23] *= 0.5
    waves[41, 500] += 300
    spoilt = WaveModel.fit(waves, NOMINAL / RATE)
    assert spoilt.windows == 57
    assert (spoilt.above <= 1.2 * normal.above + 1e-9).all()
    waves[:12, 200:300] *= 0.4  # a fifth of them is no exception: then it is normal here
    assert not (WaveModel.fit(waves, NOMINAL / RATE).ratios(measures_of(waves[:12], NOMINAL / RATE)) > 1).any()


@pytest.mark.parametrize(("nominal", "n", "message"), [(0.3, 1000, "at least 4"), (0.05, 59, "shorter than three")])
def test_a_wave_that_cannot_be_tracked_is_refused(nominal, n, message):
    with pytest.raises(ValueError, match=message):
        follow(np.zeros((1, n)), nominal)


def test_a_reference_without_a_sine_is_refused():
    with pytest.raises(ValueError, match="no sine"):
        WaveModel.fit(np.random.default_rng(0).standard_normal((20, 1000)), 0.05)
    with pytest.raises(ValueError, match="at least 2"):
        WaveModel.fit(np.full((5, 1000), np.nan), 0.05)
