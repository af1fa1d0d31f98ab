"""`loomsight teach --train`: a detector trained on defects planted in the taught cloth, by the commands."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from edge.bundle.opening import model_digest_of, open_bundle
from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.commands.teach_cli import app
from edge.core.errors import ConfigError, LoomsightError, MissingPackageError, OutputError
from edge.process.packages import extras, missing_package
from edge.teach import training_job
from edge.teach.article_file import open_article
from edge.teach.training import PlantedCounts, TrainingResult, read_result
from edge.teach.training_job import TrainingFolder
from tests.conftest import write_bright_cell_bundle
from tests.processes import loomsight

CLOTH = "weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=110,bed_left_mm=-20,bed_right_mm=-20"
TRAIN = ("--train", "--train-images", "30", "--train-epochs", "1")
LONGEST_S = 900


@pytest.fixture(scope="module")
def clean_images(tmp_path_factory):
    """Images of clean cloth, as a folder holds them."""
    folder = tmp_path_factory.mktemp("clean")
    options = parse_loom_options(f"loom:seed=1,defects_per_m=0,width_px=384,lines_per_block=160,{CLOTH}")
    with LoomCamera(options) as camera:
        for number in range(10):
            cv2.imwrite(str(folder / f"{number}.png"), camera.read().image)
    return folder


def arguments(clean_images, out, *more):
    flags = [
        "--article",
        "plain 5",
        "--camera",
        clean_images,
        "--out",
        out,
        "--false-alarms-per-image",
        0.2,
    ]
    return [*map(str, flags), *map(str, more)]


def teach(clean_images, out, *more):
    """Teach in this process; an error is raised as it is."""
    done = CliRunner().invoke(app, arguments(clean_images, out, *more))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def process_in(printed):
    """Return the id of the process that a command started in the background."""
    line = next(line for line in printed.splitlines() if line.startswith("training   process "))
    return int(line.split()[2])


def wait_for(condition, process, folder):
    """Wait for something that a process does; if it ends before, the log says why."""
    end_s = time.monotonic() + LONGEST_S
    while not condition():
        assert is_running(process), folder.log.read_text()
        assert time.monotonic() < end_s, folder.log.read_text()
        time.sleep(0.2)


def wait_for_end(process):
    end_s = time.monotonic() + LONGEST_S
    while is_running(process) and time.monotonic() < end_s:
        time.sleep(0.2)


def is_running(process):
    """Tell whether a process runs that a command has left behind; one that nobody collects has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def teach_by_command(clean_images, out, *more):
    done = loomsight("teach", *arguments(clean_images, out, *more))
    assert done.returncode == 0, done.stderr
    return done.stdout


def resume_by_command(clean_images, out):
    """Resume once the command that the ended training had started has ended, too: it holds the lock."""
    end_s = time.monotonic() + LONGEST_S
    while True:
        done = loomsight("teach", *arguments(clean_images, out, "--train", "--resume"))
        if "Another program is writing" not in done.stderr or time.monotonic() > end_s:
            assert done.returncode == 0, done.stderr
            return done.stdout
        time.sleep(0.2)


@pytest.mark.slow
def test_a_training_that_is_ended_goes_on_and_keeps_the_better_detector(clean_images, tmp_path):
    out = tmp_path / "plain"
    folder = TrainingFolder.beside(out)
    printed = teach_by_command(clean_images, out, *TRAIN)
    first, before = process_in(printed), open_article(out).manifest
    try:
        assert os.getpriority(os.PRIO_PROCESS, first) >= 0
        busy = loomsight("teach", *arguments(clean_images, out, "--train", "--resume"))
        assert (busy.returncode, "Another program is writing" in busy.stderr) == (40, True)
        wait_for(folder.planted.is_dir, first, folder)
    finally:
        os.kill(first, signal.SIGTERM)
    wait_for_end(first)
    assert not folder.result.exists()
    planted = (folder.planted / "data.yaml").stat().st_mtime_ns

    again = process_in(resume_by_command(clean_images, out))
    wait_for_end(again)
    assert folder.result.is_file(), folder.log.read_text()
    assert (folder.planted / "data.yaml").stat().st_mtime_ns == planted  # not planted twice

    result = read_result(folder)
    assert result.before.planted == result.after.planted > 0
    assert (
        result.before.images == result.after.images == len(list((folder.planted / "images/test").iterdir()))
    )
    said = teach_by_command(clean_images, out, "--train", "--resume")
    assert f"before     {result.before.text()}" in said
    assert f"after      {result.after.text()}" in said
    assert ("better than before" in said) == result.is_better
    assert f"after      {result.after.text()}" in folder.log.read_text()

    after = open_article(folder.article).manifest
    assert after.detector_digest == model_digest_of(open_bundle(folder.bundle)) != before.detector_digest
    assert (after.promise, after.article) == (before.promise, "plain 5")
    assert open_article(out).manifest == before  # what runs stays
    settings = tmp_path / "s.toml"
    settings.write_text(
        f'[articles."plain 5"]\nmodel = "{folder.bundle}"\nreference = "{folder.article}"\n'
    )
    done = loomsight("edge-run", "--config", settings, "--article", "plain 5", "--camera", clean_images)
    assert done.returncode == 0, done.stderr


