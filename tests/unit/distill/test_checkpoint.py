from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
import torch

from distill.checkpoint import (
    infer,
    load_detector,
    read_checkpoint,
    weights_digest,
    write_checkpoint,
)
from distill.detector.build import build_module, count_macs
from distill.settings.structure import DetectorStructure
from edge.core.errors import CheckpointError
from tests.unit.distill.tiny import untrained_checkpoint, write_untrained


@pytest.fixture
def file(tmp_path):
    return write_untrained(tmp_path / "best.pt")


def edited(file, **changes):
    """Rewrite a checkpoint file with some keys changed."""
    content = torch.load(file, weights_only=True)
    if changes.get("weights") is not None:  # as if it had been written so: its digest is right
        contract = json.loads(content["contract"])
        contract["source_digest"] = weights_digest(changes["weights"])
        changes["contract"] = json.dumps(contract)
    torch.save({**content, **changes}, file)


def test_a_checkpoint_gives_the_same_detector_again(tmp_path):
    checkpoint = untrained_checkpoint()
    module = build_module(checkpoint.structure)
    module.load_state_dict(checkpoint.weights)
    write_checkpoint(tmp_path / "best.pt", checkpoint)
    detector = load_detector(tmp_path / "best.pt")
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        for ours, theirs in zip(infer(module.eval(), images), infer(detector.module, images), strict=True):
            assert torch.equal(ours, theirs)
    assert detector.contract == checkpoint.contract
    assert not detector.module.training
    assert len(detector.file_digest) == 64


def test_the_file_holds_tensors_and_primitives_only(file):
    content = torch.load(file, weights_only=True)
    assert isinstance(content["structure"], str)
    assert set(map(type, content["weights"].values())) == {torch.Tensor}
    assert b"ultralytics" not in file.read_bytes()
    assert not list(file.parent.glob(".*partial"))


def test_boxes_are_corners_in_pixels(file):
    detector = load_detector(file)
    with torch.inference_mode():
        boxes, scores = infer(detector.module, torch.rand(1, 1, 64, 64))
    assert boxes.shape == (1, 84, 4)
    assert scores.shape == (1, 84, 3)
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_digest_depends_on_names_and_values():
    a, b = torch.zeros(2), torch.ones(2)
    assert weights_digest({"a": a, "b": b}) == weights_digest({"b": b, "a": a})
    assert weights_digest({"a": a, "b": b}) != weights_digest({"a": b, "b": a})


def truncate(file):
    file.write_bytes(file.read_bytes()[:5000])


def pickle_module(file):
    torch.save(torch.nn.Linear(2, 2), file)


def plain_pickle(file):
    file.write_bytes(pickle.dumps({"format": "loomsight-checkpoint"}))


def other_structure(file):
    edited(file, structure=DetectorStructure(scale="n", channels=1, classes=3).model_dump_json())


def foreign_module(file):
    structure = json.loads(DetectorStructure(scale="p", channels=1, classes=3).model_dump_json())
    structure["backbone"][0][2] = "nn.Module.__init__"
    edited(file, structure=json.dumps(structure))


def dangling_layer(file):
    structure = json.loads(DetectorStructure(scale="p", channels=1, classes=3).model_dump_json())
    structure["head"][2][0] = [-1, 77]
    edited(file, structure=json.dumps(structure))


def nan_weights(file):
    weights = torch.load(file, weights_only=True)["weights"]
    next(iter(weights.values()))[0] = float("nan")
    edited(file, weights=weights)


def fewer_weights(file):
    weights = torch.load(file, weights_only=True)["weights"]
    weights.pop(next(iter(weights)))
    edited(file, weights=weights)


def zeroed_block(file):
    """As a disk does that loses a block: the archive stays whole, a stretch of the weights is zeros."""
    data, block = bytearray(file.read_bytes()), 65_536
    middle = len(data) // 2
    data[middle : middle + block] = bytes(block)
    file.write_bytes(data)


def other_weights_of_the_same_form(file):
    """As an editor does that writes right checksums: only the digest in the contract tells."""
    content = torch.load(file, weights_only=True)
    name, tensor = next((n, t) for n, t in content["weights"].items() if t.ndim > 1)
    content["weights"][name] = torch.zeros_like(tensor)
    torch.save(content, file)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(zeroed_block, "checksum", id="block-of-zeros"),
        pytest.param(other_weights_of_the_same_form, "digest differs", id="other-weights"),
        pytest.param(lambda file: file.unlink(), "no checkpoint", id="missing"),
        pytest.param(lambda file: file.write_bytes(b"garbage"), "damaged", id="garbage"),
        pytest.param(lambda file: file.write_bytes(b""), "damaged", id="empty"),
        pytest.param(truncate, "damaged", id="truncated"),
        pytest.param(pickle_module, "never loaded", id="pickled-module"),
        pytest.param(plain_pickle, "checkpoint", id="plain-pickle"),
        pytest.param(lambda file: torch.save({"a": 1}, file), "is not a loomsight", id="other-content"),
        pytest.param(lambda file: edited(file, format_version=99), "format 99", id="newer"),
        pytest.param(lambda file: edited(file, contract="{}"), "not a complete", id="no-contract"),
        pytest.param(lambda file: edited(file, weights=None), "disagree", id="no-weights"),
        pytest.param(other_structure, "do not fit", id="other-structure"),
        pytest.param(foreign_module, "not a complete", id="module-not-permitted"),
        pytest.param(dangling_layer, "do not fit", id="structure-does-not-build"),
        pytest.param(nan_weights, "finite", id="nan-weights"),
        pytest.param(fewer_weights, "do not fit", id="weights-missing"),
    ],
)
def test_what_is_not_a_sound_checkpoint_is_refused_on_one_line(file, damage, said):
    damage(file)
    with pytest.raises(CheckpointError) as caught:
        load_detector(file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_weights_are_not_written_and_the_old_file_stays(file):
    before = file.read_bytes()
    checkpoint = read_checkpoint(file)
    weights = dict(checkpoint.weights)
    name = next(iter(weights))
    weights[name] = weights[name] * float("nan")
    with pytest.raises(CheckpointError, match="finite"):
        write_checkpoint(file, replace(checkpoint, weights=weights))
    assert file.read_bytes() == before


def test_pico_has_the_size_it_is_said_to_have():
    module = build_module(DetectorStructure(scale="p", channels=1, classes=3))
    assert sum(parameter.numel() for parameter in module.parameters()) == 787_241
    assert count_macs(module, (1, 256, 256)) == 196_888_576
