"""A broker over TCP that does what a script says: enough of MQTT 5 and 3.1.1 to misbehave in it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CLOSE = "close"
SILENCE = None
THROWN_AWAY = "thrown away"
"""Acknowledged, and given to nobody."""
CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12
IDLE_S = 0.05


@dataclass(slots=True)
class Script:
    """What the broker does; each answer is a reason code, raw bytes, `SILENCE` or `CLOSE`.

    Attributes:
        versions: of MQTT that it takes; others get the answer of a broker that does not know them.
        connect: answers a CONNECT.
        publish: answers a PUBLISH, by the last part of the topic and the message.
        granted: properties of its CONNACK in MQTT 5.
        cuts_unknown_versions: it closes the connection on a version that it does not know.
        answers_when_idle: answers wait until no more comes for a moment; closing the connection loses them,
            as TCP does where the other side writes to a connection that is closed.
    """

    versions: tuple[int, ...] = (5, 4)
    connect: Callable[[], Any] = lambda: 0
    publish: Callable[[str, Any], Any] = lambda topic, message: 0
    granted: bytes = b""
    cuts_unknown_versions: bool = False
    answers_when_idle: bool = False


@dataclass(slots=True)
class _Peer:
    stream: socket.socket
    version: int = 5
    buffer: bytes = field(default=b"")
    held: bytes = field(default=b"")

    def receive(self) -> bytes:
        self.stream.settimeout(IDLE_S if self.held else None)
        try:
            return self.stream.recv(65536)
        except TimeoutError:
            held, self.held = self.held, b""
            self.stream.sendall(held)
            return self.receive()

    def read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            got = self.receive()
            if not got:
                raise ConnectionError
            self.buffer += got
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def packet(self) -> tuple[int, bytes]:
        head, length, shift = self.read(1)[0], 0, 0
        while True:
            byte = self.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return head, self.read(length)


class ScriptedBroker:
    """Serve on a free port until it is left.

    Attributes:
        script: may be changed at any time.
        taken: topic (last part) and message of what it acknowledged with success.
        came: topics of all that came.
        connections: versions of the CONNECTs that came.
        client_ids: names in them.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.taken: list[tuple[str, Any]] = []
        self.came: list[str] = []
        self.connections: list[int] = []
        self.client_ids: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._peers: list[socket.socket] = []
        self._subscribed: list[tuple[str, _Peer]] = []

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)  # else the thread waits, and the port is open, for ever
        self._server.close()
        self.drop()

    def ids(self, *topics: str) -> list[str]:
        return [message["id"] for topic, message in list(self.taken) if topic in topics and "id" in message]

    def drop(self, farewell: bytes = b"") -> None:
        """End all connections, after a last word."""
        for peer in self._peers:
            try:
                peer.sendall(farewell)
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._peers.clear()

    def _accept(self) -> None:
        while True:
            try:
                stream = self._server.accept()[0]
            except OSError:
                return
            self._peers.append(stream)
            threading.Thread(target=self._serve, args=(_Peer(stream),), daemon=True).start()

    def _serve(self, peer: _Peer) -> None:
        try:
            while self._answer(peer, *peer.packet()):
                pass
        except OSError:
            pass
        peer.stream.close()

    def _answer(self, peer: _Peer, head: int, body: bytes) -> bool:
        kind = head >> 4
        if kind == CONNECT:
            return self._connected(peer, body)
        if kind == PUBLISH:
            return self._published(peer, head, body)
        if kind == SUBSCRIBE:
            rest = body[3 + body[2] :] if peer.version == 5 else body[2:]
            length = struct.unpack("!H", rest[:2])[0]
            self._subscribed.append((rest[2 : 2 + length].decode(), peer))
            peer.stream.sendall(packet(0x90, body[:2] + (b"\0" if peer.version == 5 else b"") + b"\1"))
        if kind == PINGREQ:
            peer.stream.sendall(b"\xd0\0")
        return True

    def _connected(self, peer: _Peer, body: bytes) -> bool:
        peer.version = body[6]
        self.connections.append(peer.version)
        at = 10 + (1 + body[10] if peer.version == 5 else 0)
        length = struct.unpack("!H", body[at : at + 2])[0]
        self.client_ids.append(body[at + 2 : at + 2 + length].decode())
        if peer.version not in self.script.versions:
            if not self.script.cuts_unknown_versions:
                peer.stream.sendall(packet(0x20, b"\0\1"))
            return False
        return self._say(peer, self.script.connect(), self._connack)

    def _connack(self, peer: _Peer, code: int) -> bytes:
        properties = self.script.granted
        return packet(
            0x20, bytes([0, code]) + (bytes([len(properties)]) + properties if peer.version == 5 else b"")
        )

    def _published(self, peer: _Peer, head: int, body: bytes) -> bool:
        length = struct.unpack("!H", body[:2])[0]
        whole, rest = body[2 : 2 + length].decode(), body[2 + length :]
        number, rest = rest[:2], rest[2:]
        payload = rest[1:] if peer.version == 5 else rest
        topic, message = whole.rpartition("/")[2], json.loads(payload)
        self.came.append(topic)
        answer = self.script.publish(topic, message)
        if answer == THROWN_AWAY:
            return self._say(peer, packet(0x40, number), self._connack)
        if answer == 0:
            self.taken.append((topic, message))
            self._pass_on(whole, payload)
        return self._say(
            peer,
            answer,
            lambda _, code: packet(0x40, number + (bytes([code]) if code and peer.version == 5 else b"")),
        )

    def _pass_on(self, topic: str, payload: bytes) -> None:
        for name, peer in self._subscribed:
            if name == topic:
                head = struct.pack("!H", len(topic)) + topic.encode()
                peer.stream.sendall(packet(0x30, head + (b"\0" if peer.version == 5 else b"") + payload))

    def _say(self, peer: _Peer, answer: Any, spelt: Callable[[_Peer, int], bytes]) -> bool:
        """Give an answer; False ends the connection."""
        if answer == CLOSE and isinstance(answer, str):
            return False
        if answer is not SILENCE:
            said = answer if isinstance(answer, bytes) else spelt(peer, answer)
            if self.script.answers_when_idle:
                peer.held += said
            else:
                peer.stream.sendall(said)
        return True


def packet(head: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (128 if size else 0)])
        if not size:
            return bytes([head]) + length + body


def disconnect(code: int) -> bytes:
    """Return the farewell of a broker in MQTT 5."""
    return packet(0xE0, bytes([code]))
