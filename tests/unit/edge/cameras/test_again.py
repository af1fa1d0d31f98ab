"""Frames of a folder and of a video that are read again after they were inspected."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.cameras.again import frames_again
from edge.core.errors import ImageError
from edge.page.frames import MOST_FOUND, FramesSeen
from tests.unit.edge.page.pages import frame

BOX = {"label": "broken", "score": 0.9, "box_xyxy_px": [2.0, 2.0, 12.0, 12.0]}


def greys(count=6):
    return [np.full((48, 64), 20 + 30 * number, np.uint8) for number in range(count)]


@pytest.fixture(params=["folder", "video"])
def again(request, tmp_path):
    if request.param == "folder":
        for number, grey in enumerate(greys()):
            cv2.imwrite(str(tmp_path / f"{number}.png"), grey)
        return frames_again(str(tmp_path))
    path = tmp_path / "roll.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for grey in greys():
        writer.write(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    writer.release()
    return frames_again(str(path))


def test_each_frame_is_the_one_of_its_number_in_any_order(again):
    assert again.count() == 6
    for number in (0, 1, 2, 5, 3, 0, 4):
        image, name = again.read(number)
        assert image.mean() == pytest.approx(20 + 30 * number, abs=3)
        assert str(number) in name
    with pytest.raises(ImageError, match="7"):
        again.read(6)
    assert again.read(2)[0].mean() == pytest.approx(80, abs=3)


@pytest.mark.parametrize("source", ["0", "loom:seed=7", "rtsp://10.0.0.1/x", "/nowhere/at/all"])
def test_what_is_kept_nowhere_is_not_read_again(source):
    assert frames_again(source) is None


def test_boxes_are_kept_for_so_many_frames_and_no_images_at_all(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), greys(1)[0])
    seen = FramesSeen(frames_again(str(tmp_path)))
    blank = frame(0)
    for number in range(MOST_FOUND + 5):
        seen.note(type(blank)(number, blank.image, 0.0, "x"), [BOX])
    said = seen.as_json()
    assert (said["count"], len(said["found"]), said["forgotten"]) == (MOST_FOUND + 5, MOST_FOUND, 5)
    image = cv2.imdecode(np.frombuffer(seen.jpeg(0).data, np.uint8), cv2.IMREAD_COLOR)
    assert np.ptp(image.astype(int), axis=2).max() > 60  # its box
