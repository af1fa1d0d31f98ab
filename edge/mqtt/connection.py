"""Connect to the broker: MQTT 5, or 3.1.1 where 5 is not known."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from typing_extensions import Self

from edge.config.mqtt import MqttSettings
from edge.mqtt.reasons import (
    NO_QOS,
    NO_RETAIN,
    UNKNOWN_VERSION,
    Lost,
    RefusedMessage,
    Sent,
    ended,
    refused,
    unreached,
)

LOOP_S: Final = 0.05
"""How long a look at the socket waits: what was recorded is sent at most so much later."""

MOST_IN_FLIGHT: Final = 65_535
HEADERS_BYTES: Final = 1 + 4 + 2 + 2 + 1
"""Of a PUBLISH beside topic and payload: type, length, length of the topic, number, properties (none)."""

RECEIPT_BYTES: Final = 100
"""Most that the properties of a message add which asks for a receipt, beside the topic of that."""

Version = Literal[5, 4]
"""As in CONNECT: 5 is MQTT 5, 4 is 3.1.1."""


@dataclass(frozen=True, slots=True)
class Login:
    """Say who connects, and how.

    Attributes:
        settings: with a broker.
        password: None for none.
        tls: None for a connection without TLS.
        client_id: two of one id throw each other out.
        will: what the broker publishes, retained, on the status topic when the connection breaks; None for
            nothing.
    """

    settings: MqttSettings
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    client_id: str
    will: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Say how to try a connection next.

    Attributes:
        version: of the protocol.
        retain_will: the last will is kept by the broker.
        will_qos: of the last will.
        cuts: how often the broker closed the connection when it was spoken to in MQTT 5.
    """

    version: Version = 5
    retain_will: bool = True
    will_qos: int = 1
    cuts: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether 3.1.1 is tried after one cut alone: a broker that just starts cuts, too."""
        return self.version == 4 and self.cuts == 1

    def after(self, lost: Lost) -> Plan | None:
        """Return what to try after a connection was refused; None if that is final."""
        if lost.code == NO_RETAIN and self.retain_will:
            return replace(self, retain_will=False)
        if lost.code == NO_QOS and self.will_qos:
            return replace(self, will_qos=0)
        if self.version == 5 and lost.code == UNKNOWN_VERSION:
            return replace(self, version=4)
        if self.version == 5 and lost.cut and self.cuts < 2:
            return replace(self, version=4, cuts=self.cuts + 1)
        return None


class Granted(NamedTuple):
    """Hold what a broker permits on a connection.

    Attributes:
        inflight: messages that it takes without having acknowledged them.
        packet_bytes: the longest packet; None for no limit that it names.
        retain: whether it keeps messages.
    """

    inflight: int = MOST_IN_FLIGHT
    packet_bytes: int | None = None
    retain: bool = True


class Connection:
    """Drive one connection to the broker.

    Args:
        login: who connects.
        plan: in which version.
    Attributes:
        plan: as given.
        granted: what the broker permits.
        acknowledged: messages of the outbox that the broker has, for the user to take away.
        refusals: messages that it did not take, for the user to take away.
        received: topic and payload of what came on topics that were subscribed to.
        subscribed: number of a subscription to the reason code of its answer.
        has_answered: whether the broker has acknowledged or refused any message.
        has_taken_status: whether it has acknowledged one that is in no outbox.
        has_refused: whether it has refused one. Over TLS, mosquitto 2.0.11 then closes the connection.
    """

    def __init__(self, login: Login, plan: Plan) -> None:
        self.plan = plan
        self.granted = Granted()
        self.acknowledged: list[Sent] = []
        self.refusals: list[RefusedMessage] = []
        self.received: list[tuple[str, bytes]] = []
        self.subscribed: dict[int, int] = {}
        self.has_answered = self.has_taken_status = False
        self.has_refused = False
        self._settings = login.settings
        self._sent: dict[int, Sent] = {}
        self._answered_s = time.monotonic()
        self._was_accepted = False
        self._ended: Lost | None = None
        self._client = _client(login, plan)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _, __, message: self.received.append(
            (message.topic, bytes(message.payload))
        )

    @property
    def unacknowledged(self) -> list[Sent]:
        """Messages under way, in the order in which they were sent."""
        return list(self._sent.values())

    @property
    def timeout_s(self) -> float:
        """How long an answer to a question may take."""
        return self._settings.timeout_s

    @property
    def says_what_it_denies(self) -> bool:
        """Whether the broker can refuse a message: in MQTT 3.1.1 it acknowledges what it throws away."""
        return self.plan.version == 5

    def open(self) -> Self:
        """Connect and log in.

        Raises:
            Lost: if that does not work in time.
        """
        host, port = self._settings.address
        timeout_s = self._settings.timeout_s
        try:
            self._client.connect(host, port, keepalive=self._settings.keepalive_s)
        except (OSError, ValueError) as error:
            raise unreached(error, host, port, timeout_s) from error
        deadline_s = time.monotonic() + timeout_s
        while not self._was_accepted:
            self.turn(LOOP_S)
            if time.monotonic() > deadline_s:
                raise Lost(
                    f"{host}:{port} accepts the connection and then says nothing for {timeout_s:g} s",
                    cure="Check that an MQTT broker listens there, with TLS or without.",
                )
        self._answered_s = time.monotonic()
        return self

    def turn(self, wait_s: float) -> None:
        """Read and write what there is to.

        Raises:
            Lost: if the connection ended.
        """
        try:
            result = self._client.loop(wait_s)
        except Exception as error:
            raise Lost(f"the broker sends what is no MQTT: {error}", cut=True) from error
        if self._ended is not None:
            raise self._ended
        if result == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            raise Lost("the broker sends what is no MQTT, or TLS is wanted there", cut=True)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Lost("the connection ended", cut=True)
        if self._sent and time.monotonic() - self._answered_s > self._settings.acknowledge_s:
            why = f"the broker acknowledges nothing for {self._settings.acknowledge_s:g} s"
            raise Lost(why, cut=True, cure="Ask who runs the broker.")

    def fits(self, topic: str, payload: str) -> bool:
        """Tell whether the broker takes a message of this length."""
        most = self.granted.packet_bytes
        length = len(f"{self._settings.root}/{topic}".encode())
        size = HEADERS_BYTES + length + len(payload.encode())
        size += length + RECEIPT_BYTES if self._settings.receipts else 0
        return most is None or size <= most

    def send(
        self,
        number: int | None,
        topic: str,
        payload: str,
        *,
        retain: bool = False,
        receipt: tuple[str, str] | None = None,
    ) -> None:
        """Send one message; what became of it is in `acknowledged` or `refusals` later.

        Args:
            number: of the outbox; None for what is in none.
            topic: its last part.
            payload: JSON.
            retain: the broker keeps it for who comes later.
            receipt: last part of the topic, and correlation data, of the answer that is asked for.
        """
        if not self._sent:
            self._answered_s = time.monotonic()
        kept = retain and self.granted.retain
        properties = self._asking(*receipt) if receipt and self.plan.version == 5 else None
        info = self._client.publish(
            f"{self._settings.root}/{topic}", payload, qos=1, retain=kept, properties=properties
        )
        self._sent[info.mid] = Sent(number, topic)

    def subscribe(self, topic: str) -> int | None:
        """Ask for the messages of a topic; `subscribed` has the answer under the returned number."""
        return self._client.subscribe(f"{self._settings.root}/{topic}", qos=1)[1]

    def _asking(self, topic: str, name: str) -> Properties:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = f"{self._settings.root}/{topic}"
        properties.CorrelationData = name.encode()
        return properties

    def close(self) -> None:
        """Take leave; without this the broker publishes the last will."""
        try:
            self._client.disconnect()
            self._client.loop(0.0)
        except Exception:  # noqa: BLE001 - it is over either way, and the reason is known by now
            pass
        rest = self._client.socket()
        if rest is not None:
            rest.close()
        self._let_go()

    def _let_go(self) -> None:
        """End what makes a circle: paho closes its other sockets when the last reference to it goes."""
        client, self._ended = self._client, None
        client.on_connect = client.on_disconnect = client.on_publish = None
        client.on_subscribe = client.on_message = None

    def _on_connect(
        self, client: Client, data: object, flags: ConnectFlags, code: ReasonCode, more: Properties | None
    ) -> None:
        if code.is_failure:
            self._ended = refused(code.value, str(code))
        elif getattr(more, "MaximumQoS", 1) < 1:
            why = "the broker takes only messages that it does not acknowledge (QoS 0)"
            self._ended = Lost(why, cure="Allow QoS 1 there, or name another broker.")
        else:
            self.granted = _granted(more)
            self._was_accepted = True

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
            self._ended = ended(code.value, str(code))
        elif str(code) == "Keep alive timeout":
            self._ended = Lost(f"the broker was silent for {self._client.keepalive} s")
        elif str(code) == "Protocol error":
            self._ended = Lost("the broker sends what is no MQTT, or TLS is wanted there", cut=True)
        else:
            self._ended = Lost("the broker closed the connection", cut=True)

    def _on_publish(
        self, client: Client, data: object, mid: int, code: ReasonCode, more: Properties
    ) -> None:
        sent = self._sent.pop(mid, None)
        if sent is None:
            return
        self._answered_s, self.has_answered = time.monotonic(), True
        if code.is_failure:
            self.has_refused = True
            self.refusals.append(RefusedMessage(*sent, code.value, str(code)))
        elif sent.number is not None:
            self.acknowledged.append(sent)
        else:
            self.has_taken_status = True

    def _on_subscribe(
        self, client: Client, data: object, mid: int, codes: list[ReasonCode], more: Properties
    ) -> None:
        self.subscribed[mid] = max((code.value for code in codes), default=0)


def dial(login: Login) -> Connection:
    """Connect in MQTT 5; in 3.1.1 if the broker says that it does not know 5, or closes on it twice.

    An accepted connection in 3.1.1 after a single cut is not believed: a broker that is just starting, or a
    proxy before it, cuts too, and in 3.1.1 messages that are denied would be lost unseen.

    Raises:
        Lost: if the broker cannot be reached or refuses.
    """
    plan = Plan()
    while True:
        connection = Connection(login, plan)
        try:
            connection.open()
        except Lost as lost:
            connection.close()
            following = plan.after(lost)
            if following is None:
                raise
            plan = following
            continue
        except BaseException:
            connection.close()
            raise
        if not plan.is_doubtful:
            return connection
        connection.close()
        plan = replace(plan, version=5)


def _client(login: Login, plan: Plan) -> Client:
    settings = login.settings
    is_5 = plan.version == 5
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=login.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
        clean_session=None if is_5 else True,
        reconnect_on_failure=False,
    )
    client.max_inflight_messages = MOST_IN_FLIGHT  # who sends counts, with what the broker grants
    client.connect_timeout = settings.timeout_s
    if login.will is not None:
        client.will_set(f"{settings.root}/status", login.will, qos=plan.will_qos, retain=plan.retain_will)
    if settings.user is not None:
        client.username_pw_set(settings.user, login.password)
    if login.tls is not None:
        client.tls_set_context(login.tls)
    return client


def _granted(more: Any) -> Granted:
    """Return what the properties of a CONNACK permit; 3.1.1 has none."""
    return Granted(
        max(1, getattr(more, "ReceiveMaximum", MOST_IN_FLIGHT)),
        getattr(more, "MaximumPacketSize", None),
        bool(getattr(more, "RetainAvailable", 1)),
    )
