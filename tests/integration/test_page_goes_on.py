"""States that the page has to leave again, in a real browser: the token form, images, sheet, teaching."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge.page.device import device_app, pages_of
from edge.roll.values import RollTerms
from edge.web.address import bound_socket
from edge.web.serving import WebServer
from tests.conftest import write_bright_cell_bundle
from tests.integration.browsing import START_S, axe_findings, fits, needs_chromium, until
from tests.integration.test_page_network import TOKEN, Network
from tests.integration.test_page_network import page as served_page
from tests.patience import wait_for
from tests.processes import program
from tests.unit.edge.page.pages import (
    LOCAL,
    defect,
    page_of,
    passed,
    plain_page,
    plain_state,
    recorded_page,
    show,
)
from tests.unit.edge.page.test_sheet import taught_article

pytestmark = [
    needs_chromium,
    # A connection that is cut on purpose may leave its socket to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

KEY_IS_SHOWN = "!document.querySelector('#key').hidden"


@pytest.fixture
def tab(browser):
    tab = browser.new_page(viewport={"width": 360, "height": 760})
    tab.set_default_timeout(START_S * 1000)
    yield tab
    tab.close()


@pytest.fixture
def serve():
    """Serve pages until the test ends; returns the port."""
    servers = []

    def start(live):
        bound = bound_socket("127.0.0.1", 0)
        pages = pages_of(live) if isinstance(live, dict) else {None: page_of(live)}
        at_end = [page.close for page in pages.values()]
        server = WebServer(device_app(pages, LOCAL, TOKEN, ()), bound, "page", at_end=at_end)
        server.__enter__()
        servers.append((server, bound))
        return bound.getsockname()[1]

    yield start
    for server, bound in servers:
        server.__exit__()
        bound.close()


def states_pass(tab):
    """Wait until the page has shown two further states."""
    for _ in range(2):
        tab.evaluate("document.querySelector('#coverage').textContent = 'before'")
        until(tab, "document.querySelector('#coverage').textContent !== 'before'")


def test_the_form_for_the_token_stays_until_it_is_filled_in_where_reading_is_open(tab, tmp_path, capsys):
    with served_page(tmp_path, capsys) as (_, port):
        tab.goto(f"http://127.0.0.1:{port}/")
        states_pass(tab)
        tab.locator("#next summary").click()
        tab.locator("#next form button").click()
        until(tab, KEY_IS_SHOWN)
        states_pass(tab)
        assert tab.locator("#key").is_visible()
        tab.fill("#token", TOKEN)
        tab.locator("#key button").click()
        assert not tab.locator("#key").is_visible()
        tab.locator("#next form button").click()
        until(tab, "document.querySelector('#next-said').textContent.includes('not running')")
        assert not tab.locator("#key").is_visible()


def test_an_image_that_is_refused_for_a_moment_comes_and_one_that_is_gone_is_given_up(tab, tmp_path, serve):
    with recorded_page(tmp_path) as (live, _, _):
        port = serve(live)
        busy, asked = {"status": 503, "body": json.dumps({"problem": "The record is busy."})}, []

        def answer(route):
            asked.append(route.request.url)
            if asked.count(route.request.url) == 1:
                route.fulfill(**busy)
            elif route.request.url == asked[0]:
                route.fulfill(status=404, body=json.dumps({"problem": "There is no such image."}))
            else:
                route.continue_()

        tab.route("**/images/*", answer)
        tab.goto(f"http://127.0.0.1:{port}/")
        until(tab, "document.querySelectorAll('#defects img.image[src^=blob]').length === 2")
        until(tab, "document.querySelectorAll('#defects .none').length === 1")
        assert {url: asked.count(url) for url in asked} == dict.fromkeys(asked, 2)


def test_the_contact_sheet_comes_when_the_network_is_back(tab, tmp_path, serve):
    live = plain_page(passed(plain_state(), 0))
    live.taught = lambda article=taught_article(tmp_path): article
    network = Network(serve(live))
    tab.goto(f"http://127.0.0.1:{network.port}/")
    tab.route("**/sheet.json", lambda route: (network.break_(), route.continue_()), times=1)
    tab.goto(f"http://127.0.0.1:{network.port}/sheet")
    until(tab, "document.querySelector('#said').textContent === 'The device does not answer.'")
    network.mend()
    until(tab, "document.querySelectorAll('#places button').length === 3")
    assert tab.inner_text("#said") == ""
    network.close()


def test_a_request_for_teaching_that_came_to_nothing_can_be_repeated(tab, serve):
    live, asked = plain_page(passed(plain_state(), 0)), []
    live.teaching = SimpleNamespace(ask=asked.append)  # no cloth passes: nobody takes the request
    show(live, passed(plain_state(), 0, 1))
    tab.goto(f"http://127.0.0.1:{serve(live)}/#token={TOKEN}")
    button = tab.locator("#article button")
    button.click()
    until(tab, "document.querySelector('#article .said').textContent === '… starts with the next cloth'")
    assert button.is_disabled()
    until(tab, "!document.querySelector('#article button').disabled")
    assert tab.inner_text("#article .said") == ""
    button.click()
    assert wait_for(lambda: len(asked) > 1)  # the button goes grey before the request is sent
    assert asked == ["begin", "begin"]


def test_a_defect_that_somebody_judges_stays_however_many_come_meanwhile(tab, tmp_path, serve):
    with recorded_page(tmp_path) as (live, recorder, state):
        tab.goto(f"http://127.0.0.1:{serve(live)}/#token={TOKEN}")
        judged, large = (tab.locator("#defects li").nth(place).get_attribute("data-id") for place in (0, 1))
        tab.locator(f"[data-id='{judged}'] .yes").first.click()
        tab.wait_for_selector(f"[data-id='{judged}'].confirmed")
        tab.locator(f"[data-id='{large}'] img.image[src^=blob]").click()
        found = [defect(0.4 + 0.01 * number) for number in range(60)]
        recorder.add(found, state.coverage, 1500.0)
        state.roll.defects += found
        show(live, passed(state, 12))
        until(tab, "document.querySelector('#map').dataset.defects === '63'")
        until(tab, "document.querySelectorAll('#defects li').length === 32")
        assert tab.locator("dialog[open]").count() == 1
        tab.keyboard.press("Escape")
        tab.locator(f"[data-id='{judged}'] .undo").click()
        tab.locator(f"[data-id='{judged}'] .no").click()
        tab.wait_for_selector(f"[data-id='{judged}'].rejected")


POINTER_MOVES = "document.querySelector('#defects').dispatchEvent(new PointerEvent('pointermove'))"


def test_no_card_moves_under_a_pointer(tab, tmp_path, serve):
    first = "document.querySelector('#defects li').dataset.id"
    with recorded_page(tmp_path) as (live, recorder, state):
        tab.goto(f"http://127.0.0.1:{serve(live)}/#token={TOKEN}")
        until(tab, "document.querySelectorAll('#defects li').length === 3")
        tab.evaluate("() => { performance.now = () => 1000; }")  # held until the test ends that
        before = tab.evaluate(first)
        tab.evaluate(POINTER_MOVES)
        found = [defect(0.5)]
        recorder.add(found, state.coverage, 1500.0)
        state.roll.defects += found
        show(live, passed(state, 12))
        until(tab, "document.querySelector('#map').dataset.defects === '4'")
        assert tab.evaluate(first) == before
        tab.evaluate("() => { delete performance.now; }")
        until(tab, f"{first} !== '{before}'")


GREEN = "document.querySelector('.trouble.good') !== null"


def graded_page(metres):
    """Return the page of a roll 200 mm wide that admits 400 points per 100 m², with a defect of 1 point."""
    state = passed(plain_state(), *range(metres * 10))
    state.roll.terms = RollTerms("A17", cloth_width_mm=200.0, grade_limits={"first": 400.0}, offset_mm=0.0)
    state.roll.take([defect(0.05)])
    return plain_page(state)


def test_the_grade_so_far_is_too_early_until_one_metre_does_not_decide_it(tab, serve):
    for metres, main, more in (
        (2, "too early", "1 point on 0.4 m²; means something from 1 m² on"),
        (6, "first", "83.3 points per 100 m² · 1 point on 1.2 m²"),
    ):
        tab.goto(f"http://127.0.0.1:{serve(graded_page(metres))}/")
        until(tab, f"document.querySelector('#grade').textContent === '{main}'")
        assert tab.inner_text("#grade-more") == more
    assert tab.inner_text("#sees p") == "Sees 0 to 200 mm from the left selvedge."


def test_what_came_while_the_network_was_away_is_there_and_counted(tab, tmp_path, serve, monkeypatch):
    later_s, real = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: real() + later_s[0])
    with recorded_page(tmp_path) as (live, recorder, state):
        show(live, passed(state, 12))
        network = Network(serve(live))
        tab.goto(f"http://127.0.0.1:{network.port}/")
        until(tab, "document.querySelector('#map').dataset.defects === '3'")
        until(tab, "(localStorage.getItem('loomsight seen /') || '').includes('\"number\":3')")
        assert not tab.locator("#missed").is_visible()
        network.break_()
        until(tab, "!document.querySelector('#away').hidden")
        assert not tab.evaluate(GREEN)
        found = [defect(0.5), defect(0.6)]
        recorder.add(found, state.coverage, 1500.0)
        for down in ("unplugged", None):  # it came and went, and nobody saw it
            later_s[0] += 30.0
            state.camera_down = down
            state.snapshot()
            show(live, passed(state, 13))
        later_s[0] += 30.0
        network.mend()
        until(tab, "!document.querySelector('#missed').hidden")
        # On a busy processor the run itself may seem to hang between two images: that is a warning, too.
        assert re.fullmatch(
            r"2 defects and \d+ warnings? since you were away\.", tab.inner_text("#missed strong")
        )
        assert tab.locator("#defects li.missed").count() == 2
        assert "The camera is gone." in tab.inner_text("#past")
        assert tab.locator("#past li.missed", has_text="The camera is gone.").count() == 1
        assert axe_findings(tab) == []
        assert fits(tab)
        tab.locator("#missed button").click()
        assert tab.locator(".missed").count() == 0
        network.break_()  # the browser is closed, and opened again much later
        recorder.add([defect(0.7)], state.coverage, 1500.0)
        later_s[0] += 3600.0
        network.mend()
        tab.reload()
        until(tab, "!document.querySelector('#missed').hidden")
        assert tab.inner_text("#missed strong").startswith("1 defect")
        network.close()


def wide_images(folder, count=5, found=(1, 3)):
    """Write images of 16:1 that are grey, some with bright cells."""
    folder.mkdir()
    for number in range(count):
        image = np.full((64, 1024), 40, np.uint8)
        if number in found:
            image[16:24, 800:808] = 250
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


@contextmanager
def staying(tmp_path, *more):
    """Run edge-run on a folder to its end; yields the process, its address and what it said then."""
    images = tmp_path / "roll"
    if not images.exists():
        wide_images(images)
    model = write_bright_cell_bundle(tmp_path / "bundle")
    given = ["--camera", images, "--model", model, "--page", "0", "--page-stays", "--cloth", "all", *more]
    command = program("edge-run", *given)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = process.stderr.readline().split()[1]
            said = next(line for line in process.stderr if "stays" in line)
            yield process, address, said
        finally:
            process.kill()  # nothing is left to end after a test that passed


def shows(tab, frame, words):
    until(tab, f"document.querySelector('#cloth').dataset.frame === '{frame}'")
    until(tab, f"document.querySelector('#frame-said').textContent.includes('{words}')")


def test_the_page_of_a_folder_stays_and_its_frames_are_looked_through(tab, tmp_path):
    with staying(tmp_path, "--mm-per-px", "1") as (process, address, said):
        assert said == f"inspection is finished; the page stays: {address}; Ctrl-C ends it\n"
        tab.goto(address)
        until(tab, "document.querySelector('#troubles').textContent.includes('Inspection is finished.')")
        assert not tab.locator("#next").is_visible()
        shows(tab, 1, "Frame 2 of 5 · 1.png · with a defect")
        for key, frame in (
            ("ArrowRight", 2), ("ArrowLeft", 1), ("Shift+ArrowRight", 3), ("End", 4), ("ArrowRight", 4),
            ("Shift+ArrowLeft", 3), ("Home", 0),
        ):  # fmt: skip
            tab.keyboard.press(key)
            shows(tab, frame, f"Frame {frame + 1} of 5")
        assert tab.evaluate("document.querySelector('#cloth img').naturalWidth") == 1024
        tab.locator("[data-step=found-after]").click()
        shows(tab, 1, "with a defect")
        tab.locator("#defects button.none").first.click()
        shows(tab, 3, "with a defect")
        (tmp_path / "roll" / "4.png").unlink()
        tab.locator("[data-step=after]").click()
        shows(tab, 4, "4.png")
        assert tab.inner_text("#cloth p").strip() == "This frame cannot be shown."
        assert axe_findings(tab) == []
        assert fits(tab)
        process.send_signal(signal.SIGINT)
        assert process.wait(START_S) == 0


def test_recorded_defects_have_images_though_no_frame_is_saved(tab, tmp_path):
    with staying(tmp_path, "--roll-record", tmp_path / "r.db", "--mm-per-px", "1") as (_, address, _):
        tab.goto(address)
        until(tab, "document.querySelectorAll('#defects img.image[src^=blob]').length === 2")
        assert tab.locator("#defects .none").count() == 0
        tab.locator("#defects img.image").first.click()
        until(tab, "document.querySelector('dialog[open] img').naturalWidth > 0")


def test_the_page_of_a_folder_with_a_damaged_image_says_that_inspection_is_finished(tab, tmp_path):
    images = wide_images(tmp_path / "roll")
    (images / "2.png").write_bytes((images / "2.png").read_bytes()[:60])
    with staying(tmp_path, "--mm-per-px", "1") as (process, address, _):
        tab.goto(address)
        until(tab, "document.querySelector('#troubles').textContent.includes('Inspection is finished.')")
        said = tab.inner_text("#troubles")
        assert "1 of 5 images of" in said
        assert "the others were inspected" in said
        assert "stopped" not in said
        process.send_signal(signal.SIGINT)
        assert process.wait(START_S) == 22


def test_the_page_says_that_frames_of_a_live_camera_cannot_be_looked_through(tab, serve):
    state = passed(plain_state(), 0)
    live = plain_page(state, stays=True)
    live.health.end(state)
    live.end(state)
    tab.goto(f"http://127.0.0.1:{serve(live)}/")
    until(tab, "!document.querySelector('#frames').hidden")
    assert tab.inner_text("#frame-said") == "Frames cannot be looked through again: this camera keeps none."
    assert not tab.locator("[data-step=after]").is_visible()


@pytest.mark.parametrize("width", [390, 1366])
def test_no_state_of_the_page_has_a_serious_finding_of_axe(tab, tmp_path, serve, width):
    tab.set_viewport_size({"width": width, "height": 844})
    well = plain_page(passed(plain_state(), 0))
    tab.goto(f"http://127.0.0.1:{serve(well)}/")
    until(tab, GREEN)
    assert (axe_findings(tab), fits(tab)) == ([], True)
    with recorded_page(tmp_path) as (live, _, state):
        state.optics_troubles, state.camera_down = ("lamp weak",), "frozen"
        state.snapshot()
        show(live, passed(state, 12))
        tab.goto(f"http://127.0.0.1:{serve(live)}/")
        tab.locator("#defects img.image[src^=blob]").first.click()
        for summary in ("#next", "#past-box"):
            tab.evaluate(f"document.querySelector('{summary}').open = true")
        assert axe_findings(tab) == []
        tab.keyboard.press("Escape")
        tab.evaluate("document.querySelector('#key').hidden = false")
        assert (axe_findings(tab), fits(tab)) == ([], True)
        right = plain_page(passed(plain_state(), 1))
        tab.goto(f"http://127.0.0.1:{serve({'left': live, 'right': right})}/")
        until(tab, "document.querySelectorAll('#cameras img.now[src^=blob]').length === 2")
        assert (axe_findings(tab), fits(tab)) == ([], True)
        assert tab.get_attribute("#cameras img.now >> nth=0", "alt") == "What left saw last"
        assert "3 defects" in tab.inner_text("#cameras")
        assert "undefined" not in tab.inner_text("#cameras")
    well.taught = lambda article=taught_article(tmp_path): article
    tab.goto(f"http://127.0.0.1:{serve(well)}/sheet")
    until(tab, "document.querySelectorAll('#places button').length === 3")
    assert (axe_findings(tab), fits(tab)) == ([], True)
