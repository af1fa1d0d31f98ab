"""Look at a strip with the reference model beside the detector: at its scale, on cloth alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from math import ceil, floor

import cv2
import numpy as np

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.grain import CELL_PX
from edge.cloth.mask import ClothMask, Mask
from edge.core.contract import Letterbox, ModelContract
from edge.core.errors import ContractError
from edge.core.geometry import view_scale
from edge.core.image import Image
from edge.reference.model import Look, ReferenceModel
from edge.reference.regions import no_regions
from edge.reference.taught import own_moments
from edge.reference.trunk import Trunk
from edge.reference.watch import FIT_STRIPS, UsualCloth

logger = logging.getLogger(__name__)

SAME_SCALE = 0.02
"""Scales that differ by less are one."""

LEAST_LINES = 32
"""A strip of fewer lines, at the scale of the reference, is too low for its features."""


SAME_WIDTH = 0.05
"""A view that is wider or narrower by more is another one."""

NO_SCALE_CURE = "Teach the article again with this camera; with --mm-per-px both know their scale."


@dataclass(frozen=True, slots=True)
class SeenView:
    """Hold the view of a camera at the scale of the reference.

    Attributes:
        mm_per_px: None if no scale is known.
        width_px: of the images.
    """

    mm_per_px: float | None
    width_px: int

    @classmethod
    def of(cls, view: ReferenceView, frame: Frame) -> SeenView:
        """Return what a strip of a frame shows."""
        own_mm = frame.mm_per_px_across
        return cls(own_mm / view.scale if own_mm else None, view.image.shape[1])


@dataclass(frozen=True, slots=True)
class TaughtView:
    """Hold the scale and view that an article was taught at.

    Attributes:
        article: its name.
        mm_per_px: scale of the images that the reference saw; None if none was known.
        width_px: of those images.
        is_per_area: whether false alarms were promised per square metre, whatever the width.
    """

    article: str
    mm_per_px: float | None
    width_px: int
    is_per_area: bool = False

    def check(self, seen: SeenView) -> None:
        """See that what was taught can be used at what a camera shows.

        Raises:
            ContractError: if that has another scale, or is wider: it would show more false alarms than were
                promised. Without a scale another width is most likely another scale.
        """
        if (seen.mm_per_px is None) != (self.mm_per_px is None) or (
            seen.mm_per_px and self.mm_per_px and abs(seen.mm_per_px / self.mm_per_px - 1) > SAME_SCALE
        ):
            raise ContractError(
                f"Article '{self.article}' was taught at {_scale_text(self.mm_per_px)}, and this "
                f"camera shows {_scale_text(seen.mm_per_px)}.",
                "Correct mm_per_px (--mm-per-px), or teach the article again with this camera.",
            )
        ratio = seen.width_px / self.width_px
        if abs(ratio - 1) <= SAME_WIDTH:
            return
        what = f"Article '{self.article}' was taught on images {self.width_px} px wide"
        if self.mm_per_px is None:
            raise ContractError(
                f"{what} of no known scale, and this camera's are {seen.width_px}: their yarns may have "
                "another size.",
                NO_SCALE_CURE,
            )
        if ratio > 1 and not self.is_per_area:
            raise ContractError(
                f"{what}, and this camera's are {seen.width_px}: wider cloth has more false alarms than "
                "were promised.",
                "Teach the article again with this camera, or on --false-alarms-per-m2.",
            )
        logger.warning("%s, and this camera's are %d: its promise is kept", what, seen.width_px)


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceView:
    """Hold the part of a strip that the reference model looks at.

    Attributes:
        image: (H, W) grey or (H, W, 3) BGR, uint8, at the scale of the reference.
        is_cloth: (H, W) bool; None where all is cloth.
        scale: pixels of this image per pixel of the strip.
    """

    image: Image
    is_cloth: Mask | None
    scale: float

    @property
    def is_high_enough(self) -> bool:
        """Whether features can be computed."""
        return bool(min(self.image.shape[:2]) >= LEAST_LINES)


def view_of(
    image: Image,
    mask: ClothMask | None,
    position: FramePosition | None,
    *,
    scale: float = 1.0,
    margin_px: float = 0.0,
) -> ReferenceView:
    """Bring a strip to the scale of the reference, with what of it is cloth.

    Args:
        image: with the lines that were put above it.
        mask: of that image; None to take all of it as cloth.
        position: of the frame: a camera that knows the selvedges knows where the cloth is.
        scale: of `ReferenceView`.
        margin_px: nearer to a selvedge, or to an edge of the cloth that is found, nothing is looked at.
    """
    is_cloth = _cloth_pixels(image.shape[:2], mask, position, margin_px)
    if abs(scale - 1) > SAME_SCALE:
        size_wh = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
        image = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        if is_cloth is not None:
            planes = cv2.resize(is_cloth.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST)
            is_cloth = np.asarray(planes > 0, np.bool_)
    else:
        scale = 1.0
    return ReferenceView(image, is_cloth, scale)


def strip_view(
    image: Image, mask: ClothMask | None, frame: Frame, contract: ModelContract, margin_mm: float
) -> ReferenceView:
    """Bring a strip of a frame to the scale that the detector sees it at; see `view_of`.

    Raises:
        ConfigError: if the scale of the frame is too far from that of the detector.
    """
    own_mm = frame.mm_per_px_across
    is_tiled = not isinstance(contract.geometry, Letterbox)
    scale = view_scale(contract, own_mm) if is_tiled else 1.0
    known_mm = own_mm or (contract.mm_per_px if is_tiled else None)
    margin_px = margin_mm / known_mm if known_mm else 0.0
    return view_of(image, mask, frame.position, scale=scale, margin_px=margin_px)


class SecondLook:
    """Look at the strips of a run with what an article was taught.

    Args:
        model: of the article, with its levels.
        contract: of the detector, for its scale.
        margin_mm: nearer to a selvedge, or to an edge of the cloth, nothing is looked at.
        taught: what it was taught at.
        usual: what was usual then.
    Attributes:
        seen: what the camera shows; None before the first strip.
    """

    def __init__(
        self,
        model: ReferenceModel,
        contract: ModelContract,
        margin_mm: float,
        taught: TaughtView,
        usual: UsualCloth,
    ) -> None:
        self._model = model
        self._contract = contract
        self._margin_mm = margin_mm
        self._taught = taught
        self.seen: SeenView | None = None
        self.usual = usual

    def look(self, image: Image, mask: ClothMask | None, frame: Frame) -> Look | None:
        """Look at a strip, with the lines that were put above it, in the order of the cloth.

        Returns:
            What the model says, regions in pixels of `image`; None if the strip is too low to be looked at.
        Raises:
            ContractError: if the first frame has another scale than was taught, or is wider: it would show
                more false alarms than were promised.
        """
        view = strip_view(image, mask, frame, self._contract, self._margin_mm)
        if self.seen is None:
            seen = SeenView.of(view, frame)
            self._taught.check(seen)
            self.seen = seen
        return look_at(self._model, view)

    def misfit(self, frame: Frame) -> ContractError | None:
        """Return why this camera shows cloth otherwise than it was taught; None if it does not."""
        view = strip_view(frame.image, None, frame, self._contract, self._margin_mm)
        try:
            self._taught.check(SeenView.of(view, frame))
        except ContractError as error:
            return error
        return None


class FirstLook:
    """Look at the first strips of cloth that nobody taught, to tell whether it is another one that was.

    Args:
        trunk: computes features.
        contract, margin_mm: as of `SecondLook`.
    Attributes:
        seen: as of `SecondLook`.
    """

    usual: UsualCloth | None = None

    def __init__(self, trunk: Trunk, contract: ModelContract, margin_mm: float) -> None:
        self._trunk = trunk
        self._contract = contract
        self._margin_mm = margin_mm
        self._looks = 0
        self.seen: SeenView | None = None

    def look(self, image: Image, mask: ClothMask | None, frame: Frame) -> Look | None:
        """Look at a strip; see `SecondLook.look`. None once there were enough."""
        if self._looks >= FIT_STRIPS:
            return None
        view = strip_view(image, mask, frame, self._contract, self._margin_mm)
        self.seen = self.seen or SeenView.of(view, frame)
        own = own_moments(view.image, view.is_cloth, self._trunk) if view.is_high_enough else None
        if own is None:
            return None
        self._looks += 1
        return Look(no_regions(), {}, 0, None, own=own)


Looker = SecondLook | FirstLook


def _scale_text(mm_per_px: float | None) -> str:
    return "no known scale" if mm_per_px is None else f"{mm_per_px:.4g} mm per pixel"


def look_at(model: ReferenceModel, view: ReferenceView) -> Look | None:
    """Look at a strip; its regions are in pixels of the strip. None if it is too low to be looked at."""
    if not view.is_high_enough:
        return None
    look = model.look(view.image, view.is_cloth)
    if view.scale == 1.0:
        return look
    boxes = (look.regions.boxes_xyxy_px / np.float32(view.scale)).astype(np.float32)
    return replace(look, regions=replace(look.regions, boxes_xyxy_px=boxes))


def _cloth_pixels(
    size_hw_px: tuple[int, ...], mask: ClothMask | None, position: FramePosition | None, margin_px: float
) -> Mask | None:
    """Return (H, W) bool, where cloth is; None if that is everywhere."""
    height, width = size_hw_px[0], size_hw_px[1]
    is_cloth = None
    if mask is not None and not mask.cells.all():
        cells = mask.without_edge(margin_px).cells
        whole = np.repeat(np.repeat(cells, CELL_PX, axis=0), CELL_PX, axis=1)
        is_cloth = np.ascontiguousarray(whole[:height, :width])
    left_px, right_px = _selvedges(position, width, margin_px)
    if left_px > 0 or right_px < width:
        is_cloth = np.ones((height, width), np.bool_) if is_cloth is None else is_cloth
        is_cloth[:, :left_px] = False
        is_cloth[:, right_px:] = False
    return is_cloth


def _selvedges(position: FramePosition | None, width: int, margin_px: float) -> tuple[int, int]:
    """Return the first and last-plus-one column between selvedges that are known."""
    left_px, right_px = 0, width
    if position is not None and position.left_selvedge_px is not None:
        left_px = min(max(0, ceil(position.left_selvedge_px + margin_px)), width)
    if position is not None and position.right_selvedge_px is not None:
        right_px = max(0, min(width, floor(position.right_selvedge_px - margin_px)))
    return left_px, right_px
