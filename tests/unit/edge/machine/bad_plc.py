"""A Modbus/TCP server that goes wrong in a way a test names, and right when it is told to."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

READS, COIL_ON = (1, 2, 3), 0xFF00


class Question(NamedTuple):
    """What was asked: header, function, address and value or count."""

    transaction: int
    unit: int
    function: int
    address: int
    value: int


def adu(question, pdu, transaction=None, protocol=0, length=None, unit=None):
    """Return a frame around a reply, with what is wrong about it."""
    transaction = question.transaction if transaction is None else transaction
    unit = question.unit if unit is None else unit
    length = len(pdu) + 1 if length is None else length
    return struct.pack(">HHHB", transaction, protocol, length, unit) + pdu


def echo(question, address=None, value=None):
    """Return what a write is answered with."""
    address = question.address if address is None else address
    return struct.pack(">BHH", question.function, address, question.value if value is None else value)


def right(question, memory):
    """Reply as the protocol says."""
    if question.function in READS:
        held = memory.get(question.address, 0)
        data = bytes([int(bool(held))]) if question.function != 3 else struct.pack(">H", held)
        return bytes([question.function, len(data)]) + data
    memory[question.address] = question.value
    return echo(question)


class Memory(dict):
    """Hold what was written, and remember all of it in `log`: address and value."""

    def __init__(self):
        super().__init__()
        self.log = []

    def __setitem__(self, address, value):
        self.log.append((address, value))
        super().__setitem__(address, value)


class Server:
    """Serve until left.

    Attributes:
        port: that is bound.
        mode: how to go wrong, a key of `MODES`; None for right.
        memory: what was written, by address.
    """

    def __init__(self, mode=None):
        self.mode, self.memory = mode, Memory()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for one in (self._socket, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with suppress(OSError, struct.error), connection:
            if self.mode == "closes at accept":
                return
            while len(head := connection.recv(7)) == 7:
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                question = Question(transaction, unit, *struct.unpack(">BHH", connection.recv(length - 1)))
                go = MODES[self.mode] if self.mode else good
                if go(connection, question, self.memory) is False:
                    return


def good(connection, question, memory):
    connection.sendall(adu(question, right(question, memory)))


def replying(make: Callable[[Question, dict], bytes]):
    """Return a mode that sends this in place of a reply."""

    def go(connection, question, memory):
        connection.sendall(make(question, memory))

    return go


def half(connection, question, memory):
    connection.sendall(adu(question, right(question, memory))[:5])
    return False


def drip(connection, question, memory):
    for byte in adu(question, right(question, {})):
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def reset(connection, question, memory):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def silent(connection, question, memory):
    return None


def forgets(connection, question, memory):
    connection.sendall(adu(question, right(question, {} if question.function not in READS else memory)))


def other_function(question, memory):
    return adu(question, bytes([3, 2, 0, 1]) if question.function != 3 else bytes([1, 1, 1]))


NOISE = random.Random(5)

MODES = {
    "no data bytes": replying(lambda q, m: adu(q, bytes([q.function, 0]))),
    "no bytes at all": replying(lambda q, m: adu(q, bytes([q.function]))),
    "counts more than it sends": replying(lambda q, m: adu(q, bytes([q.function, 5, 1]))),
    "sends more than it counts": replying(lambda q, m: adu(q, bytes([q.function, 1, 1, 1, 1, 1, 1, 1]))),
    "250 bytes": replying(lambda q, m: adu(q, bytes([q.function, 250]) + bytes(250))),
    "other function": replying(other_function),
    "unknown function": replying(lambda q, m: adu(q, bytes([0x63, 1, 1]))),
    "function 0": replying(lambda q, m: adu(q, bytes([0, 1, 1]))),
    "other transaction": replying(
        lambda q, m: adu(q, right(q, {}), transaction=(q.transaction + 1) % 65536)
    ),
    "transaction 0": replying(lambda q, m: adu(q, right(q, {}), transaction=0)),
    "other device": replying(lambda q, m: adu(q, right(q, {}), unit=(q.unit + 1) % 256)),
    "other protocol": replying(lambda q, m: adu(q, right(q, {}), protocol=7)),
    "length 0": replying(lambda q, m: adu(q, right(q, {}), length=0)),
    "length 65535": replying(lambda q, m: adu(q, right(q, {}), length=65535)),
    "noise": replying(lambda q, m: NOISE.randbytes(200)),
    "a web server": replying(lambda q, m: b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "half a frame, then it closes": half,
    "a byte now and then": drip,
    "resets": reset,
    "closes at accept": silent,
    "never replies": silent,
    "exception without a code": replying(lambda q, m: adu(q, bytes([q.function | 0x80]))),
    "exception of another function": replying(lambda q, m: adu(q, bytes([0x8F, 2]))),
    "exception 0": replying(lambda q, m: adu(q, bytes([q.function | 0x80, 0]))),
    **{
        f"exception {code}": replying(lambda q, m, code=code: adu(q, bytes([q.function | 0x80, code])))
        for code in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 255)
    },
    "echoes another address": replying(
        lambda q, m: adu(q, right(q, m) if q.function in READS else echo(q, address=q.address ^ 1))
    ),
    "echoes another value": replying(
        lambda q, m: adu(q, right(q, m) if q.function in READS else echo(q, value=q.value ^ COIL_ON))
    ),
    "a coil neither on nor off": replying(
        lambda q, m: adu(q, right(q, m) if q.function in READS else echo(q, value=0x1234))
    ),
    "does not follow": forgets,
    "replies twice": replying(lambda q, m: 2 * adu(q, right(q, m))),
}
