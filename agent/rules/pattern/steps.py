"""The steps of a pattern as a person writes them: `start`, `up: > start`, `down+: < last(down, 1)`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.expressions.parser import parse
from agent.expressions.syntax import ExpressionError, Node, Truth

_STEP = re.compile(r"\s*([^\W\d]\w*)\s*([*+?]\??|\{[^}]*\}\??)?\s*(?::(.*))?\s*", re.DOTALL)
_BRACES = re.compile(r"\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}")


@dataclass(frozen=True, slots=True)
class PatternStep:
    """A variable of the pattern.

    Attributes:
        name: as written; `condition` of a row to be mapped to it.
        least, most: rows it takes; most is None where there is no bound.
        greedy: a row that fits this step is not given to the next one (Flink's greed: nothing is ever given back).
    """

    name: str
    least: int = 1
    most: int | None = 1
    greedy: bool = False
    condition: Node = field(default_factory=lambda: Truth(0, True))
    text: str = ""


def parse_steps(texts: Sequence[str]) -> tuple[PatternStep, ...]:
    """The steps of a pattern.

    Raises:
        ValueError: naming the step that is wrong, and the remedy.
    """
    steps: list[PatternStep] = []
    for text in texts:
        match = _STEP.fullmatch(text)
        if match is None:
            raise ValueError(
                f"step {text!r}: write a name, perhaps * + ? or {{n,m}}, and a condition, as in 'down+: < last(down, 1)'"
            )
        name, quantifier, condition = match[1], match[2] or "", (match[3] or "").strip()
        if any(step.name == name for step in steps):
            raise ValueError(f"step {name!r} occurs twice; give each step its own name")
        least, most, greedy = _quantifier(name, quantifier)
        try:
            node = parse(condition, subject=name) if condition else Truth(0, True)
        except ExpressionError as error:
            raise ValueError(f"step {name!r}: {error}") from error
        steps.append(PatternStep(name, least, most, greedy, node, condition))
    _check(steps)
    return tuple(steps)


def _quantifier(name: str, text: str) -> tuple[int, int | None, bool]:
    """Fewest and most rows, and whether it is greedy."""
    reluctant = len(text) > 1 and text.endswith("?")
    sign = text[:-1] if reluctant else text
    match sign:
        case "":
            return 1, 1, False
        case "*":
            return 0, None, not reluctant
        case "+":
            return 1, None, not reluctant
        case "?":
            if reluctant:
                raise ValueError(f"step {name!r}: '??' is not known; use '?'")
            return 0, 1, False
    braces = _BRACES.fullmatch(sign)
    if braces is None or not (braces[1] or braces[3]):
        raise ValueError(f"step {name!r}: {sign!r} is no quantifier; write {{n}}, {{n,}}, {{n,m}} or {{,m}}")
    least = int(braces[1] or 0)
    most = (int(braces[3]) if braces[3] else None) if braces[2] else least
    if most is not None and (most < least or most == 0):
        raise ValueError(
            f"step {name!r}: {sign!r} takes no rows; write a number of at least 1, the smaller one first"
        )
    return least, most, not reluctant and most != max(least, 1)


def _check(steps: Sequence[PatternStep]) -> None:
    if not steps:
        raise ValueError("steps: a pattern has at least one step")
    if len(steps) > 50:
        raise ValueError("steps: a pattern has at most 50 steps")
    if all(step.least == 0 for step in steps):
        raise ValueError("steps: every step is optional, so the pattern can match nothing; make one step required")
    last = steps[-1]
    if last.greedy:
        raise ValueError(
            f"step {last.name!r}: the last step cannot be greedy, its end is never known; add a '?' to it"
        )
