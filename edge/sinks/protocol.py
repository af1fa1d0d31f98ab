"""Define the protocol of a sink."""

from __future__ import annotations

from typing import Protocol

from typing_extensions import Self

from edge.cameras.protocol import Frame
from edge.core.detections import DetectionRecord


class Sink(Protocol):
    """Take the result of each frame. Entering opens it, leaving closes it whatever happened."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def write(self, frame: Frame, detections: list[DetectionRecord]) -> None:
        """Record one frame.

        Raises:
            OutputError: if it cannot be written; what was written before stays whole.
        """
        ...
