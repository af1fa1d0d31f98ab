"""Sewn joints on simulated cloth, and what looks a little like one."""

from __future__ import annotations

import numpy as np
import pytest

from edge.cameras.loom import LoomCamera
from edge.cameras.protocol import FramePosition
from edge.cloth.joints import LAG_MM, JointFinder
from edge.simulator.options import parse_loom_options

LINES, WIDTH, MM = 200, 1024, 0.2


def seen(joints, more="", finder=None):
    """Return where the next roll begins, in metres, and where joints end."""
    camera = LoomCamera(
        parse_loom_options(
            f"loom:seed=3,width_px={WIDTH},lines_per_block={LINES},length_m=1.2,defects_per_m=0"
            f"{f',joints_m={joints}' if joints else ''}{more}"
        )
    )
    finder, found = finder or JointFinder(0.2), []
    with camera:
        while (frame := camera.read()) is not None:
            row = finder.look(frame.image, frame.position)
            if row is not None:
                assert 0 < row <= LINES
                found.append(frame.position.along_m + row * MM / 1000)
        return found, [joint.along_m[1] for joint in camera.joints_up_to(2.0)]


@pytest.mark.parametrize("more", ["", ",colour=true", ",bed_left_mm=-5,bed_right_mm=-5"])
def test_a_joint_is_found_and_the_roll_begins_behind_it(more):
    found, ground_truth = seen("0.4+0.8", more)
    assert len(found) == 2
    for at_m, end_m in zip(found, ground_truth, strict=True):
        assert -0.002 <= at_m - end_m <= (LAG_MM + 2) / 1000


def test_of_two_joints_close_together_one_counts():
    assert len(seen("0.4+0.8", finder=JointFinder(0.5))[0]) == 1


def noise(rng, lines=LINES):
    return rng.normal(120, 12, (lines, WIDTH))


def looked(change):
    """Let ten strips of noise pass, of which the eighth is changed; return what was said."""
    rng, finder = np.random.default_rng(5), JointFinder()
    said = []
    for number in range(10):
        plane = noise(rng)
        if number == 7:
            change(plane)
        position = FramePosition(number * LINES * MM / 1000, MM, MM)
        said.append(finder.look(np.clip(plane, 0, 255).astype(np.uint8), position))
    return said


def wrinkle(plane):
    rows = np.arange(LINES)
    plane += (40 * np.sin(rows / 25) * ((rows > 10) & (rows < 190)))[:, None]


def broken_pick(plane):
    plane[100:112] -= 60


def part(plane):
    plane[100:130, :600] += 60


def joint(plane):
    plane[100:130] += 60


@pytest.mark.parametrize("change", [lambda plane: None, wrinkle, broken_pick, part])
def test_what_is_no_joint(change):
    assert looked(change) == [None] * 10


def test_what_is_one():
    assert looked(joint) == [None] * 7 + [155, None, None]


def test_cloth_that_passes_again_or_is_not_there_has_no_joint():
    rng, finder = np.random.default_rng(5), JointFinder()
    for number in range(8):
        position = FramePosition(number * LINES * MM / 1000, MM, MM)
        finder.look(np.clip(noise(rng), 0, 255).astype(np.uint8), position)
    again = noise(rng)
    joint(again)
    position = FramePosition(5 * LINES * MM / 1000, MM, MM)
    assert finder.look(np.clip(again, 0, 255).astype(np.uint8), position) is None
    finder.interrupt()
    finder.start_again()
    position = FramePosition(9 * LINES * MM / 1000, MM, MM)
    assert finder.look(np.clip(again, 0, 255).astype(np.uint8), position) is None  # nothing to compare with
