from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from distill.checkpoint import load_detector, read_checkpoint, write_checkpoint
from distill.detector.ported import OPSET
from edge.backends.onnxruntime import OnnxRuntimeBackend, read_contract
from edge.bundle.manifest import BundleManifest
from edge.bundle.opening import open_bundle
from edge.bundle.publish import check_destination, publish_bundle, staging_folder
from edge.core.contract import METADATA_KEY
from edge.core.errors import CheckpointError, ModelError, NoImagesError, OutputError, ParityError
from edge.core.files import file_digest
from edge.inference.golden import check_golden
from export.onnx import IR_VERSION, onnx_model, with_float16_weights, write_onnx
from export.parity import (
    BOX_TOLERANCE_PX,
    FLOAT16_BOX_TOLERANCE_PX,
    FLOAT16_SCORE_TOLERANCE,
    SCORE_TOLERANCE,
    check_parity,
    count_alike,
)
from export.publish import export_bundle
from export.samples import load_samples
from tests.conftest import bright_cell_contract, write_bright_cell_bundle, write_bright_cell_model
from tests.unit.distill.tiny import write_tiny_dataset, write_untrained


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    write_tiny_dataset(root / "data")
    write_untrained(root / "best.pt")
    return root


@pytest.fixture(scope="module")
def detector(place):
    return load_detector(place / "best.pt")


@pytest.fixture(scope="module")
def samples(place, detector):
    return load_samples(place / "data" / "images", detector.contract)


@pytest.fixture(scope="module")
def exported(detector):
    return onnx_model(detector, detector.contract)


@pytest.fixture
def model(exported):
    copy = onnx.ModelProto()
    copy.CopyFrom(exported)
    return copy


@pytest.fixture(scope="module")
def published(place):
    return export_bundle(place / "best.pt", place / "data" / "images", place / "bundle")


def shape_of(port):
    return [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]


def test_ports_have_their_names_and_any_batch_size(model):
    assert {port.name: shape_of(port) for port in model.graph.input} == {"images": ["B", 1, 64, 64]}
    assert {port.name: shape_of(port) for port in model.graph.output} == {
        "boxes_xyxy_px": ["B", 84, 4],
        "scores": ["B", 84, 3],
    }


def test_versions_are_the_promised_ones(model):
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION


def test_the_contract_survives_the_file(model, detector, tmp_path):
    write_onnx(model, tmp_path / "model.onnx")
    assert read_contract(tmp_path / "model.onnx") == detector.contract
    assert METADATA_KEY in {entry.key for entry in model.metadata_props}


def test_parity_holds_with_room_to_spare(model, detector, samples, tmp_path):
    write_onnx(model, tmp_path / "model.onnx")
    report = check_parity(detector, tmp_path / "model.onnx", detector.contract, samples.tiles_nchw)
    assert report.tiles >= 8
    assert max(report.batch_sizes) > 1
    assert report.boxes_max_px < BOX_TOLERANCE_PX / 10
    assert report.scores_max < SCORE_TOLERANCE / 10
    assert report.detections > 0


def test_equals_of_which_suppression_keeps_either_are_said_and_no_refusal(detector, caplog):
    contract = detector.contract
    boxes = np.array([[[0, 0, 30, 30], [4, 0, 34, 30], [40, 40, 60, 60]]], np.float32)
    scores = np.zeros((1, 3, len(contract.class_names)), np.float32)
    scores[0, :, 0] = (0.95, 0.9499, 0.9)
    turned = scores.copy()
    turned[0, :2, 0] = (0.9499, 0.95)
    assert count_alike((boxes, scores), (boxes, scores), contract, is_close=True) == 2
    assert not caplog.records
    assert count_alike((boxes, scores), (boxes, turned), contract, is_close=True) == 0
    assert "on 1 of 1 tile non-maximum suppression keeps other boxes" in caplog.text
    with pytest.raises(ParityError, match="differ on tile 0"):
        count_alike((boxes, scores), (boxes, turned), contract, is_close=False)


