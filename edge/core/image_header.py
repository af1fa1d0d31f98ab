"""Read the header of an image file before a pixel is decoded: format, size, orientation, pages."""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

from edge.core.errors import ImageError

# Pillow is imported where a file needs it, for TIFF and EXIF: most commands meet neither.
if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile

Format = Literal["PNG", "JPEG", "TIFF", "WebP", "BMP", "PNM"]

MOST_PIXELS: Final = 2**27
"""Most pixels of an image: 16,384 by 8,192, the greatest frame of a line camera."""

MOST_DECODED_BYTES: Final = 2**29
"""Most bytes of its pixels as they are stored, before colours and depths are brought into one form."""

MOST_SIDE_PX: Final = 2**20
"""Longest side, OpenCV's own limit."""

CURE: Final = "Replace or remove the file."

ORIENTATION_TAG: Final = 274
"""EXIF 2.32, table 4: how the stored rows and columns lie in the image that is meant to be seen."""

_SUBFILE_TYPE_TAG, _IS_REDUCED = 254, 1
"""TIFF 6.0, section 8, NewSubfileType: a page that shows another one smaller is no page of its own."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Hold what the header of an image file says.

    Attributes:
        height_px, width_px: as stored.
        pixel_bytes: of a stored pixel, all channels.
        orientation: of EXIF, 1 to 8.
        pages: images in the file, or frames of an animation.
        maxval: value of white of a PNM; None where the format has no such thing.
        pixels_at: byte at which the pixels of a PNM begin.
    """

    format: Format
    height_px: int
    width_px: int
    pixel_bytes: int = 3
    orientation: int = 1
    pages: int = 1
    maxval: int | None = None
    pixels_at: int = 0

    @property
    def size_hw_px(self) -> tuple[int, int]:
        """Height and width as the image is meant to be seen."""
        is_turned = self.orientation >= 5
        return (self.width_px, self.height_px) if is_turned else (self.height_px, self.width_px)


def read_header(stream: BinaryIO, name: str) -> ImageHeader:
    """Read the header of an image file, and refuse what must not be decoded.

    Args:
        stream: of a regular file or of bytes, at its beginning.
        name: what to call the file.
    Raises:
        ImageError: if it is no image of a known format, lacks its end as far as its header tells, has too
            many pixels, or holds more than one image.
    """
    magic = stream.read(16)
    reader = next((reader for pattern, reader in _READERS if pattern.match(magic)), None)
    if reader is None:
        raise ImageError(f"{name} is not an image that can be read.", CURE)
    stream.seek(0)
    try:
        header = reader(stream)
    except _TruncatedError as error:
        raise ImageError(f"{name} is truncated.", CURE) from error
    except ImageError:
        raise
    # Pillow's readers raise whatever a damaged header leads them to.
    except Exception as error:
        raise ImageError(f"{name} has a damaged header ({error}).", CURE) from error
    _check(header, name)
    return header


class _TruncatedError(Exception):
    """The file ends before its format does."""


def _check(header: ImageHeader, name: str) -> None:
    height, width = header.height_px, header.width_px
    size = f"{width:,} x {height:,} pixels"
    if height <= 0 or width <= 0:
        raise ImageError(f"{name} has a damaged header ({size}).", CURE)
    decoded = height * width * header.pixel_bytes
    if height * width > MOST_PIXELS or max(height, width) > MOST_SIDE_PX or decoded > MOST_DECODED_BYTES:
        raise ImageError(
            f"{name} has {size}, more than can be inspected at once.",
            f"At most {MOST_PIXELS:,} pixels, and {MOST_DECODED_BYTES >> 20} MiB: cut it into pieces.",
        )
    if header.pages > 1:
        raise ImageError(
            f"{name} holds {header.pages} images, and only files of one image are read.",
            "Write each of its pages or frames into a file of its own.",
        )


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise _TruncatedError
    return data


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation in a block of EXIF; 1 if it holds none that is known."""
    from PIL.Image import Exif

    block = Exif()
    try:
        block.load(exif)
        orientation = block.get(ORIENTATION_TAG)
    # A damaged block of EXIF says nothing, whatever Pillow makes of it; the image is not damaged by it.
    except Exception:  # noqa: BLE001
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}
"""Channels that a colour type is decoded to (PNG specification, 11.2.1)."""

_PNG_CHUNK = struct.Struct(">I4s")


def _png(stream: BinaryIO) -> ImageHeader:
    """Walk the chunks of a PNG (length, name, data, checksum) up to the one that ends it."""
    _exactly(stream, 8)
    height, width, pixel_bytes, orientation, pages = 0, 0, 3, 1, 1
    while True:
        length, name = _PNG_CHUNK.unpack(_exactly(stream, 8))
        if name == b"IEND":
            return ImageHeader("PNG", height, width, pixel_bytes, orientation, pages)
        if name not in (b"IHDR", b"acTL", b"eXIf"):
            stream.seek(length + 4, os.SEEK_CUR)
            continue
        data = _exactly(stream, length)
        if name == b"IHDR":
            height, width, pixel_bytes = _png_shape(data)
        elif name == b"acTL":
            pages = max(1, int.from_bytes(data[:4], "big"))
        else:
            orientation = _exif_orientation(data)
        _exactly(stream, 4)


def _png_shape(data: bytes) -> tuple[int, int, int]:
    """Return height, width and bytes of a pixel from the chunk IHDR."""
    width, height, depth, colour_type = struct.unpack(">IIBB", data[:10])
    return height, width, _PNG_CHANNELS[colour_type] * (2 if depth == 16 else 1)


_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header (ITU-T T.81, table B.1)."""

