"""Compare a candidate with the bundle in use on the canaries' cloth, and decide whether it may go on.

Both inspected the same strips. What the bundle in use reported is in `defects`, what people said of that in
`last_verdicts`, and what the candidate would have reported in events `candidate inspected`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from edge.fleet.bounds import count_at_least, count_at_most, fraction_at_least, fraction_at_most
from edge.fleet.database import Connection
from edge.fleet.settings import ReleaseSettings

CANDIDATE_INSPECTED: Final = "candidate inspected"
"""See `edge.pipeline.candidate`."""

NEAR_MM: Final = 10.0
"""Two reports that lie closer are of one defect: boxes of two networks differ by some millimetres."""

Decision = Literal["released", "stopped", "waiting"]


class Place(NamedTuple):
    """Where a report lies on a roll."""

    start_m: float
    end_m: float
    left_mm: float
    right_mm: float

    def is_near(self, other: Place) -> bool:
        """Tell whether both may be of one defect."""
        reach_m = NEAR_MM / 1000
        along = self.start_m <= other.end_m + reach_m and other.start_m <= self.end_m + reach_m
        across = self.left_mm <= other.right_mm + NEAR_MM and other.left_mm <= self.right_mm + NEAR_MM
        return along and across


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a candidate inspected of a roll.

    Attributes:
        skipped_m: cloth that it left to the bundle in use under load.
        count: all that it would have reported; `found` may hold fewer.
    """

    loom: str
    roll_id: str
    start_m: float
    end_m: float
    inspected_m: float
    skipped_m: float
    count: int
    found: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A defect that the bundle in use reported; `verdict` is None where nobody gave one."""

    place: Place
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Hold what candidate and bundle in use came to on the same cloth.

    Attributes:
        metres: inspected by both.
        confirmed: defects that people confirmed.
        found_again: of those, by the candidate.
        new: reports of the candidate where the bundle in use has none.
        gone: unconfirmed reports of the bundle in use where the candidate has none.
        looms: on how many looms.
    """

    metres: float = 0.0
    confirmed: int = 0
    found_again: int = 0
    new: int = 0
    gone: int = 0
    looms: int = 0

    def text(self) -> str:
        """Return the figures in words."""
        return (
            f"{self.metres:.0f} m on {self.looms} looms; {self.found_again} of {self.confirmed} confirmed "
            f"defects found; new reports {self.new}, unconfirmed ones gone {self.gone}"
        )


def figures_of(stretches: Sequence[Stretch], reported: Mapping[str, Sequence[Reported]]) -> Figures:
    """Compare on the cloth that both inspected.

    Args:
        stretches: of the candidate; those in which it skipped cloth are left out.
        reported: roll id -> what the bundle in use reported there.
    """
    whole = [one for one in stretches if one.skipped_m <= 0 < one.inspected_m]
    found: dict[str, list[Place]] = defaultdict(list)
    for stretch in stretches:
        found[stretch.roll_id] += stretch.found
    confirmed = again = new = gone = 0
    for stretch in whole:
        of_roll, by_candidate = reported.get(stretch.roll_id, ()), found[stretch.roll_id]
        here = [one for one in of_roll if _begins_in(one.place, stretch)]
        real = [one.place for one in here if one.verdict == "confirmed"]
        others = [one.place for one in here if one.verdict != "confirmed"]
        confirmed += len(real)
        again += _near_any(real, by_candidate)
        gone += len(others) - _near_any(others, by_candidate)
        in_both = _near_any(stretch.found, [one.place for one in of_roll])
        new += max(stretch.count, len(stretch.found)) - in_both
    metres = sum(one.inspected_m for one in whole)
    return Figures(metres, confirmed, again, new, gone, len({one.loom for one in whole}))


def decide(figures: Figures, settings: ReleaseSettings) -> tuple[Decision, str]:
    """Decide whether a candidate goes to all looms, is stopped, or has to show more.

    Returns:
        The decision, and why.
    """
    confidence, least = settings.confidence, settings.least_found
    found = f"{figures.found_again} of {figures.confirmed} confirmed defects found"
    budget = settings.most_more_per_100m * figures.metres / 100
    if figures.confirmed and fraction_at_most(figures.found_again, figures.confirmed, confidence) < least:
        return "stopped", f"it misses defects: {found}, where at least {least:.0%} has to be"
    if count_at_least(figures.new, confidence) > count_at_most(figures.gone, confidence) + budget:
        return "stopped", f"it has more false alarms: {figures.text()}"
    missing = []
    if figures.metres < settings.least_metres:
        missing.append(f"{settings.least_metres - figures.metres:.0f} m of cloth")
    shown = fraction_at_least(figures.found_again, figures.confirmed, confidence)
    if shown < least:
        missing.append(f"confirmed defects: {found}, which shows {shown:.0%}, and {least:.0%} is asked for")
    if count_at_most(figures.new, confidence) > figures.gone + budget:
        missing.append("cloth to show that it has no more false alarms")
    if missing:
        return "waiting", f"missing: {'; '.join(missing)} ({figures.text()})"
    return "released", figures.text()


def read_figures(connection: Connection, bundle: str, looms: Sequence[str], since_utc: str) -> Figures:
    """Read from the database what a candidate came to on its canaries.

    Args:
        connection: to the office's database.
        bundle: id of the candidate.
        looms: the canaries.
        since_utc: when it was published, by the clock of the office: those of devices may be wrong.
    Raises:
        psycopg.Error: if the database cannot answer.
    """
    rows = connection.execute(
        "SELECT loom, roll_id, at_m, data FROM events WHERE kind = %s AND loom = ANY (%s) "
        "AND received_utc >= %s::timestamptz AND data ->> 'bundle' = %s "
        "AND roll_id IS NOT NULL AND at_m IS NOT NULL",
        (CANDIDATE_INSPECTED, list(looms), since_utc, bundle),
    ).fetchall()
    stretches = [one for row in rows if (one := _stretch(*row)) is not None]
    return figures_of(stretches, _reported(connection, {one.roll_id for one in stretches}))


def _reported(connection: Connection, rolls: set[str]) -> dict[str, list[Reported]]:
    found: dict[str, list[Reported]] = defaultdict(list)
    rows: Iterable[Any] = connection.execute(
        "SELECT d.roll_id, d.start_m, d.end_m, d.left_mm, d.right_mm, v.verdict FROM defects d "
        "LEFT JOIN last_verdicts v ON v.defect_id = d.event_id AND v.verdict <> 'undone' "
        "WHERE d.roll_id = ANY (%s)",
        (list(rolls),),
    )
    for roll_id, start_m, end_m, left_mm, right_mm, verdict in rows:
        found[roll_id].append(Reported(Place(start_m, end_m, left_mm, right_mm), verdict))
    return found


def _stretch(loom: str, roll_id: str, at_m: float, data: Any) -> Stretch | None:
    """Read an event; None where it is not what a device writes."""
    try:
        found = tuple(
            Place(at_m + one["start_m"], at_m + one["end_m"], one["left_mm"], one["right_mm"])
            for one in data["defects"]
        )
        return Stretch(
            loom,
            roll_id,
            at_m,
            at_m + float(data["length_m"]),
            float(data["inspected_m"]),
            float(data["skipped_m"]),
            int(data["count"]),
            found,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _near_any(places: Sequence[Place], others: Sequence[Place]) -> int:
    """Count the places that are near one of the others."""
    return sum(any(place.is_near(other) for other in others) for place in places)


def _begins_in(place: Place, stretch: Stretch) -> bool:
    return stretch.start_m <= place.start_m < stretch.end_m
