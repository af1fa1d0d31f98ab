"""Inspect one frame: views, preprocessing, network, decoding, merging."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from math import ceil
from typing import Final

from edge.backends.protocol import Backend, Floats
from edge.core.contract import Letterbox, ModelContract
from edge.core.detections import Detections
from edge.core.geometry import View, plan_views, view_scale
from edge.core.image import Image
from edge.core.latency import StageClock
from edge.inference.decode import Decoder, merge_near, merge_views
from edge.inference.preprocess import Preprocessor

FLOOR: Final = 0.01
"""Least score of what is called weak."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """Hold what the network is to see of an image.

    Attributes:
        views: B of them.
        images_nchw: (B, C, h, w) float32.
    """

    views: tuple[View, ...]
    images_nchw: Floats


@dataclass(frozen=True, slots=True, eq=False)
class InspectionResult:
    """Hold the detections of an image, by falling score.

    Attributes:
        defects: what reaches the threshold of its class.
        near_misses: what nearly does, where there is no defect.
        weak: all that the network sees, however weak; None unless that is wanted.
    """

    defects: Detections
    near_misses: Detections
    weak: Detections | None


class Inspector:
    """Find defects in frames with one model.

    One thread may prepare an image while another finds what is in the one before.

    Args:
        backend: runs the network.
        contract: of that network.
        batch_tiles: most views given to the network at once, where it takes any number.
        clock: counts how long each stage takes.
        near_miss: a score below its threshold by at most so much is a near miss; 0: nothing is.

    Attributes:
        wants_weak: whether `find` also returns what is weak.
    """

    def __init__(
        self,
        backend: Backend,
        contract: ModelContract,
        batch_tiles: int = 16,
        clock: StageClock | None = None,
        *,
        near_miss: float = 0.0,
    ) -> None:
        self._backend = backend
        self._contract = contract
        self._batch_tiles = contract.batch or batch_tiles
        self._preprocessors = cycle((Preprocessor(contract), Preprocessor(contract)))
        self._decoder = Decoder(contract, near_miss)
        self._weak_decoder = Decoder(contract.with_thresholds(dict.fromkeys(contract.class_names, FLOOR)))
        self.wants_weak = False
        self._warm: set[int] = set()
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
        return self.find(self.prepare(image, mm_per_px)).defects

    def prepare(self, image: Image, mm_per_px: float | None = None) -> PreparedImage:
        """Do all that can be done before the network is free.

        Args:
            image, mm_per_px: as of `inspect`.
        Returns:
            What `find` takes; its memory is reused by the call after the next.
        """
        views = self._plan(image.shape[:2], mm_per_px)
        with self.clock.stage("preprocess"):
            return PreparedImage(views, next(self._preprocessors).batch(image, views))

    def find(self, image: PreparedImage) -> InspectionResult:
        """Find what is in a prepared image; see `inspect`."""
        parts: list[tuple[Detections, Detections]] = []
        weak: list[Detections] = []
        for views in batches(image.views, self._batch_tiles):
            images_nchw = image.images_nchw[len(parts) : len(parts) + len(views)]
            with self.clock.stage("infer"):
                boxes, scores = self._backend.infer(images_nchw)
            with self.clock.stage("decode"):
                parts += self._decoder.decode_near(boxes, scores, views)
                if self.wants_weak:
                    weak += self._weak_decoder.decode(boxes, scores, views)
        with self.clock.stage("merge"):
            return InspectionResult(
                *merge_near(parts, image.views),
                merge_views(weak, image.views) if weak else None,
            )

    def scale_of(self, mm_per_px: float | None) -> float | None:
        """Return the millimetres per pixel a frame is taken to have; None if there is nothing to go by.

        Args:
            mm_per_px: of the frame; None: its pixels are taken as those the model was trained for, if it is
                looked at in tiles.
        """
        is_tiled = not isinstance(self._contract.geometry, Letterbox)
        return mm_per_px or (self._contract.mm_per_px if is_tiled else None)

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
        """Run every batch size that frames of this size lead to, once ever, the largest first."""
        views = self._plan(image_hw_px, mm_per_px)
        sizes = {len(batch) for batch in batches(views, self._batch_tiles)}
        for size in sorted(sizes - self._warm, reverse=True):
            self._backend.warm_up(size)
        self._warm |= sizes

    def _plan_views(self, frame_hw_px: tuple[int, int], mm_per_px: float | None) -> tuple[View, ...]:
        return plan_views(frame_hw_px, self._contract, mm_per_px)


def batches(views: tuple[View, ...], most: int) -> list[tuple[View, ...]]:
    """Split views into the fewest batches, as even as can be: the runtime then sees few sizes."""
    count = ceil(len(views) / most)
    size = ceil(len(views) / count)
    return [views[start : start + size] for start in range(0, len(views), size)]
