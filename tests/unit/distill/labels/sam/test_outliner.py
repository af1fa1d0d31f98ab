from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.sam.loading import load_sam
from distill.labels.sam.outliner import Outliner, believable, open_outliner
from distill.labels.sam.settings import OutlineSettings
from distill.labels.sam.windows import window_of
from distill.labels.sets.annotations import Region, box_around
from edge.core.errors import CheckpointError, ConfigError

ANYTHING = OutlineSettings(least_area_share=0, least_side_share=0, most_area_share=1e6, window_px=64)


@pytest.fixture(scope="module")
def sam(base):
    """A SAM whose masks are not all empty."""
    sam = load_sam(str(base))
    with torch.no_grad():
        for layer in sam.model.mask_decoder.output_hypernetworks_mlps:
            layer.proj_out.weight.mul_(3)
    return sam


def cloth(seed, size_hw=(100, 160)):
    return np.random.default_rng(seed).integers(0, 255, size_hw, dtype=np.uint8)


def region(box, **changes):
    return Region("drop", box, category="stain", score=0.7, annotator="x", **changes)


REGIONS = [
    region((10.0, 10.0, 40.0, 30.0)),
    region((90.0, 50.0, 130.0, 90.0)),
    region((100.0, 5.0, 108.0, 90.0)),
]


def test_outlines_come_with_their_tight_boxes_and_all_else_is_kept(sam):
    found = Outliner(sam, ANYTHING).outline(cloth(1), REGIONS)
    outlined = [one for one in found if one.polygon_xy_px]
    assert len(found) == len(REGIONS)
    assert outlined
    for one in outlined:
        assert one.box_xyxy_px == box_around(one.polygon_xy_px)
        assert (one.label, one.category, one.score, one.annotator) == ("drop", "stain", 0.7, "x")
        x1, y1, x2, y2 = one.box_xyxy_px
        assert 0 <= x1 < x2 <= 160
        assert 0 <= y1 < y2 <= 100


def test_a_region_does_not_depend_on_the_others(sam):
    outliner = Outliner(sam, OutlineSettings(**{**ANYTHING.model_dump(), "batch": 2, "window_px": None}))
    together = outliner.outline(cloth(2), REGIONS)
    alone = [outliner.outline(cloth(2), [one])[0] for one in REGIONS]
    for one, two in zip(together, alone, strict=True):
        assert np.allclose(one.box_xyxy_px, two.box_xyxy_px, atol=1.01)


@pytest.mark.parametrize(
    "box",
    [(10.0, 10.0, 10.0, 30.0), (200.0, 200.0, 220.0, 230.0), (40.0, 30.0, 10.0, 10.0)],
    ids=["no area", "outside", "swapped corners"],
)
def test_a_box_that_shows_nothing_stays(sam, box):
    assert Outliner(sam, ANYTHING).outline(cloth(3), [region(box)]) == (region(box),)


def test_an_outline_that_is_there_stays(sam):
    drawn = region((10.0, 10.0, 40.0, 30.0), polygon_xy_px=((10.0, 10.0), (40.0, 10.0), (20.0, 30.0)))
    assert Outliner(sam, ANYTHING).outline(cloth(4), [drawn]) == (drawn,)


def test_no_regions_are_no_work(sam):
    assert Outliner(sam).outline(cloth(5), []) == ()


def test_a_mask_that_the_model_does_not_trust_is_not_used(sam):
    settings = ANYTHING.model_copy(update={"least_quality": 1.0})
    assert Outliner(sam, settings).outline(cloth(6), REGIONS) == tuple(REGIONS)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(10, 30), slice(10, 30), True),
        (slice(0, 0), slice(0, 0), False),
        (slice(10, 14), slice(10, 14), False),
        (slice(10, 30), slice(10, 13), False),
        (slice(0, 60), slice(0, 60), False),
        (slice(9, 32), slice(9, 32), True),
    ],
    ids=["as large as the box", "empty", "a speck", "a strip of it", "far larger", "a little larger"],
)
def test_a_mask_is_believed_if_it_is_about_as_large_as_its_box(rows, columns, expected):
    mask = np.zeros((80, 80), np.uint8)
    mask[rows, columns] = 1
    assert believable(mask, (10.0, 10.0, 30.0, 30.0), OutlineSettings()) is expected


@given(
    x=st.floats(0, 90), y=st.floats(0, 40), width=st.floats(1, 60), height=st.floats(1, 30),
    window_px=st.integers(32, 200),
)  # fmt: skip
def test_a_window_holds_its_box_and_lies_in_the_image(x, y, width, height, window_px):
    box = (x, y, min(x + width, 150.0), min(y + height, 64.0))
    view = window_of(box, (64, 150), window_px)
    assert 0 <= view.left_px <= box[0]
    assert box[2] <= view.right_px <= 150
    assert 0 <= view.top_px <= box[1]
    assert box[3] <= view.bottom_px <= 64


def test_without_windows_the_whole_image_is_looked_at():
    view = window_of((3.0, 3.0, 5.0, 5.0), (64, 150), None)
    assert (view.left_px, view.top_px, view.right_px, view.bottom_px) == (0, 0, 150, 64)


def test_an_outliner_is_opened_from_plain_values(base):
    outliner = open_outliner(str(base), {"window_px": 64}, "cpu")
    assert len(outliner.outline(cloth(7), REGIONS)) == len(REGIONS)


def test_an_unknown_setting_is_named(base):
    with pytest.raises(ConfigError, match="there is no setting 'window'"):
        open_outliner(str(base), {"window": 64}, "cpu")


@pytest.mark.parametrize(
    ("model_type", "said"), [("sam2", "of the type 'sam2'"), ("clip", "of the type 'clip'")]
)
def test_another_kind_of_model_is_refused(base, tmp_path, model_type, said):
    folder = tmp_path / "other"
    shutil.copytree(base, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(CheckpointError, match=said):
        load_sam(str(folder))


def test_a_folder_without_a_processor_says_so(base, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(base, folder)
    (folder / "processor_config.json").unlink()
    with pytest.raises(CheckpointError, match="lacks its processor"):
        load_sam(str(folder))
