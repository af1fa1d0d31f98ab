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
    spec = importlib.util.spec_from_file_location("made", IMAGES / "made.py")
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


def test_one_command_makes_them_all():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nimages:")[1].split("\n\n")[0]
    drawn = (IMAGES / "draw.py").read_text(encoding="utf-8")
    programs = [program.removesuffix(".py") for program in made().PROGRAMS]
    assert [one for one in programs if f" {one}" not in recipe and f"from {one} import" not in drawn] == []
