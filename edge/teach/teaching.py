"""Teach an article: read clean cloth, fit, calibrate, publish."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.bundle.opening import model_digest_of
from edge.cameras.choose import choose_camera, watched_camera
from edge.cameras.protocol import Camera
from edge.cloth.finder import cloth_watch
from edge.config.alarm_budget import Budget
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError
from edge.inference.inspector import FLOOR, Inspector
from edge.inference.model import Models
from edge.reference.trunk import Trunk
from edge.teach.article_file import (
    ArticleManifest,
    SheetPlace,
    check_article_destination,
    open_article,
    publish_article,
)
from edge.teach.keeping import Keeper
from edge.teach.learning import CleanCloth, DetectorUsed, learn
from edge.teach.looks import Progress
from edge.teach.pattern import Pattern
from edge.teach.reading import ClothReading, ReadingLimits
from edge.teach.reports import Calibration
from edge.teach.spool import Spool

logger = logging.getLogger(__name__)

AfterTeaching = Callable[[CleanCloth, Keeper], None]

NO_LIMITS: Final = ReadingLimits()

USUAL_METRES: Final = 30.0
"""Of cloth that never ends, where no limit is given."""


@dataclass(frozen=True, slots=True)
class TeachRequest:
    """Ask for an article to be taught.

    Attributes:
        article: its name.
        budget: of false alarms.
        out: folder to write.
        overwrite: replace an older article file there.
        limits: how much to read; None each for the whole source, or `USUAL_METRES` of one without an end.
        leave_out: numbers on the contact sheet of the article file at `out`.
        struck_out: places that a person left out of the same cloth before.
        has_seen_cloth: whether the detector was trained on this very cloth.
    """

    article: str
    budget: Budget
    out: Path
    overwrite: bool = False
    limits: ReadingLimits = NO_LIMITS
    leave_out: tuple[int, ...] = ()
    struck_out: tuple[SheetPlace, ...] = ()
    has_seen_cloth: bool = False

    @property
    def replaces(self) -> bool:
        """Whether an older article file may be replaced."""
        return self.overwrite or bool(self.leave_out)


@dataclass(frozen=True, slots=True)
class TaughtArticle:
    """Hold the result of teaching an article.

    Attributes:
        manifest: as published.
        calibration: levels, and the places that came nearest to an alarm.
        pattern: that the cloth has, which a reference cannot describe; None if it has none.
    """

    manifest: ArticleManifest
    calibration: Calibration
    pattern: Pattern | None = None


def teach(
    config: EdgeConfig,
    request: TeachRequest,
    progress: Progress = lambda *_: None,
    then: AfterTeaching = lambda *_: None,
) -> TaughtArticle:
    """Teach an article and publish its file.

    Args:
        config: of a run on this camera, with this detector.
        progress: called with what is done, how much of it, and how much there is.
        then: called with the cloth when the article file is published, as long as its images are there.
    Raises:
        LoomsightError: if the cloth cannot support the promise, or anything that is needed is missing.
    """
    check_article_destination(request.out, overwrite=request.replaces)
    struck_out = _struck_places(request)
    camera = choose_camera(config.camera, config.mm_per_px, config.bit_depth)
    with ExitStack() as stack:
        models, trunk = Models(), Trunk(1)  # each fold has a thread of its own
        backend, contract = models.open(config, stack)
        spool = stack.enter_context(Spool(request.out.absolute().parent))
        keeper = Keeper(contract, config.selvedge_margin_mm, spool, struck_out)
        floors = dict.fromkeys(contract.class_names, FLOOR)
        inspector = Inspector(backend, contract.with_thresholds(floors), config.batch_tiles)
        cloth = _read(_reading(config, request, camera, inspector), keeper, progress)
        digest = model_digest_of(models.bundle(config))
        detector = DetectorUsed(digest, contract.score_thresholds, request.has_seen_cloth)
        learnt = learn(request.article, request.budget, cloth, keeper, detector, trunk, progress)
        publish_article(
            request.out, learnt.manifest, learnt.arrays, learnt.sheet_png, overwrite=request.replaces
        )
        then(cloth, keeper)
    return TaughtArticle(learnt.manifest, learnt.calibration, learnt.pattern)


def _struck_places(request: TeachRequest) -> tuple[SheetPlace, ...]:
    """Return the places of the older article file that a person left out, and those left out before.

    Raises:
        ConfigError: if the sheet has no such number.
    """
    if not request.leave_out:
        return request.struck_out
    older = open_article(request.out).manifest
    known = {place.number: place for place in older.places}
    unknown = [number for number in request.leave_out if number not in known]
    if unknown:
        raise ConfigError(
            f"The contact sheet of {request.out} has no place {unknown[0]}.",
            f"It has 1 to {len(known)}." if known else "It has none.",
        )
    return (*older.struck_out, *(known[number] for number in sorted(set(request.leave_out))))


def _reading(
    config: EdgeConfig, request: TeachRequest, camera: Camera, inspector: Inspector
) -> ClothReading:
    return ClothReading(
        watched_camera(camera, config),
        inspector,
        cloth_watch(config),
        margin_mm=config.selvedge_margin_mm,
        limits=_limits(request.limits, camera),
        queue_frames=config.queue_frames,
        offset_mm=config.offset_mm,
    )


def _limits(given: ReadingLimits, camera: Camera) -> ReadingLimits:
    if given == NO_LIMITS and (camera.is_live or camera.is_endless):
        return ReadingLimits(metres=USUAL_METRES)
    return given


def _read(reading: ClothReading, keeper: Keeper, progress: Progress) -> CleanCloth:
    strips = []
    for strip in reading.strips():
        strips.append(keeper.keep(strip))
        progress("read", len(strips), 0)
    return CleanCloth(tuple(strips), reading.left_out)
