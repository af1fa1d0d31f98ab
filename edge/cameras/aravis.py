"""Read GigE Vision and USB3 Vision cameras of any maker, through Aravis in a process of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edge.cameras.device_options import Placing, parse_device
from edge.cameras.encoder import encoder_dialects
from edge.cameras.isolated import CameraProcess, IsolatedCamera

PYTHON = ("/usr/bin/python3", "-I")
"""Aravis is a library of the system, and its Python binding one of the system's Python: the process runs
there, and needs nothing of loomsight's but its own file."""

PROGRAM = Path(__file__).with_name("aravis_program.py")


def camera_at(address: str, mm_per_px: float | None = None) -> IsolatedCamera:
    """Build the camera of an address such as `aravis:` or `aravis:serial=10.0.0.7,width=4096`.

    Raises:
        ConfigError: if its settings are wrong.
    """
    options = parse_device(address)
    process = CameraProcess(
        address,
        factory="",
        arguments={
            "name": address,
            **options.model_dump(exclude_none=True),
            "encoder_dialects": encoder_dialects(options),
        },
        is_paced=options.is_paced,
        program=(*PYTHON, str(PROGRAM)),
        placing=partial(Placing, options, mm_per_px),
        follows_on=options.is_line_scan,
        mm_per_px=mm_per_px,
    )
    return IsolatedCamera(process)
