"""Decode image files that others wrote: whole, turned as they are meant to be seen, or not at all.

The one decoder of the project: cameras, golden images, labels, training and review see the same pixels.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from edge.core.errors import ImageError
from edge.core.image import Image, image_from_array
from edge.core.image_header import CURE, Format, ImageHeader, header_of, read_header, riff_chunks
from edge.core.outside_files import IMAGE_BYTES, open_outside, read_bytes

Array = NDArray[Any]

MOST_EXTRANEOUS: Final = 8
"""So many bytes that mean nothing may stand before the end marker of a JPEG: web cameras leave some."""

MOST_SCANS: Final = 100
"""A progressive JPEG has about ten scans. Each is a pass over the image: thousands of them take hours."""

MOST_ZEROS: Final = 8
"""Coded data of a WebP that ends in more zero bytes was cut off and filled up, or ends in one flat area: no
checksum tells which. Measured on 640 files: an image with detail to its end has at most 7."""


def read_image(path: Path, bit_depth: int | None = None) -> Image:
    """Read one image file whole, or not at all.

    Args:
        path: PNG, JPEG, TIFF, WebP, BMP or PNM; 8 or 16 bits; grey, colour, with or without alpha.
        bit_depth: significant bits of 16-bit values; see `image_from_array`.
    Returns:
        The image as it is meant to be seen: turned as its EXIF orientation says.
    Raises:
        ImageError: if it cannot be read, is truncated or damaged, too large, of several pages, or no image.
    """
    return decoded_image(read_bytes(path, IMAGE_BYTES, ImageError, CURE), str(path), bit_depth)


def image_size_hw_px(path: Path) -> tuple[int, int]:
    """Return height and width of an image as it is meant to be seen, from its header.

    Raises:
        ImageError: as `read_image`, as far as the header tells.
    """
    with open_outside(path, IMAGE_BYTES, ImageError, CURE) as stream:
        return read_header(stream, str(path)).size_hw_px


def decoded_image(data: bytes, name: str, bit_depth: int | None = None) -> Image:
    """Decode an image file that is in memory; see `read_image`.

    Args:
        data: the whole file.
        name: what to call it.
        bit_depth: significant bits of 16-bit values.
    """
    header = header_of(data, name)
    try:
        array = _DECODERS[header.format](data, header)
    except (cv2.error, ValueError) as error:
        reason = getattr(error, "err", None) or str(error)
        raise ImageError(f"{name} is truncated or damaged ({reason}).", CURE) from error
    return image_from_array(_turned(array, header), name, bit_depth)


def _by_opencv(data: bytes, header: ImageHeader) -> Array:
    """Decode with OpenCV, which leaves PNG, JPEG and WebP unturned and turns TIFF.

    Raises:
        ValueError: if it gives nothing.
    """
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError("it cannot be decoded")
    return array


def _png(data: bytes, header: ImageHeader) -> Array:
    """Decode a PNG after a look at the checksums of its chunks: OpenCV may return the readable part."""
    place = 8
    while True:
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 8 + length
        if zlib.crc32(memoryview(data)[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError("a checksum does not fit")
        if data[place + 4 : place + 8] == b"IEND":
            return _by_opencv(data, header)
        place = end + 4


def _jpeg(data: bytes, header: ImageHeader) -> Array:
    """Decode a JPEG; what libjpeg only warns of is refused."""
    if data.count(b"\xff\xda") > MOST_SCANS:
        raise ValueError(f"more than {MOST_SCANS} scans")
    colour_space = simplejpeg.decode_jpeg_header(data)[2].upper()
    if colour_space in ("CMYK", "YCCK"):
        simplejpeg.decode_jpeg(data, "CMYK")
        return _by_opencv(data, header)
    form = "GRAY" if colour_space == "GRAY" else "BGR"
    try:
        array: Array = simplejpeg.decode_jpeg(data, form)
    except ValueError as error:
        if not _is_harmless(str(error)):
            raise
        array = simplejpeg.decode_jpeg(data, form, strict=False)
    return array


def _is_harmless(warning: str) -> bool:
    """Tell whether all that libjpeg finds wrong is a few bytes between coded data and end marker."""
    found = re.search(r"(\d+) extraneous bytes before marker 0xd9", warning)
    return found is not None and int(found[1]) <= MOST_EXTRANEOUS


def _webp(data: bytes, header: ImageHeader) -> Array:
    for name, chunk in riff_chunks(BytesIO(data)):
        if name in (b"VP8 ", b"VP8L") and chunk.endswith(bytes(MOST_ZEROS + 1)):
            raise ValueError("its data ends in zeros; one that is whole and flat below can be saved as PNG")
    return _by_opencv(data, header)


def _pnm(data: bytes, header: ImageHeader) -> Array:
    """Take the pixels of a raw PGM or PPM as they lie, those of the forms in letters and bits from OpenCV.

    Which value is white stands in the header. OpenCV brings 8-bit values in letters to it, and no others.
    """
    white = header.maxval or 255
    if data[1:2] not in (b"5", b"6"):
        array = _by_opencv(data, header)
        return array if white <= 255 else _to_white(array, white)
    shape: tuple[int, ...] = (header.height_px, header.width_px)
    if data[1:2] == b"6":
        shape = (*shape, 3)
    kind = np.dtype(">u2" if (header.maxval or 0) > 255 else np.uint8)
    array = np.frombuffer(data, kind, int(np.prod(shape)), header.pixels_at).reshape(shape)
    own = array.astype(kind.newbyteorder("="))  # what lies in the bytes cannot be written to
    scaled = _to_white(own, white)
    return cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR) if len(shape) == 3 else scaled


def _to_white(array: Array, white: int) -> Array:
    """Scale values so that white is that of eight bits; sixteen whole bits are left as they are."""
    if white in (255, 65535):
        return array
    scaled: Array = cv2.convertScaleAbs(array, alpha=255 / white)
    return scaled


_DECODERS: Mapping[Format, Callable[[bytes, ImageHeader], Array]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "TIFF": _by_opencv,
    "WebP": _webp,
    "BMP": _by_opencv,
    "PNM": _pnm,
}


def _turned(array: Array, header: ImageHeader) -> Array:
    """Turn stored rows and columns as the EXIF orientation says (EXIF 2.32, table 4)."""
    if header.format == "TIFF" or header.orientation == 1:
        return array
    turned = array.swapaxes(0, 1) if header.orientation >= 5 else array
    if header.orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if header.orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
