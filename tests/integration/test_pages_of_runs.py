"""The pages that runs, prunings, bundles and rolls leave: readable to all, on a desk and on a phone."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from distill.commands import distill_cli, prune_cli
from edge.cloth.defects import ClothDefect
from export.cli import app as export_app
from tests.integration.browsing import axe_findings, fits, needs_chromium
from tests.unit.distill.tiny import TINY_TOML, write_tiny_dataset, write_untrained
from tests.unit.edge.roll.rolls import roll_command, write_image, write_roll

pytestmark = needs_chromium

WIDTHS = [1366, 390]


def run(app, *words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set, a recipe, and a detector that reports right, wrong and missed places."""
    place = tmp_path_factory.mktemp("pages")
    write_tiny_dataset(place / "data")
    write_untrained(place / "best.pt")
    (place / "tiny.toml").write_text(TINY_TOML.replace("epochs = 1", "epochs = 3"))
    return place


def distill_page(place):
    run(distill_cli.app, place / "data", "--recipe", place / "tiny.toml", "--out", place / "run")
    return place / "run" / "index.html"


def tuned_page(place):
    """Of a run that started from a detector, and reports a lot."""
    words = ("--recipe", place / "tiny.toml", "--start-from", place / "best.pt", "--epochs", 1)
    run(distill_cli.app, place / "data", *words, "--out", place / "tuned")
    return place / "tuned" / "index.html"


def prune_page(place):
    words = ("--macs", 0.7, "--planner", "threshold", "--epochs", 1)
    run(prune_cli.app, place / "best.pt", place / "data", *words, "--out", place / "pruned")
    return place / "pruned" / "index.html"


def bundle_page(place):
    words = ("--images", place / "data" / "images", "--data", place / "data", "--out", place / "bundle")
    run(export_app, place / "best.pt", *words, "--max-drop", 100)
    return place / "bundle" / "index.html"


def report_page(place):
    """A report with pieces, gaps, images, events and an appendix, of a roll with every class."""
    defects = [
        ClothDefect(name, 0.8, at_m, at_m + 0.2, 100.0, 140.0)
        for at_m, name in ((1.0, "drop"), (3.0, "broken"), (7.0, "wrinkle"), (9.0, "unclassified"))
    ]
    record = write_roll(
        place / "rolls.db", metres=12, defects=defects, image_file=write_image(place / "defect.png")
    )
    out = place / "report.html"
    done = roll_command("report", record, "--out", out, "--piece-m", 5, "--roll-header", "customer=A & B")
    assert done.code == 0, done.stderr
    return out


PAGES = {
    "distill": distill_page,
    "distill-from-a-detector": tuned_page,
    "prune": prune_page,
    "bundle": bundle_page,
    "roll-report": report_page,
}


@pytest.fixture(scope="module", params=PAGES.values(), ids=PAGES)
def page(request, tmp_path_factory):
    draw = request.param
    if draw is report_page:  # it needs no detector
        return draw(tmp_path_factory.mktemp("report"))
    return draw(request.getfixturevalue("place"))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_has_a_serious_finding_of_axe_in_light_or_dark(page, width, browser):
    tab = browser.new_page(viewport={"width": width, "height": 844})
    try:
        tab.goto(page.as_uri())
        assert (axe_findings(tab), fits(tab)) == ([], True)
    finally:
        tab.close()
