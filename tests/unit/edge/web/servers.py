"""Real servers on free ports, and clients that say exactly what a test wants."""

from __future__ import annotations

import socket
from contextlib import contextmanager

from edge.web.address import bound_socket
from edge.web.serving import WebServer


def has_ipv6():
    """Tell whether this machine has an IPv6 address of its own."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@contextmanager
def served(app, host="127.0.0.1", **more):
    """Serve an application; yields (host, port)."""
    with bound_socket(host, 0) as bound, WebServer(app, bound, "test", **more):
        yield bound.getsockname()[:2]


def said_to(address, data, within_s=10):
    """Send bytes and return all that comes back until the server ends the connection."""
    with socket.create_connection(address) as peer:
        peer.settimeout(within_s)
        peer.sendall(data)
        return everything(peer)


def everything(peer):
    """Return what a connection gives until its end."""
    text = b""
    try:
        while more := peer.recv(65536):
            text += more
    except ConnectionError:
        pass
    return text


def status_of(address, path, method="GET", version="1.1", body=b"", **headers):
    """Ask once with exactly these headers (`Host` included); returns the status."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    end = "Connection: close\r\n" + (f"Content-Length: {len(body)}\r\n" if body else "")
    answer = said_to(address, f"{method} {path} HTTP/{version}\r\n{head}{end}\r\n".encode("latin-1") + body)
    return int(answer[9:12])
