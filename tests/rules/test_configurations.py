"""The ready-made rule sets: each loads, and on its simulator each rule has something to say."""

from pathlib import Path

import orjson
import pytest

from agent.components import ConfigError
from agent.compose import compose
from agent.messages import encode
from agent.settings import load

CONFIG = Path(__file__).parents[2] / "config"
NAMES = ("orders", "orders-kafka", "temperature-rules", "vibration-rules")
START = 1_700_000_000 * 10**9


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_makes_an_engine(name):
    parts = compose(load(CONFIG / f"{name}.toml"))
    assert set(parts.engine().labels) == set(parts.rules)


@pytest.mark.parametrize(
    ("name", "source", "seconds"), [("orders", "orders", 120), ("temperature-rules", "machines", 600)]
)
def test_its_rules_have_something_to_say(name, source, seconds):
    parts = compose(load(CONFIG / f"{name}.toml"))
    engine, spoke, bodies = parts.engine(), set(), []
    for batch in parts.sources[source].blocks(START):
        decisions = engine.process(batch)
        spoke |= set(decisions.raw) | {alert.rule for alert in decisions.alerts}
        bodies += [message.body for message in encode(decisions, engine, parts.identity)]
        if batch.time[-1] > START + seconds * 10**9:
            break
    assert spoke >= set(parts.rules) - {"silent", "stuck", "heating_up", "agent_disk"}
    assert all(orjson.loads(body)["specversion"] == "1.0" for body in bodies if body)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rule.trend.steps=['a: >', 'b']", "character 2"),
        ("rule.trend.metric='orders'", "nr_orders"),
        ("rule.popular.where='nr_order > 10'", "nr_orders"),
        ("rule.popular.where='nr_orders >> 10'", "character 12"),
        ("rule.too_many.when='nr_bad_items'", ""),
        ("window.per_5s.size='0s'", "longer than zero"),
        ("rule.trend.steps=['a', 'b*: > a', 'c']", "most_rows"),
    ],
)
def test_a_mistake_is_refused_with_place_and_remedy(override, said):
    settings = load(CONFIG / "orders.toml", [override])
    if not said:  # a bare number is a condition: true where it is not 0
        compose(settings)
        return
    with pytest.raises(ConfigError) as caught:
        compose(settings)
    path = override.partition("=")[0].rpartition(".")[0]
    assert path in str(caught.value)
    assert said in str(caught.value)
