"""Every window of the registry: its series can be taken out, put in, dropped and saved one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.settings.registry import REGISTRY, build
from agent.windows.histogram import Histograms
from agent.windows.uneven_histogram import UnevenHistograms
from sensors.batch import Text
from tests.series_contract import check_evicted, check_moved, check_restored, check_saved, check_touched, of_rows
from tests.windows.streams import rows_of

SECOND = 10**9
SERIES = 4
FOLDED = ["sum", "mean", "min", "std", "first", "last", "earliest", "latest", "rate"]
BY_COUNT = ["sum", "mean", "min", "std", "first", "last"]
SAMPLED = ["p90", "distinct(word)", "collect(word)", "collect"]
CASES = {
    "tumbling": {"size": "3s", "grace": "500ms"},
    "tumbling, silent": {"size": "3s", "idle": "2s", "aggregates": FOLDED},
    "tumbling, by all": {"size": "3s", "closing": "partition", "idle": "2s"},
    "tumbling, sampled": {"size": "3s", "idle": "2s", "aggregates": SAMPLED, "most": 5},
    "hopping": {"size": "3s", "step": "1s", "grace": "1s", "idle": "2s", "emit": "current"},
    "hopping, final": {"size": "3s", "step": "1s", "grace": "1s", "aggregates": FOLDED, "offset": "200ms"},
    "hopping, watermark": {"size": "3s", "step": "1s", "closing": "watermark", "grace": "1s", "aggregates": FOLDED},
    "cumulate": {"size": "3s", "step": "1s", "grace": "1s"},
    "cumulate, sampled": {"size": "3s", "step": "1s", "emit": "current", "aggregates": SAMPLED},
    "count": {"count": 5, "step": 2, "aggregates": BY_COUNT},
    "count, sampled": {"count": 5, "step": 2, "emit": "current", "aggregates": SAMPLED},
    "running": {"aggregates": FOLDED},
    "running, lists": {"aggregates": ["count", "collect", "collect(word)"], "most": 6},
    "session": {"gap": "500ms", "grace": "1s", "aggregates": FOLDED},
    "session, silent": {"gap": "500ms", "grace": "1s", "idle": "2s", "aggregates": FOLDED, "most": 2},
    "session, by all": {"gap": "500ms", "closing": "partition", "idle": "2s", "aggregates": FOLDED},
    "session, watermark": {"gap": "500ms", "grace": "1s", "closing": "watermark"},
    "sliding": {"size": "1s", "grace": "500ms", "aggregates": FOLDED},
    "sliding, current": {"size": "1s", "grace": "500ms", "emit": "current", "aggregates": FOLDED, "most": 8},
    "sliding, sampled": {"size": "1s", "aggregates": SAMPLED},
}


def make(name):
    return build("window", "window.w", {"type": name.partition(",")[0], "metric": "x"} | CASES[name])


def stream(seed, batches=8, most=12):
    """Batches of a few series, out of order, with missing values, texts and silences that only the clock ends."""
    rng = np.random.default_rng(seed)
    now, made = 1_700_000_000 * SECOND, []
    for _ in range(batches):
        n = int(rng.integers(0, most))
        now += int(rng.choice([0, 1, 1, 5])) * SECOND + n * SECOND // 5
        time = now + np.sort(rng.integers(-n, 1, n)) * SECOND // 5
        time -= np.where(rng.random(n) < 0.3, rng.integers(0, 2 * SECOND, n), 0)
        words = tuple(rng.permutation(["egg", "tuna", "ham"]).tolist())
        made.append(
            Rows(
                key=rng.integers(-1, SERIES, n),
                start=time,
                end=time,
                at=np.arange(n),
                values={"x": np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 20, n))},
                texts={"word": Text(words, rng.integers(-1, 3, n).astype(np.int32))},
                now=now,
            )
        )
    return made


seeds, places = st.integers(0, 10_000), st.integers(0, 8)
some = st.lists(st.integers(0, SERIES - 1), unique=True, min_size=1)
rows = st.lists(st.integers(0, 20), unique=True, min_size=SERIES, max_size=SERIES)
every_window = pytest.mark.parametrize("name", CASES)
quick = settings(max_examples=15, deadline=None)


def test_every_window_of_the_registry_is_tested_here():
    assert {name.partition(",")[0] for name in CASES} == set(REGISTRY["window"])


@every_window
@quick
@given(seeds, places, some, rows, st.booleans())
def test_series_go_on_elsewhere_as_where_they_came_from(name, seed, at, keys, to, used):
    check_moved(lambda: make(name), stream(seed), at, keys, to[: len(keys)], used)


@every_window
@quick
@given(seeds, places)
def test_a_restored_window_goes_on_as_the_saved_one(name, seed, at):
    check_restored(lambda: make(name), stream(seed), at)


@every_window
@quick
@given(seeds, places)
def test_saved_as_far_as_it_changed_it_goes_on_as_the_one_that_was_saved(name, seed, at):
    check_saved(lambda: make(name), stream(seed), at)


@every_window
@quick
@given(seeds, places, some)
def test_evicted_series_are_as_new(name, seed, at, keys):
    check_evicted(lambda: make(name), stream(seed), at, [*keys, 99])


@every_window
@quick
@given(seeds, st.lists(places, max_size=2))
def test_whatever_changes_a_series_touches_it_before(name, seed, clock_steps):
    check_touched(lambda: make(name), stream(seed), SERIES + 1, clock_steps)


def as_before(name, state):
    """A state as it was saved before each part of it was derived."""
    match name.partition(",")[0]:
        case "session":
            epoch = int(state["epoch"][0])
            return {key: state[key] for key in state.keys() - {"late_partly", "samples"}} | {"epoch": epoch}
        case "sliding":
            horizon = np.append(state["horizon"]["at"], np.full(3, -(2**62)))  # as long as there was room
            return state | {"horizon": horizon, "refused": state["late"]}
        case "running":
            collected = {key: [[int(k), v] for k, v in of.items()] for key, of in state["collected"].items()}
            return {"window": state["window"], "collected": collected}
        case _:  # up to the last series with a horizon
            used = np.flatnonzero(state["horizon"]["at"] > -(2**62)).max(initial=-1) + 1
            times = {key: state["horizon"][key][:used] for key in ("at", "latest", "seen")}
            return state | {"horizon": state["horizon"] | times}


@every_window
def test_a_state_saved_before_states_were_derived_is_gone_on_from(name):
    start = (1_700_000_000 - 60) * SECOND  # of all series, as they had one epoch then
    batches = [rows_of([(key, start, 1.0) for key in range(SERIES)], now=start), *stream(5)]
    part, other = make(name), make(name)
    for rows in batches[:4]:
        part.process(rows)
    other.restore(as_before(name, part.snapshot()))
    for rows in batches[4:]:
        assert of_rows(other.process(rows)) == of_rows(part.process(rows))
    assert of_rows(other.finish(batches[-1].now)) == of_rows(part.finish(batches[-1].now))


EDGES = np.array([[0.0, 1.0, 4.0], [10.0, 20.0, 30.0], [5.0, 5.0, 5.0]])
VALUES = np.array([-1.0, 0.5, 3.0, 5.0, 15.0, 29.0, 31.0])


def histograms(kind, keys=None, edges=EDGES):
    made = kind("x", 2)
    if kind is UnevenHistograms:
        made.uneven(len(edges), edges, keys)
    else:
        made.edges(len(edges), edges[:, 0], edges[:, -1], keys)
    return made


def bins(made, key):
    with np.errstate(over="ignore"):
        return made.bin(np.full(len(VALUES), key), VALUES).tolist()


@pytest.mark.parametrize("kind", [Histograms, UnevenHistograms])
def test_edges_of_histograms_move_with_their_series(kind):
    made, other, before = histograms(kind, np.arange(3)), kind("x", 2), kind("x", 2)
    other.merge(np.array([7, 2]), made.extract(np.array([1, 2])))
    assert bins(other, 7) == bins(made, 1)
    assert bins(other, 2) == bins(made, 2)
    saved = made.snapshot()
    del saved["scale"]  # as it was once saved
    before.restore(saved)
    assert [bins(before, key) for key in range(3)] == [bins(made, key) for key in range(3)]


@pytest.mark.parametrize("kind", [Histograms, UnevenHistograms])
def test_edges_of_all_series_are_configuration(kind):
    made = histograms(kind, None, EDGES[:1])
    assert made.snapshot() == {}
    assert made.series == 0
    expected = bins(made, 5)
    made.evict(np.array([0, 5]))
    made.restore({})
    assert bins(made, 5) == expected
