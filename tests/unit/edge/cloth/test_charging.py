"""Points by the rules of a buyer: worked examples of ASTM D5430 and of the ten-point system."""

from __future__ import annotations

import pytest

from edge.cloth.charging import INCH_MM, YARD_M, charging_of
from edge.cloth.defects import ClothDefect
from edge.cloth.grading import (
    area_m2,
    grade_roll,
    points_by_unit,
    points_of,
    points_per_100_m2,
    ten_point_quality,
    total_points,
)
from edge.config.buyers import BuyerRules

OWN = [{"up_to_mm": 5, "points": 0}, {"up_to_mm": 50, "points": 2}, {"points": 6}]
M2_OF_100_YD2 = 100 * YARD_M**2


def charging(width_mm=1500.0, **rules):
    return charging_of(BuyerRules.model_validate(rules), width_mm)


def defect(at_m=0.0, along_mm=1.0, across_mm=1.0, kind=None):
    return ClothDefect("broken", 0.9, at_m, at_m + along_mm / 1000, 100.0, 100.0 + across_mm, kind=kind)


def inches(along=0.0, across=0.0):
    return defect(0.0, along * INCH_MM, across * INCH_MM)


@pytest.mark.parametrize(
    ("inches_long", "points"), [(2.9, 1), (3.1, 2), (5.9, 2), (6.1, 3), (9.0, 3), (9.1, 4), (30, 4)]
)
def test_four_points_by_length_along_or_across(inches_long, points):
    assert points_of(inches(along=inches_long), charging()) == points
    assert points_of(inches(across=inches_long), charging()) == points


@pytest.mark.parametrize(
    ("size_mm", "with_rule", "without"), [(1, 2, 1), (25.4, 2, 1), (25.5, 4, 1), (200, 4, 3)]
)
def test_openings_up_to_an_inch_are_two_points_and_larger_ones_four(size_mm, with_rule, without):
    hole = defect(0.0, 1.0, size_mm, kind="hole")
    assert points_of(hole, charging(astm_holes=True)) == with_rule
    assert points_of(hole, charging()) == without
    assert points_of(defect(0.0, 1.0, size_mm, kind="slub"), charging(astm_holes=True)) == without


def test_a_worked_roll_of_the_four_point_system():
    """A textbook example: 130 yards of 45 inches, 16 + 6 + 4 points and 4 for a hole."""
    sizes = [2] * 6 + [5] * 5 + [8] * 2 + [12]
    found = [defect(YARD_M * 5 * n, inch * INCH_MM) for n, inch in enumerate(sizes)]
    found.append(defect(YARD_M * 100, 2 * INCH_MM, kind="hole"))
    by_yard = charging(45 * INCH_MM, linear_unit="yard", astm_holes=True)
    points, area = total_points(found, by_yard), area_m2(130 * YARD_M, 45 * INCH_MM)
    assert points == 30
    assert points * M2_OF_100_YD2 / area == pytest.approx(30 * 36 * 100 / (130 * 45))  # 18.46
    assert points_per_100_m2(points, area) == pytest.approx(18.4615 / 0.83612736, rel=1e-4)
    assert grade_roll(found, area, {"first": 20.0, "second": 40.0}, by_yard).grade == "second"


@pytest.mark.parametrize(("unit", "unit_m"), [("metre", 1.0), ("yard", YARD_M)])
def test_a_linear_unit_is_charged_at_most_four_points(unit, unit_m):
    in_one = [defect(7.02 * unit_m, 200)] * 3
    assert points_by_unit(in_one, charging(linear_unit=unit)) == {7: 4}
    across_the_end = [defect(7.99 * unit_m, 200), defect(8.01 * unit_m, 200)]
    assert points_by_unit(across_the_end, charging(linear_unit=unit)) == {7: 3, 8: 3}
    runs = [defect(2.5 * unit_m, 3000 * unit_m)]
    assert points_by_unit(runs, charging(linear_unit=unit)) == {2: 4, 3: 4, 4: 4}


BY_WIDTH = [{"up_to_mm": 1625, "points": 4}, {"up_to_mm": 2000, "points": 5}, {"points": 7}]


@pytest.mark.parametrize(
    ("width_mm", "points"), [(1500.0, 4), (1625.0, 4), (1626.0, 5), (2000.0, 5), (3200.0, 7), (None, 7)]
)
def test_wide_cloth_may_have_more_points_in_a_metre(width_mm, points):
    found = [defect(3.1, 300)] * 5
    assert total_points(found, charging(width_mm, linear_points_by_width=BY_WIDTH)) == points


@pytest.mark.parametrize(
    ("along", "across", "points"),
    [
        (1, 0, 1), (1.1, 0, 3), (5, 0, 3), (5.1, 0, 5), (10, 0, 5), (10.1, 0, 10), (36, 0, 10),
        (0, 1, 1), (0, 1.1, 3), (0, 5, 3), (0, 5.1, 5), (0, 22.5, 5), (0, 22.6, 10), (0, 45, 10),
    ],
)  # fmt: skip
def test_ten_points_along_the_warp_and_across_the_width(along, across, points):
    ten = charging(45 * INCH_MM, system="ten-point")
    assert points_of(inches(along, across), ten) == points
    assert total_points([inches(along, across)] * 20, ten) == 10


def test_a_narrow_or_unknown_width_by_the_ten_point_system():
    assert points_of(inches(across=6), charging(8 * INCH_MM, system="ten-point")) == 10
    assert points_of(inches(across=6), charging(None, system="ten-point")) == 10
    assert points_of(inches(across=4.9), charging(8 * INCH_MM, system="ten-point")) == 3


def test_a_defect_of_more_than_a_yard_is_ten_points_in_each():
    ten = charging(system="ten-point")
    assert ten.unit_m == YARD_M
    assert points_of(inches(along=37), ten) == 20
    assert total_points([defect(0.0, YARD_M * 5000)], ten) == 50


@pytest.mark.parametrize(
    ("points", "yards", "quality"),
    [(0, 60, "first"), (60, 60, "first"), (61, 60, "second"), (1, 0, None)],
)
def test_a_piece_is_of_first_quality_if_its_points_do_not_exceed_its_yards(points, yards, quality):
    assert ten_point_quality(points, yards * YARD_M) == quality


def test_a_table_of_the_buyer():
    own = charging(system="own", point_table=OWN)
    assert [points_of(defect(0.0, size), own) for size in (1, 5, 6, 50, 51, 900)] == [0, 0, 2, 2, 6, 6]
    assert points_by_unit([defect(4.0, 3)], own) == {}
    assert total_points([defect(4.0, 30)] * 9, own) == 6
    assert (
        total_points([defect(4.0, 30)] * 9, charging(system="own", point_table=OWN, linear_points=10)) == 10
    )


def test_a_defect_runs_from_the_length_on_that_the_buyer_says():
    long = defect(2.5, 2500)
    assert points_of(long, charging()) == 12
    assert points_of(long, charging(running_defect_m=3.0)) == 4
    assert points_of(long, charging(running_defect_m=2.4)) == 12
    assert points_of(defect(2.5, 100), charging(running_defect_m=0.05)) == 4


def test_running_defects_beside_each_other_are_added_up_as_far_as_the_limit():
    two = [defect(0.0, 10_000), defect(5.0, 10_000)]
    assert total_points(two, charging()) == 60
    assert total_points(two, charging(linear_points=6)) == 5 * 4 + 5 * 6 + 5 * 4
