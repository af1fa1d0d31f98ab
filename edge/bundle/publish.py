"""Publish a bundle: whole under its final name, or not at all."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, ENOSYS
from pathlib import Path
from typing import Final

from edge.bundle.manifest import FORM, MANIFEST_NAME, SIGNATURE_NAME, BundleManifest, read_manifest
from edge.core.errors import ContractError, ModelError, OutputError

AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2
"""Of Linux, `man 2 renameat2`."""

NOT_HERE: Final = (EINVAL, ENOSYS)
"""The file system, or the kernel, cannot do it."""


def publish_bundle(
    staged: Path, destination: Path, manifest: BundleManifest, *, overwrite: bool = False
) -> None:
    """Write the manifest into a staged folder and rename the folder to its final name.

    Args:
        staged: folder with every file of `manifest.files`, on the same file system as `destination`.
        destination: final name; with `overwrite` an older bundle there is replaced.
    Raises:
        OutputError: if `destination` may not be replaced (see `check_destination`), or cannot be written.
    """
    try:
        FORM.write_manifest(staged, manifest)
        check_destination(destination, overwrite=overwrite)
        take_name(staged, destination)
    except OSError as error:
        raise OutputError(
            f"Cannot write the bundle {destination}: {error}.", "Free space or choose another place."
        ) from error


def take_name(staged: Path, destination: Path) -> None:
    """Rename a staged folder to its final name; an older folder there, which may be replaced, goes.

    Raises:
        OSError: if it cannot be renamed; the older folder then stays.
    """
    staged.chmod(0o755)
    if not destination.exists():
        staged.replace(destination)
    elif not exchanged(staged, destination):
        _swap(staged, destination)


def check_destination(destination: Path, *, overwrite: bool) -> None:
    """See that a bundle may be published under a name.

    Raises:
        OutputError: if something stands there that is not to be replaced. With `overwrite` that is anything
            but an empty folder or a bundle, and also a bundle among other files.
    """
    if destination.name in ("", ".."):
        raise OutputError(f"{destination} is no name for a bundle.", "Name a new folder.")
    if not destination.exists():
        return
    if not overwrite:
        raise OutputError(f"{destination} exists already.", "Choose another name or add --overwrite.")
    _check_is_bundle(destination)


def _check_is_bundle(folder: Path) -> None:
    """Refuse what is neither an empty folder nor a bundle alone: replacing it would delete other work."""
    cure = "Choose another name, or delete it yourself."
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a bundle and is not replaced.", cure)
    if not any(folder.iterdir()):
        return
    try:
        manifest = read_manifest(folder / MANIFEST_NAME)
    except (ModelError, ContractError) as error:
        raise OutputError(f"{folder} is not a bundle and is not replaced: {error.problem}", cure) from error
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    foreign = {path.relative_to(folder).as_posix() for path in files} - {
        MANIFEST_NAME,
        FORM.seal_name,
        SIGNATURE_NAME,
        *manifest.files,
    }
    if foreign:
        raise OutputError(
            f"{folder} is not replaced: {min(foreign)} in it does not belong to the bundle.", cure
        )


def _swap(staged: Path, destination: Path) -> None:
    """Put a new folder in the place of an old one; the old one comes back if that fails.

    For a moment nothing has the name: only where the file system cannot exchange two.
    """
    with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
        retired = Path(folder) / "retired"
        destination.replace(retired)
        try:
            staged.replace(destination)
        except OSError:
            retired.replace(destination)
            raise


@contextmanager
def staging_folder(destination: Path) -> Iterator[Path]:
    """Make a temporary folder beside `destination`; remove it if it is still there at the end.

    Raises:
        OutputError: if the place cannot be written.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    except OSError as error:
        raise OutputError(
            f"Cannot write beside {destination}: {error}.", "Choose another place or free space."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def exchanged(one: Path, other: Path) -> bool:
    """Exchange two paths on one file system; False if that cannot be done here.

    Raises:
        OSError: if they cannot be renamed.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(other))
