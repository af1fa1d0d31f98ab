"""The images of README and documentation are those that their programs make from what ships today."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from edge.core.files import file_digest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
NOTES = json.loads((IMAGES / "made.json").read_text(encoding="utf-8"))
CURE = "run `make images`"


def made() -> ModuleType:
    """Return the module that notes what images were made by."""
    return program("made")


def program(name: str) -> ModuleType:
    """Return a program beside the images."""
    spec = importlib.util.spec_from_file_location(name, IMAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_image_was_made_by_a_program_and_noted():
    files = {path.name for path in IMAGES.iterdir() if path.suffix in (".png", ".jpg")}
    assert files == set(NOTES), CURE


@pytest.mark.parametrize("name", NOTES)
def test_an_image_is_what_its_program_made_with_the_model_and_the_colours_that_ship(name):
    noted = NOTES[name]
    assert noted == made().digests(IMAGES / name, noted["program"]), CURE


@pytest.mark.parametrize("name", ["found.jpg", "page.png", "page-naming.png", "roll.png"])
def test_what_shows_the_model_is_bound_to_its_bundle(name):
    assert NOTES[name]["bundle_sha256"]


def test_the_readme_shows_no_image_that_nothing_makes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"docs/images/([\w.-]+)", text))
    assert shown
    assert shown <= set(NOTES)


@pytest.mark.parametrize("name", ["demo", "taught", "real-cloth"])
def test_what_the_readme_says_is_found_was_measured_with_the_model_that_ships(name):
    assert f"docs/benchmarks/{name}.md" in (ROOT / "README.md").read_text(encoding="utf-8")
    measured = json.loads((ROOT / "docs" / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
    assert measured["bundle_sha256"] == file_digest(made().BUNDLE), (
        "measure again, or ship the bundle before"
    )


def test_the_numbers_of_the_readme_are_those_of_its_benchmarks():
    numbers, text = program("readme_numbers"), (ROOT / "README.md").read_text(encoding="utf-8")
    assert numbers.with_numbers(text) == (text, []), CURE
    wrong = re.sub(r"recall \*\*[0-9.]+", "recall **0.123", text)
    assert wrong != text
    assert numbers.with_numbers(wrong)[0] == text


def test_no_number_that_a_mill_asks_for_is_written_by_hand():
    numbers, text = program("readme_numbers"), (ROOT / "README.md").read_text(encoding="utf-8")
    known = {numbers.span_of(number, text) for number in numbers.NUMBERS}
    end = text.index("\n## ", text.index("## Five numbers"))
    bold = re.compile(r"(?<=\*\*)\d+(?:\.\d+)?").finditer(text, text.index("## Five numbers"), end)
    by_hand = [match[0] for match in bold if match.span() not in known]
    assert by_hand == ["1.8"]  # m² of the 42 strips


def test_one_command_makes_them_all():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nimages:")[1].split("\n\n")[0]
    drawn = (IMAGES / "draw.py").read_text(encoding="utf-8")
    programs = [program.removesuffix(".py") for program in made().PROGRAMS]
    assert [one for one in programs if f" {one}" not in recipe and f"from {one} import" not in drawn] == []
