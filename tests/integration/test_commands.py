"""Somebody acknowledges and silences an alert over MQTT while the agent runs."""

import asyncio
import json
import re
import sys
from datetime import datetime

import aiomqtt

from agent.cli.alerts import Broker
from agent.runtime.demo_broker import embedded_broker
from tests.brokers import free_port
from tests.integration.agent_process import ROOT, AgentProcess

CONFIG = """
[agent]
site = "hall"
name = "a"
state = "{state}"
tick = "100ms"

[source.machines]
type = "temperature"
at_limit = "hold"
rate = 20.0
speed = 20.0

[rule.hot]
when = "Temperature_C >= 90"
severity = "critical"

[sink.broker]
type = "mqtt"
url = "{url}"
"""


async def alerts(url, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "alerts", *arguments, "--broker", url, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode(), error.decode()


async def open_alert(url):
    async with asyncio.timeout(30):
        while True:
            code, out, _ = await alerts(url, "list", "--json")
            assert code == 0
            if out.strip():
                return json.loads(out.splitlines()[0])


async def test_an_open_alert_is_listed_acknowledged_and_silenced(tmp_path, mosquitto):
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG.format(state=tmp_path / "state", url=mosquitto.url))
    async with AgentProcess("run", "-c", file) as agent:
        event = await open_alert(mosquitto.url)
        assert event["data"]["machine"] == "2"

        code, out, error = await alerts(mosquitto.url, "ack", "2", "--note", "Ana looks")
        assert (code, error) == (0, "")
        assert out.startswith("1 incidents acknowledged")
        assert "acked" in (await open_alert(mosquitto.url))["data"]["flags"]

        code, out, error = await alerts(mosquitto.url, "silence", "2", "--rule", "hot", "--for", "1h")
        assert (code, error) == (0, "")
        silence = out.split()[-1]
        assert "silenced" in (await open_alert(mosquitto.url))["data"]["flags"]
        assert (await alerts(mosquitto.url, "unsilence", silence))[0] == 0
        code, _, error = await alerts(mosquitto.url, "unsilence", silence)
        assert code == 1
        assert "there is no silence" in error or "did not answer" in error
        assert await agent.stop() == 0


async def test_what_is_open_is_listed_with_date_rule_severity_and_whether_the_agent_is_there(tmp_path, mosquitto):
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG.format(state=tmp_path / "state", url=mosquitto.url))
    async with AgentProcess("run", "-c", file) as agent:
        event = await open_alert(mosquitto.url)
        assert (event["agent"], event["agentstate"]) == ("hall/a", "online")
        code, out, error = await alerts(mosquitto.url, "list")
        assert (code, error) == (0, "")
        assert "offline" not in out
        moment = datetime.fromisoformat(event["time"]).astimezone()
        assert re.match(rf"{moment:%Y-%m-%d} \d\d:\d\d:\d\d  CRITICAL \w+ +hot  +\S", out)
        for words in (("--agent", "hall/a"), ("2",), ("--rule", "h*")):
            assert (await alerts(mosquitto.url, "list", *words))[1] != "no open alert\n"
        for words in (("machine-9",), ("--rule", "cold")):
            assert await alerts(mosquitto.url, "list", *words) == (0, "no open alert\n", "")
        code, _, error = await alerts(mosquitto.url, "list", "--agent", "hall/b")
        assert code == 1
        assert "no agent hall/b has told this broker of itself; those that have: hall/a" in error
        assert (await alerts(mosquitto.url, "list", "--agent", "hall"))[0] == 2
        assert await agent.stop() == 0
    code, out, error = await alerts(mosquitto.url, "list")
    assert (code, error) == (0, "")
    first, *_, last = out.splitlines()
    assert first.endswith("(agent offline)")
    assert last.startswith("agent hall/a is offline (shutdown; it had connected at 20")
    assert (await open_alert(mosquitto.url))["agentstate"] == "offline"


async def test_commands_that_are_none_are_counted_in_the_health_report(tmp_path, mosquitto):
    file = tmp_path / "agent.toml"
    text = CONFIG.format(state=tmp_path / "state", url=mosquitto.url)
    file.write_text(text.replace('tick = "100ms"', 'tick = "100ms"\nhealth = "100ms"'))
    async with (
        AgentProcess("run", "-c", file) as agent,
        aiomqtt.Client("127.0.0.1", mosquitto.port) as client,
        asyncio.timeout(30),
    ):
        await agent.says("source commands of broker: open")
        await client.subscribe("edge/v1/hall/a/health")
        async for message in client.messages:
            counters = json.loads(message.payload)["sources"]["commands of broker"]
            if counters["frames_bad"]:
                assert "no JSON" in counters["last_error"]
                break
            await client.publish("edge/v1/hall/a/cmd/ack", b"ack everything!", qos=1)
        assert await agent.stop() == 0


async def test_without_an_agent_on_the_broker_it_says_so(mosquitto):
    code, _, error = await alerts(mosquitto.url, "ack", "2")
    assert code == 1
    assert "no agent has told this broker of itself under edge/v1" in error


async def test_a_broker_that_wants_a_name_a_password_and_tls_gets_them(secure_mosquitto, certificates, tmp_path):
    broker = secure_mosquitto
    broker.stop()
    broker.extra = broker.extra.replace("require_certificate true", "require_certificate false")
    broker.start()
    ca = ["--ca", str(certificates.path("ca.pem"))]
    known = ["--user", "agent", "--password-file", str(tmp_path / "password")]
    assert await alerts(broker.url, "list", *ca, *known) == (0, "no open alert\n", "")
    code, _, error = await alerts(broker.url, "list", *ca)
    assert code == 1
    assert "ot authori" in error


async def test_a_broker_that_wants_a_certificate_gets_it(secure_mosquitto, certificates, tmp_path):
    known = [
        "--ca",
        str(certificates.path("ca.pem")),
        "--user",
        "agent",
        "--password-file",
        str(tmp_path / "password"),
    ]
    own = ["--certificate", str(certificates.path("client.pem")), "--key", str(certificates.path("client.key"))]
    assert await alerts(secure_mosquitto.url, "list", *known, *own) == (0, "no open alert\n", "")
    assert (await alerts(secure_mosquitto.url, "list", *known))[0] == 1


async def test_an_address_that_is_none_is_refused():
    code, _, error = await alerts("http://127.0.0.1", "list")
    assert code == 2
    assert "write mqtt://HOST:PORT or mqtts://HOST:PORT" in error


async def test_a_small_broker_that_sends_what_was_not_asked_for_does_not_mislead():
    """That of the demo sends retained messages of topics beside the filter, and some of them twice."""
    async with embedded_broker(free_port()) as port, aiomqtt.Client("127.0.0.1", port) as client:
        alert = "edge/v1/demo/simulator/2/alert/t.hot"
        for topic in ("edge/v1/demo/simulator/status", alert):
            await client.publish(topic, b"{}", qos=1, retain=True)
        broker = Broker(client, "edge")
        for _ in range(2):
            assert await broker.retained("edge/v1/+/+/+/alert/+") == [(alert, b"{}")]
            assert await broker.retained("edge/v1/+/+/status") == [("edge/v1/demo/simulator/status", b"{}")]
