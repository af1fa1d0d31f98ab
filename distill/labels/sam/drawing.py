"""Run a SAM on an image: features once, then a mask per box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from distill.labels.annotators.processor_images import rgb_from_image
from distill.labels.sam.loading import Sam
from distill.labels.sets.annotations import BoxXyxy
from edge.core.image import Image


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Hold what the vision half makes of an image.

    Attributes:
        values: (1, C, h, w).
        size_hw_px: of the image.
        scaled_hw_px: of the image in the model's input; the rest of that is padding.
    """

    values: Tensor
    size_hw_px: tuple[int, int]
    scaled_hw_px: tuple[int, int]


@torch.no_grad()
def features_of(sam: Sam, image: Image) -> Features:
    """Run the vision half.

    Args:
        sam: the model.
        image: (H, W) grey or (H, W, 3) BGR, uint8.
    """
    made = sam.processor(
        images=[rgb_from_image(image)], return_tensors="pt", input_data_format="channels_last"
    )
    values = sam.model.get_image_embeddings(made["pixel_values"].to(sam.device))
    height, width = (int(side) for side in made["reshaped_input_sizes"][0])
    return Features(values, (image.shape[0], image.shape[1]), (height, width))


def draw(sam: Sam, features: Features, boxes: Sequence[BoxXyxy]) -> tuple[Tensor, Tensor]:
    """Run the mask decoder; gradients reach its weights where these learn.

    Args:
        sam: the model.
        features: of the image.
        boxes: N in image pixels, N >= 1.
    Returns:
        (N, h, w) logits of the image in the size of the model's input, without the padding, and (N,) the
        overlap that the model expects of each mask with the ground truth.
    """
    height, width = features.size_hw_px
    to_input = (features.scaled_hw_px[1] / width, features.scaled_hw_px[0] / height) * 2
    prompts = torch.tensor(boxes, dtype=torch.float32) * torch.tensor(to_input)
    outputs = sam.model(
        image_embeddings=features.values.to(sam.device, torch.float32),
        input_boxes=prompts[None].to(sam.device),
        multimask_output=False,
    )
    side = sam.model.config.vision_config.image_size
    whole = functional.interpolate(
        outputs.pred_masks[0].float(), (side, side), mode="bilinear", align_corners=False
    )
    scaled_h, scaled_w = features.scaled_hw_px
    return whole[:, 0, :scaled_h, :scaled_w], outputs.iou_scores[0, :, 0].float()


@torch.inference_mode()
def masks_of(sam: Sam, features: Features, boxes: Sequence[BoxXyxy], batch: int) -> tuple[Tensor, Tensor]:
    """Draw masks at the image's own size.

    Args:
        sam: the model.
        features: of the image.
        boxes: N in image pixels.
        batch: so many at once.
    Returns:
        (N, H, W) bool and (N,) expected overlaps, on the processor.
    """
    masks, qualities = [torch.zeros((0, *features.size_hw_px), dtype=torch.bool)], [torch.zeros(0)]
    for start in range(0, len(boxes), batch):
        logits, quality = draw(sam, features, boxes[start : start + batch])
        sized = functional.interpolate(
            logits[:, None], features.size_hw_px, mode="bilinear", align_corners=False
        )
        masks.append((sized[:, 0] > 0).cpu())
        qualities.append(quality.cpu())
    return torch.cat(masks), torch.cat(qualities)
