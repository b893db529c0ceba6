"""The simulated sources: reproducible, labelled, faster than time."""

from __future__ import annotations

import asyncio
import time
from itertools import islice

import numpy as np
import pytest

from sensors.batch import Batch
from sensors.drivers.simulated import Orders, Temperature, Voltage
from sensors.drivers.simulated.base import Simulated
from sensors.drivers.simulated.orders import PROHIBITED, SHOPS
from sensors.drivers.simulated.waveform import FAULTS
from sensors.units import SECOND, Duration

START = "2026-01-01T00:00:00Z"
EVERY = [
    Temperature(speed="max", start=START, duration=Duration("1h"), seed=3),
    Temperature(speed="max", start=START, duration=Duration("1m"), seed=3, machines=1000, rate=10),
    Voltage(speed="max", start=START, duration=Duration("20s"), seed=3, noise=1.0, kinds=list(FAULTS), machines=2),
    Orders(speed="max", start=START, duration=Duration("1h"), seed=3),
]


async def read(source: Simulated) -> list[Batch]:
    async with asyncio.timeout(30), source:
        return [batch async for batch in source]


def table(batches: list[Batch]) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {"time": [], "machine": []}
    for batch in batches:
        columns["time"] += batch.time.tolist()
        columns["machine"] += [batch.machines[i] for i in batch.machine.tolist()]
        for name, column in batch.values.items():
            columns.setdefault(name, []).extend(column.tolist())
        for name, text in batch.texts.items():
            columns.setdefault(name, []).extend(text.tolist())
    return columns


@pytest.mark.parametrize("source", EVERY, ids=lambda source: type(source).__name__)
async def test_the_same_seed_and_start_give_the_same_batches(source: Simulated) -> None:
    first, second = await read(source), await read(source)
    assert table(first) == table(second)
    assert [batch.read_at for batch in first] == [batch.read_at for batch in second]


@pytest.mark.parametrize("source", EVERY, ids=lambda source: type(source).__name__)
async def test_rows_ascend_in_time_and_end_with_the_duration(source: Simulated) -> None:
    batches = await read(source)
    time = np.concatenate([batch.time for batch in batches])
    assert (np.diff(time) >= 0).all()
    assert time[-1] - time[0] < source.duration
    assert source.duration is not None
    assert time[-1] - time[0] > 0.9 * source.duration
    assert all(batch.read_at == batch.time[-1] < batch.time[0] + SECOND for batch in batches)
    assert all(batch.machine.dtype == np.int32 and batch.time.dtype == np.int64 for batch in batches)


@pytest.mark.parametrize("kind", [Temperature, Voltage, Orders])
async def test_another_seed_gives_other_values(kind: type[Simulated]) -> None:
    tables = [table(await read(kind(speed="max", start=START, duration=Duration("2h"), seed=seed)))
              for seed in (1, 2)] if kind is Orders else [
        {name: column for name, column in table(await read(kind(speed="max", start=START, duration=Duration("60s"),
         seed=seed))).items() if name != "time"} for seed in (1, 2)]  # fmt: skip
    assert tables[0] != tables[1]


async def test_a_paced_run_hands_over_the_same_rows_as_one_at_full_speed() -> None:
    fast = Temperature(speed="max", start=START, duration=Duration("120s"))
    paced = Temperature(speed=600, start=START, duration=Duration("120s"))
    began = time.monotonic()
    batches = await read(paced)
    assert 0.1 < time.monotonic() - began < 5
    assert table(batches) == table(await read(fast))
    assert len(batches) > 3


async def test_the_first_reading_comes_at_once() -> None:
    source = Temperature(rate=1)
    async with asyncio.timeout(0.5), source:
        batch = await anext(source)
    assert len(batch) == 1
    assert abs(batch.time[0] - time.time_ns()) < SECOND


async def test_a_cancelled_wait_loses_no_row() -> None:
    source = Temperature(start=START, rate=20)
    seen: list[Batch] = []
    async with asyncio.timeout(20), source:
        while len(seen) < 5:
            try:
                async with asyncio.timeout(0.004):
                    seen.append(await anext(source))
            except TimeoutError:
                pass
    time = np.concatenate([batch.time for batch in seen])
    assert len(np.unique(np.rint(np.diff(time) / 1e6))) <= 2  # 16.67 ms apart, none left out


def first_rows(source: Simulated, blocks: int) -> dict[str, list[object]]:
    return table(list(islice(source.blocks(0), blocks)))


def test_temperatures_take_steps_of_one_degree_at_most() -> None:
    for at_limit in ("cool", "hold"):
        source = Temperature(at_limit=at_limit, seed=5)
        rows = first_rows(source, 5)
        values = np.array(rows["Temperature_C"]).reshape(-1, 3)
        assert set(np.unique(np.diff(values, axis=0))) == {-1.0, 0.0, 1.0}
        assert values[:, :2].max() <= 75
        assert values[:, :2].min() >= 40
        assert values[:, 2].max() == 100
        labels = np.array(rows["is_anomaly"]).reshape(-1, 3)
        assert not labels[:, :2].any()
        assert np.array_equal(labels[:, 2] == 1, values[:, 2] >= 90)


