"""Modbus servers that go wrong: no thread dies, every stop is accounted for, each fault is one line."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from edge.app.roll_input import RollInput
from edge.config.machine import MachineSettings
from edge.core.errors import LoomsightError, MachineError
from edge.health.state import Health
from edge.machine.choose import choose_input, choose_line
from edge.machine.delivery import StopDelivery, StopRequest, StopResult
from edge.machine.trial import fire_once, probe_machine
from edge.pipeline.changes import RollChanges
from edge.process.supervised import watched_by
from tests.patience import wait_for
from tests.unit.edge.machine.bad_plc import MODES, Server

HARMLESS = {"replies twice"}
"""Against the protocol, and no doubt is left: the second reply belongs to no question."""

REFUSALS = {f"exception {code}" for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 255)}
"""Whole replies that come at once: nothing here has to wait for a time-out."""

STOPS = 2

SHORT_S, LONG_S = 0.05, 5.0
"""Time of a reply: short for a server that gives none, long for one that does, on a busy processor."""


def machine(server, **changes):
    fields = {"kind": "modbus", "port": server.port, "coil": 3, "timeout_s": SHORT_S, "probe_s": 0.02}
    return MachineSettings(**{**fields, "retries": 1, "give_up_s": 10.0, **changes})


def ask(delivery, number):
    now_s = time.monotonic()
    delivery.request(StopRequest(f"stop {number}", now_s, now_s))
    delivery.settle()


def results(delivery):
    return [one for one in delivery.news() if isinstance(one, StopResult)]


def is_delivered_now(delivery):
    ask(delivery, "again")
    (last,) = results(delivery)
    return last.acknowledged_s is not None


def is_taken(mode, *, read_back):
    return mode in HARMLESS or (mode == "does not follow" and not read_back)


@pytest.mark.parametrize("read_back", [True, False], ids=["read back", "not read back"])
@pytest.mark.parametrize("mode", MODES)
def test_every_stop_is_accounted_for_and_the_thread_goes_on(mode, read_back):
    """Stops while the server goes wrong, then one when it is right again: that one is delivered."""
    health = Health(60.0)
    with Server(mode) as server:
        replies = mode in REFUSALS or is_taken(mode, read_back=read_back)
        timeout_s = LONG_S if replies else SHORT_S
        settings = machine(server, read_back=read_back, release_after_s=60.0, timeout_s=timeout_s)
        with watched_by(health.helpers), StopDelivery(choose_line(settings), settings) as delivery:
            for number in range(STOPS):
                ask(delivery, number)
            told = results(delivery)
            assert [one.request.event_id for one in told] == [f"stop {number}" for number in range(STOPS)]
            is_delivered = [one.acknowledged_s is not None for one in told]
            assert is_delivered == [is_taken(mode, read_back=read_back)] * STOPS
            assert all(one.problem for one in told if one.acknowledged_s is None)
            assert health.verdict().reasons == ()
            server.mode = None
            assert wait_for(lambda: is_delivered_now(delivery))
            assert server.memory[3] != 0
            assert wait_for(lambda: delivery.is_reachable)
        assert server.memory[3] == 0  # taken back at the end, before its time
    assert health.helpers.as_json() == {"failures": {}, "dead": []}


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_goes_wrong_is_one_line_for_the_electrician(mode):
    with Server(mode) as server:
        settings = machine(server, retries=0)
        for attempt in (lambda: probe_machine(settings), lambda: fire_once(settings, is_meant=True)):
            try:
                said = attempt()
            except MachineError as error:
                said = str(error)
            assert "\n" not in said
            assert "Error:" not in said  # no name of a Python class
        if mode not in HARMLESS:
            with pytest.raises(MachineError):
                fire_once(settings, is_meant=True)


@pytest.mark.parametrize("mode", MODES)
def test_the_roll_input_goes_on_and_asks_for_no_roll_that_was_not_signalled(mode):
    asked = []
    changes = RollChanges(asked.append)
    health = Health(60.0)
    with Server(mode) as server:
        settings = machine(server, roll_input=2, roll_hold_s=0.0)
        with watched_by(health.helpers), RollInput(choose_input(settings), settings, changes) as roll:
            if mode not in (*HARMLESS, *IN_WRITES_ALONE):
                seen = []
                assert wait_for(lambda: seen.extend(kinds(roll)) or "roll input lost" in seen)
            server.mode = None
            server.memory[2] = 0
        with closing(choose_line(machine(server, timeout_s=LONG_S))) as line:
            assert line.discrete_input(2) is False
    assert asked == []
    assert health.helpers.as_json() == {"failures": {}, "dead": []}


IN_WRITES_ALONE = {
    "echoes another address",
    "echoes another value",
    "a coil neither on nor off",
    "does not follow",
}


def kinds(roll):
    return [event.kind for event in roll.events()]


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("no data bytes", "0 data bytes, 0 counted, where 1 belong"),
        ("counts more than it sends", "1 data bytes, 5 counted, where 1 belong"),
        ("other function", "a reply to function 3 where 1 was asked for"),
        ("never replies", "no reply within 0.05 s."),
        ("other protocol", "what came is none: 00 01 00 07"),
        ("a web server", "what came is none: 48 54 54 50 2f"),
        ("closes at accept", "closes the connection"),
        ("exception 6", "exception 6, server device busy"),
        ("exception 11", "exception 11, gateway target device failed to respond"),
        ("exception 255", "exception 255, not a code of the protocol"),
    ],
)
def test_what_is_said_of_a_reply(mode, said):
    timeout_s = SHORT_S if mode == "never replies" else 0.5
    with Server(mode) as server, pytest.raises(LoomsightError) as raised:
        probe_machine(machine(server, timeout_s=timeout_s))
    assert said in str(raised.value)


def test_a_machine_that_is_not_there_is_told_from_one_that_refuses_the_connection():
    with Server() as server:
        settings = machine(server)
    with pytest.raises(MachineError, match="Connection refused"):
        probe_machine(settings)
    with pytest.raises(MachineError, match=r"not known|resolution"):
        probe_machine(settings.model_copy(update={"host": "plc.invalid"}))


@pytest.mark.parametrize("release_after_s", [None, 0.2])
def test_a_signal_that_a_killed_run_left_is_said_and_taken_back_where_that_is_wanted(release_after_s):
    with Server() as server:
        server.memory[3] = 0xFF00
        settings = machine(server, release_after_s=release_after_s, timeout_s=LONG_S)
        assert "The signal to stop stands." in probe_machine(settings)
        with StopDelivery(choose_line(settings), settings) as delivery:
            assert wait_for(lambda: delivery.is_reachable)
            assert wait_for(lambda: not server.memory[3] or release_after_s is None)
            (found,) = delivery.news()
        then = "somebody has to take it back" if release_after_s is None else "it is taken back in 0.2 s"
        assert then in found.detail
        assert bool(server.memory[3]) == (release_after_s is None)


def test_a_stop_that_may_have_arrived_is_taken_back_though_nobody_acknowledged_it():
    with Server("echoes another value") as server:
        settings = machine(server, release_after_s=0.1, read_back=False, timeout_s=LONG_S)
        server.mode = "half a frame, then it closes"  # what was written is kept, the reply is lost
        with StopDelivery(choose_line(settings), settings) as delivery:
            ask(delivery, 1)
            assert results(delivery)[0].acknowledged_s is None
            assert server.memory.log[0] == (3, 0xFF00)
            server.mode = None
            assert wait_for(lambda: server.memory[3] == 0)
