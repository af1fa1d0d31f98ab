from __future__ import annotations

import gc
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from distill.prune.apply import cut
from distill.prune.channels import channel_graph
from distill.prune.check import check_cut
from distill.prune.costs import Shape, costs_of
from distill.prune.latency import Fit, Prediction, fitted, measure_fit, plan_for_latency
from distill.prune.latency_table import (
    LatencyTable,
    ShapeTimes,
    _convolution_model,
    _distinct,
    measure_table,
    read_table,
    write_table,
)
from distill.prune.plan import PlanOptions
from distill.prune.runtimes import runtime_of
from distill.prune.timing import interleaved_ms, paired_latency
from edge.errors import ConfigError, MissingPackageError
from tests.unit.distill.prune.small import SIZE_HW_PX, lively, structure_with
from tests.unit.distill.tiny import tiny_contract

torch.set_num_threads(1)

BACKBONE = (
    (-1, 1, "Conv", (128, 3, 2)),
    (-1, 1, "Conv", (256, 3, 2)),
    (-1, 3, "C3", (256,)),
    (-1, 1, "Conv", (256, 3, 2)),
)
SHORT = {"backbone": BACKBONE, "head": (((-1,), 1, "Detect", ("nc",)),)}


@pytest.fixture(scope="module")
def small():
    structure = structure_with("coupled", **SHORT)
    module = lively(structure)
    return module, structure, costs_of(module, channel_graph(module), (1, *SIZE_HW_PX))


def table_with(costs, ms_of) -> LatencyTable:
    """Make a table out of a function from shape, inputs and outputs to milliseconds."""
    points = tuple(range(1, 130))
    shapes = dict.fromkeys(_distinct(shape) for shape in costs.shapes)
    times = tuple(
        ShapeTimes(
            shape=shape,
            inputs=points,
            outputs=points,
            ms=tuple(tuple(ms_of(shape, i, o) for o in points) for i in points),
        )
        for shape in shapes
    )
    return LatencyTable(
        runtime="onnxruntime", runtime_version="0", processor="none", threads=1, round_to=8, overhead_ms=0,
        reference_ms=1, times=times,
    )  # fmt: skip


def by_macs(shape: Shape, inputs: int, outputs: int) -> float:
    return inputs * outputs * shape.out_hw[0] * shape.out_hw[1] * shape.kernel_hw[0] ** 2 / 1e6


@pytest.fixture(scope="module")
def even_table(small):
    return table_with(small[2], by_macs)


def sum_ms(costs, table) -> float:
    return Prediction(costs, table.lookup(costs)).ms(costs.whole)


def plan_of(small, table, target_ms, fit=None, **options):
    module, structure, _ = small
    return plan_for_latency(
        module,
        structure,
        table,
        target_ms,
        fit=fit or Fit(whole_ms=1, scale=1, rest_ms=0),
        input_size_hw_px=SIZE_HW_PX,
        options=PlanOptions(**options),
    )


@pytest.fixture(scope="module")
def measured(small):
    return measure_table(small[2], runtime="onnxruntime", threads=1, round_to=8, rounds=1)


