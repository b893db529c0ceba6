"""Pipeline of others in a real agent: from an installed package, and from a plain file beside the configuration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outside.factory_parts import PARTS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CONFIGURATION = """
[agent]
site = "s"
name = "factory"
state = "{folder}/state"
idle = false
[source.wall]
type = "ramp"
rows = 120
[source.file]
type = "file"
path = "{folder}/values.txt"
codec = "pipes"
[window.some]
type = "every_nth"
n = 3
metric = "height"
on = "wall"
[detector.record]
type = "record"
metric = "value"
on = "file"
warmup = 5
[rule.high]
type = "above"
on = "some"
metric = "height"
at_least = 15
[rule.new]
on = "record"
[sink.diary]
type = "diary"
path = "{folder}/diary"
"""


def agent(*arguments: object, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), path]))}
    command = [sys.executable, "-m", "agent", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "values.txt").write_text("".join(f"press-1|{v}\n" for v in [*range(10), 400, *range(10)]))
    (tmp_path / "agent.toml").write_text(CONFIGURATION.format(folder=tmp_path))
    return tmp_path


def install(site: Path, name: str = "factory-parts", types: dict[str, str] | None = None) -> None:
    """What pip would put there."""
    site.mkdir(exist_ok=True)
    shutil.copy(HERE / "factory_parts.py", site)
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for kind, cls in PARTS.items():
        lines += [f"[edge_agent.{kind}s]", f"{(types or {}).get(kind, cls.type)} = factory_parts:{cls.__name__}"]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def use_file(folder: Path) -> None:
    shutil.copy(HERE / "factory_parts.py", folder / "parts.py")
    with (folder / "agent.toml").open("a") as file:
        file.write('[plugins]\npaths = ["parts.py"]\n')


@pytest.mark.parametrize("how", ["installed", "file"])
def test_one_part_of_each_kind_runs_in_a_real_agent_and_its_recording_says_the_same(how: str, folder: Path) -> None:
    path = ""
    if how == "installed":
        install(folder / "site")
        path = str(folder / "site")
    else:
        use_file(folder)
    checked = agent("check", "-c", folder / "agent.toml", path=path)
    assert (checked.returncode, checked.stderr) == (0, "")
    ran = agent("run", "-c", folder / "agent.toml", "--record", folder / "x.rec", path=path)
    assert ran.returncode == 0, ran.stderr
    sent = (folder / "diary").read_text().splitlines()
    alerts = [json.loads(line.removeprefix("factory ")) for line in sent]
    assert {alert["data"]["rule"]["id"] for alert in alerts} == {"high", "new"}
    assert {alert["data"]["rule"]["kind"] for alert in alerts} == {"above", "threshold"}
    messages = [alert["data"]["message"] for alert in alerts]
    assert any("value 400 is outside all that was seen" in message for message in messages), messages
    replayed = agent("replay", folder / "x.rec", "-c", folder / "agent.toml", path=path)
    assert replayed.returncode == 0, replayed.stderr
    assert sorted(replayed.stdout.splitlines()) == sorted(line.removeprefix("factory ") for line in sent)


def test_a_package_cannot_take_the_name_of_what_is_built_in(folder: Path) -> None:
    install(folder / "site", types={"sink": "lines"})
    configuration = (folder / "agent.toml").read_text().replace('type = "diary"', 'type = "lines"')
    (folder / "agent.toml").write_text(configuration.replace('path = "' + str(folder) + '/diary"', ""))
    checked = agent("check", "-c", folder / "agent.toml", path=str(folder / "site"))
    assert checked.returncode == 78
    assert checked.stderr.splitlines() == [
        f'{folder}/agent.toml: sink.diary.type: package factory-parts, factory_parts:Diary is a sink "lines", too; '
        "built-ins cannot be shadowed, give it another name"
    ]


def test_a_name_that_two_packages_use_says_which(folder: Path) -> None:
    install(folder / "site")
    install(folder / "more", "other-parts", {"codec": "pipes", "sink": "diary"})
    (folder / "more" / "factory_parts.py").rename(folder / "more" / "other_parts.py")
    points = folder / "more" / "other_parts-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("factory_parts:", "other_parts:"))
    checked = agent("check", "-c", folder / "agent.toml", path=f"{folder / 'site'}{os.pathsep}{folder / 'more'}")
    assert checked.returncode == 78
    assert (
        'sink.diary.type: "diary" is package factory-parts, factory_parts:Diary and package other-parts, '
        "other_parts:Diary; one of them needs another name" in checked.stderr
    )
