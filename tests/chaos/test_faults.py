"""The short form of `python -m benchmarks chaos`: each fault once, briefly; nothing may be lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import delivery, outrun, processes
from benchmarks.chaos.tally import Tally
from tests.brokers import Kafka, Mosquitto


def nothing_is_lost(tally: Tally) -> None:
    assert tally.raised > 0
    assert (tally.lost, tally.other_id) == (0, 0), tally.line()


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
@pytest.mark.parametrize(
    "fault", ["network stalls", "network delays", "connections refused", "connection cut in mid-packet"]
)
async def test_a_bad_network(tmp_path: Path, fault: str) -> None:
    nothing_is_lost(await delivery.proxied(tmp_path, fault, 0.6))


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
async def test_the_broker_is_killed_under_load(tmp_path: Path) -> None:
    nothing_is_lost(await delivery.broker_killed(tmp_path, 0.5))


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
async def test_the_broker_hangs(tmp_path: Path) -> None:
    nothing_is_lost(await delivery.broker_hangs(tmp_path, 1.5))


async def test_power_is_cut(tmp_path: Path) -> None:
    nothing_is_lost(await delivery.power_cut(tmp_path, 10))


async def test_the_database_is_corrupt_anywhere(tmp_path: Path) -> None:
    tally = await delivery.corrupt_anywhere(tmp_path, 10)
    assert tally.other_id == 0, tally.line()


async def test_the_disk_is_full(tmp_path: Path) -> None:
    tally = await delivery.disk_full(tmp_path)
    assert "disk failed: True" in tally.note
    nothing_is_lost(tally)


async def test_a_source_outruns_the_sink(tmp_path: Path) -> None:
    tally = await outrun.outrun(tmp_path, 120_000)
    nothing_is_lost(tally)
    assert tally.note.endswith("in order")
    assert int(tally.note.split()[2]) > 20_000  # more than memory holds of such alerts


async def test_the_clock_steps(tmp_path: Path) -> None:
    nothing_is_lost(await delivery.clock_steps(tmp_path))


@pytest.mark.kafka
@pytest.mark.slow
async def test_the_agent_is_killed_at_random_moments(tmp_path: Path, kafka: Kafka, mosquitto: Mosquitto) -> None:
    nothing_is_lost(await processes.killed(tmp_path, kafka.servers, kafka.topic("chaos"), 3))


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
async def test_sigterm_with_the_broker_away_ends_in_time(tmp_path: Path) -> None:
    tally = await processes.stopped_without_broker(tmp_path)
    nothing_is_lost(tally)
    assert float(tally.note.split()[1]) < 10


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
async def test_the_serial_line_comes_back_under_another_name(tmp_path: Path) -> None:
    nothing_is_lost(await processes.replugged(tmp_path, 2))


async def test_a_thousand_crossings_are_one_incident(tmp_path: Path) -> None:
    tally = await processes.crossings(tmp_path)
    assert tally.note == "1,000 crossings: 1 raised, 1 resolved"
    nothing_is_lost(tally)


async def test_more_machines_than_the_agent_keeps(tmp_path: Path) -> None:
    tally = await processes.machine_ids(tmp_path, 5000)
    nothing_is_lost(tally)
    assert "5000 refused" in tally.note
