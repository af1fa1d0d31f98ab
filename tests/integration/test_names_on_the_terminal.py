"""Names of files that would drive a terminal, or rich, through the real command."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest


@pytest.mark.parametrize("name", ["\x1b[2J", "a\x9b31mb", "a\rb", "[red]x[/red]", "[/nothing]"])
def test_a_name_is_printed_spelt_out_and_as_it_stands(name, tmp_path, bundle):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 64), 120, np.uint8))
    (tmp_path / "a.png").rename(folder / f"{name.rpartition('/')[2]}.png")
    (folder / "b.png").write_bytes(b"no image")
    done = subprocess.run(
        [
            sys.executable, "-c", "from edge.umbrella import main; main()", "edge-run",
            "--camera", folder, "--model", bundle, "--cloth", "all", "--threads", "1",
        ],
        capture_output=True,
    )  # fmt: skip
    shown = done.stdout + done.stderr
    assert not [byte for byte in shown if byte < 32 and byte != 10], shown
    assert b"\xc2\x9b" not in shown
    assert b"Traceback" not in shown
    if "[" in name and "\x1b" not in name:
        assert name.rpartition("/")[2].encode() in shown.replace(b"\n", b"")
