"""A line camera over cloth that stops, runs back and loses lines, at several block heights, whole loop."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from edge.app.run import run
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.cameras.protocol import Camera, Frame, FramePosition
from edge.config.edge import EdgeConfig
from edge.inference.inspector import Inspector
from edge.pipeline.parts import Inspection, Source
from edge.pipeline.pipeline import Pipeline
from tests.conftest import CLASSES, bright_cell_contract, write_bright_cell_model

MM = 0.2
WIDTH, LEFT_PX = 384, 40
HEIGHTS = (64, 256, 1000)
PLANTED = [  # first line, last + 1, left and right column
    (100, 140, 100, 130),
    (250, 262, 200, 216),  # across the edge of a block of 256
    (1000, 1024, 60, 90),
    (1420, 1540, 300, 330),  # across the line where the cloth turns
    (1700, 2000, 150, 166),  # a yarn along many blocks, up to the lost lines
    (2500, 2510, 80, 300),  # a yarn across many tiles
    (2900, 2960, 320, 344),  # cut by the end of the roll
]
LEGS = [(0, 1500), (1500, 1100), (1100, 2000), (2160, 2950)]
"""Forward, back, forward again, and on behind lines that were lost."""


class TurningLoom(Camera):
    """Deliver legs of cloth in blocks; where the cloth runs back, blocks are turned the right way up."""

    name = "turning loom"
    is_live = False

    def __init__(self, lines_per_block):
        self._blocks = [
            (min(at, to), max(at, to))
            for start, end in LEGS
            for at, to in self._cut(start, end, lines_per_block)
        ]
        self._count = 0

    @staticmethod
    def _cut(start, end, height):
        edges = [*range(start, end, height if end > start else -height), end]
        return pairwise(edges)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self):
        if self._count == len(self._blocks):
            return None
        first, end = self._blocks[self._count]
        image = np.zeros((end - first, WIDTH), np.uint8)
        for top, bottom, left, right in PLANTED:
            image[max(0, top - first) : max(0, bottom - first), left:right] = 255
        place = FramePosition(first * MM / 1000, MM, MM, LEFT_PX, WIDTH - LEFT_PX)
        frame = Frame(self._count, image, time.monotonic(), self.name, place, follows_on=True)
        self._count += 1
        return frame


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    contract = bright_cell_contract()
    path = write_bright_cell_model(tmp_path_factory.mktemp("m") / "m.onnx", contract)
    with OnnxRuntimeBackend(path, contract) as backend:
        return {
            height: Pipeline(
                Source(TurningLoom(height)), Inspection(Inspector(backend, contract), CLASSES)
            ).run()
            for height in HEIGHTS
        }


@pytest.mark.parametrize("height", HEIGHTS)
def test_coverage_in_whole_lines_at_every_block_height(states, height):
    coverage = states[height].coverage
    assert states[height].error is None
    assert coverage.lines_delivered == 2950
    assert coverage.lines_inspected == 2950 - 160
    assert [(gap.start, gap.end, gap.reason) for gap in coverage.gap_list] == [(2000, 2160, "lost lines")]


@pytest.mark.parametrize("height", HEIGHTS)
def test_each_defect_once_and_in_its_place_at_every_block_height(states, height):
    found = sorted(states[height].defects, key=lambda defect: defect.start_m)
    assert len(found) == len(PLANTED)
    for defect, (top, bottom, left, right) in zip(found, PLANTED, strict=True):
        end = min(bottom, 2950)
        assert defect.start_m == pytest.approx(top * MM / 1000, abs=0.005)
        assert defect.end_m == pytest.approx(end * MM / 1000, abs=0.005)
        assert defect.left_mm == pytest.approx((left - LEFT_PX) * MM, abs=2)
        assert defect.right_mm == pytest.approx((right - LEFT_PX) * MM, abs=2)


def test_without_a_turn_the_events_are_the_same_to_the_bit():
    summaries = [
        run(
            EdgeConfig(
                camera=f"loom:seed=7,width_px=512,length_m=0.7,defects_per_m=8,lines_per_block={height}",
                threads=1,
            )
        )
        for height in HEIGHTS
    ]
    assert any(one["kind"] for one in summaries[0]["defects"])
    for key in ("defects", "lines", "gaps", "frames", "detections_by_class"):
        assert summaries[0][key] == summaries[1][key] == summaries[2][key]
