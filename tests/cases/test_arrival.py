"""That something arrives does not mean that something was measured: the agent on a real broker, and its parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiomqtt
import numpy as np
import pytest

from agent.alerts.alert import Identity
from agent.core.rows import Rows
from agent.rules.deadman import Deadman
from agent.runtime.data_watch import config_warnings
from agent.settings.build import build_pipeline
from agent.settings.registry import ConfigError
from agent.settings.settings import Settings
from agent.sinks.mqtt import MqttSink
from sensors.codecs.binary import Binary
from sensors.codecs.json_lines import JsonLines
from sensors.drivers.mqtt import MqttSource
from sensors.source import SourceError
from sensors.transport.mqtt import client_id
from sensors.transport.topics import TopicNames, TopicPattern
from sensors.units import Duration
from tests.brokers import Mosquitto
from tests.delivery.test_broker_sources import unpack
from tests.faults.test_restart import until
from tests.integration.agent_process import AgentProcess

S = 10**9
MQTT = pytest.mark.mosquitto


def configuration(folder: Path, source: str, name: str = "case", more: str = "") -> Path:
    file = folder / f"{name}.toml"
    file.write_text(f"""
[agent]
site = "plant-1"
name = "{name}"
state = "{folder}/{name}-state"
health = "2s"
tick = "200ms"

[source.broker]
{source}
codec = {{ type = "json", values = ["temp"] }}

[rule.dead]
type = "deadman"
after = "2s"