_JPEG_SCAN, _JPEG_APP1, _JPEG_APP2 = 0xDA, 0xE1, 0xE2


def _jpeg(stream: BinaryIO) -> ImageHeader:
    """Walk the segments of a JPEG up to its coded data."""
    _exactly(stream, 2)
    header = ImageHeader("JPEG", 0, 0)
    has_more = False
    while True:
        marker = _next_jpeg_marker(stream)
        if marker == _JPEG_SCAN:
            return replace(header, pages=_mpo_pages(stream)) if has_more else header
        length = int.from_bytes(_exactly(stream, 2), "big") - 2
        if marker == _JPEG_APP1 or marker in _JPEG_FRAMES:
            header = _with_jpeg_segment(header, marker, _exactly(stream, length))
        elif marker == _JPEG_APP2:
            has_more |= _exactly(stream, length).startswith(b"MPF\0")
        else:
            stream.seek(length, os.SEEK_CUR)


def _mpo_pages(stream: BinaryIO) -> int:
    """Count the images of a multi-image file (CIPA DC-007), but for smaller ones, as of a TIFF.

    Telephones put thumbnails and gain maps behind an image. An image that the index names and that
    is not there, as programs leave it that copy the first one alone, is none.
    """
    from PIL.JpegImagePlugin import jpeg_factory

    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an index that is damaged: it is then the first image alone
        image = jpeg_factory(stream)
    size, pages = image.size, 1
    for number in range(1, getattr(image, "n_frames", 1)):
        with suppress(Exception):  # whatever Pillow makes of bytes that are no image
            image.seek(number)
            pages += image.size == size
    return pages


def _next_jpeg_marker(stream: BinaryIO) -> int:
    """Return the next marker; any number of 0xFF may stand before it (ITU-T T.81, B.1.1.2)."""
    if _exactly(stream, 1) != b"\xff":
        raise ValueError("a segment does not begin where the one before ends")
    byte = _exactly(stream, 1)[0]
    while byte == 0xFF:
        byte = _exactly(stream, 1)[0]
    return byte


def _with_jpeg_segment(header: ImageHeader, marker: int, data: bytes) -> ImageHeader:
    if marker == _JPEG_APP1:
        is_exif = data.startswith(b"Exif\0\0")
        return replace(header, orientation=_exif_orientation(data)) if is_exif else header
    height, width, channels = struct.unpack(">HHB", data[1:6])
    return replace(header, height_px=height, width_px=width, pixel_bytes=channels)


