"""Bad input for every detector, from the configuration through the engine to what is sent: no crash, nothing infinite,
no silent zero; NaN has its reason, and every alert is JSON.
"""

import json

import numpy as np
import pytest

from agent.alerts.alert import Identity
from agent.alerts.cloudevents import encode_alert
from agent.settings.build import build_pipeline
from agent.settings.registry import REGISTRY
from agent.settings.settings import Settings
from sensors.batch import Batch, tick
from sensors.units import Duration
from tests.detectors.detector_cases import CASES, rows_for
from tests.detectors.detector_tables import START

NAMES = sorted(REGISTRY["detector"])


def words(value):
    """A field's value as TOML has it."""
    if isinstance(value, Duration):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def engine(name):
    table = {key: words(value) for key, value in CASES[name].options.items()}
    return build_pipeline(
        Settings(
            agent={"idle": False},
            detector={"d": {"type": name, **table}},
            rule={"strange": {"on": "d", "when": "score >= 0.5"}},
        )
    ).engine()


def constant(n, rng):
    return np.full(n, 7.0)


def nothing(n, rng):
    return np.full(n, np.nan)


def infinite(n, rng):
    return rng.choice([np.inf, -np.inf, 1e308, -1e308], n)


def two(n, rng):
    return np.where(np.arange(n) < 2, 1.0 + np.arange(n), np.nan)


def stretches_of_nothing(n, rng):
    return np.where(np.arange(n) // 50 % 2 == 0, np.nan, rng.normal(0, 1, n))


def two_levels_far_apart(n, rng):
    return np.where(rng.random(n) < 0.01, 1e99, rng.choice([0.0, 1e-300], n))


def one_value_then_another(n, rng):
    return np.where(np.arange(n) < n // 2, 7.0, 8.0)


TINY = [0.0, 5e-324, -5e-324, 1e-310, 3e-308]  # what is below 2.2e-308 has lost digits, and its inverse is infinite


def tiny(n, rng):
    return rng.choice(TINY, n)


def tiny_steps(n, rng):
    return 5e-324 * rng.integers(0, 50, n)


def tiny_beside_huge(n, rng):
    return rng.choice([*TINY, 1.0, 1e308, -1.7e308], n)


def tiny_then_normal(n, rng):
    return np.where(np.arange(n) < 2 * n // 3, rng.choice(TINY, n), rng.normal(0, 1, n))


def normal_then_tiny(n, rng):
    return np.where(np.arange(n) < 2 * n // 3, rng.normal(0, 1, n), rng.choice(TINY, n))


def tiny_then_huge(n, rng):
    return np.where(np.arange(n) < 2 * n // 3, rng.choice(TINY, n), rng.choice([1e308, -1e308, 1e-310], n))


SIGNALS = (
    constant, nothing, infinite, two, stretches_of_nothing, two_levels_far_apart, one_value_then_another,
    tiny, tiny_steps, tiny_beside_huge, tiny_then_normal, normal_then_tiny, tiny_then_huge,
)  # fmt: skip
SAYS_NOTHING = (nothing, infinite, two)


def told(live, batches):
    """Scores and reasons of all batches, and the alerts as JSON."""
    scores, reasons, alerts = [], [], []
    for batch in batches:
        decided = live.process(batch)
        out = decided.results["d"]
        scores += out.values["score"].tolist()
        reasons += out.texts["reason"].tolist()
        alerts += [message for alert in decided.alerts for message in encode_alert(alert, Identity("s", "a"))]
    return np.array(scores), reasons, alerts


def batches(name, values, times=None, cut=97):
    """One machine; a clock tick after each batch, and at the end a long silence."""
    time = rows_for(name, series=1, n=len(next(iter(values.values())))).end if times is None else times
    for begin in range(0, len(time), cut):
        part = slice(begin, begin + cut)
        now = int(time[part].max())
        columns = {metric: column[part] for metric, column in values.items()}
        yield Batch(("m",), np.zeros(len(time[part]), np.int32), time[part], columns, now)
        yield tick(now + 1000)
    yield tick(int(time.max()) + 10**13)


def check(scores, reasons, alerts):
    assert not np.isinf(scores).any()
    for score, reason in zip(scores, reasons, strict=True):
        if np.isnan(score):
            assert reason
        else:  # the tutorial has a number for a constant window; the reason says what to think of it
            assert reason in (None, "the window is constant")
    for message in alerts:
        if message.body:
            json.loads(message.body, parse_constant=lambda word: pytest.fail(f"{word} in an alert"))


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_bad_values_give_a_score_or_a_reason(name, signal):
    n = CASES[name].length
    rng = np.random.default_rng(1)
    columns = {metric: signal(n, rng) for metric in "xyz"}
    scores, reasons, alerts = told(engine(name), batches(name, columns))
    check(scores, reasons, alerts)
    if signal in SAYS_NOTHING:
        assert len(scores) > 0
        assert np.isnan(scores).all()
        assert not alerts


@pytest.mark.parametrize("name", NAMES)
def test_a_column_that_is_not_there_has_no_score_and_says_so(name):
    n = CASES[name].length
    scores, reasons, alerts = told(engine(name), batches(name, {"other": np.arange(float(n))}))
    check(scores, reasons, alerts)
    assert len(scores) > 0
    assert np.isnan(scores).all()
    assert not alerts


@pytest.mark.parametrize("change", ["faster", "slower", "gap", "backwards", "standing"])
@pytest.mark.parametrize("name", NAMES)
def test_times_that_do_not_go_on_evenly_break_nothing(name, change):
    n = 2 * CASES[name].length
    rows = rows_for(name, series=1, n=n, wild=False)
    step = int(rows.end[1] - rows.end[0])
    later = np.arange(n) > n // 2
    steps = np.where(
        later,
        {"faster": step // 10, "slower": 10 * step, "gap": step, "backwards": step, "standing": 0}[change],
        step,
    )
    steps[n // 2] += {"gap": 500 * step, "backwards": -200 * step}.get(change, 0)
    times = START + np.cumsum(steps)
    columns = {metric: np.asarray(column) for metric, column in rows.values.items()}
    scores, reasons, alerts = told(engine(name), batches(name, columns, times))
    check(scores, reasons, alerts)
    assert np.isfinite(scores).any()


def test_a_reference_with_empty_bins_and_a_window_of_other_values_are_finite():
    for table in (
        {"reference": {"low": 0.0, "high": 1.0, "counts": [0, 100, 0, 0, 0]}, "bins": 3},
        {"reference": {"edges": [0.0, 0.1, 1.0], "counts": [0, 0, 0, 9]}, "bins": 2, "divergence": "js"},
        {"reference": {"low": 0.0, "high": 1.0, "counts": [0, 0, 0]}, "bins": 1 + 1, "divergence": "psi"},
    ):
        settings = Settings(
            agent={"idle": False},
            detector={"d": {"type": "kl", "metric": "x", "size": "10s", "step": "1s", **table}},
            rule={"strange": {"on": "d", "when": "score >= 0.5"}},
        )
        if len(table["reference"]["counts"]) != table["bins"] + 2:
            with pytest.raises(Exception, match="1 bins between its edges, not 2"):
                build_pipeline(settings)
            continue
        time = START + 10**8 * np.arange(600)
        columns = {"x": np.where(np.arange(600) < 300, 0.05, 5.0)}
        scores, reasons, alerts = told(build_pipeline(settings).engine(), batches("kl", columns, time))
        check(scores, reasons, alerts)
        assert np.isfinite(scores).all()
        assert scores.max() > 0.3
