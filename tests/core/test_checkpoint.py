"""The check-point keeps state whole, or says that it cannot."""

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from agent import checkpoint
from agent.quarantine import KEPT, move_aside


def test_state_comes_back_as_it_was(tmp_path):
    state = {"a": np.arange(3.0), "b": {"c": [1, None, "x", float("inf")], ("t", "u"): np.array([True])}, 5: -0.0}
    checkpoint.save(tmp_path / "s", checkpoint.snapshot(state))
    back = checkpoint.load(tmp_path / "s")
    assert back["a"].tobytes() == state["a"].tobytes()
    assert back["b"]["c"] == [1, None, "x", float("inf")]
    assert back["b"]["t", "u"].tolist() == [True]
    assert str(back[5]) == "-0.0"


def test_no_checkpoint_is_no_error(tmp_path):
    assert checkpoint.load(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_moved_aside(tmp_path, damage):
    path = tmp_path / "s"
    checkpoint.save(path, checkpoint.snapshot({"a": np.arange(1000)}))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[len(content) // 2] ^= 0xFF
    else:
        content = bytearray()
    path.write_bytes(bytes(content))
    assert checkpoint.load(path) is None
    assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()][0].startswith("s.corrupt-")


def test_objects_are_refused():
    with pytest.raises(TypeError):
        checkpoint.snapshot({"a": np.array([object()])})


def later_ctime(file):
    """Return when the clock of the file system has gone on, so that the next file is the newer one."""
    then, deadline = file.stat().st_ctime_ns, time.monotonic() + 5.0
    while True:
        os.utime(file.parent)
        if file.parent.stat().st_ctime_ns > then:
            return
        assert time.monotonic() < deadline


def test_only_the_newest_of_the_damaged_files_are_kept(tmp_path):
    path = tmp_path / "s"
    names = []
    for number in range(KEPT + 4):
        path.write_bytes(b"%d" % number)
        Path(f"{path}-wal").write_bytes(b"%d" % number)
        names.append(move_aside(path, ("-wal",)))
        later_ctime(names[-1])
    kept = [name for name in names if name.exists()]
    assert kept == names[-KEPT:]
    assert [name.read_bytes() for name in kept] == [b"%d" % number for number in range(4, KEPT + 4)]
    assert sum(1 for _ in tmp_path.iterdir()) == 2 * KEPT


def test_a_snapshot_is_of_its_moment(tmp_path):
    state = {"a": np.arange(3.0), "list": [1, 2]}
    kept = checkpoint.snapshot(state)
    state["a"][:] = 9
    state["list"].append(3)
    checkpoint.save(tmp_path / "s", kept)
    back = checkpoint.load(tmp_path / "s")
    assert back["a"].tolist() == [0, 1, 2]
    assert back["list"] == [1, 2]


def test_a_damaged_header_of_an_array_is_moved_aside(tmp_path: Path) -> None:
    """NumPy reads it as Python: what is no Python is damage like any other."""
    header = b"{'descr': ('|u1', 'shape': (3,\n"
    with zipfile.ZipFile(tmp_path / "a.checkpoint", "w") as archive:
        archive.writestr("document.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert checkpoint.load(tmp_path / "a.checkpoint") is None
    assert not (tmp_path / "a.checkpoint").exists()
