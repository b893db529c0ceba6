"""From a rule's transition, which knows numbers only, to the alert a subscriber can read."""

from __future__ import annotations

from agent.alerts import Alert, Change, Identity, Label, machine_of, spoken_name
from agent.keys import Name
from agent.rules import Rule, Transition
from sensors.units import SECOND


def label(name: str, rule: Rule, signal: str = "") -> Label:
    """What is the same in all alerts of a rule.

    Args:
        name: of the rule in the configuration.
        rule: the rule itself.
        signal: the quantity its window or detector is about, unless the rule names one itself.
    """
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
        every=int(getattr(rule, "every", 0)),
        payload=getattr(rule, "payload", "event"),
    )


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
        evidence=dict(transition.evidence),
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
    lasted = _span((transition.ended_at or transition.time) - transition.started_at)
    match transition.change:
        case Change.RESOLVED:
            return f"{who}: {quantity}, {label.rule} resolved after {lasted}" + _disturbance(transition, label)
        case Change.NO_DATA:
            return f"{who}: no data for {label.rule}, raised {lasted} before"
        case Change.ACKED:
            return f"{who}: {label.rule} acknowledged"
        case Change.SILENCED:
            return f"{who}: {label.rule} silenced"
    limit = label.limit or (f"({label.raise_limit})" if label.raise_limit else "")
    over = f" over {_span(transition.end - transition.start)}" if transition.end > transition.start else ""
    since = f", for {lasted}" if transition.change is not Change.RAISED else ""
    return f"{who}: {quantity} {limit}".rstrip() + over + since + _disturbance(transition, label)


def _disturbance(transition: Transition, label: Label) -> str:
    """What a detector that names disturbances saw, of the whole event if it can: `: sag by 80 % of normal, 0.08 s`."""
    said = transition.evidence.get("event", transition.evidence)
    name, size, unit = (said.get(key) for key in ("disturbance", "size", "size_unit"))
    if not isinstance(name, str) or not isinstance(size, float) or not isinstance(unit, str):
        return ""
    if unit.startswith("of the metric"):
        amount = f"{size:.3g} {label.unit}".rstrip()
    else:
        amount = f"{100 * size:.3g} % {unit}" if unit.startswith("of ") else f"{size:+.3g} {unit}"
    seconds = said.get("duration_s")
    lasted = f", {_span(round(seconds * SECOND))}" if isinstance(seconds, float) else ""
    return f": {name} {'by ' if unit == 'of normal' else ''}{amount}{lasted}"


def _span(nanoseconds: int) -> str:
    """A length of time as people say it, at most two units."""
    seconds = max(nanoseconds, 0) / SECOND
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
