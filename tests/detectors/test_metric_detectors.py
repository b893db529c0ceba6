"""What each detector is for, on the smallest signal that shows it, and its value from scratch."""

import math

import numpy as np
import pytest

from agent.detectors.ensembles.anomaly_rate import AnomalyRate
from agent.detectors.ensembles.calibrated import Calibrated
from agent.detectors.ensembles.combined import Combined
from agent.detectors.univariate.contexts import Contexts
from agent.detectors.univariate.cusum import Cusum
from agent.detectors.univariate.ewma import Ewma
from agent.detectors.univariate.neighbour import Neighbour
from agent.detectors.univariate.noise_burst import NoiseBurst
from agent.detectors.univariate.page_hinkley import PageHinkley
from agent.detectors.univariate.robust_z import RobustZ
from agent.detectors.univariate.seasonal import Seasonal
from agent.detectors.univariate.spike import Spike
from agent.detectors.univariate.stuck import Stuck
from sensors.units import Duration
from tests.detectors.detector_tables import table

HOUR = 3600 * 10**9


def scores(detector, x, step=HOUR, name="x"):
    return detector.process(table(np.zeros(len(x)), {name: x}, time=10**18 + step * np.arange(len(x)))).values[
        "score"
    ]


def test_stuck_counts_rows_since_the_last_move():
    x = [1.0, 2.0, 2.0, 2.0, 2.0, 3.0]
    got = scores(Stuck("x", rows=2), x)
    assert np.isnan(got[:2]).all()
    assert got[2:].tolist() == [0.5, 1.0, 1.5, 0.0]


def test_stuck_overlooks_steps_within_the_tolerance():
    x = np.array([0.0, 1.0, 1.05, 0.97, 1.02, 1.0])
    assert scores(Stuck("x", rows=1, tolerance=0.1), x)[-1] == 4.0


def test_a_value_usual_at_noon_is_strange_at_midnight():
    rng = np.random.default_rng(0)
    hour = np.arange(24 * 30)
    x = 20 - 8 * np.cos(2 * np.pi * hour / 24) + rng.normal(0, 0.3, len(hour))
    x[600] = 28.0  # midnight, with the value of noon
    got = scores(Seasonal("x"), x)
    assert got[600] == np.nanmax(got)
    assert got[600] > 20


def test_a_machine_has_a_period_of_its_own_that_no_clock_knows():
    """A cycle of 37 rows, of which one is at half height: usual values all along, but not there."""
    rng = np.random.default_rng(0)
    t = np.arange(1500)
    x = 10 * np.sin(2 * np.pi * t / 37) + rng.normal(0, 0.3, 1500)
    x[1200:1237] *= 0.5
    rows = table(np.zeros(1500), {"x": x}, time=10**18 + 10**9 * t)
    out = Seasonal("x").process(rows)
    assert set(out.values["period"][600:]) == {37.0}
    found = out.values["score"]
    assert np.nanmax(found[1200:1237]) > 5 > np.nanmax(found[600:1200])
    by_clock = Seasonal("x", period=Duration("24h")).process(rows).values["score"]
    assert np.nanmax(by_clock[1200:1237]) < 3


def test_a_week_is_a_period_where_its_days_differ():
    rng = np.random.default_rng(0)
    hour = np.arange(24 * 7 * 10)
    weekend = hour // 24 % 7 >= 5
    x = np.where(weekend, 2.0, 20 - 8 * np.cos(2 * np.pi * hour / 24)) + rng.normal(0, 0.3, len(hour))
    x[24 * 7 * 9 + 12] = 2.0  # a Monday like a Sunday
    for period in ("auto", Duration("7d")):
        got = scores(Seasonal("x", period=period), x)
        assert got[24 * 7 * 9 + 12] == np.nanmax(got[24 * 7 * 5 :])
        assert got[24 * 7 * 9 + 12] > 8


def test_an_unseen_shape_within_the_usual_range_is_far_from_every_neighbour():
    t = np.arange(1200)
    x = np.sin(2 * np.pi * t / 40) + np.random.default_rng(0).normal(0, 0.05, 1200)
    x[900:932] = 0.5 * np.sin(2 * np.pi * t[900:932] / 8)
    got = scores(Neighbour("x"), x)
    assert np.nanmax(got[900:935]) > 2 * np.nanmax(got[300:900])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("make", [Ewma, Cusum, PageHinkley, RobustZ, Spike, NoiseBurst, Neighbour])
