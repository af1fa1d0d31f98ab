"""Look at one frame: views, preprocessing, network, decoding, merging."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.backends.description import BackendDescription
from edge.contract import Letterbox, ModelContract
from edge.decode import Decoder, merge_views
from edge.detections import Detections
from edge.geometry import View, plan_views, view_scale
from edge.image import Image
from edge.latency import StageClock
from edge.preprocess import Preprocessor

Floats = NDArray[np.float32]


class Backend(Protocol):
    """Run a network: see `edge.backends`."""

    @property
    def description(self) -> BackendDescription:
        """What it runs on."""
        ...

    def infer(self, images_nchw: Floats) -> tuple[Floats, Floats]:
        """Return boxes (B, A, 4) in input pixels and scores (B, A, classes)."""
        ...

    def warm_up(self, batch: int) -> None:
        """Run once on a batch of this size."""
        ...


class Inspector:
    """Find defects in frames with one model. One instance per thread.

    Args:
        backend: runs the network.
        contract: of that network.
        batch_tiles: most views given to the network at once, where it takes any number.
        clock: counts how long each stage takes.
    """

    def __init__(
        self,
        backend: Backend,
        contract: ModelContract,
        batch_tiles: int = 16,
        clock: StageClock | None = None,
    ) -> None:
        self._backend = backend
        self._contract = contract
        self._batch_tiles = contract.batch or batch_tiles
        self._preprocessor = Preprocessor(contract)
        self._decoder = Decoder(contract)
        self._plan = lru_cache(maxsize=32)(self._plan_views)
        self.clock = clock or StageClock()

    def inspect(self, image: Image, mm_per_px: float | None = None) -> Detections:
        """Find the defects of one frame.

        Args:
            image: (H, W) grey or (H, W, 3) BGR, uint8, of any size.
            mm_per_px: scale on the cloth; None: pixels are taken as they are.
        Returns:
            Detections in pixels of the frame, by falling score.
        """
        views = self._plan(image.shape[:2], mm_per_px)
        parts: list[Detections] = []
        for batch_views in batches(views, self._batch_tiles):
            parts += self._inspect_batch(image, batch_views)
        with self.clock.stage("merge"):
            return merge_views(parts, views)

    def shared_lines(self, mm_per_px: float | None = None) -> int:
        """Return how many rows of a frame neighbouring tiles share; 0 if frames are not tiled.

        Args:
            mm_per_px: scale of the frame; None: pixels are taken as they are.
        """
        geometry = self._contract.geometry
        if isinstance(geometry, Letterbox):
            return 0
        return round(geometry.overlap_px / view_scale(self._contract, mm_per_px))

    def strip_lines(self, mm_per_px: float | None = None) -> int:
        """Return how many new rows a row of tiles shows beside the shared ones; 0 if frames are not tiled.

        Args:
            mm_per_px: scale of the frame; None: pixels are taken as they are.
        """
        if isinstance(self._contract.geometry, Letterbox):
            return 0
        tile = int(self._contract.input_size_hw_px[0] / view_scale(self._contract, mm_per_px))
        return max(1, tile - self.shared_lines(mm_per_px))

    def warm_up(self, image_hw_px: tuple[int, int], mm_per_px: float | None = None) -> None:
        """Run every batch size that frames of this size lead to, once, the largest first."""
        views = self._plan(image_hw_px, mm_per_px)
        for size in sorted({len(batch) for batch in batches(views, self._batch_tiles)}, reverse=True):
            self._backend.warm_up(size)

    def _inspect_batch(self, image: Image, views: tuple[View, ...]) -> list[Detections]:
        with self.clock.stage("preprocess"):
            images_nchw = self._preprocessor.batch(image, views)
        with self.clock.stage("infer"):
            boxes, scores = self._backend.infer(images_nchw)
        with self.clock.stage("decode"):
            return self._decoder.decode(boxes, scores, views)

    def _plan_views(self, frame_hw_px: tuple[int, int], mm_per_px: float | None) -> tuple[View, ...]:
        return plan_views(frame_hw_px, self._contract, mm_per_px)


def batches(views: tuple[View, ...], most: int) -> list[tuple[View, ...]]:
    """Split views into the fewest batches, as even as can be: the runtime then sees few sizes."""
    count = ceil(len(views) / most)
    size = ceil(len(views) / count)
    return [views[start : start + size] for start in range(0, len(views), size)]
