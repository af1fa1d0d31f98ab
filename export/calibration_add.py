"""Add images to a calibration folder: of a data set, or any; the folder is whole at every moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.checkpoint import LabelledImage, load_dataset
from edge.cameras.folder import image_files
from edge.core.errors import NoImagesError, OutputError
from edge.core.files import file_digest, write_whole
from edge.core.image_file import read_image
from edge.core.taxonomy import load_taxonomy
from export.calibration_set import (
    MANIFEST_NAME,
    CalibrationImage,
    CalibrationManifest,
    check_shows_cloth,
    read_manifest,
)


@dataclass(frozen=True, slots=True)
class CalibrationCandidate:
    """Hold an image that may be added.

    Attributes:
        classes: how many defects of each class it shows.
    """

    path: Path
    classes: dict[str, int]


@dataclass(frozen=True, slots=True)
class ImageOrigin:
    """Say where images come from.

    Attributes:
        source: a camera, a mill, a simulator and its seed.
        licence: who may use them for what.
        mm_per_px: None if it is not known, or the data set says it.
    """

    source: str
    licence: str
    mm_per_px: float | None = None


def add_images(folder: Path, images: Path, most: int, origin: ImageOrigin) -> CalibrationManifest:
    """Copy images into a calibration folder and declare them.

    Args:
        folder: made if it is not there.
        images: a data set folder (its train split is taken, with its classes), a folder of images, or
            one image.
        most: so many at most, spread over all, those with rare classes first.
    Returns:
        The manifest as it now stands.
    Raises:
        NoImagesError: if there is none, or the manifest that is there is damaged.
        ImageError: if one cannot be read or shows nothing.
        DatasetError: if the data set is damaged.
        OutputError: if the folder cannot be written.
    """
    candidates, mm_per_px = _candidates(images)
    if not candidates:
        raise NoImagesError(f"{images} holds no images.", "Name a folder of images, or a data set.")
    manifest = read_manifest(folder) if (folder / MANIFEST_NAME).exists() else CalibrationManifest()
    known = {one.sha256 for one in manifest.images}
    chosen = [one for one in spread(candidates, most) if file_digest(one.path) not in known]
    for one in chosen:
        check_shows_cloth(read_image(one.path), one.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        added = [_copied(one, folder, origin, mm_per_px) for one in chosen]
    except OSError as error:
        raise OutputError(
            f"Cannot write {folder}: {error.strerror or error}.", "Free space or choose another place."
        ) from error
    extended = CalibrationManifest(images=(*manifest.images, *added))
    write_whole(folder / MANIFEST_NAME, extended.model_dump_json(indent=1).encode() + b"\n")
    return extended


def spread(candidates: Sequence[CalibrationCandidate], most: int) -> list[CalibrationCandidate]:
    """Choose images so that each class is seen about as often, and clean cloth, too.

    Args:
        most: how many to choose at most.
    """
    remaining = list(candidates)
    if len(remaining) > most * 8:  # enough to choose from; keeps the choice quick
        remaining = [remaining[int(i)] for i in np.linspace(0, len(remaining) - 1, most * 8)]
    chosen: list[CalibrationCandidate] = []
    seen: Counter[str] = Counter()
    while remaining and len(chosen) < most:
        best = min(remaining, key=lambda one: min(seen[name] for name in one.classes or {"clean": 1}))
        remaining.remove(best)
        chosen.append(best)
        seen.update(best.classes or {"clean": 1})
    return chosen


def _candidates(images: Path) -> tuple[list[CalibrationCandidate], float | None]:
    if (images / "data.yaml").is_file():
        taxonomy = load_taxonomy()
        names, data = taxonomy.classes, load_dataset(images, taxonomy)
        return [CalibrationCandidate(one.path, _classes(one, names)) for one in data.train], data.mm_per_px
    files = [images] if images.is_file() else image_files(images)
    return [CalibrationCandidate(path, {}) for path in files], None


def _classes(image: LabelledImage, names: Sequence[str]) -> dict[str, int]:
    return dict(Counter(names[int(class_id)] for class_id in image.class_ids))


def _copied(
    one: CalibrationCandidate, folder: Path, origin: ImageOrigin, mm_per_px: float | None
) -> CalibrationImage:
    """Copy an image under a name made of its digest, so that no two collide."""
    digest = file_digest(one.path)
    name = f"{digest[:16]}{one.path.suffix.lower()}"
    write_whole(folder / name, one.path.read_bytes())
    return CalibrationImage(
        file=name,
        sha256=digest,
        source=origin.source,
        licence=origin.licence,
        classes=one.classes,
        mm_per_px=origin.mm_per_px or mm_per_px,
    )
