from __future__ import annotations

import pytest

from edge.config.alarm_budget import Budget, ClothAmount, rounded_up
from edge.core.errors import DatasetError


def test_thirty_metres_carry_one_false_alarm_per_100_m():
    Budget(1, "100 m").check(ClothAmount(670, 30.0, 11.4))


def test_a_promise_that_30_m_cannot_carry_names_the_metres_that_are_missing_and_what_they_carry():
    with pytest.raises(DatasetError) as error:
        Budget(0.1, "100 m").check(ClothAmount(670, 30.0, 11.4))
    assert error.value.problem == (
        "30 m of clean cloth cannot support the promise of at most 0.1 false alarms per 100 m: 220 m more "
        "are missing. It supports at most 0.84 false alarms per 100 m."
    )
    assert error.value.cure == "Teach on 250 m or more, or ask for a higher rate."


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        (Budget(3, "100 m"), 0.9),
        (Budget(0.5, "m2"), 5.7),
        (Budget(0.1, "image"), 67.0),
    ],
    ids=["metres", "square metres", "images"],
)
def test_a_budget_allows_its_rate_times_the_cloth(budget, allowed):
    assert budget.allowed_on(ClothAmount(670, 30.0, 11.4)) == pytest.approx(allowed)


@pytest.mark.parametrize("amount", [ClothAmount(0), ClothAmount(10)], ids=["none", "no scale"])
def test_no_metres_carry_no_promise_per_metre(amount):
    with pytest.raises(DatasetError, match=r"^0 m of clean cloth .* 25 m more are missing\. Teach"):
        Budget(1, "100 m").check(amount)


@pytest.mark.parametrize(
    ("value", "up"), [(0.8333, 0.84), (10.0, 10.0), (0.4033, 0.41), (101.0, 110.0), (0.0125, 0.013)]
)
def test_a_rate_is_rounded_up_to_two_digits(value, up):
    assert rounded_up(value) == up


@pytest.mark.parametrize(
    ("images", "allowed"),
    [(8, 0.4), (20, 1.0), (30, 2.25), (40, 4.0), (400, 40.0)],
    ids=lambda value: f"{value:g}",
)
def test_levels_of_few_images_are_set_for_less_than_is_allowed(images, allowed):
    assert Budget(0.1, "image").set_on(ClothAmount(images)) == pytest.approx(allowed)


def test_levels_of_a_roll_are_set_for_what_is_allowed():
    assert Budget(3, "100 m").set_on(ClothAmount(3, 30.0, 11.4)) == pytest.approx(0.9)
