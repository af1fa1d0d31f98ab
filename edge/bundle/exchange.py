"""Let two folders change their names in one step: at any moment the name has one of them, whole."""

from __future__ import annotations

import ctypes
import os
from errno import EINVAL, ENOSYS
from pathlib import Path
from typing import Final

AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2
"""Of Linux, `man 2 renameat2`."""

NOT_HERE: Final = (EINVAL, ENOSYS)
"""The file system, or the kernel, cannot do it."""


def exchanged(one: Path, other: Path) -> bool:
    """Exchange two paths on one file system; False if that cannot be done here.

    Raises:
        OSError: if they cannot be renamed.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(other))
