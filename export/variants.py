"""Make the other forms of an exported model: float16 for GPUs, INT8 for all."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edge.backends.description import Precision
from edge.bundle.manifest import MODEL_NAME, GoldenImage, Variant, VariantPrecision
from edge.core.contract import ModelContract
from edge.core.errors import ConfigError
from edge.core.taxonomy import Taxonomy
from export.calibration_set import calibration_tiles, read_manifest, shipped_calibration
from export.golden import found_on
from export.half import in_float16
from export.int8 import Int8Options, make_int8
from export.onnx import with_batch, write_onnx
from export.qdq_rules import check_qdq
from export.yardstick import Yardstick

logger = logging.getLogger(__name__)

MAX_DROP = 0.005


@dataclass(frozen=True, slots=True)
class VariantOptions:
    """Say which variants of a model are wanted.

    Attributes:
        data: data set folder; its val split says what a variant loses. None only without variants.
        strips: data set folder of real strips; nothing loses more than is permitted on its val split,
            either. None where there are none.
        taxonomy: names what `data` and `strips` call by kinds; None for the shipped one.
        calibration: folder of calibration images; None for the shipped one.
        max_drop: most mAP50-95 that any model of the bundle may lose on any runtime, 0..1.
    """

    float16: bool = False
    int8: Int8Options | None = None
    data: Path | None = None
    strips: Path | None = None
    taxonomy: Taxonomy | None = None
    calibration: Path | None = None
    max_drop: float = MAX_DROP

    def check(self) -> None:
        """See that it can be said what a variant loses.

        Raises:
            ConfigError: if there is no data set to say it on.
        """
        if (self.float16 or self.int8) and self.data is None:
            raise ConfigError(
                "A variant is published only if it is known what it loses, and no data set says it.",
                "Add --data with a data set folder; its val split is used.",
            )
        if self.strips is not None and self.data is None:
            raise ConfigError("--strips adds to what --data says.", "Add --data with a data set folder.")


def write_variants(
    staged: Path,
    model: onnx.ModelProto,
    contract: ModelContract,
    golden: tuple[GoldenImage, ...],
    split: Yardstick | None,
    strips: Yardstick | None,
    options: VariantOptions,
) -> tuple[Variant, ...]:
    """Make the variants that are wanted and write them into a bundle in the making.

    Args:
        model: float32, of `onnx_model`.
        golden: images of the bundle.
        split, strips: the val splits of the data set and of real strips, and what the checkpoint reaches.
    Raises:
        NoImagesError, ImageError: if the calibration images cannot be vouched for.
        ParityError: if INT8 loses more than is permitted.
    """
    made: list[tuple[VariantPrecision, onnx.ModelProto, dict[str, Any]]] = []
    if options.float16:
        made.append(("f16", in_float16(model), {}))
    if options.int8 and split is not None:
        folder = options.calibration or shipped_calibration()
        int8 = make_int8(
            model,
            calibration_tiles(folder, contract),
            split,
            contract.outputs,
            options.int8,
            strips=strips,
            tick=lambda what: logger.info("%s", what),
        )
        check_qdq(int8.model)
        manifest = read_manifest(folder)
        images = {"images": len(manifest.images), "classes": manifest.class_coverage}
        made.append(("int8", int8.model, {**int8.made(), "calibration": images}))
    return tuple(_written(staged, one, contract, golden) for one in made)


def file_of(precision: Precision) -> str:
    """Return the name of the model of a precision in a bundle."""
    return MODEL_NAME if precision in ("f32", "bf16") else f"model.{precision}.onnx"


def _written(
    staged: Path,
    made: tuple[VariantPrecision, onnx.ModelProto, dict[str, Any]],
    contract: ModelContract,
    golden: tuple[GoldenImage, ...],
) -> Variant:
    precision, model, how = made
    file = file_of(precision)
    write_onnx(with_batch(model, contract.batch), staged / file)
    found = found_on([staged / one.file for one in golden], staged / file, contract)
    return Variant(precision=precision, file=file, golden=tuple(map(tuple, found)), made=how)
