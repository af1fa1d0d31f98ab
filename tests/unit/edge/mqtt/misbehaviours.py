"""Ways in which a broker misbehaves, each for a while: what it does, and what a person must be told."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from tests.unit.edge.mqtt.scripted import CLOSE, SILENCE, Script, disconnect


class Misbehaviour(NamedTuple):
    """One way to misbehave.

    Attributes:
        make: returns a script.
        said: stands in what is said of it.
        settings: that make it quick to see.
    """

    make: Callable[[], Script]
    said: str
    settings: Mapping[str, float] = MappingProxyType({})


def _wrong_number(topic, message):
    return b"\x40\x02\xff\xf0" if topic != "status" else 0


def _on_status(otherwise):
    """Take the status, and give another answer to what is of the outbox."""
    return lambda topic, message: 0 if topic == "status" else otherwise


def _every(count, answer):
    """Give an answer to each so-many-th message of the outbox, and take the others."""
    numbers = itertools.count(1)

    def publish(topic, message):
        return 0 if topic == "status" or next(numbers) % count else answer

    return publish


def _after(count, answer):
    numbers = itertools.count()

    def publish(topic, message):
        return 0 if topic == "status" or next(numbers) < count else answer

    return publish


def _reason(code):
    return Misbehaviour(lambda: Script(publish=_after(3, disconnect(code))), "ended the connection")


QUICK = {"acknowledge_s": 0.4}
MISBEHAVIOURS: dict[str, Misbehaviour] = {
    "denies everything": Misbehaviour(lambda: Script(publish=_on_status(0x87)), "Not authorized"),
    "denies after a while": Misbehaviour(lambda: Script(publish=_after(4, 0x87)), "Not authorized"),
    "quota exceeded": Misbehaviour(lambda: Script(publish=_every(3, 0x97)), "Quota exceeded"),
    "unspecified error": Misbehaviour(lambda: Script(publish=_on_status(0x80)), "Unspecified error"),
    "takes over the session": Misbehaviour(
        lambda: Script(publish=_after(2, disconnect(0x8E))), "two devices have one mqtt.box"
    ),
    "closes after CONNECT": Misbehaviour(lambda: Script(connect=lambda: CLOSE), "closed the connection"),
    "says nothing": Misbehaviour(
        lambda: Script(connect=lambda: SILENCE), "says nothing", {"timeout_s": 0.4}
    ),
    "never acknowledges": Misbehaviour(
        lambda: Script(publish=lambda *_: SILENCE), "acknowledges nothing", QUICK
    ),
    "acknowledges another number": Misbehaviour(
        lambda: Script(publish=_wrong_number), "acknowledges nothing", QUICK
    ),
    "answers CONNECT with nonsense": Misbehaviour(
        lambda: Script(connect=lambda: b"HTTP/1.1 400 Bad Request\r\n\r\n" + 99 * b"x"), "no MQTT"
    ),
    "answers PUBLISH with nonsense": Misbehaviour(
        lambda: Script(publish=_on_status(b"\x40\x01\0")), "no MQTT"
    ),
    "a length without end": Misbehaviour(
        lambda: Script(publish=_on_status(b"\x40\xff\xff\xff\xff\xff")), "no MQTT"
    ),
    "an unknown reason": Misbehaviour(lambda: Script(publish=_on_status(disconnect(0xF3))), "no MQTT"),
    "closes on each message": Misbehaviour(
        lambda: Script(publish=_on_status(CLOSE)), "closed the connection"
    ),
    "refuses the user": Misbehaviour(lambda: Script(connect=lambda: 0x86), "Bad user name or password"),
    "is busy": Misbehaviour(lambda: Script(connect=lambda: 0x89), "Server busy"),
    "packets too large": Misbehaviour(
        lambda: Script(granted=b"\x27\0\0\0\x64"), "takes no more than 100 bytes at once"
    ),
    "only QoS 0": Misbehaviour(lambda: Script(granted=b"\x24\0"), "QoS 0"),
    "server shutting down": _reason(0x8B),
    "administrative action": _reason(0x98),
    "message rate too high": _reason(0x96),
    "packet too large, said too late": _reason(0x95),
}
