"""The prompt panel with a small, untaught Florence-2 of the real classes: the way counts, not the words."""

from __future__ import annotations

import pytest

from distill.labels.florence.tasks import TASKS
from distill.labels.review.log import ReviewLog
from distill.labels.review.questions import NO_TEACHER, Panel, load_florence
from distill.labels.review.session import Session
from edge.core.errors import CheckpointError
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.labels.florence.small import small_folder
from tests.unit.distill.labels.review.folders import HARD, write_folder

TAXONOMY = load_taxonomy()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_florence(str(small_folder(tmp_path_factory.mktemp("teacher") / "model")), TAXONOMY)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("review") / "data")
    with ReviewLog(folder) as log:
        yield Session(folder, log, TAXONOMY)


def test_without_a_teacher_the_panel_says_so(session):
    assert Panel(session, None).ask("detection", "", HARD, 0) == (NO_TEACHER, [])


def test_boxes_are_located_in_the_image(session, teacher):
    text, regions = Panel(session, teacher).ask("detection", "", HARD, -1)
    assert regions
    assert len(text.splitlines()) == len(regions)
    assert all(0 <= corner <= 120 for region in regions for corner in region["box"])


def test_the_place_of_the_chosen_region_is_asked_about(session, teacher):
    text, regions = Panel(session, teacher).ask("region_to_category", "", HARD, 1)
    assert not text.startswith("error")
    assert regions == []


@pytest.mark.parametrize(
    ("task", "text", "image_name", "said"),
    [
        pytest.param("detection", "drop", HARD, "error: ", id="words-where-none-belong"),
        pytest.param("grounding", " ", HARD, "error: ", id="words-missing"),
        pytest.param("detection", "", "gone.png", "error: There is no image", id="no-image"),
        pytest.param("poetry", "", HARD, "error: There is no task 'poetry'", id="no-task"),
    ],
)
def test_what_cannot_be_asked_is_one_line(session, teacher, task, text, image_name, said):
    shown, regions = Panel(session, teacher).ask(task, text, image_name, -1)
    assert shown.startswith(said)
    assert len(shown.splitlines()) == 1
    assert regions == []


def test_a_teacher_that_is_none_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no model"):
        load_florence(str(tmp_path / "no model"), TAXONOMY)


def test_every_task_can_be_picked():
    assert {"detection", "caption", "region_to_segmentation"} <= set(TASKS)
