"""The Kafka sink on a real broker (or librdkafka's, where Java is missing)."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from agent.alerts.alert import Identity
from agent.alerts.cloudevents import as_replayed
from agent.sinks import RejectedError, SinkError
from agent.sinks.kafka import KafkaSink
from sensors.drivers.kafka import KafkaSource
from sensors.transport.tls import Tls
from sensors.units import Duration
from tests.brokers import Kafka, free_port, start_mock_kafka
from tests.delivery.fakes import message
from tests.delivery.listeners import consume

pytestmark = pytest.mark.kafka


def sink(broker: Kafka, partitions: int = 1, **options: object) -> KafkaSink:
    made = KafkaSink(
        broker.servers,
        alerts=broker.topic("alerts", partitions),
        raw=broker.topic("raw"),
        states=broker.topic("states"),
        metrics=broker.topic("metrics"),
        **options,  # type: ignore[arg-type]
    )
    return made.signed(Identity("plant-1", "gateway-1"))


async def test_each_kind_has_its_topic_key_and_headers(kafka: Kafka) -> None:
    async with sink(kafka) as out:
        await out.send(
            [
                message(1, "alert", "press-7"),
                message(2, "state", "press-7", "t.hot"),
                message(3, "raw", "press-7"),
                message(4, "metric", "press-7"),
                message(5, "state", "press-7", "t.hot", body=b""),
                as_replayed(message(6, "alert", "press-7")),
            ]
        )
    alerts = await consume(kafka.servers, out.alerts, 2)
    states = await consume(kafka.servers, out.states, 2)
    [raw] = await consume(kafka.servers, out.raw, 1)
    [metric] = await consume(kafka.servers, out.metrics, 1)
    assert {r.key for r in (*alerts, raw, metric)} == {b"plant-1/gateway-1/press-7"}
    assert [r.key for r in states] == [b"plant-1/gateway-1/press-7/t.hot"] * 2
    assert states[1].value is None
    assert (raw.value, metric.value, alerts[0].value) == (b'{"n":3}', b'{"n":4}', b'{"n":1}')
    assert dict(alerts[0].headers)["content-type"].startswith(b"application/cloudevents+json")
    assert "replayed" not in dict(alerts[0].headers)
    assert dict(alerts[1].headers)["replayed"] == b"true"
    assert abs(alerts[0].timestamp / 1000 - time.time()) < 60 or kafka.mock


async def test_order_is_kept_per_machine_over_partitions_and_many_batches(kafka: Kafka) -> None:
    async with sink(kafka, partitions=3, batch_bytes=2000) as out:
        messages = [message(n, machine=f"m{n % 7}") for n in range(3000)]
        for start in range(0, 3000, 500):
            await out.send(messages[start : start + 500])
    records = await consume(kafka.servers, out.alerts, 3000)
    by_machine = defaultdict(list)
    for record in records:
        by_machine[record.key].append(json.loads(record.value)["n"])
    assert len(records) == 3000
    assert len(by_machine) == 7
    assert all(numbers == sorted(numbers) for numbers in by_machine.values())
    assert len({r.partition for r in records}) > 1


async def test_a_raw_event_ahead_of_the_clock_is_not_refused(kafka: Kafka) -> None:
    async with sink(kafka) as out:
        await out.send([message(1, "raw", body=b"95.5")._replace(time=time.time_ns() + 10**18)])
    [raw] = await consume(kafka.servers, out.raw, 1)
    assert abs(raw.timestamp / 1000 - time.time()) < 60 or kafka.mock


async def test_a_bare_value_bears_its_own_time_and_is_not_said_to_be_an_event(kafka: Kafka) -> None:
    at = time.time_ns() - 60 * 10**9
    async with sink(kafka) as out:
        await out.send([message(1, "raw", body=b"95.5")._replace(time=at), message(2, "raw")])
    value, event = await consume(kafka.servers, out.raw, 2)
    assert (value.value, value.timestamp, value.headers) == (b"95.5", at // 10**6, ())
    assert dict(event.headers)["content-type"].startswith(b"application/cloudevents+json")


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"idempotent": True}])
async def test_compression_and_idempotence(kafka: Kafka, options: dict[str, object]) -> None:
    async with sink(kafka, **options) as out:
        await out.send([message(n) for n in range(100)])
    assert [json.loads(r.value)["n"] for r in await consume(kafka.servers, out.alerts, 100)] == list(range(100))


async def test_a_broker_that_is_away_is_a_sink_error() -> None:
    with pytest.raises(SinkError, match=r"127\.0\.0\.1"):
        await KafkaSink(f"127.0.0.1:{free_port()}", timeout=Duration("1s")).__aenter__()


async def test_a_peer_that_accepts_and_never_answers_is_a_sink_error_in_time() -> None:
    let_go = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        let_go.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    began = time.monotonic()
    with pytest.raises(SinkError):
        await KafkaSink(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=Duration("500ms")).__aenter__()
    assert time.monotonic() - began < 5
    await asyncio.wait_for(let_go.wait(), 5)  # no connection stays behind
    server.close()
    await server.wait_closed()


async def test_a_broker_that_hangs_is_a_sink_error_and_the_sink_works_again_after_it(kafka: Kafka) -> None:
    out = replace(sink(kafka), timeout=Duration("1s"))

    async def hang() -> None:
        async with out:
            await out.send([message(1)])
            kafka.pause()
            await out.send([message(2)])

    began = time.monotonic()
    try:
        with pytest.raises(SinkError):
            await hang()
        assert time.monotonic() - began < 6
    finally:
        kafka.resume()
    out = replace(out, timeout=Duration("10s"))
    async with out:
        await out.send([message(2), message(3)])
    numbers = [json.loads(r.value)["n"] for r in await consume(kafka.servers, out.alerts, 3)]
    assert set(numbers) == {1, 2, 3}
    assert len([t for t in asyncio.all_tasks() if t is not asyncio.current_task()]) == 0


async def test_what_is_too_long_is_rejected_by_name(kafka: Kafka) -> None:
    async with sink(kafka, max_body=1000) as out:
        with pytest.raises(RejectedError) as caught:
            await out.send([message(1), message(2, body=b"x" * 1001)])
        assert caught.value.ids == ("alert-2",)


async def test_what_the_broker_finds_too_long_is_rejected_and_the_others_arrive(real_kafka: Kafka) -> None:
    async with sink(real_kafka, max_body=4_000_000, batch_bytes=8_000_000) as out:
        with pytest.raises(RejectedError) as caught:
            await out.send([message(1), message(2, body=b"x" * 1_200_000), message(3)])
        assert caught.value.ids == ("alert-2",)
    assert [r.value for r in await consume(real_kafka.servers, out.alerts, 2)] == [b'{"n":1}', b'{"n":3}']


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_passwords(real_kafka: Kafka, tmp_path: Path, mechanism: str) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "wrong").write_text("battery staple\n")
    topic = real_kafka.topic("alerts")
    out = KafkaSink(
        real_kafka.sasl_servers,
        alerts=topic,
        sasl=mechanism,  # type: ignore[arg-type]
        user="agent",
        password_file=tmp_path / "password",
    )
    async with out:
        await out.send([message(1)])
    assert len(await consume(real_kafka.servers, topic, 1)) == 1
    with pytest.raises(SinkError):
        await replace(out, password_file=tmp_path / "wrong", timeout=Duration("2s")).__aenter__()


async def test_tls_with_a_client_certificate(real_kafka: Kafka, tmp_path: Path) -> None:
    files = real_kafka.certificates
    if files is None:
        pytest.skip("openssl is not installed")
    topic = real_kafka.topic("alerts")
    tls = Tls(files.path("ca.pem"), files.path("client.pem"), files.path("client.key"))
    out = KafkaSink(real_kafka.tls_servers, alerts=topic, tls=tls)
    async with out:
        await out.send([message(1)])
    async with KafkaSource(servers=real_kafka.tls_servers, topic=topic, tls=tls, start="earliest") as source:
        assert (await asyncio.wait_for(anext(source), 10)).values["n"].tolist() == [1.0]
    for bad in (Tls(files.path("ca.pem")), Tls(tmp_path / "none"), None):
        with pytest.raises(SinkError):
            await replace(out, tls=bad, secure=True, timeout=Duration("2s")).__aenter__()


async def test_a_leader_that_changes_and_a_broker_that_times_out_cost_no_message(tmp_path: Path) -> None:
    broker = start_mock_kafka(tmp_path)  # librdkafka's: it answers with the errors it is told to
    try:
        async with sink(broker) as out:
            await out.send([message(1)])
            broker._tell("errors 0 6 6")  # Produce: NOT_LEADER_OR_FOLLOWER, twice
            await out.send([message(2)])
            broker._tell("errors 0 7")  # Produce: REQUEST_TIMED_OUT
            await out.send([message(3)])
        records = await consume(broker.servers, out.alerts, 3)
        assert [json.loads(record.value)["n"] for record in records][:1] == [1]
        assert {json.loads(record.value)["n"] for record in records} == {1, 2, 3}
    finally:
        broker.stop()
