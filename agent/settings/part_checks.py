"""Whether a part that somebody else wrote keeps the protocol of its kind, in sentences, before anything starts.

What is built in is held by the contract tests (`agent.testing`); a part from another package or from a file beside the
configuration is looked at here, when its class is first named (`problems_of`) and when it is made (`construct`,
`hooks`). It may raise anything anywhere, or never return.
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from agent.core.explanations import Explanation
from agent.core.series import Stateful
from agent.settings.errors import printable

T = TypeVar("T")

BASES: Mapping[str, str] = {
    "source": "sensors.source:Source",
    "codec": "sensors.codecs:Codec",
    "window": "agent.core.operator:Operator",
    "detector": "agent.core.operator:Operator",
    "rule": "agent.rules:Rule",
    "sink": "agent.sinks:Sink",
}
"""Kind of a part -> the class that all of this kind inherit."""

PATIENCE = 20.0
"""Seconds that importing, making or trying a part may take: far more than a small gateway needs to load SciPy."""


MOST_TEXT = 500
"""Characters of an exception that are shown."""


class BrokenPartError(Exception):
    """What a part does wrong; continues a sentence that names it."""


@cache
def base_of(kind: str) -> type[Any]:
    """The class that all parts of a kind inherit."""
    found: type[Any] = pkgutil.resolve_name(BASES[kind])
    return found


def within(work: Callable[[], T], seconds: float | None = None) -> T:
    """What the work returns, or raises.

    Raises:
        TimeoutError: it has not returned in time; it goes on in a thread that does not keep the process from ending.
        RuntimeError: it wanted to end the process, or to end the thread without an error.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)
        except SystemExit as error:
            errors.append(RuntimeError(f"it calls sys.exit({error})").with_traceback(error.__traceback__))
        except BaseException as error:
            errors.append(RuntimeError(f"it raises {type(error).__name__}").with_traceback(error.__traceback__))

    seconds = PATIENCE if seconds is None else seconds
    thread = threading.Thread(target=run, daemon=True, name="a part on trial")
    thread.start()
    thread.join(seconds)
    for error in errors:
        raise error
    if not results:
        raise TimeoutError(f"has not returned after {seconds:g} s; it must not wait for anything")
    return results[0]


def describe(error: BaseException, file: str = "") -> str:
    """An exception on one line, with the line of the part's own code that led to it."""
    if isinstance(error, TimeoutError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({Path(error.filename or file).name}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file] or frames[-1:]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    try:
        text = " ".join(printable(str(error)[:MOST_TEXT]).split())
    except Exception:  # somebody else wrote its class, too
        text = ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}"


def file_of(cls: Any) -> str:
    """The file a class is written in; empty if that is not known."""
    try:
        return inspect.getsourcefile(cls) or ""
    except (TypeError, OSError):
        return ""


def problems_of(kind: str, cls: Any) -> list[str]:
    """What a class lacks to be a part of this kind, and what to do; each continues a sentence that names it."""
    base = base_of(kind)
    name = f"agent.api.{base.__name__}"
    if not isinstance(cls, type):
        return [f"is no class but {type(cls).__name__}; name a class that inherits {name}"]
    if not issubclass(cls, base):
        return [f"is no {kind}: the class has to inherit {name}"]
    problems = []
    if not dataclasses.is_dataclass(cls):
        problems.append("is no dataclass, so it has no keys; write @dataclass above the class")
    elif "__dataclass_params__" not in vars(cls) and (own := _fields_meant(cls)):
        problems.append(f"has {', '.join(own)}, but is no dataclass itself; write @dataclass above the class")
    missing = sorted(vars(cls).get("__abstractmethods__", ()))
    if missing:
        problems.append(f"lacks {', '.join(f'{m}()' for m in missing)}; see agent.api.{base.__name__}")
    problems += _signatures(cls, base)
    return problems


def _fields_meant(cls: type[Any]) -> list[str]:
    """Annotations of the class itself that a dataclass would make fields of."""
    return [
        name
        for name, hint in inspect.get_annotations(cls).items()
        if not name.startswith("_") and "ClassVar" not in str(hint)
    ]


