"""A review from start to end, through crashes, and what any reader of the folder sees of it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.labels.review.choices import Choice
from distill.labels.review.log import ReviewLog
from distill.labels.review.session import Session
from edge.core.errors import DatasetError, OutputError
from edge.core.files import file_digest
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.labels.review.folders import (
    CLEAN,
    DONE,
    EASY,
    HARD,
    MASKED,
    SURE,
    UNSURE,
    regions_in,
    write_folder,
)
from tests.unit.distill.labels.review.test_log import files_may_hold

TAXONOMY = load_taxonomy()
COCO = "annotations/train.json"


@contextmanager
def review(folder):
    """Review a folder; leaving without `finish` is what kill -9 leaves."""
    with ReviewLog(folder) as log:
        yield Session(folder, log, TAXONOMY)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "data")


def decide(session, action, place=0, image_name=HARD, **values):
    choice = Choice(
        image_name=image_name, version=session.version(image_name), action=action, place=place, **values
    )
    return session.decide(choice)


def boxes_in(folder, name="labels/train/b (1).txt"):
    return len((folder / name).read_text().splitlines())


def vouched_for(folder):
    files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    return all(file_digest(folder / name) == digest for name, digest in files.items())


def test_a_decision_is_in_the_label_file_at_once_and_in_the_coco_file_after_finish(folder):
    coco = (folder / COCO).read_bytes()
    with review(folder) as session:
        assert boxes_in(folder) == 1
        assert decide(session, "accept", 1) is None
        assert boxes_in(folder) == 2
        decide(session, "reject", 0)
        assert boxes_in(folder) == 1
        assert (folder / COCO).read_bytes() == coco
        assert session.finish() == 2
        assert session.finish() == 0
    assert regions_in(folder, HARD) == (
        replace(SURE, review="rejected"),
        replace(UNSURE, review="accepted", weight=1.0),
        MASKED,
    )
    assert vouched_for(folder)


def test_every_kind_of_decision_reads_back(folder):
    with review(folder) as session:
        decide(session, "relabel", 1, label="wrinkle")
        decide(session, "redraw", 2, box_xyxy_px=(71.0, 11.0, 99.0, 39.5))
        decide(session, "add", image_name=CLEAN, label="broken", box_xyxy_px=(5.0, 5.0, 25.0, 25.0))
        decide(session, "reject", image_name=EASY)
        session.finish()
    _, relabelled, redrawn = regions_in(folder, HARD)
    assert relabelled == replace(UNSURE, label="wrinkle", review="corrected", weight=1.0)
    assert (redrawn.box_xyxy_px, redrawn.polygon_xy_px) == ((71.0, 11.0, 99.0, 39.5), None)
    [added] = regions_in(folder, CLEAN)
    assert (added.label, added.annotator, added.review) == ("broken", "person", "accepted")
    assert [region.review for region in regions_in(folder, EASY)] == ["rejected"]
    assert vouched_for(folder)


def test_after_a_crash_the_next_start_writes_what_was_decided(folder):
    with review(folder) as session:
        decide(session, "reject", 0)
        decide(session, "accept", 1)
        decide(session, "add", label="drop", box_xyxy_px=(5.0, 40.0, 15.0, 50.0))
    with review(folder) as again:
        assert [region.review for region in again.image(HARD).regions] == [
            "rejected",
            "accepted",
            "queued",
            "accepted",
        ]
        assert again.problems == {}
        assert again.finish() == 0
    assert len(regions_in(folder, HARD)) == 4
    assert vouched_for(folder)


@pytest.mark.parametrize("written", ["nothing", "labels", "labels-and-coco", "all-but-the-mark"])
def test_a_crash_anywhere_in_finish_is_made_good(folder, written, monkeypatch):
    """Whatever was written before the crash, the next start ends in the same state."""
    from distill.labels.review import session as module

    with review(folder) as session:
        decide(session, "reject", 0)
        decide(session, "redraw", 2, box_xyxy_px=(71.0, 11.0, 99.0, 39.5))
        stops = {"labels": "write_coco_files", "labels-and-coco": "update_manifest"}

        def crash(*arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            if written == "all-but-the-mark":
                patch.setattr(ReviewLog, "mark_written", crash)
            else:
                patch.setattr(module, stops.get(written, "write_label_file"), crash)
            with pytest.raises(KeyboardInterrupt):
                session.finish()
    with review(folder):
        pass
    rejected, waiting, redrawn = regions_in(folder, HARD)
    assert (rejected.review, waiting, redrawn.review) == ("rejected", UNSURE, "corrected")
    assert vouched_for(folder)


def test_undo_reaches_back_through_finish_and_restart(folder):
    before = regions_in(folder, HARD)
    with review(folder) as session:
        decide(session, "reject", 0)
        session.finish()
        decide(session, "add", label="drop", box_xyxy_px=(5.0, 40.0, 15.0, 50.0))
    with review(folder) as again:
        assert again.next_undo().action == "add"
        assert again.undo() == (HARD, None)
        assert again.undo() == (HARD, None)
        assert boxes_in(folder) == 1
        with pytest.raises(DatasetError, match="nothing to undo"):
            again.undo()
        again.finish()
    assert regions_in(folder, HARD) == before
    assert vouched_for(folder)


def test_undo_keeps_its_hands_off_what_was_changed_by_other_means(folder):
    with review(folder) as session:
        decide(session, "accept", 1)
        session.finish()
    (folder / "labels/train/b (1).txt").write_text("")
    with review(folder) as again, pytest.raises(DatasetError, match="changed by other means"):
        again.undo()


def test_an_old_page_cannot_decide_on_what_it_does_not_know(folder):
    with review(folder) as session:
        decide(session, "accept", 1)
        with pytest.raises(DatasetError, match="another window"):
            session.decide(Choice(image_name=HARD, version=0, action="reject", place=1))
        assert session.image(HARD).regions[1].review == "accepted"


def test_a_full_disk_changes_nothing(folder):
    with review(folder) as session:
        decide(session, "accept", 1)
        log = folder / "reviews.jsonl"
        with files_may_hold(log.stat().st_size), pytest.raises(OutputError, match=r"reviews\.jsonl"):
            decide(session, "reject", 0)
        assert session.image(HARD).regions[0] == SURE
        assert (session.version(HARD), boxes_in(folder)) == (1, 2)
        assert decide(session, "reject", 0) is None


def test_what_is_recorded_counts_though_the_label_file_cannot_be_written(folder):
    with review(folder) as session:
        labels = folder / "labels/train/b (1).txt"
        labels.unlink()
        labels.mkdir()
        warning = decide(session, "accept", 1)
        assert warning.startswith("Recorded, but the label file is not up to date yet: ")
        labels.rmdir()
        session.finish()
    assert regions_in(folder, HARD)[1].review == "accepted"


def test_counts_follow(folder):
    with review(folder) as session:
        assert (session.count("queued"), session.count("unreviewed")) == (3, 2)
        decide(session, "accept", 1)
        decide(session, "accept", 0, DONE)
        assert (session.count("queued"), session.count("unreviewed"), session.count("accepted")) == (
            2,
            1,
            2,
        )
        session.undo()
        assert session.count("unreviewed") == 2


def test_the_order_stays_while_a_person_works(folder):
    with review(folder) as session:
        decide(session, "accept", 1)
        decide(session, "accept", 2)
        assert session.order("queued") == [HARD, EASY]
        session.finish()
    with review(folder) as again:
        assert again.order("queued") == [EASY]


def test_a_damaged_image_is_left_out_and_named(folder):
    (folder / HARD).write_bytes(b"no image")
    with review(folder) as session:
        assert HARD in session.problems
        assert session.order("queued") == [EASY]
        decide(session, "accept", image_name=EASY)
        session.finish()
    kept = json.loads((folder / COCO).read_text(encoding="utf-8"))
    assert any(row["file_name"] == HARD for row in kept["images"])


def test_a_decided_image_that_is_gone_does_not_stop_the_next_start(folder, caplog):
    with review(folder) as session:
        decide(session, "accept", 1)
        decide(session, "accept", image_name=EASY)
    (folder / HARD).unlink()
    with review(folder) as again:
        assert [region.review for region in again.image(EASY).regions] == ["accepted"]
        assert again.undo()[0] == EASY
        with pytest.raises(DatasetError, match="no image 'images/train/b"):
            again.undo()
    assert f"{HARD} was decided on and is no longer there" in caplog.text


def test_no_image_no_review(folder):
    for file in (folder / "images").rglob("*.png"):
        file.unlink()
    with pytest.raises(DatasetError, match="holds no image to review"), review(folder):
        pass


ACTIONS = st.sampled_from(["accept", "reject", "relabel", "redraw", "add", "undo", "finish", "crash"])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 2)), max_size=10))
def test_whatever_happens_the_folder_says_what_the_page_said(tmp_path_factory, steps):
    folder = write_folder(tmp_path_factory.mktemp("data") / "data")
    log = ReviewLog(folder)
    session = Session(folder, log, TAXONOMY)
    for action, place in steps:
        if action == "crash":
            log.__exit__(None, None, None)
            log = ReviewLog(folder)
            before, session = session, Session(folder, log, TAXONOMY)
            assert session.image(HARD).regions == pytest.approx(before.image(HARD).regions)
        elif action == "finish":
            session.finish()
        elif action == "undo":
            if session.next_undo():
                session.undo()
        else:
            decide(session, action, place, label="broken", box_xyxy_px=(1.0, 30.0 + place, 9.0, 59.0))
    session.finish()
    log.__exit__(None, None, None)
    assert regions_in(folder, HARD) == session.image(HARD).regions
    assert vouched_for(folder)
