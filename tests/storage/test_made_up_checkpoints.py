"""Files that somebody made to do harm, checksums and all: they cost little memory, run nothing, and are moved aside."""

import json
import os
import shutil
import tracemalloc
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from agent.engine.state import UNFIT
from agent.storage import records, segments
from agent.storage.checkpoint import CheckpointStore
from agent.storage.image import keys_of
from agent.storage.segments import SegmentWriter
from tests.storage.parts import contents, save, tracked

ENOUGH = 100 << 20


@contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < ENOUGH
    finally:
        tracemalloc.stop()


def load(folder):
    with little_memory():
        return CheckpointStore(folder).load()


def record(document, described=(), blobs=(), *, text=None, raw=None):
    """A record with a right checksum, whatever is in it."""
    text = json.dumps([document, list(described)]).encode() if text is None else text
    lengths = (len(text), len(text) if raw is None else raw, sum(map(len, blobs)))
    crc = records._crc(lengths, iter((text, *blobs)))
    return [records._HEAD.pack(b"ckpt", *lengths, crc), text, *blobs]


def bomb(size):
    """`size` zeros, compressed, without ever holding them."""
    stream = zlib.compressobj(1)
    return b"".join(stream.compress(bytes(1 << 20)) for _ in range(size >> 20)) + stream.flush()


def good(state):
    return records.pack(*records.strip(state))


def array(dtype, shape, blob, packed=False):
    return record({"$array": 0}, [[dtype, shape, len(blob), packed]], [blob])


SMALL_BOMB = bomb(16 << 20)
DEEP = b"[" * 50_000 + b"]" * 50_000
MADE_UP = {
    "93 GiB": array("<f8", [12_482_000_000], bytes(80)),
    "93 GiB packed": array("<f8", [12_482_000_000], bytes(80), True),
    "93 GiB in a length": record({"$array": 0}, [["<f8", [10], 12_482_000_000, False]], [bytes(80)]),
    "an endless shape": array("<f8", [2**40, 2**40], bytes(80)),
    "many dimensions": array("<f8", [1] * 60, bytes(8)),
    "a negative shape": array("<f8", [-4, -2], bytes(64)),
    "a shape of fractions": array("<f8", [8.0], bytes(64)),
    "a shape of nothing and all": array("<f8", [0, 2**62], b""),
    "objects": array("|O", [8], bytes(64)),
    "a type that is Python": array("__import__('os')", [8], bytes(64)),
    "a record type": array("f8,O", [8], bytes(128)),
    "a bomb of an array": array("|u1", [1 << 36], SMALL_BOMB, True),
    "a bomb of small arrays": record(
        [{"$array": n} for n in range(200)], [["|u1", [16 << 20], len(SMALL_BOMB), True]] * 200, [SMALL_BOMB] * 200
    ),
    "more than it says": array("|u1", [10], SMALL_BOMB, True),
    "less than it says": array("|u1", [10], zlib.compress(b"abc"), True),
    "no stream": array("|u1", [10], b"nothing compressed", True),
    "a bomb of a document": record(None, text=bomb(32 << 20), raw=16 << 20),
    "a bomb of a document that fits": record(None, text=zlib.compress(b" " * (16 << 20)), raw=16 << 20),
    "a document that is deep": record(None, text=b"[" + DEEP + b",[]]"),
    "items that are deep": record(json.loads(b"[" * 800 + b"]" * 800)),
    "no JSON": record(None, text=b"}"),
    "no UTF-8": record(None, text=b'["\xff",[]]'),
    "half a pair": record(None, text=b"[1]"),
    "an array that is not there": record({"$array": 7}),
    "an array where a part should be": array("<i8", [8], bytes(64)),
    "an array with a name": record({"$array": "x"}),
    "keys that cannot be": record({"$items": [[{"$items": []}, 1]]}),
    "a number without end": record(None, text=b"[" + b"9" * 10_000 + b",[]]"),
    "arrays that are numbers": record(None, text=b"[1,2]"),
}


