"""Weights of other projects: taken where they fit, and never run."""

from __future__ import annotations

import datetime
import logging
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from distill.detector.build import build_module
from distill.detector.official_weights import matched, take_official_weights
from distill.detector.pickled_model import Shell, holds_objects, read_tensors
from distill.settings.structure import YOLOV5_ANCHORS, DetectorStructure
from edge.core.errors import CheckpointError
from tests.unit.distill.tiny import write_untrained

FAKE = ("models", "models.yolo", "models.common")


@pytest.fixture
def theirs(monkeypatch):
    """A package like that of github.com/ultralytics/yolov5; gone before anything is read."""
    modules = {name: types.ModuleType(name) for name in FAKE}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    def named(module, name):
        made = type(name, (nn.Module,), {"__module__": module, "__qualname__": name})
        setattr(modules[module], name, made)
        return made

    return {
        "Model": named("models.yolo", "DetectionModel"),
        "Detect": named("models.yolo", "Detect"),
        **{name: named("models.common", name) for name in ("Conv", "C3", "Bottleneck", "SPPF", "Concat")},
    }


def forget():
    for name in FAKE:
        sys.modules.pop(name, None)


def as_theirs(classes, ours: nn.Module, name="Model") -> nn.Module:
    """Copy a tree of modules, own layers of torch as they are, all else as classes of the fake package."""
    copy = classes[name]()
    for part, child in ours.named_children():
        is_plain = type(child).__module__.startswith("torch.nn.modules") and not list(child.children())
        kind = type(child).__name__
        copy.add_module(
            part, child if is_plain else as_theirs(classes, child, kind if kind in classes else "Conv")
        )
    for part, value in ours.named_parameters(recurse=False):
        copy.register_parameter(part, value)
    for part, value in ours.named_buffers(recurse=False):
        copy.register_buffer(part, value)
    return copy


def write_official(path: Path, classes, *, scale="p", number=80, **content) -> nn.Module:
    """Write a stand-in for yolov5s.pt: RGB, 80 classes, half precision, anchors within the head."""
    torch.manual_seed(3)
    structure = DetectorStructure(
        family="yolov5-coupled", scale=scale, channels=3, classes=number, anchors=YOLOV5_ANCHORS
    )
    module = build_module(structure)
    model = as_theirs(classes, module).half()
    model.names = ["thing"] * number
    model.yaml = {"nc": number}
    values = {
        "epoch": -1, "best_fitness": np.float64(0.3), "ema": None, "optimizer": None,
        "date": datetime.datetime(2022, 11, 22), "opt": {"save_dir": Path("runs")},
    }  # fmt: skip
    torch.save({"model": model, **values, **content}, path)
    forget()
    return module


def ours(family="yolov5-coupled", **changes):
    anchors = YOLOV5_ANCHORS if family == "yolov5-coupled" else None
    values = {"family": family, "scale": "p", "channels": 1, "classes": 3, "anchors": anchors}
    torch.manual_seed(0)
    return build_module(DetectorStructure(**{**values, **changes}))


def test_everything_but_the_last_layer_comes_over(theirs, tmp_path, caplog):
    source = write_official(tmp_path / "yolov5p.pt", theirs).state_dict()
    module = ours()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with caplog.at_level(logging.INFO):
        record = take_official_weights(module, tmp_path / "yolov5p.pt", "grey")
    after = module.state_dict()
    assert record["other_shape"] == [f"model.24.m.{n}.{p}" for n in range(3) for p in ("weight", "bias")]
    assert record["missing"] == []
    assert record["parameters_taken"] > 0.98 * record["parameters"]
    first = "model.0.conv.weight"
    grey = source[first].half().float().sum(1, keepdim=True)
    assert torch.equal(after[first], grey)
    name = "model.13.cv3.conv.weight"
    assert torch.equal(after[name], source[name].half().float())
    assert all(torch.equal(after[name], before[name]) for name in record["other_shape"])
    assert "% of the parameters" in caplog.text
    assert after[name].dtype == torch.float32


@pytest.mark.parametrize(("order", "turned"), [("rgb", False), ("bgr", True)])
def test_colours_come_in_the_order_of_the_detector(theirs, tmp_path, order, turned):
    source = write_official(tmp_path / "w.pt", theirs).state_dict()["model.0.conv.weight"].half().float()
    module = ours(channels=3)
    take_official_weights(module, tmp_path / "w.pt", order)
    assert torch.equal(module.model[0].conv.weight, source.flip(1) if turned else source)


def test_the_moving_average_is_preferred(theirs, tmp_path):
    other = as_theirs(theirs, ours(channels=3))
    for parameter in other.parameters():
        nn.init.constant_(parameter, 0.5)
    write_official(tmp_path / "w.pt", theirs, ema=other)
    assert (read_tensors(tmp_path / "w.pt")["model.0.conv.weight"] == 0.5).all()


@pytest.mark.parametrize(
    ("family", "missing"),
    [
        pytest.param("yolov5-decoupled", "cv2", id="decoupled"),
        pytest.param("yolov5-yolox", "stems", id="yolox"),
    ],
)  # fmt: skip
def test_another_head_takes_backbone_and_neck(theirs, tmp_path, family, missing):
    write_official(tmp_path / "w.pt", theirs)
    record = take_official_weights(ours(family), tmp_path / "w.pt", "grey")
    assert record["other_shape"] == []
    assert record["missing"]
    assert all(name.startswith("model.24.") for name in record["missing"])
    assert any(missing in name for name in record["missing"])


