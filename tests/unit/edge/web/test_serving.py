"""The thread of a server: it starts, ends, is started again after an error, and says what went wrong."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress

import pytest

from edge.core.errors import ConfigError, MissingPackageError
from edge.process.supervised import Helpers, watched_by
from edge.web import serving
from edge.web.address import bound_socket
from edge.web.serving import WebServer
from tests.unit.edge.web.servers import has_ipv6, served, status_of


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


def test_it_serves_from_entering_to_leaving():
    before, ended = threading.active_count(), []
    with bound_socket("127.0.0.1", 0) as bound:
        address = bound.getsockname()
        with WebServer(hello, bound, "test", at_end=[lambda: ended.append(1)]) as server:
            assert server.is_serving
            assert status_of(address, "/", Host="localhost") == 200
            assert ended == []
        assert not server.is_serving
        assert ended == [1]
    assert threading.active_count() <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_an_application_that_does_not_start_is_said_at_once():
    refused = pytest.raises(MissingPackageError, match=r"The page does not start\.")
    with bound_socket("127.0.0.1", 0) as bound, refused, WebServer(broken, bound, "page"):
        pass


def test_a_server_that_falls_over_is_started_again_on_its_port_and_health_knows(monkeypatch):
    """A client of the one that fell does not wait for an answer that never comes."""
    helpers, falls, asked = Helpers(), [OSError("no more files")], threading.Event()
    run = serving._Server.main_loop

    async def fall(server):
        if falls:
            while not (asked.is_set() and server.server_state.connections):
                await asyncio.sleep(0.005)
            raise falls.pop()
        await run(server)

    monkeypatch.setattr(serving._Server, "main_loop", fall)
    with watched_by(helpers), served(hello) as address:
        with socket.create_connection(address, timeout=60) as early:
            early.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            asked.set()
            with suppress(ConnectionResetError):
                assert early.recv(64) == b""
        assert status_of(address, "/", Host="localhost") == 200
        assert helpers.failures == {"test": 1}
        assert "no more files" in helpers.unwell["test"]
        assert helpers.dead == []


def test_what_goes_wrong_between_requests_is_one_line(caplog):
    caplog.set_level(logging.ERROR)
    serving._said(
        None, {"message": "socket.accept() out of system resource", "exception": OSError(24, "x")}
    )
    assert [record.getMessage() for record in caplog.records] == [
        "socket.accept() out of system resource: [Errno 24] x"
    ]
    assert caplog.records[0].exc_info is None


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_a_client_whose_network_broke_is_given_up():
    with bound_socket("127.0.0.1", 0) as bound, WebServer(hello, bound, "test"):
        assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == serving.GONE_MS
        with socket.create_server(("127.0.0.1", 0)) as other:
            serving._keep_little(other)
            with socket.create_connection(other.getsockname()), other.accept()[0] as taken:
                assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == serving.GONE_MS


def test_a_port_that_is_taken_is_one_line():
    with bound_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: Address already in use"):
            bound_socket("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no such name", "a..b", "x" * 300, "\udce9"])
def test_an_address_that_is_not_ours_is_one_line(host):
    with pytest.raises(ConfigError, match="Cannot serve on"):
        bound_socket(host, 0)


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", socket.AF_INET),
        ("localhost", socket.AF_INET),
        pytest.param("::1", socket.AF_INET6, marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6")),
        pytest.param("[::1]", socket.AF_INET6, marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6")),
    ],
)
def test_the_family_of_an_address(host, family):
    with bound_socket(host, 0) as bound:
        assert bound.family == family
