"""A file of which nothing can be read is a failure that whoever called notices; one bad line is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
[agent]
state = "state"

[source.export]
type = "file"
path = "a.csv"
codec = { type = "csv", time = "Zeit", time_unit = "iso", time_zone = "Europe/Berlin" }

[rule.hot]
when = "Temp > 30"

[sink.console]
type = "lines"
"""


def run(folder: Path, text: str, config: str = CONFIG) -> tuple[int, str]:
    (folder / "a.csv").write_text(text)
    (folder / "agent.toml").write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "agent", "run", "-c", "agent.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Zeit;Temp\nheute;1\nmorgen;2\n", "line 2: 'heute' is no time in iso; set time_format"),
        ("Zeitpunkt;Temp\n2026-01-01 00:00;1\n2026-01-01 00:01;2\n", "there is 'Zeitpunkt'"),
    ],
)
def test_a_file_of_which_every_line_is_refused_ends_with_a_code_and_why(
    tmp_path: Path, text: str, said: str
) -> None:
    code, err = run(tmp_path, text)
    assert code == 65
    (line,) = (line for line in err.splitlines() if "ERROR" in line)
    assert "source export: none of the " in line
    assert said in line
    assert "Set source.export.codec to what the file has" in line


@pytest.mark.parametrize("bad", ["heute;2", ""])
def test_a_file_of_which_some_lines_are_refused_ends_well(tmp_path: Path, bad: str) -> None:
    code, err = run(tmp_path, f"Zeit;Temp\n2026-01-01 00:00;1\n{bad}\n2026-01-01 00:01;2\n")
    assert code == 0
    assert "ERROR" not in err
    assert "ended; 2 readings" in err
    assert ("1 of 3 frames refused" in err) == bool(bad)
    assert run(tmp_path, (tmp_path / "a.csv").read_text())[0] == 0  # all were read before


def test_a_warning_about_a_column_names_those_that_came(tmp_path: Path) -> None:
    config = CONFIG + '[detector.other]\nmetric = "Pressure"\ntype = "ewma"\n[rule.odd]\non = "other"\n'
    code, err = run(tmp_path, "Zeit;Druck;Temp\n2026-01-01 00:00;1;\n2026-01-01 00:01;2;\n", config)
    assert code == 0
    assert 'no reading has had "Pressure" yet; those that had values are Druck\n' in err
