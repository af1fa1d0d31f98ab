"""Annotate by the reference model: it proposes places that do not belong into the cloth.

It knows no classes: its regions are `unclassified`, and what nobody else names waits for a person.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from distill.core.value import FiniteValue
from distill.labels.sets.annotations import Region
from edge.cloth.finder import cloth_of_single_image
from edge.cloth.fusion import score_from_ratio
from edge.core.counted import of_all
from edge.core.detections import UNCLASSIFIED
from edge.core.errors import ConfigError
from edge.core.image import Image
from edge.reference.maps import CHANNELS
from edge.reference.model import Look, ReferenceModel
from edge.reference.second_look import ReferenceView, view_of
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import Trunk
from edge.teach.article_file import open_article

logger = logging.getLogger(__name__)

SELF: Final = "self"
"""In place of an article file: each image is compared with itself."""

LEAST_OWN_PX: Final = 40_000
"""Pixels of cloth below which an image says too little of its own cloth: 200 x 200."""

FARTHEST_SCALE: Final = 4.0
"""Scales further apart show other yarns."""


class ReferenceSettings(FiniteValue):
    """Say how the reference model proposes places.

    Attributes:
        least_ratio: value over the level of its channel, from which on a place is proposed.
        own_level: the level of all channels where an image is compared with itself, in units of its own
            cloth. Of 57 clean strips of real fabrics (teach/ of AITEX) a quarter exceed the default.
        margin_mm: nearer to a selvedge, or to an edge of the cloth, nothing is looked at.
        cloth: `auto` looks where there is cloth, if at least half of the image is found to be; `all` takes
            the whole image for it.
    """

    least_ratio: float = Field(default=1.0, ge=0.5, le=100)
    own_level: float = Field(default=4.0, gt=0, le=100)
    margin_mm: float = Field(default=10.0, ge=0, le=1000)
    cloth: Literal["auto", "all"] = "auto"


class ReferenceAnnotator:
    """Propose what does not belong into the cloth.

    Args:
        model: an article file of `loomsight teach`, or `SELF`.
        mm_per_px: scale of the images; None if not known.
        settings: how it proposes.
        name: what its regions are said to come from.
    Raises:
        ModelError, ContractError: if the article file is damaged, newer, or of other features.
        ConfigError: if its scale and that of the images cannot be brought together.
    """

    def __init__(
        self, model: str, *, mm_per_px: float | None, settings: ReferenceSettings, name: str
    ) -> None:
        self.name = name
        self._settings = settings
        self._margin_px = settings.margin_mm / mm_per_px if mm_per_px else 0.0
        self._trunk = Trunk(1)
        self._taught: TaughtCloth | None = None
        self._scale = 1.0
        levels = dict.fromkeys(CHANNELS, settings.own_level)
        if model != SELF:
            article = open_article(Path(model))
            self._scale = scale_of(article.manifest.mm_per_px, mm_per_px, model)
            self._taught = TaughtCloth.from_arrays(article.arrays, self._trunk)
            levels = article.manifest.levels
        self._levels = {name: level * settings.least_ratio for name, level in levels.items()}
        self._seen = self._recognised = self._too_small = 0

    def annotate(self, images: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Propose places in each image; see `Annotator.annotate`."""
        return [self._regions(image) for image in images]

    def say_at_end(self) -> None:
        """Say in how many images the cloth was recognised, and how many show too little."""
        if self._recognised:
            images = of_all(self._recognised, self._seen, "image")
            logger.info(
                "%s: the cloth is recognised in %s; what lies off it is left out", self.name, images
            )
        if self._too_small:
            images = of_all(self._too_small, self._seen, "image")
            logger.warning("%s: too little cloth in %s; nothing is proposed there", self.name, images)
        self._seen = self._recognised = self._too_small = 0

    def _regions(self, image: Image) -> tuple[Region, ...]:
        look = self._look(self._view(image))
        if look is None:
            self._too_small += 1
            return ()
        ratios = look.regions.ratios * self._settings.least_ratio
        rows = zip(look.regions.boxes_xyxy_px.tolist(), score_from_ratio(ratios).tolist(), strict=True)
        return tuple(
            Region(
                UNCLASSIFIED,
                (x1 / self._scale, y1 / self._scale, x2 / self._scale, y2 / self._scale),
                score=score,
                annotator=self.name,
                review="queued",
            )
            for (x1, y1, x2, y2), score in rows
        )

    def _view(self, image: Image) -> ReferenceView:
        mask = cloth_of_single_image(image) if self._settings.cloth == "auto" else None
        self._seen += 1
        self._recognised += mask is not None and mask.fraction > 0
        return view_of(image, mask, None, scale=self._scale, margin_px=self._margin_px)

    def _look(self, view: ReferenceView) -> Look | None:
        """Look at an image by itself: nothing of those before it; None if it shows too little cloth."""
        if not view.is_high_enough:
            return None
        taught = self._taught or self._own(view)
        if taught is None:
            return None
        look = ReferenceModel(self._trunk, taught, self._levels).look(
            view.image, view.is_cloth, follow=False
        )
        if self._taught is None and look.cloth_px < LEAST_OWN_PX:
            return None
        return look if look.cloth_px else None

    def _own(self, view: ReferenceView) -> TaughtCloth | None:
        try:
            return TaughtCloth.fit([(view.image, view.is_cloth)], self._trunk)
        except ValueError:  # too little cloth
            return None


def scale_of(taught_mm: float | None, own_mm: float | None, article: str) -> float:
    """Return the pixels of the article's images per pixel of one's own.

    Raises:
        ConfigError: if only one of the scales is known, or they are too far apart.
    """
    if taught_mm is None and own_mm is None:
        return 1.0
    if taught_mm is None or own_mm is None:
        known, lacking = (article, "the images") if taught_mm else ("the images", article)
        raise ConfigError(
            f"The scale of {known} is known, and that of {lacking} is not.",
            f"Add --mm-per-px {taught_mm:g}." if taught_mm else "Leave --mm-per-px out.",
        )
    scale = own_mm / taught_mm
    if not 1 / FARTHEST_SCALE <= scale <= FARTHEST_SCALE:
        raise ConfigError(
            f"{article} was taught at {taught_mm:g} mm per pixel, and the images have {own_mm:g}.",
            "Correct --mm-per-px, or name an article file of this camera.",
        )
    return scale
