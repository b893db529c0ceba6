"""config/csv.toml on a file such as its head shows: found is what is strange in it; and what help texts name is there."""

import argparse
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from agent.cli import COMMANDS
from agent.cli.main import parser
from agent.settings.build import build_pipeline
from agent.settings.settings import load

ROOT = Path(__file__).parents[2]


def export(path: Path, separator: str = ",", decimal: str = ".") -> Path:
    """Two days, a row a minute, as the head of the example shows; the pressure doubles for ten minutes."""
    rng = np.random.default_rng(0)
    lines = [separator.join(("time", "machine", "pressure", "flow"))]
    for i in range(2880):
        pressure, flow = 3 + 0.1 * rng.normal() + 3 * (2000 <= i < 2010), 41 + rng.normal()
        stamp = f"2026-11-{1 + i // 1440:02d} {i // 60 % 24:02d}:{i % 60:02d}:00"
        cells = (f"{value:.3f}".replace(".", decimal) for value in (pressure, flow))
        lines.append(separator.join((stamp, "pump-1", *cells)))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ",")])
async def test_the_example_finds_what_is_strange_in_a_csv(tmp_path, separator, decimal):
    path = export(tmp_path / "pump.csv", separator, decimal)
    codec = [f'source.export.codec.separator="{separator}"', f'source.export.codec.decimal="{decimal}"']
    pipeline = build_pipeline(load(ROOT / "config/csv.toml", [f'source.export.path="{path}"', *codec]))
    engine, raised, rows = pipeline.engine(), Counter(), 0
    async with pipeline.sources["export"] as source:
        async for batch in source:
            rows += len(batch)
            found = engine.process(batch).alerts
            raised.update(
                alert.rule for alert in found if alert.change == "raised" and 2000 <= minute(alert) < 2012
            )
    counters = pipeline.sources["export"].counters
    assert rows == 2880
    assert counters.frames_bad == 0
    assert raised["strange_pressure"]
    assert not raised["strange_flow"]


def minute(alert) -> int:
    return (alert.started_at - 1793487600 * 10**9) // (60 * 10**9)  # since midnight in Berlin, 1 November 2026


def commands(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = {"agent": top}
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found |= {name: inner} | {
                    f"{name} {key}": one for key, one in commands(inner).items() if key != "agent"
                }
    return found


def test_the_files_that_help_texts_name_are_there():
    found = {name: one for command in COMMANDS for name, one in commands(parser([command])).items()}
    assert {"run", "check", "evaluate", "calibrate", "detect"} <= set(found)
    named = {
        (command, name)
        for command, one in found.items()
        for name in re.findall(r"config/[\w./-]+", one.format_help())
    }
    assert len(named) > 5
    assert [pair for pair in named if not (ROOT / pair[1]).is_file()] == []


def test_the_files_that_the_documents_name_are_there():
    missing = [
        (page.name, name)
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        for name in re.findall(r"(?<![\w/])config/[\w-]+\.toml", page.read_text())
        if not (ROOT / name).is_file()
    ]
    assert missing == []


def test_the_detectors_that_examples_of_evaluate_name_are_in_their_files():
    text = commands(parser(["evaluate"]))["evaluate"].format_help()
    pairs = re.findall(r"-c (config/[\w-]+\.toml) --detector (\w+)", text)
    assert pairs
    for name, detector in pairs:
        assert detector in load(ROOT / name).detector


def test_alerts_without_a_word_are_listed():
    assert parser(["alerts"]).parse_args(["alerts"]).verb == "list"
