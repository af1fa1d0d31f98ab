"""Inspect images by themselves, as `edge-run` inspects those of a folder.

Who counts what a detector reports counts this: off the cloth and along its edge nothing is reported, and a
defect that is seen under two names is one report.
"""

from __future__ import annotations

from edge.cloth.finder import cloth_of_single_image
from edge.cloth.in_frame import one_each
from edge.cloth.mask import within
from edge.config.edge import SELVEDGE_MARGIN_MM
from edge.core.detections import Detections
from edge.core.image import Image
from edge.inference.inspector import InspectionResult, Inspector


def inspect_single(inspector: Inspector, image: Image, mm_per_px: float | None = None) -> InspectionResult:
    """Find the defects of an image that stands alone.

    Args:
        inspector: finds what the detector sees.
        image: (H, W) grey or (H, W, 3) BGR, uint8, of any size.
        mm_per_px: scale on the cloth; None: that of the inspector's contract.
    Returns:
        In pixels of the image, by falling score; near misses and what is weak are not merged over classes.
    """
    result = inspector.find(inspector.prepare(image, mm_per_px))
    parts = (result.defects, result.near_misses, *(() if result.weak is None else (result.weak,)))
    defects, near_misses, *weak = on_single_cloth(inspector, image, parts, mm_per_px)
    size_hw = image.shape[0], image.shape[1]
    return InspectionResult(one_each(defects, size_hw), near_misses, weak[0] if weak else None)


def on_single_cloth(
    inspector: Inspector, image: Image, found: tuple[Detections, ...], mm_per_px: float | None = None
) -> tuple[Detections, ...]:
    """Leave out what lies off the cloth of an image that stands alone, or along its edge.

    Args:
        inspector: that found it.
        image, mm_per_px: as of `inspect_single`.
        found: in pixels of the image.
    """
    if not any(map(len, found)):
        return found
    mask, scale_mm = cloth_of_single_image(image), inspector.scale_of(mm_per_px)
    margin_px = SELVEDGE_MARGIN_MM / scale_mm if scale_mm else 0.0
    return tuple(within(part, mask, margin_px) for part in found)
