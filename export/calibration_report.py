"""Report how well calibration images stand for a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.checkpoint import load_detector, load_validation
from edge.process.terminal import as_cell
from edge.process.whole_table import WholeTable, wide_console
from export.calibration_set import MOST_TILES, calibration_tiles
from export.graph import convolutions
from export.onnx import onnx_model
from export.quantize import absolute_ranges, calibrated

CUT_OFF_FROM = 1.25
"""An activation that is so many times as large as the calibration saw is counted as cut off."""

COARSE_FROM = 0.5
"""One that fills less than this fraction of the range wastes a bit of the eight."""


@dataclass(frozen=True, slots=True)
class RangeRow:
    """Compare the greatest absolute value of an activation that INT8 rounds: what enters a convolution.

    Attributes:
        calibration, data: on the calibration images, and on the val split.
    """

    tensor: str
    calibration: float
    data: float

    @property
    def ratio(self) -> float:
        """That of the data as a multiple of that of the calibration; infinite if the latter is 0."""
        if self.calibration:
            return self.data / self.calibration
        return float("inf") if self.data else 1.0


def compare_ranges(checkpoint: Path, data: Path, calibration: Path) -> list[RangeRow]:
    """Run a checkpoint over both and compare the ranges of its activations, those cut off most first.

    Raises:
        CheckpointError: if the checkpoint cannot be used.
        DatasetError: if the data set is missing or damaged.
        NoImagesError, ImageError: if the calibration images cannot be vouched for.
    """
    detector = load_detector(checkpoint)
    model = onnx_model(detector, detector.contract)
    tiles = calibration_tiles(calibration, detector.contract)
    seen = absolute_ranges(calibrated(model, tiles, "minmax"))
    others = load_validation(data, detector.contract).tiles(MOST_TILES)
    there = absolute_ranges(calibrated(model, others, "minmax"))
    wanted = set(convolutions(model))
    entering = dict.fromkeys(node.input[0] for node in model.graph.node if node.name in wanted)
    rows = [RangeRow(name, seen[name], there[name]) for name in entering]
    return sorted(rows, key=lambda row: -row.ratio)


def verdict(rows: Sequence[RangeRow]) -> str:
    """Say in a line whether the images will do."""
    cut = sum(row.ratio > CUT_OFF_FROM for row in rows)
    coarse = sum(row.ratio < COARSE_FROM for row in rows)
    if cut > len(rows) / 10:
        return f"{cut} of {len(rows)} activations go beyond the calibration: add images of this cloth."
    if coarse > len(rows) / 4:
        return f"{coarse} of {len(rows)} activations fill less than half: calibrate on this cloth."
    return f"{len(rows)} activations, {cut} cut off, {coarse} coarse: these images will do."


def print_report(rows: Sequence[RangeRow], worst: int) -> None:
    """Print the worst rows and the verdict."""
    table = WholeTable("activation", "calibration", "data", "ratio")
    for row in rows[:worst]:
        table.add_row(as_cell(row.tensor), f"{row.calibration:.3g}", f"{row.data:.3g}", f"{row.ratio:.2f}")
    console = wide_console()
    console.print(table)
    console.print(verdict(rows), soft_wrap=True)
