"""Keep what the frozen half of a SAM makes of windows, so that it is computed once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from distill.labels.sam.drawing import Features, features_of
from distill.labels.sam.examples import MaskExample
from distill.labels.sam.loading import Sam
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError


@dataclass
class FeatureStore:
    """Keep features of windows, in half precision, up to a limit.

    Attributes:
        sam: whose vision half it is.
        free_bytes: left of the limit.
    """

    sam: Sam
    free_bytes: int
    _kept: dict[tuple[str, object], Features] = field(default_factory=dict)

    def features(self, example: MaskExample) -> Features:
        """Return the features of a window, computed once as long as there is room.

        Raises:
            DatasetError: if the image cannot be read, or is smaller than its labels say.
        """
        key = (str(example.file), example.view)
        if key in self._kept:
            return self._kept[key]
        view = example.view
        image = decoded(example.file)
        if image.shape[0] < view.bottom_px or image.shape[1] < view.right_px:
            raise DatasetError(f"{example.file} is smaller than its labels say.", "Correct its size there.")
        made = features_of(self.sam, image[view.top_px : view.bottom_px, view.left_px : view.right_px])
        half = made.values.to("cpu", torch.float16)
        made = Features(half, made.size_hw_px, made.scaled_hw_px)
        if half.nbytes <= self.free_bytes:
            self.free_bytes -= half.nbytes
            self._kept[key] = made
        return made
