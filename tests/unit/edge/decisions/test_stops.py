"""Stops: what confirms a defect, what holds a stop back, which ids an event names."""

from __future__ import annotations

import pytest

from edge.cloth.defects import ClothDefect
from edge.cloth.merger import DefectMerger
from edge.config.device import load_camera
from edge.config.stop import StopRule, StopSettings
from edge.core.errors import ConfigError
from edge.decisions.choose import choose_stops
from edge.decisions.policy import BlockOnRoll, StopPolicy
from edge.decisions.stops import HELD_BACK, JOINED, WOULD_BE_STOP, Stops

NAMES = ("wrinkle", "drop", "broken")


def piece(start_m, length_mm=10.0, left_mm=100.0, score=0.9, name="broken"):
    return ClothDefect(name, score, start_m, start_m + length_mm / 1000, left_mm, left_mm + 5)


def policy(**changes):
    rule = {"times": 3, "within_m": 0.5, "running_mm": 300.0}
    own = {key: changes.pop(key) for key in list(changes) if key in StopRule.model_fields}
    fields = {"after_start_m": 0.0, "classes": {"broken": StopRule(**{**rule, **own})}, **changes}
    return StopSettings(**fields)


def decisions(settings, blocks, step_s=1.0):
    """Decide about blocks of 0.1 m; what one shows is each time a defect of its own."""
    machine = StopPolicy(settings, NAMES)
    return [
        machine.decide(BlockOnRoll(number * 0.1, number * 0.1 + 0.1, found, found), number * step_s)
        for number, found in enumerate(blocks)
    ]


def test_detections_confirm_each_other_within_some_metres():
    found = decisions(policy(), [[piece(0.0)], [], [piece(0.2)], [], [piece(0.4)]])
    assert [bool(one) for one in found] == [False] * 4 + [True]
    assert found[-1].reason == "3 detections of broken within 0.40 m"
    assert (found[-1].at_m, len(found[-1].evidence)) == (pytest.approx(0.41), 3)


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param([[piece(0.0)], [piece(0.1)]], id="too few"),
        pytest.param([[piece(0.0)], *[[]] * 3, [piece(0.4)], [], [piece(0.6)]], id="too far apart"),
        pytest.param([[piece(n / 10, score=0.4)] for n in range(5)], id="too faint"),
        pytest.param([[piece(n / 10, name="drop")] for n in range(5)], id="another class"),
        pytest.param([[] for _ in range(5)], id="nothing"),
    ],
)
def test_what_does_not_stop_the_machine(blocks):
    assert decisions(policy(), blocks) == [None] * len(blocks)


def test_severity_is_that_of_the_whole_defect():
    machine = StopPolicy(policy(times=1, least_points=2), NAMES)
    small, large = piece(0.0), piece(0.0, 100)
    assert machine.decide(BlockOnRoll(0.0, 0.1, [small], [small]), 0.0) is None
    assert machine.decide(BlockOnRoll(0.1, 0.2, [piece(0.1)], [large, piece(0.05, 90)]), 0.0) is not None
    assert (
        StopPolicy(policy(times=1, least_mm=50), NAMES).decide(BlockOnRoll(0.0, 0.1, [small], [small]), 0.0)
        is None
    )


def test_a_defect_that_runs_on_is_confirmed_by_itself():
    machine, merger, reasons = StopPolicy(policy(times=100), NAMES), DefectMerger(), []
    for number in range(8):
        part = piece(number * 0.1, 100)
        complete = merger.add([part], (number + 1) * 0.1)
        found = machine.decide(
            BlockOnRoll(number * 0.1, number * 0.1 + 0.1, [part], [*complete, *merger.growing]), 0.0
        )
        reasons.append(found.reason if found and not found.held_back else None)
    assert reasons[:3] == [None, None, "broken runs on for 300 mm"]
    assert sum(reason is not None for reason in reasons) == 1  # the next is 1 m further on


def test_near_the_start_nothing_stops():
    blocks = [[piece(number / 10)] for number in range(15)]
    found = decisions(policy(times=1, after_start_m=1.0), blocks)
    assert next(number for number, one in enumerate(found) if one) == 10


def test_limits_hold_stops_back_and_say_which():
    blocks = [[piece(number / 10)] for number in range(25)]
    found = decisions(policy(times=1, apart_m=1.0, most_per_hour=2), blocks)
    stops = [one.at_m for one in found if one and one.held_back is None]
    assert stops == pytest.approx([0.01, 1.01])
    assert {one.held_back for one in found[1:10]} == {"distance"}
    assert found[-1].held_back == "rate"
    later = decisions(policy(times=1, apart_m=0.0, most_per_hour=2), blocks, step_s=1800.0)
    assert all(one.held_back is None for one in later)


def run_through(stops, blocks):
    """Feed blocks of 0.1 m through a merger as the pipeline does; return defect ids in the record."""
    merger, recorded = DefectMerger(), []
    for number, found in enumerate(blocks):
        complete = merger.add(found, (number + 1) * 0.1)
        stops.placed(number * 0.1, 0.0, found, [*complete, *merger.growing])
        recorded += [(stops.id_of(one), one) for one in complete]
    return recorded + [(stops.id_of(one), one) for one in merger.finish()]


