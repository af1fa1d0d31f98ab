"""Find article files: of an article by its name, or of the cloth on the loom by its features."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge.core.errors import LoomsightError
from edge.reference.maps import CHANNELS
from edge.reference.statistics import Moments, divergence
from edge.reference.taught import VECTORS
from edge.teach.article_file import MANIFEST_NAME, ArticleFile, is_article, open_article

logger = logging.getLogger(__name__)

ALIKE: Final = 1.2
"""Times the greatest distance of an article's clean cloth: cloth that is no further off looks like it."""

SAME_SCALE: Final = 0.02

NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9 ._-]+")
LONGEST_NAME: Final = 100
ROLLS: Final = "rolls without an article"


@dataclass(frozen=True, slots=True, eq=False)
class KnownArticle:
    """Remember an article by its cloth.

    Attributes:
        name: by which a roll of it is started.
        moments: of its features.
        fit_distance: greatest one of its clean cloth.
    """

    name: str
    moments: Moments
    fit_distance: float

    @classmethod
    def of(cls, name: str, article: ArticleFile) -> KnownArticle:
        """Take the moments out of an article file."""
        count, total, products = (
            np.asarray(article.arrays[key], np.float64)[VECTORS.index("cells")]
            for key in ("count", "total", "products")
        )
        return cls(name, Moments(float(count), total, products), article.manifest.fit_distance)


class ArticleFiles:
    """Open article files, each once as long as it stays as it is: a roll changes while cloth passes."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[int, ArticleFile | None]] = {}

    def open(self, path: Path) -> ArticleFile | None:
        """Return an article file; None, and once a line that says why, if it cannot be used."""
        try:
            stamp = (path / MANIFEST_NAME).stat().st_mtime_ns
        except OSError:
            stamp = 0
        kept = self._kept.get(path)
        if kept is None or kept[0] != stamp:
            kept = self._kept[path] = (stamp, _opened(path))
        return kept[1]


def _opened(path: Path) -> ArticleFile | None:
    try:
        return open_article(path)
    except LoomsightError as error:
        logger.warning("the cloth of %s is not recognised on the loom: %s", path, error)
        return None


def known_articles(
    articles: Mapping[str, ArticleFile], detector_digest: str, trunk_digest: str, mm_per_px: float | None
) -> tuple[KnownArticle, ...]:
    """Take the articles that can be used in a run.

    Args:
        articles: by their names.
        detector_digest, trunk_digest: of the run.
        mm_per_px: scale of the cloth in it; None to take any.
    """
    found = []
    for name, article in articles.items():
        manifest = article.manifest
        fits = (manifest.detector_digest, manifest.trunk_digest) == (detector_digest, trunk_digest)
        fits &= set(manifest.levels) == set(CHANNELS)
        if fits and _is_of_scale(manifest.mm_per_px, mm_per_px):
            found.append(KnownArticle.of(name, article))
    return tuple(found)


def _is_of_scale(taught_mm: float | None, seen_mm: float | None) -> bool:
    if taught_mm is None or seen_mm is None:
        return True
    return abs(taught_mm / seen_mm - 1) <= SAME_SCALE


def nearest(articles: Iterable[KnownArticle], own: Moments, but: str | None) -> str | None:
    """Return the name of the article that cloth looks like the most; None if it looks like none of them.

    Args:
        own: moments of the features of the cloth.
        but: this one is not asked for.
    """
    distances = {
        one.name: divergence(own, one.moments) / one.fit_distance for one in articles if one.name != but
    }
    name = min(distances, key=lambda name: distances[name], default=None)
    return name if name is not None and distances[name] <= ALIKE else None


@dataclass(slots=True)
class LearntArticles:
    """Find the article files of a camera.

    Attributes:
        folder: that holds them.
        is_replay: a recording is inspected again: no older article file is replaced, and one is used only
            where the recorded run used it, so that what comes out does not depend on what was learnt since.
        knew_first: whether the recorded run used one for its first roll.
        roll_name: returns the name of the roll on the loom: an article without a name is called like that.
    """

    folder: Path
    is_replay: bool
    knew_first: bool = False
    roll_name: Callable[[], str] = lambda: "roll"

    def path_of(self, article: str) -> Path:
        """Return where the article file of an article is, or would be, published."""
        return self.folder / folder_name(article)

    def path_of_roll(self, roll: str) -> Path:
        """Return where an article without a name is published: it is none that is known again."""
        return self.folder / ROLLS / folder_name(roll)

    def paths(self) -> tuple[Path, ...]:
        """Return where article files of articles with a name lie."""
        try:
            return tuple(sorted(path for path in self.folder.iterdir() if is_article(path)))
        except OSError:
            return ()

    def find(self, article: str | None, *, knew: bool) -> Path | None:
        """Return the article file of an article; None if there is none to be used.

        Args:
            knew: whether the recorded run used one.
        """
        if article is None or (self.is_replay and not knew):
            return None
        path = self.path_of(article)
        if is_article(path):
            return path
        if knew:
            logger.warning("the recorded run used the article file %s, which is not there", path)
        return None


def folder_name(called: str) -> str:
    """Return a name for a folder: the article's, with a digest if that holds what no folder should."""
    plain = NOT_IN_NAMES.sub("_", called).strip(" .")[:LONGEST_NAME]
    if plain == called:
        return plain
    return f"{plain}-{hashlib.sha256(called.encode()).hexdigest()[:8]}"
