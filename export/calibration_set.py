"""Read and check the folder of images that INT8 ranges are found on, and its manifest.

calib_images/manifest.json   digest, source, licence and classes of every image
calib_images/*.png
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.cameras.folder import image_files
from edge.core.contract import ModelContract
from edge.core.errors import ImageError, NoImagesError
from edge.core.files import file_digest
from edge.core.image import Image
from edge.core.image_file import read_image
from edge.core.outside_files import LABELS_BYTES, read_bytes
from export.samples import tiles_in_turn

MANIFEST_NAME = "manifest.json"
LEAST_TILES = 16
MOST_TILES = 256
"""Ranges of a YOLOv5n settle by about a hundred tiles; more cost time alone."""

LEAST_DEVIATION = 2.0
"""Grey levels. Below that an image shows no cloth: a black one has 0, a dark camera's noise about 1."""


class CalibrationImage(BaseModel):
    """Vouch for one image.

    Attributes:
        source: where it comes from: a camera, a mill, a simulator and its seed.
        licence: who may use it for what.
        classes: how many defects of each class it shows; empty for clean cloth.
        mm_per_px: None if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    source: Annotated[str, Field(min_length=1)]
    licence: Annotated[str, Field(min_length=1)]
    classes: dict[str, Annotated[int, Field(ge=1)]] = {}
    mm_per_px: Annotated[float, Field(gt=0)] | None = None
    added_utc: str = Field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))


class CalibrationManifest(BaseModel):
    """List the images of a calibration folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Annotated[int, Field(ge=1, le=1)] = 1
    images: tuple[CalibrationImage, ...] = ()

    @property
    def class_coverage(self) -> dict[str, int]:
        """Defects of each class over all images; clean images count under `clean`."""
        counts: Counter[str] = Counter()
        for entry in self.images:
            counts.update(entry.classes or {"clean": 1})
        return dict(sorted(counts.items()))


def shipped_calibration() -> Path:
    """Return the folder of simulated cloth that comes with the project."""
    installed = Path(__file__).parent / "calib_images"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "calib_images"


def read_manifest(folder: Path) -> CalibrationManifest:
    """Read the manifest of a calibration folder.

    Raises:
        NoImagesError: if it is missing or damaged.
    """
    file = folder / MANIFEST_NAME
    cure = "Name a calibration folder, or make one with `loomsight calib add`."
    try:
        return CalibrationManifest.model_validate_json(read_bytes(file, LABELS_BYTES, NoImagesError, cure))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST_NAME
        raise NoImagesError(
            f"{file} is not valid: {where}: {first['msg']}.", "Make it again with `loomsight calib add`."
        ) from error


def check_calibration(folder: Path) -> CalibrationManifest:
    """See that every image a manifest declares is there, unchanged, readable and of cloth, and no other.

    Raises:
        NoImagesError: if the manifest is missing, empty or damaged, or images lie beside it undeclared.
        ImageError: if a declared image is missing, was changed, cannot be read or shows nothing.
    """
    manifest = read_manifest(folder)
    if not manifest.images:
        raise NoImagesError(f"{folder} declares no image.", "Add some with `loomsight calib add`.")
    undeclared = {path.name for path in image_files(folder)} - {one.file for one in manifest.images}
    if undeclared:
        raise NoImagesError(
            f"{folder} holds {min(undeclared)}, which its manifest does not declare.",
            "Add it with `loomsight calib add`, or remove it.",
        )
    for entry in manifest.images:
        _check_image(folder, entry)
    return manifest


def check_shows_cloth(image: Image, path: Path) -> None:
    """Refuse an image without any structure, such as one of a covered lens.

    Raises:
        ImageError: if its grey values hardly differ.
    """
    if float(np.std(image)) < LEAST_DEVIATION:
        raise ImageError(
            f"{path} shows nothing: its grey values hardly differ.",
            "Calibrate on images of lit cloth: remove it.",
        )


def calibration_tiles(folder: Path, contract: ModelContract) -> NDArray[np.float32]:
    """Cut the images of a calibration folder as the edge would.

    Returns:
        (N, channels, H, W) float32, at most `MOST_TILES`, from all images in turn.
    Raises:
        NoImagesError, ImageError: if an image cannot be vouched for, or they give too few tiles.
    """
    manifest = check_calibration(folder)
    images = ((folder / entry.file, entry.mm_per_px) for entry in manifest.images)
    in_turn = tiles_in_turn(images, contract, MOST_TILES)
    if len(in_turn) < LEAST_TILES:
        raise NoImagesError(
            f"The images in {folder} give {len(in_turn)} tiles; calibration needs {LEAST_TILES}.",
            "Add more or larger images with `loomsight calib add`.",
        )
    return np.stack(in_turn[:MOST_TILES])


def _check_image(folder: Path, entry: CalibrationImage) -> None:
    path = folder / entry.file
    cure = f"Restore it, or add the images again with `loomsight calib add {folder}`."
    if not path.is_file():
        raise ImageError(f"{path} is declared and missing.", cure)
    if file_digest(path) != entry.sha256:
        raise ImageError(f"{path} was changed after it was declared.", cure)
    check_shows_cloth(read_image(path), path)
