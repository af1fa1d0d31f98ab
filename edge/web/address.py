"""Parse and bind the address of a served page, and check the names by which a device is called."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from edge.core.errors import ConfigError

LOOPBACK: Final = "127.0.0.1"
"""Where to listen if nothing is said: only this machine reaches it."""

ADDRESS = re.compile(r"(?:(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})")

LOCALHOST: Final = "localhost"

HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^\[\]:@/\\\s]+))(?::(?P<port>[0-9]{0,5}))?")

Number = IPv4Address | IPv6Address


class Address(NamedTuple):
    """Name where to listen; port 0 for any that is free."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    def url(self, port: int) -> str:
        """Return the address for a browser; where every address of the device is bound, by the device's
        name."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{in_address(host)}:{port}/"


def in_address(host: str) -> str:
    """Return a host as it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def parse_address(text: str) -> Address:
    """Read `PORT` or `HOST:PORT`; an IPv6 address stands in brackets.

    Raises:
        ConfigError: if it is neither.
    """
    match = ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ConfigError(
            f"page is [HOST:]PORT, not '{text}'.",
            "For instance 8080, or 0.0.0.0:8080 for the whole network.",
        )
    return Address((match["host"] or LOOPBACK).strip("[]"), int(match["port"]))


def bound_socket(host: str, port: int, flag: str = "--port") -> socket.socket:
    """Bind an address.

    Args:
        host: name or number.
        port: 0 for any that is free.
        flag: that the address came from, for the message.
    Raises:
        ConfigError: if it is taken, or not ours to bind.
    """
    host = host.strip("[]")
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is named: 40 ms a request.
    bound = socket.socket(_family(host), socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)  # a socket with SO_REUSEADDR may be bound and not listened on
    except (OSError, OverflowError, UnicodeError, TypeError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"Cannot serve on {host}, port {port}: {reason}.", f"Use another {flag}; 0 takes a free one."
        ) from error
    return bound


def _family(host: str) -> socket.AddressFamily:
    """Return the family of an address; of a name that has both, the one of the shorter numbers."""
    if number := number_of(host):
        return socket.AF_INET6 if ":" in host or number.version == 6 else socket.AF_INET
    try:
        families = {found[0] for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # said when it is bound
        return socket.AF_INET
    return socket.AF_INET if socket.AF_INET in families or not families else socket.AF_INET6


def host_name(host: str) -> str:
    """Return the name in a Host header: lower case, without port, brackets and the dot at its end.

    Returns:
        An empty text if it is no such header.
    """
    match = HOST.fullmatch(host.strip().lower())
    if match is None:
        return ""
    if match["v6"]:
        return match["v6"] if number_of(match["v6"]) else ""
    name: str = match["name"]
    return name.removesuffix(".")


def number_of(name: str) -> Number | None:
    """Return the IP address that a name is; None for one that DNS would have to look up."""
    try:
        found = ip_address(name)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback(name: str) -> bool:
    """Tell whether only this device reaches what is bound to a name."""
    number = number_of(name)
    return name == LOCALHOST or (number is not None and number.is_loopback)


class Names:
    """Know by which names a device may be called.

    Args:
        bound: the name or number that is listened on.
        further: names that were set, for instance behind a proxy.
    Attributes:
        further: as given, as `host_name` returns them.
    """

    def __init__(self, bound: str, further: Sequence[str] = ()) -> None:
        self.further = frozenset(name.lower() if number_of(name) else host_name(name) for name in further)
        self._is_local = is_loopback(bound)
        own = socket.gethostname().lower()
        self._known = self.further | (
            frozenset() if self._is_local else {bound.lower(), own, f"{own}.local"}
        )

    def know(self, name: str) -> bool:
        """Tell whether a name of `host_name` is this device's; DNS cannot make a number point elsewhere."""
        if name in self._known or is_loopback(name):
            return True
        return number_of(name) is not None and not self._is_local
