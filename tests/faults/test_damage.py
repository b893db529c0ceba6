"""Damaged state: the agent starts, moves aside what it cannot read, says so, and tells what is left."""

import asyncio
import json
import os
import random
import shutil
import subprocess

import numpy as np
import pytest

from agent import checkpoint
from agent.compose import compose
from agent.runtime.app import App
from agent.settings import Settings
from sensors.batch import Batch
from tests.brokers import missing

START = 1_700_000_000 * 10**9
FILES = ("outbox.db", "outbox.db-wal", "engine.checkpoint")


def parts(state, out):
    return compose(
        Settings(
            agent={"site": "s", "name": "a", "state": state, "drain": "2s"},
            window={"w": {"type": "hopping", "metric": "x", "size": "5s", "step": "1s", "aggregates": ["mean"]}},
            rule={
                "hot": {"when": "x >= 90", "clear": "x < 80"},
                "mean": {"on": "w", "when": "mean >= 90"},
                "gone": {"type": "deadman", "after": "10s"},
            },
            sink={"file": {"type": "lines", "path": str(out)}},
        )
    )


async def decide(app, number, value):
    machines = tuple(f"m{n}" for n in range(20))
    time = START + number * 10**9
    index = np.arange(20, dtype=np.int32)
    await app.decide(Batch(machines, index, np.full(20, time), {"x": np.full(20, value)}, time, source="s"))


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """What an agent leaves when it is killed while its receiver is away: a backlog, a check-point, newer notes."""
    place = tmp_path_factory.mktemp("state")

    async def work():
        app = App(parts(place / "live", place / "out"))
        app.outbox.path.parent.mkdir()
        async with app.outbox:
            await decide(app, 0, 95.0)
            await decide(app, 1, 20.0)
            await app.checkpointer.save()
            await decide(app, 8, 95.0)
            shutil.copytree(place / "live", place / "killed")

    asyncio.run(work())
    return place / "killed"


def alerts(out):
    events = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    return {event["id"]: (event["type"].rpartition(".")[2], event["data"]["rule"]["id"]) for event in events}


async def start(directory, out):
    """A whole life of an agent with this state: from start to end of input."""
    app = App(parts(directory, out))
    async with asyncio.timeout(20):
        await app.run(asyncio.Event())
    return app


async def test_undamaged_it_tells_all(tmp_path, state):
    shutil.copytree(state, tmp_path / "state")
    await start(tmp_path / "state", tmp_path / "out")
    found = list(alerts(tmp_path / "out").values())
    assert found.count(("raised", "hot")) == 40
    assert found.count(("resolved", "hot")) == 20


