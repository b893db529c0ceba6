"""The check-point keeps state whole, or says that it cannot."""

import numpy as np
import pytest

from agent import checkpoint


def test_state_comes_back_as_it_was(tmp_path):
    state = {"a": np.arange(3.0), "b": {"c": [1, None, "x", float("inf")], ("t", "u"): np.array([True])}, 5: -0.0}
    checkpoint.save(tmp_path / "s", checkpoint.encode(state))
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
    checkpoint.save(path, checkpoint.encode({"a": np.arange(1000)}))
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
        checkpoint.encode({"a": np.array([object()])})
