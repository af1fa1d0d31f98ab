"""Cut images into tiles on the fly, by the code that cuts them beside the loom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from distill.data.augmentation import flipped, moved_view, quarter_turned, relit
from distill.data.dataset import LabelledImage, read_labelled
from distill.data.rare_classes import repeat_factors, repeated
from distill.settings.tables import Augmentation
from edge.cloth.finder import cloth_mask
from edge.cloth.grain import CELL_PX
from edge.core.contract import ModelContract
from edge.core.detections import Detections
from edge.core.geometry import Boxes, View, box_areas, input_from_frame, plan_views
from edge.core.image import Image
from edge.inference.preprocess import Preprocessor, cut_view

LEAST_VISIBLE_FRACTION = 0.3
"""A box cut by the tile's edge stays if this fraction of its area is inside."""

LEAST_VISIBLE_PX = 16.0
"""It also stays if along each axis half of it, or this much, is inside: two strides of the finest level.
A broken end runs through many tiles; each shows a small fraction of it and all of its width."""

_RUN, _SPLIT = 0, 1
"""First words of the seeds, so that choosing tiles and changing them draw from separate streams."""


def visible_ground_truth(
    boxes_xyxy_px: Boxes, class_ids: NDArray[np.int64], view: View
) -> tuple[Boxes, NDArray[np.int64]]:
    """Give the ground truth about one view.

    Args:
        boxes_xyxy_px: (N, 4), frame pixels.
        class_ids: (N,).
    Returns:
        Boxes in input pixels, clipped to the view, and their classes; those with enough inside.
    """
    inside, kept = visible_boxes(boxes_xyxy_px, view)
    return inside[kept], class_ids[kept]


def visible_boxes(boxes_xyxy_px: Boxes, view: View) -> tuple[Boxes, NDArray[np.bool_]]:
    """Clip boxes to a view.

    Args:
        boxes_xyxy_px: (N, 4), frame pixels.
    Returns:
        (N, 4) in input pixels, and (N,) which of them have enough inside.
    """
    inside = input_from_frame(boxes_xyxy_px, view)
    whole = boxes_xyxy_px * np.float32(view.scale)
    sides = inside[:, 2:] - inside[:, :2]
    whole_sides = whole[:, 2:] - whole[:, :2]
    enough_area = box_areas(inside) >= LEAST_VISIBLE_FRACTION * box_areas(whole)
    enough_sides = (sides >= np.minimum(0.5 * whole_sides, LEAST_VISIBLE_PX)).all(axis=1)
    return inside, (enough_area | enough_sides) & (sides >= 1).all(axis=1)


@dataclass(frozen=True, slots=True)
class Tile:
    """Name a view of one image of the data set, and the classes that it shows."""

    image_index: int
    view: View
    class_ids: frozenset[int]

    @property
    def is_empty(self) -> bool:
        return not self.class_ids


