"""The reference page and the examples say what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from agent.ops import counters

ROOT = Path(__file__).parents[2]


def _build_reference():
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "docs" / "build_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_page_is_what_the_code_says():
    reference = _build_reference()
    assert reference.PAGE.read_text() == reference.page(), "run `make docs`"


def test_the_page_of_counters_is_what_the_code_says():
    assert (ROOT / "docs" / "counters.md").read_text() == counters.page(), "run `make docs`"


def test_a_docstring_becomes_a_row_a_key():
    head, meanings = _build_reference()._docstring(
        "Mean of things.\n\nMore.\n\nAttributes:\n    size: how long,\n        in time.\n    step: how far.\n"
    )
    assert head == "Mean of things.\n\nMore."
    assert meanings == {"size": "how long, in time.", "step": "how far."}
