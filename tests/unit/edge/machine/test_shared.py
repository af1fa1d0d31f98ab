"""A machine that two cameras stop: one connection, each camera its own stops, both know that it stands."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from edge.cloth.defects import ClothDefect
from edge.config.machine import MachineSettings
from edge.config.stop import StopRule, StopSettings
from edge.core.errors import MachineError
from edge.decisions.stops import DELIVERED, MACHINE_LOST, STOP, Stops
from edge.machine import shared
from edge.machine.shared import Machines

POLICY = StopSettings(mode="on", after_start_m=0, classes={"broken": StopRule(times=1)})
FOUND = [ClothDefect("broken", 0.9, 0.1, 0.12, 0, 5)]


class Line:
    """Stand for a wire: it counts, and is cut when a test says so."""

    name, may_stand = "wire", False

    def __init__(self):
        self.fired, self.is_cut, self.is_closed = 0, False, False

    def fire(self):
        self.fired += 1

    def release(self):
        pass

    def stands(self):
        return False

    def probe(self):
        if self.is_cut:
            raise MachineError("The wire is cut.", "Mend it.")
        return None

    def close(self):
        self.is_closed = True


@pytest.fixture
def wires(monkeypatch):
    made = []

    def choose(settings):
        made.append(Line())
        return made[-1]

    monkeypatch.setattr(shared, "choose_line", choose)
    return made


def kinds(stops, count):
    """Return the kinds of so many events, as they come."""
    found, end_s = [], time.monotonic() + 10
    while len(found) < count and time.monotonic() < end_s:
        found += [event.kind for event in stops.events()]
        time.sleep(0.005)
    return found


def test_two_cameras_stop_one_machine(wires):
    settings = MachineSettings(kind="gpio", line=1, probe_s=0.05)
    with ExitStack() as stack:
        machines = Machines(stack)
        left, right = (Stops(POLICY, ["broken"], machines.delivery(settings)) for _ in range(2))
        other = Stops(POLICY, ["broken"], machines.delivery(MachineSettings(kind="gpio", line=2)))
        with left, right, other:
            left.placed(0.0, time.monotonic(), FOUND, FOUND)
            left.settle()
            assert right.events() == []  # the stop is not its own, and yet it knows that the loom stands
            assert kinds(left, 2) == [STOP, DELIVERED]
            assert (left.stands, right.stands, other.stands) == (True, True, False)
            right.placed(0.0, time.monotonic() + 60, FOUND, FOUND)  # a frame of a minute later
            assert not right.stands
            right.settle()
            assert kinds(right, 2) == [STOP, DELIVERED]
            wires[0].is_cut = True
            assert kinds(left, 1) == kinds(right, 1) == [MACHINE_LOST]
            assert other.events() == []
        assert len(wires) == 2
        assert [wire.fired for wire in wires] == [2, 0]
        assert not wires[0].is_closed
    assert wires[0].is_closed
