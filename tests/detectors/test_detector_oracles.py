"""Each kernel against its obvious slow version."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.cusum import Cusum
from agent.detectors.ewma import Ewma
from agent.detectors.page_hinkley import PageHinkley
from agent.detectors.robust_z import RobustZ
from agent.detectors.rounds import rounds
from agent.detectors.spatial import Spatial
from tests import naive_detectors as naive
from tests.detectors.detector_tables import table

CASES = [
    (Ewma, naive.ewma, {"alpha": 0.2, "half_life": 20.0, "warmup": 5}),
    (Ewma, naive.ewma, {"alpha": 0.9, "half_life": 300.0}),
    (Cusum, naive.cusum, {"slack": 0.5, "half_life": 50.0, "warmup": 10}),
    (PageHinkley, naive.page_hinkley, {"delta": 0.1, "forget_half_life": 40.0, "half_life": 60.0}),
    (Spatial, naive.spatial, {"warmup": 4}),
    (RobustZ, naive.robust_z, {"window": 9, "warmup": 3}),
    (RobustZ, naive.robust_z, {"window": 16, "warmup": 16}),
]


@pytest.mark.parametrize(("cls", "oracle", "options"), CASES, ids=lambda item: getattr(item, "__name__", None))
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), coarse=st.booleans())
def test_the_kernel_equals_the_obvious_version(cls, oracle, options, seed, coarse):
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(5, 2, 220), 0 if coarse else 6)
    x[rng.integers(0, 220)] += 30
    got = cls(metric="x", **options).process(table(np.zeros(220), {"x": x})).values["score"]
    np.testing.assert_allclose(got, oracle(x.tolist(), **options), rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    key=st.lists(st.integers(-1, 6), max_size=60),
    learnt=st.lists(st.integers(0, 20), min_size=7, max_size=7),
    span=st.integers(0, 9),
)
def test_rounds_hand_out_every_row_once_and_each_series_in_order(key, learnt, span):
    key, learnt = np.array(key, np.int64), np.array(learnt)
    seen = {k: [] for k in range(7)}
    for block in rounds(key, learnt, span):
        assert (np.diff(block.keys) > 0).all()
        assert (block.take >= 1).all()
        for line, k in enumerate(block.keys.tolist()):
            row = block.index[line, : block.take[line]].tolist()
            first = learnt[k] + len(seen[k])
            assert not span or first // span == (first + len(row) - 1) // span
            seen[k] += row
    for k, rows in seen.items():
        assert rows == np.flatnonzero(key == k).tolist()
