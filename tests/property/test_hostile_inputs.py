"""A few hostile inputs of every kind through the real commands; a benchmark gives thousands."""

from __future__ import annotations

import pytest

from tests.hostile.commands import outcome_of
from tests.hostile.inputs import MAKERS, hostile_words, write_workshop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workshop")
    return write_workshop(folder, lambda words: outcome_of(words, folder).code)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("kind", MAKERS)
def test_a_hostile_input_ends_by_a_documented_code(shop, tmp_path, kind, number):
    words = hostile_words(kind, number, shop, tmp_path)
    outcome = outcome_of(words, tmp_path)
    assert outcome.is_documented, (words, outcome)


def test_the_same_number_makes_the_same_input(shop, tmp_path):
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        words = hostile_words("record", 3, shop, tmp_path / name)
        made.append([word.replace(str(tmp_path / name), "") for word in words])
    assert made[0] == made[1]
