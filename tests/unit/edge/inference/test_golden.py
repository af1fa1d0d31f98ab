"""When two lists of detections agree, and when they do not."""

from __future__ import annotations

import pytest

from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.inference.golden import difference_of
from edge.inference.model import contract_of

CONTRACT = contract_of(open_bundle(demo_bundle_path()))


def seen(left, score=0.95, label="drop"):
    """A detection of 100 px a side."""
    return {"label": label, "score": score, "box_xyxy_px": [left, 0.0, left + 100.0, 100.0]}


@pytest.mark.parametrize(
    ("found", "without_ties", "with_ties"),
    [
        ([seen(0)], None, None),
        ([seen(3)], None, None),
        ([seen(20)], "missing", None),  # an equal score: suppression keeps either
        ([seen(34)], "missing", None),  # an overlap of 0.49, with a threshold of 0.5
        ([seen(40)], "missing", "missing"),
        ([seen(20, score=0.7)], "missing", "missing"),
        ([seen(0, label="broken")], "missing", "missing"),
        ([], "missing", "missing"),
        ([seen(0), seen(300)], "new", "new"),
        ([seen(0), seen(300, score=0.52)], None, None),  # close to the threshold of its class
    ],
)
def test_where_the_outputs_agree_suppression_may_keep_another_detection(found, without_ties, with_ties):
    for may_tie, expected in ((False, without_ties), (True, with_ties)):
        said = difference_of([seen(0)], found, CONTRACT, may_tie=may_tie)
        assert (said is None) == (expected is None), (said, may_tie)
        assert expected is None or said.endswith(expected)
