"""Name the camera in each line of the log: known by the thread that writes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_CAMERA: ContextVar[str | None] = ContextVar("camera", default=None)

FORMAT: Final = "%(levelname)s %(name)s: %(camera)s%(message)s"
"""Of a handler that has `name_camera` as its filter."""


@contextmanager
def about_camera(name: str | None) -> Iterator[None]:
    """Let what is logged from here be about a camera; None for the only one, which needs no name."""
    token = _CAMERA.set(name)
    try:
        yield
    finally:
        _CAMERA.reset(token)


def name_camera(record: logging.LogRecord) -> bool:
    """Give a line of the log what stands before its message; a filter that lets everything through."""
    name = _CAMERA.get()
    record.camera = f"{name}: " if name else ""
    return True


def as_here(work: Callable[[], None] = lambda: None) -> Callable[[], None]:
    """Return work for a thread of its own, which logs from then on about the camera of this one."""
    name = _CAMERA.get()

    def run() -> None:
        _CAMERA.set(name)
        work()

    return run
