"""Files of lines as a source, and the pace of rows that are out of order."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from sensors.batch import Batch
from sensors.codecs.csv import Csv
from sensors.codecs.json_lines import JsonLines
from sensors.drivers.file import FileSource
from sensors.drivers.pacing import Pace
from sensors.drivers.simulated.waveform import tutorial_dataset
from sensors.source import Source, SourceError
from sensors.units import SECOND

STAMP = 1_700_000_000 * SECOND


async def read(source: FileSource) -> list[Batch]:
    async with source:
        return [batch async for batch in source]


async def test_the_tutorials_csv_is_a_source(tmp_path: Path) -> None:
    data = tutorial_dataset(duration=3, seed=1)
    lines = [f"{t},{n},{a},{label}" for t, n, a, label in zip(
        data.time, data.normal_wave, data.anomaly_wave, data.is_anomaly, strict=True)]  # fmt: skip
    path = tmp_path / "dataset.csv"
    path.write_text("\n".join(["time,normal_wave,anomaly_wave,is_anomaly", *lines]))
    codec = Csv(time="time", time_unit="s", earliest="1970-01-01T00:00:00Z", values=["anomaly_wave"])
    source = FileSource(path=path, codec=codec, start="2026-01-01T00:00:00Z")
    assert isinstance(source, Source)
    batches = await read(source)
    wave = np.concatenate([batch.values["anomaly_wave"] for batch in batches])
    time = np.concatenate([batch.time for batch in batches])
    assert np.array_equal(wave, data.anomaly_wave)
    assert np.array_equal(time - time[0], np.rint(data.time * SECOND).astype(np.int64))
    assert np.datetime64(int(time[0]), "ns") == np.datetime64("2026-01-01T00:00:00")
    assert source.counters.frames_bad == 0


async def test_opened_again_it_goes_on_and_a_position_leads_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,x\n" + "".join(f"{STAMP + number * SECOND},{number}\n" for number in range(10)))

    def source() -> FileSource:
        return FileSource(path=path, codec=Csv(time="t"))

    first, second, other = source(), source(), source()
    async with first:
        begun = [(await anext(first)).values["x"][0] for _ in range(4)]
    second.seek(first.position())
    other.seek({"path": "elsewhere.csv", "rows": 7})
    for again in (first, second):
        rest = [value for batch in await read(again) for value in batch.values["x"]]
        assert begun + rest == list(range(10))
    assert sum(map(len, await read(other))) == 10


async def test_a_last_line_without_end_is_read_and_broken_ones_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"t": {STAMP}, "x": 1}}\nbroken\n{{"t": {STAMP + 1}, "x": 2}}')
    source = FileSource(path=path, codec=JsonLines(time="t"))
    assert [value for batch in await read(source) for value in batch.values["x"]] == [1.0, 2.0]
    assert source.counters.frames_bad == 1


async def test_an_empty_file_ends_and_a_missing_one_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    assert await read(FileSource(path=tmp_path / "empty.csv")) == []
    with pytest.raises(SourceError, match="No such file"):
        await read(FileSource(path=tmp_path / "absent.csv"))
    with pytest.raises(SourceError, match="Is a directory"):
        await read(FileSource(path=tmp_path))


def block(times: list[int]) -> Batch:
    time = STAMP + np.array(times, np.int64)
    return Batch(("a",), np.zeros(len(times), np.int32), time, {"x": time.astype(np.float64)}, 0)


@pytest.mark.parametrize("speed", [float("inf"), 1e5])
async def test_a_batch_spans_a_second_at_most_and_its_clock_never_goes_back(speed: float) -> None:
    rng = np.random.default_rng(4)
    times = np.cumsum(rng.integers(0, SECOND // 3, 3000)) + rng.integers(-SECOND, SECOND, 3000)
    blocks = [block(part.tolist()) for part in np.split(times, [100, 1500, 1501])]
    pace = Pace(iter(blocks), STAMP, speed)
    taken: list[Batch] = []
    with contextlib.suppress(StopAsyncIteration):
        while True:
            taken.append(await pace.take())
    assert np.array_equal(np.concatenate([batch.time for batch in taken]) - STAMP, times)
    clocks = [batch.read_at for batch in taken]
    assert clocks == sorted(clocks)
    latest = np.maximum.accumulate(np.concatenate([batch.time for batch in taken]))
    ends = np.cumsum([len(batch) for batch in taken])
    assert latest[ends - 1].tolist() == clocks
    starts = latest[np.concatenate([[0], ends[:-1]])]
    assert (latest[ends - 1] - starts < SECOND).all()
