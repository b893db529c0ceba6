"""The unit file: without mistakes, well fenced in, and starting what the agent offers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def systemd(tmp_path) -> Path:
    """A copy of the folder, to break on purpose."""
    if shutil.which("systemd-analyze") is None:
        assert os.environ.get("CI") != "true", "systemd-analyze is missing"
        pytest.skip("systemd-analyze is not installed")
    return Path(shutil.copytree(ROOT / "systemd", tmp_path / "systemd"))


def _verify(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([folder / "verify"], capture_output=True, text=True, timeout=100, check=False)


def test_the_unit_and_each_drop_in_are_sound_and_expose_little(systemd):
    result = _verify(systemd)
    assert result.returncode == 0, result.stderr
    assert "edge-agent.service" in result.stdout
    assert "allow-list" in result.stdout


@pytest.mark.parametrize(
    ("line", "instead"),
    [("Restart=always", "Restart=alway"), ("TimeoutStopSec=20", "TimeoutStopSeconds=20")],
)
def test_a_mistake_in_the_unit_is_found(systemd, line, instead):
    unit = systemd / "edge-agent.service"
    assert line in unit.read_text()
    unit.write_text(unit.read_text().replace(line, instead))
    assert _verify(systemd).returncode != 0


def test_a_hole_in_the_fence_is_found(systemd):
    unit = systemd / "edge-agent.service"
    unit.write_text(unit.read_text().replace("CapabilityBoundingSet=\n", ""))
    assert _verify(systemd).returncode != 0
