"""Describe troubles in plain words: short sentences for people who read little English."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from edge.cameras.health import FaultKind
from edge.page.snapshot import Snapshot
from edge.reference.watch import DRIFT, KNOWN_ARTICLE, OTHER_ARTICLE

Level = Literal["note", "warn", "bad"]

SILENT_WARN_S, SILENT_BAD_S = 2.0, 10.0
"""A line camera is silent legitimately while its loom is stopped: a warning first, red only later."""

STANDS_AFTER_S = 5.0
"""Inspection reports its state four times a second, also while the camera is silent."""


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
    order: tuple[Level, ...] = ("bad", "warn", "note")
    return sorted(found, key=lambda trouble: order.index(trouble.level))


def _of_the_run(now: Snapshot, now_s: float) -> list[Trouble]:
    if now.phase == "starting":
        return [Trouble("note", "starting", "The device is starting.", "Wait.")]
    if now.error is not None:
        return [Trouble("bad", "stopped", "Inspection stopped.", now.error)]
    if now.phase == "ended":
        return [Trouble("warn", "ended", "Inspection is finished.")]
    silent_s = now_s - now.taken_s
    if silent_s >= STANDS_AFTER_S:
        text = f"Inspection has not answered for {silent_s:.0f} s."
        return [Trouble("bad", "hangs", text, "If this goes on: start the device again.")]
    return []


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
    if now.recent.unreadable:
        found.append(Trouble("warn", "unreadable", "Bad images from the camera.", "Check the cable."))
    if now.recent.lost_lines:
        found.append(Trouble("bad", "lost lines", "The camera loses lines.", "Check cable and encoder."))
    return found


RESTART: Final = "Start the device again."

HELPERS: Final = {
    "machine": "stops of the machine",
    "heartbeat": "the heartbeat for the machine",
    "roll input": "the signal for the next roll",
    "camera reader": "reading of the camera",
    "capture": "frames of the camera",
    "slots": "memory for frames of the camera",
    "teach": "learning of the article",
    "mqtt": "messages to the broker",
    "page": "this page",
    "health": "the health check",
}
"""What helper threads do, in plain words, by name."""


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
    if now.record_replaced:
        text = "The file of results was removed. A new one is written."
        found.append(Trouble("bad", "record replaced", text, "Tell the person who looks after the device."))
    if now.machine_away:
        found.append(_MACHINE_AWAY)
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
        found += _of_the_article(now)
    across, lost_m = now.run.across, now.run.roll.lost_m
    if across.unseen:
        text = f"{across.unseen_mm:.0f} of {across.width_mm:.0f} mm of the width are not seen."
        found.append(Trouble("note", "width", text))
    if lost_m > 0:
        found.append(Trouble("note", "unseen", f"{lost_m:.2f} m of this roll were not seen."))
    return found
