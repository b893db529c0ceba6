"""The ready-made rule sets: each loads, and on its simulator each rule has something to say."""

import asyncio
import itertools
from pathlib import Path

import numpy as np
import orjson
import pytest

from agent.runtime.messages import encode
from agent.settings.build import build_pipeline
from agent.settings.registry import ConfigError
from agent.settings.settings import load
from agent.storage.checkpoint import CheckpointStore
from sensors.drivers.simulated.orders import Orders

CONFIG = Path(__file__).parents[2] / "config"
NAMES = ("orders", "orders-kafka", "temperature-rules", "vibration-rules")
START = 1_700_000_000 * 10**9


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_makes_an_engine(name):
    pipeline = build_pipeline(load(CONFIG / f"{name}.toml"))
    assert set(pipeline.engine().labels) == set(pipeline.rules)


@pytest.mark.parametrize(
    ("name", "source", "seconds"), [("orders", "orders", 120), ("temperature-rules", "machines", 600)]
)
def test_its_rules_have_something_to_say(name, source, seconds):
    pipeline = build_pipeline(load(CONFIG / f"{name}.toml"))
    engine, spoke, bodies = pipeline.engine(), set(), []
    for batch in pipeline.sources[source].blocks(START):
        decisions = engine.process(batch)
        spoke |= set(decisions.raw) | {alert.rule for alert in decisions.alerts}
        bodies += [message.body for message in encode(decisions, engine, pipeline.identity)]
        if batch.time[-1] > START + seconds * 10**9:
            break
    assert spoke >= set(pipeline.rules) - {"silent", "stuck", "heating_up", "agent_disk"}
    assert all(orjson.loads(body)["specversion"] == "1.0" for body in bodies if body)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rule.trend.steps=['a: >', 'b']", "character 2"),
        ("rule.trend.metric='orders'", "nr_orders"),
        ("rule.popular.where='nr_order > 10'", "nr_orders"),
        ("rule.popular.where='nr_orders >> 10'", "character 12"),
        ("rule.popular.where='10 < nr_order'", "character 6"),
        ("rule.popular.where=\"nr_orders = 'many'\"", "cannot be compared with a text"),
        ("rule.too_many.when='nr_bad_items'", ""),
        ("window.per_5s.size='0s'", "longer than zero"),
        ("rule.trend.steps=['a', 'b*: > a', 'c']", "most_rows"),
    ],
)
def test_a_mistake_is_refused_with_place_and_remedy(override, said):
    settings = load(CONFIG / "orders.toml", [override])
    if not said:  # a bare number is a condition: true where it is not 0
        build_pipeline(settings)
        return
    with pytest.raises(ConfigError) as caught:
        build_pipeline(settings)
    path = override.partition("=")[0].rpartition(".")[0]
    assert path in str(caught.value)
    assert said in str(caught.value)


def messages(name, lines, sizes, restart):
    """Everything sent for the lines, cut in batches of these sizes, with a checkpoint and a new engine after each."""
    pipeline = build_pipeline(load(CONFIG / f"{name}.toml"))
    codec, engine, sent, first, store = pipeline.sources[SOURCE[name]].codec, pipeline.engine(), [], 0, None
    for size in itertools.cycle(sizes):
        batch = codec.decode(lines[first : first + size], START + 3600 * 10**9)
        first += size
        if batch is not None:
            sent += encode(engine.process(batch), engine, pipeline.identity, metrics=True)
        if restart:
            store = store or CheckpointStore(restart)
            asyncio.run(store.begin(engine.tracked(), engine.common()).write())
            pipeline = build_pipeline(load(CONFIG / f"{name}.toml"))
            engine, store = pipeline.engine(), CheckpointStore(restart)
            saved = store.load()
            assert engine.resume(saved.document, saved) == {}
        if first >= len(lines):
            return sent + encode(engine.finish(), engine, pipeline.identity, metrics=True)
    return sent


SOURCE = {"orders-kafka": "orders", "vibration-rules": "sensors"}


def order_lines(count):
    block = next(iter(Orders(seed=3, rate=3.0).orders(START)))
    return [orjson.dumps(document) for document in block.documents()[:count]]


def vibration_lines(count):
    rng = np.random.default_rng(2)
    level = 3 + 2 * np.abs(np.sin(np.arange(count) / 40)) + rng.normal(0, 0.3, count)
    states = ["RUN", "RUN", "RUN", "FAIL", None]
    return [
        orjson.dumps(
            {"machine": f"p{i % 3}", "ts": START // 10**6 + i * 50, "rms": float(level[i]), "status": states[i % 5]}
        )
        for i in range(count)
    ]


@pytest.mark.law2
@pytest.mark.parametrize(
    ("name", "lines"), [("orders-kafka", order_lines(100)), ("vibration-rules", vibration_lines(450))]
)
@pytest.mark.parametrize("sizes", [(7, 1, 30), (64,)])
def test_how_the_stream_is_cut_and_restarts_change_no_byte(name, lines, sizes, tmp_path):
    whole = messages(name, lines, (len(lines),), None)
    assert len(whole) > 50
    pieces = messages(name, lines, sizes, tmp_path / "state")
    assert sorted(pieces) == sorted(whole)  # a batch sends rule after rule, so only the order between rules differs
    for machine in {message.machine for message in whole}:
        for kind in {message.name for message in whole}:
            mine = [m.id for m in whole if (m.machine, m.name) == (machine, kind)]
            assert [m.id for m in pieces if (m.machine, m.name) == (machine, kind)] == mine
