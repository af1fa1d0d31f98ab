"""Publish bundles and article files, advance them, take them back: each change is a new signed list."""

from __future__ import annotations

import fcntl
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from edge.bundle.opening import check_file, open_bundle
from edge.bundle.release_list import (
    LIST_BYTES,
    LIST_NAME,
    LIST_SIGNATURE_NAME,
    Kind,
    Release,
    ReleaseList,
    Stage,
    Step,
    read_list,
)
from edge.bundle.sealed import ARTICLE_MANIFEST_NAME, SealedForm
from edge.bundle.signed_file import signature_text
from edge.bundle.signing import read_secret_key, signer_of
from edge.bundle.store import bundle_path
from edge.core.errors import ConfigError, LoomsightError, OutputError, ReleaseError, SignatureError
from edge.core.events import utc_now
from edge.core.files import cannot_write, file_digest, sync_folder, write_whole
from edge.core.outside_files import SETTINGS_BYTES, read_bytes
from edge.fleet.settings import ReleaseSettings

logger = logging.getLogger(__name__)

LOCK_NAME: Final = ".lock"
PENDING_NAME: Final = f".{LIST_NAME}.minisig"
"""Signature of a list that is being written."""

INCOMING: Final = ".incoming-"
ID_DIGITS: Final = 16


ARTICLE_FORM: Final = SealedForm(
    what="article file",
    manifest_name=ARTICLE_MANIFEST_NAME,
    newest_format=1,
    cure_missing="Name a folder made by `loomsight teach`.",
    cure_invalid="Teach the article again with `loomsight teach`.",
)


class ArticleSummary(BaseModel):
    """Read of the manifest of an article file what its release needs; the device checks the rest."""

    model_config = ConfigDict(extra="ignore")

    article: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    files: dict[str, str]


