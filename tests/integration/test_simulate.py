"""`agent --simulate`, as somebody runs it who has just installed the agent."""

import json

from tests.integration.agent_process import AgentProcess


async def test_the_simulation_raises_alerts_and_ends_by_itself():
    async with AgentProcess("--simulate", "--duration", "60s", "--speed", "max", "--seed", "1", "--json") as agent:
        assert await agent.wait() == 0
    events = [json.loads(line) for line in agent.lines if line.startswith("{")]
    assert {event["source"].split("/")[2] for event in events} == {"demo"}
    assert any(event["type"].endswith(".raised") for event in events)
