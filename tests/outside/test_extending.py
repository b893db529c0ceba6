"""The page on parts of your own: what it shows is what happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outside.test_outside_agent import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for _, text in BLOCKS:
        if text.startswith("# "):
            (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_check_and_run_say_what_the_page_says(folder: Path) -> None:
    (console,) = [text for kind, text in BLOCKS if kind == "console"]
    first, second = console.removeprefix("$ agent check -c agent.toml\n").split(
        "$ agent run -c agent.toml | jq -r .data.message\n"
    )
    checked = run(folder, "agent", "check", "-c", "agent.toml")
    assert (checked.stdout, checked.stderr) == (first, "")
    ran = run(folder, "agent", "run", "-c", "agent.toml")
    assert ran.returncode == 0, ran.stderr
    messages = [json.loads(line)["data"]["message"] for line in ran.stdout.splitlines()]
    assert messages == second.splitlines()


def test_its_test_passes(folder: Path) -> None:
    tested = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "test_detectors.py")
    assert tested.returncode == 0, tested.stdout
    assert re.search(r"2\d passed", tested.stdout)


def test_each_base_and_check_it_names_is_there() -> None:
    from agent import api, testing

    table = "".join(re.findall(r"^\| (?:source|codec|window|detector|rule|sink) .*$", PAGE, re.MULTILINE))
    for name in re.findall(r"`([A-Z]\w+)`", table):
        assert name in api.__all__
    assert set(re.findall(r"`(check_\w+)`", table)) == {
        check for check in testing.__all__ if check.startswith("check_")
    }
