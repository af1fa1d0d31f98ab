"""Describe troubles in plain words: short sentences for people who read little English."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from edge.cameras.health import FaultKind
from edge.cloth.grading import BELOW_GRADE
from edge.cloth.sums import CoverageSums
from edge.core.counted import counted
from edge.page.snapshot import Snapshot
from edge.reference.watch import DRIFT, KNOWN_ARTICLE, OTHER_ARTICLE

Level = Literal["note", "warn", "bad"]

SILENT_WARN_S, SILENT_BAD_S = 2.0, 10.0
"""A line camera is silent legitimately while its loom is stopped: a warning first, red only later."""

STANDS_AFTER_S = 5.0
"""Inspection reports its state four times a second, also while the camera is silent."""


POOR_COVERAGE = 0.95
"""Less of a roll, or of its width, is a warning: of twenty metres one was not looked at."""


class Trouble(NamedTuple):
    """Say one thing that is wrong.

    Attributes:
        code: for programs and pictograms.
        text: what happened.
        cure: what to do; empty if nothing.
        article: a roll of which may be started; empty for none.
    """

    level: Level
    code: str
    text: str
    cure: str = ""
    article: str = ""


CHECK: Final = "Check cable and power. The camera is opened again by itself."
RESTART: Final = "Start the device again."

CAMERA_DOWN: Final[dict[FaultKind, tuple[str, str]]] = {
    "unplugged": ("The camera is gone.", CHECK),
    "late": ("The camera gives no image.", CHECK),
    "hung": ("The camera does not answer.", CHECK),
    "frozen": ("The image of the camera is frozen.", CHECK),
    "wrong size": (
        "The camera gives images of another size.",
        'Set the old size again, or set `frame_size = "any"`.',
    ),
    "half empty": ("Half of each image is missing.", "Check cable and network."),
    "unusable": ("The camera gives no usable image.", CHECK),
}
"""Each fault in plain words, and what to do."""


OF_THE_ARTICLE: Final = {
    OTHER_ARTICLE: (
        "This is not the cloth that was taught.",
        "Check the article of the roll, lamp and focus. Or teach it again.",
    ),
    DRIFT: (
        "The cloth comes nearer to an alarm than when it was taught.",
        "Clean the lens. Check lamp and tension. Or teach the article again.",
    ),
}
"""Cloth that is unlike what was taught of its article, in plain words, and what to do."""


OF_THE_OPTICS: Final[dict[str, Trouble]] = {
    "lamp out": Trouble("bad", "lamp out", "There is no light: nothing is inspected.", "Check the lamp."),
    "lamp weak": Trouble("warn", "lamp weak", "The light has become weak.", "Clean or change the lamp."),
    "lamp uneven": Trouble(
        "warn", "lamp uneven", "The light is weaker in a part of the width.", "Check the lamp there."
    ),
    "focus": Trouble(
        "warn", "focus", "A part of the image is out of focus.", "Clean the lens. Check its focus."
    ),
    "lint": Trouble(
        "warn", "lint", "Something lies on the lens or the lamp.", "Clean the lens and the lamp."
    ),
}
"""What became of lamp and lens since the run began, in plain words, and what to do."""


def troubles(now: Snapshot, now_s: float) -> list[Trouble]:
    """Return what is wrong, the worst first; empty if all is well.

    Args:
        now: the state of the run.
        now_s: `time.monotonic()`.
    """
    found = [
        *_of_the_run(now, now_s),
        *_of_the_camera(now),
        *_of_the_record(now),
        *_of_the_helpers(now),
        *_of_the_cloth(now),
    ]
    if now.phase == "running" and now.unwell and not any(trouble.level == "bad" for trouble in found):
        text = f"The device is not well: {'; '.join(now.unwell)}."
        found.append(Trouble("bad", "unwell", text, "If this goes on: start the device again."))
    order: tuple[Level, ...] = ("bad", "warn", "note")
    return sorted(found, key=lambda trouble: order.index(trouble.level))


def _of_the_run(now: Snapshot, now_s: float) -> list[Trouble]:
    if now.phase == "starting":
        if now.unwell:
            return [
                Trouble("bad", "starting", f"The device does not start: {'; '.join(now.unwell)}.", RESTART)
            ]
        return [Trouble("note", "starting", "The device is starting.", "Wait.")]
    if now.error is not None and now.run.is_at_end:
        return [Trouble("warn", "ended", "Inspection is finished.", now.error)]
    if now.error is not None:
        return [Trouble("bad", "stopped", "Inspection stopped.", now.error)]
    if now.phase == "ended":
        return [_finished(now)]
    silent_s = now_s - now.taken_s
    if silent_s >= STANDS_AFTER_S:
        text = f"Inspection has not answered for {silent_s:.0f} s."
        return [Trouble("bad", "hangs", text, "If this goes on: start the device again.")]
    return []


def _finished(now: Snapshot) -> Trouble:
    """Say that a run has ended: of a live camera others may still need it."""
    count = now.defect_count
    found = "1 defect on this roll." if count == 1 else f"{count} defects on this roll."
    level: Level = "warn" if now.is_live else "note"
    return Trouble(level, "ended", "Inspection is finished.", found if now.run.roll.knows_metres else "")


def _of_the_camera(now: Snapshot) -> list[Trouble]:
    found, down, silent_s = [], now.run.camera_down, now.run.silent_s
    if now.phase == "running" and down is not None:
        found.append(Trouble("bad", "camera down", *CAMERA_DOWN[down]))
    elif now.phase == "running" and silent_s >= SILENT_WARN_S:
        level: Level = "bad" if silent_s >= SILENT_BAD_S else "warn"
        text = f"No image from the camera for {silent_s:.0f} s."
        found.append(
            Trouble(level, "silent", text, "Loom stopped? Then all is well. If not: check cable and power.")
        )
    if now.phase == "running" and now.recent.unreadable:
        text = "Bad images from the camera." if now.is_live else "Images could not be read."
        cure = "Check the cable." if now.is_live else "The messages of the run name them."
        found.append(Trouble("warn", "unreadable", text, cure))
    if now.recent.lost_lines:
        found.append(Trouble("bad", "lost lines", "The camera loses lines.", "Check cable and encoder."))
    return found


HELPERS: Final = {
    "machine": "stops of the machine",
    "heartbeat": "the heartbeat for the machine",
    "roll input": "the signal for the next roll",
    "camera reader": "reading of the camera",
    "capture": "frames of the camera",
    "slots": "memory for frames of the camera",
    "teach": "learning of the article",
    "mqtt": "messages to the broker",
    "opcua": "answers to the plant's control system",
    "page": "this page",
    "audit log": "the log of who did what",
    "agent": "the search for new models",
    "the candidate bundle": "the model that is tried in shadow",
    "terminal": "the view in the terminal",
    "health": "the health check",
    "kinds of defects": "the kinds of defects",
    "small images": "small images of defects for the report",
}
"""What helper threads and optional work do, in plain words, by name."""


def _of_the_helpers(now: Snapshot) -> list[Trouble]:
    """Say which part of the program is gone, or fails and is tried again."""
    dead = [
        Trouble("bad", "helper", f"A part of the program is gone: {HELPERS.get(name, name)}.", RESTART)
        for name in now.helpers_dead
    ]
    unwell = [
        Trouble(
            "warn", "helper", f"A part of the program fails: {HELPERS.get(name, name)}.", "It tries again."
        )
        for name in sorted(set(now.helpers_unwell) - set(now.helpers_dead))
    ]
    return dead + unwell


_MACHINE_AWAY: Final = Trouble(
    "bad",
    "machine",
    "The machine cannot be stopped: it does not answer.",
    "Watch the cloth. Check power and network of the machine.",
)

_NO_CLOTH: Final = Trouble(
    "warn",
    "no cloth",
    "No cloth under the camera.",
    "Loom empty? Then all is well. If not: check lamp and lens.",
)


def _of_the_record(now: Snapshot) -> list[Trouble]:
    found = []
    if now.record_waits:
        found.append(
            Trouble("bad", "record", "Results cannot be saved. They wait.", "Disk full? Free some space.")
        )
    if now.audit_waits:
        text = "Who does what cannot be noted now. It waits."
        found.append(Trouble("warn", "audit", text, "Disk full? Free some space."))
    if now.record_replaced:
        text = "The file of results was removed. A new one is written."
        found.append(Trouble("bad", "record replaced", text, "Tell the person who looks after the device."))
    if now.machine_away:
        found.append(_MACHINE_AWAY)
    if now.heartbeat_lost and not now.machine_away:
        text = "The machine does not take the sign that inspection runs. It may stop."
        found.append(Trouble("bad", "heartbeat", text, "Check power and network of the machine."))
    if now.broker_away:
        found.append(Trouble("warn", "broker", "Messages cannot be sent. They wait.", "Check the network."))
    if now.broker_refuses:
        text = "The broker does not take all messages. They wait."
        found.append(
            Trouble("warn", "broker refuses", text, "Tell the person who looks after the network.")
        )
    return found


def _of_the_article(now: Snapshot) -> list[Trouble]:
    """Say that the cloth is unlike its article, and which one that was taught it looks like."""
    found = [Trouble("warn", kind, *OF_THE_ARTICLE[kind]) for kind in now.run.cloth_troubles]
    article = now.run.recognised
    if article is not None:
        text = f"This cloth looks like {article}, which was taught."
        cure = "Is it that article? Start a roll of it."
        found.append(Trouble("warn", KNOWN_ARTICLE, text, cure, article))
    return found


def _of_the_cloth(now: Snapshot) -> list[Trouble]:
    found = []
    if now.recent.dropped:
        found.append(
            Trouble(
                "bad",
                "too slow",
                "Too fast: cloth passes unseen.",
                "Slow the loom down, or use a faster device.",
            )
        )
    if now.recent.without_cloth and not now.recent.frames:
        found.append(_NO_CLOTH)
    if now.phase == "running":
        found += [OF_THE_OPTICS[kind] for kind in now.run.optics_troubles]
        found += _of_the_article(now)
        found += _of_the_defects(now)
    return [*found, *_of_the_coverage(now)]


def _of_the_defects(now: Snapshot) -> list[Trouble]:
    """Say that the loom has just made defects, or many of them."""
    found, grade = [], now.grade
    if now.new_defects:
        what = "1 defect" if now.new_defects == 1 else f"{now.new_defects} defects"
        found.append(Trouble("warn", "defects", f"{what} in the last minute.", "Look at the last defects."))
    if grade is not None and not grade.is_early and grade.grade.grade == BELOW_GRADE:
        text = f"This roll is below grade: {grade.grade.points_per_100_m2:.1f} points per 100 m²."
        found.append(Trouble("warn", "grade", text, "Does the loom make the last defects? Stop and look."))
    return found


def _of_the_coverage(now: Snapshot) -> list[Trouble]:
    """Say how much of the cloth was not looked at."""
    found: list[Trouble] = []
    across, roll = now.run.across, now.run.roll
    if across.unseen:
        text = f"{across.unseen_mm:.0f} of {across.width_mm:.0f} mm of the width are not seen."
        found.append(Trouble(_level(across.unseen_mm / (across.width_mm or 1.0)), "width", text))
    lost = lost_fraction(roll)
    if roll.lost_m > 0:
        found.append(Trouble(_level(lost), "unseen", f"{roll.lost_m:.2f} m of this roll were not seen."))
    elif lost:
        text = f"Not looked at: {counted(roll.frames_lost, 'image')} of this roll."
        found.append(Trouble(_level(lost), "unseen", text))
    return found


def _level(lost: float) -> Level:
    return "warn" if lost > 1 - POOR_COVERAGE else "note"


def lost_fraction(roll: CoverageSums) -> float:
    """Return the fraction of a roll that passed unseen though there was cloth; of frames without metres."""
    if roll.knows_metres:
        passed_m = roll.metres_inspected + roll.lost_m
        return roll.lost_m / passed_m if passed_m > 0 else 0.0
    passed = roll.frames_inspected + roll.frames_lost
    return roll.frames_lost / passed if passed else 0.0
