"""Commands from outside: checked, applied once; whatever is malformed is counted and passed over."""

import json

import pytest

from agent.alerts.command_codec import CommandCodec
from agent.alerts.commands import commands_of

NOW = 1_700_000_000 * 10**9


def decode(codec, verb, body):
    frame = body if isinstance(body, bytes) else json.dumps(body).encode()
    batch = codec.decode([frame], NOW, machines=[verb])
    return [] if batch is None else list(commands_of(batch))


def test_a_command_becomes_a_row():
    fields = {
        "id": "a",
        "machine": "press-1",
        "rule": "hot",
        "for": "2h",
        "note": "maintenance",
        "time": "2023-11-14T22:13:30Z",
    }
    (command,) = decode(CommandCodec(), "silence", fields)
    assert (command.verb, command.machine, command.rule, command.seconds) == ("silence", "press-1", "hot", 7200.0)
    assert (command.id, command.note, command.signal) == ("a", "maintenance", "*")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "no JSON object"),
        ({}, "id is missing"),
        ({"id": 5}, "id is no text"),
        ({"id": "a", "machine": "x" * 2000}, "at most 1024"),
        ({"id": "a", "exec": "rm"}, "unknown field 'exec'"),
        ({"id": "a", "for": "soon"}, "is not a duration"),
        ({"id": "a", "time": "2023-11-14T22:00:00Z"}, "not within 1m"),
        ({"id": "a", "time": "yesterday"}, "not RFC 3339"),
        (b'{"id": "' + b"x" * 10_000_000 + b'"}', "bytes; at most"),
    ],
)
def test_what_is_malformed_is_counted_with_its_reason(body, said):
    codec = CommandCodec()
    assert decode(codec, "ack", body) == []
    assert codec.counters.frames_bad == 1
    assert said in codec.counters.last_error
    assert len(codec.counters.last_error) < 300


def test_a_replayed_command_is_not_applied_again():
    codec = CommandCodec()
    assert len(decode(codec, "ack", {"id": "a"})) == 1
    assert decode(codec, "ack", {"id": "a"}) == []
    assert "applied before" in codec.counters.last_error
    assert len(decode(codec, "silence", {"id": "a", "for": "1h"})) == 1


def test_a_refused_command_may_come_again_put_right():
    codec = CommandCodec()
    assert decode(codec, "silence", {"id": "a", "for": "soon"}) == []
    assert len(decode(codec, "silence", {"id": "a", "for": "2h"})) == 1