class TilePlan:
    """Hold the images of a split and the tiles that cover them.

    Decoded images stay in memory up to a limit, in the order of the split.

    Args:
        images: of one split.
        contract: of the model to be trained.
        mm_per_px: of the images; None if not known.
        cache_mb: see above.
    Raises:
        DatasetError: if an image cannot be decoded: all are decoded once, here.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        contract: ModelContract,
        mm_per_px: float | None,
        cache_mb: int,
    ) -> None:
        self.images = images
        self.frame_hw_px: list[tuple[int, int]] = []
        self._decoded: dict[int, Image] = {}
        self._cloth: dict[int, NDArray[np.bool_]] = {}
        self.tiles: list[Tile] = []
        free_bytes = cache_mb * 2**20
        for index, labelled in enumerate(images):
            image = read_labelled(labelled.path)
            if image.nbytes <= free_bytes:
                self._decoded[index] = image
                free_bytes -= image.nbytes
            size_hw = (image.shape[0], image.shape[1])
            self.frame_hw_px.append(size_hw)
            boxes = labelled.boxes_xyxy_px(image)
            for view in plan_views(size_hw, contract, mm_per_px):
                _, class_ids = visible_ground_truth(boxes, labelled.class_ids, view)
                self.tiles.append(Tile(index, view, frozenset(class_ids.tolist())))

    def image(self, index: int) -> Image:
        """Return a decoded image."""
        return self._decoded[index] if index in self._decoded else read_labelled(self.images[index].path)

    def cloth(self, index: int) -> Image:
        """Say where an image shows cloth, (H, W): 255 there, else 0; if none is found, all counts as cloth.

        It is found in the image as the camera gave it: where a tile is enlarged, the noise of a machine's
        bed is as coarse as a weave.
        """
        if index not in self._cloth:
            found = cloth_mask(self.image(index))
            self._cloth[index] = found if found.any() else np.ones_like(found)
        cells = self._cloth[index].astype(np.uint8) * np.uint8(255)
        height, width = self.frame_hw_px[index]
        large = cells.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
        return np.ascontiguousarray(large[:height, :width])

    def epoch_order(
        self, epoch: int, seed: int, empty_fraction: float, rare_class_share: float = 0.0
    ) -> list[int]:
        """Choose the tiles of an epoch: all with a defect, a fresh fraction of the others, shuffled.

        Tiles of classes that fewer than `rare_class_share` of the tiles with defects show come more than
        once. It depends on the arguments alone, so that a resumed run sees what the first one would have.
        """
        rng = np.random.default_rng([_RUN, seed, epoch])
        empty = np.flatnonzero([tile.is_empty for tile in self.tiles])
        used = np.flatnonzero([not tile.is_empty for tile in self.tiles])
        drawn = rng.permutation(empty)[: round(empty_fraction * len(empty))]
        if rare_class_share and len(used):
            factors = repeat_factors([self.tiles[index].class_ids for index in used], rare_class_share)
            used = repeated(used, factors, rng)
        order = rng.permutation(np.concatenate([used, drawn]))
        return [int(index) for index in (order if len(order) else rng.permutation(empty))]


Sample = tuple[NDArray[np.float32], Boxes, NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_] | None]
"""(channels, H, W) float32 as the network sees it, boxes in input pixels, class ids, weights, and where
asked for the cells that show cloth."""


class Showing(NamedTuple):
    """Name a tile and how often it was shown before, in the same epoch."""

    tile: int
    before: int


class TrainingTiles(TorchDataset[Sample]):
    """Serve tiles of one epoch, augmented. Showing n of tile k in epoch e is always the same.

    Args:
        plan: of the split.
        order: part of what `showings` gives for the whole epoch.
        contract: of the model to be trained.
        augmentation: of the recipe.
        seed_words: the recipe's seed and the epoch.
        turned_ids: class that each becomes by a quarter turn; None for a class that must not be turned.
        finds_cloth: serve the cells that show cloth, too.
    """

    def __init__(
        self,
        plan: TilePlan,
        order: Sequence[Showing],
        contract: ModelContract,
        augmentation: Augmentation,
        seed_words: tuple[int, int],
        turned_ids: Sequence[int | None],
        finds_cloth: bool = False,
    ) -> None:
        self._plan = plan
        self._order = order
        self._input_hw_px = contract.input_size_hw_px
        self._contract = contract
        self._preprocessor: Preprocessor | None = None
        self._augmentation = augmentation
        self._seed_words = seed_words
        self._turned_ids = turned_ids
        self._finds_cloth = finds_cloth

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Sample:
        if self._preprocessor is None:  # made in the process that uses it: CLAHE cannot be pickled
            self._preprocessor = Preprocessor(self._contract)
        index, before = self._order[position]
        tile = self._plan.tiles[index]
        again = [before] if before else []
        rng = np.random.default_rng([_SPLIT, *self._seed_words, index, *again])
        image = self._plan.image(tile.image_index)
        ground_truth = self._plan.images[tile.image_index]
        view = moved_view(tile.view, self._plan.frame_hw_px[tile.image_index], self._augmentation, rng)
        inside, kept = visible_boxes(ground_truth.boxes_xyxy_px(image), view)
        weights = np.ones(len(kept), np.float32) if ground_truth.weights is None else ground_truth.weights
        cut = cut_view(image, view, self._input_hw_px)
        if self._finds_cloth:  # as one channel more it is flipped and turned like the rest
            cut = np.dstack([cut, cut_view(self._plan.cloth(tile.image_index), view, self._input_hw_px)])
        cut, boxes = flipped(cut, inside[kept], self._augmentation, rng)
        cut, boxes, class_ids = quarter_turned(
            cut, boxes, ground_truth.class_ids[kept], self._turned_ids, self._augmentation, rng
        )
        cloth = None
        if self._finds_cloth:
            cut, cloth = np.ascontiguousarray(cut[..., :-1].squeeze()), cloth_cells(cut[..., -1])
        cut = relit(cut, self._augmentation, rng)
        whole = View(0, 0, self._input_hw_px[1], self._input_hw_px[0])
        labelled = self._preprocessor.batch(cut, [whole])[0].copy()
        return labelled, boxes, class_ids, weights[kept], cloth


def cloth_cells(cloth: Image) -> NDArray[np.bool_]:
    """Say for each cell of a tile whether most of it is cloth, (H / 8, W / 8), H and W multiples of 8.

    Args:
        cloth: cut out of what `TilePlan.cloth` gives.
    """
    height, width = cloth.shape
    size_wh = width // CELL_PX, height // CELL_PX
    return np.asarray(cv2.resize(cloth, size_wh, interpolation=cv2.INTER_AREA) > 127, np.bool_)


def showings(order: Sequence[int]) -> list[Showing]:
    """Count, for each tile of a whole epoch, how often it was shown before in that epoch."""
    seen: Counter[int] = Counter()
    shown = []
    for index in order:
        shown.append(Showing(index, seen[index]))
        seen[index] += 1
    return shown


def collate(samples: Sequence[Sample]) -> tuple[Tensor, dict[str, Tensor]]:
    """Join samples to a batch in the form the loss wants (see `DetectionTask.loss_parts`)."""
    images = torch.from_numpy(np.stack([image for image, *_ in samples]))
    height, width = images.shape[2:]
    boxes = np.concatenate([boxes for _, boxes, *_ in samples]) / (width, height, width, height)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    counts = [len(boxes) for _, boxes, *_ in samples]
    targets = {
        "batch_idx": np.repeat(np.arange(len(samples)), counts),
        "cls": np.concatenate([class_ids for _, _, class_ids, *_ in samples])[:, None],
        "bboxes": np.concatenate([centres, sides], axis=1),
        "weights": np.concatenate([weights for _, _, _, weights, _ in samples]),
    }
    masks = [cloth for *_, cloth in samples if cloth is not None]
    if masks:
        targets["cloth"] = np.stack(masks)
    return images, {name: torch.from_numpy(value).float() for name, value in targets.items()}


def batches(tiles: TrainingTiles, batch: int, workers: int) -> DataLoader[Sample]:
    """Serve tiles in batches, in their order."""
    return DataLoader(
        tiles,
        batch_size=batch,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_single_threaded if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def _single_threaded(worker: int) -> None:
    cv2.setNumThreads(0)  # as many threads as cores in each of many workers stand in each other's way


def ground_truth_batches(
    plan: TilePlan, contract: ModelContract, batch: int
) -> Iterator[tuple[NDArray[np.float32], list[Detections]]]:
    """Serve every tile of a split as the edge would see it, with its ground truth.

    Yields:
        Images (B, channels, H, W) float32 and B ground truths in input pixels, scores 1. The images' memory
        is reused by the next batch.
    """
    preprocessor = Preprocessor(contract)
    images = np.empty((batch, contract.channels, *contract.input_size_hw_px), np.float32)
    ground_truths: list[Detections] = []
    for tile in plan.tiles:
        image, labelled = plan.image(tile.image_index), plan.images[tile.image_index]
        images[len(ground_truths)] = preprocessor.batch(image, [tile.view])[0]
        boxes, ids = visible_ground_truth(labelled.boxes_xyxy_px(image), labelled.class_ids, tile.view)
        ground_truths.append(Detections(boxes, np.ones(len(boxes), np.float32), ids))
        if len(ground_truths) == batch:
            yield images, ground_truths
            ground_truths = []
    if ground_truths:
        yield images[: len(ground_truths)], ground_truths


def tile_sides(plan: TilePlan) -> NDArray[np.float64]:
    """Return width and height of every box of every tile, in input pixels, (N, 2): what training sees."""
    found = [np.zeros((0, 4), np.float32)]
    for tile in plan.tiles:
        image = plan.images[tile.image_index]
        height, width = plan.frame_hw_px[tile.image_index]
        boxes = np.asarray(image.boxes_xyxy_norm * (width, height, width, height), np.float32)
        found.append(visible_ground_truth(boxes, image.class_ids, tile.view)[0])
    boxes = np.concatenate(found)
    return np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64)
