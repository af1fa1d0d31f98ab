"""Look at clean cloth with a reference that was fitted on other stretches of it: cross-fitting.

Stretches alternate between two folds. The reference of each fold looks at the stretches of the other, so
all of the cloth calibrates and none of it is judged by a fit that has seen it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.cameras.protocol import FramePosition
from edge.cloth.mask import Mask
from edge.config.alarm_budget import ClothAmount
from edge.core.detections import Detections
from edge.core.errors import DatasetError
from edge.core.image import Image
from edge.process.camera_log import as_here
from edge.reference.model import Look, ReferenceModel
from edge.reference.second_look import look_at
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import SELVEDGE_PX, Trunk
from edge.teach.spool import Views

STRETCH_M: Final = 1.0
"""Length of a stretch, where a position is known: far longer than a defect or the pooling of features."""

LEAST_STRETCHES: Final = 8
"""Of little cloth, stretches are shorter than that."""

PROVISIONAL_STRIPS: Final = 16
"""Strips of its own fold that say where a reference begins to cut regions out of its maps."""

FOLDS: Final = 2

LEAST_LEVEL: Final = 0.05
"""In units of the article's own cloth: what is below it is no region of anything."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class SpooledStrip:
    """Hold a strip of clean cloth whose image lies in the spool.

    Attributes:
        number: in the spool.
        source, frame_id, position: of its frame.
        carried_lines: lines above the frame's own in the image.
        found: what the detector sees, in pixels of the frame.
    """

    number: int
    source: str
    frame_id: int
    position: FramePosition | None
    carried_lines: int
    found: Detections
    amount: ClothAmount


@dataclass(frozen=True, slots=True, eq=False)
class JudgedStrip:
    """A strip with what the reference of the other fold says of it; regions in pixels of the strip."""

    strip: SpooledStrip
    look: Look


@dataclass(frozen=True, slots=True, eq=False)
class CrossLooks:
    """Hold the result of cross-fitting.

    Attributes:
        taught: from all stretches.
        judged: strips in the order of the cloth.
        not_judged: reason -> strips.
    """

    taught: TaughtCloth
    judged: tuple[JudgedStrip, ...]
    not_judged: dict[str, int]


def cross_look(
    strips: Sequence[SpooledStrip], spool: Views, trunk: Trunk, progress: Progress = lambda *_: None
) -> CrossLooks:
    """Fit each fold and let it look at the other.

    Args:
        progress: called with what is done, how much of it, and how much there is.
    Raises:
        DatasetError: if a fold shows too little cloth to be fitted.
    """
    folds = _folds(strips)
    own = [
        [strip for strip, fold in zip(strips, folds, strict=True) if fold == number]
        for number in range(FOLDS)
    ]
    steps = _Steps(len(strips), progress)
    with ThreadPoolExecutor(FOLDS, "fold", initializer=as_here()) as threads:
        fits = list(threads.map(lambda part: _fit(part, spool, trunk, steps), own))
        looked = [
            threads.submit(_look, taught, part, other, spool, trunk, steps)
            for taught, part, other in zip(fits, own, reversed(own), strict=True)
        ]
    looks = sorted((one for part in looked for one in part.result()), key=lambda one: one[0].number)
    judged = [
        JudgedStrip(strip, look) for strip, look in looks if look is not None and look.not_judged is None
    ]
    not_judged = Counter(
        "too low" if look is None else str(look.not_judged)
        for _, look in looks
        if look is None or look.not_judged is not None
    )
    return CrossLooks(fits[0].merged(fits[1]), tuple(judged), dict(not_judged))


class _Steps:
    """Count what the threads of the folds have done, together."""

    def __init__(self, strips: int, progress: Progress) -> None:
        self._strips, self._progress = strips, progress
        self._done: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, what: str) -> None:
        with self._lock:
            self._done[what] += 1
            self._progress(what, self._done[what], self._strips)


def _look(
    taught: TaughtCloth,
    own: Sequence[SpooledStrip],
    other: Sequence[SpooledStrip],
    spool: Views,
    trunk: Trunk,
    steps: _Steps,
) -> list[tuple[SpooledStrip, Look | None]]:
    """Let the reference of a fold look at the strips of the other, in the order of the cloth."""
    model = _model(taught, own, spool, trunk)
    looks = []
    for strip in other:
        steps("look")
        looks.append((strip, look_at(model, spool.view(strip.number))))
    return looks


def _folds(strips: Sequence[SpooledStrip]) -> list[int]:
    """Return the fold of each strip: that of its stretch; each image without a position is a stretch."""
    places = [strip.position.along_m for strip in strips if strip.position is not None]
    if len(places) < len(strips):
        return [number % FOLDS for number in range(len(strips))]
    start_m, span_m = min(places), max(places) - min(places)
    length_m = min(STRETCH_M, span_m / LEAST_STRETCHES) or STRETCH_M
    return [int((along_m - start_m) // length_m) % FOLDS for along_m in places]


def _fit(strips: Sequence[SpooledStrip], spool: Views, trunk: Trunk, steps: _Steps) -> TaughtCloth:
    def images() -> Iterator[tuple[Image, Mask | None]]:
        for strip in strips:
            steps("fit")
            view = spool.view(strip.number)
            if view.is_high_enough:
                yield view.image, view.is_cloth

    try:
        return TaughtCloth.fit(images(), trunk)
    except ValueError as error:
        raise DatasetError(
            "There is too little clean cloth: it is fitted on one half and calibrated on the other, and "
            "one of them shows none.",
            f"Teach on at least {FOLDS} images that show cloth. Within selvedge_margin_mm of an edge of "
            f"the cloth, and {SELVEDGE_PX} px more, nothing is judged.",
        ) from error


def _model(taught: TaughtCloth, own: Sequence[SpooledStrip], spool: Views, trunk: Trunk) -> ReferenceModel:
    """Return the reference of a fold, with levels that about every other block of a strip reaches."""
    sample = own[:: max(1, len(own) // PROVISIONAL_STRIPS)]
    model = ReferenceModel(trunk, taught)
    looks = [look_at(model, spool.view(strip.number)) for strip in sample]
    maxima = [look.block_maxima for look in looks if look is not None and look.maxima]
    levels = {
        name: max(LEAST_LEVEL, float(np.median(np.concatenate([one[name] for one in maxima]))))
        for name in taught.crests
    }
    return ReferenceModel(trunk, taught, levels)
