import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.histograms.tutorial_kl import TutorialKL
from agent.detectors.power_quality.disturbance import NAMES
from agent.detectors.power_quality.mains import Mains, fresh
from agent.detectors.power_quality.sine import follow
from agent.detectors.power_quality.spectral import Spectral
from agent.settings.fingerprints import fingerprints
from agent.settings.registry import ConfigError, build
from sensors.drivers.simulated.waveform import windows
from tests.voltage.streams import rows_of, run

LEVEL = 230 * np.sqrt(2)
RATES = [(1000.0, 50.0), (1000.0, 60.0), (400.0, 50.0), (6400.0, 60.0), (500.0, 12.3)]


def sine(rate, nominal, n, rng, level=LEVEL, noise=1.0, phase=None, frequency=None):
    phase = rng.uniform(0, 2 * np.pi) if phase is None else phase
    angle = 2 * np.pi * (frequency or nominal) / rate * np.arange(n) + phase
    return level * np.sin(angle) + noise * rng.standard_normal(n)


def stream(wave, rate=1000.0, key=0):
    n = len(wave)
    return rows_of(np.full(n, key), np.round(np.arange(n) * 1e9 / rate), wave)


def trained(rate=1000.0, nominal=50.0, level=LEVEL, noise=1.0, count=200, **settings):
    detector = Mains("v", sampling_rate=rate, nominal=nominal, **settings)
    rng = np.random.default_rng(7)
    detector.fit(
        np.array(
            [
                sine(
                    rate,
                    nominal,
                    detector.size,
                    rng,
                    level,
                    noise,
                    frequency=nominal + 0.02 * rng.standard_normal(),
                )
                for _ in range(count)
            ]
        )
    )
    return detector


