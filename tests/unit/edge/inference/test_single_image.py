"""What is counted of a detector on images that stand alone is what `edge-run` reports on them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle.opening import open_bundle
from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.commands.run_cli import app
from edge.inference.inspector import Inspector
from edge.inference.single_image import inspect_single
from tests.conftest import CLASSES, write_bright_cell_bundle

CLOTH = "loom:seed=5,defects_per_m=0,width_px=1024,lines_per_block=256,bed_left_mm=-20,bed_right_mm=80"


@pytest.fixture
def images(tmp_path):
    """Cloth with a bright spot in its middle, another one along its right edge, beside a bright bed."""
    folder = tmp_path / "images"
    folder.mkdir()
    with LoomCamera(parse_loom_options(CLOTH)) as camera:
        for number in range(2):
            image = np.asarray(camera.read().image).copy()
            for column in (304, 600):
                image[120:128, column : column + 8] = 255
            cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_it_finds_what_edge_run_reports_and_nothing_beside_the_cloth(images, tmp_path):
    bundle = write_bright_cell_bundle(
        tmp_path / "bundle", mm_per_px=0.2, score_thresholds=dict.fromkeys(CLASSES, 0.9)
    )
    out = tmp_path / "found.jsonl"
    done = CliRunner().invoke(app, [f"--camera={images}", f"--model={bundle}", f"--detections={out}"])
    assert done.exit_code == 0, done.output
    reported = [json.loads(line)["detections"] for line in out.read_text().splitlines()]
    opened = open_bundle(bundle)
    contract = opened.manifest.contract
    with OnnxRuntimeBackend(opened.model_path, contract) as backend:
        inspector = Inspector(backend, contract)
        for path, theirs in zip(sorted(images.iterdir()), reported, strict=True):
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            seen_at_px = set(inspector.inspect(image).boxes_xyxy_px[:, 0].tolist())
            assert {304, 600} < seen_at_px  # and much of the bright bed
            ours = inspect_single(inspector, image).defects.boxes_xyxy_px
            assert ours.tolist() == [one["box_xyxy_px"] for one in theirs] == [[304, 120, 312, 128]]
