"""Whatever is sent to a server, it answers 2xx, 3xx or 4xx, lives on, and logs no traceback."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from distill.labels.review.log import ReviewLog
from distill.labels.review.page import web_app as review_app
from distill.labels.review.questions import Panel
from distill.labels.review.session import Session
from edge.core.taxonomy import load_taxonomy
from edge.health.state import Health
from edge.page.device import device_app, pages_of, probe_app
from tests.unit.distill.labels.review.folders import HARD, write_folder
from tests.unit.edge.page.pages import LOCAL, TOKEN, app_of, plain_page, recorded_page
from tests.unit.edge.web.servers import everything, said_to, served

PATHS = {
    "page": [
        "/",
        "/page.js",
        "/state",
        "/cloth.jpg",
        "/roll",
        "/images/" + "0" * 32,
        "/reviews",
        "/rolls",
        "/healthz",
        "/metrics",
    ],
    "box": ["/", "/cameras.json", "/left/", "/left/state", "/right/roll", "/left/reviews", "/right/rolls"],
    "health": ["/metrics", "/healthz", "/other"],
    "review": [
        "/",
        "/page.js",
        "/review/overview",
        "/review/image",
        "/review/pixels",
        "/review/decide",
        "/review/undo",
        "/review/finish",
        "/review/ask",
    ],
}


@contextmanager
def application(name, folder):
    """Yield one of the applications on real data."""
    with ExitStack() as stack:
        if name == "health":
            health = Health(1e9)
            yield probe_app({None: health}, LOCAL.host, ())
        elif name == "review":
            data = write_folder(folder / "data")
            session = Session(data, stack.enter_context(ReviewLog(data)), load_taxonomy())
            yield review_app(session, Panel(session, None), LOCAL.host)
        else:
            live, _, _ = stack.enter_context(recorded_page(folder))
            if name == "page":
                yield app_of(live)
            else:
                pages = pages_of({"left": live, "right": plain_page()})
                yield device_app(pages, LOCAL, TOKEN, ())


@pytest.fixture(scope="module", params=PATHS)
def server(request, tmp_path_factory):
    """Serve one of the applications; gives (its name, address)."""
    with (
        application(request.param, tmp_path_factory.mktemp(request.param)) as app,
        served(app) as address,
    ):
        yield request.param, address


ODD = [
    "%00",
    "%ed%a0%80",
    "%ff",
    "%2e%2e%2f",
    "..",
    "//",
    "'",
    "%",
    "%zz",
    "x" * 3000,
    "%F0%9F%A7%B5",
    "*",
    ";",
    "\\",
    "?wanted=all&name=%00",
    "?wanted=all&position=" + "9" * 400,
    "?wanted=%ff",
    "?defect=-1",
    "?defect=%C2%B2",
    "?roll=%ed%a0%80&gaps=" + "g" * 3000,
    "?name=images%2ftrain%2f..%2f..%2fdata.yaml",
    "?" + "a&" * 900,
    "?wanted=queued&position=NaN",
    "?wanted=all&wanted=queued",
    f"?wanted=all&name={HARD.replace(' ', '%20')}",
]
HEADERS = [
    b"Cookie: \xff\xfe=\x80; a=b; ;;=",
    b"Range: bytes=0-0,5-,-7",
    b"Range: bytes=9999999999999999999-",
    b'If-None-Match: W/"x", *',
    b"If-Modified-Since: yesterday",
    b"If-Range: \xff",
    b"Authorization: Bearer \xe9",
    b"Authorization: Bearer",
    b"Accept: \xff",
    b"Accept-Encoding: br;q=NaN",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Connection: upgrade",
    b"Expect: 100-continue",
    b"Expect: the worst",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked",
    b"Content-Length: 0",
    b"Content-Length: 12",
    b"Content-Length: -1",
    b"Content-Type: application/json; charset=utf-16",
    b"Origin: null",
    b"Origin: http://[",
    b"Sec-Fetch-Site: x",
    b"X-Forwarded-For: \xff",
    b"Host: [",
    b"TE: trailers",
    b"X: " + b"x" * 9000,
    b": empty",
    b"no colon",
]
VALUES = st.recursive(
    st.sampled_from(
        [
            "NaN",
            "-Infinity",
            "1e999",
            "9" * 500,
            "-1",
            "1.5",
            "null",
            "true",
            '"\\ud800"',
            '"\\u0000"',
            '""',
            '"x"',
            '"confirmed"',
            '"undone"',
            '"' + "0" * 32 + '"',
            '"accept"',
            '"relabel"',
            '"add"',
            '"redraw"',
            '"all"',
            '"detection"',
            f'"{HARD}"',
            "0",
            "[1, 2, 3, 4]",
            "[1e308, -1e308, 0, 1]",
            "[NaN, 0, 9, 9]",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]"),
    max_leaves=4,
)
KEYS = [
    "id",
    "verdict",
    "name",
    "article",
    "image",
    "version",
    "action",
    "place",
    "label",
    "category",
    "box_xyxy_px",
    "wanted",
    "task",
    "text",
]
BODIES = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8).map(
        lambda pairs: ("{" + ", ".join(f'"{key}": {value}' for key, value in pairs.items()) + "}").encode()
    ),
    st.sampled_from(
        [b"[" * 1900, b'{"id": ' * 250, b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"nul", b"{}" * 30_000]
    ),
    st.binary(max_size=200),
)
METHODS = st.sampled_from(
    [
        "GET",
        "POST",
        "POST",
        "HEAD",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "TRACE",
        "CONNECT",
        "G\x7fT",
        "get",
    ]
)


def answered(address, data):
    """Send bytes, end the sending side, and return the status of each answer."""
    with socket.create_connection(address, timeout=20) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass  # refused before it was read whole
        text = everything(peer)
    return [int(line[9:12]) for line in text.split(b"\r\n") if line.startswith(b"HTTP/1.")]


def check_alive(address, caplog):
    """See that the server answers as before, and that nothing was logged as an error."""
    ask = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert said_to(address, ask)[9:12] in (b"200", b"404")
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert said == []


LIGHT = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@LIGHT
@given(
    method=METHODS,
    place=st.integers(0, 20),
    odd=st.lists(st.sampled_from(ODD), max_size=2).map("".join),
    headers=st.lists(st.sampled_from(HEADERS), max_size=3),
    body=BODIES,
    with_token=st.booleans(),
)
@example("POST", 4, "", [], b'{"image": "\\ud800", "version": 0, "action": "accept"}', True)
@example("POST", 5, "", [], b'{"image": "x", "version": 0, "action": "accept"}', True)
def test_no_request_brings_more_than_a_refusal(
    server, caplog, method, place, odd, headers, body, with_token
):
    name, address = server
    path = PATHS[name][place % len(PATHS[name])]
    head = [f"{method} {path}{odd} HTTP/1.1".encode("latin-1"), b"Host: localhost", b"Connection: close"]
    token = [b"Authorization: Bearer " + TOKEN.encode()] if with_token else []
    sizes = (
        [b"Content-Length: %d" % len(body), b"Content-Type: application/json"] if method == "POST" else []
    )
    statuses = answered(address, b"\r\n".join([*head, *token, *headers, *sizes, b"", body]))
    # A message that the connection's own rules end has no answer; all others have one of ours.
    assert all(100 <= status < 500 for status in statuses), statuses
    check_alive(address, caplog)


@LIGHT
@given(
    data=st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from(
                [
                    b"GET / HTTP/1.1\r\n",
                    b"Host: localhost\r\n",
                    b"\r\n",
                    b"\n",
                    b"\0",
                    b"POST /reviews HTTP/1.1\r\n",
                    b"\x16\x03\x01",
                    b"Transfer-Encoding: chunked\r\n",
                    b"5\r\nab",
                    b"zz\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"HTTP/0.9 ",
                    b" " * 300,
                    b"Content-Length: 3\r\n",
                    b"Content-Length: 4\r\n",
                    b"x" * 20_000,
                ]
            ),
            max_size=9,
        ).map(b"".join),
    )
)
def test_no_bytes_bring_more_than_a_refusal(server, caplog, data):
    _, address = server
    assert all(100 <= status < 500 for status in answered(address, data))
    check_alive(address, caplog)
