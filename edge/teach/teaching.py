"""Teach an article: read clean cloth, fit, calibrate, publish."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.assembly import cloth_watch
from edge.bundle.opening import model_digest_of
from edge.cameras.choose import choose_camera
from edge.cameras.protocol import Camera
from edge.cameras.watched import watched_camera
from edge.config import EdgeConfig
from edge.errors import ConfigError, DatasetError
from edge.inspector import Inspector
from edge.model import Models
from edge.reference.trunk import Trunk
from edge.simulator.camera import LoomCamera
from edge.teach.article_file import (
    ArticleManifest,
    ClothUsed,
    Promise,
    SheetPlace,
    check_article_destination,
    open_article,
    publish_article,
)
from edge.teach.budget import Budget, ClothAmount, amount_text
from edge.teach.detector_scores import FLOOR
from edge.teach.keeping import Keeper
from edge.teach.looks import CrossLooks, Progress, SpooledStrip, cross_look
from edge.teach.reading import ClothReading, ReadingLimits
from edge.teach.reports import Calibration, calibrate
from edge.teach.sheet import Sheet
from edge.teach.spool import Spool

logger = logging.getLogger(__name__)

NO_LIMITS: Final = ReadingLimits()

USUAL_METRES: Final = 30.0
"""Of cloth that never ends, where no limit is given."""


@dataclass(frozen=True, slots=True)
class TeachWish:
    """What is asked for.

    Attributes:
        article: its name.
        budget: of false alarms.
        out: folder to write.
        overwrite: replace an older article file there.
        limits: how much to read; None each for the whole source, or `USUAL_METRES` of one without an end.
        leave_out: numbers on the contact sheet of the article file at `out`.
    """

    article: str
    budget: Budget
    out: Path
    overwrite: bool = False
    limits: ReadingLimits = NO_LIMITS
    leave_out: tuple[int, ...] = ()

    @property
    def replaces(self) -> bool:
        """Whether an older article file may be replaced."""
        return self.overwrite or bool(self.leave_out)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What came of teaching.

    Attributes:
        manifest: as published.
        calibration: levels, and the places that came nearest to an alarm.
    """

    manifest: ArticleManifest
    calibration: Calibration


@dataclass(frozen=True, slots=True, eq=False)
class CleanCloth:
    """Clean cloth that was read.

    Attributes:
        strips: whose images lie in the spool.
        left_out: reason -> images.
    """

    strips: tuple[SpooledStrip, ...]
    left_out: Counter[str]


def teach(config: EdgeConfig, wish: TeachWish, progress: Progress = lambda *_: None) -> Lesson:
    """Teach an article and publish its file.

    Args:
        config: of a run on this camera, with this detector.
        progress: called with what is done, how much of it, and how much there is.
    Raises:
        LoomsightError: if the cloth cannot carry the promise, or anything that is needed is missing.
    """
    check_article_destination(wish.out, overwrite=wish.replaces)
    struck_out = _struck_places(wish)
    camera = choose_camera(config.camera, config.mm_per_px, config.bit_depth)
    with ExitStack() as stack:
        models, trunk = Models(), Trunk(1)  # each fold has a thread of its own
        backend, contract = models.open(config, stack)
        spool = stack.enter_context(Spool(wish.out.absolute().parent))
        keeper = Keeper(contract, config.selvedge_margin_mm, spool, struck_out)
        floors = dict.fromkeys(contract.class_names, FLOOR)
        inspector = Inspector(backend, contract.with_thresholds(floors), config.batch_tiles)
        cloth = _read(_reading(config, wish, camera, inspector), keeper, progress)
        looks = _judged(cloth, wish.budget, spool, trunk, progress)
        amount = _amount(looks)
        calibration = calibrate(looks.judged, contract.score_thresholds, wish.budget.allowed_on(amount))
        sheet = Sheet.of(calibration.places, cloth.strips, wish.budget.per, amount)
        manifest = ArticleManifest(
            article=wish.article,
            mm_per_px=keeper.mm_per_px,
            width_px=keeper.width_px,
            detector_digest=model_digest_of(models.bundle(config)),
            trunk_digest=trunk.digest,
            levels=calibration.levels,
            score_thresholds=calibration.score_thresholds,
            promise=_promise(wish.budget, amount),
            cloth=_cloth_used(cloth, looks, amount),
            fit_distance=calibration.fit_distance,
            near=calibration.near,
            places=sheet.places,
            struck_out=struck_out,
        )
        arrays = looks.taught.arrays()
        publish_article(wish.out, manifest, arrays, sheet.png(spool), overwrite=wish.replaces)
    return Lesson(manifest, calibration)


