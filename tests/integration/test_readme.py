"""The edge commands of the README do what it says when they are typed, only for fewer frames."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle.opening import demo_bundle_path

README = Path(__file__).resolve().parents[2] / "README.md"
PREFIX = ".venv/bin/"
SHORTER = {
    "edge-run": ["--frames", "3"],
    "edge-bench": ["--frames", "3", "--rounds", "1", "--idle-seconds", "0"],
    "edge-doctor": [],
}
PERMITTED = {"edge-doctor": {0, 1}}  # 1: this device lacks something, which is what it is for
NO_CAMERA_HERE = {"0": "images/"}


def edge_commands() -> list[list[str]]:
    """Return the words of each edge command in the README's sh blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    named = [[words[0].removeprefix(PREFIX), *words[1:]] for words in lines if words]
    return [words for words in named if words[0] in SHORTER]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Lay out what the commands name: images/, roll.mp4, runs/bundle and an article that was taught."""
    root = tmp_path_factory.mktemp("readme")
    (root / "images").mkdir()
    cloth = np.random.default_rng(5).integers(90, 150, (3, 256, 320), np.uint8)
    video = cv2.VideoWriter(str(root / "roll.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 256))
    for number, image in enumerate(cloth):
        assert cv2.imwrite(str(root / "images" / f"{number}.png"), image)
        video.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    video.release()
    shutil.copytree(demo_bundle_path(), root / "runs" / "bundle")
    woven = ["--images", "6", "--defect-share", "0", "--size-hw", "256", "320", "--seed", "3"]
    run([".venv/bin/loomsight", "simulate", "--out", "woven", *woven, "--mm-per-px", "0.2"], root)
    (root / "clean").mkdir()
    for number, image in enumerate(sorted((root / "woven" / "images").rglob("*.png"))):
        shutil.copyfile(image, root / "clean" / f"{number}.png")
    run([".venv/bin/loomsight", *teach_command()], root)
    return root


def teach_command() -> list[str]:
    """Return the words of the README's line that teaches an article, after `loomsight`."""
    (line,) = re.findall(
        r"^\.venv/bin/loomsight (teach .*)$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    return shlex.split(line)


def run(words: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the README."""
    return subprocess.run(
        [str(Path(sys.executable).parent / words[0].removeprefix(PREFIX)), *words[1:]],
        cwd=place, capture_output=True, text=True, timeout=300, check=words[0].startswith(PREFIX),
    )  # fmt: skip


def test_the_readme_shows_every_edge_command():
    assert {words[0] for words in edge_commands()} == set(SHORTER)


@pytest.mark.parametrize("words", edge_commands(), ids=" ".join)
def test_a_command_of_the_readme(place, words):
    arguments = [NO_CAMERA_HERE.get(word, word) for word in words[1:]]
    done = run([words[0], *arguments, *SHORTER[words[0]]], place)
    assert done.returncode in PERMITTED.get(words[0], {0}), done.stderr
    assert done.stdout
    written = dict(pairwise(arguments))
    if "--detections" in written:
        assert len((place / written["--detections"]).read_text().splitlines()) == 3
    if "--summary" in written:
        assert json.loads((place / written["--summary"]).read_text())["frames"] == 3
    if "--save-pictures" in written:
        assert (place / written["--save-pictures"]).is_dir()
