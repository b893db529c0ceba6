import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import periodogram
from scipy.stats import entropy

from agent.detectors.power_quality.spectral import FLOOR, Spectral, spectra
from tests.voltage.streams import rows_of, run


def machine(n, rng, tones=((25, 1.0), (120, 0.3)), rate=1000.0, noise=0.05):
    time = np.arange(n) / rate
    return sum(
        a * np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f, a in tones
    ) + noise * rng.standard_normal(n)


def stream(wave, rate=1000.0):
    return rows_of(np.zeros(len(wave)), np.arange(len(wave)) * round(1e9 / rate), wave)


@pytest.mark.parametrize("n", [64, 65])
def test_power_is_scipys_periodogram(n):
    x = np.random.default_rng(0).normal(size=(3, n)) + 7
    for row, power in zip(x, spectra(x), strict=True):
        _, density = periodogram(row, fs=1.0, window="hann", detrend="constant", scaling="density")
        np.testing.assert_allclose(power, density / n, rtol=1e-9, atol=1e-15)


def test_the_score_is_the_divergence_of_band_shares():
    rng = np.random.default_rng(1)
    wave = np.concatenate([machine(640, rng), machine(128, rng, ((25, 1.0), (300, 0.5)))])
    detector = Spectral("v", 1000, window=128, hop=128, bands=8, learn=5)
    out = detector.process(stream(wave))
    shares = []
    for window in wave.reshape(-1, 128):
        power = spectra(window[None, :])[0]
        band = np.minimum((np.arange(65) * 1000 / 128 / 500 * 8).astype(int), 7)
        shares.append(np.bincount(band, power) / power.sum())
    p, q = np.mean(shares[:5], axis=0) + FLOOR, shares[5] + FLOOR
    assert out.values["score"][5] == pytest.approx(entropy(p, q), rel=1e-9)
    assert np.isnan(out.values["score"][:5]).all()
    assert out.texts["reason"].tolist() == ["still learning the spectrum"] * 5 + [None]
    assert out.values["moved"][5] == pytest.approx(281.25)


def test_a_new_tone_stands_out_and_a_gain_or_an_offset_does_not():
    rng = np.random.default_rng(2)
    normal = machine(40_000, rng)
    for change, strange in (
        (lambda x: 3 * x, False),
        (lambda x: x + 50, False),
        (lambda x: x + 0.4 * np.sin(2 * np.pi * 333 * np.arange(len(x)) / 1000), True),
        (lambda x: x + 0.3 * rng.standard_normal(len(x)), True),
    ):
        wave = normal.copy()
        wave[30_000:] = change(wave[30_000:])
        out = Spectral("v", 1000, learn=20).process(stream(wave))
        end = out.at + 1
        quiet = out.values["score"][(end > 12_000) & (end <= 30_000)].max()
        after = out.values["score"][end > 32_000]
        assert (after.min() > 3 * quiet) == strange
        assert strange or after.max() < 2 * quiet + 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 3), st.lists(st.integers(0, 1500), max_size=8), st.integers(9, 80), st.integers(1, 60))
def test_cuts_change_nothing(seed, cuts, window, hop):
    rng = np.random.default_rng(seed)
    value = np.where(rng.random(1500) < 0.02, np.nan, rng.normal(size=1500))
    value[700] = np.inf
    value[900:1100] = 4.0
    rows = rows_of(rng.integers(-1, 3, 1500), np.arange(1500), value)

    def make():
        return Spectral("v", 100, rate_tolerance=0, window=window, hop=hop, bands=3, learn=4)

    whole = run(make(), rows)
    assert run(make(), rows, cuts, save=True) == whole
    assert run(make(), rows, range(1, 1500, 13)) == whole


def test_what_has_no_spectrum_is_nan_with_a_reason():
    wave = np.concatenate([np.full(64, 3.0), np.full(64, np.inf), np.zeros(64)])
    out = Spectral("v", 100, rate_tolerance=0, window=64, hop=64, bands=4).process(stream(wave))
    assert np.isnan(out.values["score"]).all()
    assert out.texts["reason"].tolist() == ["no power", "a sample is not finite", "no power"]


@pytest.mark.parametrize("wrong", [{"bands": 100, "window": 64}, {"low": 60, "high": 50}, {"window": 2}])
def test_a_wrong_setting_is_a_clear_error(wrong):
    with pytest.raises(ValueError, match=r"narrower|are the least"):
        Spectral("v", 100, rate_tolerance=0, **wrong)


def test_forgetting_is_like_new():
    wave = machine(3000, np.random.default_rng(3))
    detector = Spectral("v", 1000, window=256, bands=8, learn=3)
    first = run(detector, stream(wave))
    detector.evict(np.array([0, 5]))
    assert run(detector, stream(wave)) == first


def test_another_sampling_rate_or_a_gap_is_no_spectrum():
    wave = machine(4000, np.random.default_rng(4))
    time = np.arange(4000) * 10**6
    slower = np.where(np.arange(4000) < 2000, time, 2 * time - time[2000])
    late = time + 10**9 * (np.arange(4000) >= 3000)
    for times, first, last, why in (
        (slower, 2500, 4000, "not the sampling rate"),
        (late, 3001, 3200, "samples are missing"),
    ):
        out = Spectral("v", 1000, window=256, bands=8, learn=3).process(rows_of(np.zeros(4000), times, wave))
        inside = (out.at > first) & (out.at < last)
        assert inside.any()
        assert np.isnan(out.values["score"][inside]).all()
        assert {word for word, here in zip(out.texts["reason"].tolist(), inside, strict=True) if here} == {why}
        assert np.isfinite(out.values["score"][(out.at > 1000) & (out.at < 2000)]).all()
