"""Pipeline of others pass the contract that is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.testing import (
    CHECKS,
    Check,
    check_codec,
    check_detector,
    check_rule,
    check_sink,
    check_source,
    check_window,
)
from tests.outside.factory_parts import PARTS, Above, Diary, EveryNth, Pipes, Ramp, Record


def checks_of(kind: str, folder: Path) -> list[Check]:
    async def received() -> list[bytes]:
        return [line.partition(b" ")[2] for line in (folder / "diary").read_bytes().splitlines()]

    match kind:
        case "source":
            return check_source(Ramp, broken=lambda: Ramp(rows=2_000_000), repeats=True)
        case "codec":
            return check_codec(Pipes, b"".join(b"press-%d|%d.5\n" % (n % 3, n) for n in range(30)))
        case "window":
            return check_window(lambda: EveryNth(3, "x"))
        case "detector":
            return check_detector(lambda: Record("x"))
        case "rule":
            return check_rule(lambda: Above("x", 55))
        case _:
            return check_sink(
                lambda: Diary(folder / "diary"), received, away=lambda: Diary(folder / "no" / "diary")
            )


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param(kind, check.name, id=f"{kind}-{check}") for kind in PARTS for check in checks_of(kind, Path())],
)
def test_contract(kind: str, name: str, tmp_path: Path) -> None:
    (check,) = [check for check in checks_of(kind, tmp_path) if check.name == name]
    check()


def test_each_kind_has_checks_and_a_part_of_others() -> None:
    assert set(CHECKS) == set(PARTS)


class Forgetful(EveryNth):
    """It does not say what it remembers."""

    remembers = {}  # noqa: RUF012


class Impatient(EveryNth):
    """What it gives depends on how the stream is cut."""

    def process(self, rows):
        return super().process(rows.take(np.arange(0, len(rows), 2)))


class Careless(Record):
    """It writes into its input."""

    def process(self, rows):
        rows.values[self.metric][:1] = 0.0
        return super().process(rows)


class Silent(Record):
    """It remembers something that no snapshot has."""

    def score(self, state, x, valid_length, time):
        self.seen = np.maximum(np.nanmax(x), getattr(self, "seen", 0.0))
        return np.full(x.shape, self.seen)


@pytest.mark.parametrize(
    ("check", "make", "caught"),
    [
        (check_window, lambda: Forgetful(3, "x"), "it_goes_on_exactly_from_a_snapshot"),
        (check_window, lambda: Impatient(3, "x"), "how_the_stream_is_cut_changes_no_bit"),
        (check_detector, lambda: Careless("x"), "it_does_not_touch_its_input"),
        (check_detector, lambda: Silent("x"), "a_series_does_not_see_its_neighbours"),
        (check_detector, lambda: Silent("x"), "series_go_on_exactly_elsewhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_checks_catch_what_they_are_for(check, make, caught) -> None:
    (named,) = [item for item in check(make) if item.name == caught]
    with pytest.raises(AssertionError):
        named()
