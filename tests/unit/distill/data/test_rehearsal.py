"""Simulated cloth among the images of the data set: woven once, at its scale, and never validated on."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

import distill.evaluation.scorecard
import distill.training.finish
import distill.training.stages
from distill.commands.distill_cli import app
from distill.data.dataset import load_dataset
from distill.data.simulated import rehearsed
from distill.settings.recipe import load_recipe
from distill.settings.tables import Rehearsal
from edge.core.errors import DatasetError
from edge.core.taxonomy import load_taxonomy
from edge.dataset.options import DatasetOptions
from tests.unit.distill.tiny import CLASSES, TINY_TOML, tiny_dataset, write_tiny_dataset
from tests.unit.edge.dataset.clean_images import clean_cloth, save

SIMULATION = {"images": 4, "size_hw": (128, 128), "split": {"train": 0.75, "val": 0.25}}
RECIPE = f"""{TINY_TOML}
[rehearsal]
repeats = 3

[rehearsal.simulation]
images = 4
size_hw = [128, 128]
split = {{train = 0.75, val = 0.25}}
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
    monkeypatch.setattr(distill.training.finish, "write_run_page", lambda *_: None)


def test_own_images_come_again_and_again_and_simulated_ones_are_never_validated_on(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=4, val=2)
    asked = Rehearsal(repeats=3, simulation=DatasetOptions(**SIMULATION))
    both = rehearsed(data, asked, 0.35, tmp_path / "woven", load_taxonomy())
    assert both.train[:4] == both.train[4:8] == both.train[8:12] == data.train
    assert [image.path.parents[2].name for image in both.train[12:]] == ["woven"] * 3
    assert both.val == data.val
    assert load_dataset(tmp_path / "woven", CLASSES).mm_per_px == 0.35


def test_cloth_that_was_woven_otherwise_is_refused(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=2, val=2)
    asked = Rehearsal(simulation=DatasetOptions(**SIMULATION))
    rehearsed(data, asked, 0.2, tmp_path / "woven", load_taxonomy())
    other = Rehearsal(simulation=DatasetOptions(**SIMULATION, seed=9))
    with pytest.raises(DatasetError, match="another seed"):
        rehearsed(data, other, 0.2, tmp_path / "woven", load_taxonomy())
    with pytest.raises(DatasetError, match="no simulated data set"):
        rehearsed(data, asked, 0.2, data.folder / "images", load_taxonomy())


def test_what_a_recipe_leaves_out_of_the_simulation_is_as_the_shipped_detector_knows_cloth(tmp_path):
    """One key given must not bring back the defaults of `simulate` for the others."""
    (tmp_path / "recipe.toml").write_text("[rehearsal.simulation]\nimages = 40\n")
    for recipe in (load_recipe(name, {}, {}) for name in (str(tmp_path / "recipe.toml"), "mill")):
        asked = recipe.rehearsal.simulation
        assert (asked.look, asked.defects_per_m, asked.size_hw) == ("both", 25.0, (256, 256))
    assert load_recipe(str(tmp_path / "recipe.toml"), {}, {}).rehearsal.simulation.images == 40


def paths_of(dataset):
    return [image.path for image in dataset.train]


def clean_folder(place):
    return save(place / "clean", a=clean_cloth(1, (192, 320)), b=clean_cloth(2, (192, 320)))


def test_defects_are_planted_in_clean_images_and_others_than_those_are_refused(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=2, val=2)
    clean = clean_folder(tmp_path)
    asked = Rehearsal(simulation=DatasetOptions(**SIMULATION, on=clean))
    both = rehearsed(data, asked, 0.2, tmp_path / "planted", load_taxonomy())
    assert [image.path.parents[2].name for image in both.train[4:]] == ["planted"] * 3
    made = json.loads((tmp_path / "planted/simulation.json").read_text())
    assert made["clean_images"]["images"] == 2
    assert paths_of(rehearsed(data, asked, 0.2, tmp_path / "planted", load_taxonomy())) == paths_of(both)
    woven = Rehearsal(simulation=DatasetOptions(**SIMULATION))
    with pytest.raises(DatasetError, match="another on"):
        rehearsed(data, woven, 0.2, tmp_path / "planted", load_taxonomy())
    save(clean, a=clean_cloth(4, (192, 320)))
    with pytest.raises(DatasetError, match=f"another content of {clean}"):
        rehearsed(data, asked, 0.2, tmp_path / "planted", load_taxonomy())
    shutil.rmtree(clean)
    assert paths_of(rehearsed(data, asked, 0.2, tmp_path / "planted", load_taxonomy())) == paths_of(both)