def _tiff(stream: BinaryIO) -> ImageHeader:
    from PIL.TiffImagePlugin import TiffImageFile

    image = TiffImageFile(stream)
    tags = image.tag_v2
    _check_tiff_data(stream, tags.get(273) or tags[324], tags.get(279) or tags[325])
    orientation = tags.get(ORIENTATION_TAG, 1)
    depths = tags.get(258, (1,))
    return ImageHeader(
        "TIFF",
        int(tags[257]),
        int(tags[256]),
        pixel_bytes=max(3, len(depths)) * max(1, max(depths) // 8),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        pages=_tiff_pages(image),
    )


def _check_tiff_data(stream: BinaryIO, places: Sequence[int], lengths: Sequence[int]) -> None:
    """Check that each strip or tile lies within the file; libtiff makes zeros of one that is nowhere."""
    end = stream.seek(0, os.SEEK_END)
    if len(places) != len(lengths) or not (all(places) and all(lengths)):
        raise ValueError("a strip lies nowhere")
    if any(place + length > end for place, length in zip(places, lengths, strict=True)):
        raise _TruncatedError


def _tiff_pages(image: TiffImageFile) -> int:
    """Count the pages, but for smaller versions of others."""
    pages = 0
    for number in range(image.n_frames):
        image.seek(number)
        pages += not image.tag_v2.get(_SUBFILE_TYPE_TAG, 0) & _IS_REDUCED
    return max(1, pages)


def _webp(stream: BinaryIO) -> ImageHeader:
    header = ImageHeader("WebP", 0, 0, pixel_bytes=4)
    frames = 0
    for name, data in riff_chunks(stream):
        if name == b"VP8X":
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (4, 7))
            header = replace(header, height_px=height, width_px=width)
        elif name == b"VP8 " and not header.height_px:
            width, height = (side & 0x3FFF for side in struct.unpack("<HH", data[6:10]))
            header = replace(header, height_px=height, width_px=width)
        elif name == b"VP8L" and not header.height_px:
            bits = int.from_bytes(data[1:5], "little")
            header = replace(header, height_px=1 + (bits >> 14 & 0x3FFF), width_px=1 + (bits & 0x3FFF))
        elif name == b"EXIF":
            header = replace(header, orientation=_exif_orientation(data))
        frames += name == b"ANMF"
    return replace(header, pages=max(1, frames))


def riff_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and data of the chunks of a WebP, which its own length ends."""
    left = struct.unpack("<4xI4x", _exactly(stream, 12))[0] - 4
    while left >= 8:
        name, length = struct.unpack("<4sI", _exactly(stream, 8))
        yield name, _exactly(stream, length)
        stream.seek(length & 1, os.SEEK_CUR)
        left -= 8 + length + (length & 1)


def _bmp(stream: BinaryIO) -> ImageHeader:
    """Read the header of a bitmap; an uncompressed one says where its pixels end."""
    data = _exactly(stream, 34)
    pixels_at, info_bytes = struct.unpack("<II", data[10:18])
    if info_bytes == 12:  # as OS/2 writes it
        width, height, _, depth = struct.unpack("<HHHH", data[18:26])
        compression = 0
    else:
        width, height, _, depth, compression = struct.unpack("<iiHHI", data[18:34])
    row_bytes = (width * depth + 31) // 32 * 4
    whole = pixels_at + row_bytes * abs(height)
    if compression == 0 and stream.seek(0, os.SEEK_END) < whole:
        raise _TruncatedError
    return ImageHeader("BMP", abs(height), width, pixel_bytes=max(3, depth // 8))


_PNM_HEADER = re.compile(rb"P([1-6])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)")
_PNM_MAXVAL = re.compile(rb"(?:\s|#[^\n]*\n)+(\d+)")


def _pnm(stream: BinaryIO) -> ImageHeader:
    head = stream.read(4096)
    found = _PNM_HEADER.match(head)
    if found is None:
        raise ValueError("no width and height")
    kind, width, height = (int(number) for number in found.groups())
    at, maxval = found.end(), 1
    if kind not in (1, 4):
        white = _PNM_MAXVAL.match(head, at)
        if white is None or not 1 <= int(white[1][:6]) <= 65535:
            raise ValueError("no value of white from 1 to 65535")
        at, maxval = white.end(), int(white[1])
    pixel_bytes = (3 if kind in (3, 6) else 1) * (2 if maxval > 255 else 1)
    header = ImageHeader("PNM", height, width, pixel_bytes, maxval=maxval, pixels_at=at + 1)
    return replace(header, pages=_pnm_pages(stream, header)) if kind in (5, 6) else header


def _pnm_pages(stream: BinaryIO, header: ImageHeader) -> int:
    """Return 2 if another raw PNM follows the first, which the format permits."""
    end = header.pixels_at + header.height_px * header.width_px * header.pixel_bytes
    if stream.seek(0, os.SEEK_END) < end:
        raise _TruncatedError
    stream.seek(end)
    return 2 if _PNM_HEADER.match(stream.read(64).lstrip()) else 1


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[BinaryIO], ImageHeader]], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"BM"), _bmp),
    (re.compile(rb"P[1-6][\s#]"), _pnm),
)


def header_of(data: bytes, name: str) -> ImageHeader:
    """Read the header of an image file that is in memory; see `read_header`."""
    return read_header(BytesIO(data), name)
