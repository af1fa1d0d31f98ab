"""SimOTA against a slow version that follows the paper line by line."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.detector.simota import SimOta, assign

CLASSES = 3


def slow_iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union > 0 else 0.0


def slow_cost(score, label, iou, is_central):
    cross_entropy = 0.0
    for number, value in enumerate(score):
        chance = value if number == label else 1 - value
        cross_entropy -= max(-100.0, math.log(chance)) if chance > 0 else -100.0
    return cross_entropy - 3 * math.log(iou + 1e-8) + (0 if is_central else 1e6)


def slow_assign(scores, boxes, points, strides, labels, ground_truths):
    """Return {place: row}, all in plain numbers."""
    central, candidates = {}, []
    for place, ((x, y), stride) in enumerate(zip(points, strides, strict=True)):
        wanted = False
        for row, (x1, y1, x2, y2) in enumerate(ground_truths):
            middle = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < 1.5 * stride
            central[row, place] = middle
            wanted = wanted or middle or (x1 < x < x2 and y1 < y < y2)
        if wanted:
            candidates.append(place)
    iou = {
        (r, p): slow_iou(ground_truths[r], boxes[p]) for r in range(len(ground_truths)) for p in candidates
    }
    cost = {key: slow_cost(scores[key[1]], labels[key[0]], iou[key], central[key]) for key in iou}
    claimed = {}
    for row in range(len(ground_truths)):
        best = sorted((iou[row, place] for place in candidates), reverse=True)[:10]
        count = max(1, int(sum(best)))
        for place in sorted(candidates, key=lambda p, row=row: cost[row, p])[:count]:
            claimed.setdefault(place, []).append(row)
    return {
        place: rows[0] if len(rows) == 1 else min(range(len(ground_truths)), key=lambda r: cost[r, place])
        for place, rows in claimed.items()
    }


def random_scene(seed, boxes):
    """Two levels of 64 px, predictions scattered about the cells, boxes of every size."""
    generator = torch.Generator().manual_seed(seed)
    points, strides = [], []
    for stride, side in ((8, 8), (16, 4)):
        grid = (torch.arange(side) + 0.5) * stride
        points.append(torch.cartesian_prod(grid, grid).flip(1))
        strides.append(torch.full((side * side,), float(stride)))
    points, strides = torch.cat(points), torch.cat(strides)
    places = len(points)
    scores = torch.rand(places, CLASSES, generator=generator)
    centres = points + torch.randn(places, 2, generator=generator) * 6
    sides = torch.rand(places, 2, generator=generator) * 40 + 1
    predicted = torch.cat([centres - sides / 2, centres + sides / 2], 1)
    ground_truth_centres = torch.rand(boxes, 2, generator=generator) * 64
    ground_truth_sides = torch.rand(boxes, 2, generator=generator) ** 2 * 60 + 1
    ground_truths = torch.cat(
        [ground_truth_centres - ground_truth_sides / 2, ground_truth_centres + ground_truth_sides / 2], 1
    )
    labels = torch.randint(0, CLASSES, (boxes,), generator=generator)
    return scores, predicted, points, strides, labels, ground_truths


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_it_agrees_with_the_slow_version(seed, boxes):
    scene = random_scene(seed, boxes)
    exact = [part.double() if part.is_floating_point() else part for part in scene]
    places, rows, overlaps = assign(*exact)
    expected = slow_assign(*[part.tolist() for part in exact])
    assert dict(zip(places.tolist(), rows.tolist(), strict=True)) == expected
    for place, row, overlap in zip(places, rows, overlaps, strict=True):
        assert overlap.item() == pytest.approx(slow_iou(exact[1][place].tolist(), exact[5][row].tolist()))


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_every_place_has_one_box_and_a_lone_box_has_a_place(seed, boxes):
    scores, predicted, points, strides, labels, ground_truths = random_scene(seed, boxes)
    places, _, _ = assign(scores, predicted, points, strides, labels, ground_truths)
    assert len(places.unique()) == len(places)
    alone, rows, _ = assign(scores, predicted, points, strides, labels[:1], ground_truths[:1])
    assert 1 <= len(alone) <= 10
    assert set(rows.tolist()) == {0}


def test_boxes_without_area_do_not_overlap():
    scores, predicted, points, strides, labels, ground_truths = random_scene(0, 1)
    ground_truths[0, 2:] = ground_truths[0, :2]
    predicted[:] = ground_truths
    assert (assign(scores, predicted, points, strides, labels, ground_truths)[2] == 0).all()


def batch_of(*scenes):
    """Lay scenes with equally many boxes out as a batch for the module."""
    scores, boxes, points, strides, labels, ground_truths = zip(*scenes, strict=True)
    simota = SimOta()
    simota.strides_px = strides[0]
    labels = torch.stack(labels).unsqueeze(-1)
    arguments = (torch.stack(scores), torch.stack(boxes), points[0], labels, torch.stack(ground_truths))
    return simota, arguments, torch.ones_like(labels)


def test_the_batch_is_its_images():
    scenes = [random_scene(1, 3), random_scene(2, 3)]
    simota, arguments, mask = batch_of(*scenes)
    labels, boxes, targets, foreground, numbers = simota(*arguments, mask)
    for image, scene in enumerate(scenes):
        places, rows, overlaps = assign(*scene)
        assert foreground[image].nonzero().flatten().tolist() == sorted(places.tolist())
        assert torch.equal(numbers[image, places], rows)
        assert torch.equal(labels[image, places], scene[4][rows])
        assert torch.equal(boxes[image, places], scene[5][rows])
        torch.testing.assert_close(targets[image, places, scene[4][rows]], overlaps)
        assert targets[image].count_nonzero() == overlaps.count_nonzero()


def test_filling_is_no_box():
    scene = random_scene(3, 4)
    simota, arguments, mask = batch_of(scene)
    mask[0, 1:] = 0
    _, _, _, foreground, numbers = simota(*arguments, mask)
    places, _, _ = assign(*scene[:4], scene[4][:1], scene[5][:1])
    assert foreground[0].nonzero().flatten().tolist() == sorted(places.tolist())
    assert numbers.unique().tolist() == [0]


def test_no_boxes_at_all():
    scene = random_scene(4, 1)
    simota, arguments, mask = batch_of(scene)
    arguments = (*arguments[:3], arguments[3][:, :0], arguments[4][:, :0])
    labels, boxes, targets, foreground, _ = simota(*arguments, mask[:, :0])
    assert not foreground.any()
    assert targets.count_nonzero() == boxes.count_nonzero() == labels.count_nonzero() == 0


def test_under_autocast_it_says_the_same():
    simota, arguments, mask = batch_of(random_scene(5, 4))
    expected = simota(*arguments, mask)
    with torch.autocast("cpu", torch.bfloat16):
        for ours, theirs in zip(simota(*arguments, mask), expected, strict=True):
            assert torch.equal(ours, theirs)


def test_certain_scores_cost_a_finite_amount():
    scores, predicted, points, strides, labels, ground_truths = random_scene(6, 3)
    for extreme in (torch.zeros_like(scores), torch.ones_like(scores)):
        _, _, overlaps = assign(extreme, predicted, points, strides, labels, ground_truths)
        assert torch.isfinite(overlaps).all()
