"""Read a network camera that sends JPEGs over HTTP, each one decoded whole or not at all.

OpenCV's own reader of such streams shows the rows that a cut JPEG lacks as they were in the frame before.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from typing import IO, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from typing_extensions import Self

from edge.cameras.frame_size import check_same_size
from edge.cameras.multipart import Multipart, StreamEndedError
from edge.cameras.opencv import OpenCvCamera
from edge.cameras.protocol import Camera, Frame
from edge.core.address import redact_credentials
from edge.core.counted import counted
from edge.core.errors import CameraLostError, CameraNotFoundError, ImageError
from edge.core.image_file import decoded_image

logger = logging.getLogger(__name__)

OPEN_S: Final = 10.0
"""A server that has not answered after this time does not answer."""

READ_S: Final = 30.0
"""A stream that says nothing for so long is lost, as in OpenCV's own reader."""

CURE: Final = "Check its address, cable and power."


class HttpCamera(Camera):
    """Deliver the frames of an address: of a stream of JPEGs by itself, of anything else through OpenCV.

    Args:
        address: `http://` or `https://`, with user and password where the camera wants them.
        mm_per_px: scale on the cloth; None if not known.
        bit_depth: significant bits of 16-bit frames.
    """

    is_live = True

    def __init__(self, address: str, mm_per_px: float | None = None, bit_depth: int | None = None) -> None:
        self.name = redact_credentials(address)
        self._address = address
        self._mm_per_px = mm_per_px
        self._bit_depth = bit_depth
        self._other: Camera | None = None
        self._stream: GuardedResponse | None = None
        self._parts: Multipart | None = None
        self._shape: tuple[int, ...] | None = None
        self._count = 0

    def __enter__(self) -> Self:
        response = self._opened()
        boundary = response.headers.get_param("boundary")
        name = boundary.strip("-") if isinstance(boundary, str) else ""
        if response.headers.get_content_type() == "multipart/x-mixed-replace" and name:
            self._stream = GuardedResponse(response)
            self._parts = Multipart(self._stream.read, str(boundary).encode("latin-1", "replace"))
            return self
        response.close()
        self._other = OpenCvCamera(self._address, self._mm_per_px, self._bit_depth).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        other, self._other = self._other, None
        if other is not None:
            other.__exit__(None, None, None)
        if self._stream is not None:
            self._stream.close()

    def read(self) -> Frame | None:
        """Return the next frame; see `Camera.read`.

        Raises:
            CameraLostError: if the stream ends or says nothing.
            FrameSizeError: if a frame has another size than the first.
        """
        if self._other is not None:
            return self._other.read()
        data = self._next_part()
        frame_id = self._count
        self._count += 1
        try:
            image = decoded_image(data, f"Frame {frame_id} of {self.name}", self._bit_depth)
        except ImageError as error:
            raise ImageError(error.problem, "Check the network and the settings of the camera.") from error
        check_same_size(image.shape, self._shape, f"{self.name}: frame {frame_id}")
        self._shape = image.shape
        return Frame(frame_id, image, time.monotonic(), self.name, None, self._mm_per_px)

    def _next_part(self) -> bytes:
        if self._parts is None:
            raise CameraLostError(f"The camera {self.name} is closed.", "Open it again.")
        try:
            return self._parts.next_part()
        except (StreamEndedError, OSError, http.client.HTTPException, ValueError) as error:
            raise CameraLostError(
                f"The camera {self.name} stopped delivering after {counted(self._count, 'frame')}.",
                "Check its cable and power.",
            ) from error

    def _opened(self) -> http.client.HTTPResponse:
        try:
            response: http.client.HTTPResponse = _opener(self._address).open(
                _without_user(self._address), timeout=OPEN_S
            )
        except urllib.error.HTTPError as error:
            error.close()
            raise CameraNotFoundError(*self._refusal(error.code)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            reason = getattr(reason, "strerror", None) or reason
            raise CameraNotFoundError(f"Cannot open the camera {self.name}: {reason}.", CURE) from error
        return response

    def _refusal(self, code: int) -> tuple[str, str]:
        if code in (401, 403):
            return (
                f"The camera {self.name} does not authorise this user ({code}).",
                "Correct user and password in the address: http://USER:PASSWORD@HOST/..., %40 for an @.",
            )
        meaning = http.client.responses.get(code, "unknown")
        return f"The camera {self.name} answers {code} ({meaning}).", "Check the path of its address."


def _opener(address: str) -> urllib.request.OpenerDirector:
    """Build what opens an address: with its user and password, if it has them, by Basic or Digest.

    Certificates are not checked, as in OpenCV: those of cameras are signed by nobody.
    """
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    parts = urlsplit(address)
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        passwords.add_password(None, _without_user(address), user, password)
    return urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=trusting),
        _ClosesRefusals(),
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )


class _ClosesRefusals(urllib.request.BaseHandler):
    """Close a connection that was refused before urllib asks again with a password: it leaves it open."""

    handler_order = urllib.request.HTTPDigestAuthHandler.handler_order - 1

    def http_error_401(self, _request: object, response: IO[bytes], *_more: object) -> None:
        """Close the refused response; the handlers that come next need its headers alone."""
        response.close()


def _without_user(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


class GuardedResponse:
    """Keep `close` away from a running `read`: closed under a reading thread, http.client fails in itself.

    Reads come from one thread. `close` may come from another: a read that waits then comes back with the
    end of the stream, and closes it.

    Args:
        response: opened; from here on only this object touches it.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._socket: socket.socket = response.fp.raw._sock  # type: ignore[attr-defined]  # hidden there
        self._socket.settimeout(READ_S)
        self._busy = threading.Lock()
        self._closing = False

    def read(self, most_bytes: int) -> bytes:
        """Return up to so many bytes, at least one; none at the end and once closed."""
        with self._busy:
            data = b"" if self._closing else self._response.read1(most_bytes)
        if self._closing:
            self._close_if_idle()
        return data

    def close(self) -> None:
        """End the stream now."""
        self._closing = True  # before the attempt: a read that ends in between sees it
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            logger.debug("the stream had ended already")
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._busy.acquire(blocking=False):
            try:
                self._response.close()
            finally:
                self._busy.release()
