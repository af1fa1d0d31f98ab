from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BartConfig, Florence2ForConditionalGeneration, Florence2Processor

from distill.labels.florence.adapter import add_adapter, merged, save_adapter
from distill.labels.florence.freezing import freeze, learning
from distill.labels.florence.generation import model_inputs
from distill.labels.florence.loading import load_teacher, write_model_folder
from distill.labels.florence.settings import FinetuneSettings, LoraSettings
from edge.core.errors import CheckpointError, ConfigError
from tests.unit.distill.labels.florence.small import bright_square, small_folder


@pytest.fixture
def copy(base, tmp_path):
    return shutil.copytree(base, tmp_path / "copy")


def logits_of(teacher):
    image, _ = bright_square(np.random.default_rng(0))
    inputs = model_inputs(teacher, [image], ["<OD>"])
    with torch.inference_mode():
        return teacher.model(**inputs, decoder_input_ids=torch.tensor([[2, 0, 5, 6]])).logits


def stir(model):
    """Give fresh adapters weights that matter."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.1)


def test_a_folder_gives_the_real_classes(base):
    teacher = load_teacher(str(base))
    assert isinstance(teacher.model, Florence2ForConditionalGeneration)
    assert isinstance(teacher.processor, Florence2Processor)
    assert not teacher.model.training
    assert sum(weight.numel() for weight in teacher.model.parameters()) < 600_000


def test_the_same_seed_gives_the_same_model(base, tmp_path):
    again = load_teacher(str(small_folder(tmp_path / "again")))
    assert again.base_fingerprint == load_teacher(str(base)).base_fingerprint


@pytest.mark.parametrize(
    "change",
    [{"auto_map": {"AutoConfig": "configuration_florence2.Florence2Config"}},
     {"text_config": {"model_type": "florence2_language"}}],
    ids=["auto-map", "text-type"],
)  # fmt: skip
def test_the_layout_with_remote_code_is_refused(copy, change):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=r"older layout.*florence-community"):
        load_teacher(str(copy))


def test_the_hub_id_of_that_layout_is_refused_without_a_network():
    with pytest.raises(CheckpointError, match="older layout"):
        load_teacher("microsoft/Florence-2-base-ft")


def test_a_hub_id_without_a_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True, raising=False)
    with pytest.raises(CheckpointError, match=r"nobody/florence-of-no-one.*network"):
        load_teacher("nobody/florence-of-no-one")


@pytest.mark.parametrize(
    ("missing", "said"),
    [("config.json", "no config.json"), ("tokenizer.json", "lacks its tokenizer"),
     ("processor_config.json", "lacks its processor"), ("model.safetensors", "no weights")],
    ids=["config", "tokenizer", "processor", "weights"],
)  # fmt: skip
def test_a_missing_file_is_named(copy, missing, said):
    (copy / missing).unlink()
    with pytest.raises(CheckpointError, match=said):
        load_teacher(str(copy))


def test_a_folder_of_something_else_is_refused(tmp_path):
    BartConfig().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not a Florence-2 but 'bart'"):
        load_teacher(str(tmp_path))


def test_damaged_files_are_refused(copy):
    (copy / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(CheckpointError, match="weights"):
        load_teacher(str(copy))
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_teacher(str(copy))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="no folder"):
        load_teacher(str(tmp_path / "nothing"))


def test_adapters_round_trip_and_merge(base, tmp_path):
    teacher = load_teacher(str(base))
    plain = logits_of(teacher)
    model = add_adapter(teacher.model, LoraSettings())
    stir(model.eval())
    with_adapter = logits_of(replace(teacher, model=model))
    (tmp_path / "adapter").mkdir()
    save_adapter(model, tmp_path / "adapter", teacher.base_fingerprint, teacher.source)
    loaded = load_teacher(str(base), tmp_path / "adapter")
    torch.testing.assert_close(logits_of(loaded), with_adapter)
    write_model_folder(merged(model), teacher.processor, tmp_path / "merged")
    whole = load_teacher(str(tmp_path / "merged"))
    # The head shares its weights with the embedding: merging in place would change both.
    torch.testing.assert_close(logits_of(whole), with_adapter, atol=1e-5, rtol=1e-4)
    assert (with_adapter - plain).abs().max() > 0.01


def test_an_adapter_for_another_model_is_refused(base, other_base, tmp_path):
    teacher = load_teacher(str(base))
    model = add_adapter(teacher.model, LoraSettings())
    save_adapter(model, tmp_path, teacher.base_fingerprint, teacher.source)
    with pytest.raises(CheckpointError, match="other weights"):
        load_teacher(str(other_base), tmp_path)
    (tmp_path / "loomsight_base.json").unlink()
    with pytest.raises(CheckpointError, match="does not fit"):
        load_teacher(str(other_base), tmp_path)


def test_what_is_no_adapter_is_refused(base, tmp_path):
    with pytest.raises(CheckpointError, match="not the folder of an adapter"):
        load_teacher(str(base), tmp_path)


def test_targets_that_match_nothing_are_named(base):
    teacher = load_teacher(str(base))
    with pytest.raises(ConfigError, match=r"o_proj, Conv2d matches no layer.*q_proj"):
        add_adapter(teacher.model, LoraSettings(targets=("q_proj", "o_proj", "Conv2d")))


def test_dora_is_a_flag(base):
    model = add_adapter(load_teacher(str(base)).model, LoraSettings(dora=True, targets=("q_proj",)))
    assert any("lora_magnitude_vector" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("lora", [None, LoraSettings()], ids=["full", "lora"])
@pytest.mark.parametrize(
    ("flag", "frozen", "free"),
    [
        ("freeze_vision", "vision_tower", "language_model"),
        ("freeze_text", "language_model", "vision_tower"),
    ],
    ids=["vision", "text"],
)
def test_freezing_truly_freezes(base, lora, flag, frozen, free):
    model = load_teacher(str(base)).model
    model = add_adapter(model, lora) if lora else model
    freeze(model, FinetuneSettings(lora=lora, **{flag: True}))
    names = learning(model)
    assert not any(f".{frozen}." in name for name in names)
    assert any(f".{free}." in name for name in names)


def test_freezing_everything_is_refused(base):
    settings = FinetuneSettings(lora=None, freeze_vision=True, freeze_text=True)
    with pytest.raises(ConfigError, match="Nothing is left"):
        freeze(load_teacher(str(base)).model, settings)
