"""Lines of this device: the real package up to the chip, which is played."""

from __future__ import annotations

import errno

import gpiod
import pytest
from gpiod.line import Direction, Value
from pydantic import ValidationError

from edge.app.roll_input import RollInput
from edge.config.machine import MachineSettings
from edge.core.errors import MachineError
from edge.machine.choose import choose_input, choose_line
from tests.unit.edge.app.test_roll_input import Changes

STOP, ROLL = 17, 27


class Chip:
    """Play a chip: `levels` is what its lines are, high or low."""

    def __init__(self):
        self.levels, self.owned, self.error, self.is_stuck = {STOP: False, ROLL: False}, {}, None, False

    def request_lines(self, path, consumer, config):
        assert (path, consumer) == ("/dev/gpiochip0", "loomsight")
        ((line, settings),) = config.items()
        if line in self.owned:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.owned[line] = settings
        if settings.direction is Direction.OUTPUT:
            self.set_value(line, settings.output_value)
        return Request(self, line)

    def set_value(self, line, value):
        if not self.is_stuck:
            self.levels[line] = (value is Value.ACTIVE) != self.owned[line].active_low

    def get_value(self, line):
        return Value.ACTIVE if self.levels[line] != self.owned[line].active_low else Value.INACTIVE


class Request:
    """One line of the chip, as gpiod hands it out."""

    def __init__(self, chip, line):
        self._chip, self._line = chip, line

    def __getattr__(self, name):
        if self._chip.error:
            raise self._chip.error
        return getattr(self._chip, name)

    def release(self):
        del self._chip.owned[self._line]


@pytest.fixture
def chip(monkeypatch):
    chip = Chip()
    monkeypatch.setattr(gpiod, "request_lines", chip.request_lines)
    return chip


def settings(**changes):
    return MachineSettings(kind="gpio", line=STOP, roll_input=ROLL, **changes)


@pytest.mark.parametrize("active_low", [False, True])
def test_a_stop_switches_the_line_and_takes_it_back(chip, active_low):
    line = choose_line(settings(active_low=active_low))
    line.probe()
    assert chip.levels[STOP] is active_low
    line.fire()
    assert chip.levels[STOP] is not active_low
    line.release()
    assert chip.levels[STOP] is active_low
    line.close()
    assert not chip.owned


def test_a_line_that_does_not_follow_is_no_stop(chip):
    line = choose_line(settings())
    line.probe()
    chip.is_stuck = True
    with pytest.raises(MachineError, match="does not follow"):
        line.fire()
    line.close()
    choose_line(settings(read_back=False)).fire()


@pytest.mark.parametrize("active_low", [False, True])
def test_an_input_is_read(chip, active_low):
    line = choose_input(settings(roll_active_low=active_low))
    for level in (True, False, True):
        chip.levels[ROLL] = level
        assert line.read() is (level != active_low)


def test_a_line_that_is_lost_is_taken_again(chip):
    line = choose_input(settings())
    line.read()
    chip.error = OSError(errno.ENODEV, "No such device")
    with pytest.raises(MachineError, match=r"line 27: .*No such device"):
        line.read()
    chip.error, chip.levels[ROLL] = None, True
    assert line.read() is True


def test_a_line_of_another_program_is_not_taken(chip):
    choose_line(settings()).probe()
    with pytest.raises(MachineError, match=r"line 17 cannot be taken: .*busy"):
        choose_line(settings()).fire()


def test_there_is_no_such_chip(tmp_path):
    """Nothing is played here."""
    for path in (tmp_path / "gpiochip9", "/dev/null"):
        missing = settings(chip=str(path))
        for use in (choose_line(missing).fire, choose_input(missing).read):
            with pytest.raises(MachineError, match=r"cannot be taken: .*No such"):
                use()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "gpio"}, "gpio needs line"),
        ({"roll_input": 3}, "roll_input needs a kind"),
        ({"kind": "gpio", "line": 3, "roll_input": 3}, "are the same"),
    ],
)
def test_settings_that_cannot_be(values, says):
    with pytest.raises(ValidationError, match=says):
        MachineSettings(**values)


def test_the_line_begins_a_roll(chip):
    line, changes, now_s = choose_input(settings()), Changes(), iter(range(100))
    signal = RollInput(line, settings(roll_hold_s=1), changes, clock=lambda: float(next(now_s)))
    for level in (False, False, True, True, True):
        chip.levels[ROLL] = level
        signal.look()
    assert changes.asked == [("signal", 1)]
