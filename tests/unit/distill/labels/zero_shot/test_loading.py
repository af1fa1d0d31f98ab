from __future__ import annotations

import json
import shutil

import pytest
import torch

from distill.labels.zero_shot.loading import load_open_detector
from edge.core.errors import CheckpointError


def without(*names):
    def remove(folder):
        for name in names:
            (folder / name).unlink()

    return remove


def of_another_type(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "florence2"}))


def garbled(name):
    def write(folder):
        (folder / name).write_bytes(b"{ not what it was")

    return write


def fewer_weights(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.level_embed"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("model_type", ["grounding-dino", "owlv2", "owlvit"])
def test_a_folder_of_either_family_is_loaded(folders, model_type):
    detector = load_open_detector(str(folders[model_type]))
    assert detector.model_type == model_type
    assert not detector.model.training
    assert detector.device == torch.device("cpu")
    assert not any(weight.requires_grad for weight in detector.model.parameters())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("config.json"), "no config.json"),
        (garbled("config.json"), "not valid JSON"),
        (of_another_type, "of the type 'florence2'"),
        (without("processor_config.json"), "lacks its processor"),
        (without("tokenizer.json", "vocab.txt"), "lacks its tokenizer"),
        (without("model.safetensors"), "holds no weights"),
        (garbled("model.safetensors"), "weights of .* cannot be loaded"),
        (garbled("processor_config.json"), "processor of .* cannot be loaded"),
        (fewer_weights, "lack 1 tensors, first model.level_embed"),
    ],
)
def test_what_cannot_be_loaded_is_said_on_one_line_with_a_cure(folders, tmp_path, damage, said):
    folder = tmp_path / "model"
    shutil.copytree(folders["grounding-dino"], folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_open_detector(str(folder))
    assert "\n" not in str(caught.value)
    assert caught.value.cure


@pytest.mark.parametrize("source", ["no/such/folder/here", "./nothing", "nothing at all"])
def test_a_folder_that_is_not_there_is_said_to_be_missing(source):
    with pytest.raises(CheckpointError, match="There is no folder"):
        load_open_detector(source)


def test_a_hub_id_without_a_network_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"not in the cache here, and huggingface\.co does not"):
        load_open_detector("some-owner/no-such-model")
