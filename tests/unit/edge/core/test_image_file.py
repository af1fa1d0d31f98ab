"""Image files that are not what they seem: several pages, few bits, cut, damaged, turned, or too large."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from distill.commands.labels_cli import app as labels_app
from distill.data.dataset import load_dataset, read_labelled
from edge.app.run import run
from edge.config.edge import EdgeConfig
from edge.core.errors import ImageError
from edge.core.image_file import decoded_image, image_size_hw_px, read_image

GREY = np.random.default_rng(7).integers(0, 256, (64, 96), np.uint8)
SMOOTH = cv2.GaussianBlur(GREY, (0, 0), 2)


def encoded(form, pixels=GREY, **options):
    stream = BytesIO()
    PillowImage.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


PAGES = [PillowImage.fromarray(np.roll(GREY, number, 0)) for number in (1, 2)]
PGM = b"P5\n96 64\n255\n" + GREY.tobytes()


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (encoded("TIFF", save_all=True, append_images=PAGES), 3),
        (encoded("TIFF", save_all=True, append_images=PAGES[:1], compression="tiff_lzw"), 2),
        (encoded("WebP", save_all=True, append_images=PAGES, lossless=True), 3),
        (encoded("PNG", save_all=True, append_images=PAGES), 3),
        (encoded("MPO", save_all=True, append_images=PAGES[:1]), 2),
        (PGM + PGM, 2),
        (PGM + b"\n" + PGM, 2),
    ],
    ids=["tiff", "lzw tiff", "webp", "apng", "mpo", "pgm", "pgm behind a line end"],
)
def test_several_images_in_a_file_are_refused_with_their_number(data, pages):
    with pytest.raises(ImageError, match=f"holds {pages} images"):
        decoded_image(data, "x")


def test_a_small_version_beside_an_image_is_no_page(tmp_path):
    small = PillowImage.fromarray(GREY[::4, ::4])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    data = encoded("TIFF", save_all=True, append_images=[small])
    assert (decoded_image(data, "x") == GREY).all()


@pytest.mark.parametrize("is_there", [True, False], ids=["smaller", "named and not there"])
def test_a_jpeg_with_a_smaller_image_behind_it_or_none_is_one_image(is_there):
    """As telephones store thumbnails and gain maps; a copy may hold the first image alone."""
    small = PillowImage.fromarray(GREY[::2, ::2]) if is_there else PAGES[0]
    data = encoded("MPO", SMOOTH, save_all=True, append_images=[small])
    if not is_there:
        data = data[: data.index(b"\xff\xd9\xff\xd8") + 2]
    assert (decoded_image(data, "x") == cv2.imdecode(np.frombuffer(data, np.uint8), 0)).all()


@pytest.mark.parametrize(
    ("maxval", "kind"), [(15, np.uint8), (100, np.uint8), (1023, ">u2"), (4095, ">u2"), (65535, ">u2")]
)
def test_a_pgm_says_itself_which_value_is_white(maxval, kind):
    values = (GREY.astype(np.uint32) * maxval // 255).astype(kind)
    image = decoded_image(b"P5\n# a comment\n96 64\n%d\n" % maxval + values.tobytes(), "x")
    assert np.abs(image.astype(int) - GREY).max() <= 255 / maxval + 1
    text = " ".join(map(str, values.ravel().tolist()))
    letters = decoded_image(f"P2\n96 64\n{maxval}\n{text}\n".encode(), "x")
    assert np.abs(letters.astype(int) - image).max() <= 1


@pytest.mark.parametrize("bits", [9, 10, 12])
@pytest.mark.parametrize("form", [".png", ".tif"])
def test_few_bits_in_sixteen_are_refused_until_somebody_says_how_many(tmp_path, bits, form):
    deep = (GREY.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    path = tmp_path / f"a{form}"
    cv2.imwrite(str(path), deep)
    with pytest.raises(ImageError, match=f"16 bits and fills {bits} of them.*bit_depth = {bits}"):
        read_image(path)
    assert np.abs(read_image(path, bits).astype(int) - GREY).max() <= 1
    assert read_image(path, 16).max() <= 16


def test_a_jpeg_damaged_in_the_middle_is_refused():
    data = bytearray(cv2.imencode(".jpg", GREY)[1].tobytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    with pytest.raises(ImageError, match="truncated or damaged"):
        decoded_image(bytes(data), "x")


@pytest.mark.parametrize("form", [".jpg", ".webp"])
@pytest.mark.parametrize("zeros", [100, 20_000])
def test_a_late_end_does_not_make_a_cut_image_whole(form, zeros):
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if form == ".webp" else []
    data = cv2.imencode(form, GREY, options)[1].tobytes()
    late = data[: len(data) // 2] + bytes(zeros) + b"\xff\xd9"
    if form == ".webp":
        late = data[: len(data) // 2].ljust(len(data), b"\0") + bytes(zeros)
    with pytest.raises(ImageError, match="truncated"):
        decoded_image(late, "x")


def test_a_few_bytes_before_the_end_of_a_jpeg_are_harmless():
    data = cv2.imencode(".jpg", SMOOTH)[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (decoded_image(data[:-2] + b"\x11\x22" + data[-2:], "x") == expected).all()
    with pytest.raises(ImageError, match="extraneous"):
        decoded_image(data[:-2] + b"\x11" * 99 + data[-2:], "x")


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded():
    data = encoded("JPEG", SMOOTH, progressive=True)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00"
    with pytest.raises(ImageError, match="more than 100 scans"):
        decoded_image(data[:-2] + scan * 5000 + data[-2:], "x")


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("JPEG", mode) for mode in ("CMYK", "L", "RGB")),
        *(("PNG", mode) for mode in ("RGBA", "P", "1", "LA", "RGB", "L")),
        *(("TIFF", mode) for mode in ("CMYK", "RGBA", "P", "1", "RGB", "L")),
        *(("WebP", mode) for mode in ("RGBA", "RGB")),
    ],
)
def test_every_kind_of_colour_is_read(form, mode):
    image = PillowImage.fromarray(np.dstack([SMOOTH] * 3)).convert(mode)
    stream = BytesIO()
    image.save(stream, form)
    assert decoded_image(stream.getvalue(), "x").shape[:2] == SMOOTH.shape


def bomb(side_px):
    """Make a PNG of a few bytes that claims very many pixels: grey, one bit each, all zero."""

    def chunk(name, content):
        return (
            len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
        )

    header = side_px.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


def test_an_image_of_too_many_pixels_costs_no_memory(tmp_path):
    (tmp_path / "a.png").write_bytes(bomb(32_000))
    code = (
        "import re, sys\n"
        "from edge.commands.run_cli import main\n"
        "sys.argv = ['edge-run', '--camera', 'a.png']\n"
        "try:\n    main()\nfinally:\n"
        "    status = open('/proc/self/status').read()\n"  # ru_maxrss is also that of who started it
        "    print(re.search('VmHWM:[^0-9]*([0-9]+)', status)[1], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 22
    assert "has 32,000 x 32,000 pixels" in done.stderr
    assert int(done.stderr.split()[-1]) < 1_000_000  # kB


def turned(path, orientation, pixels):
    exif = PillowImage.Exif()
    exif[274] = orientation
    PillowImage.fromarray(pixels).save(path, exif=exif, quality=95)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize(("orientation", "box"), [(3, (64, 40, 72, 48)), (6, (40, 24, 48, 32))])
def test_a_label_of_a_turned_image_is_where_edge_run_finds_it_and_where_training_sees_it(
    tmp_path, capsys, bundle, suffix, orientation, box
):
    """The bright cell lies at (24, 16) to (32, 24) of the stored 96 x 64 pixels."""
    stored = np.zeros((64, 96), np.uint8)
    stored[16:24, 24:32] = 255
    labels = tmp_path / "labels"
    labels.mkdir()
    for number in range(4):
        path = labels / f"{number}_a{suffix}"
        stored[0, number] = 9  # no two alike
        turned(path, orientation, stored)
        height, width = image_size_hw_px(path)
        corners = "".join(f"<{name}>{value}</{name}>" for name, value in zip(
            ("xmin", "ymin", "xmax", "ymax"), box, strict=True))  # fmt: skip
        path.with_suffix(".xml").write_text(
            f"<annotation><filename>{path.name}</filename><size><width>{width}</width><height>{height}"
            f"</height><depth>1</depth></size><object><name>broken</name><bndbox>{corners}</bndbox></object>"
            "</annotation>"
        )
    summary = run(EdgeConfig(
        camera=str(labels), model=bundle, detections=tmp_path / "d.jsonl", cloth="all", optics="off"
    ))  # fmt: skip
    assert summary["frames"] == 4
    for line in (tmp_path / "d.jsonl").read_text().splitlines():
        best = max(json.loads(line)["detections"], key=lambda one: one["score"])
        assert best["box_xyxy_px"] == pytest.approx(box, abs=1)
    out = tmp_path / "out"
    command = ["convert", str(labels), "--group", "(?P<group>.)", "--split", "train=0.5,val=0.5"]
    labels_app([*command, "--out", str(out)], standalone_mode=False)
    dataset = load_dataset(out, ("broken", "wrinkle", "drop"))
    for pixels in (*dataset.train, *dataset.val):
        image = read_labelled(pixels.path)
        x1, y1, x2, y2 = pixels.boxes_xyxy_px(image)[0].round().astype(int)
        assert image[y1:y2, x1:x2].mean() > 200


def test_pillow_is_imported_by_the_first_file_that_needs_it(tmp_path):
    """Its import is a good part of the start of a short command, and most files are PNG or JPEG."""
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    (tmp_path / "a.tif").write_bytes(encoded("TIFF"))
    program = (
        "import sys; from pathlib import Path; from edge.core.image_file import image_size_hw_px\n"
        "for name in ('a.png', 'a.tif'):\n"
        "    print(image_size_hw_px(Path(sys.argv[1], name)), 'PIL' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["(64, 96) False", "(64, 96) True"]
