"""Measure how far simulated cloth is from real clean cloth, per article and per fabric.

Usage: python docs/benchmarks/cloth_distance.py DATA OUT.json [--rolls 120] [--seed 70001] [--look drawn]

DATA holds `aitex/teach` (clean strips whose names end with the fabric) and `conveyor` (frames). Tiles of
256 x 256 px are compared: real ones where there is nothing but cloth, simulated ones from the middle of
rolls of any cloth at 0.2 mm/px. 0 is the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.image import Image
from edge.core.image_file import read_image
from edge.dataset.clean_cloth import grey_of, plantable
from edge.reference.trunk import Trunk
from edge.simulator.loom import Loom
from edge.simulator.options import PATTERNS, WEAVES, LoomOptions

Array = NDArray[np.float64]

SIDE_PX, MM_PER_PX = 256, 0.2
CELLS_PER_TILE = 128
"""Vectors of features taken from each tile."""

STRIP_TILES, FRAME_TILES = 3, 2
"""Tiles cut out of each real strip and of each frame."""

WHOLE = 0.98
"""Fraction of a tile that has to be cloth."""

BANDS = 24
"""Of a spectrum, between one cycle in 128 px and one in 2 px, evenly by octaves."""

CLAHE_CLIP, CLAHE_GRID = 2.0, (8, 8)
"""As the shipped detector sees cloth."""


def real_tiles(data: Path, seed: int) -> dict[str, list[Image]]:
    """Cut tiles of clean cloth out of the strips, by fabric, and out of the frames."""
    rng = np.random.default_rng(seed)
    tiles: dict[str, list[Image]] = {}
    for path in sorted((data / "aitex" / "teach").glob("*.png")):
        tiles.setdefault(f"fabric {path.stem[-2:]}", []).extend(_cut(path, STRIP_TILES, rng))
    for path in sorted((data / "conveyor").glob("*.jpg")):
        tiles.setdefault("conveyor", []).extend(_cut(path, FRAME_TILES, rng))
    return tiles


def _cut(path: Path, count: int, rng: np.random.Generator) -> Iterator[Image]:
    """Yield tiles of an image that show nothing but cloth, at random places; fewer where it has few."""
    grey = grey_of(read_image(path))
    is_cloth = plantable(grey, MM_PER_PX).astype(np.float32)
    around = cv2.blur(is_cloth, (SIDE_PX, SIDE_PX), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    rows, columns = np.nonzero(around[: -SIDE_PX + 1 or None, : -SIDE_PX + 1 or None] > WHOLE)
    for at in rng.permutation(len(rows))[:count]:
        yield grey[rows[at] : rows[at] + SIDE_PX, columns[at] : columns[at] + SIDE_PX]


def simulated_tiles(look: str, rolls: int, seed: int) -> dict[str, list[Image]]:
    """Weave tiles of any cloth without defects, each of a roll of its own, by weave."""
    tiles: dict[str, list[Image]] = {weave: [] for weave in WEAVES}
    for number in range(rolls):
        weave = WEAVES[number % len(WEAVES)]
        tiles[weave].append(simulated_tile(look, seed + number, weave=weave))
    return tiles


def patterned_tiles(look: str, rolls: int, seed: int) -> dict[str, list[Image]]:
    """Weave tiles of striped and of checked cloth, where the look has any."""
    if look == "drawn":
        return {}
    return {
        pattern: [simulated_tile(look, seed + number, pattern=pattern) for number in range(rolls)]
        for pattern in PATTERNS
        if pattern != "solid"
    }


def simulated_tile(look: str, seed: int, **settings: Any) -> Image:
    """Weave one tile of clean cloth from the middle of a roll."""
    options = LoomOptions.model_validate(
        {"seed": seed, "width_px": SIDE_PX, "mm_per_px": MM_PER_PX, "look": look, "pattern": "solid",
         "defects_per_m": 0, "bed_left_mm": -100, "bed_right_mm": -100, "texture_lines": 401} | settings
    )  # fmt: skip
    return Loom(options).render(1000, SIDE_PX)


class Described:
    """Describe a set of tiles: features of the shipped trunk, spectra, histogram after CLAHE.

    Args:
        tiles: (256, 256) uint8 each.
        trunk: of the reference model.
    Attributes:
        features: (n, C), of cells of all tiles.
        tile_features: (tiles, C), mean of each tile.
        rows, columns: mean of log10 of the power within each band.
        histogram: (64,), sum 1.
    """

    def __init__(self, tiles: Sequence[Image], trunk: Trunk) -> None:
        per_tile = [_features(tile, trunk) for tile in tiles]
        self.features: Array = np.concatenate(per_tile)
        self.tile_features: Array = np.stack(
            [np.concatenate((one.mean(axis=0), one.std(axis=0))) for one in per_tile]
        )
        self.rows: Array = np.mean([_spectrum(tile) for tile in tiles], axis=0)
        self.columns: Array = np.mean([_spectrum(tile.T) for tile in tiles], axis=0)
        self.histogram: Array = np.mean([_histogram(tile) for tile in tiles], axis=0)


def _features(tile: Image, trunk: Trunk) -> Array:
    """Return an even sample of the feature vectors of a tile: (CELLS_PER_TILE, C)."""
    found = trunk.features(tile)
    vectors = found.vectors[:, found.is_judged].T
    if len(vectors) == 0:
        raise ValueError("a tile shows no cloth")
    at = np.linspace(0, len(vectors) - 1, CELLS_PER_TILE).astype(int)
    return np.asarray(vectors[at], np.float64)


def _spectrum(tile: Image) -> Array:
    """Return log10 of the power of the rows of a tile by bands, as fractions of the variance."""
    level = tile.astype(np.float64)
    level = (level - level.mean()) * np.hanning(SIDE_PX)
    power = (np.abs(np.fft.rfft(level, axis=1)) ** 2).mean(axis=0)[1:]
    edges = np.unique(np.geomspace(1, SIDE_PX / 2, BANDS).round().astype(int))
    bands = np.add.reduceat(power[1:], edges[:-1] - 1) / np.diff(edges)
    return np.asarray(np.log10(bands / max(float(power.mean()), 1e-9) + 1e-4), np.float64)


def _histogram(tile: Image) -> Array:
    """Return the histogram of a tile after CLAHE."""
    seen = cv2.createCLAHE(CLAHE_CLIP, CLAHE_GRID).apply(tile)
    counts, _ = np.histogram(seen, bins=64, range=(0, 256))
    return np.asarray(counts / counts.sum(), np.float64)


def frechet(a: Array, b: Array) -> float:
    """Compute the Fréchet distance of two sets of vectors, taken as normal (Dowson and Landau 1982).

    Args:
        a, b: (n, C).
    """
    cov_a, cov_b = (np.cov(each, rowvar=False) for each in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return float(
        ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    )


def distances(one: Described, other: Described, scale: Array) -> dict[str, float]:
    """Return every distance between two sets of tiles; features are taken in units of `scale`."""
    return {
        "frechet": round(frechet(one.features / scale, other.features / scale), 3),
        "rows_db": round(10 * float(np.abs(one.rows - other.rows).mean()), 2),
        "columns_db": round(10 * float(np.abs(one.columns - other.columns).mean()), 2),
        "histogram": round(0.5 * float(np.abs(one.histogram - other.histogram).sum()), 3),
    }


def nearest(fabric: Described, simulated: Described, scale: Array) -> float:
    """Return how far the tiles of a fabric lie from the nearest simulated one: median, in deviations."""
    gaps = (fabric.tile_features[:, None] - simulated.tile_features[None]) / scale
    return round(float(np.median(np.sqrt((gaps**2).mean(axis=2)).min(axis=1))), 3)


def measure(
    real: Mapping[str, Sequence[Image]],
    simulated: Mapping[str, Sequence[Image]],
    patterned: Mapping[str, Sequence[Image]],
    trunk: Trunk,
) -> dict[str, Any]:
    """Compare one look of the simulator with real cloth, which has neither stripes nor checks."""
    strips = [tile for name, tiles in real.items() if name.startswith("fabric") for tile in tiles]
    pool = Described(strips, trunk)
    scale, tile_scale = pool.features.std(axis=0), pool.tile_features.std(axis=0) + 1e-6
    everything = Described([tile for tiles in simulated.values() for tile in tiles], trunk)
    return {
        "all articles against all fabrics": distances(everything, pool, scale),
        "articles against all fabrics": {
            name: distances(Described(tiles, trunk), pool, scale)
            for name, tiles in (*simulated.items(), *patterned.items())
        },
        "fabrics": {
            name: distances(everything, fabric, scale)
            | {"nearest_tile": nearest(fabric, everything, tile_scale)}
            for name, fabric in ((name, Described(tiles, trunk)) for name, tiles in real.items())
        },
    }


def floor(real: Mapping[str, Sequence[Image]], trunk: Trunk) -> dict[str, float]:
    """Compare real with real: fabrics of even with those of odd numbers. No simulation need be nearer."""
    halves = [
        [
            tile
            for name, tiles in real.items()
            if name.startswith("fabric") and int(name[-2:]) % 2 == odd
            for tile in tiles
        ]
        for odd in (0, 1)
    ]
    even, odd_ones = (Described(half, trunk) for half in halves)
    return distances(even, odd_ones, np.concatenate((even.features, odd_ones.features)).std(axis=0))


def main() -> None:
    """Print and write the distances."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rolls", type=int, default=120)
    parser.add_argument("--seed", type=int, default=70_001)
    parser.add_argument("--look", action="append")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    trunk, real = Trunk(), real_tiles(asked.data, seed=1)
    result: dict[str, Any] = {
        "tiles": {name: len(tiles) for name, tiles in real.items()},
        "rolls": asked.rolls,
        "even against odd fabrics": floor(real, trunk),
    }
    for look in asked.look or ("drawn", "woven"):
        solid = simulated_tiles(look, asked.rolls, asked.seed)
        patterned = patterned_tiles(look, asked.rolls // 4, asked.seed)
        result[look] = measure(real, solid, patterned, trunk)
        print(look, json.dumps(result[look], indent=1))
    asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