def test_noise_scores_below_the_default_limit_from_the_first_score_on(make, seed):
    x = np.random.default_rng(seed).normal(0, 1, 400)
    early = scores(make("x"), x)[:150]
    assert (
        np.nanmax(early) < 1.5 * make.default_limit
    )  # a limit is one for long runs; a fresh series is not far above


def test_a_spike_stands_out_and_a_step_is_soon_the_new_level():
    x = np.random.default_rng(0).normal(0, 1, 600)
    x[300] += 30
    x[450:] += 30
    got = scores(Spike("x"), x)
    assert got[300] > 15 * np.nanmedian(got)
    assert (got[454:] < 15 * np.nanmedian(got)).all()


def test_a_burst_of_noise_is_seen_and_a_ramp_is_not():
    x = np.random.default_rng(0).normal(0, 1, 800) + 0.5 * np.arange(800)
    x[500:540] += np.random.default_rng(1).normal(0, 8, 40)
    got = scores(NoiseBurst("x"), x)
    assert np.nanmax(got[505:545]) > 3
    assert np.nanmax(got[100:500]) < 2.5


def test_conformal_scores_are_the_share_of_larger_ones():
    x = np.random.default_rng(0).permutation(100).astype(float)
    got = scores(Calibrated("score", method="conformal", window=50, warmup=2), x, name="score")
    for t in (10, 70, 99):
        past = x[max(0, t - 50) : t]
        assert got[t] == pytest.approx(-math.log10((np.sum(past >= x[t]) + 1) / (len(past) + 1)))


def test_the_tail_likelihood_is_5_for_one_in_a_hundred_thousand():
    x = np.abs(np.random.default_rng(0).normal(1, 0.1, 3000))
    x[2000:2010] += 0.3
    got = scores(Calibrated("x", method="tail"), x)
    assert np.nanmax(got[100:2000]) < 5
    assert np.nanmax(got[2000:2015]) > 5


def test_a_record_has_ratio_1_and_one_event_is_one_alarm():
    x = np.full(300, 1.0)
    x[100:110] = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert scores(Calibrated("x", method="ratio"), x)[100:110].tolist() == pytest.approx([1.0] * 10)
    rested = scores(Calibrated("x", method="ratio", refractory=50, limit=0.99), x)
    assert np.count_nonzero(rested[90:150] >= 0.99) <= 1


def test_the_anomaly_rate_is_the_share_of_strange_metrics_and_names_them():
    values = {name: np.random.default_rng(i).normal(0, 1, 300) for i, name in enumerate("abcd")}
    values["b"][200] += 30
    values["d"][205] += 30
    out = AnomalyRate(tuple("abcd"), hold=10, limit=8.0).process(table(np.zeros(300), values))
    assert out.values["score"][[199, 200, 205, 209, 210, 215]].tolist() == [0.0, 0.25, 0.5, 0.5, 0.25, 0.0]
    assert out.lists["evidence"][206] == {"metrics": ["b", "d"]}
    assert out.lists["evidence"][199] is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stuck("x", rows=0),
        lambda: Neighbour("x", window=12),
        lambda: Seasonal("x", memory=10),
        lambda: Combined("x", parts=("nonsense",)),
        lambda: Calibrated("x", refractory=3),
        lambda: NoiseBurst("x", window=3),
        lambda: Spike("x", half_life=0.0),
    ],
)
def test_an_impossible_configuration_is_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_usual_values_in_an_unusual_order_are_a_new_context():
    steps = np.tile([1.0, 2.0, 3.0, 4.0], 400) + np.random.default_rng(1).normal(0, 0.01, 1600)
    steps[1400:1404] = steps[[1400, 1402, 1401, 1403]]
    got = scores(Contexts("x"), steps)
    assert (got[1401:1404] >= 1).any()
    assert (got[600:1400] < 1).all()


def test_a_context_is_forgotten_after_two_memories():
    x = np.tile([1.0, 2.0, 1.0, 3.0], 400)
    x[[160, 500, 1590]] = 9.0  # new, known, new again
    got = scores(Contexts("x", memory=256), x)
    assert [bool((got[t : t + 4] >= 1).any()) for t in (160, 500, 1590)] == [True, False, True]


def test_a_move_after_a_constant_is_new():
    got = scores(Contexts("x"), [5.0] * 300 + [5.1] + [5.0] * 20)
    assert np.isnan(got[:300]).all()
    assert got[300] > 1


def test_contexts_that_cannot_be_are_refused():
    for wrong in ({"memory": 1000}, {"warmup": 100}, {"refractory": 3}, {"memory": 64, "warmup": 128}):
        with pytest.raises(ValueError, match="rows"):
            Contexts("x", **wrong)
