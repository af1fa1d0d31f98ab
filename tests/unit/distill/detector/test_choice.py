"""What a recipe may ask for, and what is built of it."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError

from distill.checkpoint import read_checkpoint
from distill.core.run_folder import RunFolder
from distill.detector.choice import reach_note, structure_of
from distill.detector.coupled_loss import CoupledLoss
from distill.settings.recipe import Recipe, load_recipe
from distill.settings.structure import YOLOV5_ANCHORS
from distill.training.taking_weights import take_weights
from distill.training.train import train
from distill.training.training_run import prepare_run
from edge.core.errors import CheckpointError, ConfigError
from tests.unit.distill.detector.small_heads import structure_of as small_structure
from tests.unit.distill.detector.test_official_weights import theirs, write_official
from tests.unit.distill.tiny import Silence, tiny_contract, tiny_dataset, tiny_recipe

__all__ = ["theirs"]

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data", train=6, val=2)


@pytest.mark.parametrize(
    ("values", "family", "anchors"),
    [
        pytest.param({}, "yolov5-decoupled", None, id="default"),
        pytest.param({"head": "yolox"}, "yolov5-yolox", None, id="yolox"),
        pytest.param({"head": "coupled"}, "yolov5-coupled", YOLOV5_ANCHORS, id="coupled"),
        pytest.param(
            {"head": "coupled", "anchors": [[9, 9], [1, 2], [4, 4]]},
            "yolov5-coupled",
            ((1, 2), (4, 4), (9, 9)),
            id="anchors-by-area",
        ),
    ],
)
def test_structure_of_a_recipe(values, family, anchors):
    structure = structure_of(tiny_recipe(**values), tiny_contract())
    assert (structure.family, structure.anchors, structure.scale) == (family, anchors, "p")


def test_a_combination_that_means_nothing_is_one_line(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text("head = 'coupled'\nassigner = 'simota'\n")
    with pytest.raises(ConfigError, match=r"r\.toml.*leave assigner out"):
        load_recipe(str(file), {}, {})
    with pytest.raises(ConfigError, match="'yolox' has none"):
        structure_of(tiny_recipe(head="yolox", anchors=[[1, 2]] * 3), tiny_contract())
    with pytest.raises(ConfigError, match="4 anchors cannot be split over 3 levels") as caught:
        structure_of(tiny_recipe(head="coupled", anchors=[[1, 2]] * 4), tiny_contract())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["head = 'magic'", "assigner = 'hungarian'", "reg_max = 2"])
def test_an_unknown_choice_names_what_is_permitted(tmp_path, text):
    file = tmp_path / "r.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"r\.toml: (head|assigner|reg_max)"):
        load_recipe(str(file), {}, {})


@pytest.mark.parametrize("content", [{"anchors": [[3, 4], [5, 6], [7, 8]]}, [[3, 4], [5, 6], [7, 8]]])
def test_anchors_come_from_a_file_and_stay_in_the_recipe(tmp_path, content):
    (tmp_path / "anchors.json").write_text(json.dumps(content))
    (tmp_path / "r.toml").write_text(f"head = 'coupled'\nanchors = '{tmp_path / 'anchors.json'}'\n")
    recipe = load_recipe(str(tmp_path / "r.toml"), {}, {})
    assert recipe.anchors == ((3, 4), (5, 6), (7, 8))
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "There is no file", id="missing"),
        pytest.param("{", "not valid JSON", id="not-json"),
        pytest.param('{"count": 3}', "no list 'anchors'", id="no-anchors"),
        pytest.param('{"anchors": []}', "at least 1", id="empty"),
        pytest.param('{"anchors": [[1, -2]]}', "greater than 0", id="negative"),
        pytest.param('{"anchors": [[1, 2, 3]]}', "at most 2", id="three-sides"),
    ],
)
def test_a_file_of_anchors_that_is_none(tmp_path, content, said):
    file = tmp_path / "anchors.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValidationError, match=said):
        Recipe(head="coupled", anchors=str(file))


@pytest.mark.parametrize(
    ("family", "reg_max", "size", "said"),
    [
        pytest.param("yolov5-decoupled", 16, (640, 960), None, id="just-reached"),
        pytest.param("yolov5-decoupled", 16, (640, 992), "reg_max = 17", id="too-wide"),
        pytest.param("yolov5-decoupled", 17, (640, 992), None, id="enough-bins"),
        pytest.param("yolov5-decoupled", 16, (2048, 64), "reg_max = 33", id="too-high"),
        pytest.param("yolov5-yolox", 16, (640, 4096), None, id="yolox-has-no-end"),
        pytest.param("yolov5-coupled", 16, (640, 4096), None, id="coupled-has-none-either"),
    ],
)
def test_a_head_that_cannot_tell_the_widest_boxes_says_so(family, reg_max, size, said):
    note = reach_note(small_structure(family, reg_max=reg_max), size)
    assert (note is None) if said is None else (said in note)


def test_the_note_is_logged(caplog):
    structure_of(tiny_recipe(input_size_hw_px=(64, 2048)), tiny_contract(
        tiny_recipe(input_size_hw_px=(64, 2048))))  # fmt: skip
    assert "reg_max = 33" in caplog.text


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        pytest.param({"head": "yolox", "assigner": "task-aligned"}, "objectness", id="yolox"),
        pytest.param({"head": "coupled"}, "objectness", id="coupled"),
        pytest.param({"assigner": "simota"}, "dfl", id="decoupled"),
    ],
)
def test_a_run_with_another_head_ends_in_a_checkpoint_of_it(data, tmp_path, values, parts):
    recipe = tiny_recipe(epochs=1, **values)
    folder = RunFolder(tmp_path / "run")
    folder.open_new()
    contract = tiny_contract(recipe)
    assert train(data, contract, recipe, folder, device=CPU, listener=Silence(), turned_ids=(0, 1, 2))
    checkpoint = read_checkpoint(folder.best)
    assert checkpoint.structure == structure_of(recipe, contract)
    assert {"loss_box", "loss_class", f"loss_{parts}"} <= set(folder.read_history()[0])


def test_the_coupled_head_gets_its_own_loss(data, tmp_path):
    recipe = tiny_recipe(head="coupled")
    run = prepare_run(data, tiny_contract(recipe), recipe, RunFolder(tmp_path), CPU, (0, 1, 2))
    assert isinstance(run.task._loss, CoupledLoss)


def test_a_run_starts_from_official_weights_and_says_so(data, tmp_path, theirs):
    file = tmp_path / "yolov5p.pt"
    source = write_official(file, theirs).state_dict()
    recipe = tiny_recipe(head="yolox")
    run = prepare_run(data, tiny_contract(recipe), recipe, RunFolder(tmp_path / "run"), CPU, (0, 1, 2))
    take_weights(run, file)
    record = json.loads(run.folder.start_from.read_text())
    assert record["weights"] == str(file)
    assert 0 < record["parameters_taken"] < record["parameters"]
    name = "model.13.cv3.conv.weight"
    for module in (run.module, run.average.ema):
        assert torch.equal(module.state_dict()[name], source[name].half().float())


def test_a_text_file_is_no_start(data, tmp_path):
    (tmp_path / "w.pt").write_text("not weights")
    recipe = tiny_recipe()
    run = prepare_run(data, tiny_contract(recipe), recipe, RunFolder(tmp_path / "run"), CPU, (0, 1, 2))
    with pytest.raises(CheckpointError, match=r"w\.pt is damaged"):
        take_weights(run, tmp_path / "w.pt")
