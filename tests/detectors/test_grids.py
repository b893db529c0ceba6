"""Batches that are a regular grid take a path of their own, and give the same bits as any others."""

import numpy as np
import pytest

from agent.detectors.base.decay import Decay, decay_factor
from agent.detectors.base.series_blocks import Block, RowGrid
from agent.settings.registry import REGISTRY
from tests.detectors.detector_cases import CASES, make
from tests.detectors.detector_tables import content, part, run, table

NAMES = sorted(set(REGISTRY["detector"]) - {name for name, case in CASES.items() if case.windows})


def grid(keys, rows, begin, seed, by_series=False):
    """`rows` rows of each of `keys`, all with a value; instant by instant, or one series after the other."""
    key, number = np.tile(keys, rows), begin + np.repeat(np.arange(rows), len(keys))
    if by_series:
        key, number = np.repeat(keys, rows), begin + np.tile(np.arange(rows), len(keys))
    x = np.random.default_rng(seed).normal(50, 2, len(key)) + 30 * (number % 97 == 50)
    return table(key, {"x": x, "y": 0.5 * x, "z": x * x}, time=10**18 + 10**9 * number)


def batches(series, rows, order):
    """Series that do not begin together, then grids: in step, machines in any order, some of them, one after another."""
    start = grid(np.arange(series), 40, 0, 0)
    yield start.take((start.end - 10**18) // 10**9 >= start.key * 7 % 37)
    yield grid(np.arange(series), rows, 40, 1)
    yield grid(order, rows, 40 + rows, 2)
    yield grid(np.arange(0, series, 2), rows, 40 + 2 * rows, 3)
    yield grid(np.arange(series), rows, 40 + 3 * rows, 4, by_series=True)
    yield grid(np.arange(series), 1, 40 + 4 * rows, 5)


@pytest.mark.law2
@pytest.mark.parametrize("series", [3, 140])
@pytest.mark.parametrize("name", NAMES)
def test_a_grid_gives_the_same_bits_as_its_rows_in_any_cut(name, series):
    rng = np.random.default_rng(series)
    order = rng.permutation(series)
    whole, cut = make(name), make(name)
    for rows in batches(series, 150 if series < 10 else 8, order):
        cuts = np.sort(rng.integers(0, len(rows), 12)).tolist()
        assert content([whole.process(part(rows, 0, len(rows)))]) == content(run(cut, rows, cuts))


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([4], True),
        ([-1], False),
        ([], False),
        ([0, 1, 2, 0, 1, 2], True),
        ([2, 0, 1, 2, 0, 1], True),
        ([0, 0, 1, 1], True),
        ([1, 1, 0, 0], False),  # series by series, but not in order
        ([0, 1, 1, 0], False),
        ([0, 1, 0, 2], False),
        ([0, 1, 2, 0, 1], False),
        ([0, 1, -1], False),
        ([1, 1, 1], True),
        ([5, 3, 5, 3], True),
        ([0, 1, 1, 2], False),
    ],
)
def test_a_grid_is_seen_where_there_is_one(keys, found):
    rows = table(keys, {"x": np.arange(len(keys))})
    shape = RowGrid.of(rows)
    assert (shape is not None) == found
    if shape is not None:
        ordered = shape.matrix(shape.ordered(rows.key))
        assert (ordered == shape.keys[:, None]).all()
        assert np.array_equal(shape.unordered(shape.ordered(rows.at)), rows.at)


@pytest.mark.parametrize("boundary", [0, 4, 16])
def test_grid_blocks_hand_out_every_cell_once_and_cross_no_boundary(boundary):
    rng = np.random.default_rng(0)
    shape = RowGrid.of(table(np.tile(np.arange(30), 21), {}))
    for step in (1, 5):
        learnt = rng.integers(0, step, 30) * 3
        first, at, seen = learnt.copy(), learnt.copy(), np.zeros(30 * 21, np.int64)
        for some in shape.blocks(learnt, boundary, 9, 64):
            if isinstance(some, Block):
                line, take = some.keys, some.valid_length
                assert (some.index[:, 0] // 30 == learnt[line] - first[line]).all()
                seen[some.rows()[2]] += 1
            else:
                line = np.arange(30)[some.lines]
                take = np.full(len(line), some.columns.stop - some.columns.start)
                assert (learnt[line] - first[line] == some.columns.start).all()
                shape.matrix(seen)[some.lines, some.columns] += 1
            assert not boundary or (learnt[line] // boundary == (learnt[line] + take - 1) // boundary).all()
            learnt[line] += take
        assert (seen == 1).all()
        assert (learnt == at + 21).all()


@pytest.mark.parametrize("half_life", [0.2, 1.0, 7.3, 500.0, 12_345.6])
def test_a_decaying_sum_is_the_recursion_however_many_rows_came_before(half_life):
    decay = Decay(decay_factor(half_life))
    x = np.random.default_rng(1).normal(0, 1, (3, min(decay.max_block, 200)))
    take = np.full(3, x.shape[1])
    for count in (0, 4090, 10**9 + 7):
        carry = np.zeros(3)
        got = decay.run(carry, np.array([count, count + 1, count + 5000]), x, take)[:, 1:]
        expected = np.zeros((3, 1))
        for i in range(x.shape[1]):
            expected = expected * decay.w + x[:, i : i + 1]
            np.testing.assert_allclose(got[:, i : i + 1], expected, rtol=1e-9, atol=1e-9)
