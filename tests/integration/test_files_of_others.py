"""Files that others wrote or sent: whatever they are, a command says one line of them and hangs nowhere."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from distill.detector.pickled_model import read_tensors
from edge.core.errors import CheckpointError
from tests.hostile.commands import outcome_of
from tests.unit.distill.tiny import write_tiny_dataset

SHIPPED = Path(__file__).parents[2] / "distill" / "weights" / "any-cloth.pt"

PIPE = "is a pipe, and not a regular file"
FORMS = [
    pytest.param(None, id="pipe"),
    pytest.param(b"[" * 100_000, id="nested"),
    pytest.param(b'{"a": "\xe4"}', id="latin-1"),
    pytest.param(b'{"anchors": ' + b"9" * 5_000 + b"}", id="5000-digits"),
    pytest.param(b"", id="empty"),
]


def _put(file: Path, content: bytes | None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        os.mkfifo(file)
    else:
        file.write_bytes(content)
    return file


@pytest.mark.parametrize("content", FORMS)
@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        pytest.param("anchors.json", ["distill", "set", "--recipe", "recipe.toml"], 10, id="anchors"),
        pytest.param(
            "plan.json", ["prune", str(SHIPPED), "--plan", "plan.json", "--plan-only"], 10, id="plan"
        ),
        pytest.param("calib/manifest.json", ["calib", "check", "calib"], 23, id="calibration-set"),
        pytest.param("model/config.json", ["teacher", "annotate", "model", "images"], 51, id="model"),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_one_line(tmp_path, name, words, code, content):
    _put(tmp_path / name, content)
    (tmp_path / "recipe.toml").write_text('head = "coupled"\nanchors = "anchors.json"\n')
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.full((64, 64), 120, np.uint8))
    outcome = outcome_of(words, tmp_path)
    assert outcome.is_documented, outcome
    assert (outcome.code, Path(name).name in outcome.stderr) == (code, True), outcome
    assert (PIPE in outcome.stderr) is (content is None), outcome


def test_a_row_of_a_scorecard_that_is_no_text_leaves_the_others(tmp_path):
    (tmp_path / "scorecard.jsonl").write_bytes(b'{"stage": "\xe4"}\n' + b"[" * 100_000 + b"\n")
    outcome = outcome_of(["scorecard", "scorecard.jsonl"], tmp_path)
    assert outcome.is_documented, outcome


def _compressed(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member))
        packed.writestr("any-cloth/data/bomb", bytes(64 * 2**20))


def test_a_checkpoint_that_grows_when_it_is_read_is_refused(tmp_path):
    _compressed(SHIPPED, tmp_path / "best.pt")
    outcome = outcome_of(["prune", "best.pt", "--macs", "0.5", "--plan-only"], tmp_path)
    assert (outcome.code, "it is compressed" in outcome.stderr) == (51, True), outcome


def test_a_checkpoint_that_claims_more_weights_than_it_holds_is_refused(tmp_path):
    content = torch.load(SHIPPED, weights_only=True)
    name = next(iter(content["weights"]))
    content["weights"][name] = torch.zeros(1).expand(10**12)
    torch.save(content, tmp_path / "best.pt")
    outcome = outcome_of(["prune", "best.pt", "--macs", "0.5", "--plan-only"], tmp_path)
    assert (outcome.code, "claims more weights than it holds" in outcome.stderr) == (51, True), outcome


def test_weights_of_another_project_that_grow_when_they_are_read_are_refused(tmp_path):
    torch.save({"model": nn.Conv2d(1, 1, 1)}, tmp_path / "whole.pt")
    _compressed(tmp_path / "whole.pt", tmp_path / "yolov5s.pt")
    with pytest.raises(CheckpointError, match="it is compressed"):
        read_tensors(tmp_path / "yolov5s.pt")


def test_a_pipe_in_place_of_weights_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "best.pt")
    write_tiny_dataset(tmp_path / "set")
    outcome = outcome_of(["distill", "set", "--start-from", "best.pt"], tmp_path)
    assert (outcome.code, "There is no checkpoint at best.pt" in outcome.stderr) == (51, True), outcome


def test_a_whole_checkpoint_is_read_as_before(tmp_path):
    shutil.copy(SHIPPED, tmp_path / "best.pt")
    outcome = outcome_of(["prune", "best.pt", "--macs", "0.5", "--plan-only"], tmp_path)
    assert outcome.code == 0, outcome