def spoil(kind, wave, rate, nominal, level=LEVEL):
    n, period = len(wave), rate / nominal
    first, last = int(0.3 * n), int(0.3 * n) + round(4 * period)
    angle = 2 * np.pi * nominal / rate * np.arange(n)
    wave = wave.copy()
    match kind:
        case "sag":
            wave[first:last] *= 0.6
        case "swell":
            wave[first:last] *= 1.3
        case "interruption":
            wave[first:last] *= 0.02
        case "transient":
            wave[first] += 1.5 * level
        case "dc offset":
            wave += 0.1 * level
        case "harmonics":
            wave += 0.08 * level * np.sin(3 * angle + 1)
        case "stuck":
            top = first + int(np.argmax(np.abs(wave[first : first + round(period)])))
            wave[top : top + round(4 * period)] = wave[top]
        case "noise":
            wave[first:last] += 0.12 * level * np.random.default_rng(3).standard_normal(last - first)
        case "frequency deviation":
            wave = level * np.sin(angle * 0.97 + 1)
        case "notch":
            wave = np.where((angle / np.pi + 0.3) % 1 < 0.06, 0.4 * wave, wave)
        case "flicker":
            wave *= 1 + 0.05 * np.sin(angle * 0.3 + 0.7)
        case "interharmonics":
            wave += 0.06 * level * np.sin(angle * 2.6 + 1)
        case "phase jump":
            wave = level * np.sin(angle + np.where(np.arange(n) < n // 2, 0.0, 0.6))
    return wave


@pytest.mark.parametrize(("rate", "nominal"), RATES)
@pytest.mark.parametrize("kind", [name for name in NAMES if name != "notch"])
def test_a_disturbance_is_found_and_named_at_any_rate(kind, rate, nominal):
    detector = trained(rate, nominal)
    wave = spoil(kind, sine(rate, nominal, detector.size, np.random.default_rng(5)), rate, nominal)
    out = detector.process(stream(wave, rate))
    assert out.values["anomaly"].tolist() == [1.0]
    assert out.texts["disturbance"].tolist() == [kind]


@pytest.mark.parametrize(
    "kind", ["swell", "interruption", "frequency deviation", "phase jump", "dc offset", "stuck"]
)
def test_a_disturbance_of_half_of_a_short_window_is_named(kind):
    detector = trained(window=200)
    wave = sine(1000, 50, 200, np.random.default_rng(5), phase=0.4)
    spoiled = spoil(kind, wave, 1000, 50)
    if kind == "swell":
        spoiled = np.concatenate([wave[:90], 1.15 * wave[90:190], wave[190:]])
    out = detector.process(stream(spoiled))
    assert out.texts["disturbance"].tolist() == [kind]


@pytest.mark.parametrize("kind", [None, "sag", "transient", "harmonics", "noise", "dc offset"])
def test_a_mains_with_harmonics_of_its_own_learns_them(kind):
    rng = np.random.default_rng(12)
    angle = 2 * np.pi * 50 / 2000 * np.arange(52_000) + 0.5
    own = LEVEL * (np.sin(angle) + 0.03 * np.sin(5 * angle + 1) + 0.02 * np.sin(3 * angle))
    wave = own + rng.standard_normal(len(own))
    match kind:
        case "sag":
            wave[50_600:50_800] *= 0.8
        case "transient":
            wave[50_600] += 150
        case "harmonics":
            wave[50_600:] += 0.05 * LEVEL * np.sin(11 * angle[50_600:])
        case "noise":
            wave[50_600:50_800] += 20 * rng.standard_normal(200)
        case "dc offset":
            wave[50_600:] += 20
    out = Mains("v", sampling_rate=2000, learn=20, hop=200).process(stream(wave, 2000))
    end = out.at + 1
    assert not (out.values["anomaly"][end <= 50_600] == 1).any()
    assert {name for name, e in zip(out.texts["disturbance"].tolist(), end, strict=True) if e >= 51_400} == {kind}


def test_commutation_notches_are_named_where_samples_show_them():
    detector = trained(6400, 60)
    wave = spoil("notch", sine(6400, 60, detector.size, np.random.default_rng(5)), 6400, 60)
    out = detector.process(stream(wave, 6400))
    assert out.texts["disturbance"].tolist() == ["notch"]
    assert out.values["size"][0] == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("kind", ["none", "none_random_phase", "none_mains_drift_20mHz"])
def test_normal_operation_is_quiet(kind):
    detector = trained()
    for wave in windows(kind, 40, np.random.default_rng(11), noise=1.0).waves:
        out = fresh(detector).process(stream(wave))
        assert out.values["anomaly"].tolist() == [0.0]
        assert out.texts["disturbance"].tolist() == [None]


def test_a_flicker_tells_its_depth_and_frequency():
    detector = trained()
    wave = sine(1000, 50, 1000, np.random.default_rng(5))
    wave *= 1 + 0.04 * np.sin(2 * np.pi * 8.8 * np.arange(1000) / 1000)
    out = detector.process(stream(wave))
    (said,) = out.lists["evidence"]
    assert out.texts["disturbance"].tolist() == ["flicker"]
    assert said["size"] == pytest.approx(0.04, rel=0.03)
    assert said["component_hz"] == pytest.approx(8.8, abs=0.1)
    assert said["duration_s"] == 1.0


def test_an_interharmonic_tells_its_size_and_frequency():
    detector = trained()
    wave = sine(1000, 50, 1000, np.random.default_rng(5))
    wave += 0.05 * LEVEL * np.sin(2 * np.pi * 183 * np.arange(1000) / 1000)
    out = detector.process(stream(wave))
    (said,) = out.lists["evidence"]
    assert out.texts["disturbance"].tolist() == ["interharmonics"]
    assert (said["size"], said["size_unit"]) == (pytest.approx(0.05, rel=0.1), "of the fundamental")
    assert said["component_hz"] == pytest.approx(183, abs=0.5)


def test_two_sags_are_no_flicker():
    detector = trained()
    wave = sine(1000, 50, 1000, np.random.default_rng(5))
    wave[200:300] *= 0.9
    wave[600:700] *= 0.9
    assert detector.process(stream(wave)).texts["disturbance"].tolist() == ["sag"]


def test_depth_and_duration_are_those_of_the_sag():
    detector = trained(hop=1000)
    wave = sine(1000, 50, 1000, np.random.default_rng(1))
    wave[400:500] *= 0.7
    out = detector.process(stream(wave))
    assert out.values["size"][0] == pytest.approx(0.3, abs=0.01)
    assert out.values["duration"][0] == pytest.approx(0.1, abs=0.01)
    assert out.values["frequency"][0] == pytest.approx(50, abs=0.01)
    assert out.values["rms_min"][0] == pytest.approx(0.7 * 230, rel=0.01)


def disturbed(seed, n=3000, series=2):
    rng = np.random.default_rng(seed)
    waves = [sine(200, 10, n, rng, level=10, noise=0.05) for _ in range(series)]
    for wave in waves:
        place = int(rng.integers(n // 3, n - 100))
        wave[place : place + 40] *= rng.choice([0.2, 1.5])
        wave[rng.integers(0, n, 2)] = np.nan
        wave[rng.integers(0, n)] = np.inf
    key = np.tile(np.arange(series), n)
    key[rng.integers(0, len(key), 3)] = -1
    return rows_of(key, np.repeat(np.arange(n) * 5_000_000, series), np.stack(waves, axis=1).ravel())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 3), st.lists(st.integers(0, 6000), max_size=8), st.integers(7, 150), st.booleans())
def test_cuts_change_nothing(seed, cuts, hop, taught):
    rows = disturbed(seed)
    model = trained(200, 10, 10, 0.05, count=20, window=200)

    def make():
        return fresh(model) if taught else Mains("v", 200, 10, window=200, hop=hop, learn=5)

    whole = run(make(), rows)
    assert whole
    assert run(make(), rows, cuts, save=True) == whole
    assert run(make(), rows, range(1, 6000, 211)) == whole


def test_a_sample_a_call_changes_nothing():
    rows = disturbed(2, n=500)
    whole = run(Mains("v", 200, 10, window=100, hop=9, learn=3), rows)
    assert run(Mains("v", 200, 10, window=100, hop=9, learn=3), rows, range(1, 1000)) == whole


def test_a_series_without_a_model_learns_then_finds():
    rng = np.random.default_rng(4)
    wave = sine(1000, 50, 40_000, rng, phase=0.0)
    wave[35_000:35_100] *= 0.5
    out = Mains("v", learn=20, hop=100).process(stream(wave))
    end = (out.at + 1) / 1000
    assert np.isnan(out.values["score"][end < 19.9]).all()
    assert set(out.texts["reason"].tolist()) == {"still learning what is normal", None}
    alarm = out.values["anomaly"] == 1
    assert alarm[(end > 35.05) & (end <= 36)].all()
    assert not alarm[(end < 35) | (end > 36.1)].any()
    assert {name for name in out.texts["disturbance"].tolist() if name} == {"sag"}


def test_a_machine_may_vary_as_it_is_told_it_may():
    rng = np.random.default_rng(9)
    strength = 1 + 0.2 * np.sin(np.arange(60_000) / 9000)
    wave = strength * sine(500, 24.7, 60_000, rng, level=2.0, noise=0.02)
    settings = {"sampling_rate": 500, "nominal": 24.7, "window": 1000, "hop": 250, "learn": 20}
    loose = Mains("v", **settings, level_tolerance=0.5, sag=1.0).process(stream(wave, 500))
    strict = Mains("v", **settings).process(stream(wave, 500))
    assert not (loose.values["anomaly"] == 1).any()
    assert (strict.values["anomaly"] == 1).any()


def test_the_score_does_not_depend_on_the_unit():
    volts, millivolts = trained(level=325, noise=1), trained(level=1000 * LEVEL, noise=1000)
    wave = sine(1000, 50, 1000, np.random.default_rng(3))
    wave[300:340] *= 0.9
    one, other = (d.process(stream(w)) for d, w in ((volts, wave), (millivolts, 1000 * wave)))
    assert other.values["score"] == pytest.approx(one.values["score"], rel=1e-6)
    assert other.texts["disturbance"].tolist() == one.texts["disturbance"].tolist()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda t, v: (t, np.where(np.arange(1000) == 5, np.inf, v)), "a sample is not finite"),
        (lambda t, v: (t * 2, v), "not the sampling rate"),
        (lambda t, v: (t + np.where(np.arange(1000) > 500, 9_000_000, 0), v), "samples are missing"),
    ],
)
def test_what_cannot_be_measured_is_nan_with_a_reason(damage, reason):
    time, wave = damage(np.arange(1000) * 10**6, sine(1000, 50, 1000, np.random.default_rng(0)))
    out = trained().process(rows_of(np.zeros(1000), time, wave))
    assert np.isnan(out.values["score"]).all()
    assert np.isnan(out.values["anomaly"]).all()
    assert out.texts["reason"].tolist() == [reason]


