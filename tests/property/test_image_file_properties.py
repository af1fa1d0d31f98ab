"""Image files of any kind, damaged anywhere: the pixels that Pillow gives, or a refusal in one line."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageOps

from edge.core.errors import ImageError
from edge.core.image_file import MOST_ZEROS, decoded_image
from edge.core.image_header import header_of

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
LOSSLESS = {
    "PNG": {},
    "TIFF": {"compression": "tiff_lzw"},
    "WebP": {"lossless": True},
    "BMP": {},
    "PPM": {},
}
TURNED = ("PNG", "JPEG", "TIFF", "WebP")


def pixels_of(seed, size, is_colour):
    shape = (*size, 3) if is_colour else size
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def saved(pixels, form, orientation=1):
    """Save pixels in a format of Pillow, with an orientation where the format knows one."""
    stream = BytesIO()
    options = dict(LOSSLESS.get(form, {"quality": 90}))
    if form == "TIFF":
        options["tiffinfo"] = {274: orientation}
    elif form in TURNED:
        exif = PillowImage.Exif()
        exif[274] = orientation
        options["exif"] = exif
    PillowImage.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def by_pillow(data):
    """Decode as Pillow does, turned, with channels in OpenCV's order."""
    image = ImageOps.exif_transpose(PillowImage.open(BytesIO(data)))
    array = np.asarray(image)
    return array[..., ::-1] if array.ndim == 3 else array


def image_or_none(data):
    """Decode; None where it is refused as an image that is not one. Nothing else may be raised."""
    try:
        return decoded_image(data, "x")
    except ImageError:
        return None


def without_colour(image):
    return image[..., 0] if image.ndim == 3 else image


@given(st.integers(0, 99), SIZES, st.booleans(), st.sampled_from([*LOSSLESS, "JPEG"]), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_pixels_are_those_of_pillow_under_every_orientation(seed, size, is_colour, form, orientation):
    data = saved(pixels_of(seed, size, is_colour), form, orientation)
    image, expected = decoded_image(data, "x"), by_pillow(data)
    if form == "WebP" and not is_colour:  # the format knows no grey
        image, expected = without_colour(image), without_colour(expected)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= (3 if form == "JPEG" else 0)
    assert header_of(data, "x").size_hw_px == image.shape[:2]


@given(st.data(), st.sampled_from([*LOSSLESS, "JPEG"]), st.booleans(), st.integers(0, 4000))
@settings(max_examples=300, deadline=None)
def test_an_image_that_lacks_its_end_is_never_decoded_whatever_follows(data, form, is_colour, zeros):
    """Formats without checksum or end marker cannot tell zeros that stand for pixels from black ones."""
    whole = saved(pixels_of(3, (32, 32), is_colour), form)
    keep = data.draw(st.integers(0, len(whole) - (MOST_ZEROS + 4 if form == "WebP" else 1)))
    behind = b"" if form in ("BMP", "PPM") else bytes(zeros)
    image = image_or_none(whole[:keep] + behind)
    assert image is None or (image == decoded_image(whole, "x")).all()


@given(st.data(), st.sampled_from([*LOSSLESS, "JPEG"]), st.integers(1, 8))
@settings(max_examples=500, deadline=None)
def test_a_changed_byte_gives_an_image_or_a_refusal(data, form, orientation):
    whole = bytearray(saved(pixels_of(3, (24, 16), True), form, orientation))
    place = data.draw(st.integers(0, min(len(whole) - 1, 400)))
    whole[place] ^= data.draw(st.integers(1, 255))
    image = image_or_none(bytes(whole))
    assert image is None or (image.dtype == np.uint8 and image.ndim in (2, 3) and image.size > 0)


@given(st.binary(max_size=300), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*",
       b"RIFF\x20\0\0\0WEBP", b"BM", b"P5 ", b"P2 ", b"GIF89a", b""]))  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_anything_behind_a_known_beginning_gives_an_image_or_a_refusal(rest, magic):
    image = image_or_none(magic + rest)
    assert image is None or image.size > 0


@pytest.mark.parametrize("is_colour", [False, True], ids=["grey", "colour"])
def test_a_changed_byte_of_a_png_is_always_noticed(is_colour):
    whole = saved(pixels_of(5, (20, 20), is_colour), "PNG")
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        with pytest.raises(ImageError):
            decoded_image(bytes(changed), "x")
