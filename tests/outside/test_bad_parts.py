"""A part that breaks the protocol is named, with what is missing and what to do; there is never a traceback."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.settings import part_checks as checks
from agent.settings.plugins import installed

HEAD = """
import time
from dataclasses import dataclass, field
import numpy as np
from agent.api import (Codec, Counters, Explanation, Field, Operator, Rows, Rule, SeriesState, Sink, Source,
                       StreamingDetector, Verdict, no_rows)
"""
GOOD = """
@dataclass
class Mine(Operator):
    metric: str
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    type = "mine"
    remembers = {"": "_state"}
    def __post_init__(self):
        self._state = SeriesState(n=Field(np.int64))
    def process(self, rows):
        return rows
"""
TABLE = '[detector.d]\ntype = "mine"\nmetric = "x"\n'


@dataclasses.dataclass
class Outcome:
    code: int
    lines: list[str]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """`agent check` with this file of parts and these tables; the problems, without the name of the configuration."""
    monkeypatch.setattr(checks, "PATIENCE", 2.0)

    def run(parts: str | None, tables: str = TABLE, paths: str = '["parts.py"]') -> Outcome:
        if parts is not None:
            (tmp_path / "parts.py").write_text(parts)
        file = tmp_path / "agent.toml"
        file.write_text(f"[plugins]\npaths = {paths}\n{tables}")
        code = main(["check", "-c", str(file)])
        out = capsys.readouterr()
        assert "Traceback" not in out.out + out.err
        said = [line.removeprefix(f"{file}: ").replace(str(tmp_path), "DIR") for line in out.err.splitlines()]
        return Outcome(code, [line for line in said if "no rule looks" not in line and "no source" not in line])

    return run


def test_a_good_part_is_right(check) -> None:
    assert check(HEAD + GOOD) == Outcome(0, [])


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return HEAD + GOOD.replace(old, new)


MINE = '"mine" (DIR/parts.py, class Mine)'
PROCESS = "    def process(self, rows):\n        return rows\n"

CASES = {
    "no dataclass": (changed("@dataclass\n", ""), f"detector.d.type: {MINE} is no dataclass, so it has no keys; write @dataclass above the class"),
    "no dataclass below one": (
        HEAD + GOOD.replace('type = "mine"', "") + 'class More(Mine):\n    size: int = 3\n    type = "mine"\n',
        'detector.d.type: "mine" (DIR/parts.py, class More) has size, but is no dataclass itself; write @dataclass above the class',
    ),
    "no method": (changed(PROCESS, ""), f"detector.d.type: {MINE} lacks process(); see agent.api.Operator"),
    "a method without the rows": (
        changed("def process(self, rows):\n        return rows", "def process(self):\n        return 1"),
        f"detector.d.type: {MINE} has process(self); it is called as process(self, rows: 'Rows') -> 'Rows'",
    ),
    "an async method": (
        changed("def process", "async def process"),
        f"detector.d.type: {MINE} has a process() that has to be a plain def",
    ),
    "a field of no known type": (
        changed("metric: str", 'metric: "Nowhere"'),
        f"detector.d.type: {MINE} has a field whose type is not known: name 'Nowhere' is not defined; import it where the class is written",
    ),
    "a field that no value fits": (
        changed('    on: str = ""', '    bins: np.ndarray = None\n    on: str = ""'),
        f"detector.d.type: {MINE} has a field bins of type <class 'numpy.ndarray'>, which no value of TOML fits; use numbers, texts, lists, dicts, Path, Duration or a part, or field(init=False)",
    ),
    "a field type": (
        changed('    type = "mine"', '    type: str = "mine"'),
        f"detector.d.type: {MINE} has a field type; that key picks the class, call it something else",
    ),
    "no grouping": (
        changed('    by: tuple[str, ...] = ("machine",)\n', ""),
        f"detector.d: {MINE} has no attribute by; make it a field, or set it in __post_init__",
    ),
    "refuses its configuration": (
        changed("        self._state =", '        raise ValueError("metric must not be x")\n        self._state ='),
        "detector.d: metric must not be x",
    ),
    "raises when made": (
        changed("        self._state =", "        1 / 0\n        self._state ="),
        f"detector.d: {MINE} cannot be made: ZeroDivisionError: division by zero (parts.py, line 16)",
    ),
    "ends the process when made": (
        changed("        self._state =", "        raise SystemExit(3)\n        self._state ="),
        f"detector.d: {MINE} cannot be made: RuntimeError: it calls sys.exit(3) (parts.py, line 16)",
    ),
    "blocks when made": (
        changed("        self._state =", "        time.sleep(60)\n        self._state ="),
        f"detector.d: {MINE} cannot be made: has not returned after 2 s; it must not wait for anything",
    ),
    "raises when asked for its columns": (
        changed("    def process", "    def outputs(self):\n        raise KeyError('x')\n    def process"),
        f"detector.d: {MINE} outputs() failed: KeyError: 'x' (parts.py, line 18)",
    ),
    "one column as a text": (
        changed("    def process", "    def outputs(self):\n        return 'score'\n    def process"),
        f"detector.d: {MINE} outputs() gives 'score'; it has to be a tuple of names",
    ),
    "raises in process": (
        changed("        return rows", "        return rows.values['nothing']"),
        f"detector.d: {MINE} process() failed: KeyError: 'nothing' (parts.py, line 18)",
    ),
    "gives no rows": (
        changed("        return rows", "        return rows.values"),
        f"detector.d: {MINE} process() gives dict; it has to be Rows",
    ),
    "blocks in process": (
        changed("        return rows", "        while len(rows):\n            time.sleep(0.01)\n        return rows"),
        f"detector.d: {MINE} process() failed: has not returned after 2 s; it must not wait for anything",
    ),
    "raises in snapshot": (
        changed("    def process", "    def snapshot(self):\n        raise OSError('disk')\n    def process"),
        f"detector.d: {MINE} snapshot() failed: OSError: disk (parts.py, line 18)",
    ),
    "a snapshot that is not restored": (
        changed("    def process", "    def restore(self, state):\n        self._state = state['gone']\n    def process"),
        f"detector.d: {MINE} restore() failed: KeyError: 'gone' (parts.py, line 18)",
    ),
    "remembers what is not there": (
        changed('{"": "_state"}', '{"": "_sate"}'),
        f"detector.d: {MINE} has wrong names in `remembers`: 'Mine' object has no attribute '_sate'",
    ),
    "a state that no checkpoint can hold": (
        changed("    def process", "    def extract(self, keys):\n        return {**super().extract(keys), 'seen': {1, 2}}\n    def process"),
        f"detector.d: {MINE} snapshot() gives what no checkpoint can hold, only arrays and plain JSON: Object of type set is not JSON serializable",
    ),
    "an array of objects": (
        changed("Field(np.int64)", "Field(object)"),
        f"detector.d: {MINE} snapshot() gives what no checkpoint can hold, only arrays and plain JSON: an array of objects cannot be saved",
    ),
    "keys that are no whole numbers": (
        changed("        return rows", "        return Rows(rows.key / 1, rows.start, rows.end, rows.at, {}, rows.now)"),
        f"detector.d: {MINE} process() gives rows whose key is no array of whole numbers",
    ),
    "a column that is a list": (
        changed("        return rows", "        return Rows(rows.key, rows.start, rows.end, rows.at, {'score': [0.0] * len(rows)}, rows.now)"),
        f"detector.d: {MINE} process() gives rows whose score is no array with a value a row",
    ),
    "explanations that are texts": (
        changed('    type = "mine"', '    type = "mine"\n    explains = {"score": "is high"}'),
        f"detector.d: {MINE} has explains = {{'score': 'is high'}}; it has to be a dict of Explanation by column",
    ),
    "explanations that are a list": (
        changed('    type = "mine"', '    type = "mine"\n    explains = ["score"]'),
        f"detector.d: {MINE} has explains = ['score']; it has to be a dict of Explanation by column",
    ),
    "a limit that raises": (
        changed("    def process", "    @property\n    def default_limit(self):\n        return 1 / 0\n    def process"),
        f"detector.d: {MINE} default_limit failed: ZeroDivisionError: division by zero (parts.py, line 19)",
    ),
    "an error that cannot be said": (
        changed("        return rows", "        class Own(Exception):\n            def __str__(self): raise ValueError\n        raise Own"),
        f"detector.d: {MINE} process() failed: Own (parts.py, line 20)",
    ),
    "interrupts": (
        changed("        return rows", "        raise KeyboardInterrupt"),
        f"detector.d: {MINE} process() failed: RuntimeError: it raises KeyboardInterrupt (parts.py, line 18)",
    ),
    "counters that are texts": (
        changed("    def process", "    def stats(self):\n        return {'late': 'many'}\n    def process"),
        f"detector.d: {MINE} stats() has to give a dict of whole numbers",
    ),
    "a clock step that raises": (
        changed("    def process", "    def on_clock_step(self, to):\n        1 / 0\n    def process"),
        f"detector.d: {MINE} on_clock_step() failed: ZeroDivisionError: division by zero (parts.py, line 18)",
    ),
    "a misspelt key": (HEAD + GOOD, 'detector.d.metrc: unknown key; did you mean "metric"?'),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_part_is_one_sentence_that_names_it(case: str, check) -> None:
    parts, sentence = CASES[case]
    found = check(parts, TABLE.replace("metric", "metrc") if case == "a misspelt key" else TABLE)
    assert found.code == 78
    assert len(found.lines) == 1
    assert found.lines[0].startswith(sentence)


SINK = '[sink.s]\ntype = "mine"\n'
OTHERS = {
    "a sink without methods": (
        '@dataclass\nclass Mine(Sink):\n    type = "mine"\n    kinds: frozenset[str] = frozenset({"alert"})\n',
        SINK,
        f"sink.s.type: {MINE} lacks __aenter__(), __aexit__(), send(); see agent.api.Sink",
    ),
    "a source without counters": (
        '@dataclass\nclass Mine(Source):\n    type = "mine"\n    async def __aenter__(self): return self\n'
        "    async def __aexit__(self, *exc): pass\n    async def __anext__(self): raise StopAsyncIteration\n",
        '[source.s]\ntype = "mine"\n',
        f"source.s: {MINE} has no attribute counters; make it a field, or set it in __post_init__",
    ),
    "a sink whose send is not async": (
        '@dataclass\nclass Mine(Sink):\n    type = "mine"\n    kinds: frozenset[str] = frozenset({"alert"})\n'
        "    async def __aenter__(self): return self\n    async def __aexit__(self, *exc): pass\n"
        "    def send(self, messages): pass\n",
        SINK,
        f"sink.s.type: {MINE} has a send() that has to be async def",
    ),
    "a codec that raises": (
        '@dataclass\nclass Mine(Codec):\n    type = "mine"\n    def __post_init__(self): self.counters = Counters()\n'
        "    def feed(self, data, read_at): return data.decode()[:0] or None\n"
        "    def decode(self, frames, read_at, times=None, machines=None): return None\n",
        '[source.s]\ntype = "file"\npath = "/dev/null"\ncodec = "mine"\n',
        f"source.s.codec: {MINE} feed() failed: UnicodeDecodeError: ",
    ),
    "a rule without its condition": (
        '@dataclass\nclass Mine(Rule):\n    metric: str = "x"\n    on: str = ""\n    by: tuple[str, ...] = ("machine",)\n'
        '    type = "mine"\n    signal = unit = ""\n    severity = "warning"\n'
        "    def process(self, rows): return Verdict()\n",
        '[rule.s]\ntype = "mine"\n',
        f"rule.s.type: {MINE} lacks raise_limit(); see agent.api.Rule",
    ),
}  # fmt: skip


OTHERS["a rule whose condition raises"] = (
    OTHERS["a rule without its condition"][0] + "    @property\n    def raise_limit(self): return self.gone\n",
    '[rule.s]\ntype = "mine"\n',
    f"rule.s: {MINE} raise_limit failed: AttributeError: 'Mine' object has no attribute 'gone' (parts.py, line ",
)


@pytest.mark.parametrize("case", OTHERS)
def test_so_it_is_for_the_other_kinds(case: str, check) -> None:
    parts, tables, sentence = OTHERS[case]
    found = check(HEAD + parts, tables)
    assert found.code == 78
    assert [line[: len(sentence)] for line in found.lines if "sink" in sentence or "sink" not in line] == [sentence]


FILES = {
    "no such file": (None, "DIR/parts.py: no such file; paths are relative to the configuration"),
    "a syntax error": ("x = 1\nclass Mine(\n", "DIR/parts.py: cannot be imported: '(' was never closed (parts.py, line 2)"),
    "an error while it is imported": ("import math\nmath.sqrt(-1)\n", "DIR/parts.py: cannot be imported: ValueError: math domain error (parts.py, line 2)"),
    "a package that is missing": ("import wombat\n", "DIR/parts.py: cannot be imported: ModuleNotFoundError: No module named 'wombat' (parts.py, line 1)"),
    "blocks while it is imported": ("import time\ntime.sleep(60)\n", "DIR/parts.py: cannot be imported: has not returned after 2 s; it must not wait for anything"),
    "no part in it": (HEAD, 'DIR/parts.py: no part in it; a part inherits Source, Codec, Operator, StreamingDetector, Rule or Sink of agent.api and has a name, type = "my_name"'),
    "two parts of one name": (
        HEAD + GOOD + GOOD.replace("class Mine", "class Again"),
        'DIR/parts.py, class Again: "mine" is also DIR/parts.py, class Mine; give one another type',
    ),
    "the name of a built-in": (
        HEAD + GOOD.replace('"mine"', '"kl"'),
        'DIR/parts.py, class Mine: there is a detector "kl" in the agent; built-ins cannot be shadowed, give it another type',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_what_is_wrong_with_a_file_is_one_sentence(case: str, check) -> None:
    parts, sentence = FILES[case]
    found = check(parts, "")
    assert found == Outcome(78, [f"plugins.paths: {sentence}"])


def test_a_window_says_that_it_is_one(check) -> None:
    text = HEAD + GOOD.replace('type = "mine"', 'type = "mine"\n    kind = "window"')
    assert check(text, TABLE.replace("detector", "window")) == Outcome(0, [])
    assert 'detector.d.type: unknown detector "mine"' in check(text, TABLE).lines[0]


def test_an_entry_point_that_cannot_be_loaded_names_its_package(check, tmp_path, monkeypatch) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = {
        "mine": "broken_parts:Mine",
        "gone": "broken_parts:Gone",
        "away": "no_such_module:Mine",
        "word": "broken_parts:WORD",
    }
    (info / "entry_points.txt").write_text(
        "[edge_agent.detectors]\n" + "\n".join(f"{k} = {v}" for k, v in points.items())
    )
    (tmp_path / "broken_parts.py").write_text(HEAD + GOOD.replace("(Operator)", "") + "WORD = 'mine'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed.cache_clear()
    try:
        said = {
            name: check(None, TABLE.replace("mine", name), "[]").lines[0].removeprefix("detector.d.type: ")
            for name in points
        }
    finally:
        installed.cache_clear()
    origin = "package broken, "
    assert (
        said["mine"]
        == f'"mine" ({origin}broken_parts:Mine) is no detector: the class has to inherit agent.api.Operator'
    )
    assert said["gone"].startswith(f'"gone" ({origin}broken_parts:Gone) cannot be imported: AttributeError: ')
    assert (
        said["away"]
        == f'"away" ({origin}no_such_module:Mine) needs the Python package no_such_module, which is not installed'
    )
    assert (
        said["word"]
        == f'"word" ({origin}broken_parts:WORD) is no class but str; name a class that inherits agent.api.Operator'
    )


def test_keys_of_earlier_releases_are_taken_and_warned_about(check) -> None:
    found = check(None, '[sink.s]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1"\nsite = "x"\nagent = "y"\n', "[]")
    said = "[agent] says that for all sinks; leave it out, the next release will refuse it"
    assert found == Outcome(0, [f"sink.s.site: {said}", f"sink.s.agent: {said}"])


WILD = {
    "an end of the thread": changed(PROCESS, "    def process(self, rows):\n        raise KeyboardInterrupt\n"),
    "an end while it is made": changed(
        "        self._state = ", "        raise BaseException\n        self._state = "
    ),
    "an error that cannot be shown": changed(
        PROCESS,
        "    def process(self, rows):\n        raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()\n",
    ),
    "an error without end": changed(
        PROCESS, "    def process(self, rows):\n        raise ValueError('x' * 10**7)\n"
    ),
    "an error that steers the terminal": changed(
        PROCESS, "    def process(self, rows):\n        raise ValueError('\\x1b[2J')\n"
    ),
    "a memory that raises": changed(
        PROCESS, PROCESS + "    @property\n    def evil(self):\n        raise OSError\n"
    ).replace('"_state"}', '"evil"}'),
    "a memory that blocks": changed(
        PROCESS, PROCESS + "    @property\n    def evil(self):\n        time.sleep(60)\n"
    ).replace('"_state"}', '"evil"}'),
    "a memory of nothing": changed('{"": "_state"}', "5"),
    "no attributes": changed(PROCESS, PROCESS + "    def __dir__(self):\n        raise OSError\n"),
}


def test_an_object_that_raises_whatever_is_asked_of_it_is_no_part(check) -> None:
    proxy = "class Proxy:\n    def __getattribute__(self, name):\n        raise OSError\nproxy = Proxy()\n"
    assert check(HEAD + GOOD + proxy) == Outcome(0, [])


@pytest.mark.parametrize("parts", WILD.values(), ids=WILD.keys())
def test_whatever_a_part_does_is_said_on_short_lines(check, parts: str) -> None:
    outcome = check(parts)
    assert outcome.code == 78
    assert MINE in outcome.lines[0]
    assert all(len(line) < 1000 and line.isprintable() for line in outcome.lines)
