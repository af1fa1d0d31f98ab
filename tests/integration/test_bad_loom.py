"""A loom whose camera fails in every way while the whole loop runs on it, on a clock of its own."""

from __future__ import annotations

import pytest

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.cameras.choose import choose_camera, watched_camera
from edge.cameras.faulty_loom import FaultyLoomCamera
from edge.cameras.recovering import Patience, RecoveringCamera
from edge.config.edge import EdgeConfig
from edge.core.errors import CameraLostError, ConfigError
from edge.inference.inspector import Inspector
from edge.pipeline.parts import Inspection, Results, Source
from edge.pipeline.pipeline import Pipeline
from edge.roll.reading import read_roll
from edge.roll.recorder import RollRecorder
from edge.roll.values import RollHead
from edge.simulator.options import parse_loom_options
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model
from tests.unit.edge.cameras.test_recovering import Clock

LINES, BLOCK = 6400, 64
LOOM = "loom:live=true,width_px=256,lines_per_block=64,length_m=1.28,speed_m_min=3,defects_per_m=0"
LOOM_HZ = 250  # lines in a second: a block takes 0.256 s


@pytest.fixture
def inspector(tmp_path):
    contract = bright_cell_contract(score_thresholds=dict.fromkeys(CLASSES, 1.0))
    with OnnxRuntimeBackend(write_bright_cell_model(tmp_path / "m.onnx", contract), contract) as backend:
        yield Inspector(backend, contract)


def inspect(inspector, record, faults, **patience):
    """Inspect a whole roll; return the state, the camera, and the roll as it was recorded."""
    clock = Clock()
    loom = FaultyLoomCamera(parse_loom_options(f"{LOOM},faults={faults}"), clock=clock, sleep=clock.pause)
    expected = Patience(is_paced=loom.is_paced, **patience)
    camera = RecoveringCamera(loom.name, lambda: loom, expected, clock=clock, pause=clock.pause)
    recorder = RollRecorder(record, RollHead("loom", "", {}))
    source, how = Source(camera, queue_frames=1024), Inspection(inspector, CLASSES)
    pipeline = Pipeline(source, how, Results(recorder=recorder))
    state = pipeline.run()
    assert state.error is None
    return state, camera, read_roll(record, None)


def summed(state):
    """Lines that passed; those inspected and those in gaps have to add up to them."""
    coverage = state.coverage
    assert coverage.lines_inspected + coverage.gap_list.lines == coverage.lines_delivered
    return coverage.lines_delivered


@pytest.mark.parametrize("blocks", [4, 50], ids=["1 s", "13 s"])
def test_unplugged(inspector, tmp_path, blocks):
    state, _, roll = inspect(inspector, tmp_path / "r.db", f"unplugged@10:{blocks}")
    assert summed(state) == LINES
    (gap,) = state.coverage.gap_list
    assert (gap.start, gap.reason) == (10 * BLOCK, "camera down")
    assert gap.end >= (10 + blocks) * BLOCK
    assert [event.kind for event in roll.events] == ["camera down", "camera back"]
    assert roll.events[0].detail.startswith("unplugged: ")
    assert state.coverage.seconds_down >= blocks * BLOCK / LOOM_HZ


@pytest.mark.parametrize(
    ("faults", "first", "lines", "told"),
    [
        ("wrong_size@10:3", 640, 192, "3 wrong size"),
        ("half-empty@10:2", 640, 128, "2 half empty"),
        ("black@10:5", 640, 320, "5 black"),
    ],
    ids=["wrong size", "half empty", "black"],
)
def test_single_bad_blocks_are_a_gap_and_are_told(inspector, tmp_path, faults, first, lines, told):
    state, _, roll = inspect(inspector, tmp_path / "r.db", faults)
    assert summed(state) == LINES
    assert list(state.coverage.gap_list) == [(first, first + lines, "camera down")]
    assert [(event.kind, event.detail) for event in roll.events] == [("frames left out", told)]


def test_a_frozen_image(inspector, tmp_path):
    state, camera, roll = inspect(inspector, tmp_path / "r.db", "frozen@20:40", frozen_s=3)
    assert summed(state) == LINES
    (gap,) = state.coverage.gap_list
    assert (gap.start, gap.reason) == (20 * BLOCK, "camera down")
    assert roll.events[0].detail == "frozen: the same image for 3 s"
    assert camera.counters["down: frozen"] == 1


def test_a_loom_that_stops_for_an_hour(inspector, tmp_path):
    state, camera, roll = inspect(inspector, tmp_path / "r.db", "stop@30:14000")
    assert summed(state) == LINES == state.coverage.lines_inspected
    assert roll.events == ()
    assert camera.counters == {}


def test_cloth_that_runs_back(inspector, tmp_path):
    state, camera, roll = inspect(inspector, tmp_path / "r.db", "reverse@30:12+reverse@60:2")
    assert summed(state) == LINES == state.coverage.lines_inspected
    assert state.coverage.frames_inspected > LINES // BLOCK
    assert roll.events == ()
    assert camera.counters == {}


def test_unplugged_from_the_start(inspector, tmp_path):
    state, _, roll = inspect(inspector, tmp_path / "r.db", "unplugged@0:8", waits_at_start=True)
    assert summed(state) == state.coverage.lines_inspected <= LINES - 8 * BLOCK
    assert [event.kind for event in roll.events] == ["camera down", "camera back"]


def test_everything_in_one_roll(inspector, tmp_path):
    faults = (
        "unplugged@5:3+frozen@20:2+stop@28:50+wrong_size@30:2+half_empty@40:2+black@50:3+unplugged@60:2"
    )
    state, _, _ = inspect(inspector, tmp_path / "r.db", faults)
    assert summed(state) == LINES
    assert {gap.reason for gap in state.coverage.gap_list} == {"camera down"}
    seen = state.coverage.lines_inspected // BLOCK
    assert 70 <= seen <= 100 - 14


def test_without_reconnect_the_run_ends_as_it_used_to(inspector):
    source = f"{LOOM},faults=unplugged@3:10".replace("speed_m_min=3", "speed_m_min=600")
    camera = watched_camera(choose_camera(source), EdgeConfig(camera=source, reconnect=False))
    state = Pipeline(Source(camera), Inspection(inspector, CLASSES)).run()
    assert isinstance(state.error, CameraLostError)


@pytest.mark.parametrize(
    "loom",
    ["loom:faults=frozen@3:4", "loom:live=true,faults=frozen", "loom:live=true,faults=tired@3:4"],
    ids=["not live", "no frames", "unknown"],
)
def test_faults_that_are_none(loom):
    with pytest.raises(ConfigError, match="faults"):
        choose_camera(loom)
