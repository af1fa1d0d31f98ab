"""How anchors are matched to boxes, against a slow version."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.detector.coupled_loss import CoupledLoss, match_anchors
from distill.detector.head import head_outputs
from tests.unit.distill.detector.small_heads import input_images, targets_of, task_of

ANCHORS = torch.tensor([[[6.0, 5.0], [20.0, 4.0]], [[16.0, 16.0], [10.0, 50.0]]])
STRIDES, SIZES = (8.0, 16.0), [(8, 12), (4, 6)]


def slow_match(boxes):
    """Return {(place, row)}: each fitting anchor, in the own cell and in those half a cell near."""
    found, start = set(), 0
    for level, (stride, (height, width)) in enumerate(zip(STRIDES, SIZES, strict=True)):
        for anchor, (anchor_width, anchor_height) in enumerate(ANCHORS[level].tolist()):
            for row, (x1, y1, x2, y2) in enumerate(boxes):
                ratios = ((x2 - x1) / anchor_width, (y2 - y1) / anchor_height)
                if max(max(ratio, 1 / ratio) for ratio in ratios) >= 4:
                    continue
                for column, line in slow_cells(
                    (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride, width, height
                ):
                    found.add((start + (anchor * height + line) * width + column, row))
        start += len(ANCHORS[level]) * height * width
    return found


def slow_cells(x, y, width, height):
    own = (min(int(x), width - 1), min(int(y), height - 1))
    cells = {own}
    if x - math.floor(x) < 0.5 and x > 1:
        cells.add((own[0] - 1 if x < width else own[0], own[1]))
    if y - math.floor(y) < 0.5 and y > 1:
        cells.add((own[0], own[1] - 1 if y < height else own[1]))
    if x - math.floor(x) > 0.5 and width - x > 1:
        cells.add((own[0] + 1, own[1]))
    if y - math.floor(y) > 0.5 and height - y > 1:
        cells.add((own[0], own[1] + 1))
    return cells


places = st.floats(0.01, 0.99).filter(
    lambda fraction: abs(fraction * 12 * 2 - round(fraction * 12 * 2)) > 1e-3
)
boxes_strategy = st.lists(
    st.tuples(places, places, st.floats(1, 90), st.floats(1, 60)), min_size=0, max_size=5
)


@given(boxes_strategy)
def test_it_agrees_with_the_slow_version(rows):
    boxes = [(96 * x - w / 2, 64 * y - h / 2, 96 * x + w / 2, 64 * y + h / 2) for x, y, w, h in rows]
    if any(abs(64 * y / 8 * 2 - round(64 * y / 8 * 2)) < 1e-3 for _, y, _, _ in rows):
        return
    tensor = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    matches = match_anchors(tensor, ANCHORS.double(), STRIDES, SIZES)
    found = {pair for m in matches for pair in zip(m.places.tolist(), m.rows.tolist(), strict=True)}
    assert found == slow_match(boxes)


def test_a_box_in_the_middle_of_a_cell_has_three_cells_at_most_one_at_the_border():
    boxes = torch.tensor([[8.0, 8.0, 14.0, 13.0], [0.0, 0.0, 6.0, 5.0]])
    fine, coarse = match_anchors(boxes, ANCHORS, STRIDES, SIZES)
    counts = torch.bincount(fine.rows)
    assert counts.tolist() == [6, 2]  # both anchors fit: 3 cells, and 1 where left and above lie outside
    assert set(fine.places[fine.rows == 1].tolist()) == {0, 96}
    assert (coarse.places >= 2 * 96).all()


def test_a_box_that_fits_no_anchor_is_not_taught():
    line = torch.tensor([[0.0, 30.0, 96.0, 32.0]])
    assert all(len(match.places) == 0 for match in match_anchors(line, ANCHORS, STRIDES, SIZES))


def test_objectness_is_taught_the_overlap_and_the_background_nothing():
    module, _ = task_of("yolov5-coupled", None)
    predictions = module(input_images(1))
    targets = targets_of([(0, 1, 0.5, 0.5, 0.4, 0.5)])
    objectness = predictions["objectness"].detach().clone().requires_grad_()
    CoupledLoss(module)({**predictions, "objectness": objectness}, targets)["objectness"].backward()
    outputs = head_outputs(module, predictions)
    sizes = [tuple(level.shape[2:]) for level in outputs.features]
    boxes = torch.tensor([[0.3 * 64, 0.25 * 64, 0.7 * 64, 0.75 * 64]])
    head = module.model[-1]
    taught = torch.cat([m.places for m in match_anchors(boxes, head.anchors_px, head.strides_px, sizes)])
    assert len(taught)
    gradient = objectness.grad[0, 0]
    elsewhere = torch.ones_like(gradient, dtype=torch.bool)
    elsewhere[taught] = False
    assert (gradient[elsewhere] > 0).all()  # pushed down
    assert (gradient[taught] < gradient[elsewhere].min()).any()  # pushed up
