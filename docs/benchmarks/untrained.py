"""Write a checkpoint with fresh weights: speed does not depend on what a network has learnt.

Usage: python docs/benchmarks/untrained.py SCALE SIDE_PX OUT.pt   (for instance: s 640 runs/yolov5s-640.pt)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from distill.checkpoint import Checkpoint, write_checkpoint
from distill.detector.build import build_module
from distill.settings.recipe import Recipe
from distill.settings.structure import DetectorStructure
from distill.training.train import contract_for
from edge.core.taxonomy import load_taxonomy


def main() -> None:
    """Build, seed and write it."""
    scale, side_px, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    recipe = Recipe.model_validate(
        {"scale": scale, "input_size_hw_px": [side_px, side_px], "overlap_px": 64}
    )
    taxonomy = load_taxonomy()
    contract = contract_for(recipe, taxonomy, dataset_mm_per_px=None)
    structure = DetectorStructure(
        scale=recipe.scale, channels=contract.channels, classes=len(taxonomy.classes)
    )
    torch.manual_seed(0)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(out, Checkpoint(structure, build_module(structure).state_dict(), contract))
    print(f"checkpoint  {out}")


if __name__ == "__main__":
    main()
