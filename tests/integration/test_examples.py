"""Every example in config/ is right, and those that simulate their machines raise what they are there to show."""

from collections import Counter
from pathlib import Path

import pytest

from agent.settings.build import build_pipeline
from agent.settings.settings import load
from tests.integration.agent_process import ROOT

EXAMPLES = sorted((ROOT / "config").glob("*.toml"))
SHOWN = {
    "temperature": {"overheating"},
    "voltage": set(),
}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_example_is_right(file: Path):
    assert build_pipeline(load(file)).engine()


@pytest.mark.parametrize("name", list(SHOWN))
async def test_the_simulated_example_raises_what_it_shows(name: str):
    (source,) = load(ROOT / "config" / f"{name}.toml").source
    overrides = [f"source.{source}.{setting}" for setting in ('speed="max"', 'duration="1m"')]
    pipeline = build_pipeline(load(ROOT / "config" / f"{name}.toml", overrides))
    engine, raised = pipeline.engine(), Counter()
    async with pipeline.sources[source] as opened:
        async for batch in opened:
            decisions = engine.process(batch)
            raised.update(alert.rule for alert in decisions.alerts)
            raised.update(rule for rule, rows in decisions.raw.items() if len(rows))
    assert raised
    assert set(raised) >= SHOWN[name]
