"""Try a broker as a run would use it: log in under a name of its own, publish on every topic."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from secrets import token_hex
from typing import Final, NamedTuple
from uuid import uuid4

from edge import __version__
from edge.config.mqtt import MqttSettings
from edge.core.errors import BrokerError
from edge.mqtt.check_kind import CHECK
from edge.mqtt.connection import LOOP_S, Connection, Login, dial
from edge.mqtt.messages import MESSAGES, EventMessage, StatusMessage
from edge.mqtt.reasons import Lost
from edge.mqtt.reports import UNSEEN_DENIALS
from edge.mqtt.tls import tls_context

IS_A_FAILURE: Final = 0x80


class PublishResults(NamedTuple):
    """Hold the results of publishing on each topic.

    Attributes:
        denied: topics, and why.
        taken: topics whose message the broker has taken.
        unseen: topics of which that cannot be known.
    """

    denied: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


def check_broker(settings: MqttSettings, password: str | None, *, publishes: bool = True) -> str:
    """Log in to the broker and publish one message on each topic of a run.

    It has a client id of its own and no last will, and what it publishes is not retained: a run beside it
    goes on, and its status stays.

    Args:
        settings: with a broker.
        password: None for none.
        publishes: False only logs in.
    Returns:
        What was reached, for a person.
    Raises:
        BrokerError: if that does not work, or the broker denies a topic.
        ConfigError: if a file of certificates cannot be used.
    """
    login = Login(settings, password, tls_context(settings), f"loomsight-check-{token_hex(3)}", None)
    found = PublishResults()
    try:
        connection = dial(login)
        try:
            if publishes and connection.says_what_it_denies:
                found = _tried(login)
            elif publishes:
                found = _tried_unseen(connection, settings)
        finally:
            connection.close()
    except Lost as lost:
        raise BrokerError(
            f"The broker {settings.broker} cannot be used: {lost}.",
            lost.cure or "Check its address, ca_file, user and password.",
        ) from lost
    if found.denied:
        who = f"user '{settings.user}'" if settings.user else "a client without user"
        raise BrokerError(
            f"The broker {settings.broker} denies {'; '.join(found.denied)}.",
            f"Let {who} publish on {settings.root}/# there.",
        )
    return _reached(settings, connection, found)


def _tried(login: Login) -> PublishResults:
    """Publish on every topic, on a connection for each: a broker may close one after it has refused.

    Raises:
        Lost: if a connection ends, or nothing is acknowledged in time.
    """
    denied = []
    for topic in MESSAGES:
        connection = dial(replace(login, client_id=f"loomsight-check-{token_hex(3)}"))
        try:
            _publish(connection, topic, _message(topic))
        finally:
            connection.close()
        denied += [f"{login.settings.root}/{topic} ({refusal.why})" for refusal in connection.refusals]
    return PublishResults(tuple(denied), () if denied else tuple(MESSAGES))


def _tried_unseen(connection: Connection, settings: MqttSettings) -> PublishResults:
    """Find out in MQTT 3.1.1, where a denied message is acknowledged: does it come back to a subscriber?

    Raises:
        Lost: if the connection ends, or nothing is acknowledged in time.
    """
    messages = {topic: _message(topic) for topic in MESSAGES}
    asked = {topic: connection.subscribe(topic) for topic in messages}
    _until(connection, lambda: len(connection.subscribed) >= len(asked))
    seen = [
        topic for topic, mid in asked.items() if mid and connection.subscribed.get(mid, 255) < IS_A_FAILURE
    ]
    for topic, payload in messages.items():
        _publish(connection, topic, payload)
    came = {topic: (f"{settings.root}/{topic}", messages[topic].encode()) for topic in seen}
    _until(connection, lambda: set(came.values()) <= set(connection.received))
    arrived = [topic for topic in seen if came[topic] in connection.received]
    denied = [
        f"{settings.root}/{topic} (acknowledged, and it did not come)"
        for topic in seen
        if topic not in arrived
    ]
    return PublishResults(
        tuple(denied), tuple(arrived), tuple(topic for topic in messages if topic not in seen)
    )


def _publish(connection: Connection, topic: str, payload: str) -> None:
    """Publish and wait for the answer, whatever it is.

    Raises:
        Lost: if the connection ends, or no answer comes in time.
    """
    if not connection.fits(topic, payload):
        most = connection.granted.packet_bytes
        raise Lost(f"it takes no more than {most} bytes at once", cure="Raise its maximum packet size.")
    connection.send(None, topic, payload)
    try:
        while connection.unacknowledged:
            connection.turn(LOOP_S)
    except Lost as lost:
        if connection.has_refused:
            return
        raise Lost(f"{lost.why}, after a message on {topic}", lost.code, cure=lost.cure) from lost


def _until(connection: Connection, is_so: Callable[[], bool]) -> None:
    """Wait for something, no longer than for the answer to a connection."""
    end_s = time.monotonic() + connection.timeout_s
    while not is_so() and time.monotonic() < end_s:
        connection.turn(LOOP_S)


def _message(topic: str) -> str:
    """Return what is published on a topic; a receiver tells by `kind` or `state` that nothing happened."""
    if topic == "status":
        status = StatusMessage(state="check", loomsight=__version__, camera="none")
        return status.model_dump_json()
    return EventMessage(
        id=uuid4().hex,
        utc=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        roll=None,
        roll_id=None,
        article=None,
        kind=CHECK,
        detail=f"loomsight mqtt check tries the topic {topic}; nothing happened",
        at_m=None,
        data=None,
    ).model_dump_json()


def _reached(settings: MqttSettings, connection: Connection, found: PublishResults) -> str:
    verdict = f"{settings.broker} authorises this device; its topics begin with {settings.root}."
    if found.taken:
        verdict += f" It takes messages on {', '.join(found.taken)}."
    if found.unseen:
        topics = ", ".join(found.unseen)
        verdict += f" Whether it takes {topics} cannot be seen: this user may not subscribe to them."
    if not connection.says_what_it_denies:
        verdict += f" Note: {UNSEEN_DENIALS}."
    return verdict
