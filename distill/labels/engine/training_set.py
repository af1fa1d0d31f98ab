"""The data set folder that comes out: reviewed pictures in their splits, pseudo-labelled ones in train."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.labels import yolo_writing
from distill.labels.annotations import AnnotatedImage, LabelSet
from distill.labels.engine.region_lines import region_from
from distill.labels.engine.reviewed import ReviewedSet
from distill.labels.engine.shards import ShardFolder
from distill.labels.split import split
from edge.errors import DatasetError

PSEUDO = "pseudo"
"""Folder within a split where pseudo-labelled pictures lie, beside reviewed ones."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Hold a data set before it is written.

    Attributes:
        labels: all pictures, each with a split.
        sources: where the picture of each lies, by its name in the set.
    """

    labels: LabelSet
    sources: Mapping[str, Path]

    def write(self, target: Path, *, links: bool) -> dict[str, str]:
        """Write the data set folder.

        Args:
            target: a new folder.
            links: hard links in place of copies, where the file system has them.
        Returns:
            What could not be written, file -> one line.
        Raises:
            OutputError: if the folder cannot be written.
        """

        def bring(image: AnnotatedImage, path: Path) -> None:
            _bring(self.sources[image.file_name], path, links=links)

        return yolo_writing.write(self.labels, target, bring)


def training_set(
    decided: ShardFolder,
    pictures: Path,
    classes: tuple[str, ...],
    reviewed: ReviewedSet | None,
    shares: Mapping[str, float],
    mm_per_px: float | None,
) -> TrainingSet:
    """Put reviewed and pseudo-labelled pictures together.

    Args:
        decided: lines of `Deciding` (or `Outlining`).
        pictures: folder of the pseudo-labelled pictures.
        classes: of the taxonomy.
        reviewed: None shares pseudo-labelled pictures out by their groups; without groups all are train.
        shares: of the splits in that case.
        mm_per_px: scale of the pictures; None if not known.
    Raises:
        DatasetError: if there are fewer groups than splits.
    """
    images = [_image(record) for record in decided.all_records() if "regions" in record]
    if reviewed is None:
        labels = LabelSet(pictures, classes, tuple(images), mm_per_px=mm_per_px)
        if images and all(image.group for image in images):
            labels = split(labels, shares, seed=0)
        else:
            labels = replace(labels, images=tuple(replace(image, split="train") for image in images))
        return TrainingSet(labels, {image.file_name: pictures / image.file_name for image in images})
    own = [replace(image, file_name=f"{PSEUDO}/{image.file_name}", split="train") for image in images]
    sources = {new.file_name: pictures / old.file_name for new, old in zip(own, images, strict=True)}
    sources |= {image.file_name: reviewed.labels.root / image.file_name for image in reviewed.labels.images}
    labels = replace(reviewed.labels, images=(*reviewed.labels.images, *own))
    return TrainingSet(labels if labels.mm_per_px else replace(labels, mm_per_px=mm_per_px), sources)


def counts_of(decided: ShardFolder) -> dict[str, object]:
    """Count what became of pictures and boxes."""
    pictures: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    queued: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    rejected = 0
    for record in decided.all_records():
        if "left_out" in record:
            pictures["unreadable" if record["is_unreadable"] else "kept_back"] += 1
            continue
        regions = [region_from(values) for values in record["regions"]]
        pictures["labelled"] += 1
        pictures["without_defects"] += not regions
        accepted.update(region.label for region in regions if region.review != "queued")
        queued.update(region.label for region in regions if region.review == "queued")
        unknown.update(record["unknown"])
        rejected += record["rejected"]
    return {
        "pictures": dict(pictures),
        "accepted": dict(sorted(accepted.items())),
        "queued": dict(sorted(queued.items())),
        "rejected": rejected,
        "names_not_in_the_taxonomy": dict(unknown.most_common()),
    }


def _image(record: Mapping[str, Any]) -> AnnotatedImage:
    height, width = record["size_hw_px"]
    regions = tuple(region_from(values) for values in record["regions"])
    return AnnotatedImage(record["image"], (height, width), regions, record["group"])


def _bring(source: Path, target: Path, *, links: bool) -> None:
    try:
        if links:
            try:
                os.link(source, target)
                return
            except OSError:  # another file system, or one without links
                pass
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise DatasetError(f"{source} is no longer there.", "Restore it.") from error
