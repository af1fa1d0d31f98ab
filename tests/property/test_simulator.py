import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.simulator.ground_truth import tight_box
from edge.simulator.loom import Loom
from edge.simulator.options import LoomOptions
from edge.simulator.patch import Figure, Ground, patch_from_figure

LOOMS = [
    Loom(LoomOptions(seed=seed, width_px=300, texture_lines=127, defects_per_m=25, colour=colour, **scan))
    for seed, colour, scan in (
        (1, False, {}),
        (2, True, {}),
        (3, False, {"scan": "area", "exposure_ms": 2.0}),
        (4, False, {"look": "woven"}),
        (5, True, {"look": "woven", "pattern": "checks"}),
        (6, False, {"look": "woven", "scan": "area", "exposure_ms": 2.0}),
    )
]


@settings(max_examples=40, deadline=None)
@given(
    loom=st.sampled_from(LOOMS),
    first_line=st.integers(0, 200_000),
    heights=st.lists(st.integers(1, 300), min_size=1, max_size=6),
)
def test_a_line_looks_the_same_in_whatever_block_it_comes(loom, first_line, heights):
    whole = loom.render(first_line, sum(heights))
    starts = first_line + np.concatenate(([0], np.cumsum(heights)[:-1]))
    parts = [loom.render(int(start), height) for start, height in zip(starts, heights, strict=True)]
    assert np.array_equal(np.vstack(parts), whole)


@settings(max_examples=40, deadline=None)
@given(loom=st.sampled_from(LOOMS), first_line=st.integers(0, 50_000), height=st.integers(1, 600))
def test_boxes_are_tight_and_inside_and_masks_do_not_depend_on_the_block(loom, first_line, height):
    around = {seen.defect_id: seen for seen in loom.seen_defects(max(0, first_line - 50), height + 100)}
    shift = first_line - max(0, first_line - 50)
    for seen in loom.seen_defects(first_line, height):
        x1, y1, x2, y2 = seen.box_xyxy_px
        assert 0 <= x1 < x2 <= 300
        assert 0 <= y1 < y2 <= height
        assert tight_box(seen.mask) == (0, 0, x2 - x1, y2 - y1)
        wider = around[seen.defect_id]
        left, top = x1 - wider.box_xyxy_px[0], y1 + shift - wider.box_xyxy_px[1]
        assert np.array_equal(wider.mask[top : top + y2 - y1, left : left + x2 - x1], seen.mask)


@settings(max_examples=30, deadline=None)
@given(
    strength=st.floats(0.5, 12),
    deviation=st.floats(2.5, 12),
    side=st.integers(5, 60),
    shade=st.floats(0.1, 1),
)
def test_a_stronger_defect_changes_more_and_only_its_body(strength, deviation, side, shade):
    body = np.zeros((side, side), bool)
    body[side // 4 : -side // 4, side // 4 : -side // 4] = True
    plane = np.full((side, side), -shade, np.float32)
    figure = Figure(plane, np.zeros_like(plane), body)
    ground = Ground(np.full(side, 150, np.float32), deviation, 3.0, (1.0, 1.0, 1.0))
    weak, strong = (patch_from_figure(figure, ground, s) for s in (strength, strength * 1.5))
    assert (np.abs(strong.plus) >= np.abs(weak.plus)).all()
    assert (weak.plus[~body] == 0).all()
    assert (weak.keep[~body] == 1).all()
