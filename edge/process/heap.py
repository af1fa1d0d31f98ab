"""Keep freed memory in the process: the arrays of one frame serve the next one."""

from __future__ import annotations

import ctypes
from typing import Final

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's mallopt(3)."""

LARGEST_BYTES: Final = 32 * 2**20
"""Of an allocation that comes from the heap, the most that glibc takes: a strip of 16,384 x 256 px as
float32 is 16 MiB."""

KEPT_BYTES: Final = 128 * 2**20
"""Of free memory at the top of a heap, above which it goes back to the system."""


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, up to `KEPT_BYTES`, and give it out again.

    Else each large array is new memory of the system, which clears it page by page: 2,170 pages and 8 ms of
    125 ms for a look of the reference model at a strip of 4,096 x 256 px.

    Returns:
        Whether it is so: other C libraries have no such settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_BYTES) and mallopt(TRIM_THRESHOLD, KEPT_BYTES))
