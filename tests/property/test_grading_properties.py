"""Laws of four-point grading."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cloth.defects import ClothDefect
from edge.cloth.grading import (
    Grade,
    area_m2,
    grade_roll,
    points_by_unit,
    points_of,
    points_of_length,
    points_per_100_m2,
    total_points,
)


def defect(start_m, along_mm, across_mm=1.0, left_mm=0.0):
    return ClothDefect("broken", 0.9, start_m, start_m + along_mm / 1000, left_mm, left_mm + across_mm)


defects = st.lists(
    st.builds(defect, st.floats(0, 20), st.floats(0, 4000), st.floats(0, 1500), st.floats(0, 100)),
    max_size=30,
)


@pytest.mark.parametrize(
    ("length_mm", "points"),
    [(0, 1), (75, 1), (75.1, 2), (150, 2), (150.1, 3), (230, 3), (230.1, 4), (1e6, 4)],
)
def test_points_by_length(length_mm, points):
    assert points_of_length(length_mm) == points
    assert points_of(defect(0.3, min(length_mm, 900), length_mm)) == points


@pytest.mark.parametrize(
    ("found", "points"),
    [
        ([], {}),
        ([defect(3.99, 100)], {3: 2}),
        ([defect(3, 75)], {3: 1}),
        ([defect(2.1, 40)] * 3, {2: 3}),
        ([defect(2.1, 40)] * 9, {2: 4}),
        ([defect(5.5, 3000)], {5: 4, 6: 4, 7: 4}),
        ([defect(5.5, 3001)], {5: 4, 6: 4, 7: 4, 8: 4}),
        ([defect(0.1, 5, 1800)], {0: 4}),
    ],
)
def test_points_by_unit(found, points):
    assert points_by_unit(found) == points


@given(defects, st.randoms())
def test_points_do_not_depend_on_the_order(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    assert points_by_unit(shuffled) == points_by_unit(found)


@given(defects, defects)
def test_more_defects_are_never_fewer_points(found, more):
    before, after = points_by_unit(found), points_by_unit(found + more)
    assert all(after[metre] >= points for metre, points in before.items())


@given(defects.filter(bool), st.floats(0, 5000), st.data())
def test_a_longer_defect_is_never_fewer_points(found, longer_mm, data):
    place = data.draw(st.integers(0, len(found) - 1))
    grown = [*found]
    grown[place] = replace(grown[place], end_m=grown[place].end_m + longer_mm / 1000)
    assert sum(points_by_unit(grown).values()) >= sum(points_by_unit(found).values())


@given(defects)
def test_a_metre_is_charged_at_most_four(found):
    assert all(1 <= points <= 4 for points in points_by_unit(found).values())


def test_points_per_100_square_metres():
    assert points_per_100_m2(20, area_m2(120.0, 1500.0)) == pytest.approx(20 * 100 / (120 * 1.5))


@pytest.mark.parametrize(("inspected_m", "width_mm"), [(10.0, None), (0.0, 1500.0), (10.0, 0.0)])
def test_unknown_where_width_or_length_is_not_known(inspected_m, width_mm):
    area = area_m2(inspected_m, width_mm)
    assert grade_roll([defect(0, 10)], area, {"first": 20.0}) == Grade(1, None, None)


@given(defects)
def test_the_total_is_the_sum_over_metres(found):
    assert total_points(found) == sum(points_by_unit(found).values())


def test_a_defect_of_absurd_length_is_graded_at_once():
    assert total_points([defect(0, 1e15), defect(5, 10)]) == 4 * 10**12


@pytest.mark.parametrize(
    ("limits", "grade"),
    [
        ({"second": 40.0, "first": 20.0}, "first"),
        ({"second": 40.0, "first": 9.0}, "second"),
        ({"first": 9.0}, "below grade"),
        ({}, None),
    ],
)
def test_the_best_grade_whose_limit_holds(limits, grade):
    found = [defect(float(metre), 10) for metre in range(10)]
    result = grade_roll(found, 100.0, limits)
    assert result == Grade(10, pytest.approx(10.0), grade)
