from __future__ import annotations

import errno
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras.choose import choose_camera
from edge.cameras.folder import FolderCamera
from edge.cameras.loom import LoomCamera
from edge.cameras.opencv import OpenCvCamera, frames_missing
from edge.cameras.protocol import CutShortError
from edge.config.edge import EdgeConfig
from edge.core.address import redact_credentials
from edge.core.errors import CameraNotFoundError, ConfigError, ImageError, NoImagesError
from edge.core.image import image_from_array
from edge.core.image_file import read_image


def write(path, array):
    assert cv2.imwrite(str(path), array)
    return path


def drain(camera):
    with camera:
        return list(iter(camera.read, None))


@pytest.mark.parametrize(
    ("array", "shape", "value"),
    [
        (np.full((4, 5), 7, np.uint8), (4, 5), 7),
        (np.full((4, 5, 1), 7, np.uint8), (4, 5), 7),
        (np.full((4, 5, 3), 7, np.uint8), (4, 5, 3), 7),
        (np.full((4, 5, 4), 7, np.uint8), (4, 5, 3), 7),
        (np.full((4, 5), 65535, np.uint16), (4, 5), 255),
        (np.full((4, 5, 4), 257 * 70, np.uint16), (4, 5, 3), 70),
    ],
    ids=["grey", "one channel", "colour", "alpha", "16 bit", "16 bit alpha"],
)
def test_every_kind_of_image_becomes_one_kind(array, shape, value):
    image = image_from_array(array, "x")
    assert image.dtype == np.uint8
    assert image.shape == shape
    assert (image == value).all()


def test_twelve_bits_in_sixteen():
    assert (image_from_array(np.full((2, 2), 4095, np.uint16), "x", bit_depth=12) == 255).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5), np.uint8),
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((4, 5), np.float32),
        np.zeros(4, np.uint8),
    ],
    ids=["empty", "two channels", "float", "one line"],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ImageError):
        image_from_array(array, "x")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_and_alpha_files(tmp_path, suffix):
    deep = write(tmp_path / f"deep{suffix}", np.full((9, 9), 65535, np.uint16))
    clear = write(tmp_path / f"clear{suffix}", np.full((9, 9, 4), 80, np.uint8))
    assert read_image(deep).max() == 255
    assert read_image(clear).shape == (9, 9, 3)


@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_not_inspected(tmp_path, suffix, kept):
    path = write(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(ImageError, match=r"a\.(png|jpg)"):
        read_image(path)


def noise(tmp_path, suffix):
    return write(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))


@pytest.mark.parametrize(
    "behind", [bytes(70), bytes(5000), b"SEFT" + bytes(range(256)) * 40], ids=["few", "many", "trailer"]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_what_follows_the_end_of_an_image_is_no_matter(tmp_path, suffix, behind):
    path = noise(tmp_path, suffix)
    path.write_bytes(path.read_bytes() + behind)
    assert read_image(path).shape == (64, 64)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_copy_broken_off_and_filled_with_zeros_is_truncated(tmp_path, suffix):
    path = noise(tmp_path, suffix)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image(tmp_path):
    path = noise(tmp_path, ".jpg")
    data = path.read_bytes()
    segment = b"Exif\0\0" + b"\xff\xd8thumbnail\xff\xd9"
    with_thumbnail = data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    path.write_bytes(with_thumbnail)
    assert read_image(path).shape == (64, 64)
    path.write_bytes(with_thumbnail[:-40])
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)


def test_a_header_that_claims_too_many_pixels_is_skipped(tmp_path):
    def chunk(name, content):
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + name + content + checksum

    header = (60000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    write(tmp_path / "b.png", np.zeros((4, 4), np.uint8))
    with FolderCamera(tmp_path) as camera:
        with pytest.raises(ImageError, match=r"a\.png has 60,000 x 60,000 pixels, more than"):
            camera.read()
        assert camera.read().source == "b.png"


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    """Tests may run as root, whom no permission stops: the refusal is put in its place."""

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CameraNotFoundError, match="Permission denied") as caught:
        drain(choose_camera(str(tmp_path)))
    assert caught.value.cure


