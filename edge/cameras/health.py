"""Report the health of a camera: its events and its counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FaultKind = Literal["unplugged", "late", "hung", "frozen", "wrong size", "half empty", "unusable"]
"""What is wrong with a camera: it is gone or does not open; it gives no frame; its library does not come
back from a call; it gives one image again and again; frames of another size than the first; buffers that
end in nothing; nothing that is an image at all."""


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """Tell of a change in the health of a camera or its optics. It is no defect.

    Attributes:
        kind: what, for instance `camera down`.
        detail: for a person to read.
        down_s: seconds during which no cloth was seen and that are over now.
        frames_missed: frames that the camera would have given in that time.
    """

    kind: str
    detail: str
    down_s: float = 0.0
    frames_missed: int = 0


class HealthSource(Protocol):
    """Tell what happened to a camera."""

    @property
    def down(self) -> FaultKind | None:
        """What is wrong with it at the moment; None if nothing is."""
        ...

    @property
    def counters(self) -> Mapping[str, int]:
        """What it has counted since the start of the run."""
        ...

    def take_events(self, *, is_over: bool = False) -> Sequence[HealthEvent]:
        """Return, once, what happened; with `is_over` also that a camera is still down at the end."""
        ...
