"""What a bad line may do to a running agent: nothing but counters."""

import asyncio
import json
import os
import time
import tty

from tests.integration.agent_process import AgentProcess

CONFIGURATION = """
[agent]
site = "hall-1"
name = "line-a"
state = "{tmp}/state"
health = "1s"
tick = "200ms"

[source.line]
type = "serial"
port = "{tmp}/port"
codec = {{ type = "json", machine = "machine", time = "Timestamp" }}

[window.mean_5s]
type = "hopping"
metric = "Temperature_C"
size = "5s"
step = "1s"
emit = "current"
aggregates = ["mean"]

[rule.overheating]
on = "mean_5s"
when = "mean >= 90"
clear = "mean < 85"

[sink.console]
type = "lines"
kinds = ["alert", "health"]
"""


class Device:
    """A device on a port whose name stays while the terminal behind it changes."""

    def __init__(self, link):
        self.link = link
        self.plug()

    def plug(self):
        self.ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._theirs))

    def unplug(self):
        self.link.unlink()
        os.close(self.ours)
        os.close(self._theirs)

    def write(self, data):
        os.write(self.ours, data)

    def reads(self, machine, temperature, seconds_ago=0.0):
        stamp = time.time_ns() - int(seconds_ago * 1e9)
        self.write(b'{"machine": "%s", "Temperature_C": %s, "Timestamp": %d}\n' % (machine, temperature, stamp))


def garbage(now):
    yield b"\xff" * 400 + b"\n"
    yield b'{"machine": "a", "Temperature_C": 6'
    yield b"\n\n\r\n\x00\x00\n[]\n5\nnull\n" + b"[" * 2000 + b"\n"
    for value in (b"NaN", b"Infinity", b"1e999", b"null", b'"x"', b"[1]", b"{}"):
        yield b'{"machine": "a", "Temperature_C": %s, "Timestamp": %d}\n' % (value, now)
    for stamp in (b"5", b"-5", b"1710856626", b"1e300", b'"soon"', b"null", b"true", b"%d" % (now + 10**18)):
        yield b'{"machine": "a", "Temperature_C": 99, "Timestamp": %s}\n' % stamp
    yield b'{"Temperature_C": 99, "Timestamp": %d}\n' % now  # whose?
    yield b'{"machine": {"a": 1}, "Temperature_C": 99, "Timestamp": %d}\n' % now
    yield b'{"machine": "a/#+\\u0000", "Temperature_C": 5, "Timestamp": %d}\n' % now


async def health(agent, found):
    """The first report of health from now on that fits."""
    seen = len(agent.lines)
    async with asyncio.timeout(20):
        while True:
            for line in agent.lines[seen:]:
                seen += 1
                if line.startswith("{") and "uptime_s" in line:
                    report = json.loads(line)
                    if found(report["sources"]["line"]):
                        return report["sources"]["line"]
            await asyncio.sleep(0.05)


async def test_garbage_a_missing_port_and_a_pulled_plug_cost_nothing_but_counters(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(CONFIGURATION.format(tmp=tmp_path))
    async with AgentProcess("run", "-c", file) as agent:
        await agent.says("port: No such file or directory")
        device = Device(tmp_path / "port")
        await agent.says("source line: open")
        for age in (0.8, 0.6):
            device.reads(b"a", b"95", age)
        for piece in garbage(time.time_ns()):
            device.write(piece)
        device.reads(b"b", b"60")
        raised = json.loads(await agent.says("alert.raised"))
        assert (raised["data"]["machine"], raised["data"]["value"]) == ("a", 95.0)
        counts = await health(agent, lambda counts: counts["rows"] >= 3 and counts["frames_bad"])
        assert counts["frames_bad"] >= 15
        assert counts["last_error"]

        for _ in range(20):  # two megabytes without a newline
            await asyncio.to_thread(device.write, b"x" * 100_000)
        device.write(b"\n")
        await health(agent, lambda counts: "longer than" in counts["last_error"])

        device.unplug()
        await health(agent, lambda counts: counts["reopened"])
        device.plug()
        await agent.says("source line: open", times=2)
        device.reads(b"a", b"60", seconds_ago=-6)  # the hot readings have left the window of 5 s
        resolved = json.loads(await agent.says("alert.resolved"))
        assert resolved["data"]["machine"] == "a"
        assert await agent.stop() == 0
        assert not [line for line in agent.lines if "Traceback" in line]
    device.unplug()


LINES = """
[agent]
state = "{tmp}/state"
health = "200ms"
tick = "100ms"

[source.line]
type = "tcp"
port = {port}
codec = {{ type = "json", machine = "m", texts = ["s"] }}

[rule.hot]
when = "x >= 1"

[sink.console]
type = "lines"
kinds = ["alert", "state", "health"]
"""


async def test_names_that_are_no_text_cost_their_line_over_tcp(tmp_path):
    devices = asyncio.Queue()
    server = await asyncio.start_server(lambda _, writer: devices.put(writer), "127.0.0.1", 0)
    async with server:
        file = tmp_path / "agent.toml"
        file.write_text(LINES.format(tmp=tmp_path, port=server.sockets[0].getsockname()[1]))
        async with AgentProcess("run", "-c", file) as agent:
            device = await asyncio.wait_for(devices.get(), 20)
            device.write(b'{"m": "first", "x": 2}\n')
            await agent.says("alert.raised")
            broken = (
                rb'{"m": "\ud800", "a": NaN, "x": 2}', rb'{"m": "c", "a": NaN, "x": 2, "s": "\udfff"}',
                rb'{"m": "c", "\ud800": NaN, "x": 2}', rb'{"m": "\ud800", "x": 2}',
            )  # fmt: skip
            foreign = (
                b'{"m": "K\xfcche", "a": NaN, "x": 2}',
                b'{"m": "c", "\xff": 1, "x": 2}',
            )  # kept, as far as it goes
            device.write(b"\n".join(broken + foreign) + b"\n")
            counts = await health(agent, lambda counts: counts["frames_bad"] >= len(broken))
            assert counts["frames_bad"] == len(broken)
            assert counts["last_error"].startswith("no JSON")
            await agent.says('"machine":"K\ufffdche"')
            await health(agent, lambda counts: counts["bytes_replaced"] == len(foreign))
            device.write(b'{"m": "last", "a": NaN, "x": 2}\n')
            await agent.says('"machine":"last"')
            assert await agent.stop() == 0
            assert not [line for line in agent.lines if "Traceback" in line]
            device.close()
