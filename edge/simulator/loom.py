"""Weave any lines of an endless roll, and list the defects in them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from edge.core.image import Image
from edge.core.taxonomy import Taxonomy, load_taxonomy
from edge.simulator.banks import add_bank, copy_bank, draw_banks, subtract_bank
from edge.simulator.ground_truth import BoxPx, Mask, PlantedDefect, SeenDefect, tight_box
from edge.simulator.joints import JointPatch, PlantedJoint, apply_joint, draw_joint
from edge.simulator.kinds import Site, draw_figure
from edge.simulator.looks import KINDS_OF, style_of
from edge.simulator.options import LoomOptions
from edge.simulator.patch import Ground, Patch, apply_patch, measure_ground, patch_from_figure
from edge.simulator.plan import panel_at, plan_panel
from edge.simulator.store import BoundedStore
from edge.simulator.texture import draw_texture, selvedge_bands_px

KEPT_PANELS = 4
KEPT_JOINTS = 2
KEPT_PATCH_PX = 400_000
"""Pixels of defects kept drawn, 9 bytes each. Those of one block of 256 lines are some ten thousand."""

SAMPLE_LINES = 256
"""Lines of clean cloth that the contrast of defects is measured against."""


class Loom:
    """Weave a roll of cloth, any lines of it, in any order.

    A line looks the same whatever block it is asked for in. What is kept in memory does not grow.

    Args:
        options: what to weave.
        taxonomy: gives each category of defect its class; None for the shipped one.
    """

    def __init__(self, options: LoomOptions, taxonomy: Taxonomy | None = None) -> None:
        self.options = options
        self.taxonomy = taxonomy or load_taxonomy()
        self._kinds = KINDS_OF[options.look]
        self.style = style_of(options)
        texture = draw_texture(options, self.style)
        self._channels = 1 if texture.ndim == 2 else 3
        self._texture = texture.reshape(len(texture), -1)
        self._banks = draw_banks(options, self.style)
        left_px, right_px = selvedge_bands_px(options, self.style)
        self._ground_px = max(left_px, 0), min(right_px, options.width_px)
        self._ground_mm = (
            (self._ground_px[0] - options.left_selvedge_px) * options.mm_per_px,
            (self._ground_px[1] - options.left_selvedge_px) * options.mm_per_px,
        )
        self._ground = self._measure()
        self._site = self._survey()
        self._panels: BoundedStore[tuple[PlantedDefect, ...]] = BoundedStore(KEPT_PANELS)
        self._joints: BoundedStore[JointPatch] = BoundedStore(KEPT_JOINTS)
        self._patches: BoundedStore[Patch] = BoundedStore(KEPT_PATCH_PX, lambda patch: patch.mask.size)

    def render(self, first_line: int, count: int) -> Image:
        """Weave lines [first_line, first_line + count).

        Returns:
            (count, width) uint8, or (count, width, 3) BGR; a new array each time.
        """
        smear_px = self.options.smear_px
        before = smear_px // 2
        image = self._cloth(first_line - before, count + smear_px - 1)
        for planted, patch in self._patches_in(first_line - before, len(image)):
            self._draw(image, first_line - before, planted, patch)
        for number in self._joints_in(first_line - before, len(image)):
            apply_joint(image, first_line - before, self.options.cloth_in_view_px[0], self._joint(number))
        if smear_px > 1:
            image = cv2.blur(image, (1, smear_px))[before : before + count].copy()
        plane = image.reshape(count, -1)
        add_bank(plane, self._banks.noise_up, first_line)
        subtract_bank(plane, self._banks.noise_down, first_line)
        return image

    def seen_defects(self, first_line: int, count: int) -> list[SeenDefect]:
        """Return what is wrong with lines [first_line, first_line + count), in their pixels."""
        before = self.options.smear_px // 2
        seen = []
        for planted, patch in self._patches_in(first_line - before, count + 2 * before):
            top, left = self._corner(planted)
            image = np.zeros((count, patch.mask.shape[1]), dtype=np.uint8)
            for shift in range(-before, before + 1):
                rows, patch_rows = _shared_rows(top - first_line + shift, len(patch.mask), count)
                image[rows] |= patch.mask[patch_rows]
            box = tight_box(image)
            if box is not None:
                seen.append(_seen(planted, image, box, left))
        return seen

    def planted_between(self, start_m: float, end_m: float) -> list[PlantedDefect]:
        """Return the defects that touch a stretch of the roll, in the order of their start."""
        panels = range(max(0, panel_at(start_m)), panel_at(end_m) + 1)
        return [
            planted
            for panel in panels
            for planted in self._panel(panel)
            if planted.along_m[1] > start_m and planted.along_m[0] < end_m
        ]

    def planted_up_to(self, along_m: float) -> list[PlantedDefect]:
        """Return the defects that end at or before a place on the roll, from its start."""
        return [item for item in self.planted_between(0.0, along_m) if item.along_m[1] <= along_m]

    def joints_up_to(self, along_m: float) -> list[PlantedJoint]:
        """Return the joints that end at or before a place on the roll."""
        joints = []
        for number, at_m in enumerate(self.options.joints_at_m):
            if at_m <= along_m:
                patch, m_per_line = self._joint(number), self.options.mm_per_px / 1000
                start_m = patch.first_line * m_per_line
                joints.append(PlantedJoint((start_m, start_m + len(patch.keep) * m_per_line)))
        return [joint for joint in joints if joint.along_m[1] <= along_m]

    def planted_in_panels(self, count: int) -> list[PlantedDefect]:
        """Return the defects of the first panel that has any, of the first `count` panels."""
        return next((list(plan) for plan in map(self._panel, range(count)) if plan), [])

    @property
    def kept(self) -> tuple[int, int]:
        """How many panels and how many pixels of drawn defects are kept at the moment."""
        return len(self._panels), self._patches.weight

    def _cloth(self, first_line: int, count: int) -> Image:
        """Weave clean cloth without sensor noise."""
        plane = np.empty((count, self._texture.shape[1]), dtype=np.uint8)
        copy_bank(plane, self._texture, first_line)
        add_bank(plane, self._banks.brighter, first_line)
        subtract_bank(plane, self._banks.darker, first_line)
        return plane if self._channels == 1 else plane.reshape(count, -1, 3)

    def _draw(self, image: Image, first_line: int, planted: PlantedDefect, patch: Patch) -> None:
        """Plant the part of a defect that falls on these lines, in place."""
        top, left = self._corner(planted)
        rows, patch_rows = _shared_rows(top - first_line, len(patch.mask), len(image))
        columns = slice(left, left + patch.mask.shape[1])
        apply_patch(image[rows, columns], patch, patch_rows)

    def _corner(self, planted: PlantedDefect) -> tuple[int, int]:
        """Return the line and the column where the rectangle of a defect begins."""
        top = round(planted.along_m[0] * 1000.0 / self.options.mm_per_px)
        left = round(planted.across_mm[0] / self.options.mm_per_px)
        return top, left + self.options.left_selvedge_px

    def _patches_in(self, first_line: int, count: int) -> Iterator[tuple[PlantedDefect, Patch]]:
        """Yield the defects that touch these lines, with what they do to the pixels."""
        m_per_line = self.options.mm_per_px / 1000.0
        start_m, end_m = first_line * m_per_line, (first_line + count) * m_per_line
        for planted in self.planted_between(start_m - m_per_line, end_m + m_per_line):
            top, _ = self._corner(planted)
            patch = self._patch(planted)
            if top < first_line + count and top + len(patch.mask) > first_line:
                yield planted, patch

    def _joints_in(self, first_line: int, count: int) -> list[int]:
        """Return the numbers of the joints that may touch these lines."""
        m_per_line, reach_m = self.options.mm_per_px / 1000.0, 0.02
        start_m, end_m = first_line * m_per_line - reach_m, (first_line + count) * m_per_line + reach_m
        return [number for number, at_m in enumerate(self.options.joints_at_m) if start_m <= at_m <= end_m]

    def _joint(self, number: int) -> JointPatch:
        """Return what a joint does to the pixels."""
        columns = slice(*self.options.cloth_in_view_px)
        return self._joints.get(
            number, lambda: draw_joint(self.options, number, self._ground.grey[columns])
        )

    def _panel(self, panel: int) -> tuple[PlantedDefect, ...]:
        """Return the plan of a panel."""
        return self._panels.get(
            panel, lambda: plan_panel(self.options, self.taxonomy, self._ground_mm, self._site, panel)
        )

    def _patch(self, planted: PlantedDefect) -> Patch:
        """Return what a defect does to the pixels."""
        return self._patches.get(planted.defect_id, lambda: self._draw_patch(planted))

    def _draw_patch(self, planted: PlantedDefect) -> Patch:
        """Draw a defect from the seed and its number."""
        figure, strength = draw_figure(
            self._kinds[planted.category], planted, self.options.seed, self._site
        )
        _, left = self._corner(planted)
        ground = self._ground.part(slice(None), slice(left, left + figure.body.shape[1]))
        return patch_from_figure(figure, ground, strength)

    def _measure(self) -> Ground:
        """Measure a sample of the clean cloth between the selvedges."""
        sample = self._cloth(0, SAMPLE_LINES)
        plane = sample.reshape(SAMPLE_LINES, -1)
        add_bank(plane, self._banks.noise_up, 0)
        subtract_bank(plane, self._banks.noise_down, 0)
        pitch_px = max(self.style.warp_pitch_px, self.style.weft_pitch_px)
        return measure_ground(sample, self._ground_px, pitch_px)

    def _survey(self) -> Site:
        """Describe the room that defects have."""
        mm_per_px = self.options.mm_per_px
        left_px, right_px = self._ground_px
        return Site(
            mm_per_px=mm_per_px,
            warp_pitch_px=self.style.warp_pitch_px,
            weft_pitch_px=self.style.weft_pitch_px,
            breadth_mm=(right_px - left_px) * mm_per_px,
        )


def _shared_rows(top: int, lines: int, count: int) -> tuple[slice, slice]:
    """Return which rows of an image and of a patch fall together.

    Args:
        top: row of the image where the patch begins; may be negative.
        lines: rows of the patch.
        count: rows of the image.
    """
    start, end = max(0, top), max(0, min(count, top + lines))
    start = min(start, end)
    return slice(start, end), slice(start - top, end - top)


def _seen(planted: PlantedDefect, image: Mask, box: BoxPx, left: int) -> SeenDefect:
    """Say what is seen of a defect whose columns begin at `left`."""
    x1, y1, x2, y2 = box
    return SeenDefect(
        defect_id=planted.defect_id,
        category=planted.category,
        class_name=planted.class_name,
        difficulty=planted.difficulty,
        box_xyxy_px=(x1 + left, y1, x2 + left, y2),
        mask=image[y1:y2, x1:x2].copy(),
    )