def test_float16_weights_halve_the_file_and_find_the_same(model, detector, samples, tmp_path):
    paths = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    write_onnx(model, paths[0])
    write_onnx(with_float16_weights(model), paths[1])
    assert paths[1].stat().st_size < 0.65 * paths[0].stat().st_size
    assert read_contract(paths[1]) == detector.contract
    report = check_parity(detector, paths[1], detector.contract, samples.tiles_nchw, float16_weights=True)
    assert report.boxes_max_px < FLOAT16_BOX_TOLERANCE_PX / 4
    assert report.scores_max < FLOAT16_SCORE_TOLERANCE / 4


def test_a_weight_beyond_float16_is_refused(model):
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(largest) * np.float32(1e7)
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    with pytest.raises(ModelError, match="float16"):
        with_float16_weights(model)


def change_weight(model):
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(largest) * np.float32(1.05)
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))


def swap_corners(model):
    node = next(n for n in model.graph.node if "boxes_xyxy_px" in n.output)
    node.input[0], node.input[1] = node.input[1], node.input[0]


@pytest.mark.parametrize("tamper", [change_weight, swap_corners], ids=["weight", "corners"])
def test_a_tampered_model_is_refused(model, detector, samples, tmp_path, tamper):
    tamper(model)
    write_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(ParityError, match="off by"):
        check_parity(detector, tmp_path / "model.onnx", detector.contract, samples.tiles_nchw)


def test_parity_refuses_what_is_not_a_number(model, detector, samples, tmp_path):
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(largest) * np.float32("nan")
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    write_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(ParityError):
        check_parity(detector, tmp_path / "model.onnx", detector.contract, samples.tiles_nchw)


def test_a_bundle_is_whole_and_gives_what_it_says(published, place):
    bundle = open_bundle(published.bundle)
    contract = bundle.manifest.contract
    assert contract.source_digest == file_digest(place / "best.pt")
    assert 1 <= len(bundle.manifest.golden) <= 3
    assert any(golden.detections for golden in bundle.manifest.golden)
    assert bundle.manifest.parity["tiles"] >= 8
    with OnnxRuntimeBackend(bundle.model_path, contract) as backend:
        check_golden(bundle, backend, contract)


def test_the_page_belongs_to_the_bundle_and_says_what_was_compared(published):
    manifest = open_bundle(published.bundle).manifest
    assert "index.html" in manifest.files
    page = (published.bundle / "index.html").read_text()
    first = published.results[0]
    assert first.startswith("checkpoint -> f32 on onnxruntime")
    assert f"{published.quality[0].detections} detection" in first
    assert first.replace(">", "&gt;") in page
    assert "No labelled images were given: add --data" in page
    assert "http" not in page


def test_the_row_stands_in_the_run_and_in_the_bundle(published, place):
    rows = [json.loads(line) for line in (place / "scorecard.jsonl").read_text().splitlines()]
    own = open_bundle(published.bundle).manifest.scorecard
    assert (own["stage"], own["latency"]["batch"]) == ("export", 1)
    assert own in rows


def test_an_existing_bundle_is_replaced_only_when_told_to(published, place):
    arguments = (place / "best.pt", place / "data" / "images", published.bundle)
    before = (published.bundle / "bundle.json").read_text()
    with pytest.raises(OutputError, match="--overwrite"):
        export_bundle(*arguments)
    assert (published.bundle / "bundle.json").read_text() == before
    export_bundle(*arguments, overwrite=True)
    assert open_bundle(published.bundle).manifest is not None


