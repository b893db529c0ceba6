"""Recordings: batches come back exactly, damage costs what is damaged, pace is kept."""

from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.batch import Batch, Text, tick
from sensors.drivers.recording import Recorder, RecordingError, RecordingSource, batches
from sensors.drivers.simulated import Orders, Temperature, Voltage
from sensors.source import Counters, Source, SourceError
from sensors.units import SECOND


def same(a: Batch, b: Batch) -> bool:
    """Equal to the last bit, NaN included, types too."""
    return (
        (a.machines, a.read_at, a.source, a.clock_step) == (b.machines, b.read_at, b.source, b.clock_step)
        and list(a.values) == list(b.values)
        and sorted(a.texts) == sorted(b.texts)
        and a.machine.tobytes() == b.machine.tobytes()
        and a.time.tobytes() == b.time.tobytes()
        and all(a.values[name].tobytes() == b.values[name].tobytes() for name in a.values)
        and all(a.texts[name].words == b.texts[name].words for name in a.texts)
        and all(a.texts[name].codes.tobytes() == b.texts[name].codes.tobytes() for name in a.texts)
        and (b.machine.dtype, b.time.dtype) == (np.int32, np.int64)
    )


def some_batches() -> list[Batch]:
    mixed: list[Batch] = []
    for source in (Temperature(), Voltage(machines=2, kinds=["drop", "spike"], anomaly_probability=0.01), Orders()):
        for block in islice(source.blocks(10**18), 3):
            mixed += [block.slice(start, start + 50) for start in range(0, len(block), 50)]
        mixed.append(tick(10**18 + SECOND, "clock"))
    return mixed


def record(path: Path, made: list[Batch]) -> None:
    with Recorder(path) as recorder:
        for batch in made:
            recorder.write(batch)


def agree(path: Path, made: list[Batch]) -> bool:
    read = list(batches(path))
    return len(read) == len(made) and all(map(same, made, read))


def test_batches_and_ticks_come_back_exactly(tmp_path: Path) -> None:
    record(tmp_path / "a.rec", some_batches())
    assert agree(tmp_path / "a.rec", some_batches())


names = st.sampled_from(["a", "b", "Ünicode 🍍", "", "x" * 40])


@st.composite
def batch(draw: st.DrawFn) -> Batch:
    n = draw(st.integers(0, 5))
    machines = tuple(draw(st.lists(names, min_size=1, max_size=4, unique=True)))
    numbers = st.lists(st.floats(width=64), min_size=n, max_size=n)
    words = tuple(draw(st.lists(names, max_size=3, unique=True)))
    return Batch(
        machines,
        np.array(draw(st.lists(st.integers(0, len(machines) - 1), min_size=n, max_size=n)), np.int32),
        np.array(draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n)), np.int64),
        {name: np.array(draw(numbers), np.float64) for name in draw(st.lists(names, max_size=3, unique=True))},
        read_at=draw(st.integers(-(2**62), 2**62)),
        texts={"t": Text(words, np.full(n, len(words) - 1, np.int32))} if draw(st.booleans()) else {},
        source=draw(names),
        clock_step=draw(st.sampled_from([0, -5, 10**12])),
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(batch(), max_size=8))
def test_any_batch_comes_back(tmp_path_factory: pytest.TempPathFactory, made: list[Batch]) -> None:
    path = tmp_path_factory.mktemp("recording") / "any.rec"
    record(path, made)
    assert agree(path, made)


def test_a_second_recording_follows_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    record(path, some_batches())
    record(path, some_batches()[::-1])
    assert agree(path, some_batches() + some_batches()[::-1])


