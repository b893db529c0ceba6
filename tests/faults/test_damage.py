"""Damaged state: the agent starts, moves aside what it cannot read, says so, and tells what is left."""

import asyncio
import json
import os
import random
import shutil
import subprocess

import numpy as np
import pytest

from agent.runtime.app import App
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from agent.storage import single_file as old
from sensors.batch import Batch
from tests.brokers import missing
from tests.storage import single_file
from tests.storage.rewrite import rewrite

START = 1_700_000_000 * 10**9
NEW, OLD = "checkpoint/000000000001.segment", "engine.checkpoint"  # of today's format, and of the first
FILES = ("outbox.db", "outbox.db-wal", NEW, OLD)


def pipeline(state, out):
    return build_pipeline(
        Settings(
            agent={"site": "s", "name": "a", "state": state, "drain_timeout": "2s"},
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
    """What an agent leaves when it is killed while its receiver is away: a backlog, a checkpoint, newer notes."""
    place = tmp_path_factory.mktemp("state")

    async def work():
        app = App(pipeline(place / "live", place / "out"))
        app.outbox.path.parent.mkdir()
        async with app.outbox:
            await decide(app, 0, 95.0)
            await decide(app, 1, 20.0)
            await app.checkpointer.save()
            saved = {"engine": app.engine.snapshot(), "prints": app.pipeline.fingerprints, "positions": {}}
            await decide(app, 8, 95.0)
            shutil.copytree(place / "live", place / "killed")
        shutil.copytree(place / "killed", place / "old", ignore=shutil.ignore_patterns("checkpoint"))
        single_file.save(place / "old" / OLD, saved)

    asyncio.run(work())
    return place / "killed"


@pytest.fixture(scope="module")
def old_state(state):
    """The same with a checkpoint of the first format."""
    return state.with_name("old")


def _of(file, state):
    return state.with_name("old") if file == OLD else state


def alerts(out):
    events = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    return {event["id"]: (event["type"].rpartition(".")[2], event["data"]["rule"]["id"]) for event in events}


async def start(directory, out):
    """A whole life of an agent with this state: from start to end of input."""
    app = App(pipeline(directory, out))
    async with asyncio.timeout(20):
        await app.run(asyncio.Event())
    return app


@pytest.mark.parametrize("file", [NEW, OLD])
async def test_undamaged_it_tells_all(tmp_path, state, file):
    state = _of(file, state)
    assert (state / file).is_file()
    shutil.copytree(state, tmp_path / "state")
    await start(tmp_path / "state", tmp_path / "out")
    found = list(alerts(tmp_path / "out").values())
    assert found.count(("raised", "hot")) == 40
    assert found.count(("resolved", "hot")) == 20


@pytest.mark.parametrize("file", FILES)
async def test_any_bytes_flipped(tmp_path, state, file, caplog):
    state = _of(file, state)
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
    state = _of(file, state)
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
        if file in (NEW, OLD):
            assert [path for path in (place / "checkpoint").iterdir() if path.suffix == ".segment"], number
            assert not (place / OLD).exists(), number
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
async def test_a_checkpoint_of_the_first_format_that_says_nonsense_is_moved_aside(tmp_path, old_state, how, caplog):
    whole = await _known(tmp_path, old_state)
    place = tmp_path / "state"
    shutil.copytree(old_state, place)
    known = old.load(place / OLD)
    single_file.save(place / OLD, how(known))
    await start(place, tmp_path / "out")
    assert set(alerts(tmp_path / "out")) == whole
    assert list(place.glob("engine.checkpoint.corrupt-*"))
    assert "checkpoint" in caplog.text


@pytest.mark.parametrize(
    "how",
    [
        {"document": lambda document: {}},
        {"document": lambda document: [1, 2]},
        {"document": lambda document: {**document, "engine": {}}},
        {"document": lambda document: {**document, "positions": None}},
        {"document": lambda document: {**document, "engine": {**document["engine"], "desk": {}}}},
        {"parts": {'names ["machine"]': 3}},
        {"parts": {'seen ["machine"]': {}}},
        {"shared": {'names ["machine"]': {}}},
    ],
)
async def test_a_checkpoint_that_says_nonsense_is_moved_aside(tmp_path, state, how, caplog):
    whole = await _known(tmp_path, state)
    place = tmp_path / "state"
    shutil.copytree(state, place)
    rewrite(place / "checkpoint", **how)
    await start(place, tmp_path / "out")
    assert set(alerts(tmp_path / "out")) == whole
    assert list(place.glob("checkpoint.corrupt-*"))
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("what", "part", "saved"),
    [("rules", "gone", {}), ("rules", "gone", 3), ("rules", "hot", {}), ("steps", "w", {"panes": 1, "horizon": 2})],
)
@pytest.mark.parametrize("format_", [NEW, OLD])
async def test_a_part_of_a_checkpoint_that_says_nonsense_loses_no_incident(
    tmp_path, state, what, part, saved, caplog, format_
):
    state = _of(format_, state)
    whole = await _known(tmp_path, state)
    place = tmp_path / "state"
    shutil.copytree(state, place)
    if format_ == OLD:
        known = old.load(place / OLD)
        assert part in known["engine"][what]
        known["engine"][what][part] = saved
        single_file.save(place / OLD, known)
    else:
        rewrite(place / "checkpoint", parts={f"{what[:-1]}.{part}": saved})
    await start(place, tmp_path / "out")
    assert set(alerts(tmp_path / "out")) == whole
    assert not list(place.glob("*checkpoint.corrupt-*"))
    assert f"{part}: what was saved of it does not fit" in caplog.text


async def test_a_damaged_newest_checkpoint_gives_no_number_twice_and_ends_no_incident_twice(tmp_path):
    place = tmp_path / "state"
    app = App(pipeline(place, tmp_path / "out"))
    place.mkdir()
    async with app.outbox:
        for second, value in ((0, 95.0), (8, 20.0)):  # 40 raised; "hot" resolved, what covers it is saved
            await decide(app, second, value)
            await app.checkpointer.save()
    newest = max((place / "checkpoint").iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])
    again = App(pipeline(place, tmp_path / "out"))
    async with again.outbox:
        again.resume()
        assert again.engine.incidents.sequence == app.engine.incidents.sequence > 20
        for name, rule in app.engine.rules.items():
            np.testing.assert_array_equal(again.engine.rules[name].life.firing(), rule.life.firing(), name)


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
