"""Ask a run to teach the article on the loom: asked by any thread, done by the one that inspects."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from edge.cameras.raw_stream import RecordedTeaching
from edge.core.errors import ConfigError
from edge.teach.values import TeachingRequest

MOST_WAITING: Final = 64
"""Requests between two frames; nobody has so many."""


class TeachingRequests:
    """Keep what was asked for until the next frame, and what a recording says, until its frame comes."""

    def __init__(self) -> None:
        self._asked: deque[TeachingRequest] = deque()
        self._recorded: deque[RecordedTeaching] = deque()
        self._late: set[int] = set()
        self._lock = threading.Lock()

    def ask(self, request: TeachingRequest) -> None:
        """Ask for teaching to begin, or to end without a result, with the next frame.

        Raises:
            ConfigError: if too much was asked for since the last frame.
        """
        with self._lock:
            if len(self._asked) >= MOST_WAITING:
                raise ConfigError("Too many requests wait for the next frame.", "Wait for cloth.")
            self._asked.append(request)

    def replay(self, entry: RecordedTeaching) -> None:
        """Take in what happened when a recording was made, before the frame behind it is delivered."""
        with self._lock:
            if entry.teaching == "late":
                self._late.add(entry.last_frame_id)
            else:
                self._recorded.append(entry)

    def due(self, frame_id: int | None) -> TeachingRequest | None:
        """Return, once, what is to be done before a frame; None for nothing.

        Args:
            frame_id: None behind the last frame.
        """
        with self._lock:
            if self._asked:
                return self._asked.popleft()
            first = self._recorded[0] if self._recorded else None
            if first is None or (frame_id is not None and first.last_frame_id >= frame_id):
                return None
            self._recorded.popleft()
            return "begin" if first.teaching == "begin" else "cancel"

    def was_late(self, frame_id: int) -> bool:
        """Tell whether nothing was learnt yet before this frame when the recording was made."""
        with self._lock:
            return frame_id - 1 in self._late
