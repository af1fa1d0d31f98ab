"""Find and decode the images that labels refer to: their place, size and readability."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice, product
from pathlib import Path

from edge.cameras.folder import IMAGE_SUFFIXES
from edge.core.errors import DatasetError, ImageError
from edge.core.image import Image
from edge.core.image_file import image_size_hw_px, read_image

_LOOKED_FOR = 50
"""So many names are tried in each folder before it is taken not to be the one."""


def decoded(path: Path) -> Image:
    """Decode an image whole, turned as its EXIF orientation says.

    Raises:
        DatasetError: if it is missing, truncated, damaged or no image.
    """
    try:
        return read_image(path)
    except ImageError as error:
        raise DatasetError(error.problem, error.cure) from error


def size_hw_px(path: Path) -> tuple[int, int]:
    """Return height and width from the header, turned as its EXIF orientation says.

    Raises:
        DatasetError: if it is missing or no image.
    """
    try:
        return image_size_hw_px(path)
    except ImageError as error:
        raise DatasetError(error.problem, error.cure) from error


def content_digest(image: Image) -> str:
    """Return a digest of the pixels: equal for copies, also for those saved in another lossless format."""
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def root_of(file_names: Iterable[str], folders: Iterable[Path]) -> Path:
    """Return the first of the folders in which one of the images is; the first of all if none is."""
    candidates = list(folders)
    names = list(islice(file_names, _LOOKED_FOR))
    for folder, name in product(candidates, names):
        if name and is_there(folder / name):
            return folder
    return candidates[0]


def likely_folders(labels: Path, hint: str | None = None) -> list[Path]:
    """Return where the images of a label file or folder may lie, the likeliest first.

    Args:
        labels: the file or folder.
        hint: folder that the file names, relative to the folder it lies in.
    """
    folder = labels if labels.is_dir() else labels.parent
    hinted = [folder / hint] if hint else []
    beside = [base / name for base in (folder, folder.parent) for name in ("images", "JPEGImages")]
    return [*hinted, folder, *beside, folder.parent]


def is_there(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def name_within(stated: str, root: Path) -> str:
    """Return where in a folder the image lies that labels name; no name leads out of the folder.

    Of a name that starts elsewhere (`/home/me/set/a.png`, `../a.png`) the longest end that is there counts.

    Args:
        stated: the name, with slashes of either kind.
        root: the folder.
    Returns:
        The name below the folder, whether it is there or not; "" if nothing is left of it.
    """
    plain = stated.strip().replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    kept = [part for part in parts if part != ".." and part[1:] != ":"]
    if not plain.startswith("/") and kept == parts:
        return "/".join(kept)
    names = ["/".join(kept[start:]) for start in range(len(kept))]
    return next((name for name in names if is_there(root / name)), "/".join(kept))


def with_image_suffix(path: Path) -> Path | None:
    """Return the image whose name is this one with a suffix; None if there is none."""
    for suffix in sorted(IMAGE_SUFFIXES):
        for spelled in (suffix, suffix.upper()):
            candidate = path.with_name(path.name + spelled)
            if is_there(candidate):
                return candidate
    return None
