"""Read files from a web server or from a shared folder, within limits of bytes and time."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, Final, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from edge import __version__
from edge.core.errors import ConfigError, OutputError, ReleaseError
from edge.core.files import cannot_write
from edge.core.outside_files import CHUNK_BYTES, check_private, open_outside, read_text, reason_of

CURE: Final = "Check the address, the network and the server."
NOT_THERE: Final = (404, 410)


@dataclass(frozen=True, slots=True)
class Server:
    """Say how to reach a web server.

    Attributes:
        url: of the folder, without the last slash; HTTPS or HTTP.
        timeout_s: of connecting, and of a pause in a download.
        ca_file: certificates that vouch for it; None for those of the system.
        token_file: its first line is sent as a bearer token; None for none.
    """

    url: str
    timeout_s: float = 30.0
    ca_file: Path | None = None
    token_file: Path | None = None


class Source(Protocol):
    """Where files lie."""

    def open(self, name: str, most_bytes: int) -> BinaryIO:
        """Open a file for reading.

        Args:
            name: below the folder.
            most_bytes: a longer one is refused.
        Raises:
            ReleaseError: if it cannot be read; `MissingError` if it is not there.
        """
        ...


class MissingError(ReleaseError):
    """A file is not there, though the source answers."""


class _NoRedirects(HTTPRedirectHandler):
    """A server that sends a device elsewhere is not the one that it was given."""

    def redirect_request(self, *arguments: object, **more: object) -> None:
        return None


class WebSource:
    """Read from a web server.

    Args:
        server: to read from.
    Raises:
        ConfigError: if certificates or token cannot be read.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._headers = {"User-Agent": f"loomsight/{__version__}"}
        if server.token_file is not None:
            check_private(server.token_file, "token_file")
            token = read_text(server.token_file, cure="Check token_file.").split("\n", 1)[0].strip()
            if not token.isascii() or not token.isprintable():
                raise ConfigError("The token of token_file is no line of ASCII.", "Write it again.")
            self._headers["Authorization"] = f"Bearer {token}"
        try:
            context = ssl.create_default_context(cafile=server.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"ca_file cannot be used: {error}.", "Check the file.") from error
        self._opener = build_opener(HTTPSHandler(context=context), _NoRedirects)

    def open(self, name: str, most_bytes: int) -> BinaryIO:
        """Open a file; see `Source`."""
        url = f"{self._server.url}/{quote(name)}"
        try:
            answer: BinaryIO = self._opener.open(
                Request(url, headers=self._headers), timeout=self._server.timeout_s
            )
        except HTTPError as error:
            with closing(error):
                kind = MissingError if error.code in NOT_THERE else ReleaseError
                raise kind(f"{url} answers {error.code} {error.reason}.", CURE) from error
        except (OSError, HTTPException, ValueError) as error:
            raise ReleaseError(f"Cannot fetch {url}: {_why(error)}.", CURE) from error
        return answer


class FolderSource:
    """Read from a folder, for instance one that is mounted.

    Args:
        folder: that holds them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str, most_bytes: int) -> BinaryIO:
        """Open a file; see `Source`."""
        path = self._folder / name
        try:
            is_there = path.exists() or not self._folder.exists()
        except OSError as error:
            raise ReleaseError(f"Cannot look at {path}: {reason_of(error)}.", CURE) from error
        if not is_there:
            raise MissingError(f"{path} is not there.", CURE)
        return open_outside(path, most_bytes, ReleaseError, CURE)


def fetched(source: Source, name: str, most_bytes: int) -> bytes:
    """Return a small file whole.

    Raises:
        ReleaseError: if it cannot be read, or is longer.
    """
    return b"".join(_chunks(source, name, most_bytes))


def fetch_to(source: Source, name: str, path: Path, most_bytes: int) -> str:
    """Write a file; returns its sha256.

    Raises:
        ReleaseError: if it cannot be read, or is longer.
        OutputError: if it cannot be written.
    """
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            for chunk in _chunks(source, name, most_bytes):
                digest.update(chunk)
                stream.write(chunk)
    except OSError as error:
        problem = cannot_write(path, error)
        raise OutputError(problem.problem, problem.cure) from error
    return digest.hexdigest()


def _chunks(source: Source, name: str, most_bytes: int) -> Iterator[bytes]:
    read = 0
    with source.open(name, most_bytes) as stream:
        while True:
            try:
                chunk = stream.read(CHUNK_BYTES)
            except (OSError, HTTPException, ValueError) as error:
                raise ReleaseError(f"Cannot fetch {name}: {_why(error)}.", CURE) from error
            if not chunk:
                if getattr(stream, "length", None):  # an answer of HTTP knows how much is still to come
                    raise ReleaseError(f"{name} was cut short on its way.", CURE)
                return
            read += len(chunk)
            if read > most_bytes:
                raise ReleaseError(f"{name} has more than {most_bytes} bytes.", "Publish it again.")
            yield chunk


def _why(error: BaseException) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, OSError) and not isinstance(reason, ssl.SSLError):
        return reason_of(reason)
    return " ".join(str(reason).split()) or type(reason).__name__