@pytest.mark.parametrize("wave", [np.zeros(1000), np.full(1000, 5.0), np.full(1000, -1e9), np.full(1000, 1e-300)])
def test_a_constant_is_a_finite_score_never_zero(wave):
    out = trained().process(stream(wave))
    assert np.isfinite(out.values["score"]).all()
    assert out.values["anomaly"].tolist() == [1.0]


def test_a_series_without_a_sine_says_so():
    out = Mains("v", learn=2, hop=1000).process(stream(np.random.default_rng(0).standard_normal(4000)))
    assert out.texts["reason"].tolist()[2:] == ["no sine near the nominal frequency"] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nominal": 300}, "at least 1200 samples a second"),
        ({"window": 30}, "three periods"),
        ({"learn": 1}, "at least 2 windows"),
    ],
)
def test_a_wrong_setting_is_a_clear_error(settings, message):
    with pytest.raises(ValueError, match=message):
        Mains("v", **settings)


def test_a_saved_model_scores_the_same(tmp_path):
    detector = trained()
    path = tmp_path / "model.json"
    path.write_text(detector._shared.to_text())
    table = {"type": "mains", "metric": "v", "model": str(path)}
    wave = sine(1000, 50, 3000, np.random.default_rng(8))
    again = build("detector", "detector.wave", table)
    assert run(again, stream(wave)) == run(detector, stream(wave))
    with pytest.raises(ConfigError, match=r"detector\.wave: the model is for windows of"):
        build("detector", "detector.wave", table | {"window": 500})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"detector\.wave: cannot read the model .*model\.json: No such file"),
        (b"{}", "detector.wave: the model of the wave was learned by another version"),
        (b"[]", "model.json is not a model of a wave"),
        (b"{", r"model\.json is not a model of a wave: Expecting"),
        (b"\xff", "model.json is no text in UTF-8"),
    ],
)
def test_a_file_that_is_no_model_is_a_clear_error(tmp_path, content, message):
    path = tmp_path / "model.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        build("detector", "detector.wave", {"type": "mains", "metric": "v", "model": str(path)})


