"""A network that takes a fixed number of images gives of any number what a free one gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.raw_outputs import in_batches_of
from edge.core.contract import ModelContract
from edge.core.errors import BackendError, ConfigError, ContractError
from edge.inference.engine_build import batch_profile_for
from edge.inference.inspector import Inspector
from tests.conftest import bright_cell_contract
from tests.unit.edge.small_detector import write_small_detector

BATCH = 4
COUNTS = (1, 3, 4, 5, 9)


def onnxruntime(model, contract):
    return OnnxRuntimeBackend(model, contract, ["CPUExecutionProvider"], threads=1)


def openvino(model, contract):
    pytest.importorskip("openvino")
    from edge.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(model, contract, "f32", threads=1)


BACKENDS = [pytest.param(onnxruntime, id="onnxruntime"), pytest.param(openvino, id="openvino")]


@pytest.fixture
def free(tmp_path, contract) -> tuple:
    return write_small_detector(tmp_path / "free.onnx", contract), contract


@pytest.fixture
def fixed(tmp_path) -> tuple:
    contract = bright_cell_contract(batch=BATCH)
    return write_small_detector(tmp_path / "fixed.onnx", contract, batch=BATCH), contract


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).random((batch, 1, 64, 64), np.float32)


@given(count=st.integers(0, 12), batch=st.none() | st.integers(1, 7))
def test_each_image_goes_through_once_and_no_batch_is_of_another_size(count, batch):
    sizes = []

    def run(images):
        sizes.append(len(images))
        return [images * 2, images[:, 0, 0, :1]]

    images = np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1) + 1
    doubled, row = in_batches_of(batch, run, images)
    np.testing.assert_array_equal(doubled, images * 2)
    np.testing.assert_array_equal(row[:, 0], images.ravel())
    assert set(sizes) == {count if batch is None else batch}


@pytest.mark.parametrize("opened", BACKENDS)
def test_padded_results_equal_dynamic_ones(free, fixed, opened):
    with opened(*free) as theirs, opened(*fixed) as ours:
        for batch in (3, 1):
            ours.warm_up(batch)
        for count in COUNTS:
            for got, expected in zip(ours.infer(images(count)), theirs.infer(images(count)), strict=True):
                assert got.shape == expected.shape
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opened", BACKENDS)
def test_frames_of_any_number_of_tiles_are_inspected_alike(free, fixed, opened):
    frame = np.random.default_rng(0).integers(0, 255, (64, 500), np.uint8)
    with opened(*free) as theirs, opened(*fixed) as ours:
        expected = Inspector(theirs, free[1], batch_tiles=3).inspect(frame)
        inspector = Inspector(ours, fixed[1], batch_tiles=3)
        inspector.warm_up(frame.shape)
        found = inspector.inspect(frame)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes_xyxy_px, expected.boxes_xyxy_px, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("opened", BACKENDS)
def test_images_of_another_size_are_still_refused(fixed, opened):
    with opened(*fixed) as backend, pytest.raises(BackendError, match="Inference failed"):
        backend.infer(np.zeros((2, 1, 32, 32), np.float32))


@pytest.mark.parametrize("opened", BACKENDS)
@pytest.mark.parametrize("batch", ["B", 3], ids=["free", "another"])
def test_a_model_that_does_not_keep_its_contract_is_refused(tmp_path, opened, batch):
    contract = bright_cell_contract(batch=BATCH)
    model = write_small_detector(tmp_path / "m.onnx", contract, batch=batch)
    with pytest.raises(ContractError, match="its contract says batches of 4"):
        opened(model, contract)


@pytest.mark.parametrize("batch", [0, -1, 257, 2.5])
def test_batches_out_of_range(contract, batch):
    with pytest.raises(ValueError, match="batch"):
        ModelContract.model_validate({**contract.model_dump(), "batch": batch})


def test_engines_are_built_for_the_batch_of_the_model(contract):
    fixed = bright_cell_contract(batch=BATCH)
    assert str(batch_profile_for(contract, None, False)) == "1-16"
    assert str(batch_profile_for(contract, 9, True)) == "9"
    assert str(batch_profile_for(fixed, None, False)) == str(batch_profile_for(fixed, 4, False)) == "4"
    with pytest.raises(ConfigError, match="takes batches of 4 alone"):
        batch_profile_for(fixed, 8, True)
