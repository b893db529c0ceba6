"""The language of conditions: what it means, and how it complains."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.expressions import Expression, ExpressionError
from agent.expressions.rounding import round_half_even
from sensors.batch import Text

NAN = math.nan


def rows(texts=None, **columns):
    n = len(next(iter(columns.values()))) if columns else len(next(iter((texts or {}).values())).codes)
    zeros = np.zeros(n, np.int64)
    values = {name: np.array(column, dtype=float) for name, column in columns.items()}
    return Rows(zeros, zeros, zeros, np.arange(n), values, 0, texts or {})


def evaluate(text, table):
    return Expression.parse(text).evaluate(table).tolist()


TABLE = rows(
    {"status": Text(("FAIL", "OK", "TEMP_HIGH"), np.array([0, 1, 2, -1], np.int32))},
    temp=[80.0, 90.0, NAN, 85.0],
    zero=[0, 0, 0, 0],
    n=[1, 2, 3, 4],
    **{"motor.temp": [1.0, 2.0, 3.0, 4.0]},
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("temp > 85", [0, 1, NAN, 0]),
        ("temp >= 85", [0, 1, NAN, 1]),
        ("status in ('FAIL', 'TEMP_HIGH') or temp > 84", [1, 1, 1, 1]),
        ("status = 'FAIL' and temp > 79", [1, 0, 0, NAN]),
        ('not status = "OK"', [1, 0, 1, NAN]),
        ("status <> 'OK'", [1, 0, 1, NAN]),
        ("status NOT IN ('OK')", [1, 0, 1, NAN]),
        ("temp is null", [0, 0, 1, 0]),
        ("status is not null", [1, 1, 1, 0]),
        ("temp between 80 and 85", [1, 0, NAN, 1]),
        ("temp not between 80 and 85", [0, 1, NAN, 0]),
        ("n in (1, -3, 4)", [1, 0, 0, 1]),
        ("n + 2 * 3 - -1", [8, 9, 10, 11]),
        ("(n + 2) * 3", [9, 12, 15, 18]),
        ("n % 3", [1, 2, 0, 1]),
        ("-n % 3", [-1, -2, 0, -1]),
        ("n / zero", [NAN] * 4),
        ("n % zero", [NAN] * 4),
        ("n / zero > 1 or n > 2", [NAN, NAN, 1, 1]),
        ("n > 30 %", [1, 1, 1, 1]),
        ("30 % n", [0, 0, 0, 2]),
        ("n * 50 % + 1", [1.5, 2, 2.5, 3]),
        ("n >= 2s and n <= 3000ms", [0, 1, 1, 0]),
        ("min(n, 2) + max(n, 3, temp)", [81, 92, NAN, 87]),
        ("coalesce(temp, n)", [80, 90, 3, 85]),
        ("sqrt(n - 2)", [NAN, 0, 1, math.sqrt(2)]),
        ("log(zero)", [NAN] * 4),
        ("abs(n - 3)", [2, 1, 0, 1]),
        ("motor.temp >= 3", [0, 0, 1, 1]),
        ("`motor.temp` >= 3", [0, 0, 1, 1]),
        ("not n", [0, 0, 0, 0]),
        ("true and n = 1", [1, 0, 0, 0]),
        ("absent > 1", [NAN] * 4),
        ("1 < n", [0, 1, 1, 1]),
        ("'G' > status", [1, 0, 0, NAN]),
    ],
)
def test_an_expression_means_what_sql_people_expect(text, wanted):
    np.testing.assert_array_equal(evaluate(text, TABLE), wanted)


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("round(mean 2) >= 90", 11, "','"),
        ("mean > 'x' and mean < 3", 15, "text"),
        ("1 < b < 3", 6, "between"),
        ("", 0, "empty"),
        ("a b", 2, "operator"),
        ("(a", 2, "')'"),
        ("rond(a)", 0, "round"),
        ("a > 'abc", 4, "never closed"),
        ("a > 5x", 4, "duration"),
        ("a + 'b' > 1", 4, "number"),
        ("a in (1, 'b')", 6, "mixes"),
        ("a in (b)", 6, "quotes"),
        ("a and b + 1", 8, "compare"),
        ("a # 3", 2, "means nothing"),
        ("a >", 3, "ends"),
        ("a not 3", 6, "'in'"),
        ("round(a, b) > 1", 9, "decimals"),
        ("abs() > 1", 0, "argument"),
        ("(a > 1) + 1", 3, "expected a number"),
        ("(a > 1) > (b > 2)", 3, "cannot be compared"),
        ("'text'", 0, "text"),
        ("> 90", 0, "value"),
        ("(" * 51 + "a" + ")" * 51, 50, "nested"),
        ("-" * 500 + "a", 50, "nested"),
    ],
)
def test_a_mistake_is_shown_at_its_character(text, position, hint):
    with pytest.raises(ExpressionError) as caught:
        Expression.parse(text).condition()
    assert caught.value.position == position
    assert hint in caught.value.reason
    shown, caret = str(caught.value).split("\n")[1:]
    assert caret.index("^") == position + 4
    assert shown[4:] == text


def test_an_unknown_column_is_refused_with_the_nearest_name():
    expression = Expression.parse("count > 3 and meen > 80")
    expression.check(["count", "meen"])
    with pytest.raises(ExpressionError, match="did you mean 'mean'") as caught:
        expression.check(["mean", "count"])
    assert caught.value.position == 14
    assert expression.columns == ("count", "meen")


def test_a_condition_without_left_side_is_about_the_subject():
    expression = Expression.parse("> 80 and < 90 or in (1, 2)", subject="n")
    assert expression.columns == ("n",)
    assert expression.evaluate(rows(n=[1, 85, 95])).tolist() == [1, 1, 0]


def test_the_kinds_of_the_columns_are_known():
    expression = Expression.parse("status = 'OK' and temp > 1 and note is null")
    assert dict(expression.kinds) == {"status": "text", "temp": "number", "note": None}


def test_the_opposite_of_unknown_is_unknown():
    expression = Expression.parse("temp > 85")
    np.testing.assert_array_equal(expression.negated().evaluate(TABLE), [1, 0, NAN, 1])
    assert expression.holds(TABLE).tolist() == [False, True, False, False]


def test_a_long_dictionary_costs_only_the_words_that_occur():
    words = tuple(f"w{i}" for i in range(200_000))
    table = rows({"name": Text(words, np.array([7, -1, 199_999], np.int32))})
    np.testing.assert_array_equal(evaluate("name in ('w7', 'w8')", table), [1, NAN, 0])
    expression = Expression.parse("name > 'w1'")
    begin = time.process_time()
    for _ in range(100):
        expression.evaluate(table)
    assert time.process_time() - begin < 0.5  # 200,000 words a hundred times would take several seconds


def test_an_empty_table_gives_an_empty_answer():
    assert evaluate("a > 1 and b = 'x' or 1 > 0", rows(a=[])) == []
    assert Expression.parse("1 > 0").evaluate(rows(a=[])).shape == (0,)


values = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-(10**7), 10**7).map(lambda k: k / 1000),
    st.integers(-(10**6), 10**6).map(lambda k: k / 8),
)


@settings(max_examples=300, deadline=None)
@given(values, st.integers(-5, 15))
def test_round_is_pythons_round(value, digits):
    wanted = round(value, digits) if math.isfinite(value) else value
    for n in (1, 20):  # few are rounded one by one
        assert round_half_even(np.full(n, value), digits).tolist() == [wanted] * n


def test_round_knows_on_which_side_of_a_tie_the_exact_value_is():
    values = [1.005, 2.675, 0.125, 0.375, 1.115, 89.995, 2.5, -2.5, -1.005, 1e22 + 0.5, 5e-324] * 2
    assert round_half_even(np.array(values), 2).tolist() == [round(value, 2) for value in values]
    assert round_half_even(np.array(values), 0).tolist() == [round(value, 0) for value in values]


truths = st.sampled_from([True, False, None])


@given(truths, truths)
def test_and_or_follow_three_valued_logic(a, b):
    def naive_and(x, y):
        return False if x is False or y is False else None if x is None or y is None else True

    def shown(x):
        return NAN if x is None else float(x)

    table = rows(a=[shown(a)], b=[shown(b)])
    opposite = (
        None if (either := naive_and(*(None if x is None else not x for x in (a, b)))) is None else not either
    )
    np.testing.assert_array_equal(evaluate("a and b", table), [shown(naive_and(a, b))])
    np.testing.assert_array_equal(evaluate("a or b", table), [shown(opposite)])


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused_with_a_place_in_it(text):
    complaints = []
    try:
        Expression.parse(text).evaluate(TABLE)
    except ExpressionError as error:
        complaints.append(error.position)
    assert all(0 <= position <= max(len(text), 80) for position in complaints)


def test_pydantic_reads_it_from_text():
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(Expression)
    assert adapter.validate_python("a > 1").columns == ("a",)
    with pytest.raises(ValidationError, match="character 3"):
        adapter.validate_python("a b")
    with pytest.raises(ValidationError, match="as text"):
        adapter.validate_python(3)