@pytest.mark.parametrize("made_up", MADE_UP.values(), ids=MADE_UP.keys())
async def test_a_made_up_record_of_a_part_loses_that_part_only(tmp_path, made_up):
    folder = tmp_path / "checkpoint"
    writer = SegmentWriter(folder, 1)
    common = writer.add(
        good({"document": {"n": 1}, "shared": {"a": {}, "b": tracked(("b",))["b"].part.snapshot()}})
    )
    place = writer.add(made_up)
    places = {"a": np.array([place]), "b": np.zeros((0, 3), np.int64)}
    writer.finish(good({"common": list(common), "places": places}))
    found, parts = load(folder), tracked(("a", "b"))
    assert found.document == {"n": 1}
    found.restore("b", parts["b"])
    with little_memory(), pytest.raises(UNFIT):
        found.restore("a", parts["a"])


async def test_a_segment_that_cannot_be_read_any_more_loses_the_parts_in_it_only(tmp_path):
    folder = tmp_path / "checkpoint"
    parts = tracked(("a", "b"))
    parts["a"].part.write(np.arange(10), 1)
    await save(CheckpointStore(folder), parts, {})
    found = load(folder)
    shutil.rmtree(folder)
    with pytest.raises(UNFIT):
        found.restore("a", tracked(("a",))["a"])


@pytest.mark.parametrize("made_up", MADE_UP.values(), ids=MADE_UP.keys())
@pytest.mark.parametrize("where", ["common", "manifest"])
async def test_a_made_up_record_of_the_whole_is_moved_aside(tmp_path, made_up, where, caplog):
    folder = tmp_path / "checkpoint"
    writer = SegmentWriter(folder, 1)
    if where == "common":
        writer.finish(good({"common": list(writer.add(made_up)), "places": {}}))
    else:
        writer.finish(made_up)
    assert load(folder) is None
    assert "cannot be read" in caplog.text
    assert not folder.exists()
    await save(CheckpointStore(folder), tracked(("a",)), {})
    assert CheckpointStore(folder).load().document == {}


@pytest.mark.parametrize(
    "places",
    [
        {"a": np.array([[1, 10**17, 100]])},
        {"a": np.array([[1, -8, 100]])},
        {"a": np.array([[1, 12, -100]])},
        {"a": np.array([[10**18, 12, 100]])},
        {"a": np.array([[1, 12, 10**18]])},
        {"a": np.zeros((0, 2), np.int64)},
        {"a": np.zeros(3)},
        {"a": "x"},
        {"a": None},
        3,
        "abc",
        [[1, 2, 3]],
    ],
    ids=str,
)
async def test_a_manifest_that_names_no_records_is_moved_aside(tmp_path, places, caplog):
    writer = SegmentWriter(tmp_path / "checkpoint", 1)
    common = writer.add(good({"document": {}, "shared": {}}))
    writer.finish(good({"common": list(common), "places": places}))
    assert load(tmp_path / "checkpoint") is None
    assert "cannot be read" in caplog.text


async def test_a_record_named_a_million_times_is_not_read_so_often(tmp_path, caplog):
    writer = SegmentWriter(tmp_path / "checkpoint", 1)
    common = writer.add(good({"document": {}, "shared": {}}))
    place = writer.add(good({"keys": np.array([[0, 1]]), "state": bytes(1000).decode()}))
    writer.finish(good({"common": list(common), "places": {"a": np.tile(np.array(place), (1_000_000, 1))}}))
    assert load(tmp_path / "checkpoint") is None
    assert "names more records than there are" in caplog.text


@pytest.mark.parametrize(
    "runs",
    [
        np.array([[0, 2**62]]),
        np.array([[2**62, 2**62]]),
        np.array([[-1, 2]]),
        np.array([[0, 0]]),
        np.array([[0, 5], [3, 2]]),
        np.array([[5, 2], [0, 2]]),
        np.array([[99, 2]]),
        np.zeros((0, 2), np.int64),
        np.zeros((1, 3), np.int64),
        np.zeros((1, 2)),
        [[0, "x"]],
        None,
    ],
    ids=str,
)
def test_series_that_there_are_not_are_refused(runs):
    with pytest.raises((ValueError, TypeError)):
        keys_of(runs, 100)


