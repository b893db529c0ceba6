"""Runs the tests of law 2 as if on lesser processors: `python -m tests.processors [options of pytest]`.

NumPy picks its loops by the instructions it finds, and some results hang on them: which of 0.0 and -0.0 a minimum is,
the last bit of a logarithm. What it found is switched off, once AVX-512 (as most gateways are), once all above its
baseline, so that the machine under the tests does not decide whether they pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOMS = ("core", "windows", "detectors", "rules", "alerts")
X86_BLAS = {"without AVX-512": "Haswell", "baseline": "Nehalem"}
"""OpenBLAS picks its kernels by itself, by these names."""


def found() -> list[str]:
    """Instruction sets that NumPy uses here beyond those it was built for; on some processors none."""
    return list(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))


def levels(extensions: list[str]) -> dict[str, list[str]]:
    """Name of each lesser processor -> what to switch off; only those that differ from this one."""
    wide = [name for name in extensions if name.startswith(("AVX512", "X86_V4"))]
    every = {"without AVX-512": wide, "baseline": extensions}
    return {name: off for name, off in every.items() if off and (name == "baseline" or off != extensions)}


def main(options: list[str]) -> int:
    """Both at once, a process each; 0 if all are green."""
    running = {}
    x86 = any(name.startswith(("X86", "AVX", "SSE")) for name in found())
    for name, off in levels(found()).items():
        blas = {"OPENBLAS_CORETYPE": X86_BLAS[name]} if x86 else {}
        environment = os.environ | blas | {"NPY_DISABLE_CPU_FEATURES": " ".join(off), "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-m", "law2", "-q", "-p", "no:cacheprovider", *options]
        command += [str(Path(__file__).parent / room) for room in ROOMS]
        running[name, " ".join(off)] = subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    if not running:
        print("NumPy uses nothing above its baseline here: the test suite has run that already")
    failed = False
    for (name, off), process in running.items():
        said, _ = process.communicate()
        print(f"--- {name} (without {off})\n{said}", flush=True)
        failed |= process.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
