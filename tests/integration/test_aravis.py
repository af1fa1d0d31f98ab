"""Aravis' fake GigE Vision camera over loopback: a real protocol, real packets, lost on purpose."""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from edge.cameras.choose import choose_camera
from edge.cameras.protocol import NoFrameYetError
from edge.cameras.recovering import Patience, RecoveringCamera
from edge.commands.doctor_cameras import aravis_finding
from edge.core.errors import CameraNotFoundError, ConfigError, ImageError

FAKE = "arv-fake-gv-camera-0.8"


def has_aravis():
    """Whether the fake camera and the system's Python binding are there."""
    check = "import gi; gi.require_version('Aravis', '0.8')"
    binding = shutil.which("python3", path="/usr/bin")
    if shutil.which(FAKE) is None or binding is None:
        return False
    return subprocess.run([binding, "-I", "-c", check], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not has_aravis(), reason="aravis-tools, gir1.2-aravis-0.8 or python3-gi is missing"
)

ADDRESS = "aravis:serial=127.0.0.1"


class FakeCamera:
    """The process of the fake camera, which can be unplugged and plugged in again."""

    def __init__(self, lost_per_thousand):
        self._command = [FAKE, "-i", "127.0.0.1", "-r", str(lost_per_thousand)]
        self.plug_in()

    def become(self, description):
        """Become a camera that describes itself in other words (a GenICam file)."""
        self.unplug()
        self._command += ["-g", str(description)]
        self.plug_in()

    def plug_in(self):
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.3)

    def unplug(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def fake(request):
    with Path(tempfile.gettempdir(), "loomsight-fake-camera.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # its port is one for the whole machine
        camera = FakeCamera(getattr(request, "param", 0))
        yield camera
        camera.unplug()


def take(camera, count, end_after_s=90):
    taken, bad, end_s = [], 0, time.monotonic() + end_after_s
    while len(taken) < count:
        assert time.monotonic() < end_s, f"only {len(taken)} frames, {bad} bad"
        try:
            taken.append(camera.read())
        except NoFrameYetError:
            continue
        except ImageError:
            bad += 1
    return taken, bad


def test_frames_over_gige_vision(fake):
    with choose_camera(f"{ADDRESS},width=256,height=128,frame_rate_hz=50") as camera:
        taken, bad = take(camera, 10)
    assert bad == 0
    assert [frame.frame_id for frame in taken] == list(range(10))
    assert all(frame.image.shape == (128, 256) and frame.image.any() for frame in taken)
    assert taken[1].counter == taken[0].counter + 1


def test_the_doctor_names_the_camera(fake):
    finding = aravis_finding()
    assert finding.verdict == "ok"
    assert "Aravis Fake" in finding.detail
    assert "127.0.0.1" in finding.detail


@pytest.mark.parametrize("fake", [10], indirect=True, ids=["1 % of packets lost"])
def test_lost_packets_are_counted_and_no_such_frame_is_delivered(fake):
    with choose_camera(f"{ADDRESS},width=256,height=128,frame_rate_hz=50") as camera:
        taken, bad = take(camera, 20)
        counted = camera.counters
    assert all(frame.image.shape == (128, 256) for frame in taken)
    assert counted["incomplete"] == bad > 0
    assert taken[-1].frame_id + 1 == len(taken) + bad + counted["lost"]


def test_unplugged_and_plugged_in_again(fake):
    camera = RecoveringCamera("fake", lambda: choose_camera(ADDRESS), Patience(silent_s=1.0))
    with camera:
        before, _ = take(camera, 5)
        fake.unplug()
        with contextlib.suppress(AssertionError):
            take(camera, 10_000, end_after_s=2)
        assert camera.down is not None
        fake.plug_in()
        after, _ = take(camera, 5)
        events = camera.take_events()
    assert [event.kind for event in events][-1] == "camera back"
    assert events[0].detail.split(":")[0] in ("late", "unplugged")
    assert after[0].frame_id > before[-1].frame_id
    assert after[0].missing_before == "camera down"


def test_no_camera_at_that_address():
    with (
        pytest.raises(CameraNotFoundError, match="Cannot open the camera"),
        choose_camera("aravis:serial=127.0.0.9"),
    ):
        pass


def test_a_setting_that_the_camera_does_not_have(fake):
    with pytest.raises(ConfigError), choose_camera(f"{ADDRESS},line_rate_hz=8000"):
        pass


ASK = """
import sys, gi
gi.require_version("Aravis", "0.8")
from gi.repository import Aravis
device = Aravis.Camera.new("127.0.0.1").get_device()
for name in sys.argv[1:]:
    name, _, selected = name.partition("=")
    node = device.get_feature(name)
    if selected:
        node.set_value_from_string(selected)
    print(node.get_value_as_string())
if not sys.argv[1:]:
    print(device.get_genicam_xml()[0])
"""


def ask(*names):
    """Return the values of nodes of the fake camera; without a name, how the camera describes itself.

    "Node=value" chooses what a selector selects.
    """
    command = ["/usr/bin/python3", "-I", "-c", ASK, *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def with_encoder(description):
    """Add the nodes of an encoder to a description of a camera, each with a register of its own."""
    entries = {
        "EncoderSelector": ("Encoder0", "Encoder1"),
        "EncoderSourceA": ("Off", "Line1", "Line2"),
        "EncoderSourceB": ("Off", "Line1", "Line2"),
        "EncoderOutputMode": ("Off", "Motion", "PositionUp"),
    }
    added = "".join(
        _enumeration(name, values, 0x9000 + 4 * number)
        for number, (name, values) in enumerate(entries.items())
    )
    added += '<Integer Name="EncoderDivider"><pValue>EncoderDividerRegister</pValue></Integer>'
    added += _register("EncoderDivider", 0x9100)
    for old, new in (("FrameStart", "LineStart"), ("Line0", "Encoder0")):
        entry = re.search(rf'<EnumEntry Name="{old}"[^>]*>.*?</EnumEntry>', description, re.DOTALL)[0]
        value = re.search(r"<Value>(\d+)</Value>", entry)[1]
        other = entry.replace(f'Name="{old}"', f'Name="{new}"').replace(f"<Value>{value}<", "<Value>2<")
        description = description.replace(entry, entry + other)
    return description.replace("</RegisterDescription>", f"{added}</RegisterDescription>")


def _enumeration(name, values, address):
    entries = "".join(
        f'<EnumEntry Name="{value}"><Value>{number}</Value></EnumEntry>'
        for number, value in enumerate(values)
    )
    node = f'<Enumeration Name="{name}">{entries}<pValue>{name}Register</pValue></Enumeration>'
    return node + _register(name, address)


def _register(name, address):
    return (
        f'<IntReg Name="{name}Register"><Address>{address}</Address><Length>4</Length>'
        "<AccessMode>RW</AccessMode><pPort>Device</pPort><Sign>Unsigned</Sign>"
        "<Endianess>BigEndian</Endianess></IntReg>"
    )


def test_an_encoder_with_two_tracks_is_written_into_the_camera(fake, tmp_path):
    description = tmp_path / "camera.xml"
    description.write_text(with_encoder(ask()))
    fake.become(description)
    settings = "encoder=Line2+Line1,encoder_divider=4,encoder_mm_per_line=0.1"
    with contextlib.suppress(NoFrameYetError), choose_camera(f"{ADDRESS},{settings}") as camera:
        assert camera.is_paced
        camera.read()
    nodes = ("EncoderSourceA", "EncoderSourceB", "EncoderDivider", "EncoderOutputMode")
    assert ask(*nodes).split() == ["Line2", "Line1", "4", "PositionUp"]
    trigger = ask("TriggerSelector=LineStart", "TriggerMode", "TriggerSource")
    assert trigger.split() == ["LineStart", "On", "Encoder0"]


def test_a_camera_without_an_encoder_module_says_so(fake):
    with (
        pytest.raises(ConfigError, match="has no setting for encoder"),
        choose_camera(f"{ADDRESS},encoder=Line1+Line2"),
    ):
        pass
