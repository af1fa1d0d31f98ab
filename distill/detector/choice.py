"""Choose the head, the assigner and the structure that a recipe asks for."""

from __future__ import annotations

import logging

from distill.settings.recipe import Recipe
from distill.settings.structure import HEADS, YOLOV5_ANCHORS, Anchors, DetectorStructure
from edge.core.contract import ModelContract
from edge.core.errors import ConfigError

logger = logging.getLogger(__name__)

COARSEST_STRIDE_PX = 32


def structure_of(recipe: Recipe, contract: ModelContract) -> DetectorStructure:
    """Return the structure that a recipe asks for.

    Raises:
        ConfigError: if it names anchors for a head that has none, or a number that its levels cannot share.
    """
    head = HEADS[recipe.head]
    if recipe.anchors is not None and not head.has_anchors:
        with_some = " or ".join(f"'{name}'" for name, kind in HEADS.items() if kind.has_anchors)
        raise ConfigError(
            f"The recipe names anchors, and the head '{recipe.head}' has none.",
            f"Leave anchors out, or set head = {with_some}.",
        )
    try:
        structure = DetectorStructure(
            family=head.family,
            scale=recipe.scale,
            channels=1 if contract.channels == 1 else 3,
            classes=len(contract.class_names),
            reg_max=recipe.reg_max,
            anchors=_by_area(recipe.anchors or YOLOV5_ANCHORS) if head.has_anchors else None,
        )
    except ValueError as error:
        said = str(error).splitlines()
        problem = next((line.strip() for line in said if "Value error" in line), said[0])
        problem = problem.removeprefix("Value error, ").split(" [type=")[0]
        raise ConfigError(
            f"The recipe's head cannot be built: {problem}.", "Correct the recipe."
        ) from error
    note = reach_note(structure, contract.input_size_hw_px)
    if note:
        logger.warning(note)
    return structure


def reach_note(structure: DetectorStructure, input_size_hw_px: tuple[int, int]) -> str | None:
    """Say that a head cannot tell boxes as wide or high as the input; None if it can.

    The decoupled head tells the distance of each side from the cell, at most reg_max - 1 strides. From the
    cell in the middle of a box that is half of the box.
    """
    reach_px = 2 * (structure.reg_max - 1) * COARSEST_STRIDE_PX
    longest_px = max(input_size_hw_px)
    if structure.family != "yolov5-decoupled" or longest_px <= reach_px:
        return None
    needed = -(-longest_px // (2 * COARSEST_STRIDE_PX)) + 1
    return (
        f"With reg_max = {structure.reg_max} the head can tell boxes of up to {reach_px} px, and the input "
        f"has {longest_px} px: set reg_max = {needed}, or head = 'yolox'."
    )


def _by_area(anchors: Anchors) -> Anchors:
    """Sort anchors: the smallest belong to the finest level."""
    return tuple(sorted(anchors, key=lambda sides: sides[0] * sides[1]))
