"""Select general instances: the few places of an image where teacher and student differ most.

Dai et al., General Instance Distillation for Object Detection, CVPR 2021, section 3.1. They need no labels:
at first they lie on the defects, later wherever the student still says something else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.gid.batch_outputs import BatchOutputs
from distill.settings.distillation import Distillation, GiScore

LEAST_SIDE_PX = 1.0
"""Whatever the least size on the cloth: a box narrower than a pixel shows nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Hold the general instances of a batch, image by image, by falling score in each.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, input pixels, inside the input.
        image_of: (N,) int64, number of the image in the batch, rising.
        scores: (N,) in (0, 1].
        is_teachers: (N,) bool, whose box it is.
    """

    boxes_xyxy_px: Tensor
    image_of: Tensor
    scores: Tensor
    is_teachers: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def rois(self) -> Tensor:
        """Return (N, 5): the number of the image, then the box, as `torchvision.ops.roi_align` has it."""
        return torch.cat([self.image_of[:, None].to(self.boxes_xyxy_px), self.boxes_xyxy_px], dim=1)


def least_side_px(settings: Distillation, mm_per_px: float | None) -> float:
    """Return the shortest side of an instance, in input pixels."""
    limit_mm = settings.min_size_mm
    limit_px = limit_mm / mm_per_px if limit_mm is not None and mm_per_px is not None else 0.0
    return max(LEAST_SIDE_PX, limit_px)


def gi_scores(student: Tensor, teacher: Tensor, kind: GiScore) -> Tensor:
    """Score each place by how much teacher and student differ there.

    Args:
        student, teacher: (B, A, classes) in [0, 1].
        kind: per-class is max_c |P_t,c - P_s,c| (the paper, equation 1), of-maxima is
            |max_c P_t,c - max_c P_s,c| (the authors' release); they part where both are sure of
            different classes.
    Returns:
        (B, A) in [0, 1].
    """
    if kind == "per-class":
        return (teacher - student).abs().amax(dim=-1)
    return (teacher.amax(dim=-1) - student.amax(dim=-1)).abs()


@torch.no_grad()
def find_instances(
    outputs: BatchOutputs, settings: Distillation, least_side_px: float = LEAST_SIDE_PX
) -> Instances:
    """Find the general instances of a batch.

    The box of a place is that of whoever scores higher there, clipped to the input (equation 2). The
    candidates of all levels together pass one non-maximum suppression without regard to class. Where the
    batch says where cloth is, an instance's centre lies on it.

    Args:
        outputs: student and teacher have the same points.
        least_side_px: a box with a shorter side, in input pixels, is none.
    """
    student, teacher = outputs.student, outputs.teacher
    ours, theirs = student.scores.float(), teacher.scores.float()
    scores = gi_scores(ours, theirs, settings.gi_score)
    is_teachers = theirs.amax(dim=-1) > ours.amax(dim=-1)
    boxes = torch.where(is_teachers[..., None], teacher.boxes_xyxy_px, student.boxes_xyxy_px).float()
    boxes = _clipped(boxes, outputs.input_hw_px)
    permitted = (scores > 0) & ((boxes[..., 2:] - boxes[..., :2]) >= least_side_px).all(dim=-1)
    if outputs.cloth is not None:
        permitted &= _on_cloth(boxes, outputs.input_hw_px, outputs.cloth)
    chosen = [_chosen(*image, settings) for image in zip(boxes, scores, permitted, strict=True)]
    counts = torch.tensor([len(places) for places in chosen], device=scores.device)
    image_of = torch.arange(len(chosen), device=scores.device).repeat_interleave(counts)
    places = torch.cat(chosen)
    return Instances(
        boxes[image_of, places], image_of, scores[image_of, places], is_teachers[image_of, places]
    )


def inside_instances(instances: Instances, points_xy_px: Tensor, strides_px: Tensor, images: int) -> Tensor:
    """Mark the points inside the boxes of the instances.

    A box thinner than a cell counts as wide as the cell: otherwise the thinnest yarns, which pass between
    the points, would mark nothing.

    Args:
        points_xy_px: (A, 2).
        strides_px: (A,).
        images: B, in the batch.
    Returns:
        (B, A) bool.
    """
    boxes = instances.boxes_xyxy_px
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    reach = torch.maximum(sides[:, None], strides_px[None, :, None]) / 2
    inside = ((points_xy_px[None] - centres[:, None]).abs() <= reach).all(dim=-1)
    counts = torch.zeros(images, len(points_xy_px), device=boxes.device)
    return counts.index_add(0, instances.image_of, inside.float()) > 0


def _clipped(boxes: Tensor, input_hw_px: tuple[int, int]) -> Tensor:
    height, width = input_hw_px
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def _on_cloth(boxes: Tensor, input_hw_px: tuple[int, int], cloth: Tensor) -> Tensor:
    """Tell for boxes (B, A, 4) whether the cell of the map that holds their centre is cloth."""
    rows, columns = cloth.shape[1:]
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    column = (centres[..., 0] * columns / input_hw_px[1]).long().clamp(0, columns - 1)
    row = (centres[..., 1] * rows / input_hw_px[0]).long().clamp(0, rows - 1)
    return cloth.flatten(1).gather(1, row * columns + column)


def _chosen(boxes: Tensor, scores: Tensor, permitted: Tensor, settings: Distillation) -> Tensor:
    """Return the numbers of the places that become instances of one image, by falling score."""
    from torchvision.ops import nms  # here: it loads the compiler of torch, for seconds

    places = permitted.nonzero().flatten()
    best = scores[places].argsort(descending=True, stable=True)[: settings.candidates]
    places = places[best]
    kept = nms(boxes[places], scores[places], settings.nms_iou)
    return places[kept[: settings.instances]]
