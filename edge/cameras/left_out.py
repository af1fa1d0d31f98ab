"""Count single frames of a live camera that are not inspected, and report them together."""

from __future__ import annotations

import logging
from collections import Counter

from edge.cameras.health import HealthEvent

logger = logging.getLogger(__name__)

TELL_S = 10.0
"""They are told of at most so often."""


class FramesLeftOut:
    """Count frames that are not delivered, by what is wrong with them.

    Until the next good frame comes nobody knows whether they were single ones or the start of a failure.

    Args:
        camera: its name, for the log.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._since_good: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._told_s = -TELL_S

    def add(self, kind: str) -> None:
        """Count a frame that came since the last good one."""
        self._since_good[kind] += 1

    def add_unreadable(self) -> None:
        """Count what is no image at all, and was counted as unreadable by who reads."""
        self._untold["unusable"] += 1

    def good_came(self, *, was_down: bool, is_placed: bool) -> bool:
        """Take what came since the last good frame for single ones, unless the camera was down.

        Args:
            was_down: it is told of as a failure then.
            is_placed: without a place an image that comes twice, now and then, is no loss.
        Returns:
            True if something is missing before the good frame.
        """
        if not was_down:
            if not is_placed:
                self._since_good.pop("repeated", None)
            self._untold += self._since_good
        is_missing = was_down or bool(self._since_good)
        self._since_good.clear()
        return is_missing

    def event(self, now_s: float, *, is_placed: bool, at_once: bool = False) -> HealthEvent | None:
        """Return, now and then or at once, an event of what was left out; None if there is nothing to tell.

        Args:
            is_placed: the place of the next frame says how many are missing then.
        """
        if not self._untold or (now_s - self._told_s < TELL_S and not at_once):
            return None
        what = ", ".join(f"{count} {kind}" for kind, count in self._untold.items())
        logger.warning("the camera %s: frames left out: %s", self._camera, what)
        missed = 0 if is_placed else sum(self._untold.values()) - self._untold["unusable"]
        self._told_s = now_s
        self._untold.clear()
        return HealthEvent("frames left out", what, frames_missed=missed)
