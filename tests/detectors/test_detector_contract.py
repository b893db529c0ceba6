"""What every detector of the registry keeps, whoever wrote it: the contract that is shipped, and what only ours do.

A detector that needs more than a metric says in `detector_cases.CASES` with which configuration it is run.
"""

import copy
import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.settings.registry import REGISTRY
from agent.testing import check_detector
from tests.detectors.detector_cases import CASES, make, rows_for
from tests.detectors.detector_tables import column, content, part, run, table

NAMES = sorted(REGISTRY["detector"])
DETECTION = Path(__file__).parents[2] / "docs" / "detection.md"


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def skip_if(reason):
    if reason:
        pytest.skip(reason)


def test_every_detector_of_the_registry_is_tested_here():
    assert sorted(CASES) == NAMES


def described(cls):
    return "\n".join(inspect.getdoc(c) or "" for c in cls.__mro__[:-1] if c.__module__.startswith("agent"))


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{check}")
        for name in NAMES
        for check in check_detector(lambda name=name: make(name), lambda seed, name=name: rows_for(name, seed=seed))
    ],
)
def test_contract(check):
    check()


def test_its_module_is_documented_and_its_fields_are_explained(name):
    detector = make(name)
    text = described(type(detector))
    assert inspect.getdoc(type(detector))
    assert inspect.getdoc(inspect.getmodule(type(detector)))
    for item in dataclasses.fields(detector):
        if item.init:
            assert f"{item.name}:" in text, f"{name}.{item.name} is not documented"


def test_it_says_what_scale_and_offset_do_in_its_docstring_and_in_the_docs(name):
    text = " ".join(described(type(make(name))).split())
    assert re.search(r"[Ss]cale", text)
    assert "offset" in text
    (line,) = re.findall(
        rf"^\| `{name}` \| (same|changes)[^|]* \| (same|changes)[^|]* \|$", DETECTION.read_text(), re.M
    )
    stated = ["same" if effect == "same" else "changes" for effect in (CASES[name].scale, CASES[name].offset)]
    assert list(line) == stated


def test_it_has_a_default_limit_that_the_docs_name_or_a_reason_for_none(name):
    limit = make(name).default_limit
    assert (limit is None) == bool(CASES[name].no_limit)
    row = re.search(rf"^\| `{name}` \| [^|]* \| ([^|]*) \| [^|]* \|$", DETECTION.read_text(), re.M)
    if limit is not None and row is not None:
        assert float(row.group(1)) == limit


def test_every_result_belongs_to_rows_of_the_input_in_order(name):
    rows = rows_for(name)
    out = make(name).process(rows)
    assert {column.dtype for column in (out.key, out.start, out.end, out.at)} == {np.dtype(np.int64)}
    if CASES[name].windows:
        assert (np.diff(out.at) >= 0).all()
        assert set(out.key.tolist()) == {0, 1, 2}
        assert (out.start <= out.end).all()
        assert np.isfinite(out.values["score"]).sum() > 15
        return
    known = rows.take(rows.key >= 0)
    assert np.array_equal(out.at, known.at)
    assert np.array_equal(out.key, known.key)
    assert np.array_equal(out.end, known.end)
    assert np.isfinite(out.values["score"]).sum() > 50


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.floats(0, 1), max_size=12))
@pytest.mark.parametrize("name", NAMES)
def test_how_the_stream_is_cut_changes_no_bit(name, seed, cuts):
    rows = rows_for(name, seed=seed)
    places = [round(cut * len(rows)) for cut in cuts]
    assert content(run(make(name), rows, places)) == content(run(make(name), rows))


@pytest.mark.law2
def test_one_row_at_a_time_changes_no_bit(name):
    rows = rows_for(name)
    assert content(run(make(name), rows, range(1, len(rows)))) == content(run(make(name), rows))


def test_long_streams_cut_anywhere_change_no_bit(name):
    rows = rows_for(name, n=5000, series=2)
    assert content(run(make(name), rows, [1, 1777, 1778, 3000, 4097])) == content(run(make(name), rows))


