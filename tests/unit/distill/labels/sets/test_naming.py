from __future__ import annotations

from pathlib import Path

import pytest

from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from distill.labels.sets.naming import Namer, class_of, full_name, kind_of, named_by
from edge.core.taxonomy import load_taxonomy

BOX = (0.0, 0.0, 10.0, 10.0)
TAXONOMY = load_taxonomy()


@pytest.fixture(scope="module")
def namer():
    return Namer(TAXONOMY, blacklist=["table", "hand"])


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


def test_wrinkle_as_a_label_is_the_class_and_as_a_category_the_kind(namer):
    assert namer.named(Region("wrinkle", BOX)).category is None
    assert namer.named(Region("wrinkle", BOX, category="wrinkle")).category == "wrinkle"
    assert kind_of(Region("Wrinkle", BOX), TAXONOMY) is None


def test_a_new_kind_of_a_known_class_keeps_its_words(namer):
    named = namer.named(Region("drop", BOX, category="insect", phrase="a moth"))
    assert (named.label, named.category, named.phrase) == ("drop", "insect", "a moth")


def test_a_kind_found_by_an_annotator_overrules_its_class_and_a_chosen_class_the_kind(namer):
    region = Region("broken", BOX, category="nep")
    assert namer.named(region).label == "drop"
    named, problems = by_file(region)
    assert (named.label, named.category) == ("broken", None)
    assert "'nep' is no kind of 'broken'" in problems


def test_files_keep_the_phrase_that_people_wrote():
    named, problems = by_file(Region("Stain", BOX, phrase="oil from the bearing"))
    assert (named.label, named.category, named.phrase) == ("drop", "stain", "oil from the bearing")
    assert not problems
    assert full_name(named, TAXONOMY) == "oil from the bearing | stain | drop"


def test_an_unknown_label_of_a_file_is_a_problem_and_an_unknown_category_too():
    assert by_file(Region("moth", BOX)) == (None, "'moth' is not in the taxonomy (wrinkle, drop, broken)")
    phrase = "a spot of oil, water or dye"
    named, problems = by_file(Region("drop", BOX, category="moth", phrase=phrase))
    assert named.category == "stain"
    assert "'moth' is no kind of 'drop'" in problems


def test_a_label_the_taxonomy_lacks_stays_what_it_is():
    assert class_of(Region("moth", BOX), TAXONOMY) == "moth"
    assert class_of(Region("DROP ", BOX), TAXONOMY) == "drop"


def by_file(region):
    """The region as files give it, and what is said of it."""
    image = AnnotatedImage("a.png", (20, 20), (region,))
    named = named_by(LabelSet(Path(), (), (image,)), TAXONOMY)
    (regions,) = (image.regions for image in named.images)
    return regions[0] if regions else None, " ".join(str(said) for said in named.problems.values())
