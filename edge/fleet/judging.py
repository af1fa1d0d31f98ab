"""Judge canaries: a better bundle goes to all its looms, a worse one is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

import psycopg

from edge.bundle.release_list import Release
from edge.core.errors import LoomsightError
from edge.fleet.canaries import Decision, decide, read_figures
from edge.fleet.database import Connection, connected, unreachable
from edge.fleet.migrate import check_version
from edge.fleet.releases import Releases
from edge.fleet.settings import OfficeSettings

logger = logging.getLogger(__name__)


class Judgement(NamedTuple):
    """Say what became of a candidate, and why."""

    release: Release
    decision: Decision
    why: str


def judged(settings: OfficeSettings) -> list[Judgement]:
    """Judge all candidates now; what is decided goes on the list.

    Raises:
        ConfigError: if the settings do not say where releases are.
        DatabaseError: if the database cannot be used.
        LoomsightError: if the list cannot be read or written.
    """
    releases = Releases(settings.releases)
    waiting = [one for one in releases.read().releases if one.stage == "canary"]
    if not waiting:
        return []
    with connected(settings.database) as connection:
        check_version(connection)
        try:
            found = [_judgement(connection, settings, one) for one in waiting]
        except psycopg.Error as error:
            raise unreachable(settings.database, error) from error
    for one in found:
        if one.decision != "waiting":
            releases.advance(one.release, one.decision, one.why)
            logger.warning("release %s is %s: %s", one.release.id, one.decision, one.why)
    return found


def unknown_looms(settings: OfficeSettings, looms: Sequence[str]) -> list[str]:
    """Return the looms of which the office never heard; none where the database cannot be asked."""
    try:
        with connected(settings.database) as connection:
            known = {row[0] for row in connection.execute("SELECT loom FROM looms")}
    except (LoomsightError, psycopg.Error) as error:
        logger.debug("looms are not compared: %s", error)
        return []
    return [name for name in looms if name not in known]


def judge_until(settings: OfficeSettings, end: threading.Event) -> None:
    """Judge now and then until an event is set; what keeps it from that is said once."""
    said = ""
    while not end.wait(settings.releases.check_s):
        try:
            judged(settings)
            said = ""
        except LoomsightError as error:
            if str(error) != said:
                logger.warning("releases are not judged now: %s", error)
            said = str(error)


def _judgement(connection: Connection, settings: OfficeSettings, release: Release) -> Judgement:
    figures = read_figures(connection, release.id, release.canaries, release.steps[0].utc)
    return Judgement(release, *decide(figures, settings.releases))
