"""Rolls that follow each other in one run: a simulated loom, a real record, a real second program."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager

import pytest
from typer.testing import CliRunner

from edge.app import assembly as run_module
from edge.app.run import run
from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.commands.teach_cli import app as teach_app
from edge.config.device import load_camera
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError, ContractError, LoomsightError, RecordError
from edge.inference.model import open_model
from edge.pipeline.changeover import Changeover
from edge.pipeline.changes import RollChanges, RollRequest
from edge.pipeline.parts import Results
from edge.roll import recorder as recorder_module
from edge.roll.reading import read_rolls
from edge.roll.recorder import RollRecorder
from edge.roll.requests import ask_next_roll
from edge.roll.values import RollHead
from edge.teach.article_file import open_article, publish_article
from tests.conftest import CLASSES, write_bright_cell_bundle
from tests.processes import program

LOOM = (
    "loom:seed=1,width_px=256,lines_per_block=64,length_m=0.4,defects_per_m=40,difficulties=obvious,"
    "mean_grey=100"
)
WIDE = {"cloth_width_mm": 50, "selvedge_margin_mm": 0}
SLOW = "loom:seed=1,width_px=256,lines_per_block=100,live=true,speed_m_min=10"


@pytest.fixture
def asks(monkeypatch):
    """Run with settings, and ask for rolls once so many metres were inspected: [(metres, request), ...]."""

    def with_requests(config, requests, refusals=None):
        left, made = list(requests), []

        class Changes(RollChanges):
            def __init__(self, check):
                super().__init__(check)
                made.append(self)

        def look(state, records):
            while left and state.total.metres_inspected >= left[0][0]:
                try:
                    made[0].ask(left.pop(0)[1])
                except LoomsightError as error:
                    refusals.append(str(error))

        def watched(*given, observers, **named):
            return Results(*given, observers=[*observers, look], **named)

        monkeypatch.setattr(run_module, "RollChanges", Changes)
        monkeypatch.setattr(run_module, "Results", watched)
        summary = run(config)
        assert not left
        return summary

    return with_requests


def adds_up(path):
    """Check each roll of a record by itself; return them."""
    rolls = read_rolls(path)
    for roll in rolls:
        assert (
            roll.head["inspected_lines"] + sum(gap.lines for gap in roll.gaps) == roll.head["passed_lines"]
        )
    return rolls


def test_rolls_follow_each_other_and_make_up_the_run(tmp_path, bundle, asks):
    record = tmp_path / "r.db"
    requests = [(0.1, RollRequest("operator", "B")), (0.2, RollRequest("operator", None, "twill"))]
    config = EdgeConfig(camera=LOOM, model=bundle, roll_record=record, roll="A", **WIDE)
    summary = asks(config, requests)
    whole = run(EdgeConfig(camera=LOOM, model=bundle, **WIDE))
    first, second, third = adds_up(record)
    assert [roll.name for roll in (first, second)] == ["A", "B"]
    assert third.name.startswith("roll of 20")
    assert [roll.head["article"] for roll in (first, second, third)] == [None, None, "twill"]
    assert {roll.head["status"] for roll in (first, second, third)} == {"finished"}
    assert sum(roll.head["passed_lines"] for roll in (first, second, third)) == whole["lines"]["passed"]
    assert [one["name"] for one in summary["rolls"]] == [first.name, second.name, third.name]
    assert [one["defects"] for one in summary["rolls"]] == [len(r.defects) for r in (first, second, third)]
    assert [one["points"] for one in summary["rolls"]] == [r.head["points"] for r in (first, second, third)]
    assert [one["grade"] for one in summary["rolls"]] == [r.head["grade"] for r in (first, second, third)]
    assert summary["lines"] == whole["lines"]
    assert summary["defects_on_roll"] == sum(len(r.defects) for r in (first, second, third)) > 0
    for roll in (first, second, third):  # metres start again
        assert all(0 <= row.defect.start_m < row.defect.end_m <= roll.length_m for row in roll.defects)
    ended = next(event for event in first.events if event.kind == "roll ended")
    assert ended.data["next"] == second.head["roll_id"]
    assert ended.at_m == pytest.approx(first.length_m)
    started = next(event for event in second.events if event.kind == "roll begun")
    assert (started.data["after"], started.data["by"], started.at_m) == (
        first.head["roll_id"],
        "operator",
        0.0,
    )


def test_without_a_record_and_without_a_position(tmp_path, bundle, asks):
    summary = asks(EdgeConfig(camera=LOOM, model=bundle), [(0.1, RollRequest("signal", "B"))])
    assert [one["name"] for one in summary["rolls"]] == [None, "B"]
    assert sum(one["metres_passed"] for one in summary["rolls"]) == pytest.approx(0.4)


def test_the_settings_of_an_article_hold_from_the_change_on(tmp_path, bundle, asks):
    renamed = (*CLASSES[:2], "stain")
    other = write_bright_cell_bundle(
        tmp_path / "other", class_names=renamed, score_thresholds=dict.fromkeys(renamed, 0.5)
    )
    file = tmp_path / "box.toml"
    file.write_text(
        f'camera = "{LOOM}"\nmodel = "{bundle}"\nroll_record = "{tmp_path / "r.db"}"\n'
        f'selvedge_margin_mm = 0\n[articles.stained]\nmodel = "{other}"\n'
        "grade_limits = {only = 1e9}\ncloth_width_mm = 70\n"
        "[articles.strict]\nscore_thresholds = {broken = 1.0, wrinkle = 1.0, drop = 1.0}\n"
    )
    config = load_camera(file, {}, {}).config
    requests = [
        (0.1, RollRequest("operator", "B", "strict")),
        (0.2, RollRequest("operator", "C", "stained")),
    ]
    asks(config, requests)
    first, second, third = adds_up(tmp_path / "r.db")
    assert first.defects
    assert not second.defects
    assert {row.defect.class_name for row in third.defects} == {"stain"}
    assert (third.grade.grade, third.width_mm) == ("only", 70.0)
    assert len({roll.head["model_digest"] for roll in (first, second, third)}) == 2
    assert json.loads(third.head["settings"])["article"] == "stained"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (RollRequest("operator", "A"), "has a roll 'A' already"),
        (RollRequest("operator", "B\n"), "the next roll: roll = "),
        (RollRequest("operator", "B", "gone"), "no model at"),
        (RollRequest("operator", "B", "earnest"), "cannot reach it"),
    ],
    ids=["a name that is taken", "no name", "a model that is missing", "a machine that is not there"],
)
def test_what_cannot_be_is_refused_and_the_roll_goes_on(tmp_path, bundle, asks, asked, said):
    file = tmp_path / "box.toml"
    file.write_text(
        f'camera = "{LOOM}"\nmodel = "{bundle}"\nroll_record = "{tmp_path / "r.db"}"\nroll = "A"\n'
        f'[articles.gone]\nmodel = "{tmp_path / "none"}"\n[articles.earnest]\nstop = {{mode = "on"}}\n'
    )
    refusals = []
    asks(load_camera(file, {}, {}).config, [(0.1, asked)], refusals)
    assert said in refusals[0]
    (roll,) = adds_up(tmp_path / "r.db")
    assert roll.head["passed_lines"] == 2000


def test_a_record_that_is_locked_at_a_change_is_written_later(tmp_path, bundle, asks, monkeypatch):
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.0)
    record, seen = tmp_path / "r.db", []
    change = recorder_module.RollRecorder.change_roll

    def locked(recorder, *arguments, **named):
        with closing(sqlite3.connect(record, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            recorder._file.wait_for_others(1)
            change(recorder, *arguments, **named)
            seen.append((recorder.is_blocked, recorder.roll_name, recorder.roll_id))

    monkeypatch.setattr(recorder_module.RollRecorder, "change_roll", locked)
    requests = [(0.1, RollRequest("operator", "B")), (0.2, RollRequest("operator", "C"))]
    asks(EdgeConfig(camera=LOOM, model=bundle, roll_record=record, roll="A"), requests)
    rolls = adds_up(record)
    assert [(True, roll.name, roll.head["roll_id"]) for roll in rolls[1:]] == seen
    assert [roll.head["status"] for roll in rolls] == ["finished"] * 3
    assert sum(roll.head["passed_lines"] for roll in rolls) == 2000
    kinds = [event.kind for roll in rolls for event in roll.events]
    assert kinds.count("record not written") == kinds.count("record written again") == 2


@contextmanager
def edge_run(folder, bundle, *more):
    """Run edge-run on a slow live loom; yields the process once it writes its record."""
    command = program(
        "edge-run", "--camera", SLOW, "--model", bundle, "--roll-record", folder / "r.db",
        "--roll", "A", "--threads", 1, *more,
    )  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        end_s = time.monotonic() + 60
        while not inspected(folder / "r.db") and time.monotonic() < end_s:
            time.sleep(0.05)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def inspected(record):
    if not record.is_file():
        return 0
    try:
        return read_rolls(record)[-1].head["inspected_lines"]
    except (RecordError, IndexError):
        return 0


def test_a_second_program_asks_for_the_next_roll_and_a_kill_leaves_it_to_be_continued(tmp_path, bundle):
    record = tmp_path / "r.db"
    with edge_run(tmp_path, bundle) as process:
        assert ask_next_roll(record, "B", "twill")["name"] == "B"
        with pytest.raises(ConfigError, match="has a roll 'A' already"):
            ask_next_roll(record, "A", None)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(RecordError, match=r"No edge-run is writing .*r\.db\."):
        ask_next_roll(record, "C", None)
    config = EdgeConfig(camera=LOOM, model=bundle, roll_record=record, roll="A", article="satin")
    assert run(config)["rolls"][0]["name"] == "B"  # what the settings name is not on the loom any more
    first, second = adds_up(record)
    assert [(roll.name, roll.head["article"]) for roll in (first, second)] == [("A", None), ("B", "twill")]
    assert "roll interrupted" in [event.kind for event in second.events]


def test_a_request_that_nobody_answers_is_taken_back(tmp_path):
    with RollRecorder(tmp_path / "r.db", RollHead("loom", "f" * 64, {})) as recorder:
        with pytest.raises(RecordError, match="has not answered"):
            ask_next_roll(tmp_path / "r.db", None, None, patience_s=0.2)
        assert recorder.requests() == []
    with pytest.raises(RecordError, match="There is no roll record"):
        ask_next_roll(tmp_path / "none.db", None, None)


@pytest.fixture
def taught(tmp_path, bundle):
    """An article file of this cloth."""
    clean = LOOM.replace("defects_per_m=40", "defects_per_m=0,bed_left_mm=-20,bed_right_mm=-20")
    flags = ["--article", "twill", "--model", bundle, "--camera", clean, "--out", tmp_path / "twill"]
    done = CliRunner().invoke(teach_app, list(map(str, [*flags, "--false-alarms-per-100m", 100])))
    assert done.exit_code == 0, done.output
    return open_article(tmp_path / "twill")


def teach_again(article, alarms):
    promise = article.manifest.promise.model_copy(update={"false_alarms": alarms})
    manifest = article.manifest.model_copy(update={"promise": promise})
    publish_article(article.path, manifest, article.arrays, b"sheet", overwrite=True)


def test_the_next_roll_of_an_article_that_was_taught_again_uses_what_was_taught(tmp_path, bundle, taught):
    config = EdgeConfig(camera=LOOM, model=bundle, article="twill", reference=taught.path, **WIDE)
    with Changeover(config, "loom", open_model) as changeover:
        assert changeover.next_roll(RollRequest("operator", "B")).inspector is None
        teach_again(taught, 55.0)
        plan = changeover.next_roll(RollRequest("operator", "C"))
        assert plan.inspector is changeover.inspector
        assert (plan.reference, plan.article_changes) == (changeover.reference, False)
        assert [event.kind for event in plan.events] == ["article taught again"]
        assert changeover.taught.manifest.promise.false_alarms == 55.0
        in_use = changeover.reference
        (taught.path / "article.json").write_text("{}")
        refused = changeover.next_roll(RollRequest("operator", "D"))
        assert refused.inspector is None
        assert [event.kind for event in refused.events] == ["article not opened"]
        assert changeover.reference is in_use
        assert changeover.taught.manifest.promise.false_alarms == 55.0


def test_a_roll_of_an_article_taught_on_narrower_cloth_is_refused_and_the_one_on_the_loom_goes_on(
    tmp_path, bundle, taught
):
    narrow = taught.manifest.model_copy(
        update={"article": "narrow", "width_px": taught.manifest.width_px // 2}
    )
    publish_article(tmp_path / "narrow", narrow, taught.arrays, b"sheet")
    articles = {name: {"reference": str(tmp_path / name)} for name in ("twill", "narrow")}
    values = {"camera": LOOM, "model": str(bundle), "articles": articles, "stop": {"mode": "off"}, **WIDE}
    config = EdgeConfig.model_validate(values).for_roll(None, "twill")
    with (
        Changeover(config, "loom", open_model) as changeover,
        LoomCamera(parse_loom_options(LOOM)) as camera,
    ):
        changeover.check(RollRequest("operator", "B", "narrow"))  # nobody knows yet what the camera shows
        frame = camera.read()
        changeover.reference.look(frame.image, None, frame)
        with pytest.raises(ContractError, match=r"'narrow' was taught on images .* wider cloth has more"):
            changeover.check(RollRequest("operator", "B", "narrow"))
        changeover.check(RollRequest("operator", "B", "twill"))
        assert changeover.reference.look(frame.image, None, frame) is not None
