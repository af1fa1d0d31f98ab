"""The page of `loomsight review` in a real headless browser, and the command around it."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
import pytest

from distill.labels.formats import yolo
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from edge.core.palette import class_colour
from edge.web.door import POLICY
from tests.integration.browsing import axe_findings, fits, needs_chromium, until
from tests.unit.distill.labels.florence.small import small_folder
from tests.unit.distill.labels.review.folders import (
    CLEAN,
    DONE,
    EASY,
    HARD,
    MASKED,
    SURE,
    UNSURE,
    regions_in,
    write_folder,
)

LABELS = "labels/train/b (1).txt"
START_S = 120


def command(folder, *arguments):
    return [
        sys.executable,
        "-m",
        "distill.commands.review_cli",
        str(folder),
        "--port",
        "0",
        *map(str, arguments),
    ]


@contextmanager
def review(folder, *arguments, file_size=None):
    """Run the command; yields the process and the address it printed."""

    def limit():
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    with subprocess.Popen(
        command(folder, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        watchdog = threading.Timer(START_S, process.kill)
        watchdog.start()
        try:
            lines = [line for _ in range(2) if (line := process.stdout.readline())]
            assert len(lines) == 2, process.stderr.read()
            watchdog.cancel()
            yield process, re.search(r"http://\S+", lines[1])[0]
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()


def end(process, number=signal.SIGINT):
    """End the command as a person or the system does; returns (exit code, stdout, stderr)."""
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


class Page:
    """What a person does with the page, each step awaited."""

    def __init__(self, browser, address, width=1280, person=None):
        self.tab = browser.new_page(viewport={"width": width, "height": 800})
        self.tab.set_default_timeout(START_S * 1000)  # a busy machine must not fail a test
        self.errors, self.hosts = [], set()
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))
        self.tab.goto(address)
        if person is not None:
            self.tab.fill("#who-name", person)
            self.tab.keyboard.press("Enter")
        else:
            self.tab.click("#who-none")
        self.idle = 0
        self.await_idle()

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.tab.close()
        assert kind or self.errors == []

    def await_idle(self):
        """Await the answer to what was just done."""
        self.idle += 1
        idle = "Number(document.querySelector('[data-idle]')?.dataset.idle || 0)"
        until(self.tab, f"{idle} >= {self.idle}")

    def press(self, key):
        self.tab.keyboard.press(key)
        self.await_idle()

    def touch(self, key):
        """Press a key that asks the server nothing."""
        self.tab.keyboard.press(key)

    def drag(self, box):
        """Drag with the mouse from corner to corner, given in pixels of the image."""
        corners = [self.on_screen(box[0], box[1]), self.on_screen(box[2], box[3])]
        self.tab.mouse.move(*corners[0])
        self.tab.mouse.down()
        self.tab.mouse.move(*[(a + b) / 2 for a, b in zip(*corners, strict=True)])
        self.tab.mouse.move(*corners[1])
        self.tab.mouse.up()
        self.await_idle()

    def on_screen(self, x, y):
        return self.tab.evaluate(
            "([x, y]) => { const place = new DOMPoint(x, y).matrixTransform("
            "document.querySelector('.cloth').getScreenCTM()); return [place.x, place.y]; }",
            [x, y],
        )

    def reload(self):
        self.tab.reload()
        self.idle = 0
        self.await_idle()

    @property
    def image(self):
        return self.tab.inner_text(".where").split(" · ")[1]

    @property
    def said(self):
        return self.tab.inner_text(".said")

    @property
    def chosen(self):
        return int(self.tab.get_attribute(".regions [aria-current=true]", "data-place"))

    @property
    def reviews(self):
        """Return the review state of each region in the order of the file."""
        items = self.tab.eval_on_selector_all(
            ".regions li", "items => items.map(item => [Number(item.dataset.place), item.dataset.review])"
        )
        return [review for _, review in sorted(items)]


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "data")


def boxes_in(folder, name=LABELS):
    return len((folder / name).read_text().splitlines())


@needs_chromium
def test_a_review_from_the_first_key_to_the_data_set(folder, browser):
    with review(folder) as (process, address):
        with Page(browser, address) as page:
            assert (page.image, page.chosen) == (HARD, 2)
            assert "broken · 0.50 · queued" in page.tab.inner_text(".regions")
            assert "by detector + florence" in page.tab.inner_text(".regions")
            assert page.tab.locator(".cloth image").count() == 1
            assert page.tab.get_attribute(".region.chosen", "stroke") == class_colour("broken").hex

            page.press("a")
            assert (page.reviews, page.chosen) == (["unreviewed", "queued", "accepted"], 1)
            assert boxes_in(folder) == 2
            page.press("r")
            assert page.reviews == ["unreviewed", "rejected", "accepted"]
            page.press("u")
            assert page.reviews == ["unreviewed", "queued", "accepted"]
            page.touch("n")
            assert page.chosen == 0
            page.press("1")
            assert "wrinkle · 0.95 · corrected" in page.tab.inner_text(".regions")
            assert page.chosen == 1
            page.touch("d")
            page.drag((25, 12, 45, 33))
            assert page.reviews == ["corrected", "corrected", "accepted"]
            page.press(" ")
            assert page.image == EASY
            page.press("r")
            page.press("Shift+ ")
            before = (page.image, page.reviews, page.tab.inner_text(".regions"))
            page.reload()
            assert (page.image, page.reviews, page.tab.inner_text(".regions")) == before
            assert before[0] == HARD

            page.tab.click(".finish")
            page.await_idle()
            assert page.said.startswith("Written")
            relabelled, redrawn, accepted = regions_in(folder, HARD)
            assert page.hosts - {None} == {"127.0.0.1"}  # None: blob and data addresses
        code, out, err = end(process)
    assert (code, err) == (0, "INFO edge.process.interruption: stopping on SIGINT\n")
    assert out == f"6 decisions; the files of {folder} are up to date\n"
    assert relabelled == replace(SURE, label="wrinkle", review="corrected", weight=1.0)
    assert redrawn.box_xyxy_px == pytest.approx((25, 12, 45, 33), abs=0.3)
    assert (redrawn.review, redrawn.score, redrawn.annotator) == ("corrected", 0.6, "florence")
    assert accepted == replace(MASKED, review="accepted", weight=1.0)
    assert boxes_in(folder) == 3
    assert (folder / "labels/val/坯布.txt").read_text() == ""
    coco = json.loads((folder / "annotations/train.json").read_text(encoding="utf-8"))
    assert [row["review"] for row in coco["annotations"] if row.get("score")] == [
        "corrected",
        "corrected",
        "accepted",
    ]


@needs_chromium
def test_what_is_missing_is_drawn_masks_and_zoom_come_and_go(folder, browser):
    with review(folder) as (process, address):
        with Page(browser, address) as page:
            assert page.tab.locator(".cloth .mask").count() == 1
            page.touch("m")
            assert page.tab.locator(".cloth .mask").count() == 0
            page.touch("z")
            assert page.tab.get_attribute(".cloth", "viewBox") == "40 -20 90 90"
            page.touch("z")
            page.tab.select_option(".wanted", "all")
            page.await_idle()
            for _ in range(3):
                page.press(" ")
            assert (page.image, page.reviews) == (CLEAN, [])
            page.touch("i")
            page.drag((100, 50, 80, 20))
            assert page.reviews == ["accepted"]
            page.press("3")
            assert "broken · no score · corrected" in page.tab.inner_text(".regions")
            assert "by person" in page.tab.inner_text(".regions")
            page.tab.select_option(".name", "cbroken end")
            page.await_idle()
            assert "broken end" in page.tab.inner_text(".regions")
            page.touch("i")
            page.drag((10, 10, 10.2, 30))
            assert "smaller than a pixel" in page.said
            assert page.reviews == ["corrected"]
            page.press(" ")
            assert "last image" in page.said
        assert end(process, signal.SIGTERM)[0] == 0
    [added] = regions_in(folder, CLEAN)
    assert (added.label, added.category) == ("broken", "broken end")
    assert added.box_xyxy_px == pytest.approx((80, 20, 100, 50), abs=0.3)


SMALL = Region("drop", (2942.0, 36.0, 2949.0, 43.0), score=0.5, annotator="florence", review="queued")
FAR = Region("broken", (20.0, 20.0, 60.0, 200.0), score=0.9, annotator="detector", review="queued")


@pytest.fixture
def strips(tmp_path):
    """A data set of one image of 16:1."""
    strip = np.random.default_rng(0).integers(90, 160, (256, 4096), np.uint8)
    image = AnnotatedImage("images/train/strip.png", (256, 4096), (SMALL, FAR), "roll 7", "train")

    def write_image(image: AnnotatedImage, path) -> None:
        path.write_bytes(cv2.imencode(".png", strip)[1].tobytes())

    yolo.write(LabelSet(tmp_path, ("wrinkle", "drop", "broken"), (image,)), tmp_path / "data", write_image)
    return tmp_path / "data"


def shown_size(page, place):
    """Return the width in pixels of the screen that a region has, and whether it is in view."""
    return page.tab.evaluate(
        "place => { const of = (one) => one.getBoundingClientRect();"
        "const around = of(document.querySelector('.cloth'));"
        "const box = of(document.querySelector(`.cloth [data-place='${place}']`));"
        "return [box.width, box.left >= around.left && box.right <= around.right]; }",
        place,
    )


def top_of(page, name):
    return page.tab.locator(name).bounding_box()["y"]


@needs_chromium
@pytest.mark.parametrize("width", [390, 1366])
def test_a_strip_opens_where_a_small_defect_is_seen_with_a_map_and_a_name(strips, browser, width):
    with review(strips) as (process, address), Page(browser, address, width, "Ana Ruiz") as page:
        wide, is_in_view = shown_size(page, 0)
        assert (wide > 5, is_in_view) == (True, True)
        assert page.tab.locator(".minimap .mark").count() == 2
        around = page.tab.locator(".minimap").bounding_box()
        page.tab.mouse.move(around["x"] + around["width"] * 0.7, around["y"] + 5)
        page.tab.mouse.down()
        page.tab.mouse.move(around["x"] + 2, around["y"] + 5)
        page.tab.mouse.up()
        assert [shown_size(page, place)[1] for place in (0, 1)] == [False, True]
        page.touch("n")
        page.touch("p")
        assert shown_size(page, 0)[1]  # the region that is chosen comes into view
        before = page.tab.get_attribute(".cloth", "viewBox")
        page.touch("ArrowRight")
        assert page.tab.get_attribute(".cloth", "viewBox") != before
        page.touch("0")
        assert page.tab.get_attribute(".cloth", "viewBox") == "0 0 4096 256"
        assert not page.tab.locator(".minimap").is_visible()
        order = [top_of(page, name) for name in (".cloth", ".verdicts", ".bar", ".regions")]
        assert (order == sorted(order)) == (width == 390)  # on a phone the image comes first
        assert (axe_findings(page.tab), fits(page.tab)) == ([], True)
        page.press("a")
        assert "decided by Ana Ruiz" in page.tab.inner_text(".regions")
        assert page.tab.inner_text(".person") == "Ana Ruiz"
        page.touch("i")
        for key in ("ArrowRight", "Shift+ArrowDown"):
            page.touch(key)
        assert page.tab.locator(".cloth .drawn").count() == 1
        page.press("Enter")
        assert page.reviews[2] == "accepted"
        assert (axe_findings(page.tab), fits(page.tab)) == ([], True)
        page.tab.click(".person")
        assert axe_findings(page.tab) == []
        page.tab.click("#who-none")
        page.press("u")
        assert end(process)[0] == 0
    lines = [json.loads(line) for line in (strips / "reviews.jsonl").read_text().splitlines()]
    assert [(line["action"], line.get("by")) for line in lines if "action" in line] == [
        ("accept", "Ana Ruiz"),
        ("add", "Ana Ruiz"),
        ("undo", None),
    ]


@needs_chromium
def test_kill_9_loses_nothing_and_two_pages_do_not_disagree(folder, browser):
    with review(folder) as (process, address), Page(browser, address) as first:
        with Page(browser, address) as second:
            second.press("r")
            first.press("a")
            assert "changed in another window" in first.said
            assert first.reviews == ["unreviewed", "queued", "rejected"]
            first.touch("n")
            first.press("a")
            first.press(" ")
            first.press("a")
        process.kill()
        process.wait()
        first.press("a")
        assert "has it ended" in first.said
    with review(folder) as (_, address), Page(browser, address) as page:
        assert "Nothing is queued" in page.said
        assert [region.review for region in regions_in(folder, HARD)] == [
            "unreviewed",
            "accepted",
            "rejected",
        ]
        assert [region.review for region in regions_in(folder, EASY)] == ["accepted"]
        page.tab.select_option(".wanted", "queued")
        page.await_idle()
        assert "Nothing is queued" in page.said
        assert page.tab.input_value(".wanted") == "all"
        page.press("u")
        assert (page.image, page.reviews) == (EASY, ["queued"])
        page.press("u")
        assert (page.image, page.reviews) == (HARD, ["unreviewed", "queued", "rejected"])


@needs_chromium
def test_an_unreadable_image_is_named_and_the_next_goes_on(folder, browser):
    whole = (folder / HARD).read_bytes()
    (folder / DONE).write_bytes(b"no image at all")
    with review(folder) as (_, address):
        (folder / HARD).write_bytes(whole[:-300])  # since it was listed
        with Page(browser, address) as page:
            assert "cannot be shown" in page.said
            assert "truncated" in page.said
            assert "could not be read" in page.tab.inner_text(".problems summary")
            assert DONE in page.tab.text_content(".problems")
            page.press(" ")
            assert page.image == EASY
            assert page.tab.locator(".cloth image").count() == 1
            page.press("a")
            assert page.reviews == ["accepted"]
            page.tab.click("#prompt summary")
            page.tab.wait_for_selector("text=--teacher MODEL")


@needs_chromium
def test_an_answer_that_never_comes_holds_up_nothing(folder, browser):
    with review(folder) as (_, address), Page(browser, address) as page:
        asked = []

        def never_the_first(route):
            asked.append(route)
            if len(asked) > 1:
                route.continue_()

        page.tab.clock.install()
        page.tab.route("**/review/decide", never_the_first)
        with page.tab.expect_request("**/review/decide"):
            page.tab.keyboard.press("a")
        page.tab.clock.run_for(61_000)
        page.await_idle()
        assert page.said.startswith("Not done: The program does not answer")
        page.press("a")
        assert "accepted" in page.reviews


@needs_chromium
def test_a_full_disk_is_said_and_the_decision_is_not_shown_as_done(folder, browser):
    log = folder / "reviews.jsonl"
    log.write_text('{"written": 0, "at": "2026-01-01T00:00:00+00:00"}\n' * 2000)
    size = log.stat().st_size
    with review(folder, file_size=size + 20) as (_, address), Page(browser, address) as page:
        page.press("a")
        assert page.said.startswith(f"Not done: Cannot write {log}")
        assert page.tab.locator(".said.bad").count() == 1
        assert page.reviews == ["unreviewed", "queued", "queued"]
    assert log.stat().st_size == size
    assert regions_in(folder, HARD) == (SURE, UNSURE, MASKED)


@pytest.mark.slow
@needs_chromium
def test_the_teacher_answers_on_the_page(folder, browser, tmp_path):
    model = small_folder(tmp_path / "model")
    with review(folder, "--teacher", model) as (_, address), Page(browser, address) as page:
        page.tab.click("#prompt summary")
        page.tab.click("#ask")
        until(page.tab, "document.querySelector('#answer').value !== ''")
        page.tab.wait_for_selector(".cloth .answer", state="attached")
        assert len(page.tab.input_value("#answer").splitlines()) == page.tab.locator(".answer").count()
        page.tab.fill("#words", "drop a")
        assert page.reviews == ["unreviewed", "queued", "queued"]


def refused(folder, *arguments):
    done = subprocess.run(
        command(folder, *arguments), capture_output=True, text=True, timeout=START_S, check=False
    )
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def test_what_cannot_be_reviewed_is_one_line(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(empty) == (
        50,
        f"error: {empty} holds no data.yaml. Name a data set folder (docs/labels.md).\n",
    )
    assert list(empty.iterdir()) == []
    code, said = refused(tmp_path / "gone")
    assert (code, "holds no data.yaml" in said) == (50, True)
    (folder / "data.yaml").write_text("names: [drop]\ntrain: nowhere\n")
    code, said = refused(folder)
    assert (code, "leads to no folder of images" in said) == (50, True)


def test_a_second_review_and_a_port_in_use_are_refused_and_nobody_else_is_asked(folder, tmp_path):
    other = write_folder(tmp_path / "other")
    with review(folder) as (process, address):
        code, said = refused(folder)
        assert (code, "under review by another process" in said) == (40, True)
        port = urlsplit(address).port
        code, said = refused(other, "--port", port)
        assert (code, f"port {port}: Address already in use" in said) == (10, True)
        check_what_is_answered(address)
        assert end(process)[0] == 0
    assert (folder / "reviews.jsonl").read_text() == ""


def check_what_is_answered(address):
    """Foreign names and pages are refused, other files not served, nothing comes from elsewhere."""
    page = httpx.get(address)
    assert page.headers["content-security-policy"] == POLICY
    assert "http" not in page.text.replace("<!doctype html>", "")
    assert httpx.get(address, headers={"Host": "mill.example"}).status_code == 400
    for path in ("undo", "finish", "decide", "ask"):
        plain = {"Content-Type": "text/plain"}
        assert httpx.post(f"{address}review/{path}", content="{}", headers=plain).status_code == 415
        foreign = {"Origin": "http://mill.example"}
        answer = httpx.post(f"{address}review/{path}", json={"wanted": "all"}, headers=foreign)
        assert answer.status_code == 403
    assert httpx.get(address + "review/pixels", params={"name": "../data/data.yaml"}).status_code == 422
    for path in ("docs", "gradio_api/upload", "upload", "gradio_api/queue/join", "config"):
        assert httpx.get(address + path).status_code == 404
        files = {"files": ("big.bin", b"x" * 100_000)}
        assert httpx.post(address + path, files=files).status_code == 413
