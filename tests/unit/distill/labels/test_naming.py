from __future__ import annotations

import pytest

from distill.labels.annotations import Region
from distill.labels.naming import Namer
from edge.taxonomy import load_taxonomy

BOX = (0.0, 0.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def namer():
    return Namer(load_taxonomy(), blacklist=["table", "hand"])


@pytest.mark.parametrize(
    "words",
    [
        "broken end",
        "Broken  End.",
        "a warp yarn is missing along the cloth",
        "a warp yarn is missing along the cloth | broken end | broken",
    ],
    ids=["category", "spelling", "phrase", "all three"],
)
def test_a_match_on_any_level_gives_all_three(namer, words):
    named = namer.named(Region(words, BOX, score=0.5))
    assert (named.label, named.category) == ("broken", "broken end")
    assert named.phrase == "a warp yarn is missing along the cloth"


def test_a_class_alone_stays_without_a_kind(namer):
    named = namer.named(Region("Drop", BOX))
    assert (named.label, named.category, named.phrase) == ("drop", None, None)


def test_the_finer_word_wins_over_the_class(namer):
    assert namer.named(Region("drop", BOX, category="nep")).category == "nep"


@pytest.mark.parametrize("words", ["a wooden table", "hand", "cat", ""])
def test_what_has_no_place_is_refused(namer, words):
    assert namer.named(Region(words, BOX)) is None


def test_a_blacklisted_word_beats_a_match(namer):
    assert namer.named(Region("drop", BOX, phrase="the hand of a weaver")) is None
