"""Annotate by the project's own detector, far below its working thresholds, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from distill.checkpoint import Detector, infer
from distill.core.value import Value
from distill.labels.sets.annotations import Region
from edge.core.contract import ModelContract
from edge.core.detections import Detections, concatenate
from edge.core.geometry import View, iou_matrix, plan_views
from edge.core.image import Image
from edge.inference.decode import Decoder, merge_views
from edge.inference.inspector import batches
from edge.inference.preprocess import Preprocessor

ANNOTATOR = "detector"


class DetectorSettings(Value):
    """Say how a detector labels.

    Attributes:
        score_floor: boxes below this are not reported. It lies far below a working threshold: what is
            unsure is for a calibration and for a reviewer to judge.
        batch: views of one image given to the network at once.
        max_regions: of one image, the best of them; an untrained network finds hundreds.
    """

    score_floor: float = Field(default=0.02, ge=0, le=1)
    batch: int = Field(default=16, ge=1, le=1024)
    max_regions: int = Field(default=100, ge=1)


class DetectorAnnotator:
    """Look at images with a detector, through the same views and preprocessing as beside the loom.

    What reaches the working thresholds of its contract is exactly what a camera box would report; below
    them come the boxes that overlap none of these.

    Args:
        detector: of `distill.checkpoint.load_detector`.
        mm_per_px: scale of the images; None: pixels are taken as they are.
        settings: how it labels.
        device: where to compute; None for the processor.
        name: what its regions are said to come from.

    Raises:
        ConfigError: if the scales of images and detector are too far apart.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        mm_per_px: float | None = None,
        settings: DetectorSettings | None = None,
        device: torch.device | None = None,
        name: str = ANNOTATOR,
    ) -> None:
        self.name = name
        self._settings = settings or DetectorSettings()
        self._device = device or torch.device("cpu")
        self._module = detector.module.to(self._device).eval()
        self._contract = detector.contract
        self._mm_per_px = mm_per_px
        self._working = _thresholds(self._contract)
        floors = dict.fromkeys(self._contract.class_names, self._settings.score_floor)
        self._preprocessor = Preprocessor(self._contract)
        self._decoder = Decoder(self._contract.with_thresholds(floors))
        self._plan = lru_cache(maxsize=32)(self._plan_views)
        self._plan(self._contract.input_size_hw_px)

    def annotate(self, images: Sequence[Image]) -> list[tuple[Region, ...]]:
        """Say what is in each image.

        Args:
            images: (H, W) grey or (H, W, 3) BGR, uint8, of any sizes.
        Returns:
            Per image its regions by falling score, in its pixels; labels are class names.
        """
        return [self._regions(self.detect(image)) for image in images]

    def detect(self, image: Image) -> Detections:
        """Find boxes in one image, down to the score floor, by falling score."""
        views = self._plan((image.shape[0], image.shape[1]))
        parts = [part for some in batches(views, self._settings.batch) for part in self._look(image, some)]
        is_sure = [part.scores >= self._working[part.class_ids] for part in parts]
        sure = merge_views([part.take(is_) for part, is_ in zip(parts, is_sure, strict=True)], views)
        unsure = merge_views([part.take(~is_) for part, is_ in zip(parts, is_sure, strict=True)], views)
        kept = unsure.take(~_covered(unsure, sure, self._contract.iou_threshold))
        both = concatenate([sure, kept])
        order = np.argsort(-both.scores, kind="stable")
        return both.take(order[: self._settings.max_regions])

    @torch.inference_mode()
    def _look(self, image: Image, views: tuple[View, ...]) -> list[Detections]:
        images_nchw = torch.from_numpy(self._preprocessor.batch(image, views)).to(self._device)
        boxes, scores = (tensor.float().cpu().numpy() for tensor in infer(self._module, images_nchw))
        return self._decoder.decode(boxes, scores, views)

    def _regions(self, found: Detections) -> tuple[Region, ...]:
        rows = zip(found.boxes_xyxy_px.tolist(), found.scores.tolist(), found.class_ids, strict=True)
        return tuple(
            Region(
                self._contract.class_names[int(class_id)],
                (x1, y1, x2, y2),
                score=min(1.0, score),
                annotator=self.name,
            )
            for (x1, y1, x2, y2), score, class_id in rows
        )

    def _plan_views(self, size_hw_px: tuple[int, int]) -> tuple[View, ...]:
        return plan_views(size_hw_px, self._contract, self._mm_per_px)


def _thresholds(contract: ModelContract) -> NDArray[np.float32]:
    return np.array([contract.score_thresholds[name] for name in contract.class_names], np.float32)


def _covered(found: Detections, better: Detections, iou_threshold: float) -> NDArray[np.bool_]:
    """Tell which boxes are duplicates of a better one of their class, (N,)."""
    if not len(found) or not len(better):
        return np.zeros(len(found), bool)
    overlap = iou_matrix(found.boxes_xyxy_px, better.boxes_xyxy_px)
    overlap[found.class_ids[:, None] != better.class_ids[None]] = 0
    return np.asarray(overlap.max(axis=1) > iou_threshold)
