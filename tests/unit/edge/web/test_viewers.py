"""Places for viewers of a stream, taken at the door by real connections that come all at once."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack

import pytest

from edge.web.door import Rules, behind_door
from edge.web.responses import EventStream, RefusedError, Viewers
from tests.unit.edge.web.servers import everything, said_to, served

ASK = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def stream_of(viewers):
    async def events():
        while True:
            yield "data: 1\n\n"
            await asyncio.sleep(0.01)

    async def answer(request):
        return EventStream(events(), viewers)

    return behind_door({"GET /events": answer}, Rules("127.0.0.1"))


def test_of_forty_who_come_at_once_sixteen_get_in_and_the_others_are_told():
    viewers = Viewers(16)
    with served(stream_of(viewers)) as address, ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(40)]
        for peer in peers:
            peer.sendall(ASK)
        heads = [peer.recv(12, socket.MSG_WAITALL) for peer in peers]
        assert heads.count(b"HTTP/1.1 200") == 16
        refused = [everything(peer) for peer, head in zip(peers, heads, strict=True) if b"503" in head]
        assert len(refused) == 24
        for answer in refused:
            assert b"16 viewers look at this page already. Close one of them." in answer
            assert b"retry-after: 4" in answer
        assert viewers.count == 16


def test_who_leaves_makes_room_for_one():
    viewers = Viewers(1)
    with served(stream_of(viewers)) as address:
        for _ in range(3):
            with socket.create_connection(address, timeout=10) as peer:
                peer.sendall(ASK)
                assert peer.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
                assert said_to(address, ASK)[9:12] == b"503"
            end_s = time.monotonic() + 10
            while viewers.count:
                assert time.monotonic() < end_s
                time.sleep(0.01)


def test_events_are_not_kept_back_by_a_proxy():
    with served(stream_of(Viewers(1))) as address, socket.create_connection(address, timeout=10) as peer:
        peer.sendall(ASK)
        head = b""
        while b"data: 1" not in head:
            head += peer.recv(4096)
    assert b"x-accel-buffering: no\r\n" in head
    assert b"content-type: text/event-stream" in head
    assert b"cache-control: no-store" in head


def test_a_place_more_than_there_are_is_refused():
    viewers = Viewers(1)
    viewers.enter()
    with pytest.raises(RefusedError, match="1 viewers look at this page already"):
        viewers.enter()
    assert viewers.count == 1
