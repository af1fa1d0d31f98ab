"""A real process beside this one, with a camera that hangs, crashes, stands or goes on."""

from __future__ import annotations

import gc
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edge.cameras.aravis import PROGRAM
from edge.cameras.isolated import CameraProcess, IsolatedCamera
from edge.cameras.protocol import CameraHungError, NoFrameYetError
from edge.cameras.recovering import Patience, RecoveringCamera
from edge.cameras.shared_frames import SLOTS
from edge.core.errors import CameraLostError, CameraNotFoundError, ImageError
from tests.unit.edge.cameras.devices import FRAMES_BEFORE

FACTORY = "tests.unit.edge.cameras.devices:open_child"


def isolated(then="go on", answer_s=5.0, open_s=20.0, **more):
    process = CameraProcess("child", FACTORY, {"then": then, **more})
    return IsolatedCamera(process, answer_s, open_s)


def take(camera, count):
    taken, end_s = [], time.monotonic() + 20
    while len(taken) < count:
        assert time.monotonic() < end_s, f"only {len(taken)} frames"
        try:
            taken.append(camera.read())
        except NoFrameYetError:
            continue
    return taken


def is_there(pid):
    """Whether a process runs: not gone, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # gone, perhaps since it was opened
        return False


def descriptors():
    """What this process has open: number, and what it leads to."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the list itself
            found.add((file.name, str(file.readlink())))
    return found


def test_frames_come_through_as_they_are_and_in_order():
    with isolated() as camera:
        taken = take(camera, 30)
        pid = camera._child.pid
        assert [frame.frame_id for frame in taken] == list(range(30))
        assert all(frame.image[1, 1] == frame.frame_id for frame in taken)
        assert (taken[7].position.along_m, taken[7].position.left_selvedge_px) == (7, 3.0)
        assert taken[7].counter == 7
        assert 0 <= time.monotonic() - taken[-1].monotonic_s < 30
        assert camera.counters["lost"] >= 29
    assert not is_there(pid)
    assert taken[3].image[1, 1] == 3, "a frame that somebody keeps stays what it was"


def test_slots_are_used_again_and_frames_are_not_copied_while_there_are_slots():
    with isolated() as camera:
        for frame in (take(camera, 1)[0] for _ in range(3 * SLOTS)):
            assert not frame.image.flags.owndata
            assert frame.image.base is not None
            assert not frame.image.flags.writeable


def test_a_view_of_a_frame_keeps_its_slot():
    with isolated() as camera:
        views = [take(camera, 1)[0].image[1:, 1:] for _ in range(4)]
        gc.collect()
        take(camera, 20)
        assert [int(view[0, 0]) for view in views] == [0, 1, 2, 3]


def test_a_hanging_call_is_killed_and_said():
    with isolated("hang", answer_s=0.6) as camera:
        take(camera, FRAMES_BEFORE)
        pid = camera._child.pid
        begin_s = time.monotonic()
        with pytest.raises(CameraHungError, match="does not come back from a call"):
            take(camera, 1)
        assert time.monotonic() - begin_s < 5
    assert not is_there(pid)


def test_a_loom_that_stands_is_no_hanging_call():
    with isolated("stand", answer_s=1.0) as camera:
        take(camera, FRAMES_BEFORE)
        end_s = time.monotonic() + 1.6
        while time.monotonic() < end_s:
            with pytest.raises(NoFrameYetError):
                camera.read()


def test_a_crash_ends_the_child_only():
    with isolated("crash") as camera:
        take(camera, FRAMES_BEFORE)
        with pytest.raises(CameraLostError, match="ended \\(signal 11\\)"):
            take(camera, 1)


def test_errors_come_through_with_their_class():
    with (
        pytest.raises(CameraNotFoundError, match="There is no camera child"),
        isolated("absent"),
    ):
        pass
    with isolated("bad") as camera:
        take(camera, FRAMES_BEFORE)
        with pytest.raises(ImageError, match="shape"):
            take(camera, 1)
        assert take(camera, 1)[0].frame_id == FRAMES_BEFORE + 1


