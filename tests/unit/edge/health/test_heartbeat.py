"""The heartbeat changes in a real Modbus server while inspection goes on, and only then."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from edge.cameras.protocol import Frame
from edge.config.machine import MachineSettings
from edge.health.heartbeat import HEARTBEAT_BACK, HEARTBEAT_LOST, Heartbeat
from edge.health.state import Health
from edge.machine.modbus import ModbusLine
from edge.pipeline.run_state import RunState
from tests.unit.edge.machine.plc import COILS, HOLDING, Plc


class Clock:
    """Tell the time that a test sets."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


class Stands:
    """A loom that is known to stand, or not."""

    mode, delivery = "on", None

    def __init__(self, stands):
        self.stands = stands


@pytest.fixture
def plc():
    with Plc() as served:
        yield served


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(60.0, clock=clock)


def machine(plc, **changes):
    fields = {"kind": "modbus", "port": plc.port, "coil": 3, "heartbeat_register": 9, "timeout_s": 0.3}
    return MachineSettings(**{**fields, **changes})


@pytest.fixture
def heartbeat(plc):
    with ExitStack() as stack:

        def made(cameras, **changes):
            settings = machine(plc, **changes)
            line = stack.enter_context(closing(ModbusLine(settings)))
            return Heartbeat(line, settings, cameras)

        yield made


def finish_frame(health, clock):
    clock.now_s += 0.1
    state = RunState()
    state.last_frame, state.silent_s = Frame(0, np.zeros((4, 4), np.uint8), 0.0, "test"), 0.0
    health.update(state, [])


def test_finished_frames_make_the_register_count(plc, heartbeat, health, clock):
    beats, values = heartbeat({None: health}), []
    assert not beats.look()  # before the first frame
    for _ in range(3):
        finish_frame(health, clock)
        assert beats.look()
        values.append(plc.read(HOLDING, 9))
        assert not beats.look()  # no frame since
        assert plc.read(HOLDING, 9) == values[-1]
    assert values == [1, 2, 3]


def test_a_coil_changes_with_each_beat(plc, heartbeat, health, clock):
    beats, values = heartbeat({None: health}, heartbeat_register=None, heartbeat_coil=9), []
    for _ in range(4):
        finish_frame(health, clock)
        beats.look()
        values.append(plc.read(COILS, 9))
    assert values == [1, 0, 1, 0]


def test_a_loom_that_is_known_to_stand_feeds_it_without_frames(plc, heartbeat, health, clock):
    health.stops = Stands(True)
    beats = heartbeat({None: health})
    assert [beats.look(), beats.look()] == [True, True]
    health.stops = Stands(False)
    assert not beats.look()
    assert plc.read(HOLDING, 9) == 2


def test_every_camera_has_to_feed_it_but_one_that_is_through(plc, heartbeat, clock):
    left, right = Health(60.0, clock=clock), Health(60.0, clock=clock)
    beats = heartbeat({"left": left, "right": right})
    finish_frame(left, clock)
    assert not beats.look()
    finish_frame(right, clock)
    assert beats.look()
    right.is_over = True
    finish_frame(left, clock)
    assert beats.look()
    right.failure = "it failed"
    finish_frame(left, clock)
    assert not beats.look()


def test_nothing_that_healthz_gives_as_a_reason_lets_it_beat(plc, heartbeat, health, clock, monkeypatch):
    beats = heartbeat({None: health})
    monkeypatch.setattr(type(health.helpers), "dead", ["machine"])
    finish_frame(health, clock)
    assert not beats.look()
    assert plc.read(HOLDING, 9) == 0


def test_a_machine_that_does_not_take_it_is_an_event_and_a_warning_until_it_does(
    plc, heartbeat, health, clock
):
    beats = heartbeat({None: health}, heartbeat_register=900)
    for _ in range(3):
        finish_frame(health, clock)
        beats.look()
    assert "the machine does not take the heartbeat" in health.verdict().warnings
    (event,) = health.helpers.events()
    assert (event.kind, "illegal data address" in event.detail) == (HEARTBEAT_LOST, True)
    back = heartbeat({None: health})
    finish_frame(health, clock)
    back.look()
    assert [one.kind for one in health.helpers.events()] == [HEARTBEAT_BACK]
    assert health.verdict().warnings == ()


def test_it_beats_by_itself_and_stops_when_frames_stop(plc, heartbeat, health, clock):
    with heartbeat({None: health}, heartbeat_s=0.1):
        end_s = time.monotonic() + 10
        while plc.read(HOLDING, 9) < 3 and time.monotonic() < end_s:
            finish_frame(health, clock)
            time.sleep(0.01)
        last = plc.read(HOLDING, 9)
        assert last >= 3
        time.sleep(0.35)
        assert plc.read(HOLDING, 9) in (last, last + 1)  # the last frame had its beat


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heartbeat_coil": 4}, "exclude each other"),
        ({"heartbeat_register": None, "heartbeat_coil": 3}, "the same"),
        ({"coil": None, "holding_register": 9}, "the same"),
        ({"kind": "gpio", "line": 17}, "needs kind"),
        ({"register_value": 0}, "greater than or equal to 1"),
    ],
    ids=["both", "coil of the stop", "register of the stop", "gpio", "a value that changes nothing"],
)
def test_settings_that_make_no_sense(plc, changes, said):
    with pytest.raises(ValidationError, match=said):
        machine(plc, **changes)


def test_a_real_run_beats(plc, tmp_path):
    from edge.app.run import run
    from edge.config.edge import EdgeConfig

    config = EdgeConfig(
        camera="loom:seed=3,live=true,width_px=256,lines_per_block=128,length_m=100",
        mm_per_px=0.2,
        seconds=3.0,
        stop={"mode": "shadow"},
        machine=machine(plc, heartbeat_s=0.1).model_dump(),
        summary=Path(tmp_path) / "summary.json",
    )
    summary = run(config)
    assert summary["helpers"] == {"failures": {}, "dead": []}
    before = plc.read(HOLDING, 9)
    assert before >= 3
    time.sleep(0.3)
    assert plc.read(HOLDING, 9) == before
