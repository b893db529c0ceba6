"""What every part keeps that remembers series by series; windows, detectors and rules are put through the same.

A part is made anew by `make()` and fed `batches`, each `Rows`; `results` turns what it gives back into pairs of a
series and something that can be compared. A subclass of `Stateful` that passes may be saved by blocks of series,
reloaded under another configuration around it, and handed from one agent to another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agent.core.changes import Changes
from agent.core.rows import Rows
from agent.core.series import State, Stateful

Make = Callable[[], Any]
Pairs = list[tuple[int, Any]]


def of_rows(rows: Rows) -> Pairs:
    """Results of an operator: to the last bit, NaN equal to NaN."""
    names = [*rows.values, *rows.texts, *rows.lists]
    columns = [*(v.tolist() for v in rows.values.values()), *(t.tolist() for t in rows.texts.values())]
    columns += [list(column) for column in rows.lists.values()]
    bounds = zip(rows.at.tolist(), rows.start.tolist(), rows.end.tolist(), strict=True)
    found = zip(rows.key.tolist(), bounds, zip(*columns, strict=True), strict=True)
    return [(key, repr((where, dict(zip(names, row, strict=True))))) for key, where, row in found]


def check_moved(
    make: Make,
    batches: Sequence[Rows],
    at: int,
    keys: Sequence[int],
    to: Sequence[int],
    used: bool,
    results: Callable[[Any], Pairs] = of_rows,
) -> None:
    """Series taken out after `at` batches go on at the rows `to` of another part as where they came from.

    Args:
        make: a new part.
        batches: the stream.
        at: how many the series stay.
        keys: series taken out.
        to: row of each in the other part.
        used: the other part has had series at these rows, which were evicted.
        results: of a call.
    """
    place = dict(zip(keys, to, strict=True))
    part, other = make(), make()
    _run(part, batches[:at], results)
    if used:
        _run(other, [_mapped(rows, place) for rows in batches[:at]], results)
        other.evict(np.array(to, np.int64))
    other.merge(np.array(to, np.int64), part.extract(np.array(keys, np.int64)))
    expected = _run(part, batches[at:], results) + results(part.finish(batches[-1].now))
    rest = [_mapped(rows, place) for rows in batches[at:]]
    got = _run(other, rest, results) + results(other.finish(batches[-1].now))
    assert {key for key, _ in got} <= set(to)
    for key, row in place.items():
        assert [what for k, what in got if k == row] == [what for k, what in expected if k == key]


def check_restored(make: Make, batches: Sequence[Rows], at: int, results: Callable[[Any], Pairs] = of_rows) -> None:
    """A part restored after `at` batches remembers the same and goes on as the one that was saved."""
    part, other = make(), make()
    _run(part, batches[:at], results)
    _run(other, batches[: at // 2], results)  # what it remembered is gone
    saved = part.snapshot()
    np.testing.assert_equal(part.extract(np.arange(part.series)), saved)
    other.restore(saved)
    np.testing.assert_equal(other.snapshot(), saved)
    expected = _run(part, batches[at:], results) + results(part.finish(batches[-1].now))
    assert _run(other, batches[at:], results) + results(other.finish(batches[-1].now)) == expected
    np.testing.assert_equal(other.snapshot(), part.snapshot())


def check_evicted(
    make: Make, batches: Sequence[Rows], at: int, keys: Sequence[int], results: Callable[[Any], Pairs] = of_rows
) -> None:
    """Series evicted after `at` batches are as new, the others as they were."""
    part, gone = make(), np.array(keys, np.int64)
    _run(part, batches[:at], results)
    others = np.setdiff1d(np.arange(part.series), gone)
    before = by_series(part, part.extract(others))
    part.evict(gone)
    np.testing.assert_equal(by_series(part, part.extract(gone)), by_series(part, make().extract(gone)))
    np.testing.assert_equal(by_series(part, part.extract(others)), before)


def check_touched(
    make: Make,
    batches: Sequence[Rows],
    series: int,
    clock_steps: Sequence[int] = (),
    results: Callable[[Any], Pairs] = of_rows,
) -> None:
    """Whatever changes a series, it was touched before: by its rows or, where the clock does it, by the part itself.

    Args:
        make: a new part.
        batches: the stream.
        series: those looked at, 0 to `series` - 1.
        clock_steps: before each of these batches the clock is set back by a minute.
        results: of a call.
    """
    part = make()
    for number, rows in enumerate(batches):
        if number in clock_steps:
            _watched(part, series, [], lambda to=rows.now - 60 * 10**9: part.on_clock_step(to))
        _watched(part, series, rows.key, lambda rows=rows: results(part.process(rows)))
    _watched(part, series, [], lambda: part.finish(batches[-1].now))


def check_saved(make: Make, batches: Sequence[Rows], at: int, results: Callable[[Any], Pairs] = of_rows) -> None:
    """Saved after each of `at` batches, but only the series touched since, all goes on as where it came from.

    Args:
        make: a new part.
        batches: the stream.
        at: how many come before.
        results: of a call.
    """
    part, other, changes = make(), make(), Changes()
    part.track(changes)
    for rows in batches[:at]:
        changes.touch(rows.key)
        results(part.process(rows))
        keys = changes.take()
        keys = keys[keys < part.series]
        if len(keys):
            other.evict(keys)
            other.merge(keys, part.extract(keys))
    other.restore_shared(part.extract(np.zeros(0, np.int64)))
    expected = _run(part, batches[at:], results) + results(part.finish(batches[-1].now))
    assert _run(other, batches[at:], results) + results(other.finish(batches[-1].now)) == expected
    rows = np.arange(max(part.series, other.series))
    np.testing.assert_equal(other.extract(rows), part.extract(rows))


def by_series(part: Stateful, state: State) -> State:
    """What is of the series alone in an extract: without what all share, such as a counter or a common horizon."""
    kept = {name: value for name, value in state.items() if name not in part.shared}
    for name, attribute in part.remembers.items():
        member = getattr(part, attribute)
        if name:
            kept[name] = _each(member, state[name])
        else:
            for child in _flat(member):
                kept = by_series(child, kept)
    return kept


def _each(member: Any, state: Any) -> Any:
    match member:
        case None:
            return None
        case Stateful():
            return by_series(member, state)
        case dict():
            return {name: _each(item, state[name]) for name, item in member.items()}
        case _:
            return [_each(item, one) for item, one in zip(member, state, strict=True)]


def _flat(member: Any) -> Sequence[Stateful]:
    return () if member is None else (member,) if isinstance(member, Stateful) else tuple(member)


class _Touched(Changes):
    """Notes which series were touched, and sees that they had not changed by then."""

    def __init__(self, look: Callable[[int], State], series: int) -> None:
        super().__init__()
        self.look = look
        self.keys: set[int] = set()
        self.was = {key: look(key) for key in range(series)}

    def touch(self, keys: Any) -> None:
        for key in np.unique(np.asarray(keys, np.int64)).tolist():
            if key in self.was and key not in self.keys:
                np.testing.assert_equal(self.look(key), self.was[key])
            self.keys.add(key)


def _watched(part: Any, series: int, rows: Any, call: Callable[[], Any]) -> None:
    touched = _Touched(lambda key: by_series(part, part.extract(np.array([key]))), series)
    touched.touch(rows)  # as the engine does
    part.track(touched)
    call()
    part.track(None)
    for key in set(range(series)) - touched.keys:
        np.testing.assert_equal(touched.look(key), touched.was[key], f"series {key} was not touched")


def _run(part: Any, batches: Sequence[Rows], results: Callable[[Any], Pairs]) -> Pairs:
    return [pair for rows in batches for pair in results(part.process(rows))]


def _mapped(rows: Rows, to: dict[int, int]) -> Rows:
    """The same rows for a part whose series lie elsewhere; those of other series are of none."""
    return replace(rows, key=np.array([to.get(key, -1) for key in rows.key.tolist()], np.int64))