def _signatures(cls: type[Any], base: type[Any]) -> Iterator[str]:
    """Methods that cannot be called as those of the base are."""
    for name, theirs in inspect.getmembers(base, inspect.isfunction):
        mine = inspect.getattr_static(cls, name)
        if mine is inspect.getattr_static(base, name) or (name.startswith("_") and not name.startswith("__a")):
            continue
        if not inspect.isfunction(mine):
            yield f"has {name} as {type(mine).__name__}; it has to be a method"
            continue
        if inspect.iscoroutinefunction(theirs) != inspect.iscoroutinefunction(mine):
            word = "async def" if inspect.iscoroutinefunction(theirs) else "a plain def"
            yield f"has a {name}() that has to be {word}"
        needed = inspect.signature(theirs).parameters
        try:
            inspect.signature(mine).bind(
                *(None for p in needed.values() if p.kind is p.POSITIONAL_OR_KEYWORD),
                **{p.name: None for p in needed.values() if p.kind is p.KEYWORD_ONLY},
            )
        except TypeError:
            yield f"has {name}{inspect.signature(mine)}; it is called as {name}{inspect.signature(theirs)}"


def construct(cls: Callable[..., T], arguments: Mapping[str, Any]) -> T:
    """An object of somebody else's class.

    Raises:
        ValueError: the configuration is wrong, in the words of the part.
        BrokenPartError: the part is.
    """
    try:
        return within(lambda: cls(**arguments))
    except ValueError:
        raise
    except Exception as error:
        raise BrokenPartError(f"cannot be made: {describe(error, file_of(cls))}") from error


def _names(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(item, str) for item in value)


def _explains(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(item, Explanation) for name, item in value.items()
    )


_ATTRIBUTES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "on": (lambda value: isinstance(value, str), "the name of a window, detector or source"),
    "by": (_names, "a tuple of names"),
    "metric": (lambda value: isinstance(value, str), "the name of a column"),
    "texts": (_names, "a tuple of names"),
    "explains": (_explains, "a dict of Explanation by column"),
    "default_limit": (lambda value: value is None or isinstance(value, int | float), "a number or None"),
    "state_version": (lambda value: isinstance(value, int), "a whole number"),
}
"""Attributes of parts of the engine -> what they may be, and that in words."""


def hooks(kind: str, part: Any) -> list[str]:
    """What is wrong with the attributes of a part, and with its `outputs` and `inputs`."""
    base = base_of(kind)
    try:
        named = within(lambda: dir(part))
    except Exception as error:
        return [f"__dir__() failed: {describe(error, file_of(type(part)))}"]
    found = [
        f"has no attribute {name}; make it a field, or set it in __post_init__"
        for parent in reversed(base.__mro__)
        for name, hint in inspect.get_annotations(parent).items()
        if not name.startswith("_") and name not in named
    ]
    if found:
        return found
    try:
        if isinstance(part, Stateful):
            within(lambda: list(part.children()))
    except (AttributeError, TypeError) as error:
        return [f"has wrong names in `remembers`: {error}"]
    except Exception as error:
        return [f"has wrong names in `remembers`: {describe(error, file_of(type(part)))}"]
    properties = {name for name, _ in inspect.getmembers(base, lambda item: isinstance(item, property))}
    for name in sorted(properties | {name for name in _ATTRIBUTES if name in dir(base) or name in dir(part)}):
        try:
            value = within(lambda name=name: attrgetter(name)(part))  # type: ignore[misc]
        except Exception as error:
            found.append(f"{name} failed: {describe(error, file_of(type(part)))}")
            continue
        fits, wanted = _ATTRIBUTES.get(name, (None, ""))
        if fits is not None and not fits(value):
            found.append(f"has {name} = {value!r:.80}; it has to be {wanted}")
    if found:
        return found
    hooks_of_columns: dict[str, Callable[[], Any]] = {}
    if kind in ("source", "codec", "window", "detector"):
        hooks_of_columns["outputs"] = part.outputs
    if kind in ("window", "detector", "rule"):
        hooks_of_columns["inputs"] = part.inputs
    for name, hook in hooks_of_columns.items():
        try:
            columns = within(hook)
        except Exception as error:
            found.append(f"{name}() failed: {describe(error, file_of(type(part)))}")
            continue
        if not _names(columns) and not (columns is None and name == "outputs"):
            found.append(f"{name}() gives {columns!r}; it has to be a tuple of names")
    return found
