from __future__ import annotations

import socket
import threading
import urllib.request

import pytest

from distill.labels.review.serving import serve
from edge.errors import ConfigError, MissingPackageError
from edge.web.address import bound_socket


async def hello(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def broken(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no"})


def test_it_serves_until_it_is_told_to_stop():
    stop, ready = threading.Event(), threading.Event()
    with bound_socket("127.0.0.1", 0) as bound:
        thread = threading.Thread(target=serve, args=(hello, bound, stop, ready.set))
        thread.start()
        assert ready.wait(10)
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == b"hello"
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_an_application_that_does_not_start_ends_it():
    said = []
    refused = pytest.raises(MissingPackageError, match="does not start")
    with bound_socket("127.0.0.1", 0) as bound, refused:
        serve(broken, bound, threading.Event(), lambda: said.append("ready"))
    assert said == []


def test_a_port_that_is_taken_is_one_line():
    with bound_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: Address already in use"):
            bound_socket("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no such name"])
def test_an_address_that_is_not_ours_is_one_line(host):
    with pytest.raises(ConfigError, match="Cannot serve on"):
        bound_socket(host, 0)


def test_only_this_machine_reaches_it():
    with bound_socket("127.0.0.1", 0) as bound:
        assert bound.family == socket.AF_INET
        assert bound.getsockname()[0] == "127.0.0.1"