def test_a_data_set_of_before_there_were_clean_images_is_still_taken(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=2, val=2)
    asked = Rehearsal(simulation=DatasetOptions(**SIMULATION))
    rehearsed(data, asked, 0.2, tmp_path / "woven", load_taxonomy())
    file = tmp_path / "woven/simulation.json"
    made = json.loads(file.read_text())
    del made["options"]["on"]
    file.write_text(json.dumps(made))
    assert len(rehearsed(data, asked, 0.2, tmp_path / "woven", load_taxonomy()).train) == 2 * 2 + 3
    planted = Rehearsal(simulation=DatasetOptions(**SIMULATION, on=clean_folder(tmp_path)))
    with pytest.raises(DatasetError, match="another on"):
        rehearsed(data, planted, 0.2, tmp_path / "woven", load_taxonomy())


def test_a_data_set_of_before_there_were_looks_is_one_of_the_drawn_look(tmp_path):
    data = tiny_dataset(tmp_path / "data", train=2, val=2)
    drawn = Rehearsal(simulation=DatasetOptions(**SIMULATION))
    rehearsed(data, drawn, 0.2, tmp_path / "woven", load_taxonomy())
    file = tmp_path / "woven/simulation.json"
    made = json.loads(file.read_text())
    del made["options"]["look"], made["options"]["pattern"]
    file.write_text(json.dumps(made))
    assert len(rehearsed(data, drawn, 0.2, tmp_path / "woven", load_taxonomy()).train) == 2 * 2 + 3
    woven = Rehearsal(simulation=DatasetOptions(**SIMULATION, look="woven"))
    with pytest.raises(DatasetError, match="another look"):
        rehearsed(data, woven, 0.2, tmp_path / "woven", load_taxonomy())


def test_distill_plants_defects_in_the_clean_images_of_its_recipe(tmp_path):
    write_tiny_dataset(tmp_path / "data", train=4, val=2)
    (tmp_path / "recipe.toml").write_text(f"{RECIPE}on = {json.dumps(str(clean_folder(tmp_path)))}\n")
    command = [tmp_path / "data", "--recipe", tmp_path / "recipe.toml", "--out", tmp_path / "run"]
    done = CliRunner().invoke(app, [str(word) for word in command])
    assert done.exit_code == 0, (done.output, done.exception)
    coco = json.loads((tmp_path / "run/rehearsal/annotations/train.json").read_text())
    assert {entry["clean_image"] for entry in coco["images"]} <= {"a.png", "b.png"}
    again = CliRunner().invoke(app, [str(word) for word in (*command, "--resume")])
    assert again.exit_code == 0, (again.output, again.exception)
    save(tmp_path / "clean", c=clean_cloth(4, (192, 320)))
    changed = CliRunner().invoke(app, [str(word) for word in (*command, "--resume")])
    assert isinstance(changed.exception, DatasetError)
    assert "another content of" in str(changed.exception)


def test_distill_rehearses_and_goes_on_with_the_same_images(tmp_path, monkeypatch):
    write_tiny_dataset(tmp_path / "data", train=4, val=2)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    seen, trained = [], distill.training.stages.train

    def train(dataset, *arguments, **options):
        seen.append(dataset.train)
        return len(seen) > 1 and trained(dataset, *arguments, **options)

    monkeypatch.setattr(distill.training.stages, "train", train)
    command = [tmp_path / "data", "--recipe", tmp_path / "recipe.toml", "--out", tmp_path / "run"]
    runner = CliRunner()
    assert runner.invoke(app, [str(word) for word in command]).exit_code == 130
    (tmp_path / "run/last.pt").unlink(missing_ok=True)
    done = runner.invoke(app, [str(word) for word in command])
    assert done.exit_code == 0, (done.output, done.exception)
    assert len(seen[0]) == 3 * 4 + 3
    assert [image.path for image in seen[0]] == [image.path for image in seen[1]]
    assert (tmp_path / "run/best.pt").is_file()
