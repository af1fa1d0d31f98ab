"""One subtle defect beside a bright selvedge, under each kind of enhancement, looked at and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from canvas import as_bgr, below, beside, boxed, captioned, enlarged
from numpy.typing import NDArray

from edge.core.contract import Clahe, Enhancement, GlobalEqualisation, NoEnhancement
from edge.core.image import Image
from edge.core.labelled_boxes import draw_text
from edge.core.palette import GREEN, SKY_BLUE, WHITE
from edge.inference.preprocess import grey_enhancer
from edge.simulator.ground_truth import PlantedDefect, SeenDefect
from edge.simulator.loom import Loom
from edge.simulator.options import LoomOptions

TILE_PX = 256
BED_MM = 60.0
SPOTS = ("nep", "hole", "stain")
"""Kinds that are lighter or darker as a whole, so that one number is their contrast."""

SHOWN_SEED = 50
MEASURED_SEEDS = range(100, 140)
BED_FRACTIONS = (0.0, 0.2, 0.4, 0.6)
SHOWN_BED_FRACTION = 0.6
NEAR_MM = (10.0, 36.0)
"""Where the defects lie that are measured: so far from the selvedge, and no farther."""

NAMED: dict[str, Enhancement] = {
    "none": NoEnhancement(),
    "global equalisation": GlobalEqualisation(),
    "CLAHE, clip 2, grid 8 x 8": Clahe(),
}
HEADINGS = ("gain", "kept", "change", "worst 10 %", "bed noise")
"""Grey contrast over that without enhancement; the same for deviations; largest over least grey contrast
of one defect as the tile moves over `BED_FRACTIONS`, its median and its 90th percentile; grey levels."""

BED_COLOUR, CLOTH_COLOUR = SKY_BLUE, GREEN


@dataclass(frozen=True, slots=True)
class Scene:
    """A strip of cloth with bed at its left, and one defect near the selvedge.

    Attributes:
        image: (256, W) uint8.
        mask: (256, W) bool, the pixels of the defect.
        box_xyxy_px: of the defect.
        selvedge_px: column of the left edge of the cloth.
        ground_px: first column behind the selvedge band.
        yarn_px: the wider of the two yarn pitches.
    """

    image: Image
    mask: NDArray[np.bool_]
    box_xyxy_px: tuple[int, int, int, int]
    selvedge_px: int
    ground_px: int
    yarn_px: float

    def tile_left_px(self, bed_fraction: float) -> int:
        """Return where a tile begins that shows so much bed, but always the whole defect."""
        wanted = self.selvedge_px - round(bed_fraction * TILE_PX)
        return max(wanted, self.box_xyxy_px[2] + 12 - TILE_PX)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Say how a defect stands out from the clean cloth around it.

    Attributes:
        grey: mean of the defect less mean of its surroundings, grey levels.
        deviations: the same, over the standard deviation of the surroundings blurred over one yarn.
        bed_grey: standard deviation of the empty bed, grey levels; nan where no bed is in view.
    """

    grey: float
    deviations: float
    bed_grey: float


