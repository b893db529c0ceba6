"""Averages that forget: where the table of their weights ends, and where a sum has faded to nothing.

Both are places where a row may be reckoned otherwise when it comes first in a call than when it does not.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.base.decay import Decay, _inverse_weights, decay_factor
from tests.detectors.detector_cases import make
from tests.detectors.detector_tables import column, content, run, table

FADING = {
    "calibrated": {},
    "calibrated tail": {"method": "tail"},
    "calibrated at once": {"method": "tail", "smooth": 1.0},
    "cusum": {},
    "ewma": {},
    "ewma slow": {"alpha": 0.01},
    "neighbour": {},
    "noise_burst": {},
    "page_hinkley": {"forget_half_life": 40.0},
    "page_hinkley of all": {"delta": 0.0, "forget_half_life": 2.0},
    "seasonal": {"memory": 64},
    "spike": {},
}
"""Every detector with an average that forgets, and how it is configured."""


def fading(which, half_life):
    return make(which.split(" ")[0], half_life=half_life, **FADING[which])


def same_in_any_cut(which, half_life, x, *cuts):
    rows = table(np.zeros(len(x), int), {"x": x})
    whole = run(fading(which, half_life), rows)
    for some in cuts:
        assert content(run(fading(which, half_life), rows, some)) == content(whole)
    return column(whole)


def table_end(half_life):
    return len(_inverse_weights(Decay(decay_factor(half_life)).w))


@pytest.mark.law2
@pytest.mark.parametrize("which", FADING)
@pytest.mark.parametrize("half_life", [2.0, 3.0, 5.5, 7.3, 10.0])
def test_cuts_about_the_end_of_the_table_of_weights_change_no_bit(which, half_life):
    end = table_end(half_life)
    x = np.random.default_rng(int(10 * half_life)).normal(50, 2, end + 200)
    around = range(end - 20, end + 20)
    singles = [[cut] for cut in (end - 2, end - 1, end, end + 1)]
    same_in_any_cut(which, half_life, x, list(around), [end - 7, end, end + 3], *singles)


@pytest.mark.parametrize("half_life", [2.0, 30.0, 500.0, 2000.0, 50_000.0])
def test_a_weight_is_the_same_wherever_its_row_stands_in_a_matrix(half_life):
    decay = Decay(decay_factor(half_life))
    end = table_end(half_life)
    beyond = int(80 * half_life)
    for place in (end, beyond):
        cells = np.arange(max(place - 5, 0), place + 5)
        alone = [np.ravel(decay.inverse_weight(np.array([cell]), 1))[0] for cell in cells]
        together = np.broadcast_to(decay.inverse_weight(cells[:1], len(cells)), (1, len(cells)))[0]
        assert alone == together.tolist()
        beside_a_new_one = decay.inverse_weight(np.array([-3, int(cells[0])]), len(cells))[1]
        assert alone == beside_a_new_one.tolist()


@pytest.mark.parametrize("which", FADING)
def test_a_sum_that_has_faded_away_is_0_wherever_a_call_ends(which):
    rng = np.random.default_rng(1)
    x = rng.normal(50, 2, 3200)
    x[300:3000] = 0.0
    cuts = np.sort(rng.integers(0, len(x), 60)).tolist()
    same_in_any_cut(which, 2.0, x, list(range(1, len(x), 4)), cuts)


@pytest.mark.parametrize("which", FADING)
@pytest.mark.parametrize("size", [1e-310, 1e-250, 1e-162, 1e-140, 1e-101, 1e-99, 1e-80])
def test_values_next_to_0_change_no_bit_either(which, size):
    rng = np.random.default_rng(2)
    x = rng.normal(50, 2, 600) * size
    x[300:500] *= 1e-3
    cuts = np.sort(rng.integers(0, len(x), 30)).tolist()
    same_in_any_cut(which, 2.0, x, list(range(1, len(x), 2)), cuts)


STRETCH = st.tuples(
    st.sampled_from([0.0, 0.0, 1e-320, 1e-162, 1e-120, 1e-100, 1e-60, 1.0, 1e90]),
    st.booleans(),
    st.integers(1, 1200),
)


@settings(max_examples=12, deadline=None)
@given(
    stretches=st.lists(STRETCH, min_size=2, max_size=5),
    half_life=st.sampled_from([0.3, 1.0, 2.0, 3.7]),
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("which", FADING)
def test_stretches_of_zeros_and_of_anything_change_no_bit(which, stretches, half_life, cuts, seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([size * (rng.normal(0, 1, n) if noise else np.ones(n)) for size, noise, n in stretches])
    same_in_any_cut(which, half_life, x, [round(cut * len(x)) for cut in cuts], range(0, len(x), 9))


def test_a_value_next_to_0_counts_as_0_and_is_told_as_it_is():
    x = np.where(np.arange(200) % 2, 1e-150, -1e-150)
    out = fading("cusum", 500.0).process(table(np.zeros(200, int), {"x": x}))
    assert np.isnan(out.values["score"]).all()
    assert set(out.texts["reason"].tolist()[50:]) == {"no spread"}
    assert np.array_equal(out.values["x"], x)


@pytest.mark.parametrize("half_life", [1e-4, 1e17, float("inf")])
@pytest.mark.parametrize("which", FADING)
def test_a_half_life_that_no_number_can_hold_is_refused(which, half_life):
    with pytest.raises(ValueError, match="half_life"):
        fading(which, half_life)
