"""The live page in a real headless browser beside a real run, and what a hostile network may try."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import httpx
import pytest

from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.config.edge import EdgeConfig
from edge.core.palette import class_colour
from edge.health.state import Health
from edge.page import server
from edge.page.live import live_page
from edge.page.server import serve
from edge.web import connection
from tests.integration.browsing import START_S, edge_run, needs_chromium, tab_of, until
from tests.processes import loomsight
from tests.unit.edge.page.pages import passed, plain_page

COLOURED = """() => {
  const image = document.querySelector('#cloth img');
  if (!image.naturalWidth) return false;
  const canvas = Object.assign(document.createElement('canvas'), {width: image.naturalWidth, height:
  image.naturalHeight}); const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  for (let i = 0; i < data.length; i += 4)
    if (Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 80)
    return true;
  return false;
}"""


def verdicts(folder):
    with closing(sqlite3.connect(folder / "rolls.db")) as db:
        return [row[0] for row in db.execute("SELECT verdict FROM reviews ORDER BY rowid")]


def number_on(tab, what):
    return int(tab.get_attribute("#map", f"data-{what}"))


@needs_chromium
def test_an_operator_at_the_desk_and_on_the_phone(browser, tmp_path):
    token = tmp_path / "token"
    with edge_run(tmp_path, "0", token=token) as (process, bare):
        address = f"{bare}#token={token.read_text().strip()}"
        with tab_of(browser, address, 1280, 800) as desk:
            until(desk, COLOURED)
            until(desk, "document.querySelector('#map').dataset.gaps > 0")
            desk.wait_for_selector("#defects img.image[src^=blob]")
            assert urlsplit(desk.url).fragment == ""  # nobody reads the token over a shoulder
            assert number_on(desk, "defects") > 0
            assert "The camera loses lines." in desk.inner_text("#troubles")
            assert float(desk.inner_text("#along").split()[0]) > 0
            defect = desk.locator("#defects li").first.get_attribute("data-id")
            card = desk.locator(f"#defects [data-id='{defect}']")  # another one may be the first by now
            name = card.locator("strong").inner_text().split(":")[0]
            shown = card.evaluate("one => getComputedStyle(one).borderLeftColor")
            assert shown == f"rgb{tuple(class_colour(name))}"
            card.locator(".yes").click()
            desk.wait_for_selector(f"[data-id='{defect}'].confirmed")
            assert verdicts(tmp_path) == ["confirmed"]
            with tab_of(browser, address, 360, 760) as phone:
                own = phone.locator(f"[data-id='{defect}']")
                own.locator(".undo").tap()
                own.locator(".no").tap()
                phone.wait_for_selector(f"[data-id='{defect}'].rejected")
                desk.wait_for_selector(f"[data-id='{defect}'].rejected")  # told to the other one
                assert verdicts(tmp_path) == ["confirmed", "undone", "rejected"]
                assert phone.evaluate("document.documentElement.scrollWidth") <= 360
                sizes = phone.eval_on_selector_all(
                    "button", "all => all.filter(one => one.offsetParent).map(one => one.offsetHeight)"
                )
                assert min(sizes) >= 44
                unnamed = "all => all.filter(one => !(one.textContent || one.labels?.length)).length"
                assert phone.eval_on_selector_all("button, input", unnamed) == 0
                assert phone.errors == []
            assert desk.errors == []
            desk.locator("#next summary").click()
            desk.fill("#next-name", "B 18")
            desk.locator("#next button").click()
            until(desk, "document.querySelector('#roll').textContent === 'B 18'")
            assert desk.locator(f"[data-id='{defect}']").count() == 0  # the map and the list start again
            assert not desk.locator("#next form").is_visible()
            process.send_signal(signal.SIGTERM)
            desk.wait_for_selector("#away:not([hidden])")
            assert process.wait(START_S) == 0
            with edge_run(tmp_path, str(urlsplit(bare).port), token=token):
                desk.wait_for_selector("#away", state="hidden")
                until(desk, "document.querySelector('#roll').textContent === 'B 18'")  # it goes on
                assert any("ERR_CONNECTION_REFUSED" in error for error in desk.errors)


COUNTED = """() => [
  Number(document.querySelector('#count').textContent),
  Number(document.querySelector('#map').dataset.defects),
  document.querySelectorAll('#defects li').length,
]"""


def recorded_defects(folder):
    with closing(sqlite3.connect(folder / "rolls.db")) as db:
        return db.execute("SELECT count(*) FROM defects").fetchone()[0]


@needs_chromium
def test_the_number_of_defects_is_that_of_the_list_and_of_the_record(browser, tmp_path):
    summary = tmp_path / "summary.json"
    with edge_run(tmp_path, "0", "--frames", "24", "--summary", summary) as (process, _):
        assert process.wait(START_S) == 0
    before = recorded_defects(tmp_path)
    assert json.loads(summary.read_text())["defects_on_roll"] == before > 0
    seen = []
    with edge_run(tmp_path) as (_, address), tab_of(browser, address, 1280, 800) as tab:
        until(tab, "document.querySelector('#map').dataset.defects > 0")
        while not seen or seen[-1][0] < before + 3:  # the roll goes on, and so does its number
            seen.append(tab.evaluate(COUNTED))
            time.sleep(0.02)
        told, end_s = 0, time.monotonic() + START_S
        while told < before + 3 and time.monotonic() < end_s:  # programs get the number a moment later
            told = get(urlsplit(address).port).json()["defects"]
        assert before + 3 <= told <= recorded_defects(tmp_path)
    assert [one for one in seen if one[0] != one[1] or one[2] != min(one[0], 30)] == []
    assert seen[0][0] >= before


def test_a_port_in_use_is_one_line_and_a_missing_page_is_none(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = loomsight("edge-run", "--camera", "loom", "--page", port)
    assert done.returncode == 10
    assert done.stderr == (
        f"error: Cannot serve on 127.0.0.1, port {port}: Address already in use. "
        "Use another --page; 0 takes a free one.\n"
    )


def test_a_health_port_in_use_ends_the_run_with_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = loomsight("edge-run", "--camera", "loom", env={"LOOMSIGHT_EDGE_HEALTH_PORT": str(port)})
    assert done.returncode == 40
    assert done.stderr == (
        f"error: Cannot serve on 127.0.0.1, port {port}: Address already in use. Set another health_port.\n"
    )


TOKEN = "a-token-that-is-long"


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return file


@pytest.fixture
def served(capsys, token_file):
    """Serve a page in this process; gives its port."""
    camera = LoomCamera(parse_loom_options("loom"))
    with ExitStack() as stack:
        config = EdgeConfig(page="0", page_token_file=token_file)
        live = live_page(config, camera, camera.name, Health(60.0))
        serve(config, {}, {None: live}, stack)
        port = urlsplit(capsys.readouterr().err.split()[1]).port
        live.blocks = plain_page(passed(plain_page_state(), 0)).blocks
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port


def plain_page_state():
    from edge.pipeline.run_state import RunState

    return RunState()


def get(port, path="/state"):
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10)


def is_ended(peer, within_s=10):
    """Tell whether the server ends a connection, reading whatever it still says."""
    end_s = time.monotonic() + within_s
    try:
        while time.monotonic() < end_s:
            peer.settimeout(max(0.01, end_s - time.monotonic()))
            if not peer.recv(65536):
                return True
    except ConnectionError:
        return True
    except TimeoutError:
        pass
    return False


def hurry(monkeypatch):
    for name in ("LOOK_S", "REQUEST_TIMEOUT_S", "STALL_TIMEOUT_S"):
        monkeypatch.setattr(connection, name, 0.1 if name == "LOOK_S" else 0.5)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /state HTTP/1.1\r\nHost: loc"], ids=["nothing", "half a request"]
)
def test_who_asks_nothing_is_sent_away(served, monkeypatch, sent):
    hurry(monkeypatch)
    with socket.create_connection(("127.0.0.1", served)) as peer:
        peer.sendall(sent)
        assert is_ended(peer)
    assert get(served).status_code == 200


@pytest.mark.parametrize(
    ("token", "status"), [("wrong", b"401"), (TOKEN, b"408")], ids=["without the token", "with it"]
)
def test_half_a_body_is_not_waited_for(served, monkeypatch, token, status):
    monkeypatch.setattr("edge.web.body.BODY_TIMEOUT_S", 0.3)
    head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", served)) as peer:
        peer.sendall(f"POST /reviews HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\n{{".encode())
        peer.settimeout(10)
        assert peer.recv(12) == b"HTTP/1.1 " + status
        assert is_ended(peer)


def test_a_reader_that_does_not_read_is_disconnected_and_the_others_see_nothing_of_it(served, monkeypatch):
    hurry(monkeypatch)
    monkeypatch.setattr("edge.page.app.STATE_S", 0.0005)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", served))
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begin_s = time.monotonic()
        while time.monotonic() - begin_s < 3:  # it has a receive buffer that fills first
            assert get(served).status_code == 200
            time.sleep(0.1)
        assert is_ended(slow)


def test_a_path_is_never_a_file(served):
    for path in (
        b"/../../../../etc/passwd",
        b"//etc/passwd",
        b"/images/../../app.py",
        b"/page.css/..%00",
    ):
        with socket.create_connection(("127.0.0.1", served)) as peer:
            peer.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            peer.settimeout(10)
            assert peer.recv(12) == b"HTTP/1.1 404"


@pytest.fixture
def three_connections(monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)


@pytest.mark.usefixtures("three_connections")
def test_too_many_connections_are_refused_and_those_that_are_there_go_on(served):
    with ExitStack() as stack, httpx.Client(base_url=f"http://127.0.0.1:{served}") as client:
        assert client.get("/state").status_code == 200
        peers = [stack.enter_context(socket.create_connection(("127.0.0.1", served))) for _ in range(6)]
        assert sum(is_ended(peer, 0.5) for peer in peers) == 4
        assert client.get("/state").status_code == 200


def test_the_page_ends_with_the_run_also_while_somebody_looks(capsys):
    before = threading.active_count()
    with ExitStack() as stack:
        config, camera = EdgeConfig(page="0"), LoomCamera(parse_loom_options("loom"))
        serve(config, {}, {None: live_page(config, camera, camera.name, Health(60.0))}, stack)
        port = urlsplit(capsys.readouterr().err.split()[1]).port
        with httpx.stream("GET", f"http://127.0.0.1:{port}/events", timeout=10) as viewer:
            assert next(viewer.iter_lines()).startswith("data: {")
            begin_s = time.monotonic()
            stack.close()
            assert time.monotonic() - begin_s < 8
    assert threading.active_count() <= before
