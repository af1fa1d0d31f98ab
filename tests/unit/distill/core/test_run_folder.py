from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import pytest
from typer.testing import CliRunner

import distill.commands.distill_cli
import distill.commands.prune_cli
from distill.checkpoint import read_checkpoint
from distill.core.run_folder import RunFolder, held
from edge.core.errors import CheckpointError, ConfigError, OutputError
from tests.unit.distill.tiny import TINY_TOML, write_tiny_dataset

HOLD = "import sys; from pathlib import Path; from distill.core.run_folder import held\n"
HOLD += "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_folder_has_one_process_at_a_time(tmp_path):
    other = holder(tmp_path / "run")
    with pytest.raises(ConfigError, match="Another process is at work"), held(tmp_path / "run"):
        pytest.fail("held twice")
    other.kill()
    other.communicate()
    with held(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_an_empty_folder_made_for_nothing_is_gone(tmp_path):
    with pytest.raises(KeyError), held(tmp_path / "run"):
        raise KeyError
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    with held(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir(), "it was there before"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot make"), held(tmp_path / "file" / "run"):
        pytest.fail("held")


@pytest.mark.parametrize("command", ["distill", "prune"])
def test_a_second_run_in_a_folder_is_refused_and_touches_nothing(tmp_path, command):
    write_tiny_dataset(tmp_path / "data")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("of the first")
    with held(tmp_path / "run"):
        if command == "distill":
            arguments = [tmp_path / "data", "--recipe", "smoke", "--out", tmp_path / "run"]
            result = CliRunner().invoke(distill.commands.distill_cli.app, [str(a) for a in arguments])
        else:
            arguments = [tmp_path / "no.pt", tmp_path / "data", "--macs", "0.5", "--out", tmp_path / "run"]
            result = CliRunner().invoke(distill.commands.prune_cli.app, [str(a) for a in arguments])
    assert isinstance(result.exception, ConfigError), result.exception
    assert "Another process is at work" in str(result.exception)
    assert (tmp_path / "run" / "recipe.json").read_text() == "of the first"


@contextmanager
def no_file_larger_than(limit):
    """Let the kernel refuse to write more, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def train_in(place, run, *arguments):
    given = [place / "data", "--recipe", place / "tiny.toml", "--out", run, *arguments]
    return CliRunner().invoke(distill.commands.distill_cli.app, [str(a) for a in given])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set, a recipe and a finished run."""
    place = tmp_path_factory.mktemp("place")
    write_tiny_dataset(place / "data")
    (place / "tiny.toml").write_text(TINY_TOML)
    assert train_in(place, place / "run").exit_code == 0
    return place


@pytest.fixture
def run(place, tmp_path):
    return RunFolder(shutil.copytree(place / "run", tmp_path / "run"))


@pytest.fixture
def train(place, run):
    return partial(train_in, place, run.path)


def test_a_disk_that_is_full_at_the_first_checkpoint_is_no_dead_end(run, train):
    limit = (run.best.stat().st_size + run.last.stat().st_size) // 2
    for file in (run.best, run.last, run.metrics, run.history):
        file.unlink()
    with no_file_larger_than(limit):
        full = train()
    assert isinstance(full.exception, OutputError)
    assert "last.pt" in full.exception.problem
    assert full.exception.cure.endswith("Then the same command starts the run again.")
    assert run.best.is_file(), "the kind of folder that was a dead end"
    assert not run.last.exists()
    resumed = train("--resume")
    assert isinstance(resumed.exception, CheckpointError)
    assert resumed.exception.cure == "Leave --resume out to start a new run."
    again = train()
    assert again.exit_code == 0, again.exception
    assert read_checkpoint(run.last).training["epoch"] == 1


def test_a_disk_that_is_full_later_says_that_the_run_can_be_resumed_and_it_can(run, train):
    run.metrics.unlink()
    (run.path / "scorecard.jsonl").unlink()
    with no_file_larger_than(100):
        full = train("--resume")
    assert isinstance(full.exception, OutputError), full.exception
    assert full.exception.cure.endswith("Then the same command with --resume goes on.")
    assert train("--resume").exit_code == 0
    assert run.metrics.is_file()


def test_a_best_checkpoint_whose_last_one_is_gone_is_never_overwritten(run, train):
    run.last.unlink()
    best = run.best.read_bytes()
    for result in (train(), train("--resume")):
        assert "another --out; best.pt stays" in str(result.exception)
    assert run.best.read_bytes() == best
