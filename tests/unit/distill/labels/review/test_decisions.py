"""Decisions applied: the same from every state on the way, and taken back without a trace."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from distill.labels.review.choices import Choice, judged
from distill.labels.review.decisions import ReviewDecision, apply_reviews, not_undone, undoing
from distill.labels.review.records import decision_of, encoded, line_of
from distill.labels.sets.annotations import Region
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.labels.review.folders import CLASSES, CLEAN, DONE, EASY, HARD, label_set

TAXONOMY = load_taxonomy()

BOX = st.tuples(st.floats(0, 50), st.floats(0, 25), st.floats(55, 120), st.floats(30, 60))


@st.composite
def histories(draw) -> list[ReviewDecision]:
    """Draw what a person may do, undo among it, as the page and the session make it of it."""
    now, done = label_set(), []
    for number in range(1, draw(st.integers(0, 12)) + 1):
        images = {image.file_name: image for image in now.images}
        standing = not_undone(done)
        if standing and draw(st.booleans()):
            last = standing[-1]
            regions = images[last.image_name].regions
            decision = undoing(last, regions, number, _base(done, last.image_name, regions))
            assert decision is not None
        else:
            decision = draw(_decisions(number, images, done))
        done.append(decision)
        now = apply_reviews(now, [decision])
    return done


@st.composite
def _decisions(draw, number, images, done) -> ReviewDecision:
    image = images[draw(st.sampled_from([HARD, EASY, DONE, CLEAN]))]
    actions = ["accept", "reject", "relabel", "redraw", "add"] if image.regions else ["add"]
    choice = Choice(
        image_name=image.file_name,
        version=0,
        action=draw(st.sampled_from(actions)),
        place=draw(st.integers(0, max(len(image.regions) - 1, 0))),
        label=draw(st.sampled_from(CLASSES)),
        category=draw(st.none() | st.sampled_from([kind.category for kind in TAXONOMY.kinds])),
        box_xyxy_px=draw(BOX),
    )
    is_new = choice.action == "add"
    place = len(image.regions) if is_new else choice.place
    was = None if is_new else image.regions[place]
    now = judged(choice, image, CLASSES, TAXONOMY)
    base = _base(done, image.file_name, image.regions)
    return ReviewDecision(number, image.file_name, choice.action, place, was, now, base)


def _base(done, image_name, regions):
    return None if any(decision.image_name == image_name for decision in done) else regions


@given(histories())
def test_applying_twice_is_applying_once(history):
    once = apply_reviews(label_set(), history)
    assert apply_reviews(once, history) == once


@given(histories(), st.data())
def test_from_every_state_on_the_way_the_end_is_the_same(history, data):
    """As after a crash: the files hold a part of what was decided, and no `base` is needed for it."""
    bare = [replace(decision, base=None) for decision in history]
    middle = apply_reviews(label_set(), bare[: data.draw(st.integers(0, len(bare)))])
    assert apply_reviews(middle, bare) == apply_reviews(label_set(), bare)


@given(histories())
def test_files_in_any_state_do_not_matter_where_the_base_is_known(history):
    emptied = replace(label_set(), images=tuple(replace(i, regions=()) for i in label_set().images))
    decided = {decision.image_name for decision in history}
    expected = {i.file_name: i.regions for i in apply_reviews(label_set(), history).images}
    for image in apply_reviews(emptied, history).images:
        assert image.regions == (expected[image.file_name] if image.file_name in decided else ())


@given(histories())
def test_images_do_not_depend_on_each_other(history):
    by_image = sorted(history, key=lambda decision: decision.image_name)
    assert apply_reviews(label_set(), by_image) == apply_reviews(label_set(), history)


@given(histories())
def test_undoing_everything_leaves_what_there_was(history):
    now = apply_reviews(label_set(), history)
    number = len(history)
    while standing := not_undone(history):
        number += 1
        regions = next(i.regions for i in now.images if i.file_name == standing[-1].image_name)
        history.append(undoing(standing[-1], regions, number, None))
        now = apply_reviews(now, history[-1:])
    assert now == label_set()


@given(histories())
def test_a_line_of_the_log_holds_a_decision_whole(history):
    for decision in history:
        line = line_of(decision, "2026-01-01T00:00:00+00:00")
        assert line.count(b"\n") == 1
        assert decision_of(json.loads(line)) == decision


def test_a_name_that_is_no_text_can_be_recorded():
    assert b"\xed\xb3\xbf" in encoded({"image": "images/\udcff.png"})


def test_images_that_are_gone_are_skipped():
    gone = ReviewDecision(1, "images/train/gone.png", "add", 0, None, Region("drop", (0, 0, 1, 1)))
    assert apply_reviews(label_set(), [gone]) == label_set()


def test_what_was_changed_by_other_means_is_not_undone():
    image = next(image for image in label_set().images if image.file_name == HARD)
    was, now = image.regions[1], replace(image.regions[1], review="accepted")
    decision = ReviewDecision(1, HARD, "accept", 1, was, now)
    assert undoing(decision, image.regions, 2, None) is None
    assert undoing(decision, (), 2, None) is None
    nearly = replace(now, box_xyxy_px=(20.0000001, 10.0, 40.0, 30.0))
    assert undoing(decision, (image.regions[0], nearly), 2, None) is not None
