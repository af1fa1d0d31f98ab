"""Fit an article beside inspection, in a thread that leaves the processor to it."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from typing import Final

from edge.config.alarm_budget import Budget
from edge.core.errors import LoomsightError
from edge.process.last_resort import internal_error
from edge.process.supervised import HelperThread, note_here
from edge.reference.trunk import Trunk
from edge.teach.keeping import Keeper
from edge.teach.learning import CleanCloth, DetectorUsed, Learnt, learn

logger = logging.getLogger(__name__)

NICENESS: Final = 10
"""Of the threads that fit: inspection comes first (Linux has it per thread)."""

LOOK_S: Final = 0.1
"""How often a wait looks whether it is to end."""

LEAVE_S: Final = 5.0
"""So long the end of a run waits for the current strip."""


class Cancelled(Exception):  # noqa: N818  # no error: somebody wanted it
    """Ends a fit that nobody wants any more."""


class Fitting:
    """Learn an article in a thread of its own, from `begin` on.

    Args:
        called: name of the article.
        budget, cloth, keeper, detector: as of `learn`.
    """

    def __init__(
        self, called: str, budget: Budget, cloth: CleanCloth, keeper: Keeper, detector: DetectorUsed
    ) -> None:
        self._called = called
        self._budget = budget
        self._cloth = cloth
        self._keeper = keeper
        self._detector = detector
        self._end = threading.Event()
        self._done = threading.Event()
        self._outcome: Learnt | LoomsightError | None = None
        self._thread = HelperThread("teach", self._work, self._end)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it has come to an end, well or not."""
        return self._done.is_set()

    def wait(self, stop: threading.Event) -> Learnt | LoomsightError | None:
        """Wait for the outcome: what was learnt, or why nothing was; None if the run is to end before."""
        while not self._done.wait(LOOK_S):
            if stop.is_set():
                return None
        return self._outcome

    def cancel(self) -> None:
        """End without an outcome; returns when the images are used no more."""
        self._end.set()
        self._thread.join(LEAVE_S)

    def _work(self) -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        try:
            self._outcome = self._learnt()
        except Cancelled:
            logger.debug("teaching of %s was cancelled", self._called)
        except LoomsightError as error:
            self._outcome = error
        # The last resort: whatever it is (a library's panic is no Exception), inspection goes on.
        except BaseException as error:
            logger.error("teaching failed: %s", error, exc_info=error)
            note_here(error)
            self._outcome = internal_error(error)
        finally:
            self._done.set()

    def _learnt(self) -> Learnt:
        return learn(
            self._called,
            self._budget,
            self._cloth,
            self._keeper,
            self._detector,
            Trunk(1),
            self._go_on,
            leaves_out=True,
        )

    def _go_on(self, *_: object) -> None:
        """Called between two strips.

        Raises:
            Cancelled: if nobody waits for the outcome any more.
        """
        if self._end.is_set():
            raise Cancelled
