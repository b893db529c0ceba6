"""What detectors find, in words for somebody who never read about detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sensors.units import SECOND

VIEWS = {
    "outside": "outside the range so far",
    "rare": "far from every value seen",
    "deviation": "far from the long mean",
    "near_8": "8 rows unlike any at this time of the period",
    "near_24": "24 rows unlike any at this time of the period",
    "near_64": "64 rows unlike any at this time of the period",
    "period": "far from the usual value at this time of the period",
    "drift": "the mean of the last 32 rows is far from the long mean",
    "burst": "more restless than usual for some 8 rows",
    "restless": "more restless than usual for some 32 rows",
    "calm": "calmer than usual",
    "distribution": "the last 128 rows are distributed unlike before",
    "context": "values in an order never seen",
}
"""What each view of the detector `auto` sees; the word itself is in `data.evidence.view`."""


BESIDE = ("usual", "low", "high")
"""Columns of detectors that an alert carries beside what they judged."""

LEAST = 0.05
"""Share of an alarm below which a sensor is not named in the sentence."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a large value of a detector's column means: `pressure 5.31` *is unusual*, *is usual again*.

    Attributes:
        raised: the predicate of the metric while the alert fires.
        resolved: the predicate when it is over.
        subject: the subject of both; empty = the metric, with its value where a row has one.
        share: the column is a share, shown in per cent.
    """

    raised: str = "is unusual"
    resolved: str = "is usual again"
    subject: str = ""
    share: bool = False


def reason(evidence: Mapping[str, Any], values: Mapping[str, float]) -> str:
    """Why, as far as the detector explains it: `: far from every value seen`; else empty.

    Args:
        evidence: of the detector.
        values: what it judged, and of `BESIDE` what it has.
    """
    for key, sentence in _REASONS.items():
        if key in evidence and (text := sentence(evidence, values)):
            return f": {text}"
    if "usual" in values:
        return f": usually about {values['usual']:.4g}"
    return f": before from {values['low']:.4g} to {values['high']:.4g}" if "high" in values else ""


def _view(evidence: Mapping[str, Any], values: Mapping[str, float]) -> str:
    return VIEWS.get(evidence["view"], str(evidence["view"]))


def _sensors(evidence: Mapping[str, Any], values: Mapping[str, float]) -> str:
    shares = evidence["sensors"].items()
    named = [f"{_with_value(name, values)} ({100 * share:.0f} %)" for name, share in shares if share >= LEAST]
    return f"above all {', '.join(named)}" if named else ""


def _metrics(evidence: Mapping[str, Any], values: Mapping[str, float]) -> str:
    return ", ".join(_with_value(name, values) for name in evidence["metrics"])


def _moved(evidence: Mapping[str, Any], values: Mapping[str, float]) -> str:
    most = next(iter(evidence["moved"]), None)
    if most is None:
        return ""
    low, high = most["low"], most["high"]
    match low is None, high is None:
        case True, _:
            where = f"below {high:.4g}"
        case _, True:
            where = f"above {low:.4g}"
        case _:
            where = f"from {low:.4g} to {high:.4g}"
    return f"{_per_cent(most['share'])} of the values {where}, usually {_per_cent(most['reference'])}"


def _per_cent(share: float) -> str:
    """Two digits of it, and never 1e+02."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def _silence(evidence: Mapping[str, Any], values: Mapping[str, float]) -> str:
    silence, usual = (span(round(evidence[name] * SECOND)) for name in ("silence_s", "usual_s"))
    return f"nothing for {silence}, usually not longer than {usual}"


def _with_value(name: str, values: Mapping[str, float]) -> str:
    return f"{name} {values[name]:.6g}" if name in values else name


_REASONS: dict[str, Callable[[Mapping[str, Any], Mapping[str, float]], str]] = {
    "view": _view,
    "sensors": _sensors,
    "metrics": _metrics,
    "moved": _moved,
    "silence_s": _silence,
}


def span(nanoseconds: int) -> str:
    """A length of time as people write it, at most two units."""
    seconds = max(nanoseconds, 0) / SECOND
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
