from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from distill.commands.teacher_cli import app
from edge.core.errors import CheckpointError, ConfigError, DatasetError
from tests.unit.distill.tiny import write_tiny_dataset

SETTINGS = """
tasks = ["detection"]
epochs = 1
batch = 4
max_new_tokens = 12
precision = "float32"
[lora]
r = 2
targets = ["q_proj"]
"""


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, base):
    root = tmp_path_factory.mktemp("cli")
    write_tiny_dataset(root / "data", train=4, val=2)
    (root / "small.toml").write_text(SETTINGS)
    return root


@pytest.fixture(scope="module")
def first(folder, base):
    return invoke(
        "finetune", base, folder / "data", "--settings", folder / "small.toml", "--out", folder / "run"
    )


def test_finetune_leaves_a_model_and_its_settings(first, folder):
    assert first.exit_code == 0, first.output
    assert "best epoch 1" in first.stdout
    assert json.loads((folder / "run" / "settings.json").read_text())["lora"]["r"] == 2
    assert (folder / "run" / "model" / "config.json").is_file()


def test_a_run_is_not_overwritten_nor_changed(first, folder, base):
    again = invoke("finetune", base, folder / "data", "--out", folder / "run")
    assert isinstance(again.exception, ConfigError)
    changed = invoke("finetune", base, folder / "data", "--out", folder / "run", "--resume", "--epochs", 9)
    assert "other settings" in str(changed.exception)
    nothing = invoke("finetune", base, folder / "data", "--out", folder / "none", "--resume")
    assert isinstance(nothing.exception, CheckpointError)


def test_annotate_goes_on_past_a_corrupt_image(first, folder, base):
    images = shutil.copytree(folder / "data" / "images" / "val", folder / "images")
    (images / "0 (1) 布.png").write_bytes(b"no image")
    out = folder / "lines.jsonl"
    done = invoke("annotate", base, images, "--adapter", folder / "run" / "adapter", "--out", out,
                  "--tile-px", 128, "--batch", 2)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "2 images" in done.stdout
    assert "1 unreadable" in done.stdout
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert ["problem" in line for line in lines] == [True, False, False]
    assert lines[1]["size_hw_px"] == [64, 160]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--open", "--vocabulary", "drop"], "exclude each other"),
        (["--vocabulary", "drop,,"], "empty name"),
        (["--beams", "0"], "beams = 0"),
    ],
    ids=["both", "empty", "beams"],
)
def test_mistakes_are_named(folder, base, arguments, said):
    result = invoke("annotate", base, folder / "data", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


def test_a_folder_without_images_is_named(folder, base, tmp_path):
    found = invoke("annotate", base, tmp_path).exception
    assert isinstance(found, DatasetError)
    assert "no images" in str(found)


@pytest.mark.parametrize("name", ["nowhere", "nowhere/at/all.png"])
def test_a_path_that_is_not_there_is_an_error(base, tmp_path, name):
    found = invoke("annotate", base, tmp_path / name, "--out", tmp_path / "lines.jsonl").exception
    assert isinstance(found, DatasetError)
    assert found.problem == f"There is no {tmp_path / name}."
    assert not (tmp_path / "lines.jsonl").exists()


def test_nothing_that_can_be_read_is_an_error(base, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    found = invoke("annotate", base, tmp_path / "bad", "--out", tmp_path / "lines.jsonl").exception
    assert isinstance(found, DatasetError)
    assert "None of the images" in found.problem
    assert "problem" in json.loads((tmp_path / "lines.jsonl").read_text())
