"""Decode network outputs to detections in the frame: threshold, NMS, map back, merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.components import components
from edge.core.contract import ModelContract
from edge.core.detections import Detections, concatenate, no_detections
from edge.core.errors import ModelError
from edge.core.geometry import View, frame_from_input, iou_matrix

MAX_CANDIDATES_PER_VIEW = 1000
"""Highest-scoring boxes kept before suppression: bounds the time a flickering lamp can cost."""

MAX_DETECTIONS_PER_VIEW = 300
"""Detections kept per input after suppression, as in COCO evaluation and in YOLO: more is noise."""

SEAM_TOLERANCE_PX = 4.0
"""Boxes of one thin yarn from two tiles differ by a pixel or two; each is widened by this before they
are compared (a broken end is 3 px wide: unwidened, one pixel of jitter halves the overlap)."""

FILLED = 0.05
"""A box whose sides all lie so near to those of its view, as a fraction of the view, fills it."""

SEAM_IOU = 0.3
"""Overlap, within what both tiles saw, above which two boxes are one defect."""


def decode_view(
    boxes_input_xyxy_px: NDArray[np.float32],
    scores: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    iou_threshold: float,
) -> Detections:
    """Filter by per-class score threshold, then apply class-wise NMS, within one input.

    Args:
        boxes_input_xyxy_px: (A, 4), input pixels.
        scores: (A, classes) in [0, 1].
        thresholds: (classes,) least score per class.
        iou_threshold: suppress boxes of the same class that overlap more.
    Returns:
        Detections in input pixels, by falling score.
    Raises:
        ModelError: if a score, or a box that counts, is not a finite number: such a network would call
            everything clean.
    """
    return _decoded(boxes_input_xyxy_px, scores, thresholds, thresholds, iou_threshold)[0]


def _decoded(
    boxes_input_xyxy_px: NDArray[np.float32],
    scores: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    floors: NDArray[np.float32],
    iou_threshold: float,
) -> tuple[Detections, Detections]:
    """Decode one input as `decode_view` does; in the same pass also what only reaches lower thresholds.

    What scores less suppresses nothing that scores more, so these change no detection.

    Args:
        floors: (classes,) the lower thresholds; those themselves for none.
    Returns:
        What reaches the thresholds, and what only reaches the floors.
    """
    if not np.isfinite(scores.sum()):
        raise _broken_network()
    anchors, class_ids = np.nonzero(scores >= floors)
    if not len(anchors):
        return no_detections(), no_detections()
    if not np.isfinite(boxes_input_xyxy_px[anchors]).all():
        raise _broken_network()
    kept_scores = scores[anchors, class_ids]
    is_low = kept_scores < thresholds[class_ids]
    order = np.lexsort((-kept_scores, is_low))[:MAX_CANDIDATES_PER_VIEW]
    found = Detections(
        boxes_input_xyxy_px[anchors[order]],
        kept_scores[order],
        class_ids[order].astype(np.int64),
    )
    kept = suppress_duplicates(found, iou_threshold)
    is_low = kept.scores < thresholds[kept.class_ids]
    high, low = np.flatnonzero(~is_low), np.flatnonzero(is_low)
    return kept.take(high[:MAX_DETECTIONS_PER_VIEW]), kept.take(low[:MAX_DETECTIONS_PER_VIEW])


def _broken_network() -> ModelError:
    return ModelError(
        "The network gives numbers that are not finite.",
        "Export it again, in float32, from a checkpoint that validates.",
    )


def suppress_duplicates(found: Detections, iou_threshold: float) -> Detections:
    """Suppress, class by class, boxes that overlap a better one (non-maximum suppression).

    Args:
        found: N detections.
        iou_threshold: greater overlap makes a duplicate.
    Returns:
        The survivors, by falling score.
    """
    if not len(found):
        return found
    left_top, sides = (
        found.boxes_xyxy_px[:, :2],
        np.diff(found.boxes_xyxy_px.reshape(-1, 2, 2), axis=1),
    )
    boxes_xywh = np.concatenate([left_top, sides[:, 0]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(
        boxes_xywh.tolist(), found.scores.tolist(), found.class_ids.tolist(), 0.0, iou_threshold
    )
    return found.take(np.asarray(kept, np.int64).reshape(-1))


def merge_views(parts: Sequence[Detections], views: Sequence[View]) -> Detections:
    """Make one detection of what several overlapping views saw of one defect.

    Two boxes of one class from two views are the same defect if they agree within the zone that both
    views saw. Groups are the connected components of that relation, so the order of the views does not
    matter; a group becomes its bounding box with its highest score.

    Args:
        parts: per view, detections in frame pixels.
        views: the views, in the same order.
    Returns:
        Merged detections, frame pixels, by falling score.
    """
    if len(views) > 1:
        parts = [_with_an_end(part, view) for part, view in zip(parts, views, strict=True)]
    found = concatenate(parts)
    if len(views) < 2 or len(found) < 2:
        return found
    groups = components(len(found), _same_defect_pairs(parts, views))
    members = np.bincount(groups, minlength=len(found))
    alone = found.take(members[groups] == 1)
    joined = concatenate(
        [alone, *(_join(found.take(groups == group)) for group in np.flatnonzero(members > 1))]
    )
    return joined.take(np.lexsort((joined.boxes_xyxy_px[:, 0], -joined.scores)))


def _with_an_end(found: Detections, view: View) -> Detections:
    """Leave out what fills its view from side to side, both ways.

    Such a box says that all the view looks odd, as cloth does that the network has never seen. What is as
    large as that has its ends in the views beside.
    """
    if not len(found):
        return found
    sides = np.array([view.left_px, view.top_px, view.right_px, view.bottom_px], np.float32)
    reach_px = FILLED * min(view.right_px - view.left_px, view.bottom_px - view.top_px)
    fills = (np.abs(found.boxes_xyxy_px - sides) <= reach_px).all(axis=1)
    return found.take(~fills) if fills.any() else found


def _same_defect_pairs(parts: Sequence[Detections], views: Sequence[View]) -> Iterator[tuple[int, int]]:
    """Yield pairs of positions, in the concatenated parts, that two views agree on."""
    first = np.cumsum([0, *(len(part) for part in parts)])
    rectangles = np.array([(v.left_px, v.top_px, v.right_px, v.bottom_px) for v in views], np.float32)
    occupied = [number for number, part in enumerate(parts) if len(part)]
    for a, b in combinations(occupied, 2):
        zone = np.concatenate(
            [
                np.maximum(rectangles[a, :2], rectangles[b, :2]),
                np.minimum(rectangles[a, 2:], rectangles[b, 2:]),
            ]
        )
        if (zone[2:] <= zone[:2]).any():
            continue
        same_class = parts[a].class_ids[:, None] == parts[b].class_ids[None]
        agreement = iou_matrix(_within(parts[a], zone), _within(parts[b], zone))
        for i, j in np.argwhere(same_class & (agreement >= SEAM_IOU)).tolist():
            yield int(first[a]) + i, int(first[b]) + j


def _within(found: Detections, zone: NDArray[np.float32]) -> NDArray[np.float32]:
    """Widen boxes by the seam tolerance and clip them to a zone; those outside have no area."""
    reach = np.array([-1, -1, 1, 1], np.float32) * SEAM_TOLERANCE_PX
    widened = found.boxes_xyxy_px + reach
    return np.clip(widened, np.tile(zone[:2], 2), np.tile(zone[2:], 2))


def _join(group: Detections) -> Detections:
    box = np.concatenate([group.boxes_xyxy_px[:, :2].min(axis=0), group.boxes_xyxy_px[:, 2:].max(axis=0)])
    return Detections(box[None], group.scores.max(keepdims=True), group.class_ids[:1])


class Decoder:
    """Decode the outputs of one model.

    Args:
        contract: of that model.
        near_miss: a score below its threshold by at most so much is a near miss; 0: nothing is.
    """

    def __init__(self, contract: ModelContract, near_miss: float = 0.0) -> None:
        self._thresholds = _in_order(contract, contract.score_thresholds)
        self._floors = _in_order(contract, _lowered(contract, near_miss)) if near_miss else self._thresholds
        self._iou_threshold = contract.iou_threshold

    def decode(
        self,
        boxes_input_xyxy_px: NDArray[np.float32],
        scores: NDArray[np.float32],
        views: Sequence[View],
    ) -> list[Detections]:
        """Decode a batch, one result per view.

        Args:
            boxes_input_xyxy_px: (B, A, 4), input pixels.
            scores: (B, A, classes).
            views: B of them.
        Returns:
            B detections, in frame pixels.
        """
        return [found for found, _ in self.decode_near(boxes_input_xyxy_px, scores, views)]

    def decode_near(
        self,
        boxes_input_xyxy_px: NDArray[np.float32],
        scores: NDArray[np.float32],
        views: Sequence[View],
    ) -> list[tuple[Detections, Detections]]:
        """Decode a batch as `decode` does; returns detections and near misses of each view."""
        nothing = no_detections()
        parts = [(nothing, nothing)] * len(views)
        reached = zip(boxes_input_xyxy_px, scores, views, self._may_pass(scores), strict=True)
        for number, (boxes, view_scores, view, may_pass) in enumerate(reached):
            if may_pass:
                both = _decoded(boxes, view_scores, self._thresholds, self._floors, self._iou_threshold)
                parts[number] = (_in_frame(both[0], view), _in_frame(both[1], view))
        return parts

    def _may_pass(self, scores: NDArray[np.float32]) -> list[bool]:
        """Tell of each view whether its best score reaches any threshold: on good cloth most do not.

        Raises:
            ModelError: if a score is not a finite number.
        """
        if not np.isfinite(scores.sum()):
            raise _broken_network()
        best = scores.reshape(len(scores), -1).max(axis=1, initial=-np.inf)
        may_pass: list[bool] = (best >= self._floors.min()).tolist()
        return may_pass


def merge_near(
    parts: Sequence[tuple[Detections, Detections]], views: Sequence[View]
) -> tuple[Detections, Detections]:
    """Merge what the views of a frame, at least one, show; see `merge_views`.

    Returns:
        Detections, and near misses: those only where no view shows a detection.
    """
    found, near = [part[0] for part in parts], [part[1] for part in parts]
    if any(map(len, found)):
        return merge_views(found, views), no_detections()
    return found[0], merge_views(near, views) if any(map(len, near)) else near[0]


def _in_order(contract: ModelContract, thresholds: Mapping[str, float]) -> NDArray[np.float32]:
    return np.array([thresholds[name] for name in contract.class_names], np.float32)


def _lowered(contract: ModelContract, margin: float) -> dict[str, float]:
    """Lower every threshold by a margin; at 0 all is a detection."""
    return {name: max(score - margin, score / 2) for name, score in contract.score_thresholds.items()}


def _in_frame(found: Detections, view: View) -> Detections:
    return Detections(frame_from_input(found.boxes_xyxy_px, view), found.scores, found.class_ids)
