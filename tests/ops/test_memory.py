"""Freed memory is kept."""

import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys
import numpy as np
from agent.ops.memory import keep_freed_memory
if len(sys.argv) > 1 and not keep_freed_memory():
    print(-1)
else:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        parts = [np.ones(1 << 16) for _ in range(4)]
        del parts
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*words):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *words], cwd=root, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_an_array_that_was_freed_is_not_asked_of_the_kernel_again():
    kept = faults("keep")
    if kept < 0:
        pytest.skip("not glibc: nothing to set")
    assert kept < 2_000  # four times half a megabyte once, not fifty times
