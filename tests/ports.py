"""A port that nobody else is given while a test uses it."""

from __future__ import annotations

import socket
import weakref


class HeldPort:
    """Keep a free port of localhost until it is released, or nobody has this object any more.

    A port that is only looked up may be that of another program's connection before the server of the test
    has it. One that is bound, and not listened on, is given to nobody; a server that sets SO_REUSEADDR
    listens on it all the same, as those of this project, mosquitto, nginx and asyncio do.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]
        self.release = weakref.finalize(self, self._socket.close)

    def __enter__(self) -> int:
        return self.number

    def __exit__(self, *_: object) -> None:
        self.release()