def test_ultralytics_own_file_fits_the_decoupled_head(tmp_path):
    """yolov5su.pt holds ultralytics' classes by their own names; 80 classes for us are 3."""
    torch.manual_seed(4)
    source = build_module(DetectorStructure(scale="p", channels=3, classes=80))
    torch.save({"model": source.half(), "train_args": {}}, tmp_path / "yolov5pu.pt")
    assert holds_objects(tmp_path / "yolov5pu.pt")
    module = ours("yolov5-decoupled")
    record = take_official_weights(module, tmp_path / "yolov5pu.pt", "grey")
    assert record["missing"] == []
    assert all(".cv3." in name for name in record["other_shape"])
    name = "model.24.cv2.0.2.weight"
    assert torch.equal(module.state_dict()[name], source.state_dict()[name].float())


class Malicious:
    """Runs a command when it is unpickled in the usual way."""

    def __init__(self, function, argument):
        self._call = (function, (argument,))

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    ("function", "named"),
    [
        pytest.param(os.system, "system", id="os"),
        pytest.param(eval, "eval", id="eval"),
        pytest.param(sys.exit, "exit", id="sys"),
    ],
)  # fmt: skip
def test_a_file_that_wants_to_run_something_is_refused_and_not_run(theirs, tmp_path, function, named):
    witness = tmp_path / "witness"
    code = f"touch {witness}" if function is os.system else f"open({str(witness)!r}, 'w')"
    write_official(tmp_path / "w.pt", theirs, opt=Malicious(function, code))
    assert holds_objects(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=rf"wants to call \w+\.{named}.*not loaded"):
        read_tensors(tmp_path / "w.pt")
    assert not witness.exists()


def test_a_call_within_their_packages_calls_nothing(theirs, tmp_path):
    """`torch.load` or `numpy.save` under a harmless root become shells: named, never imported or called."""
    write_official(tmp_path / "w.pt", theirs, opt=Malicious(np.save, str(tmp_path / "witness")))
    assert read_tensors(tmp_path / "w.pt")
    assert not list(tmp_path.glob("witness*"))


def test_reading_imports_nothing_of_theirs(theirs, tmp_path):
    write_official(tmp_path / "w.pt", theirs)
    before, permitted = set(sys.modules), torch.serialization.get_safe_globals()
    read_tensors(tmp_path / "w.pt")
    assert not [name for name in set(sys.modules) - before if name.startswith("models")]
    assert set(torch.serialization.get_safe_globals()) == set(permitted)


def truncated(path, theirs):
    write_official(path, theirs)
    path.write_bytes(path.read_bytes()[:5000])


def text(path, theirs):
    path.write_text("<html>404 Not Found</html>")


def empty(path, theirs):
    path.write_bytes(b"")


def plain_pickle(path, theirs):
    path.write_bytes(pickle.dumps({"model": 1}))


def image_archive(path, theirs):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/one.txt", "one")


def broken_pickle(path, theirs):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cmodels.yolo\nModel\nq\x00garbage")


def lone_layer(path, theirs):
    torch.save(nn.ReLU(), path)


def no_model(path, theirs):
    torch.save({"weights": nn.Linear(2, 2)}, path)


DAMAGES = [truncated, text, empty, plain_pickle, image_archive, broken_pickle, lone_layer, no_model]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_cannot_be_read_is_said_in_one_line(theirs, tmp_path, damage):
    damage(tmp_path / "w.pt", theirs)
    with pytest.raises(CheckpointError) as caught:
        read_tensors(tmp_path / "w.pt")
    assert "w.pt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there():
    assert not holds_objects(Path("no-such.pt"))
    with pytest.raises(CheckpointError, match="no-such"):
        read_tensors(Path("no-such.pt"))


def test_nothing_that_fits_is_refused_with_the_scale_it_has(theirs, tmp_path):
    write_official(tmp_path / "w.pt", theirs, scale="n")
    module = ours()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError, match="scale 'n'"):
        take_official_weights(module, tmp_path / "w.pt", "grey")
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    torch.save(nn.Sequential(nn.Linear(3, 3)), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="does not fit"):
        take_official_weights(module, tmp_path / "other.pt", "grey")


def test_weights_that_are_no_numbers_are_refused(theirs, tmp_path):
    broken = as_theirs(theirs, ours(channels=3))
    nn.init.constant_(next(broken.parameters()), float("nan"))
    write_official(tmp_path / "w.pt", theirs, model=broken)
    with pytest.raises(CheckpointError, match="not all finite"):
        take_official_weights(ours(), tmp_path / "w.pt", "grey")


def test_a_module_within_itself_ends(theirs, tmp_path):
    loop = as_theirs(theirs, ours(channels=3))
    loop._modules["again"] = loop
    write_official(tmp_path / "w.pt", theirs, model=loop)
    assert "model.0.conv.weight" in read_tensors(tmp_path / "w.pt")


def test_our_own_checkpoints_hold_no_objects(tmp_path):
    assert not holds_objects(write_untrained(tmp_path / "best.pt"))


def test_matching_counts_every_tensor_once():
    ours_ = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(5), "n": torch.tensor(0)}
    theirs_ = {"a": torch.ones(2), "b": torch.ones(4), "n": torch.tensor(7), "z": torch.ones(1)}
    fitting, transfer = matched(ours_, theirs_, "grey")
    assert list(fitting) == ["a"]
    assert (transfer.taken, transfer.other_shape, transfer.missing) == (("a",), ("b",), ("c",))
    assert transfer.fraction == pytest.approx(0.2)
    assert "1 of 3 tensors taken, 20.0 % of the parameters" in transfer.summary()


def test_a_shell_takes_no_state_that_is_none():
    shell = Shell(1, 2)
    shell.__setstate__((1, 2))
    shell.__setstate__({"a": 1, 3: 4})
    assert vars(shell) == {"a": 1}
