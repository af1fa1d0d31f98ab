from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.cameras.folder import FolderCamera
from edge.inference.inspector import Inspector
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.sinks.near_misses import NearMissSink
from edge.sinks.quota import ImageQuota
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    contract = bright_cell_contract()
    path = write_bright_cell_model(tmp_path_factory.mktemp("model") / "m.onnx", contract)
    with OnnxRuntimeBackend(path, contract) as opened:
        yield opened


def find(backend, image, near_miss):
    inspector = Inspector(backend, bright_cell_contract(), near_miss=near_miss)
    return inspector.find(inspector.prepare(image))


def image_path(cell_grey):
    """Return a dark image with one cell of this grey; its score is grey / 255."""
    image = np.zeros((64, 100), np.uint8)
    image[16:24, 40:48] = cell_grey
    return image


@pytest.mark.parametrize(
    ("grey", "defects", "near"),
    [
        pytest.param(100, 0, 0, id="far below"),
        pytest.param(110, 0, 1, id="a little below"),
        pytest.param(127, 0, 1, id="just below"),
        pytest.param(128, 1, 0, id="at the threshold"),
    ],
)
def test_what_just_misses_its_threshold_is_a_near_miss(backend, grey, defects, near):
    found = find(backend, image_path(grey), 0.1)
    assert (len(found.defects), len(found.near_misses)) == (defects, near)


def test_beside_a_defect_nothing_is_a_near_miss(backend):
    image = image_path(120)
    image[40:48, 8:16] = 255
    found = find(backend, image, 0.1)
    assert (len(found.defects), len(found.near_misses)) == (1, 0)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(90, 150), min_size=1, max_size=48), st.integers(64, 200), st.floats(0.01, 0.5))
def test_near_misses_change_no_defect(backend, greys, width, near_miss):
    cells = np.resize(np.array(greys, np.uint8), (8, -(-width // 8)))
    image = np.kron(cells, np.ones((8, 8), np.uint8))[:, :width]
    plain, with_near = find(backend, image, 0.0), find(backend, image, near_miss)
    assert not len(plain.near_misses)
    assert np.array_equal(plain.defects.boxes_xyxy_px, with_near.defects.boxes_xyxy_px)
    assert np.array_equal(plain.defects.scores, with_near.defects.scores)
    assert (with_near.near_misses.scores < 0.5).all()
    assert (with_near.near_misses.scores >= 0.5 - near_miss - 1e-6).all()


def test_a_run_keeps_near_misses_and_reports_none_of_them(backend, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, grey in enumerate((90, 120, 255, 124)):
        cv2.imwrite(str(folder / f"{number}.png"), image_path(grey))
    inspector = Inspector(backend, bright_cell_contract(), near_miss=0.1)
    sink = NearMissSink(tmp_path / "near", ImageQuota(tmp_path, 1 << 30), 30)
    how = Inspection(inspector, CLASSES)
    state = Pipeline(Source(FolderCamera(folder)), how, Results(near_misses=sink)).run()
    assert state.error is None
    assert state.detections_by_class == {"broken": 1}
    assert sorted(path.stem for path in (tmp_path / "near").glob("*.xml")) == ["00000001", "00000003"]
