"""A few hostile inputs of every kind through the real commands; a benchmark gives thousands."""

from __future__ import annotations

import pytest
import typer

from edge.commands.loomsight import all_commands
from tests.hostile.commands import outcome_of
from tests.hostile.inputs import FLAGS, MAKERS, hostile_words, write_workshop


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


def test_every_hostile_option_is_one_that_its_command_has(shop, tmp_path):
    met = set()
    for number in range(300):
        words = hostile_words("option", number, shop, tmp_path)
        known = flags_of(words)
        met |= {(words[0], flag) for word in words if (flag := word.partition("=")[0]) in known}
        assert {
            word.partition("=")[0] for word in words if word.startswith("--") and word[2:3].isalpha()
        } <= known
    assert len({flag for command, flag in met if command == "edge-run" and flag in FLAGS}) > 10


def flags_of(words):
    """Return the options of the command, or of its sub command, that words name."""
    found = typer.main.get_command(all_commands()[words[0]].load())
    for word in words[1:]:
        found = getattr(found, "commands", {}).get(word, found)
    return {flag for parameter in found.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def test_the_same_number_makes_the_same_input(shop, tmp_path):
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        words = hostile_words("record", 3, shop, tmp_path / name)
        made.append([word.replace(str(tmp_path / name), "") for word in words])
    assert made[0] == made[1]
