"""The README's own line: images narrower than the cloth are graded by what they show, and all say so."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests.processes import loomsight
from tests.unit.edge.roll.rolls import roll_command


def bright(path, *boxes):
    image = np.full((512, 1024), 20, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def folder(tmp_path):
    from tests.conftest import write_bright_cell_bundle

    folder = tmp_path
    write_bright_cell_bundle(folder / "bundle")
    (folder / "images").mkdir()
    bright(folder / "images" / "a.png", (160, 160, 192, 192))
    bright(folder / "images" / "b.png", (640, 240, 672, 272))
    return folder


def run(folder, *more):
    """Run the line; a pixel is 0.8 mm, so that a view is 819 mm wide."""
    line = ["--camera", "images/", "--mm-per-px", "0.8", "--cloth-width-mm", "1600"]
    line += ["--roll-record", "rolls.db", "--roll", "A17", "--model", "bundle", "--cloth", "all", *more]
    done = loomsight("edge-run", *line, cwd=folder, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done


def test_width_that_no_camera_saw_is_said_hatched_and_not_graded(folder):
    done = run(folder, "--summary", "s.json")
    area_m2 = 2 * 512 * 0.8 / 1000 * 0.8192
    graded = json.loads((folder / "s.json").read_text())["four_points"]
    assert graded["points"] == 2
    assert graded["points_per_100_m2"] == pytest.approx(2 * 100 / area_m2, abs=0.01)
    assert (graded["width_mm"], graded["seen_width_mm"]) == (1600, 819.2)
    assert "819 of 1600 mm seen" in done.stdout

    record = folder / "rolls.db"
    facts = json.loads(roll_command("show", record, "--json").stdout)
    assert facts["points_per_100_m2"] == graded["points_per_100_m2"]
    assert (facts["coverage"], facts["area_coverage"]) == (1, pytest.approx(0.512))
    assert facts["inspected_m2"] == pytest.approx(area_m2, abs=1e-4)
    (event,) = [event for event in facts["events"] if event["kind"] == "width not seen"]
    assert event["data"] == {"width_mm": 1600, "seen_width_mm": 819.2}
    assert json.loads(roll_command("list", record, "--json").stdout)[0]["area_coverage"] == 0.512
    assert "51.20%" in roll_command("list", record).stdout

    assert roll_command("report", record, "--out", folder / "r.html", "--piece-m", "0.1").code == 0
    page = (folder / "r.html").read_text()
    assert "every line delivered was inspected" not in page
    assert "Of 1600 mm of width 819 mm were seen: 819 to 1600 mm were not, and are not graded." in page
    assert "Along the whole roll, from the left selvedge: 819 to 1600 mm." in page
    assert 'class="gap blind"' in page
    assert f"{graded['points_per_100_m2']:.1f}" in page
    rolls = json.loads(roll_command("export", record, "--format", "json").stdout)
    assert "width not seen" in [event["kind"] for event in rolls["technical"]["events"]]
    assert rolls["inspection"]["seen_width_mm"] == 819.2
    assert rolls["grading"]["points_per_100_m2"] == graded["points_per_100_m2"]


@pytest.mark.parametrize(
    ("more", "width_mm", "seen_mm"),
    [
        (("--cloth-width-mm", "500"), 500, 500),
        (("--cloth-width-mm", "819.2"), 819.2, 819.2),
    ],
    ids=["wider than the cloth", "as wide"],
)
def test_a_view_that_shows_all_of_the_cloth(folder, more, width_mm, seen_mm):
    run(folder, "--roll", f"B{width_mm}", "--summary", "s.json", *more)
    graded = json.loads((folder / "s.json").read_text())["four_points"]
    assert (graded["width_mm"], graded["seen_width_mm"]) == (width_mm, seen_mm)
    assert graded["points_per_100_m2"] == pytest.approx(2 * 100 / (0.8192 * seen_mm / 1000), abs=0.01)


def test_two_cameras_beside_each_other_count_an_offset_once(folder):
    loom = "loom:width_px=1024,length_m=0.2,defects_per_m=20,mean_grey=120,bed_left_mm=0,seed"
    tables = "".join(
        f"[cameras.{name}]\ncamera = '{loom}={seed}'\nloom = '7'\noffset_mm = {offset_mm}\n"
        for name, seed, offset_mm in (("left", 3, 0), ("right", 4, 190))
    )
    common = "model = 'bundle'\ncloth = 'all'\nthreads = 1\nscore_thresholds = {broken = 0.45}\n"
    (folder / "box.toml").write_text(f"{common}roll_record = 'r.db'\n{tables}")
    done = loomsight("edge-run", "--config", "box.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    left, right = folder / "r-left.db", folder / "r-right.db"
    assert json.loads(roll_command("show", right, "--json").stdout)["width_mm"] == 189.8
    facts = json.loads(roll_command("show", left, right, "--json").stdout)
    assert (facts["width_mm"], facts["seen_width_mm"], facts["area_coverage"]) == (379.8, 379.8, 1)
    assert not [event for event in facts["events"] if "not seen" in event["kind"]]
    assert facts["points"] > 0
    assert facts["points_per_100_m2"] == pytest.approx(facts["points"] * 100 / (0.2 * 0.3798), abs=0.01)
