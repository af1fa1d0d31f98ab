from __future__ import annotations

import pytest
from pydantic import ValidationError

from distill.labels.engine.triage import Band, Triage
from distill.labels.sets.annotations import Region

BOX = (0.0, 0.0, 10.0, 4.0)
TRIAGE = Triage({"broken": Band(accept=0.5, reject=0.2)}, Band(accept=0.8, reject=0.3), least_side_mm=1.5)


def fate(region, mm_per_px=None):
    result = TRIAGE.sort([region], mm_per_px)
    return next(name for name in ("accepted", "queued", "rejected") if getattr(result, name))


@pytest.mark.parametrize(
    ("label", "score", "expected"),
    [
        ("drop", 0.8, "accepted"),
        ("drop", 0.79, "queued"),
        ("drop", 0.3, "queued"),
        ("drop", 0.29, "rejected"),
        ("broken", 0.5, "accepted"),
        ("broken", 0.25, "queued"),
    ],
)
def test_the_band_of_the_class_decides(label, score, expected):
    assert fate(Region(label, BOX, score=score)) == expected


@pytest.mark.parametrize(
    ("review", "expected"), [("accepted", "accepted"), ("corrected", "accepted"), ("rejected", "rejected")]
)
def test_a_person_has_the_last_word(review, expected):
    assert fate(Region("drop", BOX, score=0.5, review=review)) == expected


@pytest.mark.parametrize(
    ("mm_per_px", "expected"), [(None, "accepted"), (0.2, "accepted"), (0.1, "rejected")]
)
def test_the_longer_side_decides_what_is_too_small(mm_per_px, expected):
    assert fate(Region("drop", BOX, score=0.9), mm_per_px) == expected


def test_weights_are_probabilities_until_a_person_decides():
    regions = [Region("drop", BOX, score=0.9), Region("drop", BOX, score=0.4, review="accepted")]
    assert [region.weight for region in TRIAGE.sort(regions).accepted] == [0.9, 1.0]


def test_a_band_upside_down_is_refused():
    with pytest.raises(ValidationError, match="reject"):
        Band(accept=0.2, reject=0.5)
