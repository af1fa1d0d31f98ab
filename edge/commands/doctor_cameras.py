"""Find the cameras of this device, and what each can really deliver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.cameras.aravis import PYTHON
from edge.cameras.aravis_program import INSTALL
from edge.cameras.v4l2 import video_device
from edge.commands.finding import DeviceFinding

LONGEST_S: Final = 30.0
"""That a library of a camera's maker may take to list cameras: it can hang."""

BASLER: Final = "import json; from edge.cameras.basler import listed; print(json.dumps(listed()))"

ARAVIS: Final = """
import json, gi
gi.require_version("Aravis", "0.8")
from gi.repository import Aravis
Aravis.update_device_list()
get = lambda name, index: getattr(Aravis, "get_device_" + name)(index) or "?"
print(json.dumps([
    f"{get('vendor', i)} {get('model', i)}, serial {get('serial_nbr', i)}, {get('protocol', i)}, "
    + get('address', i)
    for i in range(Aravis.get_n_devices())
]))
"""

NO_CAMERA: Final = "Plug one in; until then --camera loom simulates one."


def video_finding(devices: Sequence[Path]) -> DeviceFinding:
    """Report the video devices of the kernel, each with its formats, sizes and rates."""
    if not devices:
        return DeviceFinding("USB cameras", "lacking", "no /dev/video*", NO_CAMERA)
    refused = [device.name for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if refused:
        cure = "Add this user to the group video: sudo usermod -aG video $USER"
        return DeviceFinding("USB cameras", "lacking", f"no permission for {', '.join(refused)}", cure)
    lines = [line for device in devices if (line := _video_line(device)) is not None]
    if not lines:
        return DeviceFinding("USB cameras", "lacking", "no /dev/video* delivers images", NO_CAMERA)
    return DeviceFinding("USB cameras", "ok", "\n".join(lines))


def _video_line(device: Path) -> str | None:
    """Return what one device can do; None for a node beside a camera, which delivers no images."""
    try:
        found = video_device(device)
    except OSError as error:
        return f"{device}: does not answer ({error.strerror})"
    if not found.modes:
        return None
    return f"{device} {found.card}: {'; '.join(map(str, found.modes))}"


def basler_finding() -> DeviceFinding:
    """Report the cameras that pylon finds; the package is installed."""
    return _listing("Basler cameras", (sys.executable, "-c", BASLER), "Check cable, power and IP address.")


def aravis_finding() -> DeviceFinding:
    """Report the cameras that Aravis finds in the system's Python."""
    found = _listing("Aravis cameras", (*PYTHON, "-c", ARAVIS), "")
    if "No module named" in found.detail or "not available" in found.detail:
        return DeviceFinding(
            found.name, "ok", "not installed", f"For GigE Vision and USB3 Vision cameras: {INSTALL}"
        )
    return found


def _listing(name: str, program: Sequence[str], cure: str) -> DeviceFinding:
    """Let a process of its own list cameras."""
    try:
        done = subprocess.run(program, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return DeviceFinding(name, "lacking", f"the list did not come within {LONGEST_S:.0f} s", cure)
    except OSError as error:
        return DeviceFinding(name, "ok", f"not available: {error.strerror}")
    if done.returncode:
        problem = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return DeviceFinding(name, "lacking", problem, cure)
    cameras = json.loads(done.stdout.splitlines()[-1])
    return DeviceFinding(name, "ok", "\n".join(cameras) if cameras else "none found")
