"""What the terms of a distillation are given in a real training: no instance off the cloth, by default."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import distill.data.tiles
import distill.evaluation.scorecard
import distill.training.finish
import distill.training.stages
from distill.checkpoint import weights_digest, write_checkpoint
from distill.commands.distill_cli import app
from distill.gid.terms import METHODS
from distill.settings.recipe import load_recipe
from distill.training.train import contract_for
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.tiny import untrained_checkpoint, write_tiny_dataset

BED_GREY, CLOTH_GREY, BETWEEN_GREY = 60, 160, 100
BED_PX, SIZE_WH_PX = 300, (640, 256)
NEAR_PX = 24
"""The cloth finder works in cells of 8 px and looks at their neighbours: so near the edge it may err."""


class Spy:
    """Note where the cloth is in every tile that is trained on, and what instances each term is given."""

    def __init__(self, patch):
        self.beds, self.calls = [], []
        relit = distill.data.tiles.relit

        def noted(cut, *rest):  # the tile as it lies, turned and flipped, before its light is changed
            is_bed = cv2.boxFilter(cut, -1, (9, 9)) < BETWEEN_GREY
            self.beds.append(cv2.erode(is_bed.astype(np.uint8), np.ones((2 * NEAR_PX + 1,) * 2)) > 0)
            return relit(cut, *rest)

        patch.setattr(distill.data.tiles, "relit", noted)
        for term in METHODS["gid"]:
            self._listen(patch, term)

    def _listen(self, patch, term):
        loss = term.loss

        def noted(self_, seen):
            images = len(seen.batch_outputs.student.class_logits)
            self.calls.append((term.name, seen.instances, self.beds[-images:]))
            return loss(self_, seen)

        patch.setattr(term, "loss", noted)

    def off_cloth(self):
        """Count, for each term, the instances it was given and those with their centre well on the bed."""
        counts = {term.name: [0, 0] for term in METHODS["gid"]}
        for name, instances, beds in self.calls:
            boxes = instances.boxes_xyxy_px.cpu().numpy()
            columns, rows = np.clip((boxes[:, :2] + boxes[:, 2:]) / 2, 0, 255).astype(int).T
            off = [
                beds[image][row, column]
                for image, row, column in zip(instances.image_of.tolist(), rows, columns, strict=True)
            ]
            counts[name][0] += len(off)
            counts[name][1] += sum(off)
        return counts


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Write images whose left half shows the machine's bed, and a teacher for the default recipe."""
    root = tmp_path_factory.mktemp("cloth")
    rng = np.random.default_rng(3)
    for file in sorted(write_tiny_dataset(root / "data", train=4, val=1).glob("images/*/*.png")):
        image = cv2.resize(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), SIZE_WH_PX)
        grain = rng.normal(0, 25, image.shape)  # as strong as a weave that the cloth finder sees
        image = np.clip(CLOTH_GREY + (image.astype(float) - 110) / 2 + grain, 0, 255)
        image[:, :BED_PX] = rng.normal(BED_GREY, 2, (SIZE_WH_PX[1], BED_PX))
        assert cv2.imwrite(str(file), image.astype(np.uint8))
    contract = contract_for(load_recipe("smoke", {}, {}), load_taxonomy(), 0.2)
    checkpoint = untrained_checkpoint()
    contract = contract.model_copy(update={"source_digest": weights_digest(checkpoint.weights)})
    write_checkpoint(root / "teacher.pt", replace(checkpoint, contract=contract))
    return root


def trained(place, out, monkeypatch, *more):
    monkeypatch.setattr(distill.evaluation.scorecard, "LATENCY_RUNS", 2)
    monkeypatch.setattr(distill.training.finish, "write_run_page", lambda *_: None)
    monkeypatch.setattr(distill.training.stages, "check_has_learnt", lambda *_: None)  # it has not
    spy = Spy(monkeypatch)
    given = ("--teacher", place / "teacher.pt", "--epochs", 1, "--out", out, *more)
    done = CliRunner().invoke(app, [str(argument) for argument in (place / "data", *given)])
    assert done.exit_code == 0, (done.output, done.exception)
    return spy.off_cloth()


def test_with_defaults_no_term_is_given_an_instance_off_the_cloth(place, tmp_path, monkeypatch):
    counts = trained(place, tmp_path / "run", monkeypatch)
    assert set(counts) == {term.name for term in METHODS["gid"]}
    assert all(given > 0 for given, _ in counts.values()), counts
    assert all(off == 0 for _, off in counts.values()), counts


def test_without_the_restriction_terms_are_given_instances_on_the_bed(place, tmp_path, monkeypatch):
    """So the test above can fail."""
    (tmp_path / "all.toml").write_text(
        'scale = "p"\nlearning_rate = 3e-3\nempty_tile_share = 0.15\n[distillation]\ncloth = "all"\n'
    )
    counts = trained(place, tmp_path / "run", monkeypatch, "--recipe", tmp_path / "all.toml")
    assert all(off > 0 for _, off in counts.values()), counts