[rule.hot]
when = "temp > 80"
{more}
[sink.console]
type = "lines"
""")
    return file


def said(agent: AgentProcess) -> list[tuple[str, str, str]]:
    """Change, rule and machine of each alert so far."""
    events = [json.loads(line) for line in agent.lines if line.startswith('{"specversion"')]
    return [(e["type"].rpartition(".")[2], e["data"]["rule"]["id"], e["data"]["machine"]) for e in events]


async def publish(broker: Mosquitto, topic: str, body: bytes, retain: bool = False) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish(topic, body, qos=1, retain=retain)


@MQTT
@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
async def test_a_retained_message_raises_nothing_and_ends_no_silence(tmp_path, mosquitto, protocol) -> None:
    await publish(mosquitto, "plant/pump-1/temp", b'{"temp": 95}', retain=True)
    source = f'type = "mqtt"\nurl = "{mosquitto.url}"\ntopic = "plant/{{machine}}/temp"\nprotocol = "{protocol}"'
    async with AgentProcess("run", "-c", configuration(tmp_path, source)) as agent:
        await agent.says("source broker: open")
        await publish(mosquitto, "plant/pump-2/temp", b'{"temp": 50}', retain=True)
        await until(lambda: ("raised", "dead", "pump-2") in said(agent))
        mosquitto.stop()
        mosquitto.start()
        await agent.says("source broker: open", times=2)
        await publish(mosquitto, "plant/pump-3/temp", b'{"temp": 50}')
        await until(lambda: ("raised", "dead", "pump-3") in said(agent))
        assert said(agent) == [("raised", "dead", "pump-2"), ("raised", "dead", "pump-3")]
        told = [line for line in agent.lines if "retained messages passed over" in line]
        assert len(told) == (1 if protocol == "3.1.1" else 0)  # MQTT 5 is not sent them
        assert await agent.stop() == 0


@asynccontextmanager
async def opened(broker: Mosquitto, **options: object) -> AsyncIterator[MqttSource]:
    chosen = {"url": broker.url, "topic": "in/#", "codec": JsonLines(), "timeout": Duration("5s")} | options
    async with MqttSource(**chosen) as source:
        yield source


@MQTT
async def test_who_wants_retained_messages_gets_them_as_readings(mosquitto) -> None:
    await publish(mosquitto, "in/a", b'{"v": 1}', retain=True)
    async with opened(mosquitto, retained="use") as source:
        assert unpack(await asyncio.wait_for(anext(source), 10)) == [("in/a", 1.0)]
        assert source.counters.retained == 0


@MQTT
async def test_what_was_decided_on_and_comes_again_after_a_cut_is_no_reading(mosquitto) -> None:
    source = MqttSource(url=mosquitto.url, topic="in/a", timeout=Duration("5s"))
    await source.__aenter__()
    await publish(mosquitto, "in/a", b'{"v": 1}')
    assert unpack(await asyncio.wait_for(anext(source), 10)) == [("in/a", 1.0)]
    assert source._connection
    source._connection.abandon()  # before the message was acknowledged
    source._connection._disconnected.set_exception(aiomqtt.MqttError("cut"))
    with pytest.raises(SourceError, match="cut"):
        await anext(source)
    await source.__aexit__()
    async with source:
        await publish(mosquitto, "in/a", b'{"v": 2}')
        assert unpack(await asyncio.wait_for(anext(source), 10)) == [("in/a", 2.0)]
        assert source.counters.repeated == 1


@MQTT
@pytest.mark.parametrize(("time", "expected"), [("t", [1.0, 2.0, 1.0, 3.0]), ("", [1.0, 1.0, 2.0, 1.0, 1.0, 3.0])])
async def test_the_last_payload_once_more_is_no_reading_where_it_has_a_time(mosquitto, time, expected) -> None:
    codec = JsonLines(time=time, time_unit="s", values=["v"])
    async with opened(mosquitto, codec=codec) as source:
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
            for topic, number in (("a", 1), ("a", 1), ("a", 2), ("b", 1), ("b", 1), ("a", 3)):
                await client.publish(f"in/{topic}", json.dumps({"v": number, "t": 1_700_000_000 + number}), qos=1)
        found: list[float] = []
        while len(found) < len(expected):
            found += (await asyncio.wait_for(anext(source), 10)).values["v"].tolist()
        assert found == expected
        assert source.counters.repeated == 6 - len(expected)


@MQTT
async def test_three_presses_behind_a_wildcard_are_three_series(tmp_path, mosquitto) -> None:
    source = f'type = "mqtt"\nurl = "{mosquitto.url}"\ntopic = "plant/+/temp"'
    async with AgentProcess("run", "-c", configuration(tmp_path, source)) as agent:
        await agent.says("source broker: open")
        for number in range(3):
            await publish(mosquitto, f"plant/press-{number}/temp", b'{"temp": 95}')
        await until(lambda: len([one for one in said(agent) if one[1] == "hot"]) == 3)
        machines = {machine for change, rule, machine in said(agent) if rule == "hot"}
        assert machines == {f"plant/press-{number}/temp" for number in range(3)}
        assert any("topic: it has a wildcard" in line for line in agent.lines)
        assert await agent.stop() == 0


@MQTT
async def test_levels_of_the_topic_are_machine_and_columns(mosquitto) -> None:
    async with opened(mosquitto, topic=("in/{line}/{machine}/temp", "lab/{machine}")) as source:
        for topic in ("in/a/press-1/temp", "in/b/press-1/temp", "in/b/press-2/temp", "lab/press-1"):
            await publish(mosquitto, topic, b'{"v": 1}')
        rows: list[tuple[str, str | None]] = []
        while len(rows) < 4:
            batch = await asyncio.wait_for(anext(source), 10)
            assert len(set(batch.machines)) == len(batch.machines)
            names = [batch.machines[code] for code in batch.machine.tolist()]
            rows += zip(names, batch.texts["line"].tolist(), strict=True)
        assert rows == [("press-1", "a"), ("press-1", "b"), ("press-2", "b"), ("press-1", None)]
        assert source.outputs() is None


@MQTT
async def test_a_payload_that_names_its_machine_still_gets_the_columns_of_its_topic(mosquitto) -> None:
    codec = JsonLines(machine="id", values=["v"])
    async with opened(mosquitto, topic="in/{line}", codec=codec) as source:
        assert source.outputs() == ("v", "line")
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
            for number in range(6):
                body = {"v": number} if number == 5 else {"id": f"m{number % 2}", "v": number}
                await client.publish(f"in/{'ab'[number // 2 % 2]}", json.dumps(body), qos=1)
        rows: list[tuple[str, str | None, float]] = []
        while len(rows) < 6:
            batch = await asyncio.wait_for(anext(source), 10)
            names = [batch.machines[code] for code in batch.machine.tolist()]
            rows += zip(names, batch.texts["line"].tolist(), batch.values["v"].tolist(), strict=True)
        assert rows == [
            ("m0", "a", 0.0), ("m1", "a", 1.0), ("m0", "b", 2.0), ("m1", "b", 3.0), ("m0", "a", 4.0), ("in/a", "a", 5.0)
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "machine"),
    [
        ({}, "plant/press-1/temp"),
        ({"machine_level": 1}, "press-1"),
        ({"machine_level": -1}, "temp"),
        ({"machine_level": 7}, ""),
        ({"machine_id": "press"}, "press"),
        ({"machine_id": "press", "machine_level": 1}, "press-1"),
        ({"topics": ["other/{machine}", "plant/{machine}/#"]}, "press-1"),
        ({"topics": ["$share/agents/plant/{machine}/temp"]}, "press-1"),
    ],
)
def test_the_machine_of_a_topic(options, machine) -> None:
    names = TopicNames(**{"topics": ["plant/+/temp"]} | options)
    assert names.machine("plant/press-1/temp") == machine


def test_a_pattern_is_subscribed_to_with_a_wildcard_for_each_name() -> None:
    assert TopicPattern.parse("$share/g/plant/{line}/{machine}/#").filter == "$share/g/plant/+/+/#"


@pytest.mark.parametrize("topic", ["a/x{machine}", "a/{}", "a/{b c}", "{a}/{a}", "a/{b", "a/b}"])
def test_a_pattern_that_is_none_is_refused(topic) -> None:
    with pytest.raises(ValueError, match="topic"):
        TopicPattern.parse(topic)
    with pytest.raises(ValueError, match="leave one of them out"):
        MqttSource(url="mqtt://h", topic="a/{machine}", machine_level=1)


@pytest.mark.parametrize(
    ("topic", "table", "warned"),
    [
        ("plant/+/temp", {}, "each whole topic is a machine"),
        ("plant/#", {"codec": {"type": "json", "machine_id": "press"}}, 'all that come are the machine "press"'),
        ("plant/{line}/temp", {}, "each whole topic"),
        ("plant/{machine}/temp", {}, ""),
        ("plant/+/temp", {"machine_level": 1}, ""),
        ("plant/+/temp", {"codec": {"type": "json", "machine": "id"}}, ""),
        ("plant/press/temp", {}, ""),
    ],
)
def test_a_wildcard_without_a_machine_is_warned_of(tmp_path, topic, table, warned) -> None:
    source = {"type": "mqtt", "url": "mqtt://h", "topic": topic, **table}
    parts = build_pipeline(Settings(agent={"site": "s", "name": "a", "state": tmp_path}, source={"b": source}))
    found = [one for one in config_warnings(parts) if one.startswith("source.b.topic")]
    assert [warned in one for one in found] == ([True] if warned else [])


def clients(tmp_path: Path, **tables: object) -> list[str]:
    """Names under which sources and sinks are known to brokers."""
    agent = {"site": "s", "name": "a", "state": tmp_path / "one"} | dict(tables.pop("agent", {}))  # type: ignore[call-overload]
    parts = build_pipeline(Settings(agent=agent, **tables))  # type: ignore[arg-type]
    return [claim for part in (*parts.sources.values(), *parts.sinks.values()) for claim in part.claims()]


MQTT_IN = {"type": "mqtt", "url": "mqtt://h", "topic": "a/{machine}"}
MQTT_OUT = {"type": "mqtt", "url": "mqtt://h"}


def test_each_source_and_sink_of_each_agent_has_a_client_id_of_its_own(tmp_path) -> None:
    tables = {"source": {"a": MQTT_IN, "b": MQTT_IN}, "sink": {"c": MQTT_OUT, "d": MQTT_OUT}}
    agents = [{}, {"name": "b"}, {"site": "t"}, {"state": tmp_path / "two"}]
    found = [claim for agent in agents for claim in clients(tmp_path, agent=agent, **tables)]
    assert len(set(found)) == len(found) == 16
    assert found[:4] == clients(tmp_path, **tables)  # the same at each start
    assert all("s-a-" in claim for claim in found[:4])


def test_two_parts_with_one_client_id_on_one_broker_are_refused(tmp_path) -> None:
    one, other = MQTT_IN | {"client_id": "x"}, MQTT_OUT | {"client_id": "x"}
    with pytest.raises(ConfigError, match=r'sink\.out: source\.b has client_id "x" at h:1883, too'):
        clients(tmp_path, source={"b": one}, sink={"out": other})
    with pytest.raises(ConfigError, match=r"source\.c: source\.b has"):
        clients(tmp_path, source={"b": one, "c": one})
    clients(tmp_path, source={"b": one}, sink={"out": other | {"url": "mqtt://h:1884"}})


def test_a_client_id_for_old_brokers_is_short_and_plain() -> None:
    name = "plant-1-first-broker-3fa2c1"
    short = client_id("edge-in", name, short=True)
    assert len(short) == 23
    assert short.isalnum()
    assert short != client_id("edge-in", name + "x", short=True)
    assert client_id("edge-in", name) == f"edge-in-{name}"
    long = client_id("edge-in", "n" * 300)
    assert len(long) == 120
    assert long != client_id("edge-in", "n" * 301)
    sink = MqttSink("mqtt://h").signed(Identity("s", "a"))
    assert sink.claims() == ('client_id "edge-s-a" at h:1883',)


@MQTT
async def test_two_agents_that_read_one_topic_leave_each_other_alone(tmp_path, mosquitto) -> None:
    source = f'type = "mqtt"\nurl = "{mosquitto.url}"\ntopic = "plant/{{machine}}/temp"'
    files = [configuration(tmp_path, source, name) for name in ("first", "second")]
    async with AgentProcess("run", "-c", files[0]) as first, AgentProcess("run", "-c", files[1]) as second:
        for agent in (first, second):
            await agent.says("source broker: open")
        for number in range(5):
            await publish(mosquitto, f"plant/pump-{number}/temp", b'{"temp": 95}')
        for agent in (first, second):
            await until(lambda agent=agent: len([one for one in said(agent) if one[1] == "hot"]) == 5)
            assert not any("trying again" in line for line in agent.lines)
            assert await agent.stop() == 0


@MQTT
async def test_a_recording_made_beside_the_agent_takes_nothing_from_it(tmp_path, mosquitto) -> None:
    source = f'type = "mqtt"\nurl = "{mosquitto.url}"\ntopic = "plant/{{machine}}/temp"'
    file = configuration(tmp_path, source)
    async with (
        AgentProcess("run", "-c", file) as agent,
        AgentProcess("record", "-c", file, "-o", tmp_path / "x.rec") as record,
    ):
        for each in (agent, record):
            await each.says("source broker: open")
        for number in range(5):
            await publish(mosquitto, f"plant/pump-{number}/temp", b'{"temp": 95}')
        await until(lambda: len([one for one in said(agent) if one[1] == "hot"]) == 5)
        assert await record.stop() == 0
        await record.says("x.rec: 5 readings")
        for each in (agent, record):
            assert not any("trying again" in line for line in each.lines)
        assert await agent.stop() == 0


@MQTT
async def test_another_client_with_the_same_id_is_named_as_a_possible_reason(mosquitto) -> None:
    async with opened(mosquitto, client_id="same") as first, opened(mosquitto, client_id="same"):
        with pytest.raises(SourceError, match='client_id "same"'):
            await asyncio.wait_for(anext(first), 10)


async def test_a_broker_that_says_session_taken_over_is_understood() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(bytes([0x20, 3, 0, 0, 0]))  # CONNACK
        await reader.read(1000)  # SUBSCRIBE
        writer.write(bytes([0x90, 4, 0, 1, 0, 1]) + bytes([0xE0, 2, 0x8E, 0]))  # SUBACK, DISCONNECT
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        source = MqttSource(url=f"mqtt://127.0.0.1:{port}", topic="a", client_id="same", timeout=Duration("5s"))
        async with source:
            with pytest.raises(SourceError, match='session taken over: another client has the client_id "same"'):
                await asyncio.wait_for(anext(source), 10)


def silence() -> Deadman:
    return Deadman(Duration("10s"))


def arrivals(rule: Deadman, *rows: tuple[int, int]) -> list[tuple[str, int]]:
    """Changes that readings bring, each as (its time, when it comes), s; a negative time = only the clock."""
    found = []
    for time, now in rows:
        n = 0 if time < 0 else 1
        at = np.full(n, time * S)
        verdict = rule.process(Rows(np.zeros(n, np.int64), at, at, np.arange(n), {}, now * S))
        found += [(str(change.change), now) for change in verdict.transitions]
    return found


def test_the_last_reading_once_more_is_no_sign_of_life() -> None:
    assert arrivals(silence(), (5, 5), (5, 9), (5, 14), (5, 16)) == [("raised", 16)]
    assert arrivals(silence(), (5, 5), (-1, 15), (5, 16), (6, 17)) == [("raised", 15), ("resolved", 17)]


def test_only_a_newer_reading_ends_a_silence() -> None:
    assert arrivals(silence(), (5, 5), (-1, 15), (3, 16), (4, 17), (6, 18)) == [("raised", 15), ("resolved", 18)]


def test_a_late_reading_of_a_machine_that_lives_is_a_sign_of_life() -> None:
    assert arrivals(silence(), (5, 5), (4, 12), (-1, 20)) == []


def test_after_the_clock_was_set_back_a_reading_of_now_ends_a_silence() -> None:
    rule = silence()
    assert arrivals(rule, (100, 5), (-1, 15)) == [("raised", 15)]
    rule.on_clock_step(40 * S)
    again = replace(rule)
    again.restore(rule.snapshot())
    for each in (rule, again):
        assert arrivals(each, (100, 16), (41, 17)) == [("resolved", 17)]
    old = replace(rule)
    saved = rule.snapshot()
    del saved["set_back"]  # as releases before had it
    old.restore(saved)
    assert arrivals(old, (41, 30), (42, 31)) == [("raised", 30), ("resolved", 31)]


def test_a_codec_whose_frames_name_the_machine_is_no_wildcard_without_one() -> None:
    assert MqttSource(url="mqtt://h", topic="a/#", codec=Binary()).warnings() == ()
