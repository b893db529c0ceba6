# ruff: noqa: D103 - the name of a check says what it checks
"""What windows, detectors and rules keep: a plain function of rows, however they are cut, with a state by series."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agent.core.changes import Changes
from agent.core.rows import Rows, no_rows
from agent.core.series import State, Stateful
from agent.rules import Verdict
from agent.testing.streams import content, cut, exact, part, readings, renamed
from agent.testing.subject import Check, bound, holds, is_documented, keeps_the_protocol
from sensors.batch import Ints

DAY = 86_400 * 10**9


@dataclass(frozen=True)
class OperatorSubject:
    """An operator or rule under test.

    Attributes:
        make: makes one, always of the same configuration.
        rows: makes a stream of a few series that shows what it does, from a seed.
        kind: of the part.
    """

    make: Callable[[], Any]
    rows: Callable[[int], Rows]
    kind: str

    def run(self, rows: Rows, places: tuple[int, ...] = ()) -> list[Any]:
        """What a fresh one gives for the rows, fed in parts."""
        return self.results(self.make(), cut(rows, places))

    def results(
        self, made: Any, pieces: Iterable[Rows], keys: Mapping[int, int] | None = None, end: int = 0
    ) -> list[Any]:
        """What it gives for the pieces, and then for a day on which nothing comes."""
        pieces = list(pieces)
        end = end or max((int(piece.end.max()) for piece in pieces if len(piece)), default=0)
        return content([made.process(piece) for piece in (*pieces, no_rows(end + DAY))], keys)

    def used(self, rows: Rows) -> Any:
        """One that has seen the rows."""
        made = self.make()
        made.process(rows)
        return made

    def halves(self, seed: int = 0) -> tuple[Rows, Rows]:
        """A stream in two, the second part with something to tell."""
        rows = self.rows(seed)
        most = len(rows) * 5 // 8
        return part(rows, 0, most), part(rows, most, len(rows))


def _subject(kind: str, make: Callable[[], Any], rows: Callable[[int], Rows] | None) -> OperatorSubject:
    return OperatorSubject(make, rows or (lambda seed: readings(make().inputs() or ("x",), seed=seed)), kind)


def it_keeps_the_protocol(subject: OperatorSubject) -> None:
    keeps_the_protocol(subject.kind, subject.make)


def it_is_documented(subject: OperatorSubject) -> None:
    is_documented(subject.make)


def the_stream_has_something_to_show(subject: OperatorSubject) -> None:
    """Else all other checks would compare nothing with nothing."""
    holds(
        subject.run(subject.rows(0)), "no row and no transition comes of the rows; give `rows` that make it speak"
    )


def how_the_stream_is_cut_changes_no_bit(subject: OperatorSubject) -> None:
    for seed in range(5):
        rows = subject.rows(seed)
        rng = np.random.default_rng(seed)
        places = tuple(sorted(rng.integers(0, len(rows) + 1, rng.integers(1, 12)).tolist()))
        holds(
            subject.run(rows, places) == subject.run(rows), f"cut at {places} (seed {seed}) it gives other results"
        )


def one_row_at_a_time_changes_no_bit(subject: OperatorSubject) -> None:
    rows = subject.rows(0)
    holds(subject.run(rows, tuple(range(1, len(rows)))) == subject.run(rows), "row by row it gives other results")


def calls_without_rows_change_no_bit(subject: OperatorSubject) -> None:
    rows = subject.rows(0)
    first, second = subject.halves()
    pieces = [no_rows(rows.now), first, no_rows(rows.now), second]
    made = subject.make()
    found = [made.process(piece) for piece in pieces]
    holds(not content([found[0], found[2]]), "without rows, and time standing still, it gives results")
    holds(subject.results(subject.make(), pieces) == subject.run(rows), "calls without rows change the results")


def it_does_not_touch_its_input(subject: OperatorSubject) -> None:
    rows = subject.rows(0)
    before = exact(_arrays(rows))
    subject.make().process(rows)
    holds(exact(_arrays(rows)) == before, "it changes the arrays of its input")


def another_of_the_same_configuration_shares_nothing(subject: OperatorSubject) -> None:
    first, second = subject.halves()
    used = subject.used(first)
    twin = dataclasses.replace(used)
    used.process(second)
    holds(subject.results(twin, [first]) == subject.run(first), "dataclasses.replace hands on what was remembered")


def results_are_in_order_and_of_known_series(subject: OperatorSubject) -> None:
    rows = subject.rows(0)
    found = subject.make().process(rows)
    tables = [found] if isinstance(found, Rows) else [found.raw] if found.raw is not None else []
    for table in tables:
        types = {column.dtype for column in (table.key, table.start, table.end, table.at)}
        holds(types <= {np.dtype(np.int64)}, f"key, start, end and at are {types}, not int64")
        holds((np.diff(table.at) >= 0).all(), "`at` does not ascend")
        holds(np.isin(table.key, rows.key[rows.key >= 0]).all(), "there is a series that the input has not")
        holds((table.start <= table.end).all(), "a row ends before it starts")
    if isinstance(found, Verdict):
        ats = [change.at for change in found.transitions]
        holds(ats == sorted(ats), "transitions are not in order of the rows")


def it_names_the_columns_it_gives(subject: OperatorSubject) -> None:
    made = subject.make()
    found = made.process(subject.rows(0))
    if not isinstance(found, Rows) or made.outputs() is None:
        return
    given = {*found.values, *found.texts, *found.lists} - {"evidence"}  # it goes into the alert beside the columns
    holds(set(made.outputs()) == given, f"outputs() says {sorted(made.outputs())}, it gives {sorted(given)}")
    holds(set(made.texts) == set(found.texts), f"texts says {sorted(made.texts)}, it gives {sorted(found.texts)}")


def it_goes_on_exactly_from_a_snapshot(subject: OperatorSubject) -> None:
    first, second = subject.halves()
    used, other = subject.used(first), subject.make()
    other.restore(copy.deepcopy(used.snapshot()))
    same = subject.results(other, [second]) == subject.results(used, [second])
    holds(same, "restored, it gives other results")
    holds(exact(other.snapshot()) == exact(used.snapshot()), "restored, it remembers something else")


def a_snapshot_is_a_copy_of_plain_data(subject: OperatorSubject) -> None:
    first, second = subject.halves()
    used = subject.used(first)
    taken = used.snapshot()
    odd = _odd(taken)
    holds(not odd, f"a snapshot holds {odd}; only arrays, numbers, texts, lists and dicts can be saved")
    kept = exact(taken)
    used.process(second)
    holds(exact(taken) == kept, "a snapshot changes when the part goes on")


def a_snapshot_is_all_series_extracted(subject: OperatorSubject) -> None:
    for leaf in _leaves(subject.used(subject.halves()[0])):
        whole, all_series = leaf.snapshot(), leaf.extract(np.arange(leaf.series))
        holds(exact(whole) == exact(all_series), f"snapshot and extract of a {type(leaf).__name__} differ")


def series_go_on_exactly_elsewhere(subject: OperatorSubject) -> None:
    """Taken out with `extract` and put in with `merge`, at other rows of state."""
    for seed, to in enumerate([{0: 4, 2: 1}, {1: 0}, {2: 0, 1: 1, 0: 2}]):
        first, second = subject.halves(seed)
        used, other = subject.used(first), subject.make()
        other.merge(np.array([*to.values()]), used.extract(np.array([*to])))
        there = subject.results(other, [renamed(second, to)])
        here = subject.results(used, [second.take(np.isin(second.key, [*to]))], to)
        holds(there == here, f"series {to} (old key: new key) go on differently elsewhere (seed {seed})")


def what_changed_is_enough_to_go_on(subject: OperatorSubject) -> None:
    """Saved now and then, each time only the series touched since, as a checkpoint is."""
    first, second = subject.halves(3)
    made, other, changes = subject.make(), subject.make(), Changes()
    made.track(changes)
    for piece in cut(first, range(7, len(first), max(len(first) // 9, 1))):
        changes.touch(piece.key)
        made.process(piece)
        keys = changes.take()
        keys = keys[keys < made.series]
        if len(keys):
            other.evict(keys)
            other.merge(keys, copy.deepcopy(made.extract(keys)))
    other.restore_shared(made.extract(np.zeros(0, np.int64)))
    same = subject.results(other, [second]) == subject.results(made, [second])
    holds(same, "of the series that were touched all was saved, but restored from that it gives other results")


def an_evicted_series_is_new_and_the_others_do_not_notice(subject: OperatorSubject) -> None:
    first, second = subject.halves()
    late = dataclasses.replace(second, start=second.start + 2 * 10**14, end=second.end + 2 * 10**14)
    used, witness = subject.used(first), subject.used(first)
    used.evict(np.array([1, 700]))
    others = (0, 2)
    fresh = subject.make()
    again, plain = subject.results(used, [late]), subject.results(witness, [late])
    new = subject.results(fresh, [late], {1: 1})
    holds([item for item in again if item[0] == 1] == new, "an evicted series remembers something")
    same = [item for item in again if item[0] in others] == [item for item in plain if item[0] in others]
    holds(same, "evict changes other series")


def what_changes_a_series_touches_it_first(subject: OperatorSubject) -> None:
    """So that a checkpoint knows what it must write, and may still copy what it was."""
    made = subject.make()
    touched: set[int] = set()
    before: dict[int, Any] = {}

    class Watch(Changes):
        def touch(self, keys: Ints) -> None:
            for key in {*keys.tolist()} - touched:
                holds(
                    key < 0 or before[key] == _of_series(made, key), f"series {key} is touched after it has changed"
                )
                touched.add(key)

    made.track(Watch())
    first, second = subject.halves()
    end = int(first.end.max())
    steps = [first, no_rows(end + DAY), second, no_rows(end + 2 * DAY)]
    for rows in [piece for step in steps for piece in (cut(step, range(7, len(step), 7)) if len(step) else [step])]:
        touched.clear()
        before.update({key: _of_series(made, key) for key in range(8)})
        made.touch(rows.key)
        made.process(rows)
        for key in range(8):
            same = before[key] == _of_series(made, key)
            holds(same or key in touched, f"series {key} has changed and was not touched ({len(rows)} rows)")


def a_column_that_does_not_come_breaks_nothing(subject: OperatorSubject) -> None:
    first, second = subject.halves()
    made = subject.used(first)
    gone = dataclasses.replace(second, values={"other": np.zeros(len(second))}, texts={})
    for rows in (gone, second):
        made.process(rows)
    subject.make().process(gone)


def wild_values_break_nothing(subject: OperatorSubject) -> None:
    rng = np.random.default_rng(1)
    rows = subject.rows(0)
    odd = [0.0, -0.0, 1.0, -1.0, 1e-300, 1e99, -1e99, np.nan, np.inf, -np.inf, 1e308, 5.0]
    wild = dataclasses.replace(rows, values={name: rng.choice(odd, len(rows)) for name in rows.values})
    found = subject.make().process(wild)
    if isinstance(found, Rows) and "score" in found.values:
        holds(not np.isinf(found.values["score"]).any(), "a score is infinite")
    places = tuple(range(1, len(wild), 3))
    holds(subject.run(wild, places) == subject.run(wild), "how wild values are cut changes the results")


def few_rows_and_the_clock_break_nothing(subject: OperatorSubject) -> None:
    rows = subject.rows(0)
    for n in (0, 1, 2):
        made = subject.make()
        made.process(part(rows, 0, n))
        made.process(no_rows(int(rows.end[0]) + DAY))
        again = made.process(no_rows(int(rows.end[0]) + DAY))
        holds(not content([again]), "time stands still, and it gives results")
        made.on_clock_step(int(rows.end[0]))
        made.process(part(rows, n, len(rows)))
        made.finish(int(rows.end[-1]) + 2 * DAY)
        holds(all(isinstance(v, int) for v in made.stats().values()), "stats() has something that is no number")


def a_series_does_not_see_its_neighbours(subject: OperatorSubject) -> None:
    rows = subject.rows(0)
    together = dict(subject.run(rows))
    for key in sorted({*rows.key.tolist()} - {-1}):
        alone = dict(subject.results(subject.make(), [rows.take(rows.key == key)], end=int(rows.end.max())))
        holds(alone.get(key) == together.get(key), f"series {key} alone gives other results")


def no_score_is_without_a_reason(subject: OperatorSubject) -> None:
    """A score is finite, or NaN with a text `reason` where the detector gives one."""
    found = subject.make().process(subject.rows(0))
    holds("score" in found.values, "a detector gives a column `score`")
    score = found.values["score"]
    holds(np.isfinite(score).any(), "there is no score; give rows of which some can be scored")
    holds(not np.isinf(score).any(), "a score is infinite")
    if "reason" in found.texts:
        said = [bool(text) for text in found.texts["reason"].tolist()]
        holds(
            said == np.isnan(score).tolist(), "`reason` has to say why wherever the score is NaN, and nowhere else"
        )


def _arrays(rows: Rows) -> dict[str, Any]:
    texts = {f"text {name}": text.codes for name, text in rows.texts.items()}
    return {"key": rows.key, "start": rows.start, "end": rows.end, "at": rows.at, **rows.values, **texts}


def _odd(state: Any) -> str:
    match state:
        case Mapping():
            return next((odd for name in state if (odd := _odd(state[name]) or _odd(name))), "")
        case list() | tuple():
            return next((odd for item in state if (odd := _odd(item))), "")
        case np.ndarray():
            return "an array of objects" if state.dtype.hasobject else ""
        case None | bool() | int() | float() | str():
            return ""
        case _:
            return f"a {type(state).__name__}"


def _of_series(part: Stateful, key: int) -> Any:
    """What is remembered of a series alone, in a form that can be compared."""
    return exact(_alone(part, part.extract(np.array([key]))))


def _alone(node: Stateful, state: State) -> State:
    """What is of the series in an extract: without what all share, such as a counter or a common watermark."""
    kept = {name: value for name, value in state.items() if name not in node.shared}
    for name, attribute in node.remembers.items():
        member = getattr(node, attribute)
        if name:
            kept[name] = _each(member, state[name])
        else:
            for child in (member,) if isinstance(member, Stateful) else member or ():
                kept = _alone(child, kept)
    return kept


def _each(member: Any, state: Any) -> Any:
    match member:
        case None:
            return None
        case Stateful():
            return _alone(member, state)
        case dict():
            return {name: _each(item, state[name]) for name, item in member.items()}
        case _:
            return [_each(item, one) for item, one in zip(member, state, strict=True)]


def _leaves(node: Stateful) -> Iterator[Stateful]:
    if not node.remembers:
        yield node
    for child in node.children():
        yield from _leaves(child)


_ALL: tuple[Callable[[OperatorSubject], None], ...] = (
    it_keeps_the_protocol,
    it_is_documented,
    the_stream_has_something_to_show,
    how_the_stream_is_cut_changes_no_bit,
    one_row_at_a_time_changes_no_bit,
    calls_without_rows_change_no_bit,
    it_does_not_touch_its_input,
    another_of_the_same_configuration_shares_nothing,
    results_are_in_order_and_of_known_series,
    it_names_the_columns_it_gives,
    it_goes_on_exactly_from_a_snapshot,
    a_snapshot_is_a_copy_of_plain_data,
    a_snapshot_is_all_series_extracted,
    series_go_on_exactly_elsewhere,
    what_changed_is_enough_to_go_on,
    an_evicted_series_is_new_and_the_others_do_not_notice,
    what_changes_a_series_touches_it_first,
    a_column_that_does_not_come_breaks_nothing,
    wild_values_break_nothing,
    few_rows_and_the_clock_break_nothing,
)


def _check(
    kind: str,
    more: tuple[Callable[[OperatorSubject], None], ...],
    make: Callable[[], Any],
    rows: Callable[[int], Rows] | None = None,
) -> list[Check]:
    """The checks of a part that `make` makes anew; `rows` makes, from a seed, a stream that shows what it does."""
    return bound(_ALL + more, _subject(kind, make, rows))


check_window = partial(_check, "window", ())
check_detector = partial(_check, "detector", (no_score_is_without_a_reason, a_series_does_not_see_its_neighbours))
check_rule = partial(_check, "rule", (a_series_does_not_see_its_neighbours,))
