"""Addresses, tokens, snapshots, troubles and the image of the cloth: values in, values out."""

from __future__ import annotations

import re
import resource
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

import edge
from edge.cameras.health import FaultKind
from edge.cloth.found import DefectsFound
from edge.cloth.grading import Grade
from edge.cloth.optics import OpticsWatch
from edge.cloth.sums import CoverageSums
from edge.cloth.width import Across, Strip
from edge.config.device import load_camera
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError, OutputError
from edge.core.palette import class_colour
from edge.health.state import healthz
from edge.page import live as live_module
from edge.page.cloth import WIDEST_PX, ClothImage, drawn, scaled
from edge.page.grade import GradeSoFar, meaningful_m2
from edge.page.live import MOST_BLOCKS, InspectedBlock, shown_together
from edge.page.past import MOST_PAST, Past
from edge.page.roll_grade import RollGrade
from edge.page.rolls import Known, changes
from edge.page.server import page_token
from edge.page.snapshot import WINDOW_S, Recent, RunCounts
from edge.page.state import StateText, article_of, state_json
from edge.page.trouble import CAMERA_DOWN, HELPERS, Trouble, troubles
from edge.pipeline.run_state import RunState
from edge.process.supervised import HelperThread, watched_by
from edge.roll.reading import read_roll
from edge.roll.report import report_page
from edge.web.address import Address, parse_address
from tests.unit.edge.page.pages import (
    CLASSES,
    changed,
    defect,
    frame,
    passed,
    plain_page,
    recorded_page,
    show,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("loom-7.mill:65535", ("loom-7.mill", 65535)),
        ("[::1]:8080", ("::1", 8080)),
    ],
)
def test_an_address(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "host", ":80", "host:", "1:2:3", "::1:80", "65536", "-1", "a b:80", "\u0668\u0660"]
)
def test_what_is_no_address(text):
    with pytest.raises(ConfigError, match=r"\[HOST:\]PORT"):
        parse_address(text)


def test_which_addresses_stay_on_this_machine():
    assert [Address(host, 1).is_local for host in ("127.0.0.1", "localhost", "::1")] == [True] * 3
    assert [Address(host, 1).is_local for host in ("0.0.0.0", "::", "10.0.0.7", "box")] == [False] * 4
    assert Address("::1", 0).url(80) == "http://[::1]:80/"


def test_a_page_in_the_settings_may_be_a_number(tmp_path):
    file = tmp_path / "box.toml"
    file.write_text('page = 8080\npage_hosts = ["loom7.mill"]\n')
    config = load_camera(file, {"LOOMSIGHT_EDGE_PAGE_HOSTS": '["a.b", "c"]'}, {}).config
    assert (config.page, config.page_hosts) == ("8080", ("a.b", "c"))
    assert EdgeConfig().page is None
    with pytest.raises(ConfigError, match="page_hosts"):
        load_camera(None, {"LOOMSIGHT_EDGE_PAGE_HOSTS": '["a b"]'}, {})


def test_a_new_token_with_every_start_and_one_that_lasts(tmp_path):
    assert page_token(None) != page_token(None)
    file = tmp_path / "secrets" / "token"
    token = page_token(file)
    assert len(token) >= 32
    assert page_token(file) == token
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "holds no token"),
        ("short", 0o600, "holds no token"),
        ("two words that are long enough", 0o600, "holds no token"),
        ("a" * 30, 0o644, "chmod 600"),
        ("ä" * 30, 0o600, "holds no token"),
    ],
)
def test_a_file_that_is_no_token(tmp_path, text, mode, said):
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    with pytest.raises(ConfigError, match=said):
        page_token(file)


def test_a_full_disk_leaves_no_empty_token_file_that_the_next_start_would_refuse(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OutputError, match="Cannot write"):
            page_token(tmp_path / "token")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
    assert len(page_token(tmp_path / "token")) >= 32


def test_a_token_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        page_token(tmp_path / "file" / "token")


def test_counts_are_those_of_the_last_seconds():
    recent = Recent()
    grown = [recent.add(RunCounts(float(s), 10 * s, 0, s, 0, 0, 0.5 * s)) for s in range(20)]
    assert grown[0] == RunCounts(0, 0, 0, 0, 0, 0, 0)
    assert grown[-1].at_s == pytest.approx(WINDOW_S, abs=1)
    assert grown[-1].frames == grown[-1].at_s * 10