@pytest.mark.law2
@pytest.mark.parametrize(
    "levels", [(0.0, -1.0), (0.0, 1.0, -1.0, 1e-60, -1e-60, 5e-324, -5e-324)], ids=["few", "small"]
)
def test_zeros_and_what_is_next_to_them_change_no_bit_and_no_zero_has_a_sign(name, levels):
    rows = rows_for(name)
    rng = np.random.default_rng(4)
    values = {
        metric: np.where(np.isfinite(x), rng.choice(levels, len(x)), x) + 0.0 for metric, x in rows.values.items()
    }
    rows = dataclasses.replace(rows, values=values)
    whole = run(make(name), rows)
    assert content(run(make(name), rows, range(1, len(rows), 3))) == content(whole)
    for metric, value in whole[0].values.items():
        assert not (np.signbit(value) & (value == 0.0)).any(), metric


FITTED_OTHERWISE = {
    "kl": "it takes a `reference` (`agent.detectors.histograms.reference.fit` makes it of an array)",
    "mains": "it takes windows of a normal wave, or a `model` that `agent calibrate` saved",
    "tutorial_kl": "it takes samples of a normal wave, or a `reference` file",
}


def test_rows_given_ahead_count_as_learnt(name):
    skip_if(FITTED_OTHERWISE.get(name, ""))
    rows = rows_for(name)
    most = len(rows) * 5 // 8
    fitted, live = make(name), make(name)
    fitted.fit(part(rows, 0, most))
    live.process(part(rows, 0, most))
    rest = part(rows, most, len(rows))
    assert content([fitted.process(rest)]) == content([live.process(rest)])


def test_a_forgotten_series_is_like_new_and_the_others_do_not_notice(name):
    rows = rows_for(name, wild=False)
    later = dataclasses.replace(rows, start=rows.start + 2 * 10**14, end=rows.end + 2 * 10**14)
    used = make(name)
    used.process(rows)
    witness = copy.deepcopy(used)
    used.evict(np.array([1, 700]))
    again, fresh, plain = used.process(later), make(name).process(later), witness.process(later)
    assert content([again.take(again.key == 1)]) == content([fresh.take(fresh.key == 1)])
    assert content([again.take(again.key != 1)]) == content([plain.take(plain.key != 1)])


@pytest.mark.parametrize("value", [7.0, 0.0, np.nan, np.inf, 3e250], ids=str)
def test_what_says_nothing_gives_nan_with_a_reason(name, value):
    if value in (7.0, 0.0):
        skip_if(CASES[name].constant)
    rows = rows_for(name)
    flat = table(np.zeros(len(rows)), {n: np.full(len(rows), value) for n in "xyz"}, time=rows.end)
    out = make(name).process(flat)
    assert len(out) > 0
    assert np.isnan(out.values["score"]).all()
    assert all(out.texts["reason"].tolist())


def test_a_constant_that_has_a_score_has_a_finite_one_and_the_reason_stands_above(name):
    if not CASES[name].constant:
        pytest.skip("a constant has no score")
    rows = rows_for(name)
    flat = table(np.zeros(len(rows)), {n: np.full(len(rows), 7.0) for n in "xyz"}, time=rows.end)
    assert not np.isinf(make(name).process(flat).values["score"]).any()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_two_samples_say_nothing(name, n):
    out = make(name).process(table(np.zeros(n), {m: [1.0, 2.0][:n] for m in "xyz"}))
    assert np.isnan(out.values["score"]).all()
    assert all(out.texts["reason"].tolist())


def test_nothing_is_ever_infinite_and_every_nan_has_a_reason(name):
    rng = np.random.default_rng(1)
    x = rng.choice([0.0, 1.0, -1.0, 1e-300, 1e99, -1e99, np.nan, np.inf, 1e308, 5.0], 2000)
    time = rows_for(name, n=2000, series=2).end
    out = make(name).process(table(rng.integers(0, 2, 2000), {"x": x, "y": x[::-1], "z": 0.5 * x}, time=time))
    score = out.values["score"]
    assert len(out) > 0
    assert not np.isinf(score).any()
    assert [bool(text) for text in out.texts["reason"].tolist()] == np.isnan(score).tolist()


