"""A candidate is compared on the cloth that both inspected, and few data never decide."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.fleet.bounds import count_at_least, count_at_most, fraction_at_least, fraction_at_most
from edge.fleet.canaries import (
    CANDIDATE_INSPECTED,
    Figures,
    Place,
    Reported,
    Stretch,
    decide,
    figures_of,
    read_figures,
)
from edge.fleet.database import connected
from edge.fleet.settings import ReleaseSettings
from edge.pipeline import candidate
from tests.unit.edge.fleet.samples import NOON, arrival
from tests.unit.edge.fleet.test_storing import put

SETTINGS = ReleaseSettings()
BUNDLE = "0123456789abcdef"
CONFIDENCE = 0.95


def at(start_m, left_mm=100.0):
    return Place(start_m, start_m + 0.01, left_mm, left_mm + 5)


def stretch(*places, start_m=0.0, inspected_m=10.0, skipped_m=0.0, count=None, loom="a", roll="r1"):
    total = len(places) if count is None else count
    return Stretch(loom, roll, start_m, start_m + 10, inspected_m, skipped_m, total, places)


def enough(**changes):
    """Return figures with which a candidate is released."""
    values = {"metres": 1000.0, "confirmed": 100, "found_again": 100, "new": 5, "gone": 5, "looms": 2}
    return Figures(**{**values, **changes})


def test_limits_are_those_of_the_tables():
    assert fraction_at_least(29, 29, CONFIDENCE) == pytest.approx(0.05 ** (1 / 29))
    assert fraction_at_least(8, 10, CONFIDENCE) == pytest.approx(0.49310, abs=1e-4)
    assert fraction_at_most(8, 10, CONFIDENCE) == pytest.approx(0.96323, abs=1e-4)
    assert count_at_least(10, CONFIDENCE) == pytest.approx(5.4254, abs=1e-3)
    assert count_at_most(10, CONFIDENCE) == pytest.approx(16.9622, abs=1e-3)
    assert count_at_most(0, CONFIDENCE) == pytest.approx(2.9957, abs=1e-3)


@given(st.integers(1, 300), st.data())
def test_limits_of_a_fraction_enclose_it(tries, data):
    successes = data.draw(st.integers(0, tries))
    low = fraction_at_least(successes, tries, CONFIDENCE)
    assert 0 <= low <= successes / tries <= fraction_at_most(successes, tries, CONFIDENCE) <= 1


@given(st.integers(0, 2000))
def test_limits_of_a_count_enclose_it_and_grow(count):
    low, high = count_at_least(count, CONFIDENCE), count_at_most(count, CONFIDENCE)
    assert low <= count < high
    assert low <= count_at_least(count + 1, CONFIDENCE)
    assert high < count_at_most(count + 1, CONFIDENCE)


def test_reports_are_paired_on_the_cloth_that_both_inspected():
    reported = {
        "r1": [
            Reported(at(1.0), "confirmed"), Reported(at(2.0), "confirmed"), Reported(at(3.0), "rejected"),
            Reported(at(4.0), None), Reported(at(15.0), "confirmed"),
        ]
    }  # fmt: skip
    found = figures_of([stretch(at(1.005), at(4.0), at(8.0))], reported)
    assert found == Figures(metres=10, confirmed=2, found_again=1, new=1, gone=1, looms=1)


def test_reports_that_lie_apart_are_of_two_defects():
    reported = {"r1": [Reported(at(1.0), "confirmed")]}
    assert figures_of([stretch(at(1.0, left_mm=116.0))], reported).found_again == 0
    assert figures_of([stretch(at(1.025))], reported).found_again == 0
    assert figures_of([stretch(at(1.0, left_mm=114.0))], reported).found_again == 1


def test_skipped_cloth_is_not_compared():
    reported = {"r1": [Reported(at(1.0), "confirmed")]}
    assert figures_of([stretch(skipped_m=0.1)], reported) == Figures()


def test_a_defect_across_two_stretches_counts_once():
    reported = {"r1": [Reported(Place(9.99, 10.02, 0, 5), "confirmed")]}
    both = [stretch(), stretch(Place(10.0, 10.02, 0, 5), start_m=10.0)]
    found = figures_of(both, reported)
    assert (found.confirmed, found.found_again, found.new) == (1, 1, 0)


def test_all_are_counted_where_an_event_names_only_some():
    assert figures_of([stretch(at(1.0), count=700)], {}).new == 700


@pytest.mark.parametrize(
    ("figures", "decision", "why"),
    [
        (Figures(), "waiting", "200 m of cloth"),
        (enough(), "released", "100 of 100 confirmed"),
        (enough(metres=150.0), "waiting", "50 m of cloth"),
        (enough(confirmed=28, found_again=28), "waiting", "which shows 90%"),
        (enough(confirmed=29, found_again=29), "released", "29 of 29"),
        (enough(found_again=50), "stopped", "it misses defects: 50 of 100"),
        (enough(confirmed=1, found_again=0), "waiting", "0 of 1"),
        (enough(new=100), "stopped", "it has more false alarms"),
        (enough(new=36), "waiting", "no more false alarms"),
        (enough(new=100, gone=100), "released", "new reports 100"),
    ],
)
def test_decisions(figures, decision, why):
    decided, said = decide(figures, SETTINGS)
    assert decided == decision, said
    assert why in said


@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 300), st.integers(0, 300), st.floats(0, 5000)
)  # fmt: skip
def test_worse_figures_never_lead_to_a_better_decision(found, missed, new, gone, metres):
    rank = ("stopped", "waiting", "released").index
    here = Figures(metres, found + missed + 1, found + 1, new, gone, 1)
    worse = Figures(metres, found + missed + 1, found, new + 1, gone, 1)
    assert rank(decide(worse, SETTINGS)[0]) <= rank(decide(here, SETTINGS)[0])


def test_few_data_never_release():
    for count in range(29):
        assert decide(enough(confirmed=count, found_again=count), SETTINGS)[0] == "waiting"


def test_device_and_office_agree_on_the_event():
    assert candidate.CANDIDATE_INSPECTED == CANDIDATE_INSPECTED


def inspected(number, utc, received, bundle=BUNDLE, **changes):
    """Return the event of a stretch of 10 m without a defect."""
    data = {
        "bundle": bundle, "length_m": 10.0, "inspected_m": 10.0, "skipped_m": 0.0, "count": 0,
        "defects": [], **changes,
    }  # fmt: skip
    return arrival(
        "event", number, kind=CANDIDATE_INSPECTED, at_m=0.0, data=data, utc=utc.isoformat(),
        received=received, roll_id=f"r{number}",
    )  # fmt: skip


@pytest.mark.parametrize("years", [-1, 0, 1])
def test_a_wrong_clock_of_a_device_does_not_hide_what_it_inspected(settings, years):
    received = NOON + timedelta(hours=1)
    utc = received + timedelta(days=365 * years)
    with connected(settings.database) as database:
        put(
            database, inspected(1, utc, received), inspected(2, utc, NOON - timedelta(hours=1)),
            inspected(3, utc, received, bundle="f" * 16),
        )  # fmt: skip
        found = read_figures(database, BUNDLE, ["loom-7"], NOON.isoformat())
        other = read_figures(database, BUNDLE, ["loom-8"], NOON.isoformat())
    assert (found.metres, other.metres) == (10.0, 0.0)


@pytest.mark.parametrize(
    "damage",
    [{"length_m": "x"}, {"defects": None}, {"defects": [{}]}, {"count": None}, {"inspected_m": []}],
)
def test_an_event_that_no_device_writes_is_left_out(settings, damage):
    now = datetime(2026, 1, 8, tzinfo=timezone.utc)
    with connected(settings.database) as database:
        put(database, inspected(1, now, now, **damage), inspected(2, now, now))
        assert read_figures(database, BUNDLE, ["loom-7"], NOON.isoformat()).metres == 10.0
