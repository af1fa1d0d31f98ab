"""Numbers in, detections out: what decoding and merging make of two tiles stays what it was.

`decode_numbers.json` was drawn once: two tiles of 64 px that share 16, in each a few clusters of boxes with
jitter, a defect across the seam, and scores on both sides of the thresholds. It is not regenerated.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge.core.geometry import View
from edge.inference.decode import Decoder, merge_views
from tests.conftest import CLASSES, bright_cell_contract
from tests.golden.stored import CURE, FOLDER


def test_decoding_two_tiles(stored):
    numbers = json.loads((FOLDER / "decode_numbers.json").read_text())
    contract = bright_cell_contract(score_thresholds=numbers["score_thresholds"])
    views = [View(**view) for view in numbers["views"]]
    boxes = np.array(numbers["boxes_input_xyxy_px"], np.float32)
    scores = np.array(numbers["scores"], np.float32)

    parts = Decoder(contract).decode(boxes, scores, views)
    now = {
        "tiles": [part.records(CLASSES) for part in parts],
        "frame": merge_views(parts, views).records(CLASSES),
    }
    expected = stored.value("decode_detections.json", now)
    assert flat(now) == pytest.approx(flat(expected)), CURE
    assert len(expected["frame"]) < sum(len(tile) for tile in expected["tiles"]), "nothing was merged"


def flat(value) -> dict[str, object]:
    """Bring nested lists and dicts to one level, which `pytest.approx` compares."""
    if not isinstance(value, (dict, list)):
        return {"": value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {f"{key}.{rest}": leaf for key, member in items for rest, leaf in flat(member).items()}
