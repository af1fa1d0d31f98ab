"""Make the training examples of a mask decoder: windows of images, and the true masks in them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.labels.sam.masks import TrueMask, from_outlines, from_run_lengths
from distill.labels.sam.windows import window_of
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet, PolygonXy
from distill.labels.sets.attributes import polygon_from
from distill.labels.sets.documents import read_json
from distill.labels.sets.problems import Problems
from edge.core.errors import DatasetError
from edge.core.geometry import View

Masks = Mapping[str, Sequence[TrueMask]]
"""File name -> what is to be seen there."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskExample:
    """Teach the things of one window of an image.

    Attributes:
        file: the image.
        view: the window.
        masks: of the things, in image pixels.
    """

    file: Path
    view: View
    masks: tuple[TrueMask, ...]


def examples_of(
    label_set: LabelSet, masks: Masks, split: str, window_px: int | None
) -> tuple[MaskExample, ...]:
    """Make the examples of a split, in the order of its images.

    Raises:
        DatasetError: if no image of it has a mask.
    """
    examples = []
    for image in label_set.images:
        by_view: dict[View, list[TrueMask]] = defaultdict(list)
        for mask in masks.get(image.file_name, ()) if image.split == split else ():
            by_view[window_of(mask.box_xyxy_px, image.size_hw_px, window_px)].append(mask)
        examples += [
            MaskExample(label_set.root / image.file_name, view, tuple(seen))
            for view, seen in by_view.items()
        ]
    if not examples:
        raise DatasetError(
            f"The set in {label_set.root} has no outlines in the split '{split}'.",
            "Split it with `loomsight labels split`, and draw outlines in some images.",
        )
    return tuple(examples)


def masks_of_labels(label_set: LabelSet, source: Path) -> tuple[dict[str, list[TrueMask]], dict[str, str]]:
    """Collect the true masks of a set: run lengths and pieces of COCO where there are any, else outlines.

    What was rejected, or waits for a person, is left out.

    Args:
        label_set: as it was read.
        source: where it was read from.
    Returns:
        File name -> masks, and file -> one line for what could not be used.
    """
    problems = Problems()
    masks: dict[str, list[TrueMask]] = {}
    sizes = {image.file_name: image.size_hw_px for image in label_set.images}
    for file in _coco_files(source):
        masks |= _masks_in_coco(read_json(file), sizes, file, problems)
    for image in label_set.images:
        if image.file_name not in masks and (drawn := _drawn(image)):
            masks[image.file_name] = drawn
    return masks, problems.by_file()


def digest_of(examples: Iterable[MaskExample]) -> str:
    """Tell sets of examples apart."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.file.name} {example.view}".encode())
        for mask in example.masks:
            digest.update(f"{mask.left_px} {mask.top_px} {mask.mask.shape}".encode())
            digest.update(mask.mask.tobytes())
    return digest.hexdigest()


def _drawn(image: AnnotatedImage) -> list[TrueMask]:
    outlines = [
        region.polygon_xy_px
        for region in image.regions
        if region.polygon_xy_px and region.review not in NOT_TRAINED_ON
    ]
    return [mask for outline in outlines if (mask := from_outlines([outline], image.size_hw_px))]


def _coco_files(source: Path) -> list[Path]:
    folder = source.parent if source.name == "data.yaml" else source
    if folder.is_dir():
        return sorted((folder / "annotations").glob("*.json"))
    return [source] if source.suffix.lower() == ".json" else []


def _masks_in_coco(
    content: Any, sizes: Mapping[str, tuple[int, int]], file: Path, problems: Problems
) -> dict[str, list[TrueMask]]:
    """Read the masks of a COCO file; of another kind of file nothing."""
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        return {}
    names = {
        str(row.get("id")): str(row.get("file_name") or "").replace("\\", "/") for row in content["images"]
    }
    masks: dict[str, list[TrueMask]] = defaultdict(list)
    for row in content.get("annotations") or ():
        name = names.get(str(row.get("image_id")), "")
        if name not in sizes or row.get("review") in NOT_TRAINED_ON or not row.get("segmentation"):
            continue
        try:
            mask = _mask_of(row["segmentation"], sizes[name])
        except (ValueError, TypeError) as error:
            problems.add(f"{file.name}: annotation {row.get('id')}", str(error))
            continue
        if mask is not None:
            masks[name].append(mask)
    return dict(masks)


def _mask_of(segmentation: Any, size_hw_px: tuple[int, int]) -> TrueMask | None:
    """Read COCO's two ways to say which pixels.

    Raises:
        ValueError: if they cannot be read.
    """
    if isinstance(segmentation, dict):
        if not isinstance(segmentation.get("counts"), list):
            raise ValueError("compressed run lengths; write them uncompressed")
        return from_run_lengths(segmentation["counts"], size_hw_px)
    pieces: list[PolygonXy] = [piece for one in segmentation if (piece := polygon_from(one))]
    return from_outlines(pieces, size_hw_px)