def weave_scene(seed: int) -> Scene | None:
    """Weave the first subtle spot near the left selvedge of a roll; None if the roll has none."""
    options = LoomOptions(
        seed=seed, width_px=900, bed_left_mm=BED_MM, bed_right_mm=-100, defects_per_m=12,
        difficulties=("subtle",), categories=(*SPOTS, "dropped stitch", "wrinkle", "broken yarn"),
    )  # fmt: skip
    loom = Loom(options)
    planted = next((item for item in loom.planted_up_to(20) if _is_near_spot(item)), None)
    if planted is None:
        return None
    middle = round(sum(planted.along_m) / 2 * 1000 / options.mm_per_px)
    first_line = max(0, middle - TILE_PX // 2)
    image = loom.render(first_line, TILE_PX)
    seen = next(
        item for item in loom.seen_defects(first_line, TILE_PX) if item.defect_id == planted.defect_id
    )
    return _scene_of(loom, image, seen)


def measure(scene: Scene, enhancement: Enhancement, bed_fraction: float) -> Contrast:
    """Enhance a tile as the edge does and measure the defect in it.

    Both are blurred over one yarn first: an eye and a network see the spot, not the single yarn.
    """
    left = scene.tile_left_px(bed_fraction)
    columns = slice(left, left + TILE_PX)
    tile = grey_enhancer(enhancement)(np.ascontiguousarray(scene.image[:, columns]))
    smooth = cv2.GaussianBlur(tile.astype(np.float32), (0, 0), 0.8 * scene.yarn_px)
    defect = scene.mask[:, columns]
    around = _surroundings(scene)[:, columns]
    grey = float(smooth[defect].mean() - smooth[around].mean())
    bed = tile[:, : max(0, scene.selvedge_px - 4 - left)]
    bed_grey = float(bed.std()) if bed.size else float("nan")
    return Contrast(grey, abs(grey) / float(smooth[around].std()), bed_grey)


def draw_selvedge(scene: Scene) -> Image:
    """Draw one tile under each enhancement, with what was measured under it."""
    panels = []
    for name, enhancement in NAMED.items():
        contrast = measure(scene, enhancement, SHOWN_BED_FRACTION)
        panels.append(
            captioned(
                enlarged(_boxed_tile(scene, enhancement, SHOWN_BED_FRACTION), 2), _lines(name, contrast)
            )
        )
    return beside(panels)


def draw_shift(scene: Scene) -> Image:
    """Draw the same defect in tiles that show more and more of the bed."""
    rows = []
    for name, enhancement in NAMED.items():
        row = []
        for fraction in BED_FRACTIONS:
            contrast = measure(scene, enhancement, fraction)
            text = f"{name}: {contrast.grey:+.1f} grey"
            row.append(captioned(_boxed_tile(scene, enhancement, fraction), [text]))
        rows.append(beside(row))
    return below(rows, gap_px=2)


def draw_histograms(scene: Scene) -> Image:
    """Draw where the grey levels of cloth and bed lie, under each enhancement."""
    left = scene.tile_left_px(SHOWN_BED_FRACTION)
    panels = []
    for name, enhancement in NAMED.items():
        tile = grey_enhancer(enhancement)(np.ascontiguousarray(scene.image[:, left : left + TILE_PX]))
        bed, cloth = np.split(tile, [scene.selvedge_px - left], axis=1)
        low, high = np.percentile(tile[:, scene.ground_px - left :], [1, 99])
        lines = [name, f"98 % of the cloth: grey {low:.0f} to {high:.0f}"]
        panels.append(captioned(_histogram(bed, cloth), lines))
    return beside(panels, gap_px=16)


def print_measured(scene: Scene) -> None:
    """Print the numbers that docs/benchmarks/preprocessing.md quotes."""
    print(f"\none defect (seed {SHOWN_SEED}), {SHOWN_BED_FRACTION:.0%} of the tile is bed")
    for name, enhancement in NAMED.items():
        print("  " + "; ".join(_lines(name, measure(scene, enhancement, SHOWN_BED_FRACTION))))
    scenes = [found for seed in MEASURED_SEEDS if (found := weave_scene(seed)) is not None]
    print(f"\nmedians over {len(scenes)} cloths, one subtle spot near the selvedge of each")
    print(f"  {'enhancement':<28}" + "".join(f"{heading:>11}" for heading in HEADINGS))
    for name, enhancement in _tried().items():
        values = _medians(scenes, enhancement)
        print(f"  {name:<28}" + "".join(f"{value:11.2f}" for value in values))


def _tried() -> dict[str, Enhancement]:
    """Return what is measured: the three that are shown, and other settings of CLAHE."""
    tried: dict[str, Enhancement] = dict(NAMED)
    for clip in (1.0, 4.0, 8.0):
        tried[f"CLAHE, clip {clip:g}, grid 8 x 8"] = Clahe(clip_limit=clip)
    for cells in (2, 4, 16):
        tried[f"CLAHE, clip 2, grid {cells} x {cells}"] = Clahe(grid_hw=(cells, cells))
    return tried


def _medians(scenes: Sequence[Scene], enhancement: Enhancement) -> list[float]:
    """Return the values of `HEADINGS`; gain, kept and bed noise in tiles of which 40 % are bed."""
    rows = []
    for scene in scenes:
        plain = measure(scene, NoEnhancement(), 0.4)
        ours = [measure(scene, enhancement, fraction) for fraction in BED_FRACTIONS]
        size = [abs(contrast.grey) for contrast in ours]
        rows.append(
            (
                size[2] / max(abs(plain.grey), 1.0),
                ours[2].deviations / max(plain.deviations, 0.1),
                max(size) / max(min(size), 0.5),
                ours[2].bed_grey,
            )
        )
    table = np.array(rows)
    gain, kept, change, bed = np.median(table, axis=0)
    return [float(gain), float(kept), float(change), float(np.percentile(table[:, 2], 90)), float(bed)]


def _is_near_spot(planted: PlantedDefect) -> bool:
    left_mm, right_mm = planted.across_mm
    return planted.category in SPOTS and left_mm > NEAR_MM[0] and right_mm < NEAR_MM[1]


def _scene_of(loom: Loom, image: Image, seen: SeenDefect) -> Scene:
    left, top, right, bottom = seen.box_xyxy_px
    mask = np.zeros(image.shape, bool)
    mask[top:bottom, left:right] = seen.mask > 0
    selvedge_px = loom.options.left_selvedge_px
    band_px = round(loom.style.selvedge_mm / loom.options.mm_per_px)
    yarn_px = max(loom.style.warp_pitch_px, loom.style.weft_pitch_px)
    return Scene(image, mask, seen.box_xyxy_px, selvedge_px, selvedge_px + band_px, yarn_px)


def _surroundings(scene: Scene) -> NDArray[np.bool_]:
    """Return the clean cloth around the defect: a ring from 4 to 30 px, without the selvedge band."""
    grown = [
        cv2.dilate(scene.mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        for side in (9, 61)
    ]
    ring = (grown[1] > 0) & (grown[0] == 0)
    ring[:, : scene.ground_px] = False
    return np.asarray(ring, np.bool_)


def _boxed_tile(scene: Scene, enhancement: Enhancement, bed_fraction: float) -> Image:
    left = scene.tile_left_px(bed_fraction)
    tile = grey_enhancer(enhancement)(np.ascontiguousarray(scene.image[:, left : left + TILE_PX]))
    x1, y1, x2, y2 = scene.box_xyxy_px
    return boxed(as_bgr(tile), (x1 - left, y1, x2 - left, y2))


def _lines(name: str, contrast: Contrast) -> list[str]:
    return [
        name,
        f"defect against its surroundings: {contrast.grey:+.1f} grey levels",
        f"that is {contrast.deviations:.1f} deviations of the cloth around it",
        f"noise of the empty bed: {contrast.bed_grey:.1f} grey levels",
    ]


def _histogram(bed: Image, cloth: Image, height_px: int = 200) -> Image:
    """Draw two histograms over each other, 256 levels of 2 px; square-root scale."""
    paper = np.full((height_px, 512, 3), WHITE.bgr, np.uint8)
    counts = [np.bincount(part.ravel(), minlength=256) for part in (bed, cloth)]
    top = np.sqrt(max(int(count.max()) for count in counts))
    for count, colour, half in zip(counts, (BED_COLOUR, CLOTH_COLOUR), (0, 1), strict=True):
        for level, fraction in enumerate(np.sqrt(count) / top):
            bottom = height_px - round(float(fraction) * (height_px - 10))
            paper[bottom:, 2 * level + half] = colour.bgr
    for number, (text, colour) in enumerate((("bed", BED_COLOUR), ("cloth", CLOTH_COLOUR))):
        left, top = 12, 8 + 20 * number
        cv2.rectangle(paper, (left, top + 2), (left + 13, top + 15), colour.bgr, -1)
        draw_text(paper, text, (left + 20, top))
    return paper
