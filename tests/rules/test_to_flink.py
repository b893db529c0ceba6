"""Rule sets as Flink SQL: what it says, and what it says it cannot. Real Flink runs it in `make test-flink`."""

from pathlib import Path

import pytest

from agent.cli.main import main
from agent.expressions import Expression
from agent.offline.flink.script import to_flink
from agent.offline.flink.sql import condition, interval
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings, load

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("mean >= 90", "`mean` >= 90"),
        ("a == 1 and not b != 'it''s'", "(`a` = 1 AND NOT (`b` <> 'it''s'))"),
        ("(up - down) / up > 30 %", "((`up` - `down`) / NULLIF(CAST(`up` AS DOUBLE), 0)) > 0.3"),
        ("a in ('x', 'y') or a is null", "(`a` IN ('x', 'y') OR `a` IS NULL)"),
        ("a is not null", "`a` IS NOT NULL"),
        ("running and log(a) > 1.5", "(`running` <> 0 AND LN(`a`) > 1.5)"),
        ("min(a, b) < -3", "LEAST(`a`, `b`) < -(3)"),
        ("a % 2 = 1", "(`a` - NULLIF(CAST(2 AS DOUBLE), 0) * TRUNCATE(`a` / NULLIF(CAST(2 AS DOUBLE), 0), 0)) = 1"),
    ],
)
def test_expressions_in_sql(ours, theirs):
    assert condition(Expression.parse(ours).node) == theirs


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (5 * 10**9, "INTERVAL '5' SECOND"),
        (1500 * 10**6, "INTERVAL '1.500' SECOND(2, 3)"),
        (120 * 10**9, "INTERVAL '2' MINUTE"),
        (101 * 10**9, "INTERVAL '101' SECOND(3)"),
        (0, "INTERVAL '0' SECOND"),
        (86400 * 10**9, "INTERVAL '1' DAY"),
    ],
)
def test_lengths_of_time_in_sql(length, said):
    assert interval(length) == said


def test_a_length_finer_than_a_millisecond_is_refused():
    with pytest.raises(ValueError, match="milliseconds"):
        interval(1)


def test_the_orders_pipelines_are_four_statements(capsys):
    assert main(["rules", "to-flink", "-c", str(CONFIG / "orders-kafka.toml")]) == 0
    script = capsys.readouterr().out
    assert script.count("INSERT INTO") == 4
    assert "CROSS JOIN UNNEST(`list0`.`additionalToppings`)" in script
    assert "WATERMARK FOR `rt` AS `rt` - INTERVAL '5' SECOND" in script
    assert "'connector' = 'upsert-kafka'" in script
    assert "PATTERN (`start` `up` `down`)" in script
    assert "No SQL equivalent" not in script


def test_what_has_no_equivalent_is_said_plainly():
    script = to_flink(build_pipeline(load(CONFIG / "temperature-rules.toml")))
    said = "\n".join(script.missing)
    for name in ("heating_up", "stuck", "often_hot", "silent"):
        assert f"rule {name}: " in said
    assert "rule overheating: the life of an incident" in said
    assert "-- No SQL equivalent:" in str(script)
    assert "out_of_range" not in said


def test_windows_and_detectors_that_flink_lacks_are_named_with_what_reads_them():
    tables = {
        "source": {"a": {"type": "tcp", "port": 1}, "b": {"type": "tcp", "port": 1}},
        "window": {
            "last": {"type": "sliding", "metric": "t", "size": "5s"},
            "five": {"type": "tumbling", "metric": "t", "size": "5s"},
        },
        "rule": {
            "hot": {"on": "last", "when": "mean > 3"},
            "warm": {"on": "five", "when": "mean > 3", "mode": "raw"},
        },
    }
    script = to_flink(build_pipeline(Settings(**tables)))
    assert script.missing == ["last: a window of kind sliding", "rule hot: it reads 'last', which has none"]
    assert "UNION ALL" in str(script)
    assert "Flink closes windows of all series by one watermark" in str(script)


def test_patterns_keep_their_quantifiers_and_bounds():
    pattern = {
        "type": "pattern", "metric": "t", "delay": "2s", "within": "2m", "after_match": "skip to last up",
        "steps": ["start", "down+: < start", "flat{2,3}?", "dip{2}", "rest*?", "maybe?", "up: > last(down, 1)"],
        "measures": {"n": "count(down)", "mean": "avg(down.t)", "at": "up.time", "all": "list(t)", "rows": "count(*)"},
    }  # fmt: skip
    tables = {"source": {"a": {"type": "tcp", "port": 1}}, "rule": {"p": pattern}}
    script = str(to_flink(build_pipeline(Settings(**tables)), insert=False))
    assert (
        "PATTERN (`start` `down`+ `flat`{2,3}? `dip`{2} `rest`*? `maybe`? `up`) WITHIN INTERVAL '2' MINUTE"
        in script
    )
    assert "AFTER MATCH SKIP TO LAST `up`" in script
    assert "`up` AS `up`.`t` > LAST(`down`.`t`, 1)" in script
    assert "AVG(`down`.`t`) AS `mean`" in script
    assert "`up`.`rt` AS `at`" in script
    assert "LISTAGG(CAST(`t` AS STRING), ',') AS `all`" in script
    assert "COUNT(*) AS `rows`" in script


def test_readings_of_a_codec_without_fields_are_expected_as_json():
    script = str(to_flink(build_pipeline(load(CONFIG / "serial-waveform.toml"))))
    assert "does not read JSON; the same readings are expected as JSON in Kafka." in script
    assert "`machine` STRING" in script
