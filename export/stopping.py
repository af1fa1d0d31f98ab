"""Say, when a signal ends an export, that no half bundle is left; this imports nothing that takes time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.process.terminal import echo


@contextmanager
def bundle_whole_or_not(out: Path) -> Iterator[None]:
    """Say on stderr what is at the place of a bundle when a signal ends the work on it.

    Args:
        out: folder of the bundle; it is published whole, at the end.
    """
    before = _inode(out)
    try:
        yield
    except KeyboardInterrupt:
        with suppress(OSError):
            echo(f"Stopped. {_left(out, before)}", err=True)
        raise


def _left(out: Path, before: int | None) -> str:
    after = _inode(out)
    if after is not None and after != before:
        return f"The bundle {out} is written, and whole."
    left = f"No bundle was written at {out}" if after is None else f"{out} stays as it was"
    return f"{left}: the same command starts again."


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None
