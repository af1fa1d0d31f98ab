"""Stopping over Modbus/TCP, against a real server: delivered, read back, lost, too late, taken back."""

from __future__ import annotations

import socket
import time

import pytest

from edge.cloth.defects import ClothDefect
from edge.config.machine import MachineSettings
from edge.config.stop import StopRule, StopSettings
from edge.core.errors import ConfigError, MachineError
from edge.decisions.stops import DELIVERED, MACHINE_BACK, MACHINE_LOST, NOT_DELIVERED, STOP, Stops
from edge.machine.choose import choose_line
from edge.machine.delivery import MachineNews, StopDelivery, StopRequest, StopResult
from edge.machine.trial import fire_once, probe_machine
from tests.patience import wait_for
from tests.unit.edge.machine.plc import COILS, HOLDING, INPUTS, Plc


@pytest.fixture(scope="module")
def served():
    with Plc() as plc:
        yield plc


@pytest.fixture
def plc(served):
    for function in (COILS, INPUTS, HOLDING):
        for address in range(16):
            served.write(function, address, 0)
    served.written.clear()
    return served


def machine(plc, **changes):
    fields = {"kind": "modbus", "port": plc.port, "coil": 3, "timeout_s": 0.3, "probe_s": 0.05}
    return MachineSettings(**{**fields, **changes})


def request(age_s=0.0):
    now_s = time.monotonic()
    return StopRequest("e1", now_s - age_s, now_s - age_s)


@pytest.mark.parametrize(
    ("changes", "function", "address", "value"),
    [
        ({}, COILS, 3, 1),
        ({"coil": None, "holding_register": 5, "register_value": 77}, HOLDING, 5, 77),
    ],
    ids=["coil", "register"],
)
def test_fire_and_release(plc, changes, function, address, value):
    line = choose_line(machine(plc, **changes))
    line.fire()
    assert plc.read(function, address) == value
    line.release()
    assert plc.read(function, address) == 0
    line.close()


def test_an_address_that_the_machine_does_not_have(plc):
    line = choose_line(machine(plc, coil=900))
    with pytest.raises(
        MachineError,
        match="refuses to write a coil: exception 2, illegal data address",
    ):
        line.fire()
    line.close()


def test_a_signal_that_does_not_stand(plc):
    """A PLC that takes the coil back at once: only without read-back is that a delivered stop."""
    line = choose_line(machine(plc))
    plc.takes_back = True
    with pytest.raises(MachineError, match="holds 0 where 1 was written"):
        line.fire()
    line.close()
    trusting = choose_line(machine(plc, read_back=False))
    trusting.fire()
    trusting.close()
    plc.takes_back = False


def test_the_machine_says_whether_it_runs(plc):
    settings = machine(plc, running_input=7)
    line = choose_line(settings)
    assert line.probe() is False
    plc.write(INPUTS, 7, 1)
    assert line.probe() is True
    line.close()
    assert probe_machine(settings).endswith("answers. It runs.")
    assert "does not say" in probe_machine(machine(plc))


def test_a_stop_is_delivered_and_taken_back(plc):
    released, settings = [], machine(plc, release_after_s=0.2)
    with StopDelivery(choose_line(machine(plc)), settings, released.append) as delivery:
        delivery.request(request())
        delivery.settle()
        (result,) = delivery.news()
        assert result.acknowledged_s is not None
        assert wait_for(lambda: plc.written == [(5, 3, [1]), (5, 3, [0])])
        assert wait_for(lambda: len(released) == 1)  # the audit log is told


def test_lost_and_found_again_with_a_stop_in_between():
    with Plc() as plc:
        settings = machine(plc, retries=20, give_up_s=5.0)
        with StopDelivery(choose_line(settings), settings) as delivery:
            assert wait_for(lambda: delivery.is_reachable)
            plc.down()
            assert wait_for(lambda: delivery.is_reachable is False)
            begin_s = time.monotonic()
            delivery.request(request())
            assert time.monotonic() - begin_s < 2.0  # nobody waits for the machine, which is away
            plc.up()
            delivery.settle()
            news = delivery.news()
            assert [type(one) for one in news] in (
                [MachineNews, MachineNews, StopResult],
                [MachineNews, StopResult],
            )
            assert news[-1].acknowledged_s is not None
        assert plc.read(COILS, 3) == 1


def test_what_cannot_be_delivered_is_given_up_and_said():
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts and never answers
        settings = MachineSettings(
            kind="modbus", port=deaf.getsockname()[1], coil=0, timeout_s=0.05, retries=1, probe_s=60
        )
        with StopDelivery(choose_line(settings), settings) as delivery:
            delivery.request(request())
            delivery.request(request(age_s=settings.give_up_s + 1))
            delivery.settle()
            tried, stale = [one for one in delivery.news() if isinstance(one, StopResult)]
    assert (tried.acknowledged_s, tried.tries) == (None, 2)
    assert "does not answer" in tried.problem
    assert (stale.acknowledged_s, stale.tries, stale.problem) == (None, 0, "it came too late")


def test_a_full_queue_is_said_at_once():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        settings = MachineSettings(
            kind="modbus", port=deaf.getsockname()[1], coil=0, timeout_s=0.2, retries=0, give_up_s=0.3
        )
        with StopDelivery(choose_line(settings), settings) as delivery:
            for _ in range(20):
                delivery.request(request())
            refused = [one for one in delivery.news() if "still waiting" in getattr(one, "problem", "")]
            assert len(refused) >= 14


@pytest.mark.parametrize("is_there", [True, False])
def test_the_events_of_a_stop(is_there):
    rule = StopRule(times=1)
    policy = StopSettings(mode="on", after_start_m=0, classes={"broken": rule})
    with Plc() as plc:
        settings = machine(plc, retries=1, timeout_s=0.1)
        if not is_there:
            plc.down()
        found = [ClothDefect("broken", 0.9, 0.1, 0.12, 0, 5)]
        with Stops(policy, ["broken"], StopDelivery(choose_line(settings), settings)) as stops:
            assert not stops.stands
            stops.placed(0.0, time.monotonic(), found, found)
            stops.settle()
            events = stops.events()
            kinds = [event.kind for event in events]
            assert stops.stands == is_there
    stop = events[0]
    outcome = next(one for one in events if one.kind in (DELIVERED, NOT_DELIVERED))
    assert stop.kind == STOP
    assert outcome.data["stop"] == stop.event_id
    if is_there:
        assert outcome.kind == DELIVERED
        assert 0 < outcome.data["latency_ms"] < 2000
        assert stops.as_json()["stop_latency_ms"]["p99"] > 0
    else:
        assert outcome.kind == NOT_DELIVERED
        assert MACHINE_LOST in kinds
        assert MACHINE_BACK not in kinds


def test_firing_once_for_the_electrician(plc):
    with pytest.raises(ConfigError, match="Add --yes"):
        fire_once(machine(plc), is_meant=False)
    assert plc.read(COILS, 3) == 0
    assert "acknowledged the stop after" in fire_once(machine(plc), is_meant=True)
    assert plc.read(COILS, 3) == 1
    with pytest.raises(MachineError, match="was not delivered"):
        fire_once(machine(plc, coil=900, retries=0), is_meant=True)
    with pytest.raises(ConfigError, match="No machine is set"):
        fire_once(MachineSettings(), is_meant=True)