def test_a_table_is_measured_for_every_convolution_and_comes_back(small, measured, tmp_path):
    assert set(measured.lookup(small[2])) == {one.name for one in small[2].graph.convolutions}
    assert all(value >= 0 for times in measured.times for row in times.ms for value in row)
    assert max(value for times in measured.times for row in times.ms for value in row) > 0
    write_table(measured, tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == measured


def test_a_plan_by_measured_time_is_cut_as_planned(small, measured):
    module, structure, costs = small
    images = np.random.default_rng(0).random((1, 1, *SIZE_HW_PX), np.float32)
    fit = measure_fit(module, structure, measured, images, rounds=2)
    assert fit.scale * sum_ms(costs, measured) + fit.rest_ms == pytest.approx(fit.whole_ms)
    plan = plan_of(small, measured, 0.999 * fit.whole_ms, fit)
    assert plan.planner == "latency"
    assert plan.macs < plan.macs_before
    check_cut(module, plan, *cut(module, structure, plan), tiny_contract())


def test_between_points_times_are_bilinear_and_beyond_them_level():
    shape = Shape((1, 1), 1, (4, 4), (4, 4), 1, 0)
    times = ShapeTimes(shape=shape, inputs=(16, 48), outputs=(16, 80), ms=((1.0, 3.0), (2.0, 6.0)))
    assert times.at(16, 48) == 2.0
    assert times.at(32, 48) == 3.0
    assert times.at(4, 4) == 1.0
    assert times.at(96, 96) == 6.0
    depthwise = ShapeTimes(shape=shape, inputs=(), outputs=(8, 24), ms=((1.0, 2.0),))
    assert depthwise.at(12, 12) == 1.25


def test_widths_that_fill_registers_are_not_mixed_with_others():
    shape = Shape((1, 1), 1, (4, 4), (4, 4), 1, 0)
    times = ShapeTimes(shape=shape, inputs=(16,), outputs=(8, 16, 56, 64), ms=((2.0, 1.0, 8.0, 4.0),))
    assert times.at(16, 32) == 2.0
    assert times.at(16, 40) == 6.0
    assert times.at(99, 64) == 4.0


@pytest.mark.parametrize(
    ("whole", "half", "scale", "rest_ms"),
    [
        ((10, 15), (5, 9), 1.2, 3),
        ((10, 15), (5, 5), 1.5, 0),
        ((10, 15), (5, 16), 1.5, 0),
        ((10, 15), (10, 14), 1.5, 0),
        ((10, 8), (5, 5), 0.6, 2),
    ],
    ids=["line", "below 0", "slower though smaller", "nothing to cut", "faster than its parts"],
)
def test_two_measurements_make_a_line_that_never_falls(whole, half, scale, rest_ms):
    fit = fitted(whole, half)
    assert (fit.scale, fit.rest_ms) == pytest.approx((scale, rest_ms))
    assert fit.scale * whole[0] + fit.rest_ms == pytest.approx(fit.whole_ms)


@pytest.mark.parametrize("share", [0.9, 0.75, 0.6])
@pytest.mark.parametrize("round_to", [8, 16])
def test_the_target_is_met_and_not_overshot_by_much(small, even_table, share, round_to):
    """Times are multiplications here, so that the plan's tell its time."""
    module, _, costs = small
    plan = plan_of(small, even_table, share * sum_ms(costs, even_table), round_to=round_to)
    assert share - 0.2 <= plan.macs / plan.macs_before <= share + 0.02
    widths = {name: module.get_submodule(name).out_channels for name in plan.kept}
    assert all(
        len(kept) in (widths[name], *range(round_to, 999, round_to)) for name, kept in plan.kept.items()
    )


def test_what_costs_no_time_is_left_alone(small):
    """Only the large maps are slow in this table: no channel elsewhere may go."""
    module, _, costs = small
    table = table_with(costs, lambda shape, i, o: by_macs(shape, i, o) if shape.out_hw[0] >= 32 else 0.0)
    plan = plan_of(small, table, sum_ms(costs, table) - 0.005)
    pruned = {
        name for name, kept in plan.kept.items() if len(kept) < module.get_submodule(name).out_channels
    }
    assert pruned == {"model.0.conv"}


def test_channels_that_would_make_it_slower_stay(small):
    """A table in which half of the channels take twice as long: nothing can be gained."""
    table = table_with(small[2], lambda shape, i, o: 1e3 / (i * o))
    with pytest.raises(ConfigError, match="out of reach"):
        plan_of(small, table, 0.9 * sum_ms(small[2], table))


def test_times_with_steps_are_stepped_over(small):
    """A block that saves nothing does not stop the search from the one behind it that does."""
    _, _, costs = small
    table = table_with(costs, lambda shape, i, o: by_macs(shape, -(-i // 16) * 16, -(-o // 16) * 16))
    plan = plan_of(small, table, 0.75 * sum_ms(costs, table))
    assert plan.macs / plan.macs_before < 0.85


def test_a_time_out_of_reach_names_the_least(small, even_table):
    with pytest.raises(ConfigError, match=r"out of reach.*\d ms") as caught:
        plan_of(small, even_table, 0.001)
    assert "\n" not in str(caught.value)


def test_a_table_of_another_detector_is_refused(even_table):
    structure = structure_with("coupled")
    module = lively(structure)
    with pytest.raises(ConfigError, match="measured for another detector"):
        plan_for_latency(
            module,
            structure,
            even_table,
            1,
            fit=Fit(whole_ms=2, scale=1, rest_ms=0),
            input_size_hw_px=(96, 96),
        )


def test_a_table_for_coarser_rounding_is_refused(small, even_table):
    coarse = even_table.model_copy(update={"round_to": 16})
    with pytest.raises(ConfigError, match="by 16, not by 8"):
        plan_of(small, coarse, 1)


@pytest.mark.parametrize("text", ["", "{}", "no"])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(ConfigError, match="is not a latency table"):
        read_table(tmp_path / "table.json")
    with pytest.raises(ConfigError, match="Cannot read"):
        read_table(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("kernel", "stride", "in_hw", "out_hw", "groups"),
    [(3, 1, 8, 8, 1), (3, 2, 8, 4, 1), (6, 2, 8, 4, 1), (1, 1, 8, 8, 1), (3, 1, 8, 8, 0), (5, 3, 11, 4, 1)],
)
def test_a_timed_convolution_gives_maps_of_the_size_noted(kernel, stride, in_hw, out_hw, groups):
    shape = Shape((kernel, kernel), stride, (in_hw, in_hw), (out_hw, out_hw), groups, 0)
    model = _convolution_model(shape, 8, 8)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"x": np.zeros((1, 8, in_hw, in_hw), np.float32)})
    assert given.shape == (1, 8, out_hw, out_hw)


def test_functions_are_timed_in_turn_with_the_collector_silent():
    calls, silent = [], []

    def first(number):
        calls.append(("first", number))
        silent.append(gc.isenabled())

    times = interleaved_ms([first, lambda number: calls.append(("second", number))], 3)
    assert times.shape == (3, 2)
    assert (times > 0).all()
    in_rounds = [name for name, number in calls if number == 2][-40:]
    assert in_rounds.count("first") == in_rounds.count("second") == 20
    assert not any(silent)
    assert gc.isenabled()


def test_a_detector_is_as_fast_as_itself_and_slower_than_less(small):
    module, _, _ = small
    larger = lively(structure_with(scale="n", **SHORT))
    images = np.random.default_rng(0).random((2, 1, *SIZE_HW_PX), np.float32)
    found = paired_latency(larger, module, images, runtime="onnxruntime", threads=1, rounds=3)
    assert found.times_faster > 1.2
    assert found.before_ms > found.after_ms > 0
    assert found.runtime == f"onnxruntime {onnxruntime.__version__}"


def test_openvino_gives_what_onnxruntime_gives():
    pytest.importorskip("openvino")
    shape = Shape((3, 3), 2, (8, 8), (4, 4), 1, 0)
    model = _convolution_model(shape, 3, 8)
    image = np.random.default_rng(1).standard_normal((1, 3, 8, 8), np.float32)
    (ours,) = runtime_of("onnxruntime", 1).opened(model)(image)
    theirs = runtime_of("openvino", 1).opened(model)(image)[0]
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("name", ["openvino", "tensorrt"])
def test_a_runtime_that_is_not_installed_says_how_to_get_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=f"pip install.*{name}"):
        runtime_of(name, 1)
