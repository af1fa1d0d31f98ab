"""Draw the general instances: an engineer sees where the student is taught, and by whom."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor

from distill.data.tiles import Tile, cloth_cells, visible_ground_truth
from distill.gid.instances import Instances
from distill.gid.task import DistillationTask
from distill.training.training_run import TrainingRun
from edge.core import palette
from edge.core.files import write_whole
from edge.core.geometry import Boxes
from edge.core.image import Image
from edge.core.labelled_boxes import draw_text
from edge.inference.preprocess import Preprocessor, cut_view

TILES = 6
LEAST_SHOWN_SIDE_PX = 384
"""Smaller tiles are enlarged by a whole factor until they have this side."""

GROUND_TRUTH, TEACHERS, STUDENTS = "labelled", "teacher's box", "student's box"
COLOURS: Final = {GROUND_TRUTH: palette.GROUND_TRUTH, TEACHERS: palette.TEACHER, STUDENTS: palette.STUDENT}
GAP_PX, LEGEND_PX = 6, 26


class InstanceImages:
    """Draw the instances in the same few validation tiles after chosen epochs.

    They are those of the moving average, which validation sees, without augmentation. A run without
    general instances draws nothing.
    """

    def __init__(self, run: TrainingRun) -> None:
        settings = run.recipe.distillation
        self._run = run
        self._epochs = settings.picture_epochs if settings is not None else ()
        self._tiles = _spread([tile for tile in run.val_plan.tiles if not tile.is_empty])

    def draw(self, epoch: int) -> None:
        """Write instances/epoch-001.png if images of this epoch, counted from 1, are wanted.

        Raises:
            OutputError: if it cannot be written.
        """
        run = self._run
        if epoch not in self._epochs or not self._tiles or not isinstance(run.task, DistillationTask):
            return
        preprocessor = Preprocessor(run.contract)
        plan = run.val_plan
        inputs = [preprocessor.batch(plan.image(t.image_index), [t.view])[0].copy() for t in self._tiles]
        images = torch.from_numpy(np.stack(inputs)).to(run.device)
        instances = run.task.instances_of(run.average.ema, images, self._cloth().to(run.device))
        if instances is not None:
            drawn = [self._drawn(number, tile, instances) for number, tile in enumerate(self._tiles)]
            _, data = cv2.imencode(".png", sheet(drawn))
            write_whole(run.folder.instances / f"epoch-{epoch:03d}.png", data.tobytes())

    def _cloth(self) -> Tensor:
        """Say where cloth is in the tiles, (B, h, w)."""
        plan, size_hw = self._run.val_plan, self._run.contract.input_size_hw_px
        settings = self._run.recipe.distillation
        if settings is None or not settings.finds_cloth:
            return torch.ones(len(self._tiles), 1, 1)
        cuts = [cut_view(plan.cloth(tile.image_index), tile.view, size_hw) for tile in self._tiles]
        return torch.from_numpy(np.stack([cloth_cells(cut) for cut in cuts]))

    def _drawn(self, number: int, tile: Tile, instances: Instances) -> Image:
        plan, size_hw = self._run.val_plan, self._run.contract.input_size_hw_px
        image, ground_truth = plan.image(tile.image_index), plan.images[tile.image_index]
        boxes, _ = visible_ground_truth(
            ground_truth.boxes_xyxy_px(image), ground_truth.class_ids, tile.view
        )
        mine, is_teachers = instances.image_of == number, instances.is_teachers
        return drawn_tile(
            cut_view(image, tile.view, size_hw),
            {
                TEACHERS: instances.boxes_xyxy_px[mine & is_teachers].cpu().numpy(),
                STUDENTS: instances.boxes_xyxy_px[mine & ~is_teachers].cpu().numpy(),
                GROUND_TRUTH: boxes,
            },
        )


def drawn_tile(tile: Image, boxes: dict[str, Boxes]) -> Image:
    """Draw boxes on a tile.

    Args:
        tile: (H, W) grey or (H, W, 3) BGR.
        boxes: by whose they are, a key of `COLOURS`; (N, 4) in pixels of the tile.
    Returns:
        BGR, enlarged.
    """
    times = -(-LEAST_SHOWN_SIDE_PX // min(tile.shape[:2]))
    large = cv2.resize(tile, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
    canvas = cv2.cvtColor(large, cv2.COLOR_GRAY2BGR) if large.ndim == 2 else large.copy()
    for whose, corners in boxes.items():
        for left, top, right, bottom in np.rint(corners * times).astype(int).tolist():
            cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), COLOURS[whose].bgr, 2)
    return np.asarray(canvas, np.uint8)


def sheet(images: list[Image]) -> Image:
    """Lay BGR images of one size out in rows of up to three, above a legend."""
    columns = min(3, len(images))
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    canvas = np.full(
        (rows * (height + GAP_PX) + LEGEND_PX, columns * (width + GAP_PX) - GAP_PX, 3), 255, np.uint8
    )
    for number, image in enumerate(images):
        top, left = number // columns * (height + GAP_PX), number % columns * (width + GAP_PX)
        canvas[top : top + height, left : left + width] = image
    for number, (name, colour) in enumerate(COLOURS.items()):
        left, top = 6 + 128 * number, canvas.shape[0] - LEGEND_PX + 5
        cv2.rectangle(canvas, (left, top + 1), (left + 14, top + 15), colour.bgr, -1)
        draw_text(canvas, name, (left + 20, top))
    return canvas


def _spread(tiles: list[Tile]) -> list[Tile]:
    """Choose up to `TILES` tiles, evenly over the split."""
    step = max(1, len(tiles) // TILES)
    return tiles[::step][:TILES]
