"""Which series something happened to most often."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.core.series_counter import SeriesCounter

KEYS = st.lists(st.lists(st.integers(-1, 30), max_size=20), max_size=8)


@given(KEYS, st.integers(0, 5))
def test_the_worst_are_those_that_counting_one_by_one_finds(batches, most):
    counter, naive = SeriesCounter(), {}
    for keys in batches:
        counter.add(np.array(keys, np.int64))
        for key in keys:
            if key >= 0:
                naive[key] = naive.get(key, 0) + 1
    assert list(counter.worst(most).items()) == sorted(naive.items(), key=lambda item: (-item[1], item[0]))[:most]


def test_a_series_that_was_evicted_is_new_again():
    counter = SeriesCounter()
    counter.add(np.array([3, 3, 1]))
    counter.evict(np.array([3, 500]))
    assert counter.worst(10) == {1: 1}
