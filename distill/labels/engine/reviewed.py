"""Read the reviewed set: one split calibrates, another judges, the rest teaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.labels.engine.calibrating import ReviewedImage
from distill.labels.engine.catalogue import Catalogue, catalogue_of
from distill.labels.engine.deciding import KeptBack
from distill.labels.engine.region_lines import region_from
from distill.labels.engine.shards import ShardFolder
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet, Region
from distill.labels.sets.image_files import content_digest, decoded
from edge.core.errors import DatasetError

CALIBRATES, JUDGES = "val", "test"


@dataclass(frozen=True)
class ReviewedSet:
    """Hold what a person has looked at.

    Attributes:
        labels: split into splits.
    """

    labels: LabelSet

    def __post_init__(self) -> None:
        if not self.of_split(CALIBRATES):
            raise DatasetError(
                f"The reviewed set in {self.labels.root} has no split '{CALIBRATES}'.",
                "Split it: `loomsight labels split SET --out NEW --group 'REGEX'`.",
            )

    @property
    def judging_split(self) -> str:
        """The split that says how good annotators are: `test`, or `val` where there is none."""
        return JUDGES if self.of_split(JUDGES) else CALIBRATES

    def of_split(self, split: str) -> list[AnnotatedImage]:
        """Return the images of a split."""
        return [image for image in self.labels.images if image.split == split]

    def catalogue(self, shard_pictures: int) -> Catalogue:
        """List the images that annotators are asked about: those that calibrate and those that judge."""
        names = {image.file_name for split in (CALIBRATES, JUDGES) for image in self.of_split(split)}
        return catalogue_of(self.labels.root, names, shard_pictures)

    def kept_back(self) -> KeptBack:
        """Say which images must not come back as pseudo-labelled ones; damaged ones are skipped."""
        digests = set()
        for image in self.labels.images:
            try:
                digests.add(content_digest(decoded(self.labels.root / image.file_name)))
            except DatasetError:
                continue
        judging = (image for split in (CALIBRATES, JUDGES) for image in self.of_split(split))
        return KeptBack(frozenset(digests), frozenset(image.group for image in judging if image.group))

    def images(self, split: str, answers: Mapping[str, ShardFolder]) -> list[ReviewedImage]:
        """Put what annotators say beside what the person says; unreadable ones are left out."""
        said = {name: _by_image(folder) for name, folder in answers.items()}
        return [
            ReviewedImage(
                answers={name: found[image.file_name] for name, found in said.items()},
                ground_truth=true_regions(image.regions),
                size_hw_px=image.size_hw_px,
                group=image.group or image.file_name,
            )
            for image in self.of_split(split)
            if all(image.file_name in found for found in said.values())
        ]


def true_regions(regions: Sequence[Region]) -> tuple[Region, ...]:
    """Return the regions that are there: not those that a person rejected or has yet to judge."""
    return tuple(region for region in regions if region.review not in NOT_TRAINED_ON)


def _by_image(folder: ShardFolder) -> dict[str, tuple[Region, ...]]:
    return {
        record["image"]: tuple(region_from(values) for values in record["regions"])
        for record in folder.all_records()
        if "regions" in record
    }
