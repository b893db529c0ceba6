"""The checkpoint: what is loaded is what was saved at one moment, whatever happened to its files."""

import asyncio
import copy
import os
import random
import shutil
import stat
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.changes import Changes
from agent.core.keys import KeyTable
from agent.core.series import Stateful, Tracked
from agent.core.series_records import SeriesRecords
from agent.storage import image, live, segments
from agent.storage.checkpoint import CheckpointStore
from tests.storage.parts import contents, save, tracked

GROUPS = (("a", "b"), ("c",))


def same(one, other):
    np.testing.assert_equal(one, other)
    return True


def loaded(folder):
    """Document and contents of the checkpoint there; None if there is none."""
    store = CheckpointStore(folder)
    found = store.load()
    if found is None:
        return None, None, store
    parts = tracked(*GROUPS)
    for name in found.names:
        found.restore(name, parts[name])
    return found.document, parts, store


@pytest.fixture
def small_slices(monkeypatch):
    monkeypatch.setattr(image, "_SLICE", 200)
    monkeypatch.setattr(image, "_FEW", 3)


async def test_what_is_saved_comes_back(tmp_path):
    parts, store = tracked(*GROUPS), CheckpointStore(tmp_path / "checkpoint")
    parts["a"].part.write(np.arange(5000), 7)
    parts["c"].part.write(np.array([3, 99]), 2)
    size = await save(store, parts, {"sequence": 4, "none": None, "inf": float("inf"), "minus": -0.0})
    document, back, _ = loaded(tmp_path / "checkpoint")
    assert repr(document) == "{'sequence': 4, 'none': None, 'inf': inf, 'minus': -0.0}"
    assert same(contents(back), contents(parts))
    assert size == sum(file.stat().st_size for file in (tmp_path / "checkpoint").iterdir()) == store.written


async def test_no_checkpoint_is_no_error(tmp_path, caplog):
    assert CheckpointStore(tmp_path / "absent").load() is None
    (tmp_path / "empty").mkdir()
    assert CheckpointStore(tmp_path / "empty").load() is None
    assert not caplog.records


async def test_only_the_owner_may_read_it(tmp_path):
    before = os.umask(0)
    try:
        await save(CheckpointStore(tmp_path / "checkpoint"), tracked(*GROUPS), {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "checkpoint").stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "checkpoint").iterdir()] == [0o600]


async def test_a_link_laid_where_the_next_file_goes_is_not_followed(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "checkpoint/new").symlink_to(tmp_path / "precious")
    await save(CheckpointStore(tmp_path / "checkpoint"), tracked(*GROUPS), {"n": 1})
    assert (tmp_path / "precious").read_text() == "precious"
    assert loaded(tmp_path / "checkpoint")[0] == {"n": 1}


async def test_what_is_written_is_in_proportion_to_what_changed(tmp_path):
    parts, store = tracked(*GROUPS), CheckpointStore(tmp_path / "checkpoint")
    chance = np.random.default_rng(1)
    parts["a"].part.write(np.arange(20_000), 1)
    parts["a"].part.state["ring"][:20_000] = chance.normal(size=(20_000, 3))
    whole = await save(store, parts, {})
    one_percent = chance.choice(20_000, 200, replace=False)
    parts["a"].part.write(one_percent, 2)
    assert await save(store, parts, {}) < whole / 40
    nothing = await save(store, parts, {})
    assert nothing < 3000
    assert same(contents(loaded(tmp_path / "checkpoint")[1]), contents(parts))


async def test_after_a_restart_only_what_changes_is_written(tmp_path):
    parts = tracked(*GROUPS)
    parts["a"].part.write(np.arange(20_000), 1)
    await save(CheckpointStore(tmp_path / "checkpoint"), parts, {})
    _, back, store = loaded(tmp_path / "checkpoint")
    assert await save(store, back, {}) < 3000
    back["b"].part.write(np.array([5]), 3)
    await save(store, back, {})
    assert same(contents(loaded(tmp_path / "checkpoint")[1]), contents(back))


async def test_a_part_that_is_not_restored_is_written_whole_and_one_that_is_gone_goes(tmp_path):
    parts = tracked(*GROUPS)
    for name in parts:
        parts[name].part.write(np.arange(50), 1)
    await save(CheckpointStore(tmp_path / "checkpoint"), parts, {})
    store = CheckpointStore(tmp_path / "checkpoint")
    found, back = store.load(), tracked(("a", "b"))
    found.restore("a", back["a"])
    back["b"].part.grow(7)
    back["b"].part.state["count"][:7] = 9  # without having said so: nothing of it is on disk
    await save(store, back, {})
    again = CheckpointStore(tmp_path / "checkpoint").load()
    assert set(again.names) == {"a", "b"}
    assert same(contents(loaded(tmp_path / "checkpoint")[1])["b"], contents(back)["b"])