@pytest.mark.parametrize("file", FILES)
async def test_any_bytes_flipped(tmp_path, state, file, caplog):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    whole = await _known(tmp_path, state)
    for number in range(12):
        place = tmp_path / f"{number}"
        shutil.copytree(state, place)
        data = bytearray((place / file).read_bytes())
        for _ in range(chance.choice((1, 1, 8, 64))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (place / file).write_bytes(data)
        await start(place, tmp_path / f"out{number}")
        assert set(alerts(tmp_path / f"out{number}")) <= whole


@pytest.mark.parametrize("file", FILES)
async def test_torn_empty_garbage_or_a_directory(tmp_path, state, file):
    whole = await _known(tmp_path, state)
    data = (state / file).read_bytes()
    for number, content in enumerate(
        (data[: len(data) // 2], data[:-7], b"", b"\0" * 5000, b"garbage" * 1000, None)
    ):
        place = tmp_path / f"{number}"
        shutil.copytree(state, place)
        (place / file).unlink()
        if content is None:
            (place / file).mkdir()
            (place / file / "x").touch()
        else:
            (place / file).write_bytes(content)
        app = await start(place, tmp_path / f"out{number}")
        assert set(alerts(tmp_path / f"out{number}")) <= whole
        if file == "engine.checkpoint":
            assert (place / file).is_file(), number
            assert len(alerts(tmp_path / f"out{number}")) == len(whole)
        app = await start(place, tmp_path / f"out{number}")  # and the next start is clean
        assert not app.outbox.counters.quarantined


async def _known(tmp_path, state):
    shutil.copytree(state, tmp_path / "whole")
    await start(tmp_path / "whole", tmp_path / "whole-out")
    return set(alerts(tmp_path / "whole-out"))


@pytest.mark.parametrize(
    "how",
    [
        lambda state: {},
        lambda state: [1, 2],
        lambda state: {**state, "engine": {}},
        lambda state: {**state, "positions": None},
        lambda state: {**state, "engine": {**state["engine"], "desk": {}}},
        lambda state: {**state, "engine": {**state["engine"], "tables": [{"by": ["machine"], "keys": 3}]}},
    ],
)
async def test_a_check_point_that_says_nonsense_is_moved_aside(tmp_path, state, how, caplog):
    whole = await _known(tmp_path, state)
    place = tmp_path / "state"
    shutil.copytree(state, place)
    known = checkpoint.load(place / "engine.checkpoint")
    checkpoint.save(place / "engine.checkpoint", checkpoint.snapshot(how(known)))
    await start(place, tmp_path / "out")
    assert set(alerts(tmp_path / "out")) == whole
    assert list(place.glob("engine.checkpoint.corrupt-*"))
    assert "check-point" in caplog.text


@pytest.mark.parametrize(
    ("what", "part", "saved"),
    [("rules", "gone", {}), ("rules", "gone", 3), ("rules", "hot", {}), ("steps", "w", {"panes": 1, "horizon": 2})],
)
async def test_a_part_of_a_check_point_that_says_nonsense_loses_no_incident(
    tmp_path, state, what, part, saved, caplog
):
    whole = await _known(tmp_path, state)
    place = tmp_path / "state"
    shutil.copytree(state, place)
    known = checkpoint.load(place / "engine.checkpoint")
    assert part in known["engine"][what]
    known["engine"][what][part] = saved
    checkpoint.save(place / "engine.checkpoint", checkpoint.snapshot(known))
    await start(place, tmp_path / "out")
    assert set(alerts(tmp_path / "out")) == whole
    assert not list(place.glob("engine.checkpoint.corrupt-*"))
    assert f"{part}: what was saved of it does not fit" in caplog.text


async def test_notes_that_say_nonsense_are_passed_over(tmp_path, state):
    import sqlite3
    import zlib

    whole = await _known(tmp_path, state)
    for number, note in enumerate(
        (b"", b"{", b"[]", b'{"print":1}', b"\xff\xfe", b"null", b'{"rule":{},"print":null}')
    ):
        place = tmp_path / f"{number}"
        shutil.copytree(state, place)
        with sqlite3.connect(place / "outbox.db") as database:
            database.create_function("crc", 2, lambda name, value: zlib.crc32(value, zlib.crc32(name.encode())))
            database.execute("UPDATE notes SET value = ?1, crc = crc(name, ?1)", (note,))
            database.execute("INSERT OR REPLACE INTO notes VALUES ('silences', ?1, crc('silences', ?1))", (note,))
        await start(place, tmp_path / f"out{number}")
        assert set(alerts(tmp_path / f"out{number}")) == whole


@pytest.fixture
def read_only(tmp_path):
    place = tmp_path / "state"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "t", place], check=False).returncode
    ):
        missing("a file system cannot be mounted here")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_state_directory_that_cannot_be_written_keeps_nothing_from_running(tmp_path, read_only):
    app = await start(read_only, tmp_path / "out")
    assert "outbox.db" in app.outbox.failing


async def test_a_file_in_place_of_the_state_directory_keeps_nothing_from_running(tmp_path):
    (tmp_path / "state").write_text("")
    app = await start(tmp_path / "state", tmp_path / "out")
    assert app.outbox.failing
