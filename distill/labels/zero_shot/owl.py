"""Ask an OWL-ViT or OWLv2 (Minderer et al., ECCV 2022, NeurIPS 2023): each prompt is a query by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from distill.labels.zero_shot.found import BoxesOfView
from distill.labels.zero_shot.loading import OpenDetector

USUAL_THRESHOLD = 0.1


class OwlQuery:
    """Ask for the same words again and again; those behind the sixteenth token of a prompt are not read.

    Args:
        detector: an OWL-ViT or OWLv2.
        texts: small letters.
    """

    usual_threshold = USUAL_THRESHOLD

    def __init__(self, detector: OpenDetector, texts: Sequence[str]) -> None:
        self._detector = detector
        self._texts = list(texts)
        self._longest = detector.model.config.text_config.max_position_embeddings

    @torch.inference_mode()
    def find(self, images_rgb: Sequence[NDArray[np.uint8]], threshold: float) -> list[BoxesOfView]:
        """Find what the words describe in images of one size.

        Args:
            images_rgb: each (H, W, 3) uint8.
            threshold: least score.
        """
        made = self._detector.processor(
            images=list(images_rgb),
            text=[self._texts] * len(images_rgb),
            return_tensors="pt",
            input_data_format="channels_last",
            truncation=True,
            max_length=self._longest,
        )
        detector = self._detector
        inputs = {
            key: value.to(detector.device, detector.dtype if value.is_floating_point() else value.dtype)
            for key, value in made.items()
        }
        outputs = detector.model(**inputs)
        results = detector.processor.post_process_grounded_object_detection(
            outputs, threshold=threshold, target_sizes=[image.shape[:2] for image in images_rgb]
        )
        return [
            BoxesOfView(one["boxes"].float().cpu(), one["scores"].float().cpu(), one["labels"].cpu())
            for one in results
        ]
