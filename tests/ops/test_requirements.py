"""The locked requirements: complete, hashed, and without the address of an index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["run", "demo", "dev", "peers"]
_PIN = re.compile(r"^([a-z0-9_.-]+)==(\S+)", re.IGNORECASE)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _names(requirements: list[str]) -> set[str]:
    return {_normal(re.split(r"[^A-Za-z0-9_.-]", line)[0]) for line in requirements}


def _pinned(lock: str) -> set[str]:
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    return {_normal(match[1]) for line in lines if (match := _PIN.match(line))}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_what_the_project_needs_is_in_the_lock_of_each_set(project):
    needs = _names(project["project"]["dependencies"])
    demo = needs | _names(
        [line for extra in project["project"]["optional-dependencies"].values() for line in extra]
    )
    dev = demo | _names(project["dependency-groups"]["dev"])
    assert needs <= _pinned("run"), "run `make lock`"
    assert demo <= _pinned("demo"), "run `make lock`"
    assert dev <= _pinned("dev"), "run `make lock`"


def test_the_sets_agree_on_versions():
    def pins(lock: str) -> set[str]:
        lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
        return {line.removesuffix("\\").strip() for line in lines if _PIN.match(line)}

    assert pins("run") <= pins("demo") <= pins("dev")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_line_names_an_index(lock):
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 10
    for entry in entries:
        assert _PIN.match(entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