def test_a_snapshot_says_how_the_run_stands(tmp_path):
    with recorded_page(tmp_path) as (live, _, _):
        state = state_json(live, live.snapshot.taken_s)
    assert (state["phase"], state["camera"]["state"]) == ("running", "ok")
    assert (state["along_m"], state["coverage"], state["defects"]) == (
        1.2,
        pytest.approx(10 / 12, abs=1e-6),
        3,
    )
    assert state["gaps_m"] == {"lost lines": 0.2}
    assert state["age_ms"]["p50"] == pytest.approx(20, rel=0.01)
    assert (state["image"], state["classes"], state["can_review"]) == (1, list(CLASSES), True)


def test_inspection_is_asked_for_a_snapshot_four_times_a_second_and_never_waits(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_module.time, "monotonic", lambda: now[0])
    live, state = plain_page(), RunState()
    taken = []
    for number in range(100):
        now[0] += 0.0625
        show(live, passed(state, number))
        taken.append(live.snapshot)
    assert len({snapshot.taken_s for snapshot in taken}) == pytest.approx(25, abs=1)
    assert live.snapshot.speed_m_min == pytest.approx(96, rel=0.02)
    assert live.blocks[-1].number == 100
    with pytest.raises(AttributeError):
        live.snapshot.run = None  # type: ignore[misc]


def test_a_continued_roll_goes_on_in_its_own_metres(tmp_path):
    with recorded_page(tmp_path) as (_, recorder, state):
        recorder.finish(state.coverage, None, "finished")
    with recorded_page(tmp_path) as (live, recorder, state):
        assert live.snapshot.along_m == pytest.approx(2.4)


def codes(state=None, later_s=0.0, **changes):
    live = plain_page(passed(RunState(), 0) if state is None else state)
    now = changed(live.snapshot, **changes)
    return [trouble.code for trouble in troubles(now, now.taken_s + later_s)]


def test_a_dead_helper_thread_shows_at_once_also_while_inspection_hangs():
    live = plain_page(passed(RunState(), 0))
    health = live.health
    assert state_json(live, live.snapshot.taken_s)["troubles"] == []
    with watched_by(health.helpers):
        thread = HelperThread("machine", lambda: None)
    thread._is_started = True  # it has ended, and its work has not
    health.helpers.add(thread)
    (trouble,) = state_json(live, live.snapshot.taken_s)["troubles"]
    assert (trouble["level"], trouble["text"], trouble["cure"]) == (
        "bad",
        "A part of the program is gone: stops of the machine.",
        "Start the device again.",
    )
    assert healthz({None: health})["reasons"] == ["the helper thread 'machine' is dead"]


def test_a_helper_thread_that_met_an_error_is_a_warning():
    live, failed = plain_page(passed(RunState(), 0)), threading.Event()
    health = live.health

    def fail_once():
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError

    with watched_by(health.helpers):
        thread = HelperThread("mqtt", fail_once)
        thread.start()
    thread.join(10)
    (trouble,) = state_json(live, live.snapshot.taken_s)["troubles"]
    assert (trouble["level"], trouble["text"]) == (
        "warn",
        "A part of the program fails: messages to the broker.",
    )


def test_all_is_well():
    assert codes() == []


LOST = CoverageSums(mm_per_line=1.0, gaps={"overrun": 500})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phase": "starting"}, ["starting"]),
        ({"phase": "ended"}, ["ended"]),
        ({"phase": "ended", "error": "The camera is lost. Check it."}, ["stopped"]),
        ({"silent_s": 1.0}, []),
        ({"silent_s": 3.0}, ["silent"]),
        ({"record_waits": True, "silent_s": 3.0}, ["record", "silent"]),
        ({"camera_down": "frozen", "silent_s": 30.0}, ["camera down"]),
        ({"broker_away": True, "machine_away": True}, ["machine", "broker"]),
        ({"broker_refuses": True}, ["broker refuses"]),
        ({"recent": RunCounts(5, 5, 0, 2, 0, 0, 1.0), "roll": LOST}, ["too slow", "unseen"]),
        ({"recent": RunCounts(5, 0, 9, 0, 0, 0, 1.0)}, ["no cloth"]),
        ({"recent": RunCounts(5, 1, 9, 0, 1, 7, 1.0)}, ["lost lines", "unreadable"]),
        ({"later_s": 6.0}, ["hangs"]),
        ({"later_s": 6.0, "phase": "ended"}, ["ended"]),
    ],
)
def test_what_is_wrong_is_said_the_worst_first(changes, expected):
    assert codes(**changes) == expected


