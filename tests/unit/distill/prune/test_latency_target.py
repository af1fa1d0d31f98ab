"""A target in milliseconds, with a clock that tells the same time on every box."""

from __future__ import annotations

import pytest
import torch

import distill.prune.latency_target as latency_target
from distill.checkpoint import load_detector
from distill.detector.build import count_macs
from distill.prune.channels import channel_graph
from distill.prune.costs import costs_of
from distill.prune.folder import PruneFolder
from distill.prune.latency import Fit
from distill.prune.latency_table import REGISTER, LatencyTable, ShapeTimes, read_table, write_table
from distill.prune.latency_target import plan_for_time
from distill.prune.settings import new_settings
from distill.prune.timing import PairedLatency
from edge.errors import ConfigError
from tests.unit.distill.prune.pruning import write_source

SHAPE = (1, 64, 64)
GRID = (1, REGISTER, 1023, 1024)
WHOLE_MS = 10.0
PER_MAC = WHOLE_MS / 12_305_536
"""So that the detector takes 10 ms."""


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    torch.set_num_threads(1)
    return load_detector(write_source(tmp_path_factory.mktemp("latency") / "best.pt"))


@pytest.fixture
def table(detector, tmp_path):
    """Write a table in which a convolution takes as long as it has multiplications."""
    costs = costs_of(detector.module, channel_graph(detector.module), SHAPE)
    times = {}
    for shape in costs.shapes:
        distinct = shape.__class__(
            shape.kernel_hw, shape.stride, shape.in_hw, shape.out_hw, shape.groups, values_per_channel=0
        )
        area = shape.kernel_hw[0] * shape.kernel_hw[1] * shape.out_hw[0] * shape.out_hw[1] * PER_MAC
        ms = tuple(tuple(area * inputs * outputs for outputs in GRID) for inputs in GRID)
        times[distinct] = ShapeTimes(shape=distinct, inputs=GRID, outputs=GRID, ms=ms)
    made = LatencyTable(
        runtime="onnxruntime", runtime_version="1", processor="any", threads=1, round_to=8,
        overhead_ms=0, reference_ms=1, times=tuple(times.values()),
    )  # fmt: skip
    file = PruneFolder(tmp_path).latency_table
    write_table(made, file)
    return file


@pytest.fixture
def clock(monkeypatch):
    """Tell a time for the multiplications, longer by a factor for a detector that was cut."""

    def pretend(late):
        def told(before, after, images, *, runtime, threads, rounds):
            ms = [count_macs(module, SHAPE) * PER_MAC for module in (before, after)]
            return PairedLatency(
                before_ms=ms[0], after_ms=ms[1] * late, times_faster=ms[0] / ms[1] / late, rounds=rounds,
                runtime=runtime, processor="any", threads=threads,
            )  # fmt: skip

        def fit(module, *_, **__):
            return Fit(whole_ms=count_macs(module, SHAPE) * PER_MAC, scale=1.0, rest_ms=0.0)

        monkeypatch.setattr(latency_target, "paired_latency", told)
        monkeypatch.setattr(latency_target, "measure_fit", fit)

    return pretend


def settings(latency_ms, **more):
    return new_settings({"latency_ms": latency_ms, "threads": 1, **more})


def test_a_plan_that_is_on_time_is_kept(detector, table, clock):
    clock(late=1.0)
    plan = plan_for_time(detector, settings(6.0), 6.0, table, steps_left=1)
    assert plan.planner == "latency"
    assert plan.target_ms == 6.0
    assert plan.macs_share == pytest.approx(0.6, rel=0.05)


def test_a_plan_that_is_late_is_made_smaller_until_it_is_on_time(detector, table, clock):
    clock(late=1.2)
    plan = plan_for_time(detector, settings(6.0), 6.0, table, steps_left=1)
    assert plan.target_ms == 6.0
    assert 1.2 * WHOLE_MS * plan.macs_share <= 6.0 * latency_target.LATE


def test_steps_take_equal_shares_of_the_way(detector, table, clock):
    clock(late=1.0)
    plan = plan_for_time(detector, settings(6.4, steps=2), 6.4, table, steps_left=2)
    assert plan.target_ms == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("target_ms", "said"),
    [pytest.param(11.0, "already", id="fast"), pytest.param(0.01, "out of reach", id="too-fast")],
)
def test_what_cannot_be_reached_is_said(detector, table, clock, target_ms, said):
    clock(late=1.0)
    with pytest.raises(ConfigError, match=said):
        plan_for_time(detector, settings(target_ms), target_ms, table, steps_left=1)


@pytest.mark.parametrize(
    "change", [{"threads": 2}, {"round_to": 16}, {"times": ()}], ids=["threads", "rounding", "shapes"]
)
def test_a_table_of_something_else_is_measured_anew(detector, table, clock, monkeypatch, change):
    clock(late=1.0)
    right = read_table(table)
    write_table(right.model_copy(update=change), table)
    monkeypatch.setattr(latency_target, "measure_table", lambda *_, **__: right)
    plan_for_time(detector, settings(6.0), 6.0, table, steps_left=1)
    assert read_table(table) == right
