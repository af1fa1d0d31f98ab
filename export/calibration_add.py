"""Add pictures to a calibration folder: of a data set, or any; the folder is whole at every moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.checkpoint import LabelledPicture, load_dataset
from edge.cameras.folder import picture_files, read_picture
from edge.core.digest import file_digest
from edge.core.errors import NoImagesError, OutputError
from edge.core.files import write_whole
from edge.core.taxonomy import load_taxonomy
from export.calibration_set import (
    MANIFEST_NAME,
    CalibrationManifest,
    CalibrationPicture,
    check_shows_cloth,
    read_manifest,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that may be added.

    Attributes:
        classes: how many defects of each class it shows.
    """

    path: Path
    classes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Origin:
    """Say where pictures come from.

    Attributes:
        source: a camera, a mill, a simulator and its seed.
        licence: who may use them for what.
        mm_per_px: None if it is not known, or the data set says it.
    """

    source: str
    licence: str
    mm_per_px: float | None = None


def add_pictures(folder: Path, pictures: Path, most: int, origin: Origin) -> CalibrationManifest:
    """Copy pictures into a calibration folder and declare them.

    Args:
        folder: made if it is not there.
        pictures: a data set folder (its train split is taken, with its classes), a folder of pictures, or
            one picture.
        most: so many at most, spread over all, those with rare classes first.
    Returns:
        The manifest as it now stands.
    Raises:
        NoImagesError: if there is none, or the manifest that is there is damaged.
        ImageError: if one cannot be read or shows nothing.
        DatasetError: if the data set is damaged.
        OutputError: if the folder cannot be written.
    """
    candidates, mm_per_px = _candidates(pictures)
    if not candidates:
        raise NoImagesError(f"{pictures} holds no pictures.", "Name a folder of pictures, or a data set.")
    manifest = read_manifest(folder) if (folder / MANIFEST_NAME).exists() else CalibrationManifest()
    known = {one.sha256 for one in manifest.pictures}
    chosen = [one for one in spread(candidates, most) if file_digest(one.path) not in known]
    for one in chosen:
        check_shows_cloth(read_picture(one.path), one.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        added = [_copied(one, folder, origin, mm_per_px) for one in chosen]
    except OSError as error:
        raise OutputError(
            f"Cannot write {folder}: {error.strerror or error}.", "Free space or choose another place."
        ) from error
    extended = CalibrationManifest(pictures=(*manifest.pictures, *added))
    write_whole(folder / MANIFEST_NAME, extended.model_dump_json(indent=1).encode() + b"\n")
    return extended


def spread(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Choose pictures so that each class is seen about as often, and clean cloth, too.

    Args:
        most: how many to choose at most.
    """
    remaining = list(candidates)
    if len(remaining) > most * 8:  # enough to choose from; keeps the choice quick
        remaining = [remaining[int(i)] for i in np.linspace(0, len(remaining) - 1, most * 8)]
    chosen: list[Candidate] = []
    seen: Counter[str] = Counter()
    while remaining and len(chosen) < most:
        best = min(remaining, key=lambda one: min(seen[name] for name in one.classes or {"clean": 1}))
        remaining.remove(best)
        chosen.append(best)
        seen.update(best.classes or {"clean": 1})
    return chosen


def _candidates(pictures: Path) -> tuple[list[Candidate], float | None]:
    if (pictures / "data.yaml").is_file():
        taxonomy = load_taxonomy()
        names, data = taxonomy.classes, load_dataset(pictures, taxonomy)
        return [Candidate(one.path, _classes(one, names)) for one in data.train], data.mm_per_px
    files = [pictures] if pictures.is_file() else picture_files(pictures)
    return [Candidate(path, {}) for path in files], None


def _classes(picture: LabelledPicture, names: Sequence[str]) -> dict[str, int]:
    return dict(Counter(names[int(class_id)] for class_id in picture.class_ids))


def _copied(one: Candidate, folder: Path, origin: Origin, mm_per_px: float | None) -> CalibrationPicture:
    """Copy a picture under a name made of its digest, so that no two collide."""
    digest = file_digest(one.path)
    name = f"{digest[:16]}{one.path.suffix.lower()}"
    write_whole(folder / name, one.path.read_bytes())
    return CalibrationPicture(
        file=name,
        sha256=digest,
        source=origin.source,
        licence=origin.licence,
        classes=one.classes,
        mm_per_px=origin.mm_per_px or mm_per_px,
    )
