"""From a rule's transition, which has numbers only, to the alert a subscriber can read."""

from __future__ import annotations

import math

from agent.alerts.alert import Alert, Change, Identity, Label, machine_of, spoken_name
from agent.core.explanations import BESIDE, Explanation, reason, span
from agent.core.keys import Name
from agent.core.operator import Operator
from agent.rules import Rule, Transition
from sensors.units import SECOND


def label(name: str, rule: Rule, signal: str = "", step: Operator | None = None) -> Label:
    """What is the same in all alerts of a rule.

    Args:
        name: of the rule in the configuration.
        rule: the rule itself.
        signal: the quantity its window or detector is about, unless the rule names one itself.
        step: the window or detector whose rows it judges; what its columns mean is in its `explains`.
    """
    detector = step if step is not None and step.explains else None
    watched = detector.watched() if detector is not None else ()
    explanation = detector.explains.get(rule.metric) if detector is not None and rule.carries_metric else None
    return Label(
        rule=name,
        kind=rule.type,
        by=rule.by,
        signal=rule.signal or signal or rule.metric,
        metric=rule.metric,
        unit=rule.unit,
        raise_limit=rule.raise_limit,
        clear_limit=rule.clear_limit,
        limit=rule.limit,
        severity=rule.severity,
        every=int(rule.every),
        payload=rule.payload,
        explanation=explanation,
        watched=watched,
        subject=rule.signal or _subject(explanation, watched, signal),
    )


def _subject(explanation: Explanation | None, watched: tuple[str, ...], signal: str) -> str:
    if explanation is not None and explanation.subject:
        return explanation.subject
    mine = watched[0] if len(watched) == 1 else ""
    return (signal if mine in ("", signal) else f"{mine} {signal}".rstrip()) or "its data"


def alert(
    transition: Transition, label: Label, series: Name, identity: Identity, sequence: int, recorded: int
) -> Alert:
    """The alert of a transition.

    Args:
        transition: what the rule reported.
        label: of the rule.
        series: name of the transition's key.
        identity: of the agent.
        sequence: the agent's counter.
        recorded: host time of the batch, ns.
    """
    key = identity.alert_key(label.rule, label.signal, series)
    incident = identity.incident(key, transition.incident, transition.started_at)
    values = _values(transition, label)
    change, severity, time = transition.change, transition.severity, transition.time
    return Alert(
        id=identity.transition(incident, change, severity, time, transition.repeat),
        incident=incident,
        key=key,
        change=change,
        rule=label.rule,
        rule_type=label.kind,
        machine=machine_of(label.by, series),
        series=series,
        signal=label.signal,
        severity=severity,
        value=transition.value,
        raise_limit=label.raise_limit,
        clear_limit=label.clear_limit,
        window_start=transition.start,
        window_end=transition.end,
        time=time,
        recorded=recorded,
        started_at=transition.started_at,
        sequence=sequence,
        ended_at=transition.ended_at,
        count=transition.count,
        missing=transition.missing,
        score=transition.score,
        unit=label.unit,
        repeat=transition.repeat,
        evidence=dict(transition.evidence) | ({"values": values} if values else {}),
        message=message(transition, label, series),
        flags=transition.flags,
        note=transition.note,
        expires=recorded + 2 * label.every if label.every and change is not Change.RESOLVED else None,
    )


def message(transition: Transition, label: Label, series: Name) -> str:
    """One sentence for a person: `machine 2: mean Temperature_C 91.3 >= 90 over 5s`."""
    who = spoken_name(label.by, series)
    known = transition.value == transition.value
    quantity = " ".join(
        part for part in (label.quantity(), f"{transition.value:.6g}" if known else "", label.unit) if part
    )
    explanation, values = label.explanation, _values(transition, label)
    lasted = span((transition.ended_at or transition.time) - transition.started_at)
    match transition.change:
        case Change.RESOLVED if explanation is not None:
            return f"{who}: {label.subject} {explanation.resolved} after {lasted}" + _disturbance(transition, label)
        case Change.RESOLVED:
            return f"{who}: {quantity}, {label.rule} resolved after {lasted}" + _disturbance(transition, label)
        case Change.NO_DATA:
            return f"{who}: no data for {label.rule}, raised {lasted} before"
        case Change.ACKED:
            return f"{who}: {label.rule} acknowledged"
        case Change.SILENCED:
            return f"{who}: {label.rule} silenced"
    limit = label.limit or (f"({label.raise_limit})" if label.raise_limit else "")
    silent = "silence_s" in transition.evidence  # the explanation has the length
    over = (
        f" over {span(transition.end - transition.start)}"
        if transition.end > transition.start and not silent
        else ""
    )
    since = f", for {lasted}" if transition.change is not Change.RAISED else ""
    if explanation is None:
        return f"{who}: {quantity} {limit}".rstrip() + over + since + _disturbance(transition, label)
    value = values.get(label.watched[0]) if len(label.watched) == 1 and not explanation.subject else None
    subject = " ".join(part for part in (label.subject, "" if value is None else f"{value:.6g}") if part)
    if value is not None and label.unit:
        subject += f" {label.unit}"
    why = _disturbance(transition, label) or reason(transition.evidence, values)
    return f"{who}: {subject} {explanation.raised}{_figures(transition, label, explanation)}{over}{since}{why}"


def _figures(transition: Transition, label: Label, explanation: Explanation) -> str:
    """What the rule compared: ` (score 2.54, limit 1)`."""
    name, value, limit = label.metric, transition.value, label.limit.lstrip("<>=! ")
    if name == "anomaly":  # yes or no; how much is in the score
        name, value, limit = "score", math.nan if transition.score is None else transition.score, ""
    figures = [f"{name} {_figure(value, explanation)}"] if value == value else []
    if limit:
        figures.append(f"limit {_figure(float(limit), explanation)}" if _number(limit) else f"limit {limit}")
    return f" ({', '.join(figures)})" if figures else ""


def _figure(value: float, explanation: Explanation) -> str:
    return f"{100 * value:.3g} %" if explanation.share else f"{value:.3g}"


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _values(transition: Transition, label: Label) -> dict[str, float]:
    """What the detector judged, and what is usual there, as far as it has that."""
    columns = transition.columns
    values = {name: columns[name] for name in label.watched if name in columns}
    return values | {name: columns[name] for name in BESIDE if name in columns} if values else values


def _disturbance(transition: Transition, label: Label) -> str:
    """What a detector that names disturbances saw, of the whole event if it can: `: sag by 80 % of normal, 0.08 s`."""
    event = transition.evidence.get("event", transition.evidence)
    name, size, unit = (event.get(key) for key in ("disturbance", "size", "size_unit"))
    if not isinstance(name, str) or not isinstance(size, float) or not isinstance(unit, str):
        return ""
    if unit.startswith("of the metric"):
        amount = f"{size:.3g} {label.unit}".rstrip()
    else:
        amount = f"{100 * size:.3g} % {unit}" if unit.startswith("of ") else f"{size:+.3g} {unit}"
    seconds = event.get("duration_s")
    lasted = f", {span(round(seconds * SECOND))}" if isinstance(seconds, float) else ""
    return f": {name} {'by ' if unit == 'of normal' else ''}{amount}{lasted}"
