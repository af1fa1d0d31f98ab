"""edge-run with a roll record, the record after a kill, and the report in a real headless browser."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import cv2
import numpy as np
import pytest
from pypdfium2 import PdfDocument

from edge.app.run import run
from edge.cloth.defects import ClothDefect
from edge.config.device import load_camera
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError, ImageError, OutputError
from edge.roll.reading import read_roll, read_rolls
from edge.roll.small_images import small_images_of
from tests.processes import loomsight, program
from tests.unit.edge.roll.rolls import HOSTILE, write_image, write_roll

CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: `apt-get install chromium`")


def images(folder):
    """A roll of three images, a bright spot in the first and the last."""
    folder.mkdir()
    for number, place in enumerate([16, None, 40]):
        image = np.full((64, 128), 20, np.uint8)
        if place:
            image[place : place + 16, 64:80] = 255
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_a_run_is_recorded_and_its_images_are_in_the_report(tmp_path, bundle):
    record, found = tmp_path / "rolls.db", tmp_path / "found"
    config = EdgeConfig(
        camera=str(images(tmp_path / "p")),
        model=bundle,
        mm_per_px=1,
        roll_record=record,
        roll="R1",
        save_pictures=found,
        cloth_width_mm=128,
    )
    for _ in range(2):
        summary = run(config)
    (roll,) = read_rolls(record)
    assert summary["four_points"]["points"] == 2
    assert (roll.head["passed_lines"], roll.head["inspected_lines"], roll.width_mm) == (384, 384, 128)
    assert [round(row.defect.start_m, 3) for row in roll.defects] == [0.016, 0.168, 0.208, 0.36]
    assert len({row.image for row in roll.defects}) == 4
    for row in roll.defects:
        image = cv2.imread(row.image, cv2.IMREAD_GRAYSCALE)
        x1, y1, x2, y2 = (round(side) for side in row.box_xyxy_px)
        assert image[y1:y2, x1:x2].mean() > 200
    assert len(roll.head["model_digest"]) == 64


def test_a_run_keeps_a_small_image_of_each_defect_and_the_head_in_the_record(tmp_path, bundle):
    record, folder = tmp_path / "r.db", images(tmp_path / "p")
    header = ["--roll-header", "mill=A = B", "--roll-header", "shift=2", "--mm-per-px", "1"]
    done = loomsight("edge-run", "--camera", folder, "--model", bundle, "--roll-record", record, *header)
    assert done.returncode == 0, done.stderr
    (roll,) = read_rolls(record)
    assert roll.header == {"mill": "A = B", "shift": "2"}
    kept = small_images_of([record], roll.head["roll_id"])
    assert {row.event_id for row in roll.defects} == set(kept)
    for data in kept.values():
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert image.max() > 200
    done = loomsight("roll", "report", record, "--out", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().count("data:image/jpeg") == len(roll.defects) == 2


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ("edge.pipeline.strip_inspection.kinds_in_image", "kinds of defects"),
        ("edge.roll.small_images.jpeg_around", "small images"),
        ("edge.page.live.troubles", "page"),
        ("edge.app.live_view.CameraLine._remember", "terminal"),
    ],
)
def test_a_run_goes_on_without_what_its_result_is_good_without(tmp_path, bundle, monkeypatch, broken, name):
    monkeypatch.delenv("LOOMSIGHT_TRACEBACK", raising=False)
    monkeypatch.setattr(broken, lambda *_: 1 / 0)
    record = tmp_path / "r.db"
    summary = run(
        EdgeConfig(
            camera=str(images(tmp_path / "p")), model=bundle, mm_per_px=1, roll_record=record, page="0"
        )
    )
    roll = read_roll(record, None)
    assert (summary["error"], summary["frames"], len(roll.defects)) == (None, 3, 2)
    assert set(summary["helpers"]["failures"]) == {name}
    (event,) = (one for one in roll.events if one.kind == "helper thread failed")
    assert event.detail.startswith(f"{name}: ZeroDivisionError")


def test_the_head_of_the_file_is_completed_by_flags(tmp_path):
    (tmp_path / "box.toml").write_text("[roll_header]\nmill = 'M'\nshift = '1'\n", encoding="utf-8")
    config = load_camera(tmp_path / "box.toml", {}, {"roll_header": ["shift=2"]}).config
    assert config.roll_header.given() == {"mill": "M", "shift": "2"}
    for wrong, said in (("mil=x", "no setting 'roll_header.mil'"), ("mill", "KEY=TEXT"), ("mill=", "mill")):
        with pytest.raises(ConfigError, match=said):
            load_camera(tmp_path / "box.toml", {}, {"roll_header": [wrong]})


def test_an_error_is_in_the_record_and_what_was_found_before_it(tmp_path, bundle):
    folder = images(tmp_path / "p")
    (folder / "1.png").write_bytes(b"no image")
    with pytest.raises(ImageError):
        run(EdgeConfig(camera=str(folder), model=bundle, mm_per_px=1, roll_record=tmp_path / "r.db"))
    roll = read_roll(tmp_path / "r.db", None)
    assert len(roll.defects) == 2
    assert [(gap.reason, gap.lines, gap.start_m) for gap in roll.gaps] == [("unreadable", 64, None)]
    assert roll.coverage == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"roll": "A"}, ConfigError, "Add --roll-record"),
        ({"article": "A"}, ConfigError, "Add --roll-record"),
        ({"roll_record": "same", "summary": "same"}, ConfigError, "in each other's way"),
        ({"roll_record": "p"}, (ConfigError, OutputError), "p"),
    ],
)
def test_a_record_in_the_way_is_refused(tmp_path, bundle, monkeypatch, more, error, said):
    folder = images(tmp_path / "p")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        run(EdgeConfig(camera=str(folder), model=bundle, **more))


def test_a_killed_run_is_closed_as_interrupted_and_adds_up(tmp_path, bundle):
    record = tmp_path / "r.db"
    camera = ["--camera", "loom:width_px=256,defects_per_m=20", "--model", str(bundle)]
    command = ["edge-run", *camera, "--roll-record", str(record), "--roll", "R1"]
    process = subprocess.Popen(program(*command), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        time.sleep(0.1)
        if record.exists():
            with closing(sqlite3.connect(record)) as db:
                tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if tables and db.execute("SELECT sum(passed_lines) FROM rolls").fetchone()[0]:
                    break
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert read_roll(record, "R1").head["status"] == "running"
    done = loomsight("edge-run", *camera, "--roll-record", record, "--frames", "2")
    assert done.returncode == 0, done.stderr
    assert "'R1' was interrupted" in done.stderr
    killed = read_roll(record, "R1")
    assert killed.head["status"] == "interrupted"
    assert killed.head["passed_lines"] > 0
    gap_lines = sum(gap.lines for gap in killed.gaps)
    assert killed.head["inspected_lines"] + gap_lines == killed.head["passed_lines"]


def test_overruns_are_in_the_record_line_by_line(tmp_path, bundle):
    loom = "loom:seed=1,width_px=4096,lines_per_block=64,speed_m_min=600,live=true"
    record = tmp_path / "r.db"
    config = EdgeConfig(
        camera=loom, model=bundle, seconds=1.5, queue_frames=1, threads=1, roll_record=record
    )
    summary = run(config)
    roll = read_roll(record, None)
    assert summary["dropped"] > 0
    assert {gap.reason for gap in roll.gaps} == {"overrun"}
    assert sum(gap.lines for gap in roll.gaps) == summary["lines"]["overrun"] == summary["dropped"] * 64
    assert roll.head["passed_lines"] == summary["lines"]["passed"]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


CUT_OFF = """() => [...document.querySelectorAll('h1, h2, p, dd, td, th, figcaption, text')]
  .filter((one) => {
    const place = one.getBoundingClientRect();
    return place.width && (place.right > innerWidth + 1 || place.left < -1
      || one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflow !== 'visible');
  }).map((one) => one.textContent)"""
"""Texts of a page that are not shown whole."""


@needs_chromium
@pytest.mark.parametrize("width_px", [1280, 360], ids=["desktop", "phone"])
def test_the_report_in_a_browser(tmp_path, browser, width_px):
    image, long = write_image(tmp_path / "p.png"), {"customer": "x" * 200, "mill": "Example Mill " * 9}
    record = write_roll(tmp_path / "r.db", image_file=image, header=long)
    assert loomsight("roll", "report", record, "--out", tmp_path / "r.html").returncode == 0
    tab = browser.new_page(viewport={"width": width_px, "height": 800})
    errors, requested, dialogs = [], [], []
    tab.on("pageerror", lambda error: errors.append(error))
    tab.on("console", lambda message: errors.append(message.text))
    tab.on("request", lambda request: requested.append(request.url))
    tab.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    tab.goto((tmp_path / "r.html").as_uri())
    assert tab.locator("h1").inner_text() == "Inspection report"
    assert HOSTILE in tab.locator("body").inner_text()
    assert tab.locator("svg rect.defect").count() == 3
    assert tab.locator("svg rect.gap").count() >= 2
    shown = tab.locator("figure img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(shown) == 3
    assert all(shown)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate(CUT_OFF) == []
    assert tab.locator("thead").first.bounding_box()["height"] > (1 if width_px > 640 else 0)
    assert (errors, dialogs) == ([], [])
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []
    tab.close()


def pages_of(pdf):
    """Return the lines of text of each page."""
    with PdfDocument(pdf) as document:
        return [page.get_textpage().get_text_range().splitlines() for page in document]


def titles_at_the_end(pages):
    """Return what stands last on a page and is a title, or the head of a table."""
    ends = [[line for line in page if line.strip() and " / " not in line][-2:] for page in pages]
    titles = ("Map", "What was found", "Where to cut", "Not inspected", "Defects", "Images", "Settings")
    return [line for end in ends for line in end if line.strip() in titles or line.startswith("no class")]


@needs_chromium
@pytest.mark.parametrize("count", [3, 29, 40])
def test_pages_of_the_pdf_break_between_rows_and_behind_no_title(tmp_path, count):
    defects = [ClothDefect(f"oil stain {n}", 0.9, n, n + 0.01, 100, 140) for n in range(count)]
    record = write_roll(tmp_path / "r.db", metres=50, defects=defects, article="twill 220")
    done = loomsight("roll", "report", record, "--out", tmp_path / "r.html", "--pdf", tmp_path / "r.pdf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.html").exists()
    pages = pages_of(tmp_path / "r.pdf")
    assert titles_at_the_end(pages) == []
    rows = [line for page in pages for line in page if re.match(r"\d+ oil stain \d+ \d+\.000", line)]
    assert len(rows) == count
    assert all(re.search(r" 1 0\.90 \d\d:\d\d:\d\d", row) for row in rows)
    feet = [f"Inspection report, roll A17 {page} / {len(pages)}" for page in range(1, len(pages) + 1)]
    assert [line.strip() for page in pages for line in page if " / " in line] == feet


def test_a_pdf_without_chromium(tmp_path):
    record = write_roll(tmp_path / "r.db", metres=1)
    arguments = ["--out", tmp_path / "r.html", "--pdf", tmp_path / "r.pdf"]
    done = loomsight("roll", "report", record, *arguments, env={"PATH": str(tmp_path)})
    assert done.returncode == 11
    assert "apt-get install chromium" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "r.html").exists()
    assert not (tmp_path / "r.pdf").exists()


def test_settings_for_the_record_from_a_file(tmp_path, bundle):
    (tmp_path / "box.toml").write_text(
        f'roll_record = "{tmp_path}/r.db"\nroll = "R9"\n[grade_limits]\nA = 5.0\n', encoding="utf-8"
    )
    camera = ["--camera", "loom:width_px=256,length_m=0.1", "--model", bundle]
    done = loomsight("edge-run", *camera, "--config", tmp_path / "box.toml")
    assert done.returncode == 0, done.stderr
    facts = json.loads(loomsight("roll", "show", tmp_path / "r.db", "--json").stdout)
    assert (facts["name"], facts["grade"], facts["status"]) == ("R9", "A", "finished")
    bad = loomsight("edge-run", *camera, "--roll-record", tmp_path / "r.db", "--roll", "two\nlines")
    assert bad.returncode == ConfigError.exit_code