async def test_an_image_is_of_its_moment_though_all_changes_meanwhile(tmp_path, small_slices):
    parts, store = tracked(*GROUPS), CheckpointStore(tmp_path / "checkpoint")
    for name in parts:
        parts[name].part.write(np.arange(300), 5)
    chance = np.random.default_rng(3)
    at_begin = copy.deepcopy(contents(parts))
    saving = asyncio.create_task(save(store, parts, {}))
    changed = 0
    while not saving.done():
        await asyncio.sleep(0)
        for name in parts:
            keys = chance.choice(400, int(chance.integers(1, 30)), replace=False)
            parts[name].part.write(keys, changed)
            if changed % 7 == 0:
                parts[name].part.touch(keys[:2])
                parts[name].part.evict(keys[:2])
        changed += 1
    await saving
    assert changed > 5
    assert same(contents(loaded(tmp_path / "checkpoint")[1]), at_begin)
    await save(store, parts, {})
    assert same(contents(loaded(tmp_path / "checkpoint")[1]), contents(parts))


async def test_a_save_knows_what_it_wrote_also_if_it_failed(tmp_path, monkeypatch):
    parts, store = tracked(*GROUPS), CheckpointStore(tmp_path / "checkpoint")
    parts["a"].part.write(np.arange(5000), 7)
    saving = store.begin(parts, {})
    assert saving.written == 0
    monkeypatch.setattr(segments.SegmentWriter, "finish", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        await saving.write()
    failed = saving.written
    monkeypatch.undo()
    saving = store.begin(parts, {})
    assert await saving.write() == saving.written > failed > 1000


@pytest.mark.parametrize("how", ["abandoned", *range(7), "disk"])
async def test_what_a_failed_save_took_is_saved_by_the_next(tmp_path, small_slices, how, monkeypatch):
    parts, store = tracked(*GROUPS), CheckpointStore(tmp_path / "checkpoint")
    parts["a"].part.write(np.arange(300), 5)
    await save(store, parts, {"n": 1})
    before = copy.deepcopy(contents(parts))
    parts["a"].part.write(np.arange(100, 250), 6)
    if how == "abandoned":
        store.begin(parts, {"n": 2}).abandon()
    elif how != "disk":  # cancelled early or late
        saving = asyncio.create_task(save(store, parts, {"n": 2}))
        for _ in range(how):
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        assert saving.cancelled()
    else:

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                await save(store, parts, {"n": 2})
    document, back, _ = loaded(tmp_path / "checkpoint")
    assert document == {"n": 1}
    assert same(contents(back), before)
    assert [file.name for file in (tmp_path / "checkpoint").iterdir()] == ["000000000001.segment"]
    parts["c"].part.write(np.array([1]), 1)  # nobody looks on any more
    await save(store, parts, {"n": 3})
    document, back, _ = loaded(tmp_path / "checkpoint")
    assert document == {"n": 3}
    assert same(contents(back), contents(parts))


async def test_outdated_records_are_bounded_and_so_are_files(tmp_path, monkeypatch):
    for name, value in (("SLACK", 20_000), ("MANY", 10)):
        monkeypatch.setattr(live, name, value)
    monkeypatch.setattr(segments, "SMALL", 10_000)
    parts, store = tracked(*GROUPS), CheckpointStore(tmp_path / "checkpoint")
    chance = np.random.default_rng(1)
    parts["a"].part.write(np.arange(3000), 1)
    parts["a"].part.state["ring"][:3000] = chance.normal(size=(3000, 3))
    whole = await save(store, parts, {})
    most, files = 0, 0
    for number in range(150):
        keys = chance.choice(3000, 30, replace=False)
        parts["a"].part.write(keys, number)
        await save(store, parts, {"n": number})
        found = list((tmp_path / "checkpoint").iterdir())
        most, files = max(most, sum(file.stat().st_size for file in found)), max(files, len(found))
        if number % 30 == 0:
            assert same(contents(loaded(tmp_path / "checkpoint")[1]), contents(parts))
    assert most < 4 * whole + 100_000
    assert files < 30
    assert store.written < 30 * whole


def damage(folder, chance):
    """Do to one of the files what disks do."""
    files = sorted(folder.glob("*.segment"))
    if not files:
        return
    file = chance.choice(files[-2:] if chance.random() < 0.5 else files)
    data = bytearray(file.read_bytes())
    kind = chance.randrange(5)
    if kind == 0:
        data = data[: chance.randrange(len(data) + 1)]
    elif kind == 1 and data:
        for _ in range(chance.choice((1, 8, 64))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 2 and data:
        at = chance.randrange(len(data))
        data[at : at + 4096] = b"\0" * len(data[at : at + 4096])
    elif kind == 3 or not data:
        data = bytearray()
    else:
        file.unlink()
        return
    file.write_bytes(data)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_happens_what_is_loaded_is_an_image_that_was_saved(tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("store") / "checkpoint"
    chance = random.Random(seed)

    async def live_and_crash():
        parts, store, images = tracked(*GROUPS), CheckpointStore(folder), {}
        number = harmed = 0
        for _ in range(chance.randrange(3, 25)):
            match chance.randrange(9):
                case 0 | 1 | 2:
                    name = chance.choice(list(parts))
                    keys = np.array(chance.sample(range(chance.choice((5, 300, 2500))), 4))
                    parts[name].part.write(keys, chance.randrange(1, 100))
                case 3:
                    name = chance.choice(list(parts))
                    keys = np.array(chance.sample(range(300), 3))
                    parts[name].part.touch(keys)
                    parts[name].part.evict(keys)
                case 4:
                    store.begin(parts, {"n": -1}).abandon()
                case 5 | 6 | 7:
                    number += 1
                    images[number] = copy.deepcopy(contents(parts))
                    saving = asyncio.create_task(save(store, parts, {"n": number}))
                    await asyncio.sleep(0)
                    parts["a"].part.write(np.array(chance.sample(range(300), 2)), 50)
                    await saving
                    harmed = 0
                case 8:  # killed, and perhaps harmed, and started again
                    harmed = chance.randrange(3)
                    for _ in range(harmed):
                        damage(folder, chance)
                    (folder / "new").write_bytes(b"half") if folder.exists() else None
                    document, parts, store = loaded(folder)
                    if document is None:
                        assert harmed or not images
                        parts, images = tracked(*GROUPS), {}
                    else:
                        assert document["n"] == max(images) or harmed
                        assert same(contents(parts), images[document["n"]])
                        images = {n: kept for n, kept in images.items() if n <= document["n"]}
        document, parts, _ = loaded(folder)
        if images:
            assert document["n"] == max(images)
            assert same(contents(parts), images[document["n"]])
        else:
            assert document is None

    asyncio.run(live_and_crash())
    shutil.rmtree(folder.parent)


KILLED = """
import asyncio, sys
from pathlib import Path
import numpy as np
from agent.storage.checkpoint import CheckpointStore
from tests.storage.parts import save, tracked

async def work():
    store, parts = CheckpointStore(Path(sys.argv[1])), tracked(("a", "b"), ("c",))
    found = store.load()
    number = 0 if found is None else found.document["n"]
    for name in found.names if found else ():
        found.restore(name, parts[name])
    print("begun", number, flush=True)
    while True:
        number += 1
        for name in parts:
            part = parts[name].part
            keys = np.arange(number % 7, 1500, 1 + number % 5)
            part.touch(keys)
            part.grow(1500)
            part.state["count"][keys] = number
            part.now = number
        await save(store, parts, {"n": number})
        print(number, flush=True)

asyncio.run(work())
"""


def expected_counts(number):
    count = np.zeros(1500, np.int64)
    for n in range(1, number + 1):
        count[n % 7 : 1500 : 1 + n % 5] = n
    return count


def test_killed_at_any_moment_it_goes_on_from_the_last_save_that_was_said_to_be_safe(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    said = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "checkpoint")], stdout=subprocess.PIPE, text=True
        ) as process:
            begun = int(process.stdout.readline().split()[1])
            assert said <= begun <= said + 1
            for _ in range(chance.randrange(1, 12)):
                said = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().split()
            said = int(rest[-1]) if rest else said
    document, parts, _ = loaded(tmp_path / "checkpoint")
    assert said <= document["n"] <= said + 1
    for name in parts:
        assert parts[name].part.state["count"][:1500].tolist() == expected_counts(document["n"]).tolist()
        assert parts[name].part.now == document["n"]
    assert not list(tmp_path.glob("*.corrupt-*"))


@pytest.mark.parametrize("what", ["file", "link"])
async def test_what_is_no_folder_is_moved_aside(tmp_path, what, caplog):
    folder = tmp_path / "checkpoint"
    if what == "file":
        folder.write_bytes(b"x")
    else:
        folder.symlink_to(tmp_path)
    store = CheckpointStore(folder)
    assert store.load() is None
    assert "it is no folder" in caplog.text
    await save(store, tracked(*GROUPS), {"n": 1})
    assert loaded(folder)[0] == {"n": 1}


async def test_a_damaged_segment_is_moved_aside_and_the_one_before_serves(tmp_path, caplog):
    parts, store = tracked(*GROUPS), CheckpointStore(tmp_path / "checkpoint")
    for number in range(1, 4):
        parts["a"].part.write(np.arange(10), number)
        await save(store, parts, {"n": number})
    newest = max((tmp_path / "checkpoint").iterdir())
    newest.write_bytes(newest.read_bytes()[:-30])
    document, _, store = loaded(tmp_path / "checkpoint")
    assert document == {"n": 2}
    assert "going on from the one before" in caplog.text
    assert [path.name.startswith("checkpoint-segment.corrupt-") for path in tmp_path.glob("*.corrupt-*")] == [True]
    await save(store, parts, {"n": 4})
    assert loaded(tmp_path / "checkpoint")[0] == {"n": 4}


async def test_a_segment_of_a_newer_agent_is_named_so(tmp_path, caplog, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(segments, "VERSION", 7)
        await save(CheckpointStore(tmp_path / "checkpoint"), tracked(*GROUPS), {})
    assert CheckpointStore(tmp_path / "checkpoint").load() is None
    assert "a newer agent wrote it (format 7, this agent reads 2)" in caplog.text
    assert any(name.startswith("checkpoint.corrupt-") for name in os.listdir(tmp_path))


@pytest.mark.parametrize("evicted", [1, 300, 600])
async def test_series_that_were_evicted_and_came_back_at_other_rows_are_found_again(tmp_path, evicted):
    """The record that has a series at its new row may be older than, or beside, one that has it at its old row."""
    table, store = KeyTable(), CheckpointStore(tmp_path / "checkpoint")
    parts = dict(zip(("names", "seen"), table.tracked(), strict=True))
    for number in range(2000):
        table.row((f"m{number}",), number)
    await save(store, parts, {})
    for rows in (np.arange(evicted), np.arange(500, 500 + evicted), np.array([3, 1999])):
        gone = [table.name(row) for row in rows.tolist()]
        table.evict(rows)
        for name in gone[:-1]:
            table.row(name, 5000)
        await save(store, parts, {})
        found, back = CheckpointStore(tmp_path / "checkpoint").load(), KeyTable()
        for name, part in zip(("names", "seen"), back.tracked(), strict=True):
            found.restore(name, part)
        assert (back.names, back.snapshot()["free"]) == (table.names, table.snapshot()["free"])
        np.testing.assert_array_equal(back.snapshot()["seen"], table.snapshot()["seen"])


async def test_names_and_free_rows_that_do_not_fit_each_other_are_refused(tmp_path):
    table = KeyTable()
    table.row(("a",), 1)
    names, _ = table.tracked()
    state = names.part.extract(np.arange(1))
    lost, _ = KeyTable().tracked()
    lost.part.merge(np.array([1]), state)  # row 0 has neither a name nor is it free
    with pytest.raises(ValueError, match="do not fit each other"):
        lost.part.restore_shared(state)


class Notes(Stateful):
    """Nothing but records of a few series: its highest series is gone with its record."""

    remembers: ClassVar = {"notes": "notes"}

    def __init__(self):
        self.notes = SeriesRecords()


async def test_a_record_that_is_gone_does_not_come_back_after_a_restart(tmp_path):
    part, store = Notes(), CheckpointStore(tmp_path / "checkpoint")
    parts = {"p": Tracked(part, Changes())}
    part.track(parts["p"].changes)
    for record in ({5: "open", 2: "open"}, {2: "open"}, {}):
        part.touch(np.array([2, 5]))
        part.notes.of = dict(record)
        await save(store, parts, {})
        back = Notes()
        CheckpointStore(tmp_path / "checkpoint").load().restore("p", Tracked(back, Changes()))
        assert back.notes.of == record
