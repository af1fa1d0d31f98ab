"""A page about a small recorded roll that is still being written, without a camera or a network."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import fields, replace

import numpy as np

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.defects import ClothDefect, Sighting
from edge.health.state import Health
from edge.page.device import device_app, pages_of
from edge.page.live import LivePage
from edge.pipeline.run_state import RunSnapshot, RunState
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from edge.web.address import Address
from tests.unit.edge.roll.rolls import write_image

CLASSES = ("wrinkle", "drop", "broken")
BOX = (10.0, 10.0, 30.0, 30.0)
TOKEN = "a-token-that-is-long"
LOCAL = Address("127.0.0.1", 8080)
RUN_FIELDS = {field.name for field in fields(RunSnapshot)}


def page_of(live):
    return pages_of({None: live})[None]


def app_of(live, address=LOCAL, names=()):
    """Return the application of a device with one camera."""
    return device_app({None: page_of(live)}, address, TOKEN, names)


def show(live, state):
    """Let health and then the page take in a frame, as inspection does."""
    live.health.update(state, [])
    live.update(state, [])


def defect(start_m, label="broken", seen=True):
    sighting = Sighting(3, BOX) if seen else None
    return ClothDefect(label, 0.9, start_m, start_m + 0.01, 100.0, 140.0, seen=sighting)


def frame(number, lines=100, width=200, follows_on=True, value=90, **changes):
    position = FramePosition(number * lines / 1000, 1.0, 1.0)
    image = np.full((lines, width), value, np.uint8)
    return Frame(number, image, 0.0, "loom", position, follows_on=follows_on, **changes)


def passed(state, *numbers):
    """Let frames pass the camera."""
    for number in numbers:
        state.last_frame = frame(number)
        state.coverage.passed(state.last_frame)
        state.latency.add(10.0)
        state.age.add(20.0)
    return state


@contextmanager
def recorded_page(folder, defects=3, health=None):
    """Yield (page, recorder, state): 1.2 m passed, 0.2 m of them unseen, an image for each defect."""
    image = write_image(folder / "00000003.png")
    head = RollHead("loom", "a" * 64, {"grade_limits": {}}, "A17", "twill")
    with RollRecorder(folder / "rolls.db", head, lambda _: image) as recorder:
        state = passed(RunState(), *range(5), *range(7, 12))
        found = [defect(0.1 * (number + 1)) for number in range(defects)]
        recorder.event("camera silent", "no frame for 12 s")
        recorder.add(found, state.coverage, 1500.0)
        state.roll.defects += found
        live = LivePage("loom", "1.0", health or Health(60.0), can_review=True, is_live=True)
        live.begin(CLASSES, recorder)
        show(live, state)
        yield live, recorder, state


def plain_page(state=None, **changes):
    """Return a page about a run without a record."""
    live = LivePage("loom", "1.0", Health(60.0), can_review=False, is_live=False, **changes)
    live.begin(CLASSES, None)
    if state is not None:
        state.snapshot()  # as it is now, and not as it was a moment ago
        show(live, state)
    return live


def changed(snapshot, **changes):
    """Return a snapshot with other values of the page, or of the run that it shows."""
    of_run = {key: changes.pop(key) for key in [*changes] if key in RUN_FIELDS - {"taken_s", "error"}}
    return replace(snapshot, run=replace(snapshot.run, **of_run), **changes)


def plain_state():
    """Return the state of a run before its first frame."""
    return RunState()
