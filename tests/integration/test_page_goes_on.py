"""States that the page has to leave again, in a real browser: the token form, images, sheet, teaching."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from edge.page.device import device_app
from edge.web.address import bound_socket
from edge.web.serving import WebServer
from tests.integration.browsing import START_S, needs_chromium, until
from tests.integration.test_page_network import TOKEN, Network
from tests.integration.test_page_network import page as served_page
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
        app = page_of(live)
        server = WebServer(device_app({None: app}, LOCAL, TOKEN, ()), bound, "page", at_end=[app.close])
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
    until(tab, "document.querySelector('#article button').disabled")
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