def test_a_large_array_is_stored_as_it_is_and_read_back(monkeypatch):
    monkeypatch.setattr(records, "MAX_PACKED", 3000)
    state = {"a": np.zeros(300), "b": np.zeros(300), "c": np.arange(5.0)}
    packed = b"".join(good(state))
    assert 2400 < len(packed) < 3000
    np.testing.assert_equal(records.unpack(packed), state)


def test_segments_of_other_names_are_left_alone(tmp_path):
    for name in ("000000000001.segment", "x.segment", "notes", "1.segment.bak"):
        (tmp_path / name).touch()
    assert segments.numbers(tmp_path) == [1]
    segments.remove(tmp_path, set())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.segment.bak", "notes", "x.segment"]


def _copy(of, to):
    def lay(folder):
        (folder / f"{to:012d}.segment").write_bytes((folder / f"{of:012d}.segment").read_bytes())

    return lay


def _named(name, make):
    return lambda folder: make(folder / name)


def _full_folder(path):
    path.mkdir()
    (path / "x").touch()


LAID = {
    "a number without zeros": _named("7.segment", Path.touch),
    "other digits": _named("٠٠٠٠٠٠٠٠٠٠٣٤.segment", Path.touch),
    "eighteen digits": _named("9" * 18 + ".segment", Path.touch),
    "the last number": _named("9" * 12 + ".segment", Path.touch),
    "an older one as the newest": _copy(2, 9),
    "the newest once more": _copy(3, 9),
    "a link to nowhere, older": _named("000000000000.segment", lambda path: path.symlink_to("nowhere")),
    "a link to nowhere, newer": _named("000000000009.segment", lambda path: path.symlink_to("nowhere")),
    "a pipe, older": _named("000000000000.segment", os.mkfifo),
    "a pipe, newer": _named("000000000009.segment", os.mkfifo),
    "a folder, older": _named("000000000000.segment", _full_folder),
    "a folder, newer": _named("000000000009.segment", _full_folder),
    "a folder where the next one is written": _named("new", _full_folder),
    "a pipe where the next one is written": _named("new", os.mkfifo),
}


@pytest.mark.parametrize("lay", LAID.values(), ids=LAID.keys())
async def test_what_somebody_laid_into_the_folder_changes_nothing_and_no_save_after_it_is_lost(tmp_path, lay):
    folder, parts = tmp_path / "checkpoint", tracked(("a",))
    store = CheckpointStore(folder)
    for number in (1, 2, 3):
        parts["a"].part.write(np.arange(10), number)
        await save(store, parts, {"n": number})
    lay(folder)
    store = CheckpointStore(folder)
    found, again = store.load(), tracked(("a",))
    found.restore("a", again["a"])
    assert found.document == {"n": 3}
    np.testing.assert_equal(contents(again), contents(parts))
    for number in (4, 5, 6):
        again["a"].part.write(np.arange(3), number)
        await save(store, again, {"n": number})
    last, fresh = CheckpointStore(folder).load(), tracked(("a",))
    last.restore("a", fresh["a"])
    assert last.document == {"n": 6}
    np.testing.assert_equal(contents(fresh), contents(again))
    assert sum(path.name.startswith("0") for path in folder.iterdir()) <= 4
    assert len([*tmp_path.iterdir()]) <= 2


@pytest.mark.parametrize("gone", ["folder", "segment", "shorter"])
async def test_what_somebody_removed_while_it_ran_is_saved_anew(tmp_path, gone, caplog):
    folder, parts = tmp_path / "state" / "checkpoint", tracked(("a",))
    store = CheckpointStore(folder)
    parts["a"].part.write(np.arange(1000), 1)
    await save(store, parts, {"n": 1})
    if gone == "folder":
        shutil.rmtree(tmp_path / "state")
    elif gone == "segment":
        segments.path_of(folder, 1).unlink()
    else:
        os.truncate(segments.path_of(folder, 1), 100)
    parts["a"].part.write(np.arange(3), 2)
    await save(store, parts, {"n": 2})
    assert "somebody else removed or changed segments" in caplog.text
    found, again = CheckpointStore(folder).load(), tracked(("a",))
    found.restore("a", again["a"])
    assert found.document == {"n": 2}
    np.testing.assert_equal(contents(again), contents(parts))
