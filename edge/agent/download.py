"""Download a release: each file as its digest says, the whole under its name, what is there not again."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Final

from edge.bundle import manifest as bundle_manifest
from edge.bundle.manifest import SIGNATURE_NAME, read_manifest
from edge.bundle.opening import open_bundle
from edge.bundle.release_list import Release
from edge.core.errors import LoomsightError, ReleaseError
from edge.core.files import cannot_write, file_digest, sync_folder
from edge.core.outside_files import MODEL_BYTES, SETTINGS_BYTES
from edge.teach import article_file
from edge.teach.article_file import open_article
from edge.web.source import MissingError, Source, fetch_to, fetched

PARTIAL: Final = ".partial"
AGAIN: Final = "Publish it again."


def downloaded(source: Source, release: Release, folder: Path) -> Path:
    """Return a whole copy of a release; what an earlier try has fetched is kept.

    Args:
        source: where releases lie.
        release: to fetch.
        folder: for downloads.
    Raises:
        ReleaseError: if it cannot be fetched, or is not what was published.
        OutputError: if it cannot be written.
    """
    whole = folder / release.folder
    if _is_whole(release, whole):
        return whole
    partial = whole.with_name(whole.name + PARTIAL)
    for name, digest in _files(source, release, partial).items():
        _fetch(source, release, partial, name, digest)
    if not _is_whole(release, partial):
        raise ReleaseError(f"The release {release.id} is not what was published.", AGAIN)
    try:
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)
        sync_folder(whole.parent)
    except OSError as error:
        raise cannot_write(whole, error) from error
    return whole


def forget_others(folder: Path, wanted: list[Release]) -> None:
    """Delete downloads that no loom of this device is to have any more."""
    kept = {one.folder for one in wanted} | {one.folder + PARTIAL for one in wanted}
    for kind in folder.iterdir() if folder.is_dir() else ():
        for path in kind.iterdir() if kind.is_dir() else ():
            if f"{kind.name}/{path.name}" not in kept:
                shutil.rmtree(path, ignore_errors=True)


def _files(source: Source, release: Release, partial: Path) -> dict[str, str]:
    """Fetch the manifest of a release, and return the digests of its other files."""
    form = bundle_manifest.FORM if release.kind == "bundle" else article_file.FORM
    path = partial / form.manifest_name
    if not path.is_file() or file_digest(path) != release.digest:
        name = f"{release.folder}/{form.manifest_name}"
        if fetch_to(source, name, path, SETTINGS_BYTES) != release.digest:
            raise ReleaseError(f"{name} is not what was published.", AGAIN)
    beside = (form.seal_name, SIGNATURE_NAME) if release.kind == "bundle" else (form.seal_name,)
    for name in beside:  # small, and a bundle may be signed again
        try:
            data = fetched(source, f"{release.folder}/{name}", SETTINGS_BYTES)
        except MissingError:
            continue
        try:
            (partial / name).write_bytes(data)
        except OSError as error:
            raise cannot_write(partial / name, error) from error
    if release.kind == "bundle":
        return read_manifest(path).files
    return article_file.FORM.read_manifest(path, article_file.ArticleManifest).files


def _fetch(source: Source, release: Release, partial: Path, name: str, digest: str) -> None:
    if "\0" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ReleaseError(f"The release {release.id} names {name}, outside of it.", AGAIN)
    path = partial / name
    if path.is_file() and file_digest(path) == digest:
        return
    incoming = path.with_name(f".{path.name}.incoming")
    if fetch_to(source, f"{release.folder}/{name}", incoming, MODEL_BYTES) != digest:
        incoming.unlink(missing_ok=True)
        raise ReleaseError(f"{release.folder}/{name} is not what was published.", AGAIN)
    try:
        incoming.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _is_whole(release: Release, folder: Path) -> bool:
    form = bundle_manifest.FORM if release.kind == "bundle" else article_file.FORM
    path = folder / form.manifest_name
    try:
        if not path.is_file() or file_digest(path) != release.digest:
            return False
        if release.kind == "bundle":
            open_bundle(folder)
        else:
            open_article(folder)
    except (LoomsightError, OSError):
        return False
    return True
