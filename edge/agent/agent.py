"""Bring a device to what the list of releases says: bundle in use, candidate, article files."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.agent.download import downloaded, forget_others
from edge.agent.memory import remember, remembered
from edge.bundle.install import Check, install
from edge.bundle.opening import Bundle, open_bundle
from edge.bundle.publish import take_name
from edge.bundle.release_list import (
    LIST_BYTES,
    LIST_NAME,
    LIST_SIGNATURE_NAME,
    Release,
    ReleaseList,
    read_list,
)
from edge.bundle.store import STATE_NAME, bundle_path, installed_path, is_store, read_state
from edge.config.agent import AgentSettings
from edge.config.trust import TrustSettings
from edge.core.errors import ContractError, LoomsightError, ReleaseError, SignatureError
from edge.core.events import utc_now
from edge.core.files import cannot_write, file_digest
from edge.teach.article_file import MANIFEST_NAME as ARTICLE_MANIFEST
from edge.teach.article_file import check_article_destination, is_article
from edge.web.source import Source, fetched

logger = logging.getLogger(__name__)

READ_AGAIN_S: Final = 1.0
"""The list and its signature are two files: one that is being replaced is read again after so long."""

PLAIN_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Name a store of a device, and the looms whose cameras run its bundle.

    Attributes:
        looms: as the office knows them, `box` or `box/camera`.
        store: of the bundle in use, `model` in the settings.
        candidate: store of the candidate; None if nothing is tried here.
    """

    looms: tuple[str, ...]
    store: Path
    candidate: Path | None


