from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from typer.testing import CliRunner

from distill.commands.distill_cli import app
from edge.core.errors import CheckpointError, ConfigError, DatasetError
from tests.unit.distill.tiny import write_tiny_dataset

TINY = """
scale = "p"
input_size_hw_px = [64, 64]
overlap_px = 8
epochs = 1
batch = 8
precision = "float32"
"""


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli")
    write_tiny_dataset(root / "data")
    (root / "tiny.toml").write_text(TINY)
    return root


@pytest.fixture(scope="module")
def first(folder):
    return invoke(folder / "data", "--recipe", folder / "tiny.toml", "--out", folder / "run")


def test_stdout_says_where_the_results_are(first, folder):
    assert first.exit_code == 0, first.output
    for name in ("best.pt", "metrics.json", "scorecard.jsonl", "index.html"):
        assert str(folder / "run" / name) in first.stdout
        assert (folder / "run" / name).is_file()
    assert "epoch 1/1" in first.stderr
    assert "epoch 1/1" not in first.stdout


def test_the_page_and_the_metrics_say_the_same(first, folder):
    metrics = json.loads((folder / "run/metrics.json").read_text())
    matrix = np.array(metrics["confusion"]["true_by_reported"])
    totals, found = matrix[:-1].sum(axis=1), matrix[:-1, :-1].sum(axis=1)
    assert metrics["confusion"]["names"] == [*metrics["by_class"], "nothing"]
    assert list(metrics["by_class"].values()) == np.stack([totals, found], axis=1).tolist()
    assert metrics["false_alarms"] == matrix[-1].sum()
    page = (folder / "run/index.html").read_text()
    assert f"{found.sum()} of {totals.sum()} defect" in page
    assert "loss over the epochs" in page


def test_it_ends_with_what_became_better_and_the_command_that_is_next(first, folder):
    result, following = first.stdout.splitlines()[-2:]
    assert result.startswith("result      mAP50 ")
    assert result.endswith("on the validation tiles after one epoch: there is nothing to compare with")
    assert result.removeprefix("result      ") in (folder / "run/index.html").read_text()
    words = shlex.split(following)
    assert words[:2] == ["next", "loomsight"]
    assert words[2] in ("export", "distill")  # more training where next to nothing is found
    assert str(folder / "run/best.pt") in words


def test_a_second_run_does_not_overwrite_the_first(first, folder):
    again = invoke(folder / "data", "--recipe", folder / "tiny.toml", "--out", folder / "run")
    assert isinstance(again.exception, ConfigError)


def test_a_resumed_run_keeps_its_recipe(first, folder):
    changed = invoke(folder / "data", "--out", folder / "run", "--resume", "--epochs", 7)
    assert isinstance(changed.exception, ConfigError)
    assert "epochs" in str(changed.exception)
    repeated = invoke(
        folder / "data", "--out", folder / "run", "--resume", "--recipe", folder / "tiny.toml"
    )
    assert repeated.exit_code == 0, repeated.output


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param(["nowhere"], DatasetError, id="no-data-set"),
        pytest.param(["nowhere", "--recipe", "huge"], ConfigError, id="no-recipe"),
        pytest.param(["nowhere", "--resume", "--out", "nothing"], CheckpointError, id="nothing-to-resume"),
        pytest.param(
            ["nowhere", "--resume", "--out", "nothing", "--start-from", "best.pt"],
            ConfigError,
            id="resume-from-elsewhere",
        ),
    ],
)
def test_mistakes_end_in_an_error_of_the_family(arguments, error):
    assert isinstance(invoke(*arguments).exception, error)
