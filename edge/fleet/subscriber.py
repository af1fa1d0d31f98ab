"""Receive from the broker under a lasting session; what is not acknowledged comes again."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.fleet.incoming import Arrival
from edge.fleet.settings import OfficeBroker
from edge.mqtt.messages import MESSAGES
from edge.mqtt.reasons import TAKEN_OVER, Lost, ended, refused, unreached
from edge.mqtt.tls import tls_context

logger = logging.getLogger(__name__)

LOOP_S: Final = 0.1
DENIED: Final = 0x80
STEADY_S: Final = 30.0
"""A connection that lasts for so long is well: the next pause is a short one again."""

OTHER_OFFICE: Final = "another client uses the name of this office: is there a second one?"


class OfficeConnection:
    """Drive one connection to the broker; what it delivers is acknowledged later, from another thread.

    Args:
        settings: of the broker.
        password: None for none.
        inbox: gets what arrives, with this connection.
    """

    def __init__(self, settings: OfficeBroker, password: str | None, inbox: Inbox) -> None:
        self._settings = settings
        self._inbox = inbox
        self._ended: Lost | None = None
        self._is_closed = False
        self.is_ready = False
        self.had_session = False
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client.connect_timeout = settings.timeout_s
        if settings.user is not None:
            self._client.username_pw_set(settings.user, password)
        tls = tls_context(settings)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def open(self) -> None:
        """Connect, log in and subscribe.

        Raises:
            Lost: if that does not work in time.
        """
        host, port = self._settings.address
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = self._settings.inflight
        properties.MaximumPacketSize = self._settings.largest_bytes
        try:
            self._client.connect(
                host, port, keepalive=self._settings.keepalive_s, clean_start=False, properties=properties
            )
        except (OSError, ValueError) as error:
            raise unreached(error, host, port, self._settings.timeout_s) from error
        deadline_s = time.monotonic() + self._settings.timeout_s
        while not self.is_ready:
            self.turn()
            if time.monotonic() > deadline_s:
                raise Lost(f"{host}:{port} does not answer as a broker of MQTT 5 does within the time-out")

    def turn(self) -> None:
        """Read and write what there is to.

        Raises:
            Lost: if the connection ended.
        """
        try:
            result = self._client.loop(LOOP_S)
        except Exception as error:
            raise Lost(f"the broker sends what is no MQTT: {error}", cut=True) from error
        if self._ended is not None:
            raise self._ended
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Lost("the connection ended", cut=True)

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Tell the broker that messages are stored; a connection that is over tells nothing."""
        for mid in mids:
            if not self._is_closed:
                self._client.ack(mid, 1)

    def publish(self, topic: str, payload: str) -> None:
        """Send a receipt; one that gets lost is asked for again by the device."""
        if not self._is_closed:
            self._client.publish(topic, payload, qos=0)

    def close(self) -> None:
        """Take leave; the broker keeps the session."""
        self._is_closed = True
        try:
            self._client.disconnect()
            self._client.loop(0.0)
        except Exception:  # noqa: BLE001 - it is over either way
            pass
        rest = self._client.socket()
        if rest is not None:
            rest.close()

    def _on_connect(
        self, client: Client, data: object, flags: ConnectFlags, code: ReasonCode, more: Properties | None
    ) -> None:
        if code.is_failure:
            self._ended = refused(code.value, str(code))
            return
        self.had_session = flags.session_present
        root = self._settings.prefix.rstrip("/")
        # Retained states come with a new subscription alone: those that are known are not news.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        places = [f"{root}/{loom}/{topic}" for topic in MESSAGES for loom in ("+", "+/+")]
        client.subscribe([(place, options) for place in places])

    def _on_subscribe(
        self, client: Client, data: object, mid: int, codes: list[ReasonCode], more: Properties | None
    ) -> None:
        if any(code.value >= DENIED for code in codes):
            why = f"the broker does not let this user read {self._settings.prefix}/#"
            self._ended = Lost(why, cure="Let the office's user read it there.")
        self.is_ready = True

    def _on_disconnect(
        self,
        client: Client,
        data: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        more: Properties | None,
    ) -> None:
        if self._ended is not None:
            return
        if flags.is_disconnect_packet_from_server:
            is_taken = code.value == TAKEN_OVER
            self._ended = Lost(OTHER_OFFICE, code.value) if is_taken else ended(code.value, str(code))
        else:
            self._ended = Lost("the broker closed the connection", cut=True)

    def _on_message(self, client: Client, data: object, message: MQTTMessage) -> None:
        properties: Any = message.properties
        arrival = Arrival(
            message.topic,
            bytes(message.payload),
            datetime.now(timezone.utc),
            getattr(properties, "ResponseTopic", None),
            getattr(properties, "CorrelationData", None),
        )
        self._inbox.put((arrival, self, message.mid if message.qos else None))


Item = tuple[Arrival, OfficeConnection, "int | None"]
Inbox = queue.SimpleQueue[Item]


class Subscriber:
    """Keep a connection to the broker, for as long as there is one to have; the work of a helper thread.

    Args:
        settings: of the broker.
        password: None for none.
        end: asks for the end.
    Attributes:
        inbox: what arrived and was not taken yet; no more than the broker hands out at once.
        away: why there is no connection; None while there is one.
        connections: how often there was one.
    """

    def __init__(self, settings: OfficeBroker, password: str | None, end: threading.Event) -> None:
        self.inbox: Inbox = queue.SimpleQueue()
        self.away: str | None = "not connected yet"
        self.connections = 0
        self._settings = settings
        self._password = password
        self._end = end
        self._said: str | None = None

    def work(self) -> None:
        """Connect again and again until the end is asked for."""
        pause_s = 1.0
        while not self._end.is_set():
            started_s = time.monotonic()
            self._connection()
            if time.monotonic() - started_s >= STEADY_S:
                pause_s = 1.0
            self._end.wait(pause_s * random.uniform(0.7, 1.0))
            pause_s = min(2 * pause_s, self._settings.longest_pause_s)

    def _connection(self) -> None:
        connection = OfficeConnection(self._settings, self._password, self.inbox)
        try:
            connection.open()
            self._reached(connection)
            while not self._end.is_set():
                connection.turn()
        except Lost as lost:
            self._is_away(lost)
        finally:
            self.away = self.away or "the connection ended"
            connection.close()

    def _reached(self, connection: OfficeConnection) -> None:
        self.away, self._said = None, None
        logger.info("connected to the broker %s", self._settings.broker)
        if not connection.had_session:
            logger.warning(
                "the broker %s has kept nothing for %s: what devices without mqtt.receipts sent while this "
                "office was away is not there", self._settings.broker, self._settings.client_id,
            )  # fmt: skip
        self.connections += 1

    def _is_away(self, lost: Lost) -> None:
        self.away = lost.why
        if self._said != lost.why:
            cure = f" {lost.cure}" if lost.cure else ""
            logger.warning("the broker %s is away: %s.%s", self._settings.broker, lost.why, cure)
        self._said = lost.why
