"""Batch fixed or free, decoding in the graph or beside it: the bundle gives the same."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from distill.checkpoint import Checkpoint, Detector, load_detector, weights_digest, write_checkpoint
from distill.detector.head import head_of
from edge.backends.choose import in_precision, open_backend, usable_backends
from edge.backends.description import BackendOptions
from edge.backends.probe import processor_features
from edge.bundle.opening import open_bundle
from edge.core.contract import CONTRACT_VERSION, HeadLevel, RawOutputs
from edge.core.errors import ConfigError, ContractError, ModelError
from edge.inference.golden import check_golden
from export import int8
from export.cli import parse_batch
from export.graph import convolutions
from export.int8 import Int8Options
from export.onnx import onnx_model, with_batch, write_onnx
from export.parity import check_parity, checkpoint_answer
from export.publish import export_bundle
from export.qdq_rules import check_qdq
from export.variants import VariantOptions
from tests.unit.distill.detector.small_heads import SHORT, structure_of
from tests.unit.distill.tiny import tiny_contract, tiny_recipe, write_tiny_dataset, write_untrained
from tests.unit.export.test_heads import answering
from tests.unit.export.test_int8 import ranked

HEADS = ("yolov5-decoupled", "yolov5-yolox")
SIZE_HW = (64, 96)
SAME_BOX_PX = 0.02
"""Kernels of other processors sum in another order: a logit then differs by some 1e-5 of its size,
and a side is the mean of 16 bins of 32 px. A head that is decoded in a wrong way is whole pixels off."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def detector_of(family, **changes) -> Detector:
    module = answering(family)
    weights = module.state_dict()
    contract = tiny_contract(tiny_recipe(input_size_hw_px=SIZE_HW)).model_copy(
        update={"source_digest": weights_digest(weights), **changes}
    )
    return Detector(
        module, contract, Checkpoint(structure_of(family, **SHORT), weights, contract), "0" * 64
    )


def raw(detector: Detector) -> Detector:
    outputs = head_of(detector.module).raw_outputs()
    return replace(detector, contract=detector.contract.model_copy(update={"outputs": outputs}))


@pytest.mark.parametrize("family", HEADS)
def test_a_head_decoded_beside_the_network_says_what_its_checkpoint_says(family, tmp_path):
    detector = raw(detector_of(family))
    tiles = np.random.default_rng(0).random((8, 1, *SIZE_HW), np.float32)
    model = onnx_model(detector, detector.contract)
    assert [port.name for port in model.graph.output] == list(detector.contract.outputs.output_ports)
    assert not {node.op_type for node in model.graph.node} & {"Softmax", "Reshape", "Exp", "Transpose"}
    write_onnx(model, tmp_path / "model.onnx")
    report = check_parity(detector, tmp_path / "model.onnx", detector.contract, tiles)
    assert report.boxes_max_px <= SAME_BOX_PX
    assert report.scores_max <= 1e-4
    assert report.detections > 0


@pytest.mark.parametrize("family", HEADS)
def test_the_same_convolutions_are_quantised_wherever_it_is_decoded(family):
    detector = detector_of(family)
    whole = onnx_model(detector, detector.contract)
    bare = onnx_model(raw(detector), raw(detector).contract)
    heads_own = 2 if family == "yolov5-decoupled" else 3
    assert len(convolutions(bare)) == len(convolutions(whole))
    assert (
        sum(node.op_type == "Conv" for node in bare.graph.node) == len(convolutions(bare)) + 3 * heads_own
    )


