"""`loomsight scorecard`: rows of several runs side by side."""

from __future__ import annotations

import json

import cv2
import pytest
from typer.testing import CliRunner

from distill.commands.scorecard_cli import app
from distill.evaluation.scorecard import SCORECARD_NAME, Latency, ScorecardRow, append_row
from distill.training.comparison import gathered
from distill.training.stage_plan import DISTILLED, STUDENT_ALONE, TEACHER
from edge.core.errors import ConfigError

LATENCY = Latency(
    p50_ms=3.0, p99_ms=4.0, runs=9, batch=1, device="cpu", runtime="torch", precision="float32"
)


def row(stage, **values):
    fixed = {"parameters": 10**6, "macs": 10**9, "file_size_bytes": 1, "checkpoint_digest": "0" * 64}
    return ScorecardRow(stage=stage, **{**fixed, **values})


@pytest.fixture
def runs(tmp_path):
    """One whole distillation, and a run whose row knows hardly anything."""
    for name in ("whole", "bare"):
        (tmp_path / name).mkdir()
    stages = {TEACHER: 0.5, STUDENT_ALONE: 0.3, DISTILLED: 0.35}
    for stage, value in stages.items():
        append_row(
            tmp_path / "whole" / SCORECARD_NAME, row(stage, map50=0.9, map50_95=value, latency=LATENCY)
        )
    append_row(tmp_path / "bare" / SCORECARD_NAME, row("export"))
    return tmp_path


def test_a_distillation_says_what_it_bought(runs):
    said = CliRunner().invoke(app, [str(runs / "whole")], catch_exceptions=False).stdout
    assert "0.500" in said
    assert "mAP50-95 0.300 -> 0.350 (+0.050)" in said


@pytest.mark.parametrize(
    ("stages", "warnings"),
    [
        pytest.param({TEACHER: 0.5, STUDENT_ALONE: 0.3, DISTILLED: 0.35}, [], id="all-is-well"),
        pytest.param({TEACHER: 0.001}, ["What it teaches is noise"], id="teacher-knows-nothing"),
        pytest.param(
            {"pruned 1": 0.0}, ["pruned 1 finds next to nothing (mAP50 0.000)"], id="cut-to-nothing"
        ),
        pytest.param(
            {STUDENT_ALONE: 0.3, DISTILLED: 0.3}, ["bought nothing that can be told"], id="no-gain"
        ),
        pytest.param({STUDENT_ALONE: 0.3, DISTILLED: 0.2}, ["(mAP50-95 -0.100)"], id="a-loss"),
    ],
)
def test_what_is_worth_nothing_is_said(tmp_path, stages, warnings):
    for stage, value in stages.items():
        append_row(tmp_path / SCORECARD_NAME, row(stage, map50=value, map50_95=value, recall=value))
    said = CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False).stdout
    assert said.count("warning:") == len(warnings)
    assert all(warning in said for warning in warnings)


def test_several_runs_are_told_apart_and_plotted(runs):
    plot = runs / "plot.png"
    given = [str(runs / "whole"), str(runs / "bare" / SCORECARD_NAME), "--plot", str(plot)]
    result = CliRunner().invoke(app, given, catch_exceptions=False)
    assert "whole: teacher" in result.stdout
    assert "bare: export" in result.stdout
    assert cv2.imread(str(plot)) is not None


@pytest.mark.parametrize("content", [None, "", "not json\n"], ids=["missing", "empty", "unreadable"])
def test_a_run_without_a_scorecard_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / SCORECARD_NAME).write_text(content)
    with pytest.raises(ConfigError, match="has no scorecard"):
        gathered([tmp_path])


@pytest.mark.parametrize("stage", [r"$\frac$", "[/red]", "a\x1b[31mb", "$", "x" * 5_000])
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")
def test_a_stage_of_any_name_is_printed_and_drawn(tmp_path, stage):
    append_row(tmp_path / SCORECARD_NAME, row(stage, map50=0.5, map50_95=0.3, latency=LATENCY))
    done = CliRunner().invoke(app, [str(tmp_path), "--plot", str(tmp_path / "p.png")], color=True)
    assert (done.exit_code, done.exception) == (0, None)
    assert "\x1b[31m" not in done.stdout


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"parameters": 10**400}, id="400-digits"),
        pytest.param({"macs": -1}, id="negative"),
        pytest.param({"map50": float("nan")}, id="nan"),
        pytest.param({"latency": LATENCY.model_copy(update={"p50_ms": 1e308})}, id="1e308-ms"),
        pytest.param({"latency": LATENCY.model_copy(update={"p99_ms": float("inf")})}, id="infinite-ms"),
    ],
)
def test_a_row_whose_numbers_no_model_can_have_is_left_out_and_said(tmp_path, caplog, values):
    lines = [row("bad").model_copy(update=values), row("good")]
    (tmp_path / SCORECARD_NAME).write_text("".join(json.dumps(line.model_dump()) + "\n" for line in lines))
    assert [one.stage for one in gathered([tmp_path])] == ["good"]
    assert "cannot be used" in caplog.text


def test_a_validation_split_without_defects_makes_no_detector_doubtful(tmp_path):
    append_row(tmp_path / SCORECARD_NAME, row("train", map50=0.0, map50_95=0.0))
    said = CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False).stdout
    assert "warning:" not in said
