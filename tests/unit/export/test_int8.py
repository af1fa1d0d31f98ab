"""INT8 and float16 variants: what is quantised, what is left out, and what is refused."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from typer.testing import CliRunner

from distill.checkpoint import load_detector
from edge.bundle.manifest import BUNDLE_FORMAT
from edge.bundle.opening import open_bundle
from edge.core.contract import METADATA_KEY
from edge.core.errors import ConfigError, ModelError, ParityError
from edge.inference.golden import check_golden
from export import int8, publish, quantize
from export.cli import app
from export.graph import answering_nodes, convolutions
from export.half import in_float16
from export.int8 import Int8Options, make_int8
from export.onnx import onnx_model
from export.publish import export_bundle
from export.quality import Reference, compared, doubts
from export.quantize import absolute_ranges, calibrated, quantised
from export.sensitivity import answer_error, answering, sensitivity
from export.variants import VariantOptions
from export.yardstick import Yardstick
from tests.unit.distill.tiny import write_tiny_dataset, write_untrained


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("int8")
    write_tiny_dataset(root / "data", train=16)
    write_untrained(root / "best.pt")
    return root


@pytest.fixture(scope="module")
def detector(place):
    return load_detector(place / "best.pt")


@pytest.fixture(scope="module")
def model(detector):
    return onnx_model(detector, detector.contract)


@pytest.fixture(scope="module")
def tiles():
    return np.random.default_rng(0).random((24, 1, 64, 64), np.float32)


@pytest.fixture(scope="module")
def ranges(model, tiles):
    return calibrated(model, tiles, "minmax")


@pytest.fixture(scope="module")
def small(model, ranges):
    return quantised(model, ranges)


def nodes(model, kind):
    return [node for node in model.graph.node if node.op_type == kind]


def test_the_answer_and_its_decoding_are_left_out(model):
    inside, answer = set(convolutions(model)), answering_nodes(model)
    assert inside
    assert not inside & answer
    # Two branches on each of three levels, and the mean over the distances' distribution.
    assert sum(node.name in answer for node in nodes(model, "Conv")) == 7
    assert len(inside) == len(nodes(model, "Conv")) - 7


def test_every_quantisation_is_symmetric_and_signed(small):
    constants = {one.name: numpy_helper.to_array(one) for one in small.graph.initializer}
    for node in nodes(small, "QuantizeLinear") + nodes(small, "DequantizeLinear"):
        zero, scale = constants[node.input[2]], constants[node.input[1]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert np.isfinite(scale).all()
        assert (scale > 0).all()


def test_weights_are_rounded_by_channel_and_biases_not_at_all(small, model):
    producers = {output: node for node in small.graph.node for output in node.output}
    constants = {one.name: numpy_helper.to_array(one) for one in small.graph.initializer}
    wanted = set(convolutions(model))
    seen = 0
    for node in nodes(small, "Conv"):
        weights = producers.get(node.input[1])
        assert (weights is not None) == (node.name in wanted)
        if weights is not None:
            seen += 1
            bias = constants[node.input[2]]
            assert bias.dtype == np.float32
            assert constants[weights.input[1]].shape == bias.shape
    assert seen == len(wanted)


def test_the_contract_and_the_ports_stay(small, model, detector):
    assert {one.key: one.value for one in small.metadata_props}[METADATA_KEY] == (
        detector.contract.model_dump_json()
    )
    assert [port.name for port in small.graph.output] == [port.name for port in model.graph.output]


def test_int8_answers_almost_alike(small, model, tiles, detector):
    outputs = detector.contract.outputs
    whole, rounded = answering(model, outputs)(tiles[:4]), answering(small, outputs)(tiles[:4])
    assert 0 < answer_error(whole, rounded) < 0.1


def test_a_layer_left_out_stays_in_float32(model, ranges):
    first = convolutions(model)[0]
    without = quantised(model, ranges, [first])
    (node,) = (one for one in without.graph.node if one.name == first)
    assert not node.input[1].endswith("DequantizeLinear_Output")
    assert quantised(model, ranges, convolutions(model)) == model


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_other_methods_cut_off_more(model, tiles, ranges, method, monkeypatch):
    monkeypatch.setitem(quantize._METHOD_OPTIONS, "entropy", {"num_bins": 160})  # the search is slow
    whole, cut = absolute_ranges(ranges), absolute_ranges(calibrated(model, tiles, method))
    assert cut.keys() == whole.keys()
    assert all(cut[name] <= whole[name] * 1.01 for name in whole)
    assert any(cut[name] < whole[name] for name in whole)


def test_a_range_without_numbers_is_refused(model, ranges):
    broken = {
        name: TensorData(lowest=np.float32(-1), highest=np.float32(np.nan)) for name, _ in ranges.items()
    }
    with pytest.raises(ModelError, match="not finite"):
        quantised(model, TensorsData(CalibrationMethod.MinMax, broken))


def test_the_worst_layer_comes_first(model, ranges, tiles, detector):
    rows = sensitivity(model, ranges, tiles[:2], detector.contract.outputs)
    assert {row.layer for row in rows} == set(convolutions(model))
    assert [row.error for row in rows] == sorted((row.error for row in rows), reverse=True)
    assert rows[0].error > rows[-1].error


class Judge:
    """Say of each model what a script says: the cloth of these tests."""

    def __init__(self, *map50_95):
        self._reached = list(map50_95)

    def metrics(self, run):
        return SimpleNamespace(map50=0.5, map50_95=self._reached.pop(0))

    def tiles(self, most):
        return np.zeros((1, 1, 64, 64), np.float32)


def made(model, tiles, detector, judge, strips=None, **options):
    return make_int8(
        model, tiles, Yardstick(judge, 0.5), detector.contract.outputs,
        Int8Options(**{"methods": ("minmax",), "max_drop": 0.005, **options}),
        strips=None if strips is None else Yardstick(strips, 0.2),
    )  # fmt: skip


def ranked(model, *_):
    """Rank the layers without running each: their order is all that most tests here need."""
    return [int8.LayerError(name, 1.0 / (1 + place)) for place, name in enumerate(convolutions(model))]


@pytest.fixture
def quick(monkeypatch, model):
    monkeypatch.setattr(int8, "sensitivity", ranked)
    return [row.layer for row in ranked(model)]


def test_layers_are_left_out_until_the_drop_holds(model, tiles, detector, quick):
    result = made(model, tiles, detector, Judge(0.3, 0.4, 0.45, 0.496))
    assert result.left_out == tuple(quick[:4])
    assert [one.left_out for one in result.trials] == [0, 1, 2, 4]
    assert result.made()["layers_left_out"] == quick[:4]


def test_layers_are_left_out_until_the_drop_holds_on_the_strips_too(model, tiles, detector, quick):
    """The split is content at once; the strips of 0.2 are with two layers left out."""
    result = made(model, tiles, detector, Judge(*[0.5] * 3), Judge(0.15, 0.194, 0.196))
    assert [one.left_out for one in result.trials] == [0, 1, 2]
    assert result.left_out == tuple(quick[:2])
    assert [one["strips_map50_95"] for one in result.made()["trials"]] == [0.15, 0.194, 0.196]
    with pytest.raises(ParityError, match=r"loses 15\.00 points"):
        made(model, tiles, detector, Judge(*[0.5] * 20), Judge(*[0.05] * 20))


def test_the_method_that_loses_least_where_it_loses_most_is_kept(model, tiles, detector, quick):
    on_split, on_strips = Judge(0.5, 0.497), Judge(0.15, 0.198)
    result = made(model, tiles, detector, on_split, on_strips, methods=("minmax", "percentile"))
    assert (result.trials[-1].method, result.left_out) == ("percentile", ())


def test_the_better_method_is_kept(model, tiles, detector, quick):
    result = made(model, tiles, detector, Judge(0.45, 0.499), methods=("minmax", "percentile"))
    assert (result.trials[-1].method, result.left_out) == ("percentile", ())
    result = made(model, tiles, detector, Judge(0.499, 0.45), methods=("minmax", "percentile"))
    assert result.trials[-1].method == "minmax"


def test_a_drop_that_never_holds_is_an_error(model, tiles, detector, quick):
    with pytest.raises(ParityError, match=r"loses 20\.00 points of mAP50-95 with 32 layers"):
        made(model, tiles, detector, Judge(*[0.3] * 20))


def test_float16_computes_in_float16_and_speaks_float32(model, tiles, detector):
    half = in_float16(model)
    kinds = {one.name: one.data_type for one in half.graph.initializer}
    answer = answering_nodes(model)
    for node in nodes(half, "Conv"):
        expected = onnx.TensorProto.FLOAT if node.name in answer else onnx.TensorProto.FLOAT16
        assert kinds[node.input[1]] == expected
    outputs = detector.contract.outputs
    whole, rounded = answering(model, outputs)(tiles[:4]), answering(half, outputs)(tiles[:4])
    assert 0 < answer_error(whole, rounded) < 0.01


def test_answers_are_compared_where_something_is_reported(contract):
    boxes = np.tile(np.array([[0, 0, 8, 8], [16, 16, 24, 24]], np.float32), (1, 1, 1))
    scores = np.array([[[0, 0, 0.9], [0, 0, 0.1]]], np.float32)
    moved = boxes.copy()
    moved[0, 1] += 50  # nobody looks there
    assert compared((boxes, scores), (moved, scores), contract) == (0.0, 0.0, 1, 1.0)
    other = scores.copy()
    other[0, 0, 2] = 0.2  # no longer reported
    assert compared((boxes, scores), (boxes, other), contract)[2:] == (1, 0.0)


@pytest.fixture(scope="module")
def published(place):
    options = VariantOptions(float16=True, int8=Int8Options(methods=("minmax",)), data=place / "data")
    images = place / "data" / "images"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "sensitivity", ranked)
        return export_bundle(place / "best.pt", images, place / "bundle", variants=options)


def test_a_bundle_holds_its_variants_and_says_how_they_were_made(published):
    bundle = open_bundle(published.bundle)
    assert bundle.variants == ("f16", "int8")
    assert bundle.manifest.format == BUNDLE_FORMAT
    made = bundle.manifest.variants[1].made
    assert made["method"] == "minmax"
    assert len(made["sensitivity"]) > 10
    assert made["calibration"]["images"] >= 8


def test_each_model_was_measured_on_each_runtime(published):
    rows = open_bundle(published.bundle).manifest.parity["models"]
    measured = {(row["precision"], row["runtime"].split()[0]) for row in rows}
    assert {("f32", "onnxruntime"), ("f16", "onnxruntime"), ("int8", "onnxruntime")} <= measured
    assert all(row["map50_95"] is not None for row in rows)
    assert all(row["drop"] is None for row in rows)  # an untrained detector has nothing to lose


@pytest.mark.parametrize(
    ("whole", "lost", "drop", "said"),
    [
        pytest.param(0.4, 0.39, 0.01, [], id="something-to-lose"),
        pytest.param(
            0.0, 0.0, None, ["finds next to nothing on the validation split"], id="nothing-to-lose"
        ),
    ],
)
def test_a_drop_that_says_nothing_is_none_and_said(whole, lost, drop, said):
    split = Yardstick(Judge(), whole)
    assert split.drop(lost) == drop
    found = doubts(Reference(np.zeros(0), (np.zeros(0), np.zeros(0)), split), ())
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_the_command_says_that_int8_of_an_untrained_detector_says_nothing(
    published, place, tmp_path, caplog
):
    options = VariantOptions(float16=True, data=place / "data")
    export_bundle(place / "best.pt", place / "data" / "images", tmp_path / "bundle", variants=options)
    assert "what a variant loses cannot be told" in caplog.text


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_a_variant_gives_on_golden_images_what_it_gave(published, precision):
    from edge.backends.choose import in_precision, open_backend
    from edge.backends.description import BackendOptions

    bundle = in_precision(open_bundle(published.bundle), precision)
    assert bundle.model_path.name == f"model.{precision}.onnx"
    options = BackendOptions(precision=precision, threads=1)
    with open_backend("onnxruntime", bundle, published.contract, options) as backend:
        check_golden(bundle, backend, published.contract)
        assert backend.description.precision == {"f16": "float16", "int8": "int8"}[precision]


def test_a_bundle_without_the_variant_says_what_it_has(bundle):
    with pytest.raises(ModelError, match=r"no int8 variant of its model; it has: none but.*--int8"):
        open_bundle(bundle).variant("int8")


def test_without_a_data_set_nobody_knows_what_a_variant_loses(place):
    with pytest.raises(ConfigError, match="Add --data"):
        export_bundle(
            place / "best.pt",
            place / "data" / "images",
            place / "none",
            variants=VariantOptions(float16=True),
        )
    assert not (place / "none").exists()


def test_a_model_that_loses_too_much_is_not_published(place, monkeypatch):
    def measured(*arguments):
        row = published_row(*arguments)
        return tuple(one.model_copy(update={"drop": 0.02}) for one in row)

    published_row = publish.quality_table
    monkeypatch.setattr(publish, "quality_table", measured)
    with pytest.raises(
        ParityError, match=r"f32 on onnxruntime .* loses 2\.00 points .* permitted are 0\.5"
    ):
        export_bundle(
            place / "best.pt", place / "data" / "images", place / "worse",
            variants=VariantOptions(data=place / "data"),
        )  # fmt: skip
    assert not (place / "worse").exists()


def test_the_drop_holds_on_real_strips_where_they_are_given(place, monkeypatch):
    """By the command itself: strips are measured on every runtime, and a loss on them alone is refused."""
    write_tiny_dataset(place / "strips", train=2, val=2)
    given = ("--images", place / "data" / "images", "--data", place / "data", "--strips", place / "strips")
    out = place / "on-strips"
    done = CliRunner().invoke(app, list(map(str, (place / "best.pt", *given, "--out", out))))
    assert done.exit_code == 0, (done.output, done.exception)
    rows = open_bundle(out).manifest.parity["models"]
    assert rows
    assert all(row["strips_map50_95"] is not None for row in rows)
    assert "strips" in done.stdout
    *results, following = done.stdout.splitlines()[-len(rows) - 1 :]
    assert all("mAP50-95 " in line and " -> " in line and "on the same" in line for line in results)
    assert shlex.split(following)[:4] == ["next", "edge-run", "--model", str(out)]
    page = (out / "index.html").read_text()
    assert "<h2>Found and missed</h2>" in page
    assert "Ground truth and reports" in page

    def worse(rows, max_drop):
        lost = [row.model_copy(update={"drop": 0.0, "strips_drop": 0.02}) for row in rows]
        return check_drop(lost, max_drop)

    check_drop = publish.check_drop
    monkeypatch.setattr(publish, "check_drop", worse)
    done = CliRunner().invoke(app, list(map(str, (place / "best.pt", *given, "--out", place / "none"))))
    assert isinstance(done.exception, ParityError)
    assert "loses 2.00 points of mAP50-95 on the strips; permitted are 0.5" in str(done.exception)
    assert not (place / "none").exists()


def test_strips_add_to_a_data_set(place):
    given = ("--images", place / "data" / "images", "--strips", place / "data", "--out", place / "none")
    error = CliRunner().invoke(app, list(map(str, (place / "best.pt", *given)))).exception
    assert isinstance(error, ConfigError)
    assert "--data" in str(error)


def test_the_bundle_says_what_each_layer_costs(published, detector):
    from distill.checkpoint import count_macs

    layers = open_bundle(published.bundle).manifest.layers
    assert [one.name for one in layers][:2] == ["model.0", "model.1"]
    counted = count_macs(detector.module, (1, 64, 64))
    assert sum(one.macs for one in layers) == pytest.approx(counted, rel=0.02)


def test_show_prints_models_variants_and_layers(published, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    from edge.bundle.layers import write_image
    from edge.commands.bundle_report import bundle_facts, print_facts

    facts = bundle_facts(published.bundle)
    print_facts(facts, as_json=False)
    printed = capsys.readouterr().out
    for said in ("variant int8", "variant f16", "million MACs", "model.0", "mAP50-95"):
        assert said in printed
    write_image(facts["layers"], tmp_path / "layers.svg")
    svg = (tmp_path / "layers.svg").read_text()
    assert svg.count("<rect") == 1 + 2 * len(facts["layers"])


def test_an_engine_for_no_known_gpu_is_refused_before_anything_is_done(place):
    with pytest.raises(ConfigError, match="no compute capability"):
        export_bundle(place / "best.pt", place / "data" / "images", place / "engine", engines_for=["smx"])
    assert not (place / "engine").exists()


@pytest.mark.slow
def test_engines_travel_in_the_bundle_and_are_of_its_lowest_precision(place):
    pytest.importorskip("tensorrt_rtx")
    from edge.backends.tensorrt_engines import read_manifest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "sensitivity", ranked)
        published = export_bundle(
            place / "best.pt", place / "data" / "images", place / "with-engines",
            variants=VariantOptions(int8=Int8Options(methods=("minmax",)), data=place / "data"),
            engines_for=["sm86"],
        )  # fmt: skip
    (name,) = published.engines
    manifest = open_bundle(published.bundle).manifest
    assert {f"engines/{name}", f"engines/{name.removesuffix('.engine')}.json"} <= set(manifest.files)
    beside = read_manifest((published.bundle / "engines" / name).with_suffix(".json"))
    assert beside.precision == "int8"
    assert beside.source_digest == manifest.files["model.int8.onnx"]
    assert beside.contract == published.contract
