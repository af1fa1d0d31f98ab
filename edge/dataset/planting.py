"""Plant defects in real images of clean cloth, with exact ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.cloth.mask import Mask
from edge.core.image import Image
from edge.core.image_file import read_image
from edge.core.taxonomy import Taxonomy
from edge.dataset.clean_cloth import Window, as_asked, ground_of, plantable
from edge.dataset.clean_folder import CleanFolder, CleanImage
from edge.dataset.image import IMAGE_STREAM, SEARCHED_PANELS, DatasetImage, aim, image_seed, is_sliver
from edge.dataset.options import DatasetOptions
from edge.simulator.ground_truth import PlantedDefect, SeenDefect, tight_box
from edge.simulator.kinds import Kind, Site, draw_figure
from edge.simulator.looks import KINDS_OF
from edge.simulator.options import LoomOptions
from edge.simulator.patch import Figure, apply_patch, patch_from_figure
from edge.simulator.plan import plan_panel

LEAST_CLOTH = 0.5
"""Of an image cut out of a clean one, so much is to be plantable cloth, if there is such a place."""

WINDOW_TRIES = 20

CUT_AT_THE_EDGE = ("broken end", "broken pick")
"""Yarns end where the cloth ends. Any other defect lies on it whole, or is not planted."""

LEAST_LEFT = 0.5
"""Of a yarn that is cut at the edge of the cloth, so much has to be left."""

PLAN_TRIES = 4 * SEARCHED_PANELS
"""Panels that are tried until the defect that the image is aimed at lies on cloth."""


class Planter:
    """Cut images of a data set out of clean ones, and plant defects in them.

    What an image becomes depends on the options, its index and the clean image alone.

    Args:
        options: of the data set.
        taxonomy: gives each category of defect its class.
        folder: of the clean images.
    """

    def __init__(self, options: DatasetOptions, taxonomy: Taxonomy, folder: CleanFolder) -> None:
        self._options = options
        self._taxonomy = taxonomy
        self._folder = folder
        self._last: tuple[CleanImage, Image, Mask] | None = None

    def __call__(self, index: int) -> DatasetImage:
        """Return one image of the data set with its defects; one without is the clean image, unchanged.

        Raises:
            ImageError: if the clean image cannot be read any more.
        """
        seed = image_seed(self._options.seed, index)
        rng = np.random.default_rng([seed, IMAGE_STREAM])
        clean, whole, is_cloth_of_whole = self._prepared(self._folder.image_for(self._options, index))
        window = choose_window(is_cloth_of_whole, self._options.size_hw, rng)
        image, is_cloth = whole[window.slices].copy(), is_cloth_of_whole[window.slices]
        wanted = bool(rng.random() < self._options.defect_share) and bool(is_cloth.any())
        defects = self._planted(image, is_cloth, clean, seed, rng) if wanted else ()
        return DatasetImage(index, seed, image, defects, clean.path.name, (window.left, window.top))

    def _prepared(self, clean: CleanImage) -> tuple[CleanImage, Image, Mask]:
        """Read a clean image; images of the data set that follow each other are often cut from one."""
        if self._last is None or self._last[0] != clean:
            image = as_asked(read_image(clean.path), self._options.colour)
            self._last = clean, image, plantable(image, self._options.mm_per_px)
        return self._last

    def _planted(
        self, image: Image, is_cloth: Mask, clean: CleanImage, seed: int, rng: np.random.Generator
    ) -> tuple[SeenDefect, ...]:
        """Plant the defects of a stretch of a roll in place, and say where they are."""
        ground = ground_of(image, is_cloth, max(clean.warp_pitch_px, clean.weft_pitch_px))
        placed = self._placed(is_cloth, clean, seed, rng)
        for one in placed:
            rows, columns = one.rows, one.columns
            patch = patch_from_figure(one.figure, ground.part(rows, columns), one.strength)
            apply_patch(image[rows, columns], patch, slice(None))
        return tuple(one.seen() for one in placed)

    def _placed(
        self, is_cloth: Mask, clean: CleanImage, seed: int, rng: np.random.Generator
    ) -> list[_Placed]:
        """Plan a roll of this cloth and aim at a defect of it that lies on the cloth in the image."""
        mm_per_px, lines = self._options.mm_per_px, len(is_cloth)
        columns = np.flatnonzero(is_cloth.any(axis=0))
        ground_mm = float(columns[0]) * mm_per_px, float(columns[-1] + 1) * mm_per_px
        site = Site(mm_per_px, clean.warp_pitch_px, clean.weft_pitch_px, ground_mm[1] - ground_mm[0])
        roll, kinds = self._roll(seed), KINDS_OF[self._options.look_of(seed)]
        for panel in range(PLAN_TRIES):
            plan = plan_panel(roll, self._taxonomy, ground_mm, site, panel)
            first_line = aim(plan, mm_per_px, lines, rng) if plan else 0
            found = (_place(planted, first_line, is_cloth, seed, site, kinds) for planted in plan)
            placed = [one for one in found if one is not None]
            if placed:
                return placed
        return []

    def _roll(self, seed: int) -> LoomOptions:
        """Return what the plan of a roll asks for."""
        options = self._options
        return LoomOptions(
            seed=seed,
            look=options.look_of(seed),
            mm_per_px=options.mm_per_px,
            width_px=16384,
            bed_left_mm=0,
            bed_right_mm=0,
            categories=options.categories,
            difficulties=options.difficulties,
            defects_per_m=options.defects_per_m,
        )


def choose_window(is_cloth: Mask, size_hw: tuple[int, int], rng: np.random.Generator) -> Window:
    """Choose which part of a clean image to cut out: at random, and where there is cloth."""
    windows = [
        Window(
            int(rng.integers(is_cloth.shape[0] - size_hw[0] + 1)),
            int(rng.integers(is_cloth.shape[1] - size_hw[1] + 1)),
            size_hw,
        )
        for _ in range(WINDOW_TRIES)
    ]
    ratios = [float(is_cloth[window.slices].mean()) for window in windows]
    enough = (window for window, ratio in zip(windows, ratios, strict=True) if ratio >= LEAST_CLOTH)
    return next(enough, windows[int(np.argmax(ratios))])


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A defect that lies on the cloth of an image.

    Attributes:
        figure: what of it lies in the image and on the cloth.
        top, left: where that begins.
        strength: in deviations of the cloth.
    """

    planted: PlantedDefect
    figure: Figure
    top: int
    left: int
    strength: float

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.figure.body.shape[0])

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.figure.body.shape[1])

    def seen(self) -> SeenDefect:
        """Return the ground truth: which pixels were changed."""
        height, width = self.figure.body.shape
        return SeenDefect(
            defect_id=self.planted.defect_id,
            category=self.planted.category,
            class_name=self.planted.class_name,
            difficulty=self.planted.difficulty,
            box_xyxy_px=(self.left, self.top, self.left + width, self.top + height),
            mask=self.figure.body.astype(np.uint8),
        )