def test_a_missing_column_gives_nan_with_a_reason(name):
    time = rows_for(name, series=1).end
    out = make(name).process(table(np.zeros(len(time)), {"other": np.arange(float(len(time)))}, time=time))
    assert len(out) > 0
    assert np.isnan(out.values["score"]).all()
    assert set(out.texts["reason"].tolist()) <= {"missing", "no reading", "samples are missing"}


def test_a_column_that_goes_missing_and_comes_back_does_not_break_it(name):
    rows = rows_for(name, wild=False, n=2 * CASES[name].length)
    third = len(rows) // 3
    gone = part(rows, third, 2 * third)
    gone = dataclasses.replace(gone, values={"other": np.zeros(len(gone))})
    detector = make(name)
    found = [detector.process(piece) for piece in (part(rows, 0, third), gone, part(rows, 2 * third, len(rows)))]
    for out in found:
        assert not np.isinf(out.values["score"]).any()
        assert [bool(text) for text in out.texts["reason"].tolist()] == np.isnan(out.values["score"]).tolist()
    assert np.isfinite(found[2].values["score"]).any()


def test_a_sampling_rate_that_changes_gives_a_score_or_a_reason(name):
    rows = rows_for(name, series=1, wild=False)
    step = np.diff(rows.end, prepend=rows.end[0])
    for factor in (10, 0.1):
        slower = np.where(np.arange(len(rows)) > len(rows) // 2, factor, 1) * step
        time = rows.end[0] + np.cumsum(slower).astype(np.int64)
        out = make(name).process(dataclasses.replace(rows, start=time, end=time))
        score = out.values["score"]
        assert len(out) > 0
        assert not np.isinf(score).any()
        assert [bool(text) for text in out.texts["reason"].tolist()] == np.isnan(score).tolist()


def test_a_clear_fault_scores_above_everything_normal(name):
    skip_if(CASES[name].shift)
    rng = np.random.default_rng(3)
    x = rng.normal(10, 1, 1500)
    x[1200:1260] += 25
    columns = {"x": x, "y": x + rng.normal(0, 1, 1500), "z": rng.normal(size=1500)}
    time = rows_for(name, n=1500, series=1).end
    out = make(name).process(table(np.zeros(1500), columns, time=time))
    score, when = out.values["score"], (out.end - time[0]) / (time[1] - time[0])
    fault, normal = (when >= 1200) & (when < 1320), (when >= 600) & (when < 1200)
    assert np.nanmax(score[fault]) > np.nanmax(score[normal])


MOVES = [(1024.0, 0.0), (1000.0, 0.0), (1.0, 1e6), (0.001, -5.0)]


@pytest.mark.parametrize(("scale", "offset"), MOVES)
def test_scale_and_offset_of_the_metric_do_what_is_stated(name, scale, offset):
    case = CASES[name]
    if case.ties and (scale, offset) != MOVES[0]:
        pytest.skip(case.ties)
    rows = rows_for(name, wild=False)
    moved = table(rows.key, {n: scale * x + offset for n, x in rows.values.items()}, time=rows.end)
    a, b = column(run(make(name), rows)), column(run(make(name), moved))
    stated = case.offset if offset else case.scale
    if stated == "same":
        assert np.array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    else:
        assert not np.allclose(a, b, rtol=1e-2, equal_nan=True), stated


def test_it_names_the_columns_it_reads_and_gives(name):
    detector, rows = make(name), rows_for(name)
    out = detector.process(rows)
    assert set(detector.outputs()) == {*out.values, *out.texts}
    assert set(detector.texts) == set(out.texts)
    assert detector.inputs()
    assert set(detector.inputs()) <= set(rows.values)