def test_an_opening_that_hangs_is_killed():
    with pytest.raises(CameraHungError, match="does not open"), isolated("hang at start", open_s=1.5):
        pass


def test_a_program_that_is_not_there():
    camera = IsolatedCamera(CameraProcess("child", "", program=("/no/such/program",)))
    with pytest.raises(CameraNotFoundError, match="Cannot start the process"), camera:
        pass


def test_nothing_is_left_behind():
    gc.collect()
    before = descriptors()
    for _ in range(2):
        with isolated() as camera:
            take(camera, 3)
    with pytest.raises(CameraNotFoundError), isolated("absent"):
        pass
    gc.collect()
    assert descriptors() - before == set()  # threads of tests before may still close some
    assert not list(Path("/dev/shm").glob("*loomsight*"))


@pytest.mark.parametrize("is_prompt", [False, True], ids=["with a thread", "without a thread"])
def test_a_hanging_camera_is_opened_again(is_prompt):
    started, before = [], threading.enumerate()

    def opened():
        started.append(isolated("go on" if started else "hang", answer_s=0.5))
        return started[-1]

    with RecoveringCamera(
        "child", opened, Patience(starts_again_at_zero=True, is_prompt=is_prompt)
    ) as camera:
        started_here = {thread.name for thread in threading.enumerate() if thread not in before}
        assert ("camera reader" in started_here) is not is_prompt
        taken = take(camera, FRAMES_BEFORE + 3)
        (down, back) = camera.take_events()
    assert down.detail.startswith("hung: ")
    assert back.down_s > 0.5
    assert [frame.frame_id for frame in taken] == list(range(FRAMES_BEFORE + 3))
    assert np.diff([frame.position.along_m for frame in taken]).min() > 0
    assert taken[FRAMES_BEFORE].missing_before == "camera down"


def watched(**more):
    built = []

    def opened():
        built.append(isolated(**more))
        return built[-1]

    return RecoveringCamera("child", opened, Patience(starts_again_at_zero=True, is_prompt=True)), built


def test_a_camera_that_does_not_open_leaves_no_process():
    camera, built = watched(then="absent")
    with pytest.raises(CameraNotFoundError, match="There is no camera child"), camera:
        pass
    assert [one._child for one in built] == [None]


def test_a_run_that_is_ended_does_not_wait_for_a_camera_that_hangs_while_it_opens():
    camera, built = watched(then="hang at start")
    stop = threading.Event()
    stop.set()
    camera.ends_with(stop)
    begin_s = time.monotonic()
    with camera:
        pid = built[0]._child.pid
    assert time.monotonic() - begin_s < 10
    assert not is_there(pid)


def test_the_end_and_an_image_that_is_none_come_through_without_a_thread():
    camera, _ = watched(then="bad")
    with camera:
        taken = take(camera, FRAMES_BEFORE + 3)  # the place of the next frame says what is missing
    assert camera.counters["unusable"] == 1
    assert [frame.frame_id for frame in taken][:FRAMES_BEFORE] == list(range(FRAMES_BEFORE))


UNPLUGGED_IN_A_CALL = """
import sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
import aravis_program as program

class Error(Exception):
    message = "controller privilege required"

def serve(*_):
    raise Error

program.aravis = lambda: (None, SimpleNamespace(Error=Error))
program.opened = lambda *_: None
program.serve = serve
program.main(*sys.argv[2:5])
"""


def test_a_library_that_fails_in_any_call_is_a_camera_that_is_lost(capfd):
    """Aravis' fake camera, unplugged while it was opened, did that."""
    program = (sys.executable, "-c", UNPLUGGED_IN_A_CALL, str(PROGRAM.parent))
    camera = IsolatedCamera(CameraProcess("cam", "", {"name": "cam"}, program=program))
    with pytest.raises(CameraLostError, match="cam is lost: controller privilege required"), camera:
        pass
    assert "Traceback" not in capfd.readouterr().err
