"""Plan, cut, check, recover and measure, and what is left after an interruption anywhere."""

from __future__ import annotations

import json
import shlex
import shutil
import signal

import pytest
import torch
import typer

import distill.core.progress
import distill.evaluation.scorecard
import distill.prune.stage_times
import distill.prune.steps
import distill.training.finish
from distill.checkpoint import load_detector, read_checkpoint
from distill.evaluation.scorecard import SCORECARD_NAME, ScorecardRow, ancestry_of, append_row, read_rows
from distill.prune.folder import PruneFolder
from distill.prune.outcome import is_as_good, outcome
from distill.prune.pareto import draw_stages, pareto_front, spread
from distill.prune.planning import macs_of
from distill.prune.stage_times import StageTimes, read_times
from edge.bundle.opening import open_bundle
from edge.commands.bundle_report import bundle_facts, print_facts
from edge.core.errors import PruningError
from edge.core.files import file_digest
from export.cli import app as export_app
from export.publish import export_bundle
from tests.unit.distill.prune.pruning import invoke, parameters, write_source
from tests.unit.distill.tiny import write_tiny_dataset

ONE_WAY = ("--planner", "threshold", "--importance", "l1", "--scope", "global", "--round-to", 16)
"""One plan for each cut: which of several is best is the test of candidates."""

ANCESTORS = ["teacher", "student-alone", "distilled"]

STAGES = ["unpruned", "cut-1", "recovered-1", "cut-2", "recovered-2"]


