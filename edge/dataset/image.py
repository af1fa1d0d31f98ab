"""Draw one image of a data set: its view of the cloth and the defects in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge.core.image import Image
from edge.core.taxonomy import Taxonomy
from edge.dataset.options import DatasetOptions
from edge.simulator.ground_truth import BoxPx, PlantedDefect, SeenDefect
from edge.simulator.loom import Loom
from edge.simulator.options import MIN_CLOTH_PX, Look, LoomOptions

IMAGE_STREAM = 6
ARTICLE_STREAM = 7
SEED_BITS = 32
"""Image seeds lie above 2**32, so that no roll with a small seed looks like a training image."""

SELVEDGE_FRACTION = 0.3
"""Fraction of images that show a selvedge and the bed beside it."""

SEARCHED_PANELS = 6
SLIVER_PX = 6
"""A defect that reaches into the image by fewer rows than this is left unlabelled."""

LEAST_TEXTURE_LINES: dict[Look, int] = {"drawn": 401, "woven": 127}


@dataclass(frozen=True, slots=True, eq=False)
class DatasetImage:
    """Hold an image and what is wrong with the cloth in it.

    Attributes:
        index: number of the image in the data set.
        seed: seed of its cloth.
        image: (H, W) or (H, W, 3) BGR uint8.
        defects: those that are to be found.
        clean_image: name of the clean image that it was cut out of; None for one that was woven.
        corner_xy_px: upper left corner of the cut in that image.
    """

    index: int
    seed: int
    image: Image
    defects: tuple[SeenDefect, ...]
    clean_image: str | None = None
    corner_xy_px: tuple[int, int] = (0, 0)


def image_seed(dataset_seed: int, index: int) -> int:
    """Return the seed of an image's cloth; no two images of any data sets share one."""
    return ((dataset_seed + 1) << SEED_BITS) + index


def draw_image(options: DatasetOptions, taxonomy: Taxonomy, index: int) -> DatasetImage:
    """Draw one image of a data set; it depends on the seed and the index alone."""
    seed = image_seed(options.seed, index)
    rng = np.random.default_rng([seed, IMAGE_STREAM])
    with_defect = bool(rng.random() < options.defect_share)
    loom = Loom(_loom_options(options, seed, with_defect, rng), taxonomy)
    planted = loom.planted_in_panels(SEARCHED_PANELS)
    lines = options.size_hw[0]
    first_line = aim(planted, options.mm_per_px, lines, rng) if planted else int(rng.integers(100_000))
    image = loom.render(first_line, lines)
    seen = loom.seen_defects(first_line, lines)
    return DatasetImage(
        index, seed, image, tuple(item for item in seen if not is_sliver(item.box_xyxy_px, len(image)))
    )


def yolo_lines(image: DatasetImage, taxonomy: Taxonomy) -> str:
    """Return the labels of an image: one line ``class cx cy w h`` per defect, fractions of the size."""
    height, width = image.image.shape[:2]
    lines = []
    for seen in image.defects:
        x1, y1, x2, y2 = seen.box_xyxy_px
        numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width,
                   (y2 - y1) / height)  # fmt: skip
        class_id = taxonomy.class_id(seen.class_name)
        lines.append(f"{class_id} " + " ".join(f"{number:.6f}" for number in numbers) + "\n")
    return "".join(lines)


def coco_annotations(image: DatasetImage, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Return the defects of an image as COCO annotations, without their ids.

    The category id is the class id plus 1, as COCO counts from 1; ``category`` and ``difficulty``
    are this project's own fields.
    """
    return [
        {
            "image_id": image.index,
            "category_id": taxonomy.class_id(seen.class_name) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": int(seen.mask.sum()),
            "segmentation": run_lengths(seen, (image.image.shape[0], image.image.shape[1])),
            "iscrowd": 0,
            "category": seen.category,
            "difficulty": seen.difficulty,
        }
        for seen in image.defects
        for x1, y1, x2, y2 in (seen.box_xyxy_px,)
    ]


def run_lengths(seen: SeenDefect, size_hw: tuple[int, int]) -> dict[str, Any]:
    """Return a mask as COCO's uncompressed run lengths: column by column, zeros first."""
    x1, y1, x2, y2 = seen.box_xyxy_px
    whole = np.zeros(size_hw, dtype=np.uint8)
    whole[y1:y2, x1:x2] = seen.mask
    flat = np.concatenate(([0], whole.T.ravel(), [0]))
    changes = np.flatnonzero(np.diff(flat))
    edges = np.unique(np.concatenate((changes, [size_hw[0] * size_hw[1]])))
    counts = np.diff(np.concatenate(([0], edges)))
    return {"size": list(size_hw), "counts": [int(count) for count in counts]}


def encode_png(image: Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    _, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return encoded.tobytes()


def _loom_options(
    options: DatasetOptions, seed: int, with_defect: bool, rng: np.random.Generator
) -> LoomOptions:
    """Choose the cloth and which part of its width the image shows."""
    height, width = options.size_hw
    out_of_view_mm = -rng.uniform(20.0, 800.0, 2)
    if rng.random() < SELVEDGE_FRACTION:
        side = int(rng.integers(2))
        most_mm = min(0.3 * width, width - MIN_CLOTH_PX - 1) * options.mm_per_px
        out_of_view_mm[side] = rng.uniform(min(2.0, most_mm), most_mm)
    look = options.look_of(seed)
    return LoomOptions(
        seed=seed,
        width_px=width,
        mm_per_px=options.mm_per_px,
        look=look,
        **_article(options, seed),
        colour=options.colour,
        categories=options.categories,
        difficulties=options.difficulties,
        defects_per_m=options.defects_per_m if with_defect else 0.0,
        bed_left_mm=float(out_of_view_mm[0]),
        bed_right_mm=float(out_of_view_mm[1]),
        texture_lines=max(LEAST_TEXTURE_LINES[look], min(height + 1, 4096)),
    )


def _article(options: DatasetOptions, seed: int) -> dict[str, Any]:
    """Give the cloth that the data set asks for, to its fraction of the images; the others are free."""
    if np.random.default_rng([seed, ARTICLE_STREAM]).random() >= options.article_share:
        return {}
    return options.model_dump(include={"weave", "pattern", "warp_pitch_px", "weft_pitch_px", "mean_grey"})


def aim(planted: Sequence[PlantedDefect], mm_per_px: float, lines: int, rng: np.random.Generator) -> int:
    """Choose the first line of the image so that one of these defects lies in it."""
    aimed = planted[int(rng.integers(len(planted)))]
    start, end = (round(place_m * 1000.0 / mm_per_px) for place_m in aimed.along_m)
    if end - start <= 0.8 * lines:
        low, high = end - lines, start
    else:
        low, high = start - lines // 2, end - lines // 2
    return max(0, int(rng.integers(low, high + 1)))


def is_sliver(box_xyxy_px: BoxPx, lines: int) -> bool:
    """Say whether only the rim of a defect reaches over the upper or lower edge of the image."""
    _, y1, _, y2 = box_xyxy_px
    return (y1 == 0 or y2 == lines) and y2 - y1 < SLIVER_PX