class Agent:
    """Follow the list of releases. At any moment, each store names one whole bundle.

    Args:
        settings: of the agent.
        places: of the device.
        trust: whose lists and bundles are taken.
        source: where releases lie.
        check: opens a bundle as edge-run would, golden images included.
    Attributes:
        problems: what could not be done the last time.
    """

    def __init__(
        self,
        settings: AgentSettings,
        places: Sequence[Place],
        trust: TrustSettings,
        source: Source,
        check: Check,
    ) -> None:
        self._settings = settings
        self._places = places
        self._trust = trust
        self._source = source
        self._check = check
        self._memory = remembered(settings.folder)
        self.problems: list[LoomsightError] = []

    def look(self) -> None:
        """Read the list once and do what it says; what cannot be done is in `problems`, and said once."""
        problems: list[LoomsightError] = []
        try:
            releases = self._list()
        except LoomsightError as error:
            problems.append(error)
        else:
            for place in self._places:
                problems += _attempts(
                    lambda place=place: self._bring_current(place, releases),  # type: ignore[misc]
                    lambda place=place: self._bring_candidate(place, releases),  # type: ignore[misc]
                )
            problems += self._bring_articles(releases)
            forget_others(self._downloads, self._wanted(releases))
        self._note(problems)

    @property
    def _downloads(self) -> Path:
        return self._settings.folder / "downloads"

    def _note(self, problems: list[LoomsightError]) -> None:
        known = {str(error) for error in self.problems}
        for error in problems:
            if str(error) not in known:
                logger.error("%s", error)
        if known and not problems:
            logger.info("all is as the list of releases says")
        self.problems = problems
        said = [str(error) for error in problems]
        try:
            self._remember(checked_utc=utc_now(), problems=said)
        except LoomsightError as error:  # a full disk, for instance: what is installed goes on
            if str(error) not in {*known, *said}:
                logger.error("%s", error)
                self.problems = [*problems, error]

    def _remember(self, **changes: object) -> None:
        self._memory = self._memory.model_copy(update=changes)
        remember(self._settings.folder, self._memory)

    def _list(self) -> ReleaseList:
        """Read the list.

        Raises:
            SignatureError: if no trusted key has signed it.
            ReleaseError: if it cannot be fetched, or is older than the last one.
        """
        try:
            releases = self._read_list()
        except SignatureError:
            time.sleep(READ_AGAIN_S)
            releases = self._read_list()
        if releases.sequence < self._memory.sequence:
            raise ReleaseError(
                f"The list of releases has the number {releases.sequence}, and number "
                f"{self._memory.sequence} was taken before: an old list is offered.",
                "Find out who changed it. `loomsight office releases` has to name the newer one.",
            )
        self._remember(sequence=releases.sequence)
        return releases

    def _read_list(self) -> ReleaseList:
        data = fetched(self._source, LIST_NAME, LIST_BYTES)
        signature = fetched(self._source, LIST_SIGNATURE_NAME, LIST_BYTES)
        return read_list(data, signature, self._trust.keys, self._trust.revoked)

    def _wanted(self, releases: ReleaseList) -> list[Release]:
        found = [*releases.articles(self._all_looms()).values()]
        for place in self._places:
            found += [
                one
                for one in (releases.current(place.looms), releases.candidate(place.looms))
                if one is not None
            ]
        return found

    def _all_looms(self) -> set[str]:
        return {loom for place in self._places for loom in place.looms}

    def _bring_current(self, place: Place, releases: ReleaseList) -> None:
        """Have the released bundle as the one in use; without one, what was there before the first."""
        wanted, store = releases.current(place.looms), place.store
        now = read_state(store).current if is_store(store) else None
        key = str(store)
        if wanted is None:
            before = self._memory.before.get(key)
            if before is not None and now != before:
                self._install(installed_path(store, before), store)
            if before is not None:  # what is installed by hand from here on stays
                rest = {name: one for name, one in self._memory.before.items() if name != key}
                self._remember(before=rest)
            return
        if now is not None and now.startswith(wanted.id):
            return
        if key not in self._memory.before and now is not None:
            self._remember(before={**self._memory.before, key: now})
        self._install(downloaded(self._source, wanted, self._downloads), store)

    def _bring_candidate(self, place: Place, releases: ReleaseList) -> None:
        """Have the candidate in its store, or nothing."""
        store = place.candidate
        if store is None:
            return
        wanted = releases.candidate(place.looms)
        now = read_state(store).current if is_store(store) else None
        in_use = read_state(place.store).current if is_store(place.store) else ""
        if wanted is None or in_use.startswith(wanted.id):
            if now is not None:
                _empty(store)
                logger.info("no candidate in %s any more", store)
            return
        if now is None or not now.startswith(wanted.id):
            bundle = downloaded(self._source, wanted, self._downloads)
            self._install(bundle, store, beside=place.store)

    def _install(self, source: Path, store: Path, beside: Path | None = None) -> None:
        def check(bundle: Bundle) -> None:
            self._check_same_camera(bundle, beside or store)
            self._check(bundle)

        install(source, store, check)

    def _check_same_camera(self, bundle: Bundle, store: Path) -> None:
        """Refuse a bundle that was trained for another camera, scale or contrast than the one in use.

        Raises:
            ContractError: if it was.
        """
        if not self._settings.same_camera or not is_store(store) or bundle.manifest is None:
            return
        in_use = open_bundle(bundle_path(store)).manifest
        if in_use is not None and not bundle.manifest.contract.prepares_like(in_use.contract):
            raise ContractError(
                f"The bundle {bundle.path.name} is for another camera, scale or contrast than {store}.",
                "Publish it for other looms; where the camera changed, set same_camera = false in [agent].",
            )

    def _bring_articles(self, releases: ReleaseList) -> list[LoomsightError]:
        folder = self._settings.articles
        if folder is None:
            return []
        wanted = releases.articles(self._all_looms())
        tries = [
            (lambda release=release: self._bring_article(release, folder)) for release in wanted.values()
        ]
        return _attempts(*tries)

    def _bring_article(self, release: Release, folder: Path) -> None:
        """Have an article file under the name of its article, replaced as a whole."""
        destination = folder / folder_name(release.name)
        manifest = destination / ARTICLE_MANIFEST
        if is_article(destination) and file_digest(manifest) == release.digest:
            return
        source = downloaded(self._source, release, self._downloads)
        check_article_destination(destination, overwrite=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            staged = Path(tempfile.mkdtemp(prefix=f".{destination.name}.incoming-", dir=folder))
            try:
                shutil.copytree(source, staged, dirs_exist_ok=True)
                take_name(staged, destination)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        except OSError as error:
            raise cannot_write(destination, error) from error
        logger.info("article '%s' is now %s", release.name, release.id)


def folder_name(article: str) -> str:
    """Return the folder of an article: letters, digits, dots, hyphens; other names get a digest, too."""
    from hashlib import sha256

    plain = PLAIN_NAME.sub("-", article).strip(".-")[:80]
    return plain if plain == article else f"{plain or 'article'}-{sha256(article.encode()).hexdigest()[:8]}"


def _empty(store: Path) -> None:
    """Have no bundle as current in a store: edge-run then tries none."""
    try:
        (store / STATE_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(store / STATE_NAME, error) from error


def _attempts(*tries: Callable[[], None]) -> list[LoomsightError]:
    """Do each, and return what was wrong with which; an error of the disk is one of them."""
    problems: list[LoomsightError] = []
    for attempt in tries:
        try:
            attempt()
        except LoomsightError as error:
            problems.append(error)
        except OSError as error:
            where = Path(os.fsdecode(error.filename)) if error.filename else Path()
            problems.append(cannot_write(where, error))
    return problems
