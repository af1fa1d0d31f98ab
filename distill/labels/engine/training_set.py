"""Write the resulting data set: reviewed images in their splits, pseudo-labelled ones in train."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from distill.labels.engine.region_lines import region_from
from distill.labels.engine.reviewed import ReviewedSet
from distill.labels.engine.shards import ShardFolder
from distill.labels.formats import yolo_writing
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, WrittenLabels
from distill.labels.sets.split import split
from edge.core.errors import DatasetError

PSEUDO = "pseudo"
"""Before the names of pseudo-labelled images beside reviewed ones."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Hold a data set before it is written.

    Attributes:
        labels: all images, each with a split.
        sources: where the image of each lies, by its name in the set.
        pseudo: of each pseudo-labelled image its name in the set -> its name in the catalogue.
    """

    labels: LabelSet
    sources: Mapping[str, Path]
    pseudo: Mapping[str, str]

    def write(self, target: Path, *, links: bool) -> WrittenLabels:
        """Write the data set folder.

        Args:
            target: a new folder.
            links: hard links in place of copies, where the file system has them.
        Raises:
            OutputError: if the folder cannot be written.
        """

        def bring(image: AnnotatedImage, path: Path) -> None:
            _bring(self.sources[image.file_name], path, links=links)

        return yolo_writing.write(self.labels, target, bring)

    def missing_in(self, target: Path) -> frozenset[str]:
        """Return the pseudo-labelled images, as the catalogue names them, that a data set lacks."""
        images = self.labels.images
        return frozenset(
            self.pseudo[image.file_name]
            for image, name in zip(images, yolo_writing.names_in_set(images), strict=True)
            if image.file_name in self.pseudo and not (target / name).is_file()
        )


def training_set(
    decided: ShardFolder,
    image_folder: Path,
    classes: tuple[str, ...],
    reviewed: ReviewedSet | None,
    fractions: Mapping[str, float],
    mm_per_px: float | None,
) -> TrainingSet:
    """Put reviewed and pseudo-labelled images together.

    Args:
        decided: lines of `Deciding` (or `Outlining`).
        image_folder: folder of the pseudo-labelled images.
        classes: of the taxonomy.
        reviewed: None split pseudo-labelled images by their groups; without groups all are train.
        fractions: of the splits in that case.
        mm_per_px: scale of the images; None if not known.
    Raises:
        DatasetError: if there are fewer groups than splits.
    """
    images = [_image(record) for record in decided.all_records() if "regions" in record]
    if reviewed is None:
        labels = LabelSet(image_folder, classes, tuple(images), mm_per_px=mm_per_px)
        if images and all(image.group for image in images):
            labels = split(labels, fractions, seed=0)
        else:
            labels = replace(labels, images=tuple(replace(image, split="train") for image in images))
        names = {image.file_name: image.file_name for image in images}
        return TrainingSet(labels, {name: image_folder / name for name in names}, names)
    names = {pseudo_name(image.file_name): image.file_name for image in images}
    own = [replace(image, file_name=pseudo_name(image.file_name), split="train") for image in images]
    sources = {name: image_folder / found for name, found in names.items()}
    sources |= {image.file_name: reviewed.labels.root / image.file_name for image in reviewed.labels.images}
    labels = replace(reviewed.labels, images=(*reviewed.labels.images, *own))
    return TrainingSet(labels if labels.mm_per_px else replace(labels, mm_per_px=mm_per_px), sources, names)


def pseudo_name(name: str) -> str:
    """Return what a pseudo-labelled image is called beside reviewed ones: `b.png` is `pseudo-b.png`."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{PSEUDO}-{path.name}"))


def check_names(catalogue: Iterable[str], reviewed: ReviewedSet | None) -> None:
    """See that the images of a job can stand in one data set, before annotators are asked for hours.

    Which split an image goes to may not be known yet, so two that would share a label file in any are
    refused.

    Raises:
        DatasetError: if two images would share a label file, or have one name.
    """
    kept = [] if reviewed is None else list(reviewed.labels.images)
    names = [name if reviewed is None else pseudo_name(name) for name in catalogue]
    taken = {image.file_name for image in kept}.intersection(names)
    if taken:  # it is by this name that the image of each is found
        raise DatasetError(
            f"The reviewed {min(taken)} has the name that a pseudo-labelled image gets.", "Rename it."
        )
    yolo_writing.names_in_set([*kept, *(AnnotatedImage(name, (1, 1), split="train") for name in names)])


def counts_of(decided: ShardFolder, missing: frozenset[str] = frozenset()) -> dict[str, object]:
    """Count what became of images and boxes; boxes are those in the data set.

    Args:
        decided: lines of `Deciding` (or `Outlining`).
        missing: images that were decided on and are not in the data set.
    """
    counts: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    queued: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    rejected = 0
    for record in decided.all_records():
        if "left_out" in record:
            counts["unreadable" if record["is_unreadable"] else "kept_back"] += 1
            continue
        if record["image"] in missing:
            counts["not_written"] += 1
            continue
        regions = [region_from(values) for values in record["regions"]]
        counts["labelled"] += 1
        counts["without_defects"] += not regions
        accepted.update(region.label for region in regions if region.review != "queued")
        queued.update(region.label for region in regions if region.review == "queued")
        unknown.update(record["unknown"])
        rejected += record["rejected"]
    return {
        "images": dict(counts),
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
