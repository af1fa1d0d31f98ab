"""Read and write the article file: what an article of cloth was taught, published like a bundle.

article.json         contract, levels, thresholds, promise, digests of the other files
article.json.sha256  its seal: what `sha256sum` says of article.json
reference.npz        arrays of the reference, without pickles
contact-sheet.png    the places of the clean cloth that came nearest to an alarm
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edge import __version__
from edge.bundle.opening import check_file
from edge.bundle.publish import staging_folder, take_name
from edge.bundle.sealed import ARTICLE_MANIFEST_NAME, SealedForm
from edge.config.alarm_budget import Budget, Unit
from edge.core.errors import ContractError, ModelError, OutputError
from edge.core.files import file_digest
from edge.teach.arrays import ARRAYS_BYTES, read_arrays, write_arrays

ARTICLE_FORMAT: Final = 1
MANIFEST_NAME: Final = ARTICLE_MANIFEST_NAME
ARRAYS_NAME: Final = "reference.npz"
SHEET_NAME: Final = "contact-sheet.png"

TEACH_AGAIN: Final = "Teach the article again with `loomsight teach`."
WHAT: Final = "article file"
FORM: Final = SealedForm(
    what=WHAT,
    manifest_name=MANIFEST_NAME,
    newest_format=ARTICLE_FORMAT,
    cure_missing="Name a folder made by `loomsight teach`.",
    cure_invalid=TEACH_AGAIN,
)

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Side = Annotated[float, Field(ge=-1e6, le=1e6)]
Count = Annotated[int, Field(ge=0, le=10**9)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Promise(_Value):
    """Say at which rate of false alarms the levels were set, and on how much cloth.

    Attributes:
        false_alarms, per: the budget: at most so many per so much.
        calibrated_on: clean cloth that was not fitted when it was looked at, in words.
        least: lowest rate that this cloth would have carried.
    """

    false_alarms: Positive
    per: Unit
    calibrated_on: str = Field(max_length=200)
    least: Positive

    def text(self) -> str:
        """Return the promise in words."""
        return f"{Budget(self.false_alarms, self.per).text()}, from {self.calibrated_on} of clean cloth"


class ClothUsed(_Value):
    """Say what was looked at, and what of it was left out and why.

    Attributes:
        left_out: reason -> images.
    """

    images: Count
    metres: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    square_metres: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    left_out: dict[str, Count] = {}


class SheetPlace(_Value):
    """Name a place of the clean cloth that stands on the contact sheet.

    Attributes:
        number: on the sheet, from 1 on.
        source, frame_id, box_xyxy_px: where it lies.
        rate: false alarms per unit of the promise from which on it would be one.
    """

    number: Annotated[int, Field(ge=1, le=999)]
    source: str = Field(max_length=4096)
    frame_id: Count
    box_xyxy_px: tuple[Side, Side, Side, Side]
    rate: Positive


class ArticleManifest(_Value):
    """State what an article was taught with; stands in `article.json`.

    Attributes:
        article: its name.
        mm_per_px: scale at which the reference looks; None where no scale was known.
        width_px: of the images at that scale.
        detector_digest: sha256 of the model that ran beside, whose thresholds these are.
        trunk_digest: sha256 of the features.
        levels: of the channels of the reference, in its own units.
        score_thresholds: per class of the detector.
        fit_distance: greatest one of a strip that was not fitted.
        near: ratio to its level that few of the strips exceeded, see `edge.reference.watch`.
        places: on the contact sheet.
        struck_out: places of earlier sheets that a person left out.
        files: sha256 of the other files.
    """

    format: int = ARTICLE_FORMAT
    loomsight_version: str = __version__
    created_utc: str = Field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )
    article: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    mm_per_px: float | None = Field(gt=0, le=100)
    width_px: int = Field(ge=1, le=10**6)
    detector_digest: Digest
    trunk_digest: Digest
    levels: dict[str, Positive] = Field(min_length=1, max_length=64)
    score_thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    promise: Promise
    cloth: ClothUsed
    fit_distance: Positive
    near: Positive
    places: tuple[SheetPlace, ...] = Field(default=(), max_length=999)
    struck_out: tuple[SheetPlace, ...] = Field(default=(), max_length=999)
    files: dict[str, Digest] = {}


@dataclass(frozen=True, slots=True)
class ArticleFile:
    """Hold an article file whose digests are right; one that a replay has learnt may be in no file."""

    path: Path
    manifest: ArticleManifest
    arrays: dict[str, NDArray[np.generic]]


def publish_article(
    destination: Path,
    manifest: ArticleManifest,
    arrays: dict[str, NDArray[np.generic]],
    sheet_png: bytes,
    *,
    overwrite: bool = False,
) -> None:
    """Write an article file whole under its final name, or not at all.

    Args:
        manifest: without `files`, which are added.
        sheet_png: the contact sheet.
        overwrite: replace an older article file.
    Raises:
        OutputError: if the name is taken, or it cannot be written.
    """
    check_article_destination(destination, overwrite=overwrite)
    try:
        with staging_folder(destination) as staged:
            write_arrays(staged / ARRAYS_NAME, arrays)
            (staged / SHEET_NAME).write_bytes(sheet_png)
            files = {name: file_digest(staged / name) for name in (ARRAYS_NAME, SHEET_NAME)}
            FORM.write_manifest(staged, manifest.model_copy(update={"files": files}))
            open_article(staged)  # the disk may have taken it without a word
            check_article_destination(destination, overwrite=overwrite)
            take_name(staged, destination)
    except OSError as error:
        raise OutputError(
            f"Cannot write the article file {destination}: {error.strerror or error}.",
            "Free space or choose another place; nothing was left behind.",
        ) from error


def published(
    destination: Path,
    manifest: ArticleManifest,
    arrays: dict[str, NDArray[np.generic]],
    sheet_png: bytes,
    *,
    may_replace: bool,
) -> ArticleFile:
    """Publish an article file, and return it as it was opened again.

    Args:
        may_replace: an older article file there is replaced; else that one stays, and what is returned is
            in no file.
    Raises:
        LoomsightError: if it cannot be written, or something else has the name.
    """
    if not may_replace and is_article(destination):
        digest = hashlib.sha256(sheet_png).hexdigest()
        return ArticleFile(destination, manifest.model_copy(update={"files": {SHEET_NAME: digest}}), arrays)
    publish_article(destination, manifest, arrays, sheet_png, overwrite=True)
    return open_article(destination)


def check_article_destination(destination: Path, *, overwrite: bool) -> None:
    """See that an article file may be published under a name, before an hour of cloth is taught.

    Raises:
        OutputError: if something stands there that is not to be replaced: with `overwrite`, anything but an
            empty folder or an article file alone.
    """
    if destination.name in ("", ".."):
        raise OutputError(f"{destination} is no name for an article file.", "Name a new folder.")
    try:
        if not destination.exists() or (destination.is_dir() and not any(destination.iterdir())):
            return
        there = {path.name for path in destination.iterdir()} if destination.is_dir() else {""}
    except OSError as error:
        raise OutputError(
            f"Cannot look at {destination}: {error.strerror or error}.", "Check the path and its rights."
        ) from error
    if not overwrite:
        raise OutputError(f"{destination} exists already.", "Choose another name or add --overwrite.")
    if MANIFEST_NAME not in there or there - {MANIFEST_NAME, FORM.seal_name, ARRAYS_NAME, SHEET_NAME}:
        raise OutputError(
            f"{destination} is not an article file alone and is not replaced.",
            "Choose another name, or delete it yourself.",
        )


def is_article(path: Path) -> bool:
    """Tell whether a folder is an article file."""
    try:
        return (path / MANIFEST_NAME).is_file()
    except (OSError, ValueError):
        return False


def is_another(article: ArticleFile) -> bool:
    """Tell whether another article file than this one has its name now.

    Raises:
        ModelError, ContractError: if that cannot be told.
    """
    is_in_a_file = ARRAYS_NAME in article.manifest.files
    return (
        is_in_a_file
        and FORM.read_manifest(article.path / MANIFEST_NAME, ArticleManifest) != article.manifest
    )


def open_article(path: Path) -> ArticleFile:
    """Open an article file and check every digest.

    Raises:
        ModelError: if it is missing, incomplete, damaged or was changed since it was published.
        ContractError: if it is newer than this program or not valid.
    """
    manifest = FORM.read_manifest(path / MANIFEST_NAME, ArticleManifest)
    FORM.check_seal(path)
    for name in (ARRAYS_NAME, SHEET_NAME):
        if name not in manifest.files:
            raise ModelError(f"The {WHAT} {path} vouches for no {name}.", TEACH_AGAIN)
    for name, digest in manifest.files.items():
        check_file(path, name, digest, what=WHAT, again=TEACH_AGAIN, most_bytes=ARRAYS_BYTES)
    return ArticleFile(path, manifest, read_arrays(path / ARRAYS_NAME))


def check_detector(article: ArticleFile, detector_digest: str) -> None:
    """See that an article is used beside the detector that it was calibrated with.

    Raises:
        ContractError: if it is another one.
    """
    if article.manifest.detector_digest != detector_digest:
        raise ContractError(
            f"{article.path} was taught with another detector than the one of this run.",
            f"Name that model, or teach again: `loomsight teach --article '{article.manifest.article}'`.",
        )