MS = {"unpruned": 5.0, "recovered-1": 4.0, "recovered-2": 3.0}
TIMES = StageTimes(
    other_load_cores=None,
    runtime="onnxruntime",
    version="1",
    processor="any",
    threads=1,
    rounds=2,
    ms=MS,
    times_faster=MS,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Spare what other tests look at: the report of each run, and times but for those of `done`."""
    monkeypatch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
    monkeypatch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
    monkeypatch.setattr(distill.prune.steps, "time_stages", lambda *_: TIMES)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("pruning")
    write_tiny_dataset(place / "data", train=8, val=2)
    digest = file_digest(write_source(place / "best.pt"))
    for stage, of in zip(ANCESTORS, ("0" * 64, "1" * 64, digest), strict=True):
        append_row(
            place / SCORECARD_NAME,
            ScorecardRow(
                stage=stage, parameters=1, macs=1, file_size_bytes=1, map50=0.5, checkpoint_digest=of
            ),
        )
    return place


@pytest.fixture(scope="module")
def done(place):
    """Prune in two steps; the later tests look at what it left."""
    before = file_digest(place / "best.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
        patch.setattr(distill.prune.stage_times, "ROUNDS", 2)
        patch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
        said = invoke(
            place / "best.pt", place / "data", "--macs", 0.5, "--steps", 2, "--recover", "labels",
            *ONE_WAY, "--threads", 1, "--out", place / "run",
        )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert file_digest(place / "best.pt") == before
    return said, PruneFolder(place / "run")


@pytest.fixture
def again(done, place, tmp_path):
    """Copy the finished run, for tests that take pieces of it away."""
    shutil.copytree(done[1].path, tmp_path / "run")
    folder = PruneFolder(tmp_path / "run")
    return folder, lambda: invoke(place / "best.pt", place / "data", "--resume", "--out", folder.path)


def test_the_last_model_has_the_macs_asked_for(done, place):
    folder = done[1]
    before, after = (macs_of(load_detector(file)) for file in (place / "best.pt", folder.best))
    assert after / before == pytest.approx(0.5, rel=0.02)
    between = macs_of(load_detector(folder.step(1).best))
    assert between / before == pytest.approx(0.5**0.5, rel=0.02)
    sizes = [parameters(file) for file in (place / "best.pt", folder.step(1).best, folder.best)]
    assert sizes == sorted(sizes, reverse=True)
    assert parameters(folder.cut(2)) == parameters(folder.best)


def test_every_model_has_a_row_and_the_last_is_best(done):
    rows = read_rows(done[1].scorecard)
    assert [row.stage for row in rows] == STAGES
    assert rows[-1].checkpoint_digest == file_digest(done[1].best)
    assert rows[1].macs == rows[2].macs
    assert rows[1].parameters == rows[2].parameters
    metrics = json.loads(done[1].metrics.read_text())
    assert metrics["map50_95"] == rows[-1].map50_95


def test_it_says_where_things_are(done):
    said, folder = done
    for file in (folder.best, folder.scorecard, folder.page):
        assert str(file) in said.stdout
        assert file.is_file()
    assert "recovered-2" in said.stdout


def test_it_ends_with_what_became_of_it_and_the_command_that_is_next(done, place):
    said, folder = done
    result, following = said.stdout.splitlines()[-2:]
    rows = read_rows(folder.scorecard)
    assert "(ratio 0.50); mAP50-95 " in result
    assert result.split(None, 1)[1] == outcome(rows, file_digest(folder.best))
    words = shlex.split(following)
    assert words[:3] == ["next", "loomsight", "export"]
    export = typer.main.get_command(export_app).make_context("export", words[3:])
    assert export.params["checkpoint"] == folder.best
    assert export.params["images"] == place / "data" / "images" / "val"
    assert (export.params["data"], export.params["int8"]) == (place / "data", True)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param(
            0.425,
            0.412,
            "mAP50-95 0.425 -> 0.412 on the same validation tiles: WORSE than before by 1.30",
            id="worse",
        ),
        pytest.param(
            0.425,
            0.425,
            "mAP50-95 0.425 -> 0.425 on the same validation tiles: as good as before",
            id="alike",
        ),
        pytest.param(0.4, 0.425, "(+2.50 points)", id="better"),
        pytest.param(None, 0.425, "not measured", id="not-measured"),
    ],
)
def test_a_result_is_said_against_the_detector_before_the_cut(before, after, said):
    row = {"parameters": 1, "file_size_bytes": 1}
    rows = [
        ScorecardRow(stage="unpruned", macs=10, map50_95=before, checkpoint_digest="0" * 64, **row),
        ScorecardRow(stage="recovered-1", macs=5, map50_95=after, checkpoint_digest="1" * 64, **row),
    ]
    assert said in outcome(rows, "1" * 64)


def test_of_a_detector_that_finds_nothing_no_cut_is_called_good():
    row = {"parameters": 1, "file_size_bytes": 1, "map50": 0.01}
    rows = [
        ScorecardRow(stage="unpruned", macs=10, map50_95=0.0, checkpoint_digest="0" * 64, **row),
        ScorecardRow(stage="recovered-1", macs=5, map50_95=0.0, checkpoint_digest="1" * 64, **row),
    ]
    assert outcome(rows, "1" * 64).endswith(
        "found next to nothing before, and does so now. Train it longer first"
    )
    assert is_as_good(rows, "1" * 64) is None  # nor is it shown in green


def test_all_are_timed_in_turn_on_the_runtime(done):
    times = read_times(done[1].latency)
    assert list(times.ms) == ["unpruned", "recovered-1", "recovered-2"]
    assert times.times_faster["unpruned"] == 1
    assert all(value > 0 for value in times.ms.values())
    assert "times as fast" in done[0].stdout


def test_a_recovery_learns(done):
    cut, recovered = (read_checkpoint(file).weights for file in (done[1].cut(2), done[1].best))
    assert any(not torch.equal(cut[name], recovered[name]) for name in cut)


def test_a_finished_run_is_not_done_again(again):
    folder, resume = again
    before = {file: file.stat().st_mtime_ns for file in folder.path.rglob("*.pt") if file != folder.best}
    assert resume().exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert [row.stage for row in read_rows(folder.scorecard)] == STAGES


def test_after_a_kill_and_ctrl_c_between_trainings_the_result_is_the_same(again, done, monkeypatch):
    """What a kill leaves is a beginning of the files in the order they are written."""
    folder, resume = again
    for file in (folder.best, folder.metrics, folder.page, folder.cut(2)):
        file.unlink()
    shutil.rmtree(folder.step(2).path)
    rows = folder.scorecard.read_text().splitlines(keepends=True)
    folder.scorecard.write_text("".join(rows[:3]))
    kept = folder.step(1).best.stat().st_mtime_ns

    def press(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(distill.prune.steps, "check_cut", press)
        said = resume()
    assert said.exit_code == 130
    assert "--resume" in said.stderr
    assert not folder.cut(2).exists()
    said = resume()
    assert said.exit_code == 0, said.output
    assert folder.step(1).best.stat().st_mtime_ns == kept
    assert [row.stage for row in read_rows(folder.scorecard)] == STAGES
    ours, theirs = (read_checkpoint(file).weights for file in (folder.best, done[1].best))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_bundle_says_what_its_model_was_after_each_stage(done, place, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    run = tmp_path / "run"
    shutil.copytree(done[1].path, run)  # export adds rows to the scorecard
    published = export_bundle(
        run / done[1].best.relative_to(done[1].path), place / "data" / "images", tmp_path / "bundle"
    )
    stages = [one.stage for one in open_bundle(published.bundle).manifest.ancestry]
    assert stages[:8] == [*ANCESTORS, *STAGES]
    assert set(stages[8:]) <= {"export", "export bf16"}
    print_facts(bundle_facts(published.bundle), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert all(any(stage in line for line in lines) for stage in stages)


def test_a_checkpoint_that_lies_beside_the_scorecard_of_others_has_no_ancestry(place, tmp_path):
    shutil.copyfile(place / SCORECARD_NAME, tmp_path / SCORECARD_NAME)
    assert ancestry_of(write_source(tmp_path / "other.pt", seed=1)) == []
    assert [row.stage for row in ancestry_of(place / "best.pt")] == ANCESTORS


def give_map(file, *stages):
    """Give rows the mAP that a long training would."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for row in lines:
        row["map50_95"] = 0.5 if row["stage"] in stages else row["map50_95"]
    file.write_text("".join(json.dumps(row) + "\n" for row in lines))


def test_a_drop_keeps_the_last_step_within_it(again):
    folder, resume = again
    folder.best.unlink()
    folder.write_json(folder.settings, {"drop": 1.0, "recover": "labels", "steps": 4})
    give_map(folder.scorecard, "unpruned", "recovered-1")
    give_map(folder.step(1).path / SCORECARD_NAME, "recovered-1")
    said = resume()
    assert said.exit_code == 0, said.output
    assert folder.best.read_bytes() == folder.step(1).best.read_bytes()
    assert not folder.cut(3).exists()


def test_a_first_step_that_loses_too_much_ends_it(again, done):
    folder, resume = again
    folder.best.unlink()
    folder.write_json(folder.settings, {"drop": 1.0, "recover": "labels", "steps": 2})
    give_map(folder.scorecard, "unpruned")
    error = resume().exception
    assert isinstance(error, PruningError)
    assert "50.00 points" in str(error)
    assert not folder.best.exists()


def test_ctrl_c_in_a_recovery_stops_and_resumes(place, done, tmp_path, monkeypatch):
    pressed = []

    def press(self, epoch, done, total, loss):
        if not pressed:  # a second one would end the process that runs the tests
            pressed.append(epoch)
            signal.raise_signal(signal.SIGINT)

    before = file_digest(place / "best.pt")
    folder = PruneFolder(tmp_path / "run")
    arguments = (
        place / "best.pt",
        place / "data",
        "--macs",
        0.5,
        "--recover",
        "self",
        *ONE_WAY,
        "--out",
        folder.path,
    )
    with monkeypatch.context() as patch:
        patch.setattr(distill.core.progress.ConsoleListener, "batch_done", press)
        said = invoke(*arguments)
    assert said.exit_code == 130
    assert said.stderr.count("--resume") == 1
    assert file_digest(place / "best.pt") == before
    assert folder.step(1).last.is_file()
    assert not folder.best.exists()
    said = invoke(*arguments, "--resume")
    assert said.exit_code == 0, said.output
    assert file_digest(place / "best.pt") == before
    assert "loss_gid_feature" in folder.step(1).read_history()[0]
    assert parameters(folder.best) < parameters(place / "best.pt")


def test_each_diagram_has_a_named_point_for_every_row():
    rows = [
        ScorecardRow(
            stage=stage, parameters=1, macs=10**9, file_size_bytes=10**6, map50_95=0.5,
            checkpoint_digest="0" * 64,
        )
        for stage in STAGES
    ]  # fmt: skip
    drawn = [
        figure for _, figure in draw_stages([*rows, rows[0].model_copy(update={"map50_95": None})], TIMES)
    ]
    assert [len(figure.axes[0].texts) for figure in drawn] == [5, 5, 5]
    assert [text.xy[0] for text in drawn[0].axes[0].texts] == [5, 4, 4, 3, 3]


def test_names_of_points_of_equal_quality_stand_one_over_the_other():
    assert spread([0.5, 0.5, 0.2, 0.5], 0.1) == pytest.approx([0.5, 0.6, 0.2, 0.7])


def test_the_front_has_what_no_other_candidate_beats():
    assert pareto_front([(0.5, 0.3), (0.4, 0.2), (0.5, 0.4), (0.6, 0.35)]) == [(0.4, 0.2), (0.5, 0.4)]


def test_the_page_shows_the_result_the_candidates_and_what_is_found(done):
    page = done[1].page.read_text()
    assert done[0].stdout.splitlines()[-2].removeprefix("result      ").split(";")[0] in page.replace(
        "-&gt;", "->"
    )
    for title in ("Candidates of step 1", "Candidates of step 2", "Found and missed", "Recovery of step 2"):
        assert f"<h2>{title}</h2>" in page
    candidates = json.loads(done[1].candidates(2).read_bytes())
    assert page.count("<td>taken</td>") == 2
    assert all(f"{one['map50_95']:.3f}" in page for one in candidates)


def test_times_as_fast_is_the_ratio_of_the_times_that_are_printed(done):
    times = read_times(done[1].latency)
    for stage, ms in times.ms.items():
        assert times.times_faster[stage] == pytest.approx(times.ms["unpruned"] / ms, abs=0.0051)
