from __future__ import annotations

import cv2
import numpy as np
import pytest

from distill.labels.review.choices import Choice
from distill.labels.review.log import ReviewLog
from distill.labels.review.session import Session
from distill.labels.review.views import image_view, overview, png_of
from edge.core.errors import DatasetError
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.labels.review.folders import CLASSES, DONE, EASY, HARD, SIZE_HW, write_folder


@pytest.fixture
def session(tmp_path):
    with ReviewLog(write_folder(tmp_path / "data")) as log:
        yield Session(tmp_path / "data", log, load_taxonomy())


def test_the_first_is_the_hardest_with_its_hardest_region_first(session):
    view = image_view(session, "queued")
    assert (view["image"], view["position"], view["count"]) == (HARD, 0, 2)
    assert (view["size"], view["order"]) == ([120, 60], [2, 1, 0])
    assert view["regions"][2]["found_by"] == ["detector", "florence"]
    assert len(view["regions"][2]["polygon"]) == 4
    assert view["undo"] is None


def test_a_review_goes_on_where_something_is_open(session):
    for place in (1, 2):
        version = session.version(HARD)
        session.decide(Choice(image_name=HARD, version=version, action="accept", place=place))
    assert image_view(session, "queued")["image"] == EASY
    view = image_view(session, "queued", name=HARD)
    assert view["undo"] == f"accept in {HARD}"
    assert [(one["is_decided"], one["by"]) for one in view["regions"]] == [
        (False, None),
        *[(True, None)] * 2,
    ]
    version = session.version(HARD)
    session.decide(Choice(image_name=HARD, version=version, action="reject", place=2, by="Ana"))
    view = image_view(session, "queued", name=HARD)
    assert (view["undo"], view["regions"][2]["by"]) == (f"reject in {HARD} by Ana", "Ana")


def test_any_image_can_be_shown_by_name(session):
    view = image_view(session, "queued", name=DONE)
    assert (view["image"], view["position"]) == (DONE, None)
    assert image_view(session, "all", name=DONE)["position"] == 2


@pytest.mark.parametrize(("position", "shown"), [(0, HARD), (1, EASY), (99, EASY), (-5, HARD)])
def test_positions_stay_within_the_order(session, position, shown):
    assert image_view(session, "queued", position=position)["image"] == shown


def test_names_to_choose_from(session):
    found = overview(session)
    assert found["classes"] == list(CLASSES)
    assert "broken end" in [kind["category"] for kind in found["kinds"]]
    assert (found["problems"], found["queued"]) == ([], 2)


def test_pixels_are_those_of_the_file(session):
    image = cv2.imdecode(np.frombuffer(png_of(session, EASY), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape[:2] == SIZE_HW
    assert np.array_equal(image, cv2.imread(str(session.root / EASY), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize("name", ["images/train/gone.png", "../data/data.yaml", "", "/etc/passwd"])
def test_only_images_of_the_data_set_are_served(session, name):
    with pytest.raises(DatasetError, match="no image"):
        png_of(session, name)


def test_a_truncated_image_is_one_line(session):
    path = session.root / HARD
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="truncated"):
        png_of(session, HARD)
