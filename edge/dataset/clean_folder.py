"""Scan a folder of clean images: which of them defects can be planted in, and their yarn pitches."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.cameras.folder import list_images
from edge.core.errors import ImageError, NoImagesError
from edge.core.files import file_digest
from edge.core.image_file import read_image
from edge.dataset.clean_cloth import grey_of, plantable
from edge.dataset.options import SPLITS, DatasetOptions
from edge.dataset.pitch import YarnPitch, measure_pitch
from edge.simulator.options import MIN_CLOTH_PX

logger = logging.getLogger(__name__)

USUAL_PITCH_PX = 5.0
"""Where no yarns are seen in any image: the middle of what is woven (`edge.simulator.style`)."""

UNREADABLE, TOO_SMALL, NO_CLOTH = "unreadable", "smaller than size_hw", "without cloth"
"""Why an image is left out."""


@dataclass(frozen=True, slots=True)
class CleanImage:
    """Hold an image that defects can be planted in.

    Attributes:
        warp_pitch_px, weft_pitch_px: distances between yarns.
    """

    path: Path
    warp_pitch_px: float
    weft_pitch_px: float


@dataclass(frozen=True, slots=True)
class CleanFolder:
    """List the usable images of a folder of clean images.

    Attributes:
        images: in the order of their names.
        left_out: reason -> how many images.
        without_pitch: images of which the pitch of warp or weft is not their own.
        digest: of the names and contents of all image files.
    """

    images: tuple[CleanImage, ...]
    left_out: dict[str, int]
    without_pitch: int
    digest: str

    def described(self) -> dict[str, object]:
        """Return what `simulation.json` says of it."""
        return {
            "images": len(self.images),
            "left_out": self.left_out,
            "without_pitch": self.without_pitch,
            "warp_pitch_px": round(float(np.median([one.warp_pitch_px for one in self.images])), 2),
            "weft_pitch_px": round(float(np.median([one.weft_pitch_px for one in self.images])), 2),
            "sha256": self.digest,
        }

    def image_for(self, options: DatasetOptions, index: int) -> CleanImage:
        """Return the clean image that an image of the data set is cut from.

        Each is used as often as the others. Splits share none, unless there are too few for that.
        """
        splits = [split for split in SPLITS if options.split.get(split, 0.0) > 0]
        indices = {split: _range_of(options, split) for split in splits}
        split = options.split_of(index)
        mine = self._images_of(splits, [options.split[name] for name in splits])[split]
        first, count = indices[split]
        return mine[(index - first) * len(mine) // max(1, count)]

    def _images_of(
        self, splits: Sequence[str], fractions: Sequence[float]
    ) -> dict[str, tuple[CleanImage, ...]]:
        """Split the images: every so many-th, so that each split sees all of a long recording."""
        if len(self.images) < len(splits):
            return dict.fromkeys(splits, self.images)
        held: dict[str, list[CleanImage]] = {split: [] for split in splits}
        for number, image in enumerate(self.images, 1):
            lacking = [
                fraction * number - len(held[split])
                for split, fraction in zip(splits, fractions, strict=True)
            ]
            held[splits[int(np.argmax(lacking))]].append(image)
        for split in splits:
            if not held[split]:
                held[split].append(max(held.values(), key=len).pop())
        return {split: tuple(images) for split, images in held.items()}


def folder_digest(folder: Path) -> str:
    """Return the sha256 over names and contents of the image files of a folder.

    Raises:
        CameraNotFoundError, NoImagesError: as `list_images`.
    """
    return _digest_of(list_images(folder))


def _digest_of(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{_content(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def survey(folder: Path, options: DatasetOptions) -> CleanFolder:
    """Look at each image of a folder once; what is left out is counted and said.

    Raises:
        CameraNotFoundError, NoImagesError: as `list_images`.
        NoImagesError: if no image is left.
    """
    left_out: Counter[str] = Counter()
    measured: list[tuple[Path, YarnPitch]] = []
    paths = list_images(folder)
    for path in paths:
        reason, pitch = _looked_at(path, options)
        if pitch is None:
            left_out[reason] += 1
        else:
            measured.append((path, pitch))
    counted = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    if not measured:
        raise NoImagesError(
            f"Defects can be planted in none of the {len(paths)} images of {folder}: {counted}.",
            f"Give images of cloth of at least {_size(options)} px, or a smaller --size-hw.",
        )
    if counted:
        logger.warning("%s: %d images left out: %s", folder, left_out.total(), counted)
    images, without_pitch = _with_pitch(measured, options)
    if without_pitch:
        logger.warning(
            "%s: no regular yarns seen in %d of %d images, the pitch of the others or %.1f px taken; "
            "--warp-pitch-px and --weft-pitch-px set it",
            folder, without_pitch, len(images), USUAL_PITCH_PX,
        )  # fmt: skip
    return CleanFolder(images, dict(left_out), without_pitch, _digest_of(paths))


def _looked_at(path: Path, options: DatasetOptions) -> tuple[str, YarnPitch | None]:
    """Return the pitch of an image, or why it is left out."""
    try:
        image = read_image(path)
    except ImageError as error:
        logger.warning("%s", error.problem)
        return UNREADABLE, None
    if any(side < asked for side, asked in zip(image.shape, options.size_hw, strict=False)):
        return TOO_SMALL, None
    is_cloth = plantable(image, options.mm_per_px)
    if min(is_cloth.any(axis=0).sum(), is_cloth.any(axis=1).sum()) < MIN_CLOTH_PX:
        return NO_CLOTH, None
    return "", measure_pitch(grey_of(image), is_cloth)


def _with_pitch(
    measured: list[tuple[Path, YarnPitch]], options: DatasetOptions
) -> tuple[tuple[CleanImage, ...], int]:
    """Give each image its pitches: as set, else its own, else the usual one of the others."""
    warps = [pitch.warp_px for _, pitch in measured if pitch.warp_px]
    wefts = [pitch.weft_px for _, pitch in measured if pitch.weft_px]
    usual_warp = float(np.median(warps or wefts or [USUAL_PITCH_PX]))
    usual_weft = float(np.median(wefts or warps or [USUAL_PITCH_PX]))
    images = tuple(
        CleanImage(
            path,
            options.warp_pitch_px or pitch.warp_px or usual_warp,
            options.weft_pitch_px or pitch.weft_px or usual_weft,
        )
        for path, pitch in measured
    )
    lacking = [
        (options.warp_pitch_px or pitch.warp_px) is None or (options.weft_pitch_px or pitch.weft_px) is None
        for _, pitch in measured
    ]
    return images, sum(lacking)


def _range_of(options: DatasetOptions, split: str) -> tuple[int, int]:
    """Return the first index of a split and how many it has."""
    passed = 0.0
    for name in SPLITS:
        fraction = options.split.get(name, 0.0)
        if name == split:
            first = round(passed * options.images)
            return first, round((passed + fraction) * options.images) - first
        passed += fraction
    raise ValueError(f"no such split: {split}")


def _size(options: DatasetOptions) -> str:
    return " x ".join(map(str, options.size_hw))


def _content(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return "unreadable"
