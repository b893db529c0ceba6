"""What law 2 asks of NumPy on this processor: a value's result does not depend on its place in the array.

`python -m tests.processors` runs this and all tests marked `law2` once for each kind of processor.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import unsigned_zeros
from agent.expressions import Expression
from sensors.batch import Batch
from tests.core.streams import START, pieces, pipeline, said
from tests.processors import found, levels
from tests.windows.streams import rows_of

pytestmark = pytest.mark.law2

ONE = "exp exp2 log log10 log1p sqrt sin cos arcsinh abs square rint floor sign negative"
TWO = "add subtract multiply divide fmod hypot arctan2 power"
COMPLEX = "exp abs multiply"
ROUNDED = {*ONE.split(), *TWO.split()}
"""The functions whose values decide: each of their loops may round otherwise with another instruction set."""
UNUSED = "expm1 log2 tan tanh sinh cosh arcsin arccos arctan cbrt float_power einsum vdot tensordot interp convolve"
PURE = ("windows", "detectors", "rules", "expressions")
RNG = np.random.default_rng(5)
NUMBERS = np.concatenate([
    RNG.normal(0, 1, 500), RNG.uniform(-700, 700, 500), RNG.choice([0.0, -0.0, 5e-324, -5e-324, np.inf, np.nan], 30),
    np.ldexp(RNG.uniform(1, 2, 500), RNG.integers(-1022, 1022, 500)) * RNG.choice([-1, 1], 500),
])  # fmt: skip
RNG.shuffle(NUMBERS)
OTHERS = RNG.permutation(NUMBERS)


def calls():
    for name in ONE.split():
        yield name, (NUMBERS,)
    for name in TWO.split():
        yield name, (NUMBERS, OTHERS)
    for name in COMPLEX.split():
        number = np.cos(NUMBERS[np.abs(NUMBERS) < 1e6]) * (1 + 2j)
        yield name, (number, number[::-1].copy())[: 2 if name == "multiply" else 1]


@pytest.mark.parametrize(("name", "arguments"), [*calls()], ids=lambda item: item if isinstance(item, str) else "")
def test_the_place_in_the_array_changes_no_bit(name, arguments):
    function, n = getattr(np, name), len(arguments[0])
    with np.errstate(all="ignore"):
        whole = function(*arguments)
        for length in (1, 2, 3, 5, 7, 8, 9, 13, 16, 31):
            some = [function(*(a[i : i + length] for a in arguments)) for i in range(0, n, length)]
            assert np.concatenate(some).tobytes() == whole.tobytes(), length
        for step in (2, 3, 7):  # a column of a matrix
            some = function(*(np.repeat(a, step)[::step] for a in arguments))
            assert np.ascontiguousarray(some).tobytes() == whole.tobytes(), step
        assert function(*(np.stack([a, a]) for a in arguments))[1].tobytes() == whole.tobytes()
        assert (
            np.ascontiguousarray(function(*(np.stack([a, a]).T for a in arguments))[:, 1]).tobytes()
            == whole.tobytes()
        )
        alone = np.array([function(*pair) for pair in zip(*arguments, strict=True)])
        assert alone.tobytes() == whole.tobytes()


def test_no_other_function_that_rounds_decides():
    pattern = re.compile(rf"\bnp\.({'|'.join(UNUSED.split())})\(")
    for room in PURE:
        for path in (Path(__file__).parents[2] / "agent" / room).rglob("*.py"):
            used = pattern.findall(path.read_text())
            assert not used, f"{path}: {used}; add it to the functions tried above"


@pytest.mark.parametrize("length", [1, 7, 128, 129, 1000])
def test_sums_along_the_last_axis_do_not_depend_on_the_lines(length):
    lines = RNG.normal(size=(9, length))
    for total in (np.sum, np.mean, np.std, np.cumsum):
        whole = total(lines, axis=1)
        for first in range(9):
            assert total(lines[first : first + 1], axis=1).tobytes() == whole[first : first + 1].tobytes()


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("size", [1, 2000, 20_000])
def test_columns_come_in_contiguous_and_without_signed_zeros(size, zeros):
    column = np.resize(NUMBERS if zeros else NUMBERS[NUMBERS != 0.0], size)
    for given_ in (column, column[::-1], np.repeat(column, 2)[::2], np.stack([column, column], axis=1)[:, 1]):
        before = given_.copy()
        (taken,) = unsigned_zeros({"x": given_}).values()
        assert taken.flags.c_contiguous
        assert taken.tobytes() == (before + 0.0).tobytes()
        assert given_.tobytes() == before.tobytes()


def by_name(messages):
    """The windows of one batch are told one after the other, so across windows the order is that of the batches."""
    return {kind: sorted(found, key=lambda message: message[2]) for kind, found in messages.items()}


ZEROS = [0.0, -0.0, 5e-324, -5e-324, 1.0, -1.0, -0.25, float("nan")]
EVERYTHING = {
    "window": {
        "w": {"type": "hopping", "metric": "x", "size": "4s", "step": "2s",
              "aggregates": ["mean", "min", "max", "sum", "range", "std", "first", "last", "latest", "rate", "median"]},
        "n": {"type": "count", "metric": "x", "count": 3, "aggregates": ["mean", "min", "max"]},
        "s": {"type": "session", "metric": "x", "gap": "2s", "aggregates": ["min", "max"]},
        "l": {"type": "sliding", "metric": "x", "size": "3s", "aggregates": ["min", "max", "p95"]},
        "m": {"type": "count", "on": "n", "metric": "mean", "count": 2, "aggregates": ["min", "max"]},
    },
    "rule": {
        "low": {"when": "min(x, 0) <= 0", "mode": "raw"},
        "mean": {"on": "w", "when": "round(mean, 1) <= 0"},
        "change": {"type": "rate", "metric": "x", "when": "rate >= 0"},
    },
}  # fmt: skip


@given(
    values=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ZEROS)), min_size=1, max_size=60),
    places=st.lists(st.integers(0, 60), max_size=6).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_a_zero_is_told_without_a_sign_however_the_stream_is_cut(values, places):
    values = [(0, -0.0), *values]  # so that something is told
    n = len(values)
    machine = np.array([key for key, _ in values], np.int32)
    time = START + np.arange(n) * 700_000_000
    batch = Batch(("a", "b", "c"), machine, time, {"x": np.array([x for _, x in values])}, int(time[-1]))
    one, many = pipeline(EVERYTHING), pipeline(EVERYTHING)
    whole = by_name(said(one.engine(), one.identity, [batch]))
    assert by_name(said(many.engine(), many.identity, pieces(batch, [min(place, n) for place in places]))) == whole
    bodies = [body for messages in whole.values() for *_, body in messages]
    assert any(b'"value":0.0' in body for body in bodies)
    assert not re.search(rb"-0(\.0+)?[,}\]]", b"".join(bodies))


@pytest.mark.parametrize("text", [
    "-x", "x * -1", "x / -2", "x % 2", "round(x)", "round(x, 1)", "min(x, -y)", "max(-y, x)", "sqrt(-y)", "abs(x)",
    "coalesce(-y, x)", "x * 0.1",
])  # fmt: skip
def test_an_expression_gives_no_signed_zero(text):
    x = np.array([0.0, -0.4, -5e-324, -2.0, 3.0] * 5)
    rows = rows_of([(0, i, value) for i, value in enumerate(x)])
    rows.values["y"] = np.zeros(len(x))
    for some in (rows, rows.take(np.arange(3))):
        value = Expression.parse(text).evaluate(some)
        assert (value == 0).any()
        assert not (np.signbit(value) & (value == 0)).any()


def test_numpy_runs_with_what_it_was_told_to():
    assert not set(os.environ.get("NPY_DISABLE_CPU_FEATURES", "").split()) & set(found())


@pytest.mark.parametrize(
    ("extensions", "wanted"),
    [
        ([], {}),
        (["ASIMDHP", "SVE"], {"baseline": ["ASIMDHP", "SVE"]}),
        (["X86_V3"], {"baseline": ["X86_V3"]}),
        (
            ["X86_V3", "X86_V4", "AVX512_ICL"],
            {"without AVX-512": ["X86_V4", "AVX512_ICL"], "baseline": ["X86_V3", "X86_V4", "AVX512_ICL"]},
        ),
        (["AVX2", "AVX512F"], {"without AVX-512": ["AVX512F"], "baseline": ["AVX2", "AVX512F"]}),
    ],
)
def test_only_what_is_there_is_switched_off(extensions, wanted):
    assert levels(extensions) == wanted