def _place(
    planted: PlantedDefect,
    first_line: int,
    is_cloth: Mask,
    seed: int,
    site: Site,
    kinds: Mapping[str, Kind],
) -> _Placed | None:
    """Return what of a defect falls into the image; None if that is nothing, a rim, or not on cloth."""
    top = round(planted.along_m[0] * 1000.0 / site.mm_per_px) - first_line
    left = round(planted.across_mm[0] / site.mm_per_px)
    bottom = round(planted.along_m[1] * 1000.0 / site.mm_per_px) - first_line
    if bottom <= 0 or top >= len(is_cloth):
        return None
    figure, strength = draw_figure(kinds[planted.category], planted, seed, site)
    lines, columns = figure.body.shape
    rows = slice(max(0, -top), min(lines, len(is_cloth) - top))
    across = slice(max(0, -left), min(columns, is_cloth.shape[1] - left))
    body = figure.body[rows, across]
    on_cloth = body & is_cloth[top + rows.start : top + rows.stop, left + across.start : left + across.stop]
    least = LEAST_LEFT if planted.category in CUT_AT_THE_EDGE else 1.0
    box = tight_box(on_cloth.astype(np.uint8))
    if box is None or on_cloth.sum() < least * body.sum():
        return None
    top, left = top + rows.start, left + across.start
    x1, y1, x2, y2 = box
    if is_sliver((x1 + left, y1 + top, x2 + left, y2 + top), len(is_cloth)):
        return None
    shade, fade = figure.shade[rows, across], figure.fade[rows, across]
    kept = Figure(shade[y1:y2, x1:x2], fade[y1:y2, x1:x2], on_cloth[y1:y2, x1:x2], figure.lit)
    return _Placed(planted, kept, top + y1, left + x1, strength)
