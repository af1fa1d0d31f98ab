"""A small recorded roll with whatever is awkward in it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect, Sighting
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from tests.hostile.commands import outcome_of

HOSTILE = "<script>alert('x')</script>&\"="
LIMITS = {"first": 20.0, "second": 40.0}


def write_roll(
    path,
    name="A17",
    *,
    metres=60,
    width_mm=1500.0,
    image_file=None,
    defects=None,
    article=HOSTILE,
    offset_mm=None,
    header=None,
    events=(),
    small_image_of=lambda _: None,
):
    """Record a roll of 1 mm lines: 5 m lost at 20 m, 1 m without cloth at 40 m, three defects."""
    coverage = Coverage()
    box = (10.0, 10.0, 30.0, 30.0)
    if defects is None:
        defects = [
            ClothDefect(HOSTILE, 0.9, 1.2, 1.21, 100.0, 140.0, seen=Sighting(3, box)),
            ClothDefect("broken", 0.8, 5.5, 9.7, 700.0, 702.0, seen=Sighting(4, box)),
            ClothDefect("drop", 0.7, 33.0, 33.01, 0.0, 1500.0, seen=Sighting(5, box)),
        ]
    stated_mm = None if offset_mm is None else width_mm
    settings = {"grade_limits": LIMITS, "offset_mm": offset_mm, "cloth_width_mm": stated_mm}
    settings |= {} if header is None else {"roll_header": header}
    head = RollHead("loom <b>", "a" * 64, settings, name, article, stated_mm)
    with RollRecorder(path, head, lambda defect: image_file, small_image_of=small_image_of) as recorder:
        for metre in range(metres):
            if 20 <= metre < 25:
                continue
            position = FramePosition(float(metre), 1.0, (width_mm or 1500.0) / 2)
            image = np.zeros((1000, 2), np.uint8)
            frame = Frame(metre, image, 0.0, "x", position)
            frame = frame if offset_mm is None else frame.at_offset(offset_mm)
            coverage.passed(frame, np.full(1000, metre != 40))
        recorder.event("camera silent", HOSTILE)
        recorder.take(events, coverage)
        recorder.add(defects, coverage, width_mm)
        recorder.finish(coverage, width_mm, "finished")
    return path


def write_image(path):
    assert cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 96), np.uint8))
    return path


def roll_command(*words):
    """Run `loomsight roll WORDS` in this process; tests/integration starts it as a person does."""
    return outcome_of(["roll", *map(str, words)], Path.cwd())
