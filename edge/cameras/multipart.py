"""Split the stream of a network camera (`multipart/x-mixed-replace`) into its images."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from edge.core.errors import ImageError

MOST_PART_BYTES: Final = 64 * 2**20
"""Most bytes of one image of a stream, and most that are read in search of the next one."""

MOST_HEAD_BYTES: Final = 2**14
"""Most bytes of the headers of a part."""

READ_BYTES: Final = 2**16

_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_OTHER_TYPE = re.compile(rb"^content-type[ \t]*:[ \t]*(?:text|audio)/", re.IGNORECASE | re.MULTILINE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class StreamEndedError(Exception):
    """The stream came to its end."""


class Multipart:
    """Read the parts of a stream one after the other (RFC 2046, section 5.1, and what cameras make of it).

    The declared length of a part is a hint: one that is missing, negative or absurd is not believed, and
    where a boundary stands inside a part, the part ends there.

    Args:
        read: gives up to so many bytes, at least one; none at the end of the stream.
        boundary: as the type of the stream names it, with or without the leading hyphens.
    """

    def __init__(self, read: Callable[[int], bytes], boundary: bytes) -> None:
        self._read = read
        self._delimiter = b"--" + boundary.removeprefix(b"--")
        self._buffer = bytearray()

    def next_part(self) -> bytes:
        """Return the content of the next part that may be an image.

        Raises:
            StreamEndedError: at the end of the stream.
            ImageError: if no part ends within `MOST_PART_BYTES`; the next call looks for the one behind.
        """
        while True:
            self._take_until(self._delimiter, MOST_PART_BYTES)
            head = self._take_head()
            content = self._content(head)
            if not _OTHER_TYPE.search(head):
                return content

    def _content(self, head: bytes) -> bytes:
        declared = _LENGTH.search(head)
        length = int(declared[1]) if declared else 0
        if not 0 < length <= MOST_PART_BYTES:
            return self._until_boundary()
        while len(self._buffer) < length:
            self._fill()
        cut = self._buffer.find(self._delimiter, 0, length)
        end = length if cut < 0 else cut
        content = bytes(self._buffer[:end])
        del self._buffer[:end]
        return content

    def _until_boundary(self) -> bytes:
        """Return what stands before the next boundary, which stays for the next part."""
        content = self._take_until(self._delimiter, MOST_PART_BYTES)
        self._buffer[:0] = self._delimiter
        return content.removesuffix(b"\n").removesuffix(b"\r")

    def _take_head(self) -> bytes:
        searched = 0
        while (found := _HEAD_END.search(self._buffer, max(0, searched - 3))) is None:
            searched = len(self._buffer)
            if searched > MOST_HEAD_BYTES:
                raise _not_a_stream("the headers of an image do not end")
            self._fill()
        head = bytes(self._buffer[: found.start()])
        del self._buffer[: found.end()]
        return head

    def _take_until(self, mark: bytes, most_bytes: int) -> bytes:
        """Take what stands before a mark, and the mark; return the former."""
        searched = 0
        while (place := self._buffer.find(mark, max(0, searched - len(mark)))) < 0:
            searched = len(self._buffer)
            if searched > most_bytes:
                self._buffer.clear()
                raise _not_a_stream(f"an image is longer than {most_bytes >> 20} MiB")
            self._fill()
        content = bytes(self._buffer[:place])
        del self._buffer[: place + len(mark)]
        return content

    def _fill(self) -> None:
        data = self._read(READ_BYTES)
        if not data:
            raise StreamEndedError
        self._buffer += data


def _not_a_stream(what: str) -> ImageError:
    return ImageError(f"The stream is damaged: {what}.", "Check the address and the network of the camera.")
