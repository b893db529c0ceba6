"""evaluate, calibrate and detect read a file as the agent does with the same configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.cli.main import main

CONFIG = """
[source.export]
type = "file"
path = "pump.csv"
codec = {{ type = "csv", time = "Zeit", time_zone = "Europe/Berlin", values = ["{metric}"], {codec} }}

[detector.strange]
type = "ewma"
metric = "{name}"

[detector.wave]
type = "tutorial_kl"
metric = "{name}"
window = 20
hop = 20
"""
ISO = 'time_unit = "iso"'
GERMAN = f'separator = ";", decimal = ",", {ISO}'
PRESSURE = [3.0 + (0.08 * (i * 7919 % 101) / 101 - 0.04) + (1.1 if 80 <= i < 84 else 0.0) for i in range(240)]


def lines(
    stamp: str = "2026-11-01 {:02d}:{:02d}:00",
    scale: float = 1.0,
    form: str = "{:.3f}",
    swap: bool = True,
    mark: str = ";",
) -> Iterator[str]:
    for i, value in enumerate(PRESSURE):
        text = form.format(value * scale)
        text = text.translate(str.maketrans(",.", ".,")) if swap else text
        yield mark.join((stamp.format(8 + i // 60, i % 60), text, str(int(80 <= i < 84))))


def case(folder: Path, text: bytes, codec: str, metric: str = "Druck") -> None:
    (folder / "pump.csv").write_bytes(text)
    name = metric.rpartition(" as ")[2]
    (folder / "agent.toml").write_text(CONFIG.format(codec=codec, metric=metric, name=name), encoding="utf-8")


def agent(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def text(head: str = "Zeit;Druck;label", **how: Any) -> str:
    return "\n".join([head, *lines(**how)]) + "\n"


SPELLINGS: dict[str, tuple[bytes, str, str, tuple[str, ...]]] = {
    "german": (text().encode(), GERMAN, "Druck", ()),
    "by itself": (text().encode(), f'decimal = ",", {ISO}', "Druck", ()),
    "mark": (text().encode("utf-8-sig"), GERMAN, "Druck", ()),
    "utf-16": (text().encode("utf-16"), GERMAN, "Druck", ()),
    "latin-1": (
        text("Zeit;Öldruck;Störung").encode("latin-1"),
        f'{GERMAN}, encoding = "latin-1"',
        "Öldruck",
        ("--label", "Störung"),
    ),
    "thousands": (
        text(scale=1000, form="{:,.1f}").encode(),
        f'{GERMAN}, thousands = "."',
        "Druck",
        (),
    ),
    "unit": (text(form="{:.3f} bar").encode(), f'{GERMAN}, units = "strip"', "Druck", ()),
    "format": (
        text(stamp="01/11/2026 {:02d}h{:02d}").encode(),
        'separator = ";", decimal = ",", time_format = "%d/%m/%Y %Hh%M"',
        "Druck",
        (),
    ),
    "common export": (text(stamp="01.11.2026 {:02d}:{:02d}:00").encode(), GERMAN, "Druck", ()),
    "title": (("Messung 7\n\n" + text()).encode(), GERMAN, "Druck", ()),
    "other name": (text().encode(), GERMAN, "Druck as pressure", ()),
    "tab": (text("Zeit\tDruck\tlabel", mark="\t").encode(), f'decimal = ",", {ISO}', "Druck", ()),
    "no header": (
        "\n".join(lines()).encode(),
        f'{GERMAN}, columns = ["Zeit", "Druck", "label"]',
        "Druck",
        (),
    ),
    "blanks and carriage returns": (
        text("Zeit ; Druck ; label", mark=" ; ").replace("\n", "\r\n").encode(),
        GERMAN,
        "Druck",
        (),
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("command", ["evaluate", "calibrate", "detect"])
def test_a_file_is_read_by_the_codec_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, spelling: str
) -> None:
    data, codec, metric, label = SPELLINGS[spelling]
    case(tmp_path, data, codec, metric)
    detector = "wave" if command == "detect" else "strange"
    more = () if command == "detect" else label
    words = (tmp_path / "pump.csv", "-c", tmp_path / "agent.toml", "--detector", detector, "--json", *more)
    code, out, err = agent(capsys, command, *words)
    assert code == 0, err
    if command == "detect":
        rows = [json.loads(line) for line in out.splitlines()]
        assert len(rows) == 12
        assert rows[-1]["end"] - rows[0]["end"] == pytest.approx(
            11 * 20 * 60, rel=1e-6
        )  # the rate is that of the times
        assert all(row["kl"] is not None for row in rows)
        return
    told = json.loads(out)
    assert told["metrics"] == [metric.rpartition(" as ")[2]]
    if command == "evaluate":
        assert told["at_threshold"]["rows"] + told["at_threshold"]["silent"] == 240
        assert told["at_threshold"]["events"] == 1


def test_the_values_are_those_of_the_agent(tmp_path: Path) -> None:
    from agent.offline.configured import codec_of
    from agent.offline.labelled import ColumnNames, read_table
    from agent.settings.build import build_pipeline
    from agent.settings.settings import load

    data, codec, _, _ = SPELLINGS["thousands"]
    case(tmp_path, data, codec)
    path = tmp_path / "pump.csv"
    reader = codec_of(tmp_path / "agent.toml", "strange", path)
    (item,) = read_table(path, ColumnNames(time="Zeit", time_unit="iso"), reader)
    config = (tmp_path / "agent.toml").read_text().replace('"pump.csv"', json.dumps(str(path)))
    (tmp_path / "agent.toml").write_text(config)
    pipeline = build_pipeline(load(tmp_path / "agent.toml", []))
    batches = list(vars(type(pipeline.sources["export"]))["rows"](pipeline.sources["export"]))
    assert np.array_equal(item.rows.end, np.concatenate([batch.time for batch in batches]))
    assert np.array_equal(item.rows.values["Druck"], np.concatenate([batch.values["Druck"] for batch in batches]))
    assert item.rows.values["Druck"].max() > 4000


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2026-11-01 08:05:00;3,0 bar;0", 'line 7: "3,0 bar" in column Druck is no number; set units = "strip"'),
        ("2026-11-01 08:05:00;3.001;0", 'line 7: "3.001" in column Druck is no number; it may be 3001'),
        ("heute;3,0;0", 'line 7: "heute" in column Zeit is no time'),
        ("2026-11-01 08:05:00;3,0", "line 7: 2 cells instead of 3"),
    ],
)
def test_what_the_codec_cannot_read_is_named_with_its_line_and_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, said: str
) -> None:
    changed = text().splitlines()
    changed[6] = row
    case(tmp_path, "\n".join(changed).encode(), GERMAN)
    words = (tmp_path / "pump.csv", "-c", tmp_path / "agent.toml", "--detector", "strange")
    for command in ("evaluate", "calibrate"):
        code, _, err = agent(capsys, command, *words)
        assert code == 2
        assert said in err


def test_without_a_configuration_a_decimal_comma_is_no_thousandth_and_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pump.csv").write_text(text())
    code, _, err = agent(capsys, "evaluate", tmp_path / "pump.csv", "--detector", "ewma", "--time", "Zeit")
    assert code == 2
    assert "-c)" in err
    assert "in column Druck is no number; " in err


def test_an_encoding_that_is_another_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pump.csv").write_bytes(text("Zeit;Öldruck;Störung").encode("latin-1"))
    code, _, err = agent(capsys, "evaluate", tmp_path / "pump.csv", "--label", "Störung")
    assert code == 2
    assert 'set encoding, such as "cp1252" or "utf-16" in the codec of a configuration (-c)' in err


def test_a_json_codec_says_what_times_and_numbers_of_an_export_look_like(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case(tmp_path, text("Zeit;Druck;label").encode(), 'decimal = ",", time_unit = "iso"')
    config = (tmp_path / "agent.toml").read_text().replace('type = "csv"', 'type = "json"')
    (tmp_path / "agent.toml").write_text(config)
    words = (tmp_path / "pump.csv", "-c", tmp_path / "agent.toml", "--detector", "strange", "--json")
    code, out, err = agent(capsys, "evaluate", *words)
    assert code == 0, err
    assert json.loads(out)["at_threshold"]["events"] == 1


@pytest.mark.parametrize("spelling", ["german", "latin-1", "format"])
@pytest.mark.parametrize(
    ("command", "detector"), [("evaluate", "cusum"), ("calibrate", "cusum"), ("detect", "tutorial_kl")]
)
def test_a_detector_that_is_no_table_of_the_configuration_reads_by_its_codec_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, detector: str, spelling: str
) -> None:
    data, codec, metric, label = SPELLINGS[spelling]
    case(tmp_path, data, codec, metric)
    words = (
        tmp_path / "pump.csv",
        "-c",
        tmp_path / "agent.toml",
        "--detector",
        detector,
        "--metric",
        metric,
        "--json",
    )
    more = ("--window", 20) if command == "detect" else label
    code, out, err = agent(capsys, command, *words, *more)
    assert code == 0, err
    assert len(out.splitlines()) == (12 if command == "detect" else 1)
    assert command == "detect" or json.loads(out)["metrics"] == [metric]
