"""Learn an article from clean cloth that was read: fit, calibrate, draw the contact sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.config.alarm_budget import Budget, ClothAmount, amount_text
from edge.core.errors import ConfigError, DatasetError
from edge.reference.trunk import Trunk
from edge.teach.article_file import ArticleManifest, ClothUsed, Promise
from edge.teach.contact_sheet import Sheet
from edge.teach.keeping import Keeper
from edge.teach.looks import CrossLooks, Progress, SpooledStrip, cross_look
from edge.teach.pattern import Pattern, pattern_of, strips_to_sample
from edge.teach.reports import Calibration, calibrate
from edge.teach.spool import Views
from edge.teach.striking import ROUNDS, StruckViews, far_places, numbered


@dataclass(frozen=True, slots=True, eq=False)
class CleanCloth:
    """Clean cloth that was read.

    Attributes:
        strips: whose images lie in the spool.
        left_out: reason -> images.
    """

    strips: tuple[SpooledStrip, ...]
    left_out: Counter[str]


@dataclass(frozen=True, slots=True)
class DetectorUsed:
    """Name the detector that ran beside.

    Attributes:
        digest: sha256 of its model.
        thresholds: per class, as its bundle has them.
        has_seen_cloth: whether it was trained on this very cloth: then it scores lower on it than on other
            cloth of the article, and no threshold is lowered by that.
    """

    digest: str
    thresholds: Mapping[str, float]
    has_seen_cloth: bool = False

    def above(self, taught: Mapping[str, float]) -> dict[str, float]:
        """Return the thresholds that clean cloth set, none lower than permitted."""
        if not self.has_seen_cloth:
            return dict(taught)
        return {name: max(value, self.thresholds[name]) for name, value in taught.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """Hold a learnt article, ready to be published.

    Attributes:
        manifest: without the digests of the files.
        arrays: of the reference.
        sheet_png: the contact sheet.
        calibration: levels, and the places that came nearest to an alarm.
        pattern: that the cloth has, which a reference cannot describe; None if it has none.
    """

    manifest: ArticleManifest
    arrays: dict[str, NDArray[np.generic]]
    sheet_png: bytes
    calibration: Calibration
    pattern: Pattern | None = None


def learn(
    article: str,
    budget: Budget,
    cloth: CleanCloth,
    keeper: Keeper,
    detector: DetectorUsed,
    trunk: Trunk,
    progress: Progress = lambda *_: None,
    *,
    leaves_out: bool = False,
) -> Learnt:
    """Learn an article from clean cloth.

    Args:
        article: its name.
        budget: of false alarms.
        cloth: that the keeper kept.
        keeper: has its images, and knows their scale.
        detector: that ran beside, with thresholds so low that its tail was seen.
        trunk: computes features.
        progress: called with what is done, how much of it, and how much there is.
        leaves_out: whether places that stand far out of the others are left out, as nobody looks at them.
    Raises:
        DatasetError: if the cloth cannot support the promise.
        ConfigError: if its unit is not known here.
    """
    spool, struck = keeper.spool, tuple(keeper.struck_out)
    views = StruckViews(spool, cloth.strips)
    looks, amount, calibration = _calibrated(cloth, budget, views, detector, trunk, progress)
    for _ in range(ROUNDS if leaves_out else 0):
        far = far_places(calibration.places, len(cloth.strips))
        if not far:
            break
        views.strike(far)
        fewer = replace(cloth, strips=views.without_places())
        try:
            found = _calibrated(fewer, budget, views, detector, trunk, progress)
        except DatasetError:  # the rest does not support the promise
            break
        struck += numbered(far, cloth.strips, budget.per, amount)
        cloth, (looks, amount, calibration) = fewer, found
    sheet = Sheet.of(calibration.places, cloth.strips, budget.per, amount)
    manifest = ArticleManifest(
        article=article,
        mm_per_px=keeper.mm_per_px,
        width_px=keeper.width_px,
        detector_digest=detector.digest,
        trunk_digest=trunk.digest,
        levels=calibration.levels,
        score_thresholds=detector.above(calibration.score_thresholds),
        promise=_promise(budget, amount),
        cloth=_cloth_used(cloth, looks, amount),
        fit_distance=calibration.fit_distance,
        near=calibration.near,
        places=sheet.places,
        struck_out=struck,
    )
    pattern = pattern_of(
        spool.view(cloth.strips[number].number) for number in strips_to_sample(len(cloth.strips))
    )
    return Learnt(manifest, dict(looks.taught.arrays()), sheet.png(spool), calibration, pattern)


def _calibrated(
    cloth: CleanCloth,
    budget: Budget,
    views: Views,
    detector: DetectorUsed,
    trunk: Trunk,
    progress: Progress,
) -> tuple[CrossLooks, ClothAmount, Calibration]:
    """Look at the cloth, and set the levels for the budget; see `learn`."""
    looks = _judged(cloth, budget, views, trunk, progress)
    amount = _amount(looks)
    return looks, amount, calibrate(looks.judged, detector.thresholds, budget.set_on(amount))


def _judged(
    cloth: CleanCloth, budget: Budget, spool: Views, trunk: Trunk, progress: Progress
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
