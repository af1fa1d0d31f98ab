from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.zero_shot.prompts import in_groups, prompts_of, texts_of
from edge.core.errors import ConfigError
from edge.core.taxonomy import DefectKind, Taxonomy, load_taxonomy


def taxonomy(*kinds, classes=("broken", "drop")):
    made = tuple(DefectKind(phrase=p, category=c, parent=k) for p, c, k in kinds)
    return Taxonomy(version=1, classes=classes, kinds=made)


def test_phrase_and_category_of_every_kind_are_asked_for():
    mill = load_taxonomy()
    prompts = {prompt.text: prompt for prompt in prompts_of(mill)}
    for kind in mill.kinds:
        for words in (kind.phrase, kind.category):
            found = prompts[words.lower()]
            assert (found.label, found.category, found.phrase) == (kind.parent, kind.category, kind.phrase)
    assert len(prompts) == 2 * len(mill.kinds)


def test_words_are_spelt_as_the_detectors_take_them():
    mill = taxonomy(("Is it  torn? Yes. Torn", "Tear", "broken"), ("grease", "oil", "drop"))
    assert texts_of(prompts_of(mill)) == ["is it torn yes torn", "tear", "grease", "oil"]


def test_words_of_two_kinds_belong_to_the_first():
    mill = taxonomy(("a hole", "hole", "broken"), ("hole", "speck", "drop"))
    hole = next(prompt for prompt in prompts_of(mill) if prompt.text == "hole")
    assert hole.label == "broken"


def test_a_class_without_kinds_is_asked_for_by_name():
    prompts = prompts_of(taxonomy(("a hole", "hole", "broken")))
    assert [(p.text, p.label, p.category) for p in prompts][-1] == ("drop", "drop", None)


def test_negative_prompts_come_last_and_have_no_class():
    prompts = prompts_of(taxonomy(("a hole", "hole", "broken")), ("Table edge.",))
    assert (prompts[-1].text, prompts[-1].label) == ("table edge", None)


@pytest.mark.parametrize("words", ["hole", "A Hole.", " . ", "drop"])
def test_a_negative_prompt_that_is_a_word_of_the_taxonomy_is_refused(words):
    with pytest.raises(ConfigError, match="negative prompt"):
        prompts_of(taxonomy(("a hole", "hole", "broken")), (words,))


@given(lengths=st.lists(st.integers(1, 20), max_size=40), slack=st.integers(0, 30))
def test_groups_hold_every_prompt_once_and_none_is_too_long(lengths, slack):
    longest = max(lengths, default=1) + slack
    groups = in_groups(lengths, longest)
    assert [index for group in groups for index in group] == list(range(len(lengths)))
    assert all(group and sum(lengths[i] for i in group) <= longest for group in groups)
    for one, following in pairwise(groups):
        assert sum(lengths[i] for i in one) + lengths[following[0]] > longest
