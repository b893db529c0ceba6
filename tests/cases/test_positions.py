"""A position has an identity: another file, another topic behind the same name is not what was read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sensors.batch import Batch
from sensors.codecs.csv import Csv
from sensors.drivers.file import FileSource
from sensors.drivers.recording import Recorder, RecordingSource
from sensors.source import Positioned
from tests.integration.agent_process import AgentProcess

START = 1_700_000_000 * 10**9


def rows(*values: int) -> str:
    return "time,temp\n" + "".join(f"2026-11-{value // 10:02}T00:00:0{value % 10}Z,{value}\n" for value in values)


def export(path: Path) -> FileSource:
    return FileSource(path=path, codec=Csv(time="time", time_unit="iso"))


async def run(
    source: Positioned, position: dict[str, object] | None = None
) -> tuple[list[float], dict[str, object]]:
    """The values that come after a position, and where it ends, as it is saved."""
    if position is not None:
        source.seek(position)
    found: list[float] = []
    async with source:
        async for batch in source:
            found += batch.values["temp"].tolist()
        return found, json.loads(json.dumps(dict(source.position())))


async def test_tomorrows_export_of_the_same_name_is_a_new_file(tmp_path, caplog) -> None:
    path, position = tmp_path / "export.csv", None
    for written, values in (
        (rows(11, 12, 13), [11, 12, 13]),
        (rows(21, 22, 23, 24), [21, 22, 23, 24]),  # longer, and another
        (rows(31), [31]),  # shorter
        (rows(31), []),  # the same
        (rows(31, 32), [32]),  # it has grown
        (rows(32, 31, 33), [32, 31, 33]),  # of the same length, then more, in another order
        (rows(32, 31, 33).removesuffix("\n"), [32, 31, 33]),  # cut off: who knows what it will be
        (rows(32, 31, 33, 34), [34]),
        ("", []),
        (rows(41), [41]),
    ):
        path.write_text(written)
        found, position = await run(export(path), position)
        assert found == values, written
    assert sum("does not begin with what was read before" in line for line in caplog.messages) == 5


async def test_a_file_whose_first_rows_are_the_same_is_known_by_the_others(tmp_path) -> None:
    path = tmp_path / "export.csv"
    head = [11] * 20_000  # more than is read at once
    path.write_text(rows(*head, 12))
    _, position = await run(export(path))
    path.write_text(rows(*head, 13, 14))
    found, _ = await run(export(path), position)
    assert len(found) == 20_002


async def test_a_position_in_the_middle_leads_there_unless_the_file_is_another(tmp_path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(rows(*range(11, 20)))
    source = export(path)
    async with source:
        begun = [(await anext(source)).values["temp"][0] for _ in range(4)]
        position = dict(source.position())
    assert begun == [11, 12, 13, 14]
    path.write_text(rows(*range(11, 20), 21))
    assert (await run(export(path), position))[0] == [*range(15, 20), 21]
    path.write_text(rows(*range(21, 30)))
    assert (await run(export(path), position))[0] == [*range(21, 30)]


async def test_a_file_that_was_replaced_while_it_was_read_is_read_from_its_start(tmp_path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(rows(*range(11, 20)))
    source = export(path)
    async with source:
        assert (await anext(source)).values["temp"][0] == 11
    path.rename(tmp_path / "export.csv.1")
    path.write_text(rows(21, 22))
    assert (await run(source))[0] == [21, 22]


async def test_a_position_of_a_release_before_is_taken(tmp_path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(rows(11, 12))
    assert (await run(export(path), {"path": str(path), "rows": 1}))[0] == [12]


async def test_a_file_that_is_gone_keeps_its_position_until_it_is_back(tmp_path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(rows(11, 12))
    _, position = await run(export(path))
    path.unlink()
    source = export(path)
    source.seek(position)
    with pytest.raises(Exception, match="No such file"):
        await source.__aenter__()
    path.write_text(rows(11, 12, 13))
    assert (await run(source))[0] == [13]


def recorded(path: Path, *values: int) -> None:
    path.unlink(missing_ok=True)
    with Recorder(path) as recorder:
        for value in values:
            time = np.array([START + value * 10**9])
            recorder.write(
                Batch(("a",), np.zeros(1, np.int32), time, {"temp": np.array([float(value)])}, int(time[0]))
            )


async def test_another_recording_of_the_same_name_is_read_from_its_start(tmp_path, caplog) -> None:
    path = tmp_path / "day.rec"
    recorded(path, 1, 2, 3)
    found, position = await run(RecordingSource(path, "max"))
    assert found == [1, 2, 3]
    assert await run(RecordingSource(path, "max"), position) == ([], position)
    recorded(path, 4, 5, 6, 7)
    assert (await run(RecordingSource(path, "max"), position))[0] == [4, 5, 6, 7]
    assert caplog.messages == [f"{path}: does not begin with what was read before; read from its start"]
    old = {"path": str(path), "batches": 2}
    assert (await run(RecordingSource(path, "max"), old))[0] == [6, 7]


async def test_the_agent_claims_to_continue_only_where_it_does(tmp_path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f"""
[agent]
site = "s"
name = "a"
state = "{tmp_path}/state"
[source.export]
type = "file"
path = "{tmp_path}/export.csv"
codec = {{ type = "csv", time = "time", time_unit = "iso", values = ["temp"] }}
""")
    told = []
    for written in (rows(11, 12, 13), rows(21, 22, 23, 24), rows(21, 22, 23, 24, 25), rows(21, 22, 23, 24, 25)):
        (tmp_path / "export.csv").write_text(written)
        async with AgentProcess("run", "-c", file) as agent:
            assert await agent.wait() == 0
            about = [line for line in agent.lines if "export" in line]
            told.append(
                [
                    word
                    for word in (
                        "read from its start",
                        "continues after",
                        "nothing new",
                        "; 4 readings",
                        "; 1 readings",
                    )
                    if any(word in line for line in about)
                ]
            )
    assert told == [
        [],
        ["read from its start", "; 4 readings"],
        ["continues after", "; 1 readings"],
        ["continues after", "nothing new"],
    ]
