"""Name in plain words why a broker cannot be reached, refuses, or ended a connection."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final, NamedTuple

TAKEN_OVER: Final = 0x8E
UNKNOWN_VERSION: Final = 0x84
NO_RETAIN: Final = 0x9A
NO_QOS: Final = 0x9B
OF_ONE_MESSAGE: Final = frozenset({0x95, 0x99})
"""Packet too large, payload format invalid: another message of the same topic may be taken."""

CURES: Final = {
    0x85: "Set another mqtt.box or mqtt.prefix: the broker does not take this client id.",
    0x86: "Check mqtt.user and the password.",
    0x87: "Check mqtt.user, and what the broker's access list lets it do.",
    0x8A: "Ask who runs the broker.",
    0x9C: "Name the other broker in mqtt.broker.",
    0x9D: "Name the other broker in mqtt.broker.",
}
"""What to do about the reason code of a CONNACK (MQTT 5.0, section 3.2.2.2)."""

EXPIRED: Final = 10
NOT_YET_VALID: Final = 9
OF_ANOTHER_HOST: Final = frozenset({62, 64})
UNKNOWN_SIGNER: Final = frozenset({18, 19, 20, 21})
"""Codes of OpenSSL (openssl-verification-options(1), `X509_V_ERR_...`): mismatch of name and of address,
self-signed (itself, or in its chain), no issuer at hand."""

NAME_IN_USE: Final = (
    "another client uses the name of this one: most probably two devices have one mqtt.box (a copied card?)"
)


class Lost(Exception):  # noqa: N818
    """Report that the connection ended, or was refused.

    Args:
        why: for a person.
        code: reason code of MQTT 5; None if there was none.
        cut: the broker closed it, or sent what is no MQTT.
        cure: what to do; empty if nothing in particular.
    """

    def __init__(self, why: str, code: int | None = None, *, cut: bool = False, cure: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.code = code
        self.cut = cut
        self.cure = cure


class Sent(NamedTuple):
    """A message under way: its number in the outbox (None: it is in none), last part of its topic."""

    number: int | None
    topic: str


class RefusedMessage(NamedTuple):
    """Report a message that the broker received and did not take.

    Attributes:
        number, topic: as in `Sent`.
        code, why: of the broker, and in words.
    """

    number: int | None
    topic: str
    code: int
    why: str


def refused(code: int, name: str) -> Lost:
    """Return what a CONNACK with a failure says."""
    return Lost(f"the broker refuses: {name}", code, cure=CURES.get(code, ""))


def ended(code: int, name: str) -> Lost:
    """Return what a DISCONNECT of the broker says."""
    if code == TAKEN_OVER:
        return Lost(NAME_IN_USE, code, cure="Give each device its own mqtt.box.")
    return Lost(f"the broker ended the connection: {name}", code, cut=True)


def unreached(error: Exception, host: str, port: int, timeout_s: float) -> Lost:
    """Tell apart why there is no connection: name, refusal, time-out, certificate.

    Args:
        error: of the socket or of TLS.
        host, port: that were tried.
        timeout_s: of connecting.
    """
    where = f"{host}:{port}"
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return Lost(f"no name server answers for the name {host}", cure="Check network and DNS.")
        return Lost(f"the name {host} is not known", cure="Check the host in mqtt.broker, and DNS.")
    if isinstance(error, UnicodeError):
        return Lost(f"{host} is no name of a host", cure="Check the host in mqtt.broker.")
    if isinstance(error, ssl.SSLError):
        return _not_vouched_for(error, host, where)
    if isinstance(error, TimeoutError):
        return Lost(
            f"{where} did not answer within {timeout_s:g} s", cure="Check the address and firewalls."
        )
    if isinstance(error, ConnectionRefusedError):
        return Lost(f"{where} refuses connections", cure="Check the port, and that the broker runs.")
    if isinstance(error, ConnectionError):
        return Lost(f"{where} closed the connection before it was spoken to")
    return Lost(f"{where} cannot be reached: {error}", cure="Check the address and the network.")


def _not_vouched_for(error: ssl.SSLError, host: str, where: str) -> Lost:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_refused(error, host, where)
    if error.reason in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"):
        return Lost(f"{where} does not speak TLS", cure="mqtt:// is without TLS; check the port.")
    return Lost(f"TLS with {where} failed: {error}", cure="Check mqtt.ca_file and certificate_file.")


def _certificate_refused(error: ssl.SSLCertVerificationError, host: str, where: str) -> Lost:
    """Name what is wrong with a certificate: its time, its host, or who signed it."""
    code, clock = error.verify_code, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    certificate = f"the certificate of {where}"
    if code == EXPIRED:
        cure = "Renew it on the broker; if the date is wrong, set the clock of this device."
        return Lost(f"{certificate} has expired, by the clock of this device: {clock}", cure=cure)
    if code == NOT_YET_VALID:
        cure = "Set the clock of this device, or wait."
        return Lost(f"{certificate} is not valid yet, by the clock of this device: {clock}", cure=cure)
    if code in OF_ANOTHER_HOST:
        cure = "Name in mqtt.broker a host that the certificate has, or have one made for this host."
        return Lost(f"{certificate} is for another host than {host}", cure=cure)
    cure = "Name in mqtt.ca_file the certificate of who signed it."
    if code not in UNKNOWN_SIGNER:
        cure = "Check the certificate of the broker, mqtt.ca_file and the clock."
    return Lost(f"{certificate} is not accepted: {error.verify_message.rstrip('.')}", cure=cure)
