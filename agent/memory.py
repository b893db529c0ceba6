"""Memory that was freed stays with the process for the next batch.

glibc hands arrays of 128 kB and more back to the kernel when they are freed and asks for them anew a moment later;
each page then costs a fault, which takes longer than what a detector does with the 512 numbers on it.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 16 << 20
_LARGE = 4 << 20


def keep_freed_memory() -> bool:
    """Arrays up to 4 MB come from the heap, of which up to 16 MB that are free are kept; False where it is not glibc.

    Environment variables of glibc's malloc are overruled.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE) and mallopt(_TRIM_THRESHOLD, _KEPT))
