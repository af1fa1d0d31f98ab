"""Check the names by which a device is called: the Host header, told from names of others."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

LOCALHOST: Final = "localhost"

HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^\[\]:@/\\\s]+))(?::(?P<port>[0-9]{0,5}))?")

Number = IPv4Address | IPv6Address


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