def counts(found, false, planted=20):
    return PlantedCounts(planted=planted, found=found, named=found, false_positives=false, images=10)


@pytest.mark.parametrize("is_better", [True, False])
def test_the_result_says_which_is_kept_and_how_it_is_used(tmp_path, is_better):
    result = TrainingResult(
        before=counts(8, 1), after=counts(12, 1 if is_better else 2), is_better=is_better,
        thresholds_before={"drop": 0.5}, thresholds_after={"drop": 0.4},
    )  # fmt: skip
    lines = list(result.lines(TrainingFolder(tmp_path / "a.training"), "plain 5"))
    assert "before     8 of 20 found, 8 by their class, 1 false positive on 10 images" in lines
    assert any("better than before" in line for line in lines) == is_better
    assert any(line.strip().startswith("model = ") for line in lines) == is_better
    assert any("Nothing has changed" in line for line in lines) != is_better


def test_without_the_workbench_it_is_one_line_with_the_cure_before_the_cloth_is_read(
    clean_images, tmp_path, monkeypatch
):
    monkeypatch.setattr(training_job, "WORKBENCH", ("torch_that_is_not_here",))
    with pytest.raises(MissingPackageError, match="torch_that_is_not_here"):
        teach(clean_images, tmp_path / "a", *TRAIN)
    assert list(tmp_path.iterdir()) == []


def test_the_cure_names_the_workbench():
    error = missing_package(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert "workbench" in error.cure
    assert set(training_job.WORKBENCH) <= extras()["workbench"]


def test_another_detector_than_the_shipped_one_is_refused(clean_images, tmp_path):
    bundle = write_bright_cell_bundle(tmp_path / "bundle")
    with pytest.raises(ConfigError, match="goes on from the shipped detector"):
        teach(clean_images, tmp_path / "a", "--model", bundle, *TRAIN)
    assert not (tmp_path / "a").exists()


def test_a_training_that_is_there_is_not_started_again(clean_images, tmp_path):
    folder = TrainingFolder.beside(tmp_path / "a")
    folder.path.mkdir()
    folder.log.write_text("an earlier one")
    with pytest.raises(OutputError, match="holds a training already"):
        teach(clean_images, tmp_path / "a", *TRAIN)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("more", [["--resume"], ["--train", "--resume"]], ids=["what", "none"])
def test_there_is_something_to_go_on_with_or_one_line(clean_images, tmp_path, more):
    with pytest.raises(ConfigError, match=r"what is to be resumed|There is no training in"):
        teach(clean_images, tmp_path / "a", *more)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["{", '{"article": 3}', ""])
def test_a_damaged_job_is_one_line(clean_images, tmp_path, damage):
    folder = TrainingFolder.beside(tmp_path / "a")
    folder.path.mkdir()
    folder.job.write_text(damage)
    with pytest.raises(ConfigError, match="is damaged"):
        teach(clean_images, tmp_path / "a", "--train", "--resume")


def test_too_little_cloth_to_plant_in_is_said_after_the_article_was_taught(tmp_path):
    folder = tmp_path / "low"
    folder.mkdir()
    options = parse_loom_options(f"loom:seed=3,defects_per_m=0,width_px=384,lines_per_block=100,{CLOTH}")
    with LoomCamera(options) as camera:
        for number in range(8):
            cv2.imwrite(str(folder / f"{number}.png"), camera.read().image)
    with pytest.raises(LoomsightError, match="too few to plant defects in"):
        teach(folder, tmp_path / "a", *TRAIN)
    assert open_article(tmp_path / "a").manifest.article == "plain 5"
    assert json.loads((tmp_path / "a" / "article.json").read_text())["cloth"]["images"] == 8
