"""The MQTT sink on a real mosquitto."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from agent.alerts.alert import Identity, topic_name
from agent.alerts.cloudevents import as_replayed
from agent.sinks import RejectedError, SinkError
from agent.sinks.mqtt import V5, V311, MqttSink
from sensors.transport.tls import Tls
from sensors.units import Duration
from tests.brokers import Certificates, Mosquitto
from tests.delivery.fakes import message
from tests.delivery.listeners import listening

pytestmark = pytest.mark.mosquitto
BASE = "edge/v1/plant-1/gateway-1"


def sink(broker: Mosquitto, **options: object) -> MqttSink:
    made = MqttSink(broker.url, timeout=Duration("5s"), will_delay=Duration("0s"), **options)  # type: ignore[arg-type]
    return made.signed(Identity("plant-1", "gateway-1"))


async def test_each_kind_has_its_topic_and_retained_states_end_with_an_empty_body(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto.port) as listener, sink(mosquitto) as mqtt:
        await mqtt.send(
            [
                message(1, "alert", "press-7"),
                message(2, "state", "press-7", "t.hot"),
                message(3, "raw", "press-7"),
                message(4, "metric", "press-7"),
                message(5, "health", ""),
                message(6, "state", "press-7"),
                message(7, "reply", "", "ack"),
                message(8, "discovery", "press-7"),
                message(9, "state", "press-7", "t.hot", body=b""),
            ]
        )
        got = await listener.until(10)
    assert [topic for topic, *_ in got][1:10] == [
        f"{BASE}/press-7/event/alert",
        f"{BASE}/press-7/alert/t.hot",
        f"{BASE}/press-7/event/raw",
        f"{BASE}/press-7/metric",
        f"{BASE}/health",
        f"{BASE}/press-7/state",
        f"{BASE}/cmd/ack/result",
        "homeassistant/device/gateway-1_press-7/config",
        f"{BASE}/press-7/alert/t.hot",
    ]
    async with listening(mosquitto.port) as late:
        await late.until(3)
        await asyncio.sleep(0.1)
        retained = {topic for topic, *_ in late.got}
    assert f"{BASE}/press-7/alert/t.hot" not in retained
    assert f"{BASE}/press-7/event/alert" not in retained
    assert {f"{BASE}/press-7/state", f"{BASE}/health", f"{BASE}/status"} <= retained


async def test_mqtt_5_carries_content_type_expiry_and_the_mark_of_a_replay(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto.port) as listener, sink(mosquitto) as mqtt:
        await mqtt.send([message(1), as_replayed(message(2))])
        got = await listener.until(2, "event/alert")
    assert got[0][3]["ContentType"] == "application/cloudevents+json"
    assert 604790 <= got[0][3]["MessageExpiryInterval"] <= 604800
    assert ["replayed", "true"] not in [list(p) for p in got[0][3]["UserProperty"]]
    assert ["replayed", "true"] in [list(p) for p in got[1][3]["UserProperty"]]


async def test_birth_good_bye_and_will(mosquitto: Mosquitto) -> None:
    def states(got: list) -> list[tuple[str, str]]:
        return [(json.loads(body)["state"], json.loads(body).get("reason", "")) for _, body, *_ in got]

    async with listening(mosquitto.port, f"{BASE}/status") as listener:
        async with sink(mosquitto):
            assert states(await listener.until(1)) == [("online", "")]
        assert states(await listener.until(2))[1] == ("offline", "shutdown")
        mqtt = sink(mosquitto)
        await mqtt.__aenter__()
        assert mqtt._connection
        mqtt._connection.abandon()
        got = await listener.until(4)
        assert states(got)[2:] == [("online", ""), ("offline", "connection_lost")]
        sessions = [json.loads(body)["session"] for _, body, *_ in got]
        assert sessions[0] == sessions[1]
        assert sessions[2] == sessions[3]
        await mqtt.__aexit__(None, None, None)


async def test_sessions_count_up_with_each_connection(mosquitto: Mosquitto) -> None:
    mqtt = sink(mosquitto)
    async with listening(mosquitto.port, f"{BASE}/status") as listener:
        for _ in range(3):
            async with mqtt:
                pass
        got = await listener.until(6)
    sessions = [json.loads(body)["session"] for _, body, *_ in got]
    assert sessions == sorted(sessions)
    assert len(set(sessions)) == 3


async def test_ten_thousand_messages_arrive_in_order_and_fast(mosquitto: Mosquitto) -> None:
    async with listening(mosquitto.port, f"{BASE}/+/event/alert") as listener, sink(mosquitto) as mqtt:
        began = time.perf_counter()
        messages = [message(n) for n in range(10_000)]
        for start in range(0, 10_000, 500):
            await mqtt.send(messages[start : start + 500])
        taken = time.perf_counter() - began
        got = await listener.until(10_000)
    assert [json.loads(body)["n"] for _, body, *_ in got] == list(range(10_000))
    assert taken < 10


async def test_a_broker_that_is_away_is_a_sink_error(mosquitto: Mosquitto) -> None:
    mosquitto.kill()
    with pytest.raises(SinkError, match=mosquitto.url):
        await sink(mosquitto).__aenter__()


async def test_a_broker_that_accepts_and_never_answers_is_a_sink_error_in_time(mosquitto: Mosquitto) -> None:
    mqtt = replace(sink(mosquitto), timeout=Duration("300ms"))
    mosquitto.pause()
    began = time.monotonic()
    with pytest.raises(SinkError):
        await mqtt.__aenter__()
    assert time.monotonic() - began < 3
    mosquitto.resume()
    async with mqtt:
        await mqtt.send([message(1)])
        mosquitto.pause()
        began = time.monotonic()
        with pytest.raises(SinkError, match="no answer"):
            await mqtt.send([message(2)])
        assert time.monotonic() - began < 3
        mosquitto.resume()


async def test_a_broker_that_dies_is_noticed_while_idle(mosquitto: Mosquitto) -> None:
    mqtt = sink(mosquitto)
    await mqtt.__aenter__()
    mosquitto.kill()

    async def idle() -> None:
        async with asyncio.timeout(5):
            while True:
                await mqtt.send([])
                await asyncio.sleep(0.01)

    with pytest.raises(SinkError):
        await idle()
    await mqtt.__aexit__(SinkError, SinkError("gone"), None)


async def test_it_can_be_entered_again_after_an_error(mosquitto: Mosquitto) -> None:
    mqtt = sink(mosquitto)

    async def killed() -> None:
        async with mqtt:
            mosquitto.kill()
            await mqtt.send([message(1)])

    for _ in range(2):
        with pytest.raises(SinkError):
            await killed()
        mosquitto.start()
    async with listening(mosquitto.port) as listener, mqtt:
        await mqtt.send([message(2)])
        await listener.until(1, "event/alert")


async def test_a_body_that_is_too_long_is_rejected_by_name(mosquitto: Mosquitto) -> None:
    async with sink(mosquitto, max_body=100) as mqtt:
        with pytest.raises(RejectedError) as caught:
            await mqtt.send([message(1), message(2, body=b"x" * 101)])
        assert caught.value.ids == ("alert-2",)


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_tls_client_certificate_and_password(
    secure_mosquitto: Mosquitto, certificates: Certificates, tmp_path: Path
) -> None:
    tls = Tls(certificates.path("ca.pem"), certificates.path("client.pem"), certificates.path("client.key"))
    secure = {"user": "agent", "password_file": tmp_path / "password", "tls": tls}
    async with sink(secure_mosquitto, **secure) as mqtt:
        await mqtt.send([message(1)])
    (tmp_path / "wrong").write_text("battery staple")
    with pytest.raises(SinkError, match=r"[Nn]ot authori|[Bb]ad user"):
        await sink(secure_mosquitto, **(secure | {"password_file": tmp_path / "wrong"})).__aenter__()
    with pytest.raises(SinkError, match="CERTIFICATE_VERIFY_FAILED"):
        await sink(secure_mosquitto, user="agent", password_file=tmp_path / "password").__aenter__()
    with pytest.raises(SinkError):
        await sink(secure_mosquitto, **(secure | {"tls": Tls(certificates.path("ca.pem"))})).__aenter__()
    with pytest.raises(SinkError, match="No such file"):
        await sink(secure_mosquitto, **(secure | {"password_file": tmp_path / "none"})).__aenter__()


async def test_what_the_broker_does_not_permit_is_rejected_by_name(
    secure_mosquitto: Mosquitto, certificates: Certificates, tmp_path: Path
) -> None:
    tls = Tls(certificates.path("ca.pem"), certificates.path("client.pem"), certificates.path("client.key"))
    mqtt = sink(secure_mosquitto, user="agent", password_file=tmp_path / "password", tls=tls)
    async with mqtt:
        with pytest.raises(RejectedError) as caught:
            await mqtt.send([message(1), message(2, "discovery")])
        assert caught.value.ids == ("discovery-2",)


async def test_renewed_certificates_are_used_without_a_restart(
    secure_mosquitto: Mosquitto, certificates: Certificates, tmp_path: Path
) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).write_bytes(certificates.path(name).read_bytes())
    tls = Tls(tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "client.key")
    mqtt = sink(secure_mosquitto, user="agent", password_file=tmp_path / "password", tls=tls)
    async with mqtt:
        certificates.sign("client", "gateway-1")
        for name in ("client.pem", "client.key"):
            (tmp_path / name).write_bytes(certificates.path(name).read_bytes())
        mqtt._next_status = 0.0
        with pytest.raises(SinkError, match="certificates changed"):
            await mqtt.send([message(1)])
    async with mqtt:
        await mqtt.send([message(1)])


async def test_alerts_announce_themselves_to_home_assistant_and_again_when_it_starts(mosquitto: Mosquitto) -> None:
    async with (
        listening(mosquitto.port, "homeassistant/device/#") as listener,
        sink(mosquitto, home_assistant=True) as mqtt,
    ):
        await mqtt.send([message(1, "state", "press-7", "t.hot"), message(2, "state", "press-7", "t.hot", b"")])
        await mqtt.send([message(3, "state", "press-7", "t.hot"), message(4, "state", "press-7")])
        [(topic, body, _, _)] = await listener.until(1)
        config = json.loads(body)
        unique = "edge_plant-1_gateway-1_press-7_" + topic_name("t.hot")
        assert topic == f"homeassistant/device/{unique}/config"
        assert config["availability"][0]["topic"] == f"{BASE}/status"
        assert config["components"][unique]["state_topic"] == f"{BASE}/press-7/alert/t.hot"
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as home:
            await home.publish("homeassistant/status", "online", qos=1)
        mqtt._home.random.uniform = lambda low, high: low
        async with asyncio.timeout(10):
            while len(listener.got) < 2:
                await mqtt.send([])
                await asyncio.sleep(0.01)
        assert listener.got[1][:2] == (topic, body)


async def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1_and_that_is_remembered() -> None:
    connects = []

    async def old_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(2)
        body = await reader.readexactly(
            head[1] if head[1] < 128 else (head[1] & 127) + 128 * (await reader.readexactly(1))[0]
        )
        connects.append(body[6])
        if body[6] != 4:
            writer.close()
            return
        writer.write(b"\x20\x02\x00\x00")
        while data := await reader.read(4096):
            if data[0] >> 4 == 3:  # the birth, QoS 1
                topic = data[2] * 256 + data[3] if data[1] < 128 else data[3] * 256 + data[4]
                start = (2 if data[1] < 128 else 3) + 2 + topic
                writer.write(b"\x40\x02" + data[start : start + 2])
        writer.close()

    server = await asyncio.start_server(old_broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mqtt = MqttSink(f"mqtt://127.0.0.1:{port}", timeout=Duration("3s"))
    async with mqtt:
        assert mqtt._protocols == (V311,)
    async with mqtt:
        pass
    assert connects == [5, 4, 4]
    server.close()
    await server.wait_closed()
    assert V5 != V311