def test_the_key_of_a_file_may_be_empty_but_no_number():
    assert build("detector", "detector.wave", {"type": "mains", "metric": "v", "model": ""}).model is None
    with pytest.raises(ConfigError, match=r"detector\.wave\.model: Input should be a valid string"):
        build("detector", "detector.wave", {"type": "mains", "metric": "v", "model": 7})


def test_the_tracked_sine_is_the_least_squares_fit():
    rng = np.random.default_rng(2)
    x = sine(1000, 50, 200, rng, noise=20)[None, :] + 40
    track = follow(x, 0.05)
    for place in (0, 37, 180):
        t = np.arange(place, place + 20)
        angle = 2 * np.pi * track.frequency[0] * t
        basis = np.stack([np.cos(angle), np.sin(angle), np.ones(20)], axis=1)
        (a, b, c), *_ = np.linalg.lstsq(basis, x[0, t], rcond=None)
        assert track.amplitude[0, place] == pytest.approx(np.hypot(a, b), rel=1e-9)
        assert track.phase[0, place] == pytest.approx(np.arctan2(-b, a), abs=1e-9)
        assert track.offset[0, place] == pytest.approx(c, rel=1e-9)
        left = np.sqrt(np.mean((x[0, t] - basis @ [a, b, c]) ** 2))
        assert track.remainder[0, place] == pytest.approx(left, rel=1e-6)


def test_a_window_without_any_value_is_nan_with_a_reason():
    rows = rows_of(np.zeros(2500), np.arange(2500) * 10**6, np.full(2500, np.nan))
    for detector in (Mains("v"), TutorialKL("v"), Spectral("v", 1000.0, window=1000)):
        out = detector.process(rows)
        assert out.texts["reason"].tolist() == ["samples are missing"] * 2
        assert np.isnan(out.values["score"]).all()
        assert len(detector.process(rows_of([], [], []))) == 0


WILD = st.sampled_from([0.0, -0.0, 1e-300, 5e-324, 1.0, -325.0, 1e9, -1e100, 1e101, 1e308, np.inf, -np.inf])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 200), WILD), max_size=6),
    st.sampled_from([0, 1, 1e-290, 1e90]),
)
def test_whatever_the_samples_the_score_is_finite_or_nan_with_a_reason(places, scale):
    wave = scale * sine(200, 10, 200, np.random.default_rng(0), level=10, noise=0.05, phase=0.1)
    for first, length, value in places:
        wave[first : first + length] = value
    for detector in (
        fresh(WILD_MODEL),
        Mains("v", 200, 10, window=60, hop=20, learn=2),
        Spectral("v", 200, 64, bands=4, learn=1),
    ):
        out = detector.process(stream(wave, 200))
        score = out.values["score"]
        reason = np.array([word is not None for word in out.texts["reason"].tolist()])
        assert not np.isinf(score).any()
        assert (np.isnan(score) == reason).all()


WILD_MODEL = trained(200, 10, 10, 0.05, count=20, window=200)


def test_another_model_in_the_same_file_is_another_configuration(tmp_path):
    path = tmp_path / "model.json"
    table = {"type": "mains", "metric": "v", "model": str(path)}

    def prints(level):
        path.write_text(trained(level=level)._shared.to_text())
        return fingerprints({"wave": table}, {"wave": build("detector", "detector.wave", table)}, {})

    first = prints(LEVEL)
    assert prints(LEVEL) == first
    assert prints(2 * LEVEL) != first