def test_a_torn_tail_loses_the_last_chunk_only(tmp_path: Path) -> None:
    path, made = tmp_path / "a.rec", some_batches()
    record(path, made)
    whole = path.read_bytes()
    last = whole.rfind(b"CHNK")
    lengths = []
    for size in (len(whole) - 1, len(whole) - 1000, last + 13, last + 5, last + 1):
        path.write_bytes(whole[:size])
        counters = Counters()
        read = list(batches(path, counters))
        assert all(map(same, made, read))
        assert counters.frames_bad == 1
        lengths.append(len(read))
    assert len(set(lengths)) == 1
    assert 0 < lengths[0] < len(made)
    record(path, made[:5])  # a recorder that starts again after the fall
    assert len(list(batches(path))) == lengths[0] + 5


def test_any_single_damage_costs_bounded_rows_and_never_raises(tmp_path: Path) -> None:
    path, made = tmp_path / "a.rec", some_batches()
    record(path, made)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    originals = {batch.time.tobytes() + batch.read_at.to_bytes(8, "little"): batch for batch in made}
    for place in rng.integers(8, len(whole), 100).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        counters = Counters()
        for read in batches(path, counters):
            assert same(originals[read.time.tobytes() + read.read_at.to_bytes(8, "little")], read)
        assert counters.frames_bad >= 1
        assert counters.last_error


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a recording")
    with pytest.raises(SourceError, match="is no recording"):
        list(batches(path))
    with pytest.raises(RecordingError, match="not overwritten"), Recorder(path):
        pass
    assert path.read_text() == "not a recording"
    with pytest.raises(SourceError, match="No such file"):
        list(batches(tmp_path / "absent.rec"))
    with pytest.raises(RecordingError, match="No such file"), Recorder(tmp_path / "no" / "folder.rec"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "full.rec"
    with Recorder(path) as recorder, path.open("rb") as whole, open("/dev/full", "wb", buffering=0) as full:
        os.dup2(full.fileno(), recorder._file.fileno())
        for batch in some_batches()[:3]:
            recorder.write(batch)
        with pytest.raises(RecordingError, match="No space left"):
            recorder.flush()
        recorder.flush()  # what could not be written is forgotten
        assert whole.read() == b"EDGEREC1"


def test_ever_new_machines_are_written_once(tmp_path: Path) -> None:
    made, known = [], ()
    for number in range(300):
        known = (*known, f"machine-{number:06d}")
        one = np.array([number], np.int32)
        made.append(Batch(known, one, one.astype(np.int64), {"x": one.astype(np.float64)}, number))
    record(tmp_path / "a.rec", made)
    assert agree(tmp_path / "a.rec", made)
    assert (tmp_path / "a.rec").stat().st_size < 300 * 250


@pytest.mark.parametrize(("speed", "pause"), [(50.0, SECOND), ("max", 3600 * SECOND)])
async def test_the_pace_is_that_of_the_recording(tmp_path: Path, speed: float | str, pause: int) -> None:
    made = [tick(10**18 + number * pause, str(number)) for number in range(11)]
    record(tmp_path / "a.rec", made)
    source = RecordingSource(tmp_path / "a.rec", speed=speed)
    assert isinstance(source, Source)
    began = time.monotonic()
    async with source:
        read = [batch async for batch in source]
    took = time.monotonic() - began
    assert all(map(same, made, read))
    assert speed == "max" or took > 0.19  # at any pace the ten hours of `max` would not end


async def test_opened_again_it_goes_on_and_a_position_leads_there(tmp_path: Path) -> None:
    made = [tick(10**18 + number, str(number)) for number in range(10)]
    record(tmp_path / "a.rec", made)
    first, second = (RecordingSource(tmp_path / "a.rec", speed="max") for _ in range(2))
    async with first:
        begun = [await anext(first) for _ in range(4)]
    second.seek(first.position())
    for source in (first, second):
        async with source:
            rest = [batch async for batch in source]
        assert all(map(same, made, begun + rest))
        assert len(begun + rest) == len(made)


async def test_an_empty_recording_ends_at_once(tmp_path: Path) -> None:
    record(tmp_path / "a.rec", [])
    async with RecordingSource(tmp_path / "a.rec") as source:
        assert [batch async for batch in source] == []


async def test_a_missing_recording_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="absent"):
        async with RecordingSource(tmp_path / "absent.rec"):
            pass
