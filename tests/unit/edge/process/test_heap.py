"""Freed memory stays in the process, so that the next frame's arrays are no new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from edge.process.heap import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
before = 0
for turn in range(60):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(10 * 2**20, np.uint8) for _ in range(3)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(memory: str) -> int:
    """Count the pages that were new for fifty frames of three arrays of 10 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, memory], capture_output=True, text=True, timeout=120, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_the_arrays_of_the_next_frame_are_no_new_pages() -> None:
    assert faults("kept") * 10 < faults("given back")
