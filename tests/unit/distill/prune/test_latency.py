"""A target in milliseconds: with a clock that tells the same time on every box, and with the real one."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

import distill.prune.latency as latency
from distill.checkpoint import load_detector
from distill.detector.channels import channel_graph
from distill.prune.apply import cut
from distill.prune.costs import costs_of
from distill.prune.latency import FastEnoughError, LatencyTable, plans_for_time
from distill.prune.settings import new_settings
from distill.prune.timing import Timed
from edge.core.errors import ConfigError
from tests.unit.distill.detector.small_heads import widths_of
from tests.unit.distill.prune.pruning import invoke, write_source

SHAPE = (1, 64, 64)
WHOLE_MS = 10.0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("latency")
    write_source(place / "best.pt")
    return place


@pytest.fixture
def detector(place):
    return load_detector(place / "best.pt")


@pytest.fixture
def places(detector):
    """Say how often each convolution's filters are laid on a map."""
    costs = costs_of(detector.module, channel_graph(detector.module), SHAPE)
    macs = costs.layer_macs(costs.whole)
    return {name: macs[name] / (out * inn) for name, out, inn in widths_of(detector.module) if name in macs}


@pytest.fixture
def clock(monkeypatch, places):
    """Tell a time for the MACs, as a runtime does them that fills blocks of channels."""

    def pretend(*, rest_ms=0.0, block=1):
        def padded(module):
            widths = {name: (out, inn) for name, out, inn in widths_of(module)}
            return sum(
                often * math.prod(-(-channels // block) * block for channels in widths[name])
                for name, often in places.items()
            )

        def ms_of(module, whole):
            return rest_ms + (WHOLE_MS - rest_ms) * padded(module) / padded(whole)

        def told(modules, rounds):
            return np.array([[ms_of(module, modules[0]) for module in modules]] * rounds)

        def untimed(_name, _threads, module, *_):
            return nullcontext(Timed(module, "1"))

        monkeypatch.setattr(latency, "detector_run", untimed)
        monkeypatch.setattr(latency, "interleaved_ms", told)
        return ms_of

    return pretend


def settings(latency_ms, **more):
    return new_settings({"latency_ms": latency_ms, "threads": 1, **more})


def planned(detector, file, latency_ms, *, steps_left=1, **more):
    return plans_for_time(detector, settings(latency_ms, **more), latency_ms, file, steps_left)[0]


@pytest.mark.parametrize("rest_ms", [0.0, 3.0], ids=["all-of-it-can-go", "some-stays"])
@pytest.mark.parametrize("planner", ["threshold", "depgraph"])
def test_the_plan_takes_the_time_that_was_asked_for(detector, clock, tmp_path, rest_ms, planner):
    ms_of = clock(rest_ms=rest_ms)
    plan = planned(detector, tmp_path / "table.json", 6.0, planner=planner)
    assert (plan.planner, plan.target_ms, plan.target_macs_share) == (planner, 6.0, None)
    module, _ = cut(detector.module, detector.checkpoint.structure, plan)
    assert 0.9 * 6.0 <= ms_of(module, detector.module) <= latency.LATE * 6.0


def test_the_rounding_that_the_runtime_rewards_is_taken(detector, clock, tmp_path):
    clock(block=16)
    assert planned(detector, tmp_path / "table.json", 8.0).options.round_to > 8


def test_of_each_rounding_that_reaches_the_time_the_plan_with_most_macs_is_compared(
    detector, clock, tmp_path
):
    clock(block=16)
    plans = plans_for_time(detector, settings(8.0), 8.0, tmp_path / "table.json", 1)
    assert [plan.options.round_to for plan in plans] != []
    assert len({plan.options.round_to for plan in plans}) == len(plans)
    assert [plan.macs for plan in plans] == sorted((plan.macs for plan in plans), reverse=True)
    assert all(plan.target_ms == 8.0 for plan in plans)


def test_a_rounding_finer_than_asked_for_is_not_tried(detector, clock, tmp_path):
    clock()
    file = tmp_path / "table.json"
    planned(detector, file, 6.0, options={"round_to": 16})
    table = LatencyTable.model_validate_json(file.read_bytes())
    assert {one.round_to for one in table.candidates} == {16, 32}


def test_the_table_has_all_that_was_timed(detector, clock, tmp_path):
    clock()
    file = tmp_path / "table.json"
    plan = planned(detector, file, 6.0)
    table = LatencyTable.model_validate_json(file.read_bytes())
    assert (table.whole_ms, table.goal_ms, table.threads) == (WHOLE_MS, 6.0, 1)
    fitting = [one.macs_share for one in table.candidates if one.ms <= latency.LATE * 6.0]
    assert max(fitting) == pytest.approx(plan.macs_share, abs=1e-4)


def test_steps_take_equal_shares_of_the_way(detector, clock, tmp_path):
    clock()
    plan = planned(detector, tmp_path / "table.json", 6.4, steps_left=2, steps=2)
    assert plan.target_ms == pytest.approx(8.0)


def test_a_time_that_is_kept_already_is_said(detector, clock, tmp_path):
    clock()
    with pytest.raises(FastEnoughError, match="already"):
        planned(detector, tmp_path / "table.json", 11.0)


def test_a_time_out_of_reach_is_said_before_anything_is_written(detector, clock, tmp_path):
    clock(rest_ms=3.0)
    with pytest.raises(ConfigError, match="out of reach: the least is"):
        planned(detector, tmp_path / "table.json", 2.0)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_command_plans_by_a_clock_that_runs(place, tmp_path, monkeypatch, runtime):
    monkeypatch.setattr(latency, "ROUNDS", 3)
    flags = ["--runtime", runtime, "--threads", 1, "--round-to", 32, "--plan-only", "--out", tmp_path]
    said = invoke(place / "best.pt", "--latency-ms", 100, *flags)
    assert isinstance(said.exception, FastEnoughError)
    whole_ms = float(str(said.exception).split()[3])
    said = invoke(place / "best.pt", "--latency-ms", 0.9 * whole_ms, *flags)
    if said.exit_code:  # a box so busy that nothing is faster says so in a line
        assert isinstance(said.exception, ConfigError), said.output
        return
    table = json.loads((tmp_path / "latency-table.json").read_text())
    assert table["runtime"] == runtime
    assert table["candidates"]