def stranger(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")


def file_in_its_place(folder):
    folder.write_text("years of work")


def damaged_manifest(folder):
    folder.mkdir()
    (folder / "bundle.json").write_text('{"format": 1}')


def bundle_among_other_files(folder):
    write_bright_cell_bundle(folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "loom7.txt").write_text("years of work")


def folders_alone(folder):
    (folder / "images").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(stranger, "is not a bundle", id="folder-of-somebody"),
        pytest.param(file_in_its_place, "is not a bundle", id="file"),
        pytest.param(damaged_manifest, "is not a bundle", id="damaged-manifest"),
        pytest.param(bundle_among_other_files, "notes/loom7.txt", id="bundle-among-other-files"),
        pytest.param(folders_alone, "is not a bundle", id="folders-alone"),
    ],
)
def test_overwrite_deletes_nothing_but_a_bundle(place, tmp_path, make, said):
    """At once, before an hour of work, and again when the bundle takes its name."""
    out = tmp_path / "out"
    make(out)
    before = sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=said) as caught:
        export_bundle(place / "no-such-checkpoint.pt", place / "data" / "images", out, overwrite=True)
    assert "delete it yourself" in caught.value.cure
    manifest = BundleManifest(contract=bright_cell_contract(), files={})
    with staging_folder(out) as staged, pytest.raises(OutputError, match=said):
        publish_bundle(staged, out, manifest, overwrite=True)
    assert sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_place_without_a_name_is_refused_at_once(place, tmp_path, monkeypatch, name, overwrite):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="no name for a bundle"):
        export_bundle(place / "no.pt", place / "data", Path(name), overwrite=overwrite)


def test_overwrite_takes_an_empty_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OutputError, match="--overwrite"):
        check_destination(out, overwrite=False)
    with staging_folder(out) as staged:
        model = write_bright_cell_model(staged / "model.onnx", bright_cell_contract())
        manifest = BundleManifest(contract=bright_cell_contract(), files={"model.onnx": file_digest(model)})
        publish_bundle(staged, out, manifest, overwrite=True)
    assert open_bundle(out).manifest is not None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def fail_late(place, tmp_path):
    """Weights that break in ONNX only: parity has nothing finite to compare."""
    checkpoint = read_checkpoint(place / "best.pt")
    weights = {
        name: tensor * 1e30 if name.endswith("conv.weight") else tensor
        for name, tensor in checkpoint.weights.items()
    }
    write_checkpoint(tmp_path / "huge.pt", replace(checkpoint, weights=weights))
    return tmp_path / "huge.pt", place / "data" / "images"


def few_images(place, tmp_path):
    (tmp_path / "few").mkdir()
    source = place / "data" / "images" / "val" / "000.png"
    (tmp_path / "few" / "one.png").write_bytes(source.read_bytes())
    return place / "best.pt", tmp_path / "few"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param(
            lambda place, tmp: (tmp / "no.pt", place / "data"), CheckpointError, id="no-checkpoint"
        ),
        pytest.param(lambda place, tmp: (place / "best.pt", tmp / "no"), NoImagesError, id="no-folder"),
        pytest.param(few_images, NoImagesError, id="too-few-tiles"),
        pytest.param(fail_late, ParityError, id="no-parity"),
    ],
)
def test_nothing_is_published_on_an_error(place, tmp_path, arguments, error):
    checkpoint, images = arguments(place, tmp_path)
    with pytest.raises(error):
        export_bundle(checkpoint, images, tmp_path / "out" / "bundle")
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_scorecard_that_cannot_be_written_does_not_undo_a_bundle(place, tmp_path, caplog):
    """The run folder may be read-only, as that of a shipped checkpoint is."""
    shutil.copy(place / "best.pt", tmp_path / "best.pt")
    (
        tmp_path / "scorecard.jsonl"
    ).mkdir()  # root writes into read-only folders, but not into a folder as a file
    published = export_bundle(tmp_path / "best.pt", place / "data" / "images", tmp_path / "bundle")
    assert published.scorecard is None
    assert "no rows in the scorecard" in caplog.text
    assert open_bundle(tmp_path / "bundle").manifest.scorecard == published.row.model_dump(mode="json")
