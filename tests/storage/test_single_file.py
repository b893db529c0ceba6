"""The checkpoint of the first format is read whole, or moved aside; what it claims costs no memory."""

import json
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from agent.storage.single_file import load
from tests.storage import single_file


def test_state_comes_back_as_it_was(tmp_path):
    state = {"a": np.arange(3.0), "b": {"c": [1, None, "x", float("inf")], ("t", "u"): np.array([True])}, 5: -0.0}
    state["grid"] = np.asfortranarray(np.arange(6).reshape(2, 3))
    single_file.save(tmp_path / "s", state)
    back = load(tmp_path / "s")
    assert back["a"].tobytes() == state["a"].tobytes()
    assert back["b"]["c"] == [1, None, "x", float("inf")]
    assert back["b"]["t", "u"].tolist() == [True]
    assert str(back[5]) == "-0.0"
    assert back["grid"].tolist() == [[0, 1, 2], [3, 4, 5]]
    back["a"][0] = 9  # may be written to


def test_no_checkpoint_is_no_error(tmp_path):
    assert load(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_moved_aside(tmp_path, damage):
    path = tmp_path / "s"
    single_file.save(path, {"a": np.arange(1000)})
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[len(content) // 2] ^= 0xFF
    else:
        content = bytearray()
    path.write_bytes(bytes(content))
    assert load(path) is None
    assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()][0].startswith("s.corrupt-")


@pytest.mark.parametrize(
    "lay", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "folder", "device"]
)
def test_what_is_no_file_is_moved_aside(tmp_path, lay):
    path = tmp_path / "s"
    lay(path)
    assert load(path) is None
    assert not os.path.lexists(path)


def npy(header, content=b""):
    """An array with this header."""
    text = (header if isinstance(header, bytes) else repr(header).encode()) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def document(value):
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return npy({"descr": "|u1", "fortran_order": False, "shape": (len(content),)}, content)


ARRAY = document({"version": 1, "state": {"$items": [["a", {"$array": 0}]]}})
DEEP = b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    "members",
    [
        {"document.npy": npy(b"{'descr': ('|u1', 'shape': (3,")},  # NumPy reads it as Python, and it is none
        {"document.npy": document(DEEP)},
        {"document.npy": document(b'{"version":1,"state":' + DEEP + b"}")},
        {"document.npy": document({"version": 1, "state": json.loads(b"[" * 900 + b"]" * 900)})},
        {"document.npy": document({"version": 2, "state": {}})},
        {"document.npy": document([1])},
        {"document.npy": document({"version": 1, "state": {"$array": "x"}})},
        {"document.npy": ARRAY},
        {
            "document.npy": ARRAY,
            "a0.npy": npy({"descr": "<f8", "fortran_order": False, "shape": (12_482_000_000,)}),
        },
        {"document.npy": ARRAY, "a0.npy": npy({"descr": "<f8", "fortran_order": False, "shape": (2**62, 2**62)})},
        {"document.npy": ARRAY, "a0.npy": npy({"descr": "<f8", "fortran_order": False, "shape": (-1,)}, bytes(8))},
        {"document.npy": ARRAY, "a0.npy": npy({"descr": "|O", "fortran_order": False, "shape": (1,)}, bytes(8))},
        {"document.npy": ARRAY, "a0.npy": b"no array"},
        {"a0.npy": ARRAY},
    ],
    ids=range(14),
)
def test_what_no_agent_wrote_is_moved_aside_and_costs_no_memory(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "s", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    moved_aside_cheaply(tmp_path)


def test_a_bomb_is_not_expanded(tmp_path):
    with zipfile.ZipFile(tmp_path / "s", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("document.npy", ARRAY)
        shape = {"descr": "|u1", "fortran_order": False, "shape": (300 << 20,)}
        archive.writestr("a0.npy", npy(shape, bytes(300 << 20)))
    moved_aside_cheaply(tmp_path)


def moved_aside_cheaply(folder):
    tracemalloc.start()
    try:
        assert load(folder / "s") is None
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert not (folder / "s").exists()
