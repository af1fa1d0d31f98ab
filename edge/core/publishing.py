"""Publish files and folders: they take their name when they are whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from secrets import token_hex

from edge.core.errors import DatasetError, OutputError


def name_below(file_name: str) -> PurePosixPath:
    """Return a name that cannot lead out of a folder: no root, no drive, no `..`.

    Raises:
        DatasetError: if nothing is left of it.
    """
    parts = file_name.replace("\\", "/").split("/")
    kept = [part for part in parts if part not in ("", ".", "..") and part[1:] != ":"]
    if not kept:
        raise DatasetError(f"'{file_name}' is no name of an image.", "Correct it.")
    return PurePosixPath(*kept)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling that takes the folder's name if all goes well, else vanishes.

    Raises:
        OutputError: if the folder holds something already or cannot be written.
    """
    with _said_plainly(folder):
        is_taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_taken:
        raise OutputError(
            f"{folder} exists and is not empty.", "Name another folder, or delete this one first."
        )
    partial_folder = _partial(folder)
    with _said_plainly(folder):
        partial_folder.mkdir(parents=True)
    try:
        with _said_plainly(folder):
            yield partial_folder
            if folder.exists():
                folder.rmdir()
            partial_folder.rename(folder)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)


def write_new_texts(texts: Mapping[Path, str]) -> None:
    """Write files that do not exist yet; all are written before the first takes its name.

    Raises:
        OutputError: if one exists or cannot be written.
    """
    for path in texts:
        with _said_plainly(path):
            is_taken = path.exists()
        if is_taken:
            raise OutputError(f"{path} exists.", "Name another file, or delete this one first.")
    partial_files = {path: _partial(path) for path in texts}
    try:
        for path, partial_file in partial_files.items():
            with _said_plainly(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                partial_file.write_text(texts[path], encoding="utf-8", newline="\n")
        for path, partial_file in partial_files.items():
            with _said_plainly(path):
                partial_file.rename(path)
    finally:
        for partial_file in partial_files.values():
            partial_file.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """Return a temporary sibling; in a container each process may have the number of the one before."""
    return path.parent / f".{path.name}.partial-{os.getpid()}-{token_hex(4)}"


@contextmanager
def _said_plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeEncodeError) as error:
        raise OutputError(
            f"Cannot write {path}: {getattr(error, 'strerror', None) or error}.",
            "Check free space, permissions and the name; nothing was left behind.",
        ) from error
