"""Damaged files are moved aside, and not too many are kept."""

import os
import time
from pathlib import Path

from agent.storage.quarantine import KEPT, quarantine


def later_ctime(file):
    """Return when the clock of the file system has gone on, so that the next file is the newer one."""
    then, deadline = file.stat().st_ctime_ns, time.monotonic() + 5.0
    while True:
        os.utime(file.parent)
        if file.parent.stat().st_ctime_ns > then:
            return
        assert time.monotonic() < deadline


def test_only_the_newest_of_the_damaged_files_are_kept(tmp_path):
    path = tmp_path / "s"
    names = []
    for number in range(KEPT + 4):
        path.write_bytes(b"%d" % number)
        Path(f"{path}-wal").write_bytes(b"%d" % number)
        names.append(quarantine(path, ("-wal",)))
        later_ctime(names[-1])
    kept = [name for name in names if name.exists()]
    assert kept == names[-KEPT:]
    assert [name.read_bytes() for name in kept] == [b"%d" % number for number in range(4, KEPT + 4)]
    assert sum(1 for _ in tmp_path.iterdir()) == 2 * KEPT


def test_a_file_can_be_moved_under_another_name_and_counts_with_those(tmp_path):
    for number in range(KEPT + 2):
        (tmp_path / f"{number}.segment").write_bytes(b"%d" % number)
        later_ctime(quarantine(tmp_path / f"{number}.segment", named=tmp_path / "segment"))
    left = sorted(tmp_path.iterdir())
    assert all(path.name.startswith("segment.corrupt-") for path in left)
    assert [path.read_bytes() for path in left] == [b"%d" % number for number in range(2, KEPT + 2)]


def test_links_to_nowhere_are_moved_too_and_do_not_keep_older_ones(tmp_path):
    for number in range(KEPT + 2):
        path = tmp_path / "s"
        if number % 2:
            path.mkdir()
        else:
            path.symlink_to("nowhere" if number else tmp_path)
        quarantine(path)
        assert not os.path.lexists(path)
    assert len(os.listdir(tmp_path)) == KEPT
