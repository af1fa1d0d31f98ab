from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distill.operating_point.choose import thresholds_under_budget
from distill.operating_point.reports import ImageReports, Report, counts_at

BEFORE = {"wrinkle": 0.3, "drop": 0.4, "broken": 0.5}


def image(*reports, truth=()):
    """An image; a report is (class, score, defects that it points at)."""
    listed = tuple(Report(class_name=name, score=score, defects=tuple(hit)) for name, score, hit in reports)
    return ImageReports(name="strip.png", truth=tuple(truth), reports=listed)


def strips_with(name, score, count):
    return [image((name, score, [0]), truth=[name])] * count


def test_without_a_budget_every_false_positive_is_kept_out():
    images = [*strips_with("drop", 0.9, 100), image(("drop", 0.6, [])), image(("broken", 0.7, []))]
    thresholds = thresholds_under_budget(images, 0, BEFORE)
    counts = counts_at(thresholds, images)
    assert (counts.false_positives, counts.true_positives) == (0, 100)
    assert 0.6 < thresholds["drop"] < 0.9
    assert thresholds["broken"] > 0.7


def test_the_budget_is_spent_where_it_finds_most():
    images = [
        *strips_with("drop", 0.5, 30), image(("drop", 0.55, [])),
        *strips_with("broken", 0.5, 60), image(("broken", 0.55, [])),
    ]  # fmt: skip
    one = counts_at(thresholds_under_budget(images, 1, BEFORE), images)
    assert (one.false_positives, one.true_positives, one.found["broken"]) == (1, 60, (60, 60))
    two = counts_at(thresholds_under_budget(images, 2, BEFORE), images)
    assert (two.false_positives, two.true_positives) == (2, 90)


def test_nothing_of_the_budget_is_spent_for_nothing():
    images = [*strips_with("drop", 0.9, 50), image(("drop", 0.3, [])), image(("drop", 0.2, []))]
    assert counts_at(thresholds_under_budget(images, 10, BEFORE), images).false_positives == 0


def test_a_class_with_few_boxes_stays_near_the_threshold_before():
    few = thresholds_under_budget(strips_with("broken", 0.06, 1), 0, BEFORE)
    many = thresholds_under_budget(strips_with("broken", 0.06, 200), 0, BEFORE)
    assert few["broken"] > 0.45
    assert many["broken"] < 0.1
    assert (few["wrinkle"], few["drop"]) == (0.3, 0.4)


def test_a_defect_that_is_found_already_asks_for_no_lower_threshold():
    twice = image(("drop", 0.9, [0]), ("drop", 0.1, [0]), truth=["drop"])
    assert thresholds_under_budget([twice] * 100, 0, BEFORE)["drop"] > 0.4


def test_a_defect_is_found_by_a_report_of_another_class_but_not_named():
    counts = counts_at(BEFORE, [image(("broken", 0.9, [0]), truth=["drop"])])
    assert (counts.found["drop"], counts.named, counts.false_positives) == ((1, 1), 0, 0)


def test_false_positives_on_clean_images_are_counted_apart():
    images = [image(("drop", 0.9, [])), image(("drop", 0.9, []), truth=["drop"]), image()]
    counts = counts_at(BEFORE, images)
    assert (counts.false_positives, counts.false_positives_on_clean) == (2, 1)
    assert (counts.images, counts.clean_images) == (3, 2)


REPORT = st.tuples(st.sampled_from(list(BEFORE)), st.floats(0.05, 1), st.sets(st.just(0), max_size=1))
IMAGE = st.builds(lambda reports: image(*reports, truth=["drop"]), st.lists(REPORT, max_size=4))


@given(st.lists(IMAGE, max_size=12), st.integers(0, 5))
def test_the_budget_is_always_kept(images, budget):
    thresholds = thresholds_under_budget(images, budget, BEFORE)
    assert counts_at(thresholds, images).false_positives <= budget
    assert all(0.05 <= threshold <= 1.01 for threshold in thresholds.values())


@given(st.lists(IMAGE, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(images, random):
    shuffled = random.sample(images, len(images))
    assert thresholds_under_budget(images, 2, BEFORE) == thresholds_under_budget(shuffled, 2, BEFORE)
