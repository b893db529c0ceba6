"""The contract of each kind of part as tests, for parts of your own: what `agent` does to those that are built in.

    import pytest
    from agent.testing import check_detector

    @pytest.mark.parametrize("check", check_detector(lambda: Record(metric="x")), ids=str)
    def test_contract(check):
        check()

A list of named checks for each kind; a check is called without arguments and raises AssertionError, saying what does
not hold. Any test runner will do; nothing here needs pytest. Parts are made by a function, so that each check has its
own: the fewer rows the configuration needs for what it does, the more is tested.
"""

from __future__ import annotations

from agent.testing.codecs import check_codec
from agent.testing.operators import check_detector, check_rule, check_window
from agent.testing.sinks import check_sink
from agent.testing.sources import check_source
from agent.testing.streams import content, cut, readings
from agent.testing.subject import Check

CHECKS = {
    "source": check_source,
    "codec": check_codec,
    "window": check_window,
    "detector": check_detector,
    "rule": check_rule,
    "sink": check_sink,
}
"""Kind of a part -> what makes the checks of one."""

__all__ = [
    "CHECKS",
    "Check",
    "check_codec",
    "check_detector",
    "check_rule",
    "check_sink",
    "check_source",
    "check_window",
    "content",
    "cut",
    "readings",
]
