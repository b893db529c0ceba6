"""What subscribers get: valid CloudEvents that agree with the schema, whatever the machine is called."""

import itertools
import json
import uuid
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.alerts.alert import Change, Identity, Label, alert_name, topic_name
from agent.alerts.cloudevents import encode_alert, encode_raw, encode_results, rfc3339
from agent.core.rows import Rows
from agent.engine.wording import alert
from agent.rules import Transition
from sensors.batch import Text

SCHEMA = json.loads((Path(__file__).parents[2] / "agent/alerts/schema/alert.v1.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
LABEL = Label(
    "overheating",
    "threshold",
    ("machine",),
    "Temperature_C",
    "mean",
    "°C",
    "mean >= 90",
    "mean < 88",
    ">= 90",
    "critical",
)
IDENTITY = Identity("plant-1", "gateway-1")
S = 10**9
T = 1_710_856_626 * S + 905_833_677


def transition(**changes):
    fields = {
        "key": 0, "at": 3, "change": Change.RAISED, "severity": "critical", "value": 91.3, "start": T - 5 * S,
        "end": T, "time": T, "started_at": T, "incident": 1,
    }  # fmt: skip
    return Transition(**{**fields, **changes})


def written(event, series=("2",), label=LABEL):
    made = alert(event, label, series, IDENTITY, 7, T + S)
    return made, encode_alert(made, IDENTITY, label.by)


def valid(body):
    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(body, parse_constant=refuse)
    VALIDATOR.validate(document)
    return document


def test_a_raised_alert_is_a_valid_event_that_a_person_can_read():
    made, (history, state) = written(transition())
    document = valid(history.body)
    assert document["type"] == "io.edge-agent.alert.raised"
    assert document["time"] == "2024-03-19T13:57:06.905Z"
    assert document["data"]["message"] == "machine 2: mean Temperature_C 91.3 °C >= 90 over 5 s"
    assert (document["severitytext"], document["severitynumber"]) == ("ERROR", 17)
    assert document["correlationid"] == made.incident
    assert document["sequence"] == "7"
    assert (history.kind, state.kind, history.machine) == ("alert", "state", "2")
    assert history.name == state.name == "Temperature_C.overheating"
    assert state.body == history.body


def test_a_firing_alert_that_is_sent_again_says_how_long_it_is_good_for():
    label = replace(LABEL, every=600 * S)
    document = valid(written(transition(), label=label)[1][0].body)
    assert document["expirytime"] == rfc3339(T + S + 1200 * S)
    resolved = valid(written(transition(change=Change.RESOLVED, ended_at=T), label=label)[1][0].body)
    assert "expirytime" not in resolved
    assert "expirytime" not in valid(written(transition())[1][0].body)


def test_a_resolved_alert_clears_its_retained_state():
    _, (history, state) = written(
        transition(change=Change.RESOLVED, time=T + 42 * S, ended_at=T + 42 * S, value=87.2)
    )
    document = valid(history.body)
    assert document["data"]["duration_s"] == 42
    assert document["data"]["state"] == "resolved"
    assert document["data"]["message"].endswith("overheating resolved after 42 s")
    assert state.body == b""


def test_ids_say_the_same_for_ever():
    made, _ = written(transition())
    again, _ = written(transition(at=0))
    assert made == again
    assert uuid.UUID(made.id).version == 5
    # written down once; a change of these would make every subscriber see old alerts as new ones
    assert made.key == "56eef190-7a26-5a6e-b6d9-8789ef7f1af9"
    assert made.incident == "44e6ae0c-3f6d-5adb-be6c-54b829eee36a"
    assert made.id == "3cde8cc0-b170-5255-9289-79006fc3873d"


def test_each_change_of_an_incident_has_its_own_id_and_the_same_incident():
    events = [
        transition(),
        transition(change=Change.ESCALATED, severity="fatal", time=T + S),
        transition(change=Change.UPDATED, time=T + 2 * S, repeat=1),
        transition(change=Change.UPDATED, time=T + 2 * S, repeat=2),
        transition(change=Change.ACKED, time=T + 3 * S, flags=("acked",), note="Ann: on my way"),
        transition(change=Change.SILENCED, time=T + 3 * S, flags=("acked", "silenced")),
        transition(change=Change.NO_DATA, time=T + 4 * S),
        transition(change=Change.RESOLVED, time=T + 5 * S, ended_at=T + 5 * S),
    ]
    made = [written(event) for event in events]
    assert len({item.id for item, _ in made}) == len(events)
    assert len({item.incident for item, _ in made}) == 1
    for _, messages in made:
        valid(messages[0].body)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_json_has_no_nan_and_no_infinity(value):
    _, messages = written(transition(value=value, score=value, evidence={"bins": [value], "kl": np.float64(value)}))
    document = valid(messages[0].body)
    assert document["data"]["value"] in (None, 1e308)


HOSTILE = [
    "",
    "a/b",
    "a+b",
    "#",
    "\0",
    "x" * 1000,
    "\u202egnirts",
    "status",
    "cmd",
    "Ünïcode 🍕",
    "a b",
    "\ud800",
    "\n",
]


@pytest.mark.parametrize("machine", HOSTILE)
def test_a_hostile_machine_name_reaches_the_payload_but_not_the_topic(machine):
    _, messages = written(transition(), (machine,))
    document = valid(messages[0].body)
    assert topic_name(machine) == messages[0].machine
    assert all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in messages[0].machine)
    assert 1 <= len(messages[0].machine) <= 64
    assert document["data"]["machine"] == machine.encode(errors="replace").decode()


@given(st.text(max_size=80), st.text(max_size=80))
def test_two_machines_never_share_a_topic(a, b):
    assert (topic_name(a) == topic_name(b)) == (a == b)


def test_a_series_of_more_than_a_machine_has_its_own_topic():
    by = ("machine", "status")
    assert alert_name("temp", "hot", by, ("m1", "RUN")) == "temp.hot.RUN"
    assert alert_name("temp", "hot", ("topping",), ("tuna",)) == "temp.hot"


def raw_rows(n=5, **more):
    ends = T + np.arange(n) * S
    values = {"mean": np.linspace(90, 91, n), "emission": np.arange(n) // 2 + 1.0, **more}
    return Rows(np.arange(n) % 2, ends - 5 * S, ends, np.arange(n), values, T)


def test_raw_events_are_valid_and_distinct():
    rows = raw_rows(other=np.array([1, np.nan, np.inf, 2, 3.5]))
    messages = encode_raw(LABEL, rows, [("0",), ('we"ird\n%s',)].__getitem__, IDENTITY)
    documents = [valid(message.body) for message in messages]
    assert len({message.id for message in messages}) == 5
    assert [message.id for message in messages] == [document["id"] for document in documents]
    assert [document["data"]["value"] for document in documents] == rows.values["mean"].tolist()
    assert [document["data"]["values"]["other"] for document in documents] == [1.0, None, None, 2.0, 3.5]
    assert documents[1]["data"]["machine"] == 'we"ird\n%s'
    assert documents[0]["time"] == rfc3339(T)
    assert documents[0]["data"]["message"] == "machine 0: mean Temperature_C >= 90"
    assert {message.kind for message in messages} == {"raw"}


def test_a_series_that_is_no_machine_is_called_what_it_is():
    label = replace(LABEL, by=("topping",))
    (message, *_) = encode_raw(label, raw_rows(1), lambda key: ("tuna",), IDENTITY)
    assert valid(message.body)["data"]["message"] == "topping tuna: mean Temperature_C >= 90"


def test_texts_and_lists_of_a_raw_event_are_written_too():
    plain = raw_rows(2)
    texts = {"status": Text(("OK\n",), np.array([0, -1], np.int32))}
    rows = Rows(
        plain.key, plain.start, plain.end, plain.at, plain.values, plain.now, texts, {"all": [(1.0, 2.0), ()]}
    )
    documents = [valid(message.body) for message in encode_raw(LABEL, rows, [("0",), ("1",)].__getitem__, IDENTITY)]
    assert [document["data"]["values"] for document in documents] == [
        {"status": "OK\n", "all": [1.0, 2.0]},
        {"status": None, "all": []},
    ]


def test_no_rows_make_no_messages():
    rows = raw_rows(0)
    assert encode_raw(LABEL, rows, [].__getitem__, IDENTITY) == []
    assert encode_results("mean_5s", rows, [].__getitem__, ("machine",), IDENTITY) == []


def test_results_are_metric_messages():
    messages = encode_results("mean_5s", raw_rows(), [("0",), ("a/b",)].__getitem__, ("machine",), IDENTITY)
    document = json.loads(messages[1].body)
    assert document["id"] == messages[1].id
    assert document["data"]["values"] == {"mean": 90.25, "emission": 1.0}
    assert document["data"]["machine"] == "a/b"
    assert messages[1].machine == topic_name("a/b")
    assert len({message.id for message in messages}) == 5


@pytest.mark.law2
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=3))
def test_how_raw_rows_are_cut_changes_no_byte(cuts):
    rows, names = raw_rows(), [("0",), ("1",)].__getitem__
    bounds = [0, *sorted(cuts), 5]
    pipeline = [rows.take(np.arange(low, high)) for low, high in itertools.pairwise(bounds)]
    pieces = [message for part in pipeline for message in encode_raw(LABEL, part, names, IDENTITY)]
    assert pieces == encode_raw(LABEL, rows, names, IDENTITY)


@given(st.integers(-(2**62), 2**62))
def test_times_are_written_alike_one_by_one_and_in_columns(time):
    rows = raw_rows(1)
    moved = Rows(rows.key, np.array([time]), np.array([time]), rows.at, rows.values, 0)
    document = json.loads(encode_raw(LABEL, moved, [("0",)].__getitem__, IDENTITY)[0].body)
    assert document["time"] == rfc3339(time)


def test_a_raw_rule_may_publish_the_bare_value_as_quix_does():
    from tests.core.streams import pipeline, said
    from tests.core.test_control import reading

    found = pipeline(
        {"rule": {"hot": {"when": "round(x, 2) >= 90", "mode": "raw", "digits": 2, "payload": "value"}}}
    )
    messages = said(found.engine(), found.identity, [reading(89.9951, 0), reading(89.9, 1), reading(95, 2)])["raw"]
    assert [(machine, body) for _, machine, _, body in messages] == [("m", b"90.0"), ("m", b"95.0")]
    assert len({identifier for identifier, *_ in messages}) == 2