def test_an_event_names_defects_as_the_record_does():
    """Two are complete and recorded before the third confirms them; that one is still growing."""
    stops = Stops(policy(), NAMES)
    blocks = [[piece(0.0)], [piece(0.15)], [], [piece(0.395)], [piece(0.4, 60)], []]
    recorded = run_through(stops, blocks)
    (event,) = [one for one in stops.events() if one.kind == WOULD_BE_STOP]
    assert event.data["defects"] == [event_id for event_id, _ in recorded]
    assert len(set(event.data["defects"])) == 3
    assert all(event_id in event.detail for event_id, _ in recorded)


def test_two_named_defects_that_turn_out_to_be_one():
    stops = Stops(policy(times=2), NAMES)
    left, right = piece(0.01, left_mm=0), piece(0.02, left_mm=100)
    bridge = ClothDefect("broken", 0.9, 0.0, 0.1, 0.0, 105.0)
    stops.placed(0.0, 0.0, [left, right], [left, right])
    kept = stops.id_of(bridge)
    stop, joined = stops.events()
    assert stop.data["defects"][0] == kept == joined.data["id"]
    assert joined.data["part"] == stop.data["defects"][1]


@pytest.mark.parametrize("times", [2, 3, 4, 6])
def test_what_a_stop_names_is_recorded_or_joined_to_what_is_also_where_it_comes_again_and_again(times):
    stops, merger, recorded = (
        Stops(policy(times=times, within_m=2.0, apart_m=0.0), NAMES),
        DefectMerger(),
        [],
    )
    for number in range(12):
        found = [piece(number * 0.1 + 0.02, score=0.6)]
        complete = merger.add(found, (number + 1) * 0.1, view_mm=400.0)
        stops.placed(number * 0.1, 0.0, found, [*complete, *merger.growing])
        recorded += [stops.id_of(one) for one in complete]
        for pair in merger.recurring.take_again():
            stops.comes_again(*pair)
    recorded += [stops.id_of(one) for one in merger.finish()]
    for pair in merger.recurring.take_again():
        stops.comes_again(*pair)
    events = stops.events()
    known = {*recorded, *(one.data["part"] for one in events if one.kind == JOINED)}
    named = {event_id for one in events if one.kind == WOULD_BE_STOP for event_id in one.data["defects"]}
    assert named
    assert named <= known
    assert len(recorded) == 1
    assert merger.recurring.folded == 11


def test_held_back_stops_are_told_once_in_a_row():
    stops = Stops(policy(times=1, apart_m=1.0), NAMES)
    run_through(stops, [[piece(number / 10)] for number in range(9)])
    kinds = [event.kind for event in stops.events()]
    assert kinds == [WOULD_BE_STOP, HELD_BACK]
    assert stops.as_json()["would_be_stops"] == 1
    assert stops.as_json()["decision_ms"]["p99"] > 0


def config(tmp_path, text, **flags):
    (tmp_path / "box.toml").write_text(text, encoding="utf-8")
    return load_camera(tmp_path / "box.toml", {}, flags).config


RULES = "[stop]\nmost_per_hour = 3\n[stop.classes.broken]\ntimes = 2\n"
MACHINE = '[machine]\nkind = "modbus"\ncoil = 0\n'


def test_a_flag_changes_the_mode_and_leaves_the_table(tmp_path):
    stop = config(tmp_path, RULES, stop="on").stop
    assert (stop.mode, stop.most_per_hour, stop.classes["broken"].times) == ("on", 3, 2)
    assert load_camera(None, {"LOOMSIGHT_EDGE_STOP": '{"mode": "off"}'}, {}).config.stop.mode == "off"
    assert load_camera(None, {}, {}).config.stop.mode == "shadow"


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("", {"stop": "always"}, "the command line: stop.mode = 'always' is not permitted"),
        ("[stop]\nmost_per_minute = 1\n", {}, "there is no setting 'stop.most_per_minute'"),
        ('[machine]\nkind = "modbus"\n', {}, "either coil or holding_register"),
        ('[machine]\nkind = "gpio"\n', {}, "gpio needs line"),
    ],
    ids=["mode", "misspelt", "no coil", "no line"],
)
def test_settings_that_are_refused(tmp_path, text, flags, said):
    with pytest.raises(ConfigError) as refused:
        config(tmp_path, text, **flags)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("[stop.classes.hole]\n", {}, "is for no class of the model"),
        (MACHINE, {"stop": "on", "roll_record": "r.db"}, "which classes may stop the machine"),
        (RULES + MACHINE, {"stop": "on"}, "Add --roll-record"),
        (RULES, {"stop": "on", "roll_record": "r.db"}, "No machine is set"),
    ],
    ids=["unknown class", "no rules", "no record", "no machine"],
)
def test_a_stop_that_could_not_be_meant(tmp_path, text, flags, said):
    with pytest.raises(ConfigError) as refused:
        choose_stops(config(tmp_path, text, **flags), NAMES)
    assert said in str(refused.value)


def test_off_decides_nothing(tmp_path):
    assert choose_stops(config(tmp_path, "", stop="off"), NAMES) is None
