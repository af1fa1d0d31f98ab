"""Build the state JSON of the page: one short text, at most four times a second."""

from __future__ import annotations

import json
import time
from typing import Any

from edge.page.article import article_json
from edge.page.live import LivePage
from edge.page.snapshot import Snapshot
from edge.page.trouble import SILENT_WARN_S, troubles

FRESH_S = 0.25


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
    return {
        "run": device.run_id,
        "version": device.version,
        "phase": now.phase,
        "camera": {"name": device.camera, "state": _camera_state(now), "silent_s": round(now.silent_s, 1)},
        "classes": list(live.class_names),
        "roll": live.roll_id,
        "article": article_of(live, now),
        "can_review": device.can_review,
        "picture": blocks[-1].number if blocks else 0,
        "along_m": _rounded(now.along_m),
        "speed_m_min": _rounded(now.speed_m_min, 1),
        "frames_per_s": round(now.frames_per_s, 1),
        "frames": now.frames,
        "dropped": now.dropped,
        "unreadable": now.unreadable,
        "inspected_m": _rounded(now.inspected_m),
        "coverage": _rounded(now.coverage, 6),
        "gaps_m": now.gaps_m,
        "latency_ms": now.latency_ms,
        "age_ms": now.age_ms,
        "defects": now.defect_count,
        "troubles": [trouble._asdict() for trouble in troubles(now, now_s)],
    }


def article_of(live: LivePage, now: Snapshot) -> dict[str, Any] | None:
    """Return what to show of the article on the loom; None before the first frame."""
    if now.phase == "starting":
        return None
    shown = article_json(now.article, live.taught(), now.teaching)
    return shown | {"can_teach": now.phase == "running" and live.teaching is not None}


def _camera_state(now: Snapshot) -> str:
    if now.phase != "running":
        return now.phase
    return "silent" if now.silent_s >= SILENT_WARN_S else "ok"


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
