"""Build a SAM of the real classes with few, random weights: for tests and to show that the code learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from distill.labels.sam.loading import write_sam


@dataclass(frozen=True, slots=True)
class SmallSamSizes:
    """Say how large it is.

    Attributes:
        image_px: side of its input; masks are drawn at 4 / patch_px of it.
        patch_px: side of the squares that the vision half sees as one.
        hidden: channels of the vision half.
        layers: of the vision half.
        channels: of what the decoder works on; a multiple of 8.
    """

    image_px: int = 128
    patch_px: int = 16
    hidden: int = 32
    layers: int = 2
    channels: int = 32


def write_small_sam(folder: Path, sizes: SmallSamSizes | None = None, seed: int = 0) -> Path:
    """Write a folder that `load_sam` reads, and return it."""
    sizes = sizes or SmallSamSizes()
    torch.manual_seed(seed)
    image_px, patch_px = sizes.image_px, sizes.patch_px
    config = SamConfig(
        vision_config={
            "hidden_size": sizes.hidden, "output_channels": sizes.channels, "image_size": image_px,
            "num_hidden_layers": sizes.layers, "num_attention_heads": 4, "patch_size": patch_px,
            "window_size": 4, "global_attn_indexes": [sizes.layers - 1], "mlp_dim": 2 * sizes.hidden,
            "num_pos_feats": sizes.channels // 2, "initializer_range": 0.02,
        },
        prompt_encoder_config={
            "hidden_size": sizes.channels, "image_size": image_px, "patch_size": patch_px,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": sizes.channels, "mlp_dim": 2 * sizes.channels, "num_attention_heads": 4,
            "iou_head_hidden_dim": sizes.channels,
        },
    )  # fmt: skip
    mask_px = 4 * image_px // patch_px
    images = SamImageProcessor(
        size={"longest_edge": image_px},
        pad_size={"height": image_px, "width": image_px},
        mask_size={"longest_edge": mask_px},
        mask_pad_size={"height": mask_px, "width": mask_px},
    )
    write_sam(SamModel(config), _processor(images), folder)
    return folder


def _processor(images: Any) -> Any:
    made: Any = SamProcessor  # its constructor is not annotated
    return made(images)