HALF_SEEN = Across(Strip(0.0, 1000.0), (Strip(0.0, 500.0),))
NEARLY_SEEN = Across(Strip(0.0, 1000.0), (Strip(0.0, 990.0),))
MUCH_UNSEEN = CoverageSums(mm_per_line=1.0, inspected=900, gaps={"overrun": 100})
LITTLE_UNSEEN = CoverageSums(mm_per_line=1.0, inspected=999, gaps={"overrun": 1})
UNREADABLE = CoverageSums(frames_inspected=9, frames_unreadable=1)
BELOW = GradeSoFar(Grade(90, 90.0, "below grade"), 100.0, 20.0)
EARLY = GradeSoFar(Grade(4, 400.0, "below grade"), 1.0, 20.0)

STATES = {
    "all is well": ({}, "good"),
    "too early for a grade": ({"grade": EARLY}, "good"),
    "the camera is lost": ({"camera_down": "unplugged"}, "bad"),
    "the image is frozen": ({"camera_down": "frozen"}, "bad"),
    "the camera is silent": ({"silent_s": 3.0}, "warn"),
    "the camera is silent for long": ({"silent_s": 30.0}, "bad"),
    "inspection hangs": ({"later_s": 6.0}, "bad"),
    "not well by the health check": ({"unwell": ("no frame was finished for 61 s",)}, "bad"),
    "does not start": ({"phase": "starting", "unwell": ("no frame since the start",)}, "bad"),
    "starting": ({"phase": "starting"}, "note"),
    "the lamp is out": ({"optics_troubles": ("lamp out",)}, "bad"),
    "the lamp is weak": ({"optics_troubles": ("lamp weak",)}, "warn"),
    "out of focus": ({"optics_troubles": ("focus",)}, "warn"),
    "lint on the lens": ({"optics_troubles": ("lint",)}, "warn"),
    "another article": ({"cloth_troubles": ("other article",)}, "warn"),
    "half of the width is not seen": ({"across": HALF_SEEN}, "warn"),
    "a little of the width is not seen": ({"across": NEARLY_SEEN}, "note"),
    "much of the length is not seen": ({"roll": MUCH_UNSEEN}, "warn"),
    "a little of the length is not seen": ({"roll": LITTLE_UNSEEN}, "note"),
    "images are lost, without metres": ({"roll": UNREADABLE}, "warn"),
    "a defect a moment ago": ({"new_defects": 1}, "warn"),
    "below grade": ({"grade": BELOW}, "warn"),
    "the broker is away": ({"broker_away": True}, "warn"),
    "the broker refuses": ({"broker_refuses": True}, "warn"),
    "the machine is away": ({"machine_away": True}, "bad"),
    "the machine does not hear": ({"heartbeat_lost": True}, "bad"),
    "the record waits": ({"record_waits": True}, "bad"),
    "the record was replaced": ({"record_replaced": True}, "bad"),
    "a helper is dead": ({"helpers_dead": ("machine",)}, "bad"),
    "a helper fails": ({"helpers_unwell": ("mqtt",)}, "warn"),
    "finished": ({"phase": "ended"}, "note"),
    "a live camera has ended": ({"phase": "ended", "is_live": True}, "warn"),
    "stopped by an error": ({"phase": "ended", "error": "The disk is full."}, "bad"),
}  # fmt: skip
"""What is wrong, and the worst that the page says: green only where cloth and device are well."""


@pytest.mark.parametrize("name", STATES)
def test_green_only_when_cloth_and_device_are_well(name):
    changes, expected = STATES[name]
    now_s = changes.get("later_s", 0.0)
    live = plain_page(passed(RunState(), 0))
    now = changed(live.snapshot, **{key: value for key, value in changes.items() if key != "later_s"})
    found = troubles(now, now.taken_s + now_s)
    assert (found[0].level if found else "good") == expected
    assert all(trouble.cure for trouble in found if trouble.level == "bad")


