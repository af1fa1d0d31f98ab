"""Locate the article files that runs have learnt by themselves: one folder for each article."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.teach.article_file import is_article

logger = logging.getLogger(__name__)

NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9 ._-]+")
LONGEST_NAME: Final = 100
ROLLS: Final = "rolls without an article"


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