class Releases:
    """Keep the folder of releases.

    Args:
        settings: with folder and key.
    Raises:
        ConfigError: if one of them is not set.
    """

    def __init__(self, settings: ReleaseSettings) -> None:
        if settings.folder is None or settings.key_file is None:
            raise ConfigError(
                "The settings do not say where releases go, and who signs them.",
                "Set folder and key_file in [releases]; `loomsight bundle key new FILE` makes a key.",
            )
        self.folder = settings.folder
        self._key_file = settings.key_file

    def read(self) -> ReleaseList:
        """Read the list; an empty one where nothing was published.

        Raises:
            SignatureError: if the office's own key has not signed it: somebody else changed it.
            ReleaseError: if it cannot be read.
            ConfigError: if the key cannot be used.
            OutputError: if the folder cannot be written.
        """
        if not (self.folder / LIST_NAME).exists():
            return ReleaseList()
        with self._locked():
            return self._read()

    def _read(self) -> ReleaseList:
        """Read the list, locked: list and signature are two files, which change one after the other."""
        path = self.folder / LIST_NAME
        if not path.exists():
            return ReleaseList()
        data = read_bytes(path, LIST_BYTES, ReleaseError)
        signature = read_bytes(self.folder / LIST_SIGNATURE_NAME, SETTINGS_BYTES, SignatureError)
        keys = [read_secret_key(self._key_file).public.text]
        try:
            return read_list(data, signature, keys, ())
        except SignatureError:
            pending = self.folder / PENDING_NAME
            if not pending.exists():
                raise
            found = read_list(data, read_bytes(pending, SETTINGS_BYTES, SignatureError), keys, ())
            pending.replace(self.folder / LIST_SIGNATURE_NAME)  # a kill came between the two files
            return found

    def publish(
        self, source: Path, looms: Sequence[str], canaries: Sequence[str], why: str = "published"
    ) -> Release:
        """Copy a bundle or an article file into the folder, and put it on the list.

        Args:
            source: bundle folder, a store, or an article file.
            looms: that are to run it.
            canaries: those that try a bundle first; none to release it at once.
            why: stands on the list.
        Raises:
            ModelError, ContractError: if it is damaged.
            SignatureError: if a bundle is not signed.
            ConfigError: if looms are named wrongly.
            OutputError: if it cannot be written.
        """
        kind, path, digest, name = _described(source)
        outside = sorted(set(canaries) - set(looms))
        if outside:
            raise ConfigError(
                f"No loom of --looms: {', '.join(outside)}.", "Name canaries among the looms."
            )
        if kind == "article" and canaries:
            raise ConfigError("An article file has no canaries.", "Leave --canary out.")
        stage: Stage = "canary" if canaries else "released"
        utc = utc_now()
        try:
            release = Release(
                id=digest[:ID_DIGITS],
                kind=kind,
                digest=digest,
                name=name,
                looms=tuple(dict.fromkeys(looms)),
                canaries=tuple(dict.fromkeys(canaries)),
                steps=(Step(utc=utc, stage=stage, why=why),),
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(
                f"That cannot be published: {where}: {first['msg']}.",
                "Name looms as their topics do: box1.",
            ) from error
        with self._locked():
            self._copy(path, release)
            before = self._read()
            same = [one for one in before.releases if one.id == release.id and one.stage == stage]
            if same and _who(same[-1]) == _who(release):
                return same[-1]
            self._write(before, (*before.releases, release))
        return release

    def advance(self, release: Release, stage: Stage, why: str) -> ReleaseList:
        """Put a release at another stage, if it still is where it was.

        Raises:
            OutputError, SignatureError, ReleaseError: if the list cannot be read or written.
        """
        return self._changed(lambda one: one == release, stage, why)

    def roll_back(self, release_id: str | None, why: str) -> Release:
        """Take back a release: its looms go back to what was released for them before.

        Args:
            release_id: first digits of its id; None for the newest that is not taken back.
            why: stands on the list.
        Raises:
            ReleaseError: if there is none.
        """
        live = [one for one in self.read().releases if one.stage in ("canary", "released")]
        found = [one for one in live if release_id is None or one.id.startswith(release_id)]
        if not found:
            named = f" {release_id}" if release_id else ""
            raise ReleaseError(
                f"There is no release{named} to take back.", "`loomsight office releases` lists them."
            )
        self._changed(lambda one: one == found[-1], "rolled back", why)
        return found[-1]

    def _changed(self, is_meant: Callable[[Release], bool], stage: Stage, why: str) -> ReleaseList:
        with self._locked():
            before = self._read()
            utc = utc_now()
            after = tuple(one.at(stage, utc, why) if is_meant(one) else one for one in before.releases)
            return before if after == before.releases else self._write(before, after)

    def _write(self, before: ReleaseList, releases: tuple[Release, ...]) -> ReleaseList:
        """Write list and signature; a kill in between is made up for by the next read."""
        # By the clock, so that devices take the first list of a folder that was lost and made again.
        sequence = max(before.sequence + 1, int(time.time()))
        after = ReleaseList(sequence=sequence, utc=utc_now(), releases=releases)
        data = after.model_dump_json(indent=1).encode() + b"\n"
        key = read_secret_key(self._key_file)
        try:
            text = signature_text(data, LIST_NAME, key).encode()
        except ValueError as error:
            raise ConfigError(f"{self._key_file} cannot be used: {error}.", "Make another key.") from error
        pending = self.folder / PENDING_NAME
        write_whole(pending, text)
        write_whole(self.folder / LIST_NAME, data)
        try:
            pending.replace(self.folder / LIST_SIGNATURE_NAME)
            sync_folder(self.folder)
        except OSError as error:
            raise cannot_write(self.folder / LIST_SIGNATURE_NAME, error) from error
        return after

    def _copy(self, path: Path, release: Release) -> None:
        """Have a whole copy of what is published, under its id; one that is there stays there."""
        destination = self.folder / release.folder
        if _is_whole(destination, release):
            if release.kind == "bundle":  # it may be signed again
                signature = read_bytes(path / SIGNATURE_NAME, SETTINGS_BYTES, SignatureError)
                write_whole(destination / SIGNATURE_NAME, signature)
            return
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            for leftover in destination.parent.glob(f"{INCOMING}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            staged = Path(tempfile.mkdtemp(prefix=INCOMING, dir=destination.parent))
            shutil.copytree(path, staged, dirs_exist_ok=True)
            staged.chmod(0o755)
            open_bundle(staged) if release.kind == "bundle" else _checked_article(staged)
            if destination.exists():  # damaged
                shutil.rmtree(destination)
            staged.rename(destination)
            sync_folder(destination.parent)
        except OSError as error:
            raise cannot_write(destination, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other programs from changing the list.

        Raises:
            OutputError: if the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK_NAME).open("ab")
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_whole(folder: Path, release: Release) -> bool:
    try:
        open_bundle(folder) if release.kind == "bundle" else _checked_article(folder)
    except (LoomsightError, OSError):
        return False
    return True


def is_article(source: Path) -> bool:
    """Tell whether a folder is an article file."""
    return (source / ARTICLE_MANIFEST_NAME).is_file()


def _checked_article(folder: Path) -> ArticleSummary:
    """Check every digest of an article file.

    Raises:
        ModelError, ContractError: if it is damaged, or newer than this program.
    """
    ARTICLE_FORM.check_seal(folder)
    found = ARTICLE_FORM.read_manifest(folder / ARTICLE_MANIFEST_NAME, ArticleSummary)
    for name, digest in found.files.items():
        check_file(folder, name, digest, what="article file")
    return found


def canaries_of(text: str, looms: Sequence[str]) -> list[str]:
    """Return the canaries that a person asks for.

    Args:
        text: how many, or their names with commas.
        looms: to choose from; the first ones are taken.
    Raises:
        ConfigError: if there are not so many.
    """
    if not text.strip().isdecimal():
        return [name.strip() for name in text.split(",") if name.strip()]
    count = int(text)
    if count > len(looms):
        raise ConfigError(
            f"{count} canaries are asked for, and --looms names {len(looms)}.", "Name fewer with --canary."
        )
    return list(looms[:count])


def _who(release: Release) -> tuple[set[str], set[str]]:
    return set(release.looms), set(release.canaries)


def _described(source: Path) -> tuple[Kind, Path, str, str]:
    """Return kind, folder, digest of the manifest, and name of what is to be published."""
    if is_article(source):
        article = _checked_article(source)
        return "article", source, file_digest(source / ARTICLE_MANIFEST_NAME), article.article
    path = bundle_path(source)
    bundle = open_bundle(path)
    if bundle.manifest is None:
        raise OutputError(f"{source} is a bare ONNX file.", "Publish the bundle folder.")
    if signer_of(path) is None:
        raise SignatureError(
            f"The bundle {path} is not signed, and devices take signed ones only.",
            f"Sign it: `loomsight bundle sign {path} --key FILE`.",
        )
    return "bundle", path, file_digest(path / MANIFEST_NAME), source.resolve().name or "bundle"
