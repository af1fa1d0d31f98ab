from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import distill.cli
import distill.prune.cli
from distill.run_folder import held
from edge.errors import ConfigError, OutputError
from tests.unit.distill.tiny import write_tiny_dataset

HOLD = "import sys; from pathlib import Path; from distill.run_folder import held\n"
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
            result = CliRunner().invoke(distill.cli.app, [str(a) for a in arguments])
        else:
            arguments = [tmp_path / "no.pt", tmp_path / "data", "--macs", "0.5", "--out", tmp_path / "run"]
            result = CliRunner().invoke(distill.prune.cli.app, [str(a) for a in arguments])
    assert isinstance(result.exception, ConfigError), result.exception
    assert "Another process is at work" in str(result.exception)
    assert (tmp_path / "run" / "recipe.json").read_text() == "of the first"
