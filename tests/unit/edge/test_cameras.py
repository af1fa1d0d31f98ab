from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.cameras.address import redact_credentials
from edge.cameras.choose import choose_camera
from edge.cameras.folder import FolderCamera, read_picture
from edge.cameras.opencv import OpenCvCamera
from edge.config import EdgeConfig
from edge.errors import CameraNotFoundError, ConfigError, ImageError, NoImagesError
from edge.image import image_from_array
from edge.simulator.camera import LoomCamera


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
        (np.full((4, 5, 4), 257 * 7, np.uint16), (4, 5, 3), 7),
    ],
    ids=["grey", "one channel", "colour", "alpha", "16 bit", "16 bit alpha"],
)
def test_every_kind_of_picture_becomes_one_kind(array, shape, value):
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
    assert read_picture(deep).max() == 255
    assert read_picture(clear).shape == (9, 9, 3)


@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_picture_is_not_inspected(tmp_path, suffix, kept):
    path = write(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(ImageError, match=r"a\.(png|jpg)"):
        read_picture(path)


def test_a_folder_goes_by_name_past_what_cannot_be_read(tmp_path):
    for name, size in [("b.png", (4, 6)), ("a.jpg", (8, 8)), ("c.PNG", (2, 2))]:
        write(tmp_path / name, np.zeros(size, np.uint8))
    (tmp_path / "aa.png").write_text("no picture")
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


def test_a_known_scale_lays_pictures_end_to_end(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.png", np.zeros((50, 8), np.uint8))
    assert [f.position.along_m for f in drain(FolderCamera(tmp_path, mm_per_px=0.2))] == [
        0,
        pytest.approx(0.01),
    ]


def test_a_video_is_played_to_its_end(tmp_path):
    path = str(tmp_path / "roll.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for grey in range(5):
        writer.write(np.full((48, 64, 3), grey * 40, np.uint8))
    writer.release()
    frames = drain(choose_camera(path, mm_per_px=0.5))
    assert [f.source for f in frames] == [f"roll.avi#{i}" for i in range(5)]
    assert frames[4].position.along_m == pytest.approx(4 * 48 * 0.5 / 1000)


def test_an_empty_video(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(CameraNotFoundError, match=r"empty\.mp4"):
        drain(choose_camera(str(path)))


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(NoImagesError, match="holds no pictures"):
        drain(choose_camera(str(tmp_path)))


@pytest.mark.parametrize("source", ["99", "/dev/video99", "no/such/folder", "missing.mp4"])
def test_a_missing_camera(source):
    with pytest.raises(CameraNotFoundError):
        drain(choose_camera(source))


def test_a_missing_picture():
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
