"""Build the state JSON of the page: one short text, at most four times a second."""

from __future__ import annotations

import json
import time
from typing import Any, Final, Literal

from edge.page.grade import NOTHING_YET
from edge.page.live import LivePage
from edge.page.snapshot import Snapshot, gaps_by_reason_m
from edge.page.trouble import SILENT_WARN_S, STANDS_AFTER_S, Level, troubles
from edge.teach.article_file import ArticleFile
from edge.teach.values import TeachingNow

FRESH_S = 0.25

Tone = Level | Literal["good"]

NO_STOPS: Final = "Until it is learnt, nothing stops the machine."

UNTAUGHT: Final = "Only defects that the detector knows are reported."


class StateText:
    """Keep the last text for all who look."""

    def __init__(self, live: LivePage) -> None:
        self._live = live
        self._text = ""
        self._made_s = 0.0

    def now(self) -> str:
        """Return the state as one line of JSON."""
        now_s = time.monotonic()
        if not self._text or now_s - self._made_s >= FRESH_S:
            self._text, self._made_s = json.dumps(state_json(self._live, now_s)), now_s
        return self._text


def state_json(live: LivePage, now_s: float) -> dict[str, Any]:
    """Return the state as plain values; what is not known is None."""
    device, now, blocks = live.device, live.now, live.blocks
    roll, silent_s = now.run.roll, now.run.silent_s
    wrong = troubles(now, now_s)
    return {
        "run": device.run_id,
        "version": device.version,
        "utc_s": round(time.time(), 1),
        "phase": now.phase,
        "stays": device.stays,
        "camera": {
            "name": device.camera,
            "state": _camera_state(now, now_s),
            "silent_s": round(silent_s, 1),
        },
        "classes": list(live.class_names),
        "roll": live.roll_id,
        "article": article_of(live, now, is_well=not wrong),
        "sees": sees_json(now),
        "grade": (now.grade or NOTHING_YET).as_json(),
        "can_review": device.can_review,
        "image": blocks[-1].number if blocks else 0,
        "along_m": _rounded(now.along_m),
        "speed_m_min": _rounded(now.speed_m_min, 1),
        "frames_per_s": round(now.frames_per_s, 1),
        "frames": roll.frames_inspected,
        "dropped": roll.frames_dropped,
        "unreadable": roll.frames_unreadable,
        "inspected_m": _rounded(roll.metres_inspected if roll.knows_metres else None),
        "coverage": _rounded(roll.fraction, 6),
        "gaps_m": gaps_by_reason_m(roll),
        "latency_ms": now.latency_ms,
        "age_ms": now.age_ms,
        "defects": now.defect_count,
        "boxes": _boxes(now),
        "troubles": [trouble._asdict() for trouble in wrong],
        "past": live.past.as_json(),
    }


def _boxes(now: Snapshot) -> int | None:
    """Return how many boxes there were; None where places on the roll are known: defects count then."""
    if now.run.roll.knows_metres or not now.run.roll.frames_inspected:
        return None
    return sum(now.run.detections_by_class.values())


def sees_json(now: Snapshot) -> dict[str, Any]:
    """Return which part of the width the camera is there for, and which strips of it it sees."""
    across = now.run.across
    strips = across.seen or ()
    return {
        "part_mm": None if across.part is None else [round(side, 1) for side in across.part],
        "seen_mm": [[round(side, 1) for side in strip] for strip in strips],
        "is_placed": now.run.terms.offset_mm is not None,
    }


def article_of(live: LivePage, now: Snapshot, *, is_well: bool) -> dict[str, Any] | None:
    """Return what to show of the article on the loom; None before the first frame.

    Args:
        is_well: whether nothing is wrong: beside what is wrong, nothing is green.
    """
    if now.phase == "starting":
        return None
    shown = article_json(now.run.terms.article, live.taught(), now.run.teaching)
    if shown["level"] == "good" and not is_well:
        shown["level"] = "note"
    return shown | {"can_teach": now.phase == "running" and live.teaching is not None}


def _camera_state(now: Snapshot, now_s: float) -> str:
    if now.phase != "running":
        return now.phase
    if now_s - now.taken_s >= STANDS_AFTER_S:
        return "unknown"
    if now.run.camera_down is not None:
        return "down"
    return "silent" if now.run.silent_s >= SILENT_WARN_S else "ok"


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def article_json(
    name: str | None, taught: ArticleFile | None, teaching: TeachingNow | None = None
) -> dict[str, Any]:
    """Return what to show of an article.

    Args:
        name: of the article on the loom; None if nobody named one.
        taught: its article file; None if nobody taught it.
        teaching: how far it is with being learnt; None if it is not.
    """
    if teaching is not None:
        who = teaching.article or "The article on the loom"
        stops = f" {NO_STOPS}" if teaching.is_new else ""
        text = f"{who} is being learnt."
        more = f"{_sentence(teaching.text())}{stops}"
        shown = _shown("note", teaching.article, text, more, is_taught=taught is not None)
        return {**shown, "teaching": teaching.as_json()}
    if taught is None:
        who = f"{name}: not taught yet." if name else "No article was taught."
        return _shown("note", name, who, UNTAUGHT, is_taught=False)
    own, promise = taught.manifest.article, _sentence(taught.manifest.promise.text())
    if name is not None and name != own:
        text = f"{name}: the device uses what it was taught of {own}."
        cure = f"Is {own} on the loom? Else name the right article file in the settings."
        return _shown("warn", name, text, cure, is_taught=True)
    return _shown("good", own, f"{own}: taught.", promise, is_taught=True)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _shown(level: Tone, name: str | None, text: str, more: str, *, is_taught: bool) -> dict[str, Any]:
    return {
        "level": level,
        "name": name,
        "text": text,
        "more": more,
        "is_taught": is_taught,
        "teaching": None,
    }
