"""The sender: a thread that empties the outbox into the broker, in the order of the record."""

from __future__ import annotations

import logging
import sqlite3
import ssl
import threading
import time
from collections import deque
from hashlib import sha256

from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from typing_extensions import Self

from edge import __version__
from edge.camera_log import as_here
from edge.errors import BrokerError, ConfigError
from edge.mqtt.messages import StatusMessage, message_of
from edge.mqtt.settings import MqttSettings
from edge.roll.outbox import Outbox, OutboxReader
from edge.roll.values import RecordedEvent

logger = logging.getLogger(__name__)

LOOP_S = 0.05
"""How long a look at the socket waits: what was recorded is sent at most so much later."""

DELETE_EVERY_S = 0.5
"""What was acknowledged is taken out of the record so often, or when a hundred are."""

MANY_ACKNOWLEDGED = 100
MOST_OF_A_NAME = 65
AWAY_S = 10.0
"""A broker that is away for less is no event."""


class Publisher:
    """Send what waits in an outbox. Entering starts the thread, leaving waits for the last messages.

    A message is taken out of the outbox when the broker has acknowledged it (QoS 1). Each connection begins
    with the oldest that was not: so nothing is lost and nothing overtakes, and what the broker had received
    without saying so comes twice, under one id.

    Args:
        outbox: of the record; it need not exist yet.
        settings: with a broker.
        password: None for none.
        camera: its name, for the status.
    Attributes:
        outbox: as given.
        is_connected: None before the first try.
        depth: messages that wait, as of the last look.
        sent: messages that were acknowledged.
    """

    def __init__(
        self, outbox: Outbox, settings: MqttSettings, password: str | None = None, camera: str = ""
    ) -> None:
        self.outbox = outbox
        self._settings = settings
        self._password = password
        self._camera = camera
        self._tls = _tls(settings) if settings.is_encrypted else None
        self._end = threading.Event()
        self._flush_by_s = 0.0
        self._events: deque[RecordedEvent] = deque(maxlen=1000)
        self._away_since_s: float | None = None
        self._away_told = False
        self._was_full = False
        self._thread = threading.Thread(target=as_here(self._send_all), name="mqtt", daemon=True)
        self.is_connected: bool | None = None
        self.depth = 0
        self.sent = 0

    def __enter__(self) -> Self:
        if self._password and not self._settings.is_encrypted:
            logger.warning("the password for %s goes over the network in the clear", self._settings.broker)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._flush_by_s = time.monotonic() + self._settings.flush_s
        self._end.set()
        self._thread.join(self._settings.flush_s + 2 * self._settings.timeout_s)
        if self.depth:
            logger.warning("%d messages wait for the broker; the next run sends them", self.depth)

    def events(self) -> list[RecordedEvent]:
        """Return, once, what happened since the last call."""
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def _send_all(self) -> None:
        while not self.outbox.is_open.wait(0.2):
            if self._end.is_set():
                return
        reader = OutboxReader(self.outbox.path)
        pause_s = 1.0
        try:
            while True:
                was_connected = self._connection(reader)
                self._look(reader)
                if self._end.is_set() and (not self.depth or time.monotonic() >= self._flush_by_s):
                    return
                pause_s = 1.0 if was_connected else min(2 * pause_s, self._settings.longest_pause_s)
                self._pause(pause_s)
        finally:
            reader.close()

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; the end of the run cuts it short once."""
        if self._end.is_set():
            time.sleep(min(seconds, 0.5))
        else:
            self._end.wait(seconds)

    def _connection(self, reader: OutboxReader) -> bool:
        """Use one connection for as long as it lasts; True if there was one."""
        connection = _Connection(self._settings, self._password, self._tls, self._camera)
        try:
            connection.open()
            self._reached()
            self._use(connection, reader)
        except (OSError, _Lost) as error:
            self._away(str(error))
        except sqlite3.Error as error:
            logger.warning("the outbox cannot be read now: %s", error)
        finally:
            try:
                self._take_out(connection, reader)
            except sqlite3.Error as error:
                logger.warning("the outbox cannot be written now: %s", error)
            connection.close()
            self.is_connected = False
        return connection.was_accepted

    def _use(self, connection: _Connection, reader: OutboxReader) -> None:
        """Send until the connection is lost, or all is sent at the end of the run."""
        last = 0
        looked_s = 0.0
        while True:
            room = self._settings.inflight - connection.unacknowledged
            waiting = reader.after(last, room) if 2 * room >= self._settings.inflight else []
            for one in waiting:
                connection.send(one.number, *message_of(one))
                last = one.number
            connection.turn(LOOP_S)
            now_s = time.monotonic()
            if len(connection.acknowledged) >= MANY_ACKNOWLEDGED or now_s - looked_s >= DELETE_EVERY_S:
                looked_s = now_s
                self._take_out(connection, reader)
                self._look(reader)
            is_empty = not waiting and not connection.unacknowledged
            if self._end.is_set() and (is_empty or now_s >= self._flush_by_s):
                connection.say("ended")
                return

    def _take_out(self, connection: _Connection, reader: OutboxReader) -> None:
        if connection.acknowledged:
            reader.sent(connection.acknowledged)
            self.sent += len(connection.acknowledged)
            connection.acknowledged.clear()

    def _look(self, reader: OutboxReader) -> None:
        """Note how much waits; say when there is no more room, and when there is again."""
        self.depth = reader.depth()
        is_full = self.depth >= self.outbox.most_waiting
        if is_full and not self._was_full:
            detail = f"{self.depth} messages wait; what comes now is in the record and is not sent"
            self._tell("outbox full", detail)
        if self._was_full and not is_full:
            self._tell("outbox has room", f"{self.depth} messages wait")
        self._was_full = is_full

    def _reached(self) -> None:
        self.is_connected = True
        logger.info("connected to %s", self._settings.broker)
        if self._away_told:
            self._tell("broker back", str(self._settings.broker))
        self._away_since_s, self._away_told = None, False

    def _away(self, why: str) -> None:
        now_s = time.monotonic()
        if self._away_since_s is None:
            self._away_since_s = now_s
            logger.warning("no connection to %s: %s. Messages wait.", self._settings.broker, why)
        if not self._away_told and now_s - self._away_since_s >= AWAY_S:
            self._away_told = True
            self._tell("broker lost", f"{self._settings.broker}: {why}")

    def _tell(self, kind: str, detail: str) -> None:
        self._events.append(RecordedEvent(kind, detail))


class _Lost(Exception):  # noqa: N818
    """The connection ended, or was refused."""


class _Connection:
    """One connection to the broker, driven by the thread that uses it."""

    def __init__(
        self, settings: MqttSettings, password: str | None, tls: ssl.SSLContext | None, camera: str
    ) -> None:
        self._settings = settings
        self._camera = camera
        self._number_of: dict[int, int] = {}
        self._refused = ""
        self.acknowledged: list[int] = []
        self.was_accepted = False
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=_client_id(settings.root))
        self._client.max_inflight_messages_set(settings.inflight)
        self._client.connect_timeout = settings.timeout_s
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.will_set(f"{settings.root}/status", self._status("lost"), qos=1, retain=True)
        if settings.user is not None:
            self._client.username_pw_set(settings.user, password)
        if tls is not None:
            self._client.tls_set_context(tls)

    @property
    def unacknowledged(self) -> int:
        """Messages sent and not acknowledged."""
        return len(self._number_of)

    def open(self) -> None:
        """Connect and log in.

        Raises:
            OSError, _Lost: if that does not work in time.
        """
        host, port = self._settings.address
        self._client.connect(host, port, keepalive=self._settings.keepalive_s)
        deadline_s = time.monotonic() + self._settings.timeout_s
        while not self.was_accepted:
            self.turn(LOOP_S)
            if time.monotonic() > deadline_s:
                raise _Lost("the broker does not answer")
        self.say("running")

    def turn(self, wait_s: float) -> None:
        """Read and write what there is to.

        Raises:
            _Lost: if the connection ended.
        """
        result = self._client.loop(wait_s)
        if self._refused:
            raise _Lost(self._refused)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise _Lost("the connection ended")

    def send(self, number: int, topic: str, payload: str) -> None:
        """Send one message; its number is in `acknowledged` once the broker has it."""
        info = self._client.publish(f"{self._settings.root}/{topic}", payload, qos=1)
        self._number_of[info.mid] = number

    def say(self, state: str) -> None:
        """Publish whether this box is there."""
        self._client.publish(f"{self._settings.root}/status", self._status(state), qos=1, retain=True)

    def close(self) -> None:
        """Take leave; without this the broker publishes the last will."""
        self._client.disconnect()
        self._client.loop(0.0)
        rest = self._client.socket()
        if rest is not None:
            rest.close()

    def _status(self, state: str) -> str:
        status = {"state": state, "loomsight": __version__, "camera": self._camera}
        return StatusMessage.model_validate(status).model_dump_json()

    def _on_connect(
        self, client: Client, data: object, flags: ConnectFlags, code: ReasonCode, more: Properties | None
    ) -> None:
        if code.is_failure:
            self._refused = f"the broker refuses: {code}"
        else:
            self.was_accepted = True

    def _on_publish(
        self, client: Client, data: object, mid: int, code: ReasonCode, more: Properties
    ) -> None:
        number = self._number_of.pop(mid, None)
        if number is not None:
            self.acknowledged.append(number)


def _client_id(root: str) -> str:
    """Return the name of a connection: two of one name would throw each other out."""
    whole = f"loomsight-{root}"
    return whole if len(whole) <= MOST_OF_A_NAME else f"loomsight-{sha256(root.encode()).hexdigest()[:40]}"


def _tls(settings: MqttSettings) -> ssl.SSLContext:
    """Return what the broker's certificate and name are checked with.

    Raises:
        ConfigError: if a file of certificates cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The certificates for {settings.broker} cannot be used: {error}.",
            "Check mqtt.ca_file, certificate_file and key_file.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def check_broker(settings: MqttSettings, password: str | None) -> str:
    """Log in to the broker and leave; nothing is published but that this box is there, and that it left.

    Returns:
        What was reached, for a person.
    Raises:
        BrokerError: if that does not work.
        ConfigError: if a file of certificates cannot be used.
    """
    tls = _tls(settings) if settings.is_encrypted else None
    connection = _Connection(settings, password, tls, "none")
    try:
        connection.open()
        connection.turn(LOOP_S)
        connection.say("ended")
        connection.turn(LOOP_S)
    except (OSError, _Lost) as error:
        raise BrokerError(
            f"The broker {settings.broker} cannot be used: {error}.",
            "Check its address, ca_file, user and password.",
        ) from error
    finally:
        connection.close()
    return f"{settings.broker} lets this box in; its topics begin with {settings.root}."
