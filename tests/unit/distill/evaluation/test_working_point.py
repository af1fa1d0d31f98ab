from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.data.tiles import TilePlan
from distill.detector.build import infer
from distill.evaluation.working_point import TorchBackend, inspected_images, working_point
from distill.operating_point.reports import counts_at, reports_on
from edge.core.geometry import plan_views
from edge.inference.decode import Decoder, merge_views
from edge.inference.inspector import Inspector
from edge.inference.preprocess import Preprocessor
from tests.unit.distill.tiny import tiny_contract, tiny_dataset


class Spotter(torch.nn.Module):
    """Report each bright cell of 8 px as a drop, and remember the batches it was given."""

    def __init__(self):
        super().__init__()
        self.batch_sizes = []

    def forward(self, images_nchw):
        self.batch_sizes.append(len(images_nchw))
        means = torch.nn.functional.avg_pool2d(images_nchw, 8)
        batch, _, rows, columns = means.shape
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres = torch.stack([x.flatten(), y.flatten()]).float() * 8 + 4
        boxes = torch.cat([centres, torch.full_like(centres, 8)]).expand(batch, 4, -1)
        scores = torch.zeros(batch, 3, rows * columns)
        scores[:, 1] = means.flatten(1)
        return (torch.cat([boxes, scores], 1),)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture
def contract():
    unchanged = {
        "enhancement": {"kind": "none"},
        "score_thresholds": dict.fromkeys(tiny_contract().class_names, 0.7),
    }
    return type(tiny_contract()).model_validate(tiny_contract().model_dump() | unchanged)


def test_the_spots_are_found_and_the_dark_ends_are_not(data, contract):
    plan = TilePlan(data.val, contract, 0.2, 16)
    point = working_point(
        inspected_images(TorchBackend(Spotter()), plan, contract, 0.2), plan, contract, 0.2
    )
    assert point.by_class == {"wrinkle": (0, 0), "drop": (2, 2), "broken": (2, 0)}
    assert point.recall == 0.5
    assert (point.false_alarms, point.false_alarms_on_clean) == (0, 0)
    assert point.clean_m2 == pytest.approx(64 * 160 * 0.2**2 / 1e6)


def test_what_is_reported_is_what_the_edge_reports(data, contract):
    plan = TilePlan(data.val, contract, 0.2, 16)
    for one in inspected_images(TorchBackend(Spotter()), plan, contract, 0.2):
        edge = Inspector(TorchBackend(Spotter()), contract).inspect(plan.image(one.index), 0.2)
        assert one.reported.boxes_xyxy_px.tolist() == edge.boxes_xyxy_px.tolist()
        assert len(one.weak) >= len(one.reported)


def test_confusion_and_the_counts_of_a_verdict_are_one_truth(data, contract):
    """Once the confusion of a run said that no drop was found, and its metrics that all were."""
    plan = TilePlan(data.val, contract, 0.2, 16)
    point = working_point(
        inspected_images(TorchBackend(Spotter()), plan, contract, 0.2), plan, contract, 0.2
    )
    counts = counts_at(contract.score_thresholds, reports_on(Spotter(), contract, data.val, 0.2))
    assert counts.found == point.by_class
    assert (counts.named, counts.false_positives) == (point.named, point.false_alarms)
    assert point.confusion[1, 1] == 2


def test_a_large_image_reaches_the_network_in_batches(data, contract, monkeypatch):
    """One forward over all tiles of an image of 40 megapixels would take tens of gigabytes."""
    plan = TilePlan(data.val, contract, 0.2, 16)
    large = np.tile(plan.image(0), (10, 8))
    monkeypatch.setattr(plan, "image", lambda index: large)
    spotter = Spotter()
    inspected_images(TorchBackend(spotter), plan, contract, 0.2)
    tiles = len(plan_views(large.shape, contract, 0.2))
    assert tiles > 16
    assert max(spotter.batch_sizes) <= 16
    assert sum(spotter.batch_sizes) == tiles * len(plan.images)


def test_batches_change_nothing(data, contract):
    image = np.tile(TilePlan(data.val, contract, 0.2, 16).image(0), (10, 8))
    views = plan_views(image.shape, contract, 0.2)
    tensors = infer(Spotter(), torch.from_numpy(Preprocessor(contract).batch(image, views)))
    at_once = merge_views(Decoder(contract).decode(*(tensor.numpy() for tensor in tensors), views), views)
    in_batches = Inspector(TorchBackend(Spotter()), contract).inspect(image, 0.2)
    assert len(at_once) >= 10 * 8
    assert in_batches.boxes_xyxy_px.tolist() == at_once.boxes_xyxy_px.tolist()
