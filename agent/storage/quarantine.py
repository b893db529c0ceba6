"""Damaged files are moved aside for whoever wants to know, and only the newest are kept: a disk is not endless."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

log = logging.getLogger(__name__)

KEPT = 5
"""Files of one name that are kept; the oldest goes first."""


def quarantine(path: Path, companions: tuple[str, ...] = (), *, named: Path | None = None) -> Path:
    """Rename `path` to `NAME.corrupt-TIME`, and `path` + each suffix of `companions` with it.

    Args:
        path: a file or folder.
        companions: suffixes.
        named: what it shall be called, and where, before `.corrupt`; `path` itself as a rule.

    Returns:
        the new name.

    Raises:
        OSError: the disk does not allow it.
    """
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
    name = named or path
    target = name.with_name(f"{name.name}.corrupt-{stamp}.{now % 10**9:09d}Z")
    for suffix in ("", *companions):
        part = Path(f"{path}{suffix}")
        if os.path.lexists(part):  # a link to nowhere, too
            part.replace(f"{target}{suffix}")
    try:
        _prune(name, target, companions)
    except OSError as error:
        log.warning("old files beside %s are kept: %s", path, error)
    return target


def _prune(path: Path, newest: Path, companions: tuple[str, ...]) -> None:
    """Delete all but the newest `KEPT` of the files moved aside from `path`."""
    mark = f"{path.name}.corrupt-"
    found = [
        (file.lstat().st_ctime_ns, file)
        for file in path.parent.iterdir()
        if file.name.startswith(mark) and not (companions and file.name.endswith(companions)) and file != newest
    ]
    for _, file in sorted(found)[: -(KEPT - 1)]:
        for suffix in ("", *companions):
            delete(Path(f"{file}{suffix}"))


def delete(path: Path) -> None:
    """Delete a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
