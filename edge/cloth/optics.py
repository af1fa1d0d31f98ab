"""Check lamp and lens on the cloth itself: is it lit, sharp and clean? Never a defect."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.health import HealthEvent
from edge.core.image import Image

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

ZONES = 8
"""Parts of the width that brightness and sharpness are measured in."""

MOST_ROWS = 32
"""Rows of an image that are looked at, spread over its height."""

LINT_COLUMNS_PX = 8
"""Columns that are averaged for one place where lint may lie."""

LEARNT_FRAMES = 50
"""Frames that the reference is made of: the lamp and the lens as they are at the start of a run."""

FAST, SLOW = 0.1, 0.0005
"""Fraction of a new frame in what holds now, some ten frames, and in the slow baseline, some thousand."""

STEADY_FRAMES = 20
"""So many frames in a row a change has to hold, in either direction."""

LINT_FRAMES = 200
"""So many frames a spot has to stand still: a broken end looks the same to a line camera."""

REST_FRAMES = 5000
"""One kind of event is not told of more often."""

WEAK_FRACTION, WELL_FRACTION = 0.75, 0.85
"""Brightness, over that of the reference, below which a lamp is weak, and above which it is well again."""

BLURRED_FRACTION, SHARP_FRACTION = 0.6, 0.75
"""The same for sharpness."""

LINT_FRACTION, CLEAN_FRACTION = 0.9, 0.95
"""The same for the brightness of some columns over that of their neighbours."""

NEIGHBOURS = 4
"""Groups of columns to either side that a group is compared with."""

EVEN_FRACTION = 0.1
"""Beside columns that differ by more from their neighbours, at a selvedge for instance, lint is not looked
for: the edge wanders."""

DARK_FRACTION = 0.15
"""The lamp is out when even the brightest of an image (99 of 100 pixels) lie below this fraction of the
reference. A bed without cloth is brighter than that."""

LEAST_REFERENCE_GREY = 20.0
"""A run that began darker than this has nothing to compare with."""


@dataclass(frozen=True, slots=True, eq=False)
class Optics:
    """Say how an image was lit and how sharp it is.

    Attributes:
        brightness: (ZONES,) mean grey level of each zone across the width, 0 to 255.
        sharpness: (ZONES,) mean step from pixel to pixel across, over the brightness.
        columns: (W // 8,) mean grey level of each 8 columns over that of their neighbourhood; 1 is even.
    """

    brightness: Floats
    sharpness: Floats
    columns: Floats


def measure_optics(image: Image) -> Optics:
    """Measure an image of cloth.

    Args:
        image: (H, W) grey or (H, W, 3) BGR, uint8, at least 64 wide.
    """
    rows = _grey_rows(image)
    profile = _mean_row(rows)
    brightness = _by_zone(profile)
    steps = _mean_row(np.asarray(cv2.absdiff(rows[:, 1:], rows[:, :-1]), np.uint8))
    return Optics(brightness, _by_zone(steps) / np.maximum(brightness, 1.0), _columns(profile))


def brightest_grey(image: Image) -> float:
    """Return the grey level that 99 of 100 pixels do not exceed."""
    counts = cv2.calcHist([_grey_rows(image)], [0], None, [256], [0, 256]).ravel()
    return float(np.searchsorted(np.cumsum(counts), 0.99 * counts.sum()))


class OpticsWatch:
    """Compare the optics of a run with those at its start, and tell of lasting changes.

    Each change is told once it has held for some frames, again when it is over, and not too often.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._reference: Optics | None = None
        self._baseline: Optics | None = None
        self._now: Optics | None = None
        self._alarms: dict[str, _Alarm] = {}
        self._events: list[HealthEvent] = []

    def take_events(self) -> list[HealthEvent]:
        """Return, once, what changed."""
        events, self._events = self._events, []
        return events

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with lamp or lens at the moment."""
        return tuple(sorted({alarm.kind for alarm in self._alarms.values() if alarm.is_on}))

    def start_again(self) -> None:
        """Forget how lamp and lens were at the start: other cloth is brighter or darker."""
        self._seen, self._now, self._baseline, self._reference = 0, None, None, None
        self._alarms.clear()

    def is_dark(self, image: Image) -> bool:
        """Tell whether the lamp is out: there is nothing to see, and so nothing to inspect."""
        reference = self._reference
        if reference is None:
            return False
        dark = brightest_grey(image) < DARK_FRACTION * float(np.median(reference.brightness))
        self._note("lamp out", "", is_bad=dark, is_well=not dark, hold=1, detail="there is no light")
        return dark

    def look(self, image: Image) -> None:
        """Take in an image of cloth, (H, W) or (H, W, 3) uint8. Images of another width start again."""
        if image.shape[1] < ZONES * LINT_COLUMNS_PX:
            return
        optics = measure_optics(image)
        if self._now is None or self._now.columns.shape != optics.columns.shape:
            self._seen, self._now, self._baseline, self._reference = 0, optics, optics, None
        self._seen += 1
        self._now = _mixed(self._now, optics, max(FAST, 1 / self._seen))
        if self._seen <= LEARNT_FRAMES:
            self._baseline = _mixed(self._baseline or optics, optics, 1 / self._seen)
            if self._seen == LEARNT_FRAMES:
                self._learn(self._baseline)
            return
        if self._reference is not None and self._baseline is not None:
            self._compare(self._now, self._reference, self._baseline)
            self._baseline = _mixed(self._baseline, optics, SLOW)

    def _learn(self, optics: Optics) -> None:
        """Take what was seen so far as the reference; in the dark, start again."""
        if float(np.median(optics.brightness)) < LEAST_REFERENCE_GREY:
            self._now = None
        else:
            self._reference = optics

    def _compare(self, now: Optics, reference: Optics, baseline: Optics) -> None:
        light = float(np.median(_ratio(now.brightness, reference.brightness)))
        self._note_fraction(
            "lamp weak", "", light, WEAK_FRACTION, WELL_FRACTION, "the light is {:.0%} of the start's"
        )
        evenness = _ratio(now.brightness, baseline.brightness)
        evenness /= max(float(np.median(evenness)), 1e-6)
        sharpness = _ratio(now.sharpness, baseline.sharpness)
        for zone in range(ZONES):
            where = f" in zone {zone + 1} of {ZONES} from the left"
            self._note_fraction(
                "lamp uneven", where, evenness[zone], WEAK_FRACTION, WELL_FRACTION, "{:.0%} of the light"
            )
            self._note_fraction(
                "focus", where, sharpness[zone], BLURRED_FRACTION, SHARP_FRACTION, "{:.0%} of the sharpness"
            )
        columns = np.where(_even(reference.columns), _ratio(now.columns, reference.columns), 1.0)
        at_px = int(columns.argmin()) * LINT_COLUMNS_PX
        self._note_fraction(
            "lint",
            "",
            float(columns.min()),
            LINT_FRACTION,
            CLEAN_FRACTION,
            f"a spot stands still at column {at_px}: {{:.0%}} of the light",
            hold=LINT_FRAMES,
        )

    def _note_fraction(
        self,
        kind: str,
        where: str,
        fraction: float,
        bad: float,
        well: float,
        text: str,
        hold: int = STEADY_FRAMES,
    ) -> None:
        self._note(
            kind,
            where,
            is_bad=fraction < bad,
            is_well=fraction > well,
            hold=hold,
            detail=text.format(fraction) + where,
        )

    def _note(self, kind: str, where: str, *, is_bad: bool, is_well: bool, hold: int, detail: str) -> None:
        alarm = self._alarms.setdefault(kind + where, _Alarm(kind))
        if not alarm.turns(is_bad=is_bad, is_well=is_well, hold=hold):
            return
        if alarm.is_on and self._seen - alarm.told_at < REST_FRAMES:
            alarm.is_told = False
            return
        if alarm.is_on:
            alarm.told_at, alarm.is_told = self._seen, True
            logger.warning("%s: %s", kind, detail)
            self._events.append(HealthEvent(kind, detail))
        elif alarm.is_told:
            logger.info("%s is over%s", kind, where)
            self._events.append(HealthEvent(f"{kind} is over", detail))


@dataclass(slots=True)
class _Alarm:
    """A change with hysteresis: it turns when a state has held for long enough."""

    kind: str
    is_on: bool = False
    held: int = 0
    told_at: int = -REST_FRAMES
    is_told: bool = False

    def turns(self, *, is_bad: bool, is_well: bool, hold: int) -> bool:
        self.held = self.held + 1 if (is_well if self.is_on else is_bad) else 0
        if self.held < hold:
            return False
        self.is_on, self.held = not self.is_on, 0
        return True


def _grey_rows(image: Image) -> Image:
    rows = np.ascontiguousarray(image[:: max(1, -(-len(image) // MOST_ROWS))])
    return rows if rows.ndim == 2 else np.asarray(cv2.cvtColor(rows, cv2.COLOR_BGR2GRAY), np.uint8)


def _mean_row(rows: Image) -> Floats:
    return np.asarray(cv2.reduce(rows, 0, cv2.REDUCE_AVG, dtype=cv2.CV_64F)[0], np.float64)


def _by_zone(columns: Floats) -> Floats:
    return np.array([part.mean() for part in np.array_split(columns, ZONES)])


def _columns(profile: Floats) -> Floats:
    """Return groups of columns over the median of the groups around them."""
    count = len(profile) // LINT_COLUMNS_PX
    groups = profile[: count * LINT_COLUMNS_PX].reshape(count, LINT_COLUMNS_PX).mean(axis=1)
    padded = np.pad(groups, NEIGHBOURS, mode="reflect" if count > NEIGHBOURS else "edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    return np.asarray(groups / np.maximum(np.median(around, axis=1), 1.0), np.float64)


def _even(columns: Floats) -> NDArray[np.bool_]:
    """Tell which groups of columns lie away from any edge in the image."""
    is_edge = (np.abs(columns - 1) > EVEN_FRACTION).astype(np.uint8)
    near = cv2.dilate(is_edge[None], np.ones((1, 2 * NEIGHBOURS + 1), np.uint8))[0]
    return np.asarray(near == 0, np.bool_)


def _ratio(now: Floats, before: Floats) -> Floats:
    return now / np.maximum(before, 1e-6)


def _mixed(before: Optics, now: Optics, fraction: float) -> Optics:
    def mix(one: Floats, other: Floats) -> Floats:
        return one + fraction * (other - one)

    return Optics(
        mix(before.brightness, now.brightness),
        mix(before.sharpness, now.sharpness),
        mix(before.columns, now.columns),
    )
