"""Network cameras that send JPEGs over HTTP, from a real server: whole frames, or errors of single ones."""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import threading
import time
from contextlib import suppress

import cv2
import numpy as np
import pytest

from edge.app.run import run
from edge.cameras import multipart
from edge.cameras.choose import choose_camera
from edge.config.edge import EdgeConfig
from edge.core.errors import CameraLostError, CameraNotFoundError, FrameSizeError, ImageError

SIZE_HW = (48, 64)


def pixels(number, size_hw=SIZE_HW):
    rough = np.random.default_rng(number).integers(60, 200, (size_hw[0] // 8, size_hw[1] // 8), np.uint8)
    return cv2.resize(rough, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def jpeg(number, size_hw=SIZE_HW):
    return cv2.imencode(".jpg", pixels(number, size_hw))[1].tobytes()


def part(content, length="right", boundary=b"--frame", end=b"\r\n", kind=b"image/jpeg"):
    """Write a part as a camera does: with its length, another one, or none."""
    lines = [boundary, b"Content-Type: " + kind]
    if length is not None:
        lines.append(b"Content-Length: %d" % (len(content) if length == "right" else length))
    return end.join(lines) + end + end + content + end


class Server:
    """Serve one stream; every connection gets the same bytes.

    Attributes:
        body: what is sent behind the headers of the response.
        login: what the `Authorization` of a request has to satisfy; None authorises everybody.
    """

    def __init__(self, body, kind='multipart/x-mixed-replace; boundary="frame"', login=None, realm=None):
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(dict(self.headers))
                if login is not None and not login(self.headers.get("Authorization") or ""):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", realm)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def delivered(server, reads):
    """Read so often; return frames, and the kind of error where one came instead."""
    found = []
    with choose_camera(f"http://{server.place}/cam") as camera:
        for _ in range(reads):
            try:
                found.append(camera.read().image)
            except (ImageError, CameraLostError) as error:
                found.append(type(error))
    return found


def assert_are(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, type):
            assert one is other
        else:
            np.testing.assert_array_equal(one, cv2.imdecode(np.frombuffer(jpeg(other), np.uint8), -1))


HALF = jpeg(1)[: len(jpeg(1)) // 2]


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        (part(jpeg(1)), 1),
        (part(jpeg(1), None), 1),
        (part(jpeg(1), -1), 1),
        (part(jpeg(1), -2_400_000_000), 1),
        (part(jpeg(1), 2_400_000_000), 1),
        (part(jpeg(1), 999_999_999), 1),
        (part(jpeg(1), end=b"\n"), 1),
        (part(b"nothing", kind=b"text/plain") + part(jpeg(1)), 1),
        (part(HALF), ImageError),
        (part(HALF, None), ImageError),
        (part(HALF, len(jpeg(1))), ImageError),
        (part(jpeg(1), len(HALF)), ImageError),
        (part(HALF + bytes(len(jpeg(1)) - len(HALF))), ImageError),
        (part(b""), ImageError),
        (part(b"GIF89a"), ImageError),
    ],
    ids=[
        "whole", "no length", "negative", "very negative", "absurd", "too long", "unix lines", "text",
        "cut", "cut without length", "cut with the whole length", "length too short", "filled with zeros",
        "empty", "another format",
    ],
)  # fmt: skip
def test_a_frame_is_whole_or_an_error_and_the_next_one_comes(middle, expected):
    with Server(part(jpeg(0)) + middle + part(jpeg(2)) + part(jpeg(3))) as server:
        assert_are(delivered(server, 4), [0, expected, 2, 3])


def test_the_end_of_a_stream_is_the_loss_of_the_camera():
    with Server(part(jpeg(0)) + b"--frame--\r\n") as server:
        assert_are(delivered(server, 2), [0, CameraLostError])


def test_what_never_ends_is_given_up_at_a_limit(monkeypatch):
    monkeypatch.setattr(multipart, "MOST_PART_BYTES", 1 << 20)
    endless = part(bytes(3 << 20), None)
    with Server(part(jpeg(0)) + endless + part(jpeg(1))) as server:
        found = delivered(server, 6)
    assert_are(found[:1], [0])
    assert found[1] is ImageError


def test_headers_without_end_are_given_up():
    with Server(part(jpeg(0)) + b"--frame\r\n" + b"X-Pad: 1\r\n" * 100_000) as server:
        assert_are(delivered(server, 2), [0, ImageError])


def test_a_change_of_size_is_said_with_both_sizes():
    stream = part(jpeg(0)) + part(jpeg(1, (96, 128)))
    with Server(stream) as server, choose_camera(f"http://{server.place}/") as camera:
        camera.read()
        with pytest.raises(FrameSizeError, match="frame 1 is of 128 x 96 pixels in grey, those before"):
            camera.read()


def test_a_silent_camera_is_left_at_once_from_another_thread():
    with Server(part(jpeg(0)) + b"--frame\r\n") as server:
        camera = choose_camera(f"http://{server.place}/").__enter__()
        camera.read()
        ended = []

        def read():
            with suppress(CameraLostError):
                camera.read()
            ended.append(time.monotonic())

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        camera.__exit__(None, None, None)
        thread.join(5)
        assert ended


def is_basic(user):
    return lambda given: given == "Basic " + base64.b64encode(user.encode()).decode()


def is_digest(user, password):
    """Check a response as RFC 2617 does, section 3.2.2.1, without quality of protection."""

    def check(given):
        values = dict(re.findall(r'(\w+)="([^"]*)"', given))
        if not given.startswith("Digest ") or values.get("username") != user:
            return False
        digest = lambda text: hashlib.md5(text.encode()).hexdigest()  # noqa: E731
        secret, asked = digest(f"{user}:cam:{password}"), digest(f"GET:{values['uri']}")
        return values["response"] == digest(f"{secret}:{values['nonce']}:{asked}")

    return check


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # urllib drops the first answer
@pytest.mark.parametrize(
    ("login", "realm"),
    [
        (is_basic("me:p@ss"), 'Basic realm="cam"'),
        (is_digest("me", "p@ss"), 'Digest realm="cam", nonce="n1"'),
    ],
    ids=["basic", "digest"],
)
def test_a_camera_with_a_password(login, realm):
    with Server(part(jpeg(0)), login=login, realm=realm) as server:
        with choose_camera(f"http://me:p%40ss@{server.place}/") as camera:
            assert camera.read().frame_id == 0
        with pytest.raises(CameraNotFoundError, match="does not authorise this user") as caught:
            choose_camera(f"http://me:wrong@{server.place}/").__enter__()
        assert "wrong" not in str(caught.value)
        assert caught.value.cure.startswith(
            "Correct user and password in the address: http://USER:PASSWORD@HOST"
        )


def test_nobody_at_the_address():
    with pytest.raises(CameraNotFoundError, match=r"Cannot open the camera .*/cam: Connection"):
        choose_camera("http://127.0.0.1:9/cam").__enter__()


def test_what_is_no_stream_of_images_is_left_to_opencv(tmp_path):
    path = tmp_path / "roll.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE_HW[::-1])
    for number in range(5):
        writer.write(cv2.cvtColor(pixels(number), cv2.COLOR_GRAY2BGR))
    writer.release()
    with Server(path.read_bytes(), "video/x-msvideo") as server:
        assert [image.shape for image in delivered(server, 3)] == [(*SIZE_HW, 3)] * 3


def test_frames_cut_in_half_are_a_gap_and_never_inspected(bundle):
    """Each connection gives 12 whole frames, then halves; the camera is opened again for more."""
    halves = [jpeg(number)[: len(jpeg(number)) // 2] for number in range(12, 62)]
    body = b"".join(part(jpeg(number)) for number in range(12)) + b"".join(map(part, halves))
    with Server(body) as server:
        summary = run(EdgeConfig(
            camera=f"http://{server.place}/half", model=bundle, frames=24, queue_frames=200, cloth="all",
            optics="off",
        ))  # fmt: skip
    assert summary["frames"] == 24
    assert summary["unreadable"] >= 50
    assert summary["camera_counters"]["unusable"] >= 50
    assert summary["coverage"] <= 24 / 74 + 1e-6
