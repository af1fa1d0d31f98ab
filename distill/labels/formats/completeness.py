"""Set images apart of which something could not be read: they would teach that there is no defect."""

from __future__ import annotations

from dataclasses import replace

from distill.labels.formats.shapes import ordered
from distill.labels.formats.yolo_rows import LEAST_SIDE_PX, trainable_box
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, BoxXyxy, LabelSet, Region
from distill.labels.sets.problems import Problems

OUTSIDE_TOLERANCE_PX = 0.5
"""What other programs' rounding moves a box over the edge."""

SWAPPED = "its corners were swapped, and are put in order"


def only_complete(label_set: LabelSet) -> LabelSet:
    """Leave out each image with an object that was not read, or with a box of which nothing is inside.

    Returns:
        The set, with those images in `left_out`.
    """
    problems = Problems(label_set.problems, label_set.notes)
    images: list[AnnotatedImage] = []
    left_out = [*label_set.left_out]
    for image in label_set.images:
        checked = _checked(image, problems)
        (left_out if checked.unread else images).append(checked)
    return replace(
        label_set,
        images=tuple(images),
        left_out=tuple(left_out),
        problems=problems.by_file(),
        notes=problems.notes_by_file(),
    )


def _checked(image: AnnotatedImage, problems: Problems) -> AnnotatedImage:
    """Put corners in order, note boxes that reach over the edge, count those of which nothing is inside."""
    if all(_is_inside(region.box_xyxy_px, image.size_hw_px) for region in image.regions):
        return image
    regions: list[Region] = []
    strays = 0
    for number, region in enumerate(image.regions, start=1):
        where = f"box {number}, {region.label}"
        box = ordered(region.box_xyxy_px)
        if box != region.box_xyxy_px:
            problems.add(image.file_name, f"{where}: {SWAPPED}")
        regions.append(replace(region, box_xyxy_px=box))
        if region.review in NOT_TRAINED_ON:
            continue
        if trainable_box(region, image.size_hw_px) is None:
            corners = ", ".join(f"{corner:g}" for corner in box)
            fault = "nothing of it is inside" if _has_area(box) else "has no area"
            problems.add(image.file_name, f"{where}, at {corners}: {fault}")
            strays += 1
        elif _reach_px(box, image.size_hw_px) > OUTSIDE_TOLERANCE_PX:
            problems.note(image.file_name, f"{where}: reaches over the edge, and is cut there")
    return replace(image, regions=tuple(regions), unread=image.unread + strays)


def _is_inside(box: BoxXyxy, size_hw_px: tuple[int, int]) -> bool:
    """Tell whether a box has its corners in order, an area, and lies in the image."""
    height, width = size_hw_px
    x1, y1, x2, y2 = box
    return 0 <= x1 <= x2 - LEAST_SIDE_PX and 0 <= y1 <= y2 - LEAST_SIDE_PX and x2 <= width and y2 <= height


def _has_area(box: BoxXyxy) -> bool:
    """Tell whether a box with ordered corners has an area."""
    x1, y1, x2, y2 = box
    return min(x2 - x1, y2 - y1) >= LEAST_SIDE_PX


def _reach_px(box: BoxXyxy, size_hw_px: tuple[int, int]) -> float:
    """Return how far a box with ordered corners reaches over the edge."""
    height, width = size_hw_px
    x1, y1, x2, y2 = box
    return max(-x1, -y1, x2 - width, y2 - height)
