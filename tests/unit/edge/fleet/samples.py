"""Messages as devices send them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from edge.fleet.incoming import Arrival

NOON = datetime(2026, 1, 7, 12, 0, tzinfo=timezone.utc)


def payload(topic, number, **changes):
    """Return a message of a topic; `number` makes its id and time."""
    utc = (NOON + timedelta(minutes=number)).isoformat(timespec="milliseconds")
    fields = {
        "version": 1, "id": f"{topic}-{number}", "utc": utc, "roll": "A17", "roll_id": "r1",
        "article": "twill", **OF_TOPIC[topic](number, utc), **changes,
    }  # fmt: skip
    return fields


def arrival(topic, number, loom="loom-7", received=None, **changes):
    """Return a message as the broker delivers it."""
    fields = payload(topic, number, **changes)
    at = received or NOON + timedelta(days=1)
    return Arrival(f"loomsight/{loom}/{topic}", json.dumps(fields).encode(), at)


def _roll(number, utc):
    return {
        "id": "r1", "revision": number + 1, "status": "running", "started_utc": utc, "ended_utc": None,
        "camera": "loom", "model_digest": "0" * 64, "loomsight": "0.1.0", "length_m": float(number),
        "passed_m": float(number), "inspected_m": float(number), "cloth_width_mm": None, "defects": number,
        "points": number, "points_per_100_m2": 1.5, "grade": "first", "header": {"mill": "X"},
    }  # fmt: skip


OF_TOPIC = {
    "defect": lambda n, utc: {
        "class_name": "broken", "score": 0.9, "start_m": float(n), "end_m": n + 0.1, "left_mm": 1.0,
        "right_mm": 2.0, "points": 1, "shape": None, "kind": "broken pick",
    },
    "event": lambda n, utc: {"kind": "camera silent", "detail": "10 s", "at_m": None, "data": None},
    "stop": lambda n, utc: {"kind": "stop", "detail": "x", "at_m": 1.0, "data": {"defects": ["defect-1"]}},
    "gap": lambda n, utc: {"revision": 1, "lines": 100, "start_m": 1.0, "end_m": 2.0, "reason": "dropped"},
    "verdict": lambda n, utc: {
        "revision": n + 1, "defect_id": "defect-1", "defect_utc": NOON.isoformat(), "verdict": "rejected",
        "class_name": None, "detected_class_name": "broken", "kind": None,
    },
    "roll": _roll,
}  # fmt: skip


def status(state="running", loom="loom-7", installation="a", received=NOON):
    fields = {
        "version": 1,
        "state": state,
        "loomsight": "0.1.0",
        "camera": "loom",
        "installation": installation,
    }
    return Arrival(f"loomsight/{loom}/status", json.dumps(fields).encode(), received)
