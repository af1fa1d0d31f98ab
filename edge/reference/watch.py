"""Notice cloth that is not the article that was taught, and thresholds that drift: events, not defects."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.cameras.health import HealthEvent
from edge.reference.model import Look
from edge.reference.statistics import Moments

logger = logging.getLogger(__name__)

OTHER_ARTICLE: Final = "other article"
DRIFT: Final = "thresholds drift"
KNOWN_ARTICLE: Final = "known article"

BEGIN: Final = "begin a roll of that article"
"""What to do about one that is recognised."""

FIT_STRIPS: Final = 20
"""Strips whose features tell which article it is."""

OTHER_STRIPS: Final = 40
OTHER_RATIO: Final = 0.75
"""Of the last so many strips, so many have to be far from what was taught: other cloth stays other cloth,
and a defect that takes a tenth of a narrow image ends."""

OTHER, SAME = 1.5, 1.2
"""Times the greatest distance of clean cloth when it was taught, above which it is another article, and
below which it is the same again. On simulated cloth, 256 px wide, the same roll stays below 1.0, other
articles lie at 2.8 to 4.1, a lens out of focus at 2.0 to 3.5, and a lamp that gives 0.7 of its light below
1.0; on images of 160 px, which scatter more, another article lies at 1.7."""

NEAR_STRIPS: Final = 200
"""Strips over which those near to the threshold are counted."""

NEAR_RATIO: Final = 0.05
"""Of the strips of clean cloth, when it was taught: so many are called near to the threshold."""

MANY, FEW = 4.0, 2.0
"""Times that, above which the thresholds drift, and below which they fit again."""


@dataclass(frozen=True, slots=True)
class UsualCloth:
    """Hold the usual values of the cloth when an article was taught.

    Attributes:
        article: its name.
        levels: channel -> level of the reference.
        fit_distance: greatest one of a strip that was not fitted.
        near: ratio to its level that `NEAR_RATIO` of the strips exceeded.
    """

    article: str
    levels: Mapping[str, float]
    fit_distance: float
    near: float


Recognise = Callable[[Moments], str | None]
"""Names the article that was taught, and is not the one of the roll, whose cloth has such features."""


def knows_none(own: Moments) -> None:
    """Know no other article."""


class ReferenceWatch:
    """Watch what the reference model says of the cloth as a whole.

    Args:
        recognise: knows other articles.
    Attributes:
        recognised: the article that the cloth looks like, while it is not the one of the roll.
    """

    def __init__(self, recognise: Recognise = knows_none) -> None:
        self._events: list[HealthEvent] = []
        self._recognise = recognise
        self.start_again(None)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong at the moment."""
        states = ((OTHER_ARTICLE, self._is_other), (DRIFT, self._drifts))
        return tuple(kind for kind, is_on in states if is_on)

    def take_events(self) -> list[HealthEvent]:
        """Return, once, what changed."""
        events, self._events = self._events, []
        return events

    def start_again(self, usual: UsualCloth | None) -> None:
        """Begin with other cloth.

        Args:
            usual: what its article was taught; None for none: then nothing is watched.
        """
        self._usual = usual
        self._fits: deque[float] = deque(maxlen=OTHER_STRIPS)
        self._counted, self._near = 0, NEAR_RATIO
        self._is_other = self._drifts = False
        self._own: Moments | None = None
        self._own_seen = 0
        self.recognised: str | None = None

    def look(self, look: Look | None) -> None:
        """Take in what the reference model says of a strip."""
        usual = self._usual
        if look is None:
            return
        self._remember(look.own)
        if usual is None and self._own_seen == FIT_STRIPS and look.own is not None:
            self._tell_known()
        if usual is None or look.fit_distance is None:
            return
        self._fits.append(look.fit_distance)
        if len(self._fits) == OTHER_STRIPS:
            distance = float(np.quantile(self._fits, 1 - OTHER_RATIO))
            self._tell_article(usual, distance / usual.fit_distance)
        if len(look.regions):
            return  # a defect that runs for metres is no drift
        ratio = max(look.maxima[name] / level for name, level in usual.levels.items())
        self._counted += 1
        self._near += (float(ratio >= usual.near) - self._near) / NEAR_STRIPS
        if self._counted >= NEAR_STRIPS:
            self._tell_drift(self._near)

    def _tell_article(self, usual: UsualCloth, distance: float) -> None:
        if not self._is_other and distance > OTHER:
            self._is_other = True
            self.recognised = None if self._own is None else self._recognise(self._own)
            like = f"; it looks like article '{self.recognised}': {BEGIN}" if self.recognised else ""
            self._tell(
                OTHER_ARTICLE,
                f"the cloth looks unlike article '{usual.article}': {distance:.1f} times as far off as its "
                f"clean cloth ever was{like}; check the article of the roll, lamp and focus, or teach it "
                "again",
            )
        elif self._is_other and distance < SAME:
            self._is_other, self.recognised = False, None
            self._tell(f"{OTHER_ARTICLE} is over", f"the cloth looks like article '{usual.article}'")

    def _remember(self, own: Moments | None) -> None:
        """Take the features of a strip into the mean of the last ones."""
        if own is None:
            return
        self._own_seen += 1
        weight = 1 / min(self._own_seen, FIT_STRIPS)
        before = self._own
        self._own = own if before is None else before.weighted(1 - weight) + own.weighted(weight)

    def _tell_known(self) -> None:
        """Say which article that was taught is on the loom, if the one of the roll was not."""
        self.recognised = None if self._own is None else self._recognise(self._own)
        if self.recognised is not None:
            said = f"the cloth looks like article '{self.recognised}', which was taught: {BEGIN}"
            self._tell(KNOWN_ARTICLE, said)

    def _tell_drift(self, near: float) -> None:
        if not self._drifts and near > MANY * NEAR_RATIO:
            self._drifts = True
            self._tell(
                DRIFT,
                f"{near:.0%} of the strips come near to a threshold, and {NEAR_RATIO:.0%} did when it was "
                "taught: clean the lens, check lamp and tension, or teach the article again",
            )
        elif self._drifts and near < FEW * NEAR_RATIO:
            self._drifts = False
            self._tell(f"{DRIFT} is over", f"{near:.0%} of the strips come near to a threshold")

    def _tell(self, kind: str, detail: str) -> None:
        logger.warning("%s: %s", kind, detail)
        self._events.append(HealthEvent(kind, detail))
