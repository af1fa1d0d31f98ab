from __future__ import annotations

import cv2
import numpy as np
import pytest

from distill.labels.sets.image_files import content_digest, decoded, size_hw_px
from edge.core.errors import DatasetError
from tests.unit.distill.labels.label_sets import write_image


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".pgm"])
@pytest.mark.parametrize("size_hw", [(1, 1), (50, 200), (300, 7)], ids=str)
def test_size_is_that_of_the_decoded_image(tmp_path, suffix, size_hw):
    path = write_image(tmp_path / f"a{suffix}", size_hw)
    assert size_hw_px(path) == size_hw == decoded(path).shape[:2]


def test_a_jpeg_with_a_long_header(tmp_path):
    data = cv2.imencode(".jpg", np.zeros((30, 40), np.uint8))[1].tobytes()
    comment = b"\xff\xfe\xff\xff" + b"x" * 0xFFFD
    (tmp_path / "a.jpg").write_bytes(data[:2] + comment * 2 + data[2:])
    assert size_hw_px(tmp_path / "a.jpg") == (30, 40)


@pytest.mark.parametrize(
    "content", [None, b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xc0\x00\x00"], ids=str
)
def test_what_is_no_image(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DatasetError):
        size_hw_px(tmp_path / "a.png")


def test_a_header_that_promises_too_much(tmp_path):
    data = bytearray(cv2.imencode(".png", np.zeros((3, 4), np.uint8))[1].tobytes())
    data[16:24] = b"\x00\x0f\xff\xff" * 2
    (tmp_path / "a.png").write_bytes(bytes(data))
    with pytest.raises(DatasetError):
        decoded(tmp_path / "a.png")


def test_a_digest_is_of_the_pixels(tmp_path):
    png, bmp = (decoded(write_image(tmp_path / f"a{suffix}", (9, 8))) for suffix in (".png", ".bmp"))
    assert content_digest(png) == content_digest(bmp)
    assert content_digest(png) != content_digest(np.ascontiguousarray(png.reshape(8, 9)))
