"""Check names and addresses of hosts, and hide the credentials in those of cameras."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

MOST_OF_A_NAME: Final = 253
MOST_OF_A_LABEL: Final = 63
"""Characters of a name, and of a part between two dots: RFC 1035, section 2.3.4."""

LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
"""A part of a host's name: RFC 1123, section 2.1. An underscore is no part of it."""

NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""A last part that is a number makes the whole an IPv4 address, or nothing."""


def redact_credentials(url: str) -> str:
    """Hide whatever of a URL may be a credential, for messages, logs and records.

    User and password: everything up to the last @ goes: passwords with an @ or a slash are common.
    The query and the fragment, whole: `?user=admin&pwd=...`. The path from its first segment with an equals
    sign: recorders take `/user=admin_password=..._channel=1`. Where an @ stands behind a ? or a #, nobody
    can tell a password from a query, and all of the address goes.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    if re.search(r"[?#].*@", rest, re.DOTALL):
        return f"{scheme}://***"
    _user, at, address = rest.rpartition("@")
    address = re.sub(r"[?#].*", "?***", address, flags=re.DOTALL)
    address = re.sub(r"/[^/=?]*=.*", "/***", address, flags=re.DOTALL)
    return f"{scheme}://{'***@' if at else ''}{address}"


def checked_host(text: str) -> str:
    """Return a host to connect to: a name, an IPv4 or an IPv6 address without brackets.

    Raises:
        ValueError: if no host can be called that, saying why.
    """
    problem = _problem_of(text)
    if problem is not None:
        raise ValueError(f"It cannot be a host: {problem}")
    return text


def _problem_of(text: str) -> str | None:
    if not text.strip():
        return "it is empty"
    if text != text.strip() or re.search(r"[\s\x00-\x1f\x7f]", text):
        return "there is a space or a control character in it"
    if "://" in text:
        return f"leave out {text.partition('://')[0]}://"
    if re.search(r"[/?#@\\]", text):
        return "it is a name or an address alone, without user and path"
    try:
        return _problem_of_address(ip_address(text))
    except ValueError:
        return _problem_of_port(text) or _problem_of_name(text)


def _problem_of_address(address: IPv4Address | IPv6Address) -> str | None:
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        return "it is no address of one host"
    return None


def _problem_of_port(text: str) -> str | None:
    if text.startswith("["):
        return "leave out the brackets, and the port behind them"
    if re.fullmatch(r"[^:]*:[0-9]*", text):
        return "leave out the port; it has a setting of its own"
    return "it is no IPv6 address" if ":" in text else None


def _problem_of_name(text: str) -> str | None:
    labels = text.removesuffix(".").split(".")
    if "" in labels:
        return "a part between two dots, or before the first, is missing"
    if NUMBER.fullmatch(labels[-1]):
        return "it ends with a number and is no IPv4 address (four numbers from 0 to 255)"
    try:
        labels = [label.encode("idna").decode() for label in labels]
    except UnicodeError:
        return "it is too long, or has characters that no host name has"
    if len(".".join(labels)) > MOST_OF_A_NAME or any(len(label) > MOST_OF_A_LABEL for label in labels):
        return "it is too long"
    wrong = next((label for label in labels if not LABEL.fullmatch(label)), None)
    if wrong is not None:
        return f"'{wrong}' is not of letters, digits and hyphens between them"
    return None