def test_a_head_with_anchors_is_decoded_in_the_graph_alone():
    with pytest.raises(ConfigError, match="anchors is decoded in the graph alone"):
        head_of(answering("yolov5-coupled")).raw_outputs()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"bins": 8}, r"'boxes_stride8' ends in \[64, 8, 12\]; its contract says \[32, 8, 12\]"),
        ({"levels": (HeadLevel(stride_px=4, boxes_port="boxes_stride8", scores_port="scores_stride8"),)},
         r"says \[64, 16, 24\]"),
        ({"levels": (HeadLevel(stride_px=8, boxes_port="boxes_stride8", scores_port="scores"),)},
         "'scores' is missing"),
    ],
    ids=["bins", "stride", "port"],
)  # fmt: skip
@pytest.mark.parametrize("name", usable_backends(BackendOptions()))
def test_maps_the_contract_does_not_describe_are_refused(tmp_path, name, change, named):
    from edge.backends.registry import BACKENDS

    detector = raw(detector_of("yolov5-decoupled"))
    outputs = RawOutputs(**{**detector.contract.outputs.model_dump(), **change})
    contract = detector.contract.model_copy(update={"outputs": outputs})
    model = onnx_model(detector, detector.contract)
    onnx.helper.set_model_props(model, {"loomsight.contract": contract.model_dump_json()})
    write_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(ContractError, match=named):
        BACKENDS[name].opened(tmp_path / "model.onnx", contract, BackendOptions(threads=1))


def test_a_fixed_batch_stands_in_every_port():
    detector = detector_of("yolov5-decoupled")
    free = onnx_model(detector, detector.contract)
    fixed = with_batch(free, 5)
    for port in (*fixed.graph.input, *fixed.graph.output):
        assert port.type.tensor_type.shape.dim[0].dim_value == 5
    assert fixed.metadata_props == free.metadata_props
    assert with_batch(free, None) is free
    assert free.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "B"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("forms")
    write_tiny_dataset(root / "data")
    write_untrained(root / "best.pt")
    return root


@pytest.fixture(scope="module")
def published(place):
    options = VariantOptions(int8=Int8Options(methods=("minmax",)), data=place / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "sensitivity", ranked)
        return export_bundle(
            place / "best.pt", place / "data" / "images", place / "bundle",
            variants=options, batch=3, decode_at_edge=True,
        )  # fmt: skip


def test_a_bundle_says_its_batch_and_where_it_is_decoded(published):
    contract = open_bundle(published.bundle).manifest.contract
    assert contract == published.contract
    assert (contract.contract_version, contract.batch) == (CONTRACT_VERSION, 3)
    assert contract.outputs.layout == "head_levels"
    assert published.parity.boxes_max_px <= SAME_BOX_PX


def may_saturate(name):
    """Tell whether OpenVINO adds products of int8 in 16 bits, as AVX2 does: large ones are cut."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    has_vnni = {"avx512_vnni", "avx_vnni"} & set(processor_features())
    return name == "openvino" and not (has_vnni and ("VNNI" in limit or limit in ("DEFAULT", "ALL")))


@pytest.mark.parametrize("name", usable_backends(BackendOptions(precision="int8")))
@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_every_model_of_it_gives_on_every_backend_what_it_gave(place, published, name, precision):
    bundle = in_precision(open_bundle(published.bundle), precision)
    model = onnx.load(str(bundle.model_path))
    if precision == "int8":
        check_qdq(model)
    options = BackendOptions(precision=precision, threads=1)
    detector = load_detector(place / "best.pt")
    tiles = np.random.default_rng(1).random((4, 1, 64, 64), np.float32)
    with open_backend(name, bundle, published.contract, options) as backend:
        with suppress(ModelError) if precision == "int8" and may_saturate(name) else nullcontext():
            check_golden(bundle, backend, published.contract)
        boxes, scores = backend.infer(tiles)
    expected = checkpoint_answer(detector, tiles)
    assert boxes.shape == expected[0].shape
    np.testing.assert_allclose(scores, expected[1], atol=1e-4 if precision == "f32" else 0.2)


def test_a_head_with_anchors_publishes_nothing(place, tmp_path):
    detector = detector_of("yolov5-coupled")
    write_checkpoint(tmp_path / "best.pt", detector.checkpoint)
    with pytest.raises(ConfigError, match="anchors"):
        export_bundle(
            tmp_path / "best.pt", place / "data" / "images", tmp_path / "bundle", decode_at_edge=True
        )
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("text", "batch"), [("dynamic", None), ("1", 1), ("256", 256)])
def test_a_batch_is_read(text, batch):
    assert parse_batch(text) == batch


@pytest.mark.parametrize("text", ["", "0", "257", "-1", "4.0", "static", "²"])
def test_a_batch_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="Write dynamic, or a number"):
        parse_batch(text)
