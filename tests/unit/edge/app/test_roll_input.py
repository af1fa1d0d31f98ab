"""The signal for the next roll: a bouncing input, a machine that is away, and a real Modbus server."""

from __future__ import annotations

import pytest

from edge.app.roll_input import RollInput
from edge.config.machine import MachineSettings
from edge.core.errors import ConfigError, MachineError
from edge.machine.roll_input import ModbusInput
from tests.unit.edge.machine.plc import INPUTS, Plc


class Script:
    """An input that reads as it is told, ten times a second; `x` is a machine that does not answer."""

    name = "input 7"

    def __init__(self, script):
        self._script = iter(script)
        self.now_s = 0.0

    def read(self):
        self.now_s += 0.1
        sign = next(self._script)
        if sign == "x":
            raise MachineError("The machine does not answer.", "Check the cable.")
        return sign == "1"

    def close(self):
        pass


class Changes:
    """Count what is asked; the mark is the number of marks."""

    def __init__(self, error=None):
        self.marks, self.asked, self._error = 0, [], error

    def mark(self):
        self.marks += 1
        return self.marks

    def ask(self, request, mark):
        if self._error:
            raise self._error
        self.asked.append((request.by, mark))


def looked(script, changes=None, hold_s=0.25):
    line, changes = Script(script), changes or Changes()
    settings = MachineSettings(kind="modbus", coil=1, roll_input=7, roll_hold_s=hold_s)
    signal = RollInput(line, settings, changes, clock=lambda: line.now_s)
    for _ in script:
        signal.look()
    return changes, signal


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        ("0000", []),
        ("00001111", [("signal", 1)]),
        ("000011111111111", [("signal", 1)]),
        ("1111111", []),  # set at the start: nobody saw it rise
        ("1111000011110000", [("signal", 2)]),
        ("0000101010111100", [("signal", 4)]),  # it bounces; the roll ends where it rose for good
        ("0000110000001100", []),
        ("000011110011110000", [("signal", 1)]),  # too short a pause between
        ("00001111000011110000", [("signal", 1), ("signal", 2)]),
        ("0000xx1111", []),  # it may have risen long ago
        ("0000xx00001111", [("signal", 1)]),
    ],
)
def test_one_edge_is_one_roll(script, asked):
    assert looked(script)[0].asked == asked


def test_a_machine_that_is_away_is_told_once_and_a_refusal_too():
    _, signal = looked("00xxxx0000")
    assert [event.kind for event in signal.events()] == ["roll input lost", "roll input back"]
    assert signal.events() == []
    _, signal = looked("00001111", Changes(ConfigError("Too many.", "Wait.")))
    assert [(event.kind, event.detail) for event in signal.events()] == [("roll not changed", "Too many.")]


def test_a_real_input_is_read_on_a_connection_of_its_own():
    with Plc() as plc:
        line = ModbusInput(MachineSettings(kind="modbus", port=plc.port, coil=3, roll_input=7))
        assert line.read() is False
        plc.write(INPUTS, 7, 1)
        assert line.read() is True
        plc.down()
        with pytest.raises(MachineError):
            line.read()
        line.close()