def _struck_places(wish: TeachWish) -> tuple[SheetPlace, ...]:
    """Return the places of the older article file that a person left out, and those left out before.

    Raises:
        ConfigError: if the sheet has no such number.
    """
    if not wish.leave_out:
        return ()
    older = open_article(wish.out).manifest
    known = {place.number: place for place in older.places}
    unknown = [number for number in wish.leave_out if number not in known]
    if unknown:
        raise ConfigError(
            f"The contact sheet of {wish.out} has no place {unknown[0]}.",
            f"It has 1 to {len(known)}." if known else "It has none.",
        )
    return (*older.struck_out, *(known[number] for number in sorted(set(wish.leave_out))))


def _reading(config: EdgeConfig, wish: TeachWish, camera: Camera, inspector: Inspector) -> ClothReading:
    return ClothReading(
        watched_camera(camera, config),
        inspector,
        cloth_watch(config),
        margin_mm=config.selvedge_margin_mm,
        limits=_limits(wish.limits, camera),
        queue_frames=config.queue_frames,
        offset_mm=config.offset_mm,
    )


def _limits(given: ReadingLimits, camera: Camera) -> ReadingLimits:
    is_endless = camera.is_live or (isinstance(camera, LoomCamera) and camera.options.length_m is None)
    if given == NO_LIMITS and is_endless:
        return ReadingLimits(metres=USUAL_METRES)
    return given


def _read(reading: ClothReading, keeper: Keeper, progress: Progress) -> CleanCloth:
    strips = []
    for strip in reading.strips():
        strips.append(keeper.keep(strip))
        progress("read", len(strips), 0)
    return CleanCloth(tuple(strips), reading.left_out)


def _judged(
    cloth: CleanCloth, budget: Budget, spool: Spool, trunk: Trunk, progress: Progress
) -> CrossLooks:
    """Look at the cloth, if there is enough of it.

    Raises:
        DatasetError: if there is not.
    """
    if not cloth.strips:
        reasons = reasons_text(cloth.left_out)
        raise DatasetError(
            f"There is no clean cloth to learn from{': ' + reasons if reasons else ''}.",
            "Name a camera, folder, video or recording that shows the article's cloth in good light.",
        )
    _check_unit(budget, cloth.strips)
    budget.check(sum((strip.amount for strip in cloth.strips), ClothAmount(0)))
    looks = cross_look(cloth.strips, spool, trunk, progress)
    budget.check(_amount(looks), reasons_text(cloth.left_out + Counter(looks.not_judged)))
    return looks


def _check_unit(budget: Budget, strips: Sequence[SpooledStrip]) -> None:
    if budget.per != "image" and strips[0].position is None:
        raise ConfigError(
            "The camera knows no position, so false alarms cannot be counted per metre.",
            "Add --mm-per-px, or ask for --false-alarms-per-image.",
        )


def _amount(looks: CrossLooks) -> ClothAmount:
    return sum((one.strip.amount for one in looks.judged), ClothAmount(0))


def _promise(budget: Budget, amount: ClothAmount) -> Promise:
    return Promise(
        false_alarms=budget.false_alarms,
        per=budget.per,
        calibrated_on=amount_text(amount.units(budget.per), budget.per),
        least=budget.least(amount),
    )


def _cloth_used(cloth: CleanCloth, looks: CrossLooks, amount: ClothAmount) -> ClothUsed:
    return ClothUsed(
        images=amount.images,
        metres=round(amount.metres, 3),
        square_metres=round(amount.square_metres, 3),
        left_out=dict(cloth.left_out + Counter(looks.not_judged)),
    )


def reasons_text(left_out: Mapping[str, int]) -> str:
    """Return what was left out and why, in words; empty if nothing was."""
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())