def test_machine_2_overheats_within_a_minute_and_the_tutorial_ends_there() -> None:
    for seed in range(20):
        rows = first_rows(Temperature(at_limit="stop", seed=seed), 100)
        assert rows["Temperature_C"][-1] == 100.0
        assert rows["machine"][-1] == "2"
        above = rows["time"][rows["is_anomaly"].index(1.0)]
        assert above < 60 * SECOND
    held = np.array(first_rows(Temperature(at_limit="hold", seed=5), 5)["Temperature_C"])[2::3]
    assert held[-1000:].min() > 90


def test_a_clean_voltage_is_the_tutorials_sine() -> None:
    source = Voltage(kinds=[], labels=False)
    wave = np.array(first_rows(source, 3)["voltage"])
    time = np.arange(3000) / 1000
    assert np.allclose(wave, 230 * np.sqrt(2) * np.sin(2 * np.pi * 50 * time), atol=1e-9)


@pytest.mark.parametrize("kind", list(FAULTS))
def test_voltage_differs_from_the_clean_wave_only_where_the_label_says_so(kind: str) -> None:
    rows = first_rows(Voltage(kinds=[kind], anomaly_probability=0.003, anomaly_duration=130, seed=9), 8)
    clean = np.array(first_rows(Voltage(kinds=[]), 8)["voltage"])
    wave, label = np.array(rows["voltage"]), np.array(rows["is_anomaly"]) == 1
    assert label.any()
    assert not label.all()
    if kind != "frequency":  # after which the phase stays where it is
        assert np.allclose(wave[~label], clean[~label])
    assert np.abs(wave[label] - clean[label]).max() > 10
    assert [kind if labelled else "" for labelled in label] == rows["kind"]
    if kind != "spike":
        edges = np.diff(np.concatenate([[0], label.astype(int), [0]]))
        lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        assert set(lengths[:-1].tolist()) == {130}  # also across the blocks of one second


def test_faults_never_touch_each_other_also_across_blocks() -> None:
    rows = first_rows(Voltage(anomaly_probability=1.0), 5)
    assert rows["is_anomaly"] == [float(sample % 101 < 100) for sample in range(5000)]


def test_a_stuck_sensor_repeats_its_last_value() -> None:
    rows = first_rows(Voltage(kinds=["stuck"], anomaly_probability=0.002, seed=1), 5)
    wave, label = np.array(rows["voltage"]), np.array(rows["is_anomaly"]) == 1
    begins = np.flatnonzero(np.diff(label.astype(int)) == 1) + 1
    for begin in begins:
        assert (wave[begin : begin + 100] == wave[begin - 1])[: len(wave) - begin].all()


def test_noise_has_the_deviation_asked_for() -> None:
    noisy = np.array(first_rows(Voltage(kinds=[], noise=5.0), 20)["voltage"])
    clean = np.array(first_rows(Voltage(kinds=[]), 20)["voltage"])
    assert 4.8 < (noisy - clean).std() < 5.2


def test_orders_have_the_shape_of_the_producers() -> None:
    blocks = list(islice(Orders(seed=2).orders(0), 8))
    documents = [document for block in blocks for document in block.documents()]
    pizzas = [len(document["pizzas"]) for document in documents]
    toppings = [len(pizza["additionalToppings"]) for document in documents for pizza in document["pizzas"]]
    assert (min(pizzas), max(pizzas), min(toppings), max(toppings)) == (1, 10, 0, 5)
    rows = table([block.rows() for block in blocks])
    assert 13 < (len(rows["topping"]) - rows["topping"].count(None)) / len(documents) < 14.5
    bad = sum(topping in PROHIBITED for topping in rows["topping"])
    assert 0.2 < bad / len(rows["topping"]) < 0.26
    assert set(rows["machine"]) == set(SHOPS)
    assert [document["id"] for document in documents] == list(range(len(documents)))


def test_an_order_without_toppings_still_has_a_row() -> None:
    block = next(Orders(seed=2, max_pizzas=1).orders(0))
    rows = table([block.rows()])
    bare = [document["id"] for document in block.documents() if not document["pizzas"][0]["additionalToppings"]]
    assert bare
    assert [row for row, topping in zip(rows["id"], rows["topping"], strict=True) if topping is None] == bare
    assert rows["id"] == sorted(rows["id"])


@pytest.mark.parametrize("arguments", [{"speed": 0}, {"speed": -1}, {"speed": float("nan")}])
def test_a_speed_that_is_not_above_zero_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="speed"):
        Temperature(**arguments)


def test_an_unknown_kind_of_fault_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="brownout"):
        Voltage(kinds=["brownout"])
