"""The house is as its map says, and what is not allowed in a room is not there."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = ("core", "alerts", "expressions", "windows", "detectors", "rules", "engine")
FILES = sorted([*(ROOT / "agent").rglob("*.py"), *(ROOT / "sensors").rglob("*.py")])


def names_in(package):
    """What there is in a package, without what Python and packaging need."""
    found = {path.stem if path.is_file() else path.name for path in (ROOT / package).iterdir()}
    return found - {"__init__", "__pycache__", "py"}


@pytest.mark.parametrize("package", ["agent", "sensors"])
def test_the_map_names_what_is_there(package):
    text = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
    named = re.findall(r"^ {4}(\w+) {2,}\S", text, re.M)
    assert len(named) == len(set(named))
    assert set(named) - {"sensors"} == names_in(package)


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in FILES}), ids=lambda path: str(path.relative_to(ROOT))
)
def test_each_folder_says_what_it_is(folder):
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))


def test_no_class_name_has_two_meanings():
    names = Counter(
        node.name
        for path in FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_file_is_longer_than_400_lines():
    assert [str(path) for path in FILES if len(path.read_text().splitlines()) > 400] == []


def test_what_decides_opens_no_file():
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if path.relative_to(ROOT).parts[:1] == ("agent",) and path.relative_to(ROOT).parts[1] in PURE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("open", "print", "input")
    ]
    assert calls == []


def test_no_part_is_asked_for_a_hook_by_name():
    """Hooks have a base with defaults; `getattr` is for objects of libraries, whose shape depends on their version."""
    rooms = ("windows", "detectors", "rules", "engine", "core", "runtime", "ops", "outbox", "sinks")
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] == "agent" and path.relative_to(ROOT).parts[1] in rooms
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "hasattr")
        and isinstance(node.args[1], ast.Constant)
    ]
    assert found == []