@pytest.mark.parametrize("source", ["a" * 300, f"rtsp://10.0.0.1/{'a' * 300}"], ids=["path", "address"])
def test_a_name_longer_than_a_file_name_may_be(source):
    with pytest.raises(CameraNotFoundError):
        drain(choose_camera(source))


def test_a_folder_goes_by_name_past_what_cannot_be_read(tmp_path):
    for name, size in [("b.png", (4, 6)), ("a.jpg", (8, 8)), ("c.PNG", (2, 2))]:
        write(tmp_path / name, np.zeros(size, np.uint8))
    (tmp_path / "aa.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("")
    with FolderCamera(tmp_path) as camera:
        assert camera.read().source == "a.jpg"
        with pytest.raises(ImageError, match=r"aa\.png"):
            camera.read()
        later = list(iter(camera.read, None))
    assert [(f.frame_id, f.source, f.image.shape) for f in later] == [
        (2, "b.png", (4, 6)),
        (3, "c.PNG", (2, 2)),
    ]


def test_a_known_scale_lays_images_end_to_end(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.png", np.zeros((50, 8), np.uint8))
    assert [f.position.along_m for f in drain(FolderCamera(tmp_path, mm_per_px=0.2))] == [
        0,
        pytest.approx(0.01),
    ]


def write_video(path, frames, coding="MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*coding), 10, (64, 48))
    for number in range(frames):
        writer.write(np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    return path


def test_a_video_is_played_to_its_end(tmp_path):
    path = write_video(tmp_path / "roll.avi", 5)
    frames = drain(choose_camera(str(path), mm_per_px=0.5))
    assert [f.source for f in frames] == [f"roll.avi#{i}" for i in range(5)]
    assert frames[4].position.along_m == pytest.approx(4 * 48 * 0.5 / 1000)


@pytest.mark.parametrize(
    ("name", "coding"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.mkv", "MJPG")]
)
def test_a_whole_video_ends_without_complaint(tmp_path, name, coding):
    assert len(drain(choose_camera(str(write_video(tmp_path / name, 40, coding))))) == 40


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
@pytest.mark.parametrize("filled", [False, True], ids=["cut", "filled with zeros"])
def test_a_video_copied_in_part_is_no_whole_one(tmp_path, name, filled):
    path = write_video(tmp_path / name, 40)
    data = path.read_bytes()
    half = data[: len(data) // 2]
    path.write_bytes(half + bytes(len(data) - len(half) if filled else 0))
    with choose_camera(str(path)) as camera:
        frames = []
        with pytest.raises(CutShortError, match=r"ends after \d+ of the 40 frames") as caught:
            frames.extend(iter(camera.read, None))
    assert caught.value.exit_code == 21
    assert caught.value.frames_missing > 15


@pytest.mark.parametrize(
    ("declared", "rate_hz", "delivered", "reached_ms", "missing"),
    [
        (40, 10, 40, 3900, 0),
        (40, 10, 19, 1800, 21),
        (40, 10, 37, 3600, 0),
        (40, 10, 36, 3500, 4),
        (1000, 25, 980, 39160, 0),
        (1000, 25, 979, 39120, 21),
        (1000, 25, 400, 39960, 0),
        (1000, 0, 400, 0, 600),
        (-9.2e18, 25, 6, 200, 0),
        (0, 25, 6, 200, 0),
        (float("nan"), 25, 6, 200, 0),
        (40, float("nan"), 19, 0, 21),
        (30, 10, 40, 3900, 0),
    ],
    ids=[
        "whole", "half", "three of few", "four of few", "two in a hundred", "more than that",
        "varying rate", "no rate", "nonsense", "nothing declared", "no number", "no number of a rate",
        "more than declared",
    ],
)  # fmt: skip
def test_what_a_video_lacks(declared, rate_hz, delivered, reached_ms, missing):
    assert frames_missing(declared, rate_hz, delivered, reached_ms) == missing


def test_an_empty_video(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(CameraNotFoundError, match=r"empty\.mp4"):
        drain(choose_camera(str(path)))


def test_a_folder_without_images(tmp_path):
    with pytest.raises(NoImagesError, match="holds no images"):
        drain(choose_camera(str(tmp_path)))


@pytest.mark.parametrize("source", ["99", "/dev/video99", "no/such/folder", "missing.mp4"])
def test_a_missing_camera(source):
    with pytest.raises(CameraNotFoundError):
        drain(choose_camera(source))


def test_a_missing_image():
    with pytest.raises(CameraNotFoundError):
        drain(choose_camera("missing.png"))


def test_what_each_source_means(tmp_path):
    assert isinstance(choose_camera("loom:seed=3"), LoomCamera)
    assert isinstance(choose_camera(str(tmp_path)), FolderCamera)
    live = choose_camera("rtsp://user:secret@10.0.0.1/stream")
    assert isinstance(live, OpenCvCamera)
    assert live.is_live
    assert "secret" not in live.name
    with pytest.raises(ConfigError, match="sead"):
        choose_camera("loom:sead=3")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://a:b@host/x", "rtsp://***@host/x"),
        ("rtsp://a:p@s/s@host/x", "rtsp://***@host/x"),
        ("http://host/x", "http://host/x"),
        ("http://host/x?user=admin&pwd=secret", "http://host/x?***"),
        ("http://host/x#secret", "http://host/x?***"),
        ("rtsp://a:b@host:554/x?pwd=s@cret", "rtsp://***"),
        ("rtsp://a:s?cret@host/x", "rtsp://***"),
        ("rtsp://host:554/user=admin_password=secret_channel=1.sdp", "rtsp://host:554/***"),
        ("rtspsrc location=rtsp://a:secret@host/x ! sink", "rtspsrc location=rtsp://***@host/x ! sink"),
        ("loom:seed=3", "loom:seed=3"),
        ("0", "0"),
    ],
    ids=lambda value: str(value),
)
def test_redaction(url, shown):
    assert redact_credentials(url) == shown


def test_what_is_recorded_holds_no_query():
    url = "http://10.0.0.1/stream?user=admin&pwd=secret"
    assert "secret" not in OpenCvCamera(url).name
    assert "secret" not in str(EdgeConfig(camera=url).public())


def names_of(folder):
    return [frame.source for frame in drain(FolderCamera(folder, mm_per_px=0.5))]


def test_images_come_in_the_order_of_their_numbers_and_so_do_metres(tmp_path, caplog):
    for number in (10, 9, 1, 2, 11):
        write(tmp_path / f"{number}.png", np.full((number, 4), 90, np.uint8))
    with caplog.at_level("INFO"):
        frames = drain(FolderCamera(tmp_path, mm_per_px=0.5))
    assert [frame.source for frame in frames] == ["1.png", "2.png", "9.png", "10.png", "11.png"]
    assert [frame.position.first_line for frame in frames] == [0, 1, 3, 12, 22]
    assert "order of their numbers: 9.png before 10.png" in caplog.text


def test_names_of_equal_numbers_and_fractions_are_said_to_be_ambiguous(tmp_path, caplog):
    for name in ("1.png", "01.png", "2.png"):
        write(tmp_path / name, np.full((4, 4), 90, np.uint8))
    assert names_of(tmp_path) == ["01.png", "1.png", "2.png"]
    assert "01.png and 1.png have the same numbers" in caplog.text
    (tmp_path / "m").mkdir()
    for name in ("12.5m.png", "12.25m.png"):
        write(tmp_path / "m" / name, np.full((4, 4), 90, np.uint8))
    assert names_of(tmp_path / "m") == ["12.5m.png", "12.25m.png"]
    assert "not as fractions" in caplog.text


def test_an_image_that_a_link_does_not_find_is_unreadable_and_not_skipped(tmp_path):
    write(tmp_path / "2.png", np.full((4, 4), 90, np.uint8))
    (tmp_path / "1.png").symlink_to("gone.png")
    with FolderCamera(tmp_path) as camera:
        with pytest.raises(ImageError, match=r"There is no file .*1\.png"):
            camera.read()
        assert camera.read().source == "2.png"


def test_images_of_other_kinds_are_counted(tmp_path, caplog):
    write(tmp_path / "2.png", np.full((4, 4), 90, np.uint8))
    (tmp_path / "a.HEIC").touch()
    (tmp_path / "b.gif").touch()
    assert names_of(tmp_path) == ["2.png"]
    assert "kinds that are not read: 1 .gif, 1 .heic" in caplog.text
