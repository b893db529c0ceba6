"""One start of a match, row after row: the states a row can lead to, and which of them ends first.

Flink's semantics (NFACompiler, NFA): strict contiguity; a row goes to the present step if it fits and there is room,
and also to a following one; a greedy step keeps every row that fits it, so what follows it must not fit it; the first
state that completes the pattern is the match, and states that began at the same row end with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.rules.pattern.mapped_rows import Function, MappedRows
from agent.rules.pattern.steps import PatternStep

Thread = tuple[int, ...]
"""Position of the first row of each step so far; the last one is the step that took the last row."""
THREADS = 10_000


@dataclass(slots=True)
class Matcher:
    """The states of one pattern.

    Attributes:
        steps: of the pattern; `conditions` of each, None = always true.
        overflows: how often a start was given up for its number of states.
    """

    steps: Sequence[PatternStep]
    conditions: Sequence[Function | None]
    overflows: int = 0
    _rest_optional: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rest_optional = [all(step.least == 0 for step in self.steps[k + 1 :]) for k in range(len(self.steps))]

    def opened(
        self, row: int, fits: Callable[[int, MappedRows], bool], mapped: MappedRows
    ) -> tuple[list[Thread], Thread | None]:
        """The states after a first row, and the one that is complete already."""
        return self._followers((), row, row, fits, mapped)

    def fed(
        self, threads: list[Thread], row: int, fits: Callable[[int, MappedRows], bool], mapped: MappedRows
    ) -> tuple[list[Thread], Thread | None]:
        """The states after one more row, and the first one that it completes."""
        following: list[Thread] = []
        for thread in threads:
            found, complete = self._followers(thread, thread[0], row, fits, mapped)
            if complete is not None:
                return [], complete
            following += found
        if len(following) > THREADS:
            self.overflows += 1
            return [], None
        return following, None

    def complete(self, thread: Thread, row: int) -> bool:
        """Whether a state is a match after `row`."""
        last = len(thread) - 1
        return row + 1 - thread[-1] >= self.steps[last].least and self._rest_optional[last]

    def _followers(
        self, thread: Thread, start: int, row: int, fits: Callable[[int, MappedRows], bool], mapped: MappedRows
    ) -> tuple[list[Thread], Thread | None]:
        steps = self.steps
        found: list[Thread] = []
        present = len(thread) - 1
        self.place(mapped, thread, start, row)
        if present >= 0:
            step = steps[present]
            taken = row - thread[present]
            again = (step.most is None or taken < step.most or step.greedy) and fits(present, mapped)
            if again and (step.most is None or taken < step.most):
                if self.complete(thread, row):
                    return [], thread
                found.append(thread)
            if taken < step.least or (again and step.greedy):
                return found, None
        begins = list(thread)
        for k in range(present + 1, len(steps)):
            begins.append(row)
            mapped.begin[k], mapped.end[k] = row, row + 1
            if k:
                mapped.end[k - 1] = row
            if fits(k, mapped):
                state = tuple(begins)
                if self.complete(state, row):
                    return [], state
                found.append(state)
                if steps[k].greedy:
                    break
            if steps[k].least > 0:
                break
        return found, None

    def place(self, mapped: MappedRows, thread: Thread, start: int, row: int) -> None:
        """Set in `mapped` the rows of each step, `row` included in the last of them."""
        count = len(self.steps)
        begin, end = mapped.begin, mapped.end
        last = len(thread) - 1
        for k in range(count):
            if k < last:
                begin[k], end[k] = thread[k], thread[k + 1]
            elif k == last:
                begin[k], end[k] = thread[k], row + 1
            else:
                begin[k] = end[k] = row
        begin[count], end[count] = start, row + 1
