"""Who gets through the door: names, proxies, foreign pages, tokens and bodies, over real sockets."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pydantic import BaseModel
from starlette.responses import PlainTextResponse

from edge.process.supervised import HELPER_FAILED, Helpers, watched_by
from edge.web import body as body_module
from edge.web.body import asked_for
from edge.web.door import HEADERS, Rules, behind_door
from edge.web.responses import JsonAnswer
from tests.unit.edge.web.servers import has_ipv6, said_to, served, status_of

TOKEN = "a-token-that-is-long"
KEY = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content_Type": "application/json"}


class Number(BaseModel):
    number: int


async def read(request):
    return PlainTextResponse("secret")


async def change(request):
    return JsonAnswer({"number": (await asked_for(request, Number, "No number.")).number})


async def fail(request):
    raise ZeroDivisionError("by nought")


def door(host="127.0.0.1", **rules):
    addresses = {"GET /": read, "GET /read": read, "POST /change": change, "GET /fail": fail}
    return behind_door(addresses, Rules(host, **{"token": TOKEN, "open_paths": ["/"], **rules}))


@pytest.fixture(scope="module")
def local():
    with served(door()) as address:
        yield address


@pytest.fixture(scope="module")
def proxied():
    with served(door(names=["Loom7.mill.example."])) as address:
        yield address


FORWARDING = {
    "Forwarded": "for=203.0.113.7",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Host": "loom7.mill.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Server": "proxy",
    "X-FORWARDED-SSL": "on",
    "X-Real-IP": "203.0.113.7",
    "Via": "1.1 proxy",
    "CF-Connecting-IP": "203.0.113.7",
    "True-Client-IP": "203.0.113.7",
    "X-Client-IP": "203.0.113.7",
    "X-Cluster-Client-IP": "203.0.113.7",
    "X-Original-URL": "/read",
    "X-ProxyUser-Ip": "203.0.113.7",
    "Fastly-Client-IP": "203.0.113.7",
    "X-Envoy-External-Address": "203.0.113.7",
    "CDN-Loop": "cloudflare",
}


@pytest.mark.parametrize(("name", "value"), FORWARDING.items())
def test_whatever_speaks_of_a_proxy_makes_reading_want_the_token(local, name, value):
    sent = {"Host": "127.0.0.1", name: value}
    assert status_of(local, "/read", **sent) == 401
    assert status_of(local, "/read", **sent, **KEY) == 200
    assert status_of(local, "/", **sent) == 200  # the empty page


def test_with_names_of_a_proxy_reading_wants_the_token_by_whatever_name(proxied):
    for host in ("127.0.0.1", f"127.0.0.1:{proxied[1]}", "localhost", "[::1]", "loom7.mill.example"):
        assert status_of(proxied, "/read", Host=host) == 401
        assert status_of(proxied, "/read", Host=host, **KEY) == 200


def test_a_proxy_that_says_nothing_of_itself_speaks_as_none_of_todays_browsers(local):
    assert status_of(local, "/read", version="1.0", Host="127.0.0.1") == 401
    assert status_of(local, "/read", version="1.0", Host="127.0.0.1", **KEY) == 200
    assert status_of(local, "/read", version="1.0") == 400  # no name at all


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "localhost.", "localhost.:80", "127.0.0.1", "127.0.0.1:80", "127.8.8.8",
     "[::1]", "[::1]:80", "[0:0:0:0:0:0:0:1]", "[::FFFF:127.0.0.1]", "127.0.0.1:"],
)  # fmt: skip
def test_names_of_this_device_read_without_a_token(local, host):
    assert status_of(local, "/read", Host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.7", "0.0.0.0", "[::]",
     "[fe80::1]", "::1", "[::1", "::1]", "localhost@evil.example", "localhost:80:80", "localhost:x", "",
     "localhost/", "[evil.example]", "[]", "localhost..", "loc\xe4lhost"],
)  # fmt: skip
def test_other_names_are_refused_also_with_the_token(local, host):
    assert status_of(local, "/read", Host=host, **KEY) == 400


@pytest.mark.parametrize("host", ["LOOM7.mill.example", "loom7.mill.example.", "loom7.mill.example:8443"])
def test_names_that_were_set_in_all_their_forms(proxied, host):
    assert status_of(proxied, "/read", Host=host, **KEY) == 200


def test_two_names_are_none(local):
    both = b"GET /read HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert said_to(local, both)[9:12] == b"400"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_of_this_device():
    with served(door("::1"), "::1") as address:
        assert status_of(address, "/read", Host=f"[::1]:{address[1]}") == 200
        assert status_of(address, "/read", Host="[::2]") == 400


@pytest.mark.parametrize(
    ("foreign", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8080.evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8080@evil.example"}, 403),
        ({"Origin": "file://127.0.0.1:8080"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 200),
        ({"Origin": "HTTP://127.0.0.1:8080", "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_a_change_comes_from_no_other_page_whatever_it_knows(local, foreign, status):
    sent = {"Host": "127.0.0.1:8080", **KEY, **JSON, **foreign}
    assert status_of(local, "/change", "POST", body=b'{"number": 7}', **sent) == status


def test_a_page_of_a_name_that_was_set_may_change_behind_a_proxy_that_keeps_the_name_to_itself(proxied):
    sent = {"Host": "127.0.0.1:8080", "Origin": "https://loom7.mill.example", **KEY, **JSON}
    assert status_of(proxied, "/change", "POST", body=b'{"number": 7}', **sent) == 200


def test_other_pages_read_nothing_and_hold_no_place_but_their_links_are_followed(local):
    foreign = {"Host": "localhost", "Sec_Fetch_Site": "cross-site"}
    assert status_of(local, "/read", Sec_Fetch_Mode="no-cors", **foreign) == 403
    assert status_of(local, "/", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe", **foreign) == 403
    assert status_of(local, "/", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document", **foreign) == 200


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", "Bearer wrong", "Bearer t\xf6ken", "Bearer \xff\xfe", TOKEN,
     f"Bearer {TOKEN}\xa0x", "Bearer " + "a" * 9000],
)  # fmt: skip
def test_a_token_that_is_none(local, given):
    sent = {"Host": "localhost", "Authorization": given, **JSON}
    assert status_of(local, "/change", "POST", body=b'{"number": 7}', **sent) == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"number": 7}', 200),
        (b'{"number": NaN}', 422),
        (b'{"number": 1e999}', 422),
        (b'{"number": ' + b"9" * 1800 + b"}", 200),
        (b"[" * 2000, 422),
        (b'{"number": {"number": 7}}', 422),
        (b'{"number": "\\ud800"}', 422),
        (b"\xff\xfe", 422),
        (b"", 415),
        (b'{"number": 7}' + b" " * 2048, 413),
    ],
)
def test_a_body_of_any_kind(local, body, status):
    sent = {"Host": "localhost", **KEY, **(JSON if body else {})}
    assert status_of(local, "/change", "POST", body=body, **sent) == status


def chunked(body, size=500):
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (chunked(b'{"number": 7}'), b"200"),
        (chunked(b" " * 60_000), b"413"),
        (b"zz\r\n", b"400"),
        (b"-1\r\n\r\n", b"400"),
    ],
)
def test_a_body_that_does_not_say_its_size(local, body, status):
    head = f"POST /change HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    more = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert said_to(local, (head + more).encode() + body)[9:12] == status


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 400, "\xb2"])
def test_a_length_that_is_none(local, length):
    sent = {"Host": "localhost", **KEY, "Content-Length": length}
    assert status_of(local, "/change", "POST", **sent) in (400, 413)


def test_reading_with_a_body_is_measured_too(local, monkeypatch):
    assert status_of(local, "/read", body=b" " * 3000, Host="localhost") == 413
    monkeypatch.setattr(body_module, "BODY_TIMEOUT_S", 0.1)
    half = b"GET /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
    assert said_to(local, half)[9:12] == b"408"


def test_what_one_request_meets_is_logged_health_knows_and_the_next_is_answered(caplog):
    caplog.set_level(logging.ERROR)
    helpers = Helpers()
    with watched_by(helpers), served(door()) as local:
        assert status_of(local, "/fail", Host="localhost") == 500
        assert [one.getMessage() for one in caplog.records] == ["GET /fail: ZeroDivisionError: by nought"]
        assert caplog.records[0].exc_info is None
        assert helpers.unwell["test"].startswith("ZeroDivisionError: by nought")
        assert [event.kind for event in helpers.events()] == [HELPER_FAILED]
        assert status_of(local, "/read", Host="localhost") == 200


@pytest.mark.parametrize("target", ["*", "http://evil.example/read", "localhost:80", "read"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "CONNECT"])
def test_a_target_that_is_no_path(local, method, target):
    assert status_of(local, target, method, Host="localhost", **KEY) == 400


def test_every_answer_of_the_door_is_guarded(local):
    for path, host in (("/read", "localhost"), ("/none", "localhost"), ("/read", "evil.example")):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        answer = said_to(local, request.encode()).decode().lower()
        for name, value in HEADERS.items():
            assert f"{name}: {value}\r\n".lower() in answer


def test_a_lone_surrogate_in_an_answer_is_still_json():
    assert JsonAnswer({"name": "caf\udce9.png"}).body == b'{"name":"caf\\udce9.png"}'


def test_no_token_is_asked_for_where_there_is_none():
    with served(door(token=None)) as address:
        assert status_of(address, "/read", Host="localhost", Via="1.1 proxy") == 200
        assert status_of(address, "/change", "POST", body=b'{"number": 7}', Host="localhost", **JSON) == 200
        assert status_of(address, "/read", Host="evil.example") == 400


def test_what_is_no_http_goes_past_the_door():
    async def lifespan():
        sent = []
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message["type"])

        await door()({"type": "lifespan", "app": None, "state": {}}, receive, send)
        return sent

    assert asyncio.run(lifespan()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
