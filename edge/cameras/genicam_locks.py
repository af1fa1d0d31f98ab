"""Remove GenICam's locks that a killed process left behind.

GenICam guards the description of each camera model by a named semaphore of the whole computer. A process
that is killed while it holds one leaves it locked, and from then on no camera of that model opens, in no
process, until the computer is restarted.
"""

from __future__ import annotations

import ctypes
import logging
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

SEMAPHORES: Final = Path("/dev/shm")  # where glibc keeps named semaphores
PATTERN: Final = "sem.*GenICam*"

UNUSED_S: Final = 1.0
"""A lock that is held for so long, and that no process has open, is nobody's."""

STUCK_S: Final = 10.0
"""A lock that is held for so long by no more than processes that wait for it, too: reading the description
of a camera takes a second."""

LOOK_S: Final = 0.2


def remove_stale_locks(folder: Path = SEMAPHORES, processes: Path = Path("/proc")) -> tuple[str, ...]:
    """Remove locks whose holder is gone; returns at once if none is held.

    Args:
        folder: of the semaphores.
        processes: what Linux tells of processes.
    Returns:
        Names of the locks that were removed.
    """
    removed: list[Path] = []
    started_s = time.monotonic()
    held = _held(folder.glob(PATTERN))
    while held and (held_s := time.monotonic() - started_s) < STUCK_S:
        if held_s >= UNUSED_S:
            opened = _opened(processes)
            removed += _remove(lock for lock in held if lock.name not in opened)
        time.sleep(LOOK_S)
        held = _held(held)
    removed += _remove(held)
    names = tuple(lock.name for lock in removed)
    if names:
        logger.warning("a killed process left a camera library's lock; removed: %s", ", ".join(names))
    if left := [str(lock) for lock in _held(held)]:
        logger.warning("a camera library's lock is stuck and cannot be removed: %s", ", ".join(left))
    return names


def _held(locks: Iterable[Path]) -> list[Path]:
    """Return those whose value is 0: somebody has them."""
    return [lock for lock in locks if _value(lock) == 0]


def _value(lock: Path) -> int:
    """Return the value of a semaphore of glibc: its first 32 bits. -1 if it cannot be read."""
    try:
        with lock.open("rb") as file:
            return int(struct.unpack("=I", file.read(4))[0])
    except (OSError, struct.error):
        return -1


def _opened(processes: Path) -> frozenset[str]:
    """Return the names of the semaphores that some process has in its memory."""
    names: set[str] = set()
    for maps in processes.glob("[0-9]*/maps"):
        with suppress(OSError):
            lines = maps.read_text("utf-8", "replace").splitlines()
            names.update(Path(line.split()[-1]).name for line in lines if "/sem." in line)
    return frozenset(names)


def _remove(locks: Iterable[Path]) -> list[Path]:
    """Remove semaphores; returns those that could be: another user's may not."""
    removed = []
    for lock in locks:
        _release(lock)
        with suppress(OSError):
            lock.unlink()
            removed.append(lock)
    return removed


def _release(lock: Path) -> None:
    """Let go on who waits for a semaphore: without its name nobody would wake them."""
    libc = ctypes.CDLL(None)
    libc.sem_open.restype = ctypes.c_void_p
    semaphore = libc.sem_open(lock.name.removeprefix("sem.").encode(), 0)
    if semaphore:
        libc.sem_post(ctypes.c_void_p(semaphore))
        libc.sem_close(ctypes.c_void_p(semaphore))