def test_an_article_that_was_taught_is_not_green_beside_what_is_wrong():
    live = plain_page(passed(RunState(), 0))
    taught = {"level": "good"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.page.state.article_json", lambda *_: dict(taught))
        levels = [article_of(live, live.now, is_well=is_well)["level"] for is_well in (True, False)]
    assert levels == ["good", "note"]


def test_lamp_and_lens_are_part_of_what_is_wrong_while_they_are():
    watch = OpticsWatch()
    cloth = np.random.default_rng(0).integers(100, 140, (64, 256), np.uint8)
    for _ in range(60):
        watch.look(cloth)
    assert watch.troubles == ()
    for _ in range(60):
        watch.look(cloth // 2)
    assert watch.troubles == ("lamp weak",)
    for _ in range(80):
        watch.look(cloth)
    assert watch.troubles == ()


def test_what_was_wrong_is_remembered_with_its_times_also_when_nobody_looked():
    gone = Trouble("bad", "camera down", "The camera is gone.", "Check.")
    silent = [Trouble("warn", "silent", f"No image from the camera for {s} s.", "Check.") for s in (2, 3)]
    past = Past()
    for now_s, now in (
        (0, []),
        (1, [gone]),
        (2, [gone, silent[0]]),
        (3, [silent[1]]),
        (4, []),
        (5, [gone]),
        (6, []),
    ):
        past = past.after(now, 1000.0 + now_s)
    assert [(one["text"], one["since_s"], one["until_s"]) for one in past.as_json()] == [
        ("No image from the camera for 3 s.", 1002.0, 1004.0),
        ("The camera is gone.", 1001.0, 1006.0),  # it came back within seconds: it is one
    ]
    past = past.after([gone], 1030.0)
    assert [one["text"] for one in past.as_json()][:2] == [
        "The camera is gone.",
        "Inspection did not answer for 24 s.",
    ]
    for number in range(3 * MOST_PAST):
        past = past.after([replace_text(gone, number)], 1031.0 + number)
    assert len(past.troubles) == MOST_PAST


def replace_text(trouble, number):
    return trouble._replace(code=f"code {number}")


def test_the_grade_so_far_is_that_of_the_report_at_that_moment(tmp_path):
    with recorded_page(tmp_path) as (live, recorder, state):
        grade = RollGrade(live)
        for start_m in (0.5, 0.55, 1.15):
            facts = read_roll(recorder.path, "A17")
            found = grade.look().as_json()
            assert {key: found[key] for key in facts.grade.as_json()} == facts.grade.as_json()
            assert found["inspected_m2"] == pytest.approx(facts.inspected_m2, abs=1e-4)
            per_area = facts.grade.points_per_100_m2
            assert f"<dt>Points per 100 m²</dt><dd>{per_area:.1f}</dd>" in report_page(facts)
            recorder.add([defect(start_m)], state.coverage, 1500.0)
        assert grade.look().grade.points > found["points"]


def test_a_grade_means_something_where_one_metre_does_not_decide_it():
    assert meaningful_m2({"first": 20.0, "second": 40.0}) == 20.0
    assert meaningful_m2({"first": 40.0}) == 10.0
    assert meaningful_m2({"first": 1.0}) == meaningful_m2({"first": 0.0}) == 100.0
    assert meaningful_m2({}) == 20.0


def test_every_helper_thread_is_named_in_plain_words():
    root = Path(edge.__file__).parent
    of_a_device = [path for path in root.rglob("*.py") if not path.is_relative_to(root / "fleet")]
    source = "".join(path.read_text() for path in of_a_device)
    names = set(re.findall(r'HelperThread\("([^"]+)"', source)) | {"page", "health"}
    assert names - {"mqtt"} > {"machine", "heartbeat", "teach"}
    assert names <= set(HELPERS)


def test_what_is_bad_comes_with_what_to_do():
    live = plain_page(passed(RunState(), 0))
    now = replace(
        live.snapshot, machine_away=True, record_waits=True, record_replaced=True, broker_away=True
    )
    assert all(trouble.cure for trouble in troubles(now, now.taken_s))


def test_a_camera_that_is_silent_for_long_is_bad():
    live = plain_page(passed(RunState(), 0))
    levels = [
        troubles(changed(live.snapshot, silent_s=seconds), live.snapshot.taken_s)[0].level
        for seconds in (3.0, 30.0)
    ]
    assert levels == ["warn", "bad"]


def test_every_fault_of_a_camera_has_words():
    assert set(CAMERA_DOWN) == set(get_args(FaultKind))


def test_without_a_record_the_last_defects_of_many_are_shown():
    state = passed(RunState(), 0)
    state.roll.defects = DefectsFound(most_kept=3)
    live = plain_page(state)
    state.roll.defects += [defect(0.01 * number) for number in range(5)]
    live.health.end(state)
    live.end(state)
    shown = changes(live, Known())
    assert [one["id"] for one in shown["defects"]] == ["3", "4", "5"]
    assert shown["forgotten"] + len(shown["defects"]) == live.snapshot.defect_count == 5
    known = Known(roll=shown["roll"], defect=shown["known"]["defect"])
    state.roll.defects += [defect(0.06)]
    live.health.end(state)
    live.end(state)
    then = changes(live, known)
    assert ([one["id"] for one in then["defects"]], then["forgotten"]) == (["6"], 0)


def test_the_state_is_made_once_for_all_who_look():
    text = StateText(plain_page(passed(RunState(), 0)))
    assert text.now() is text.now()


def blocks(*frames, records=()):
    return tuple(InspectedBlock(number, one, tuple(records)) for number, one in enumerate(frames, start=1))


@pytest.mark.parametrize(
    ("frames", "kept"),
    [
        ([frame(0)], 1),
        ([frame(0, 30), frame(1, 30), frame(2, 30)], 3),
        ([frame(0, 60), frame(1, 60), frame(2, 60)], 2),
        ([frame(0, 30), frame(1, 30, follows_on=False)], 1),
        ([frame(0, 30, width=100), frame(1, 30)], 1),
        ([frame(0, 500)], 1),
        ([frame(number, 1) for number in range(100)], MOST_BLOCKS),
    ],
    ids=["one", "all fit", "too high", "area camera", "another width", "higher than wide", "many"],
)
def test_which_blocks_make_one_image(frames, kept):
    shown = shown_together(blocks(*frames))
    assert [block.number for block in shown] == list(range(len(frames) - kept + 1, len(frames) + 1))


def test_the_image_is_small_and_its_boxes_have_colours():
    box = {"label": "broken", "score": 0.9, "box_xyxy_px": [200.0, 10.0, 600.0, 90.0]}
    shown = [blocks(*(frame(n, width=2000) for n in (0, 1)), records=r) for r in ((), (box,))]
    plain, found = (drawn(some, [scaled(block) for block in some]) for some in shown)
    assert plain.shape == found.shape == (80, WIDEST_PX, 3)
    assert np.ptp(plain.astype(int), axis=2).max() == 0
    coloured = np.ptp(found.astype(int), axis=2) > 60
    assert coloured[:40].any()
    assert coloured[40:].any()


def test_a_defect_in_two_blocks_gets_one_box_and_two_defects_get_two():
    above = {"label": "broken", "score": 0.8, "box_xyxy_px": [90.0, 20.0, 96.0, 99.0]}
    goes_on = {
        "label": "broken",
        "score": 0.7,
        "box_xyxy_px": [91.0, -30.0, 97.0, 60.0],
    }  # from the seam on
    beside = {"label": "broken", "score": 0.7, "box_xyxy_px": [150.0, 0.0, 156.0, 60.0]}

    def ends_at_the_joint(below):
        shown = [blocks(frame(0), records=[above])[0], blocks(frame(1), records=[below])[0]]
        image = drawn(shown, [scaled(block) for block in shown])
        return (image[90:110, 93] == class_colour("broken").bgr).all(axis=-1).any()

    assert not ends_at_the_joint(goes_on)
    assert ends_at_the_joint(beside)


def test_the_cloth_is_encoded_once_for_all_who_look(monkeypatch):
    image = ClothImage()
    assert image.jpeg(()) is None
    first = image.jpeg(blocks(frame(0)))
    assert image.jpeg(blocks(frame(0))) is first
    assert image.jpeg(blocks(frame(0), frame(1))) is first  # too soon for another
    monkeypatch.setattr("edge.page.cloth.SHORTEST_S", 0.0)
    second = image.jpeg(blocks(frame(0), frame(1)))
    assert (first.number, second.number) == (1, 2)
    assert cv2.imdecode(np.frombuffer(second.data, np.uint8), cv2.IMREAD_COLOR).shape == (200, 200, 3)


def test_an_image_with_a_class_of_the_article_before_is_drawn():
    box = {"label": "unclassified", "score": 0.9, "box_xyxy_px": [20.0, 10.0, 60.0, 90.0]}
    jpeg = ClothImage().jpeg(blocks(frame(0), records=[box]))
    image = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.ptp(image.astype(int), axis=2).max() > 60


def test_defects_without_a_record_are_copied_when_they_come():
    state = passed(RunState(), 0)
    live = plain_page(state)
    state.roll.defects += [defect(0.05)]
    live.health.end(state)
    live.end(state)
    assert [one.start_m for one in live.snapshot.defects] == [0.05]
    assert live.snapshot.phase == "ended"


def test_cloth_unlike_what_was_taught_is_a_warning_as_long_as_it_is():
    state = passed(RunState(), 0)
    state.cloth_troubles = ("other article", "thresholds drift")
    now = plain_page(state).snapshot
    said = [(one.level, one.text) for one in troubles(now, now.taken_s)]
    assert ("warn", "This is not the cloth that was taught.") in said
    assert ("warn", "The cloth comes nearer to an alarm than when it was taught.") in said
    state.cloth_troubles = ()
    now = plain_page(state).snapshot
    assert not {"other article", "thresholds drift"} & {one.code for one in troubles(now, now.taken_s)}
