from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.formats.location_tokens import (
    BINS,
    bins_from_xy,
    label_from_written,
    parse_boxes,
    parse_polygons,
    write_boxes,
    written_label,
    xy_from_bins,
)
from edge.core.errors import DatasetError

SIZE = (500, 2000)
TRIANGLE = ((10.0, 10.0), (40.0, 20.0), (30.0, 90.0))
MILLS_LINE = "drop<loc_732><loc_481><loc_748><loc_501>"


def test_a_box_is_four_bins():
    assert write_boxes("drop", [1464.5, 240.6, 1497, 250.9], SIZE) == MILLS_LINE
    [(label, box)] = parse_boxes(MILLS_LINE, SIZE)
    assert label == "drop"
    assert box == pytest.approx((1465, 240.75, 1497, 250.75))


def test_the_far_edge_is_the_last_bin_and_outside_is_kept_in():
    assert bins_from_xy([2000, 500], SIZE).tolist() == [999, 999]
    assert bins_from_xy([-7, 9999], SIZE).tolist() == [0, 999]


@given(
    st.floats(0, 1, allow_nan=False), st.floats(0, 1, allow_nan=False),
    st.integers(1, 20000), st.integers(1, 20000),
)  # fmt: skip
def test_half_a_bin_at_most_is_lost(x_fraction, y_fraction, height, width):
    point = np.array([x_fraction * width, y_fraction * height])
    again = xy_from_bins(bins_from_xy(point, (height, width)), (height, width))
    assert (np.abs(again - point) <= np.array([width, height]) / BINS * 0.5 * (1 + 1e-9)).all()


@given(st.lists(st.integers(0, BINS - 1), min_size=4, max_size=4), st.integers(1, 9999))
def test_a_text_reads_back_as_itself(bins, width):
    text = "broken" + "".join(f"<loc_{number}>" for number in bins)
    [(label, box)] = parse_boxes(text, (width, width))
    assert write_boxes(label, box, (width, width)) == text


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("nothing here", [], id="no-place"),
        pytest.param(MILLS_LINE * 2, ["drop", "drop"], id="two-objects"),
        pytest.param(MILLS_LINE + "<loc_1><loc_2><loc_3><loc_4>", ["drop", "drop"], id="two-places"),
        pytest.param("<loc_1><loc_2><loc_3><loc_4>", [""], id="no-label"),
        pytest.param(MILLS_LINE + "wrinkle<loc_3><loc_4>", ["drop"], id="incomplete"),
        pytest.param("</s><s>" + MILLS_LINE + "</s><pad><pad>", ["drop"], id="marks-of-the-tokenizer"),
        pytest.param("油污<loc_1><loc_2><loc_3><loc_1000>", ["油污"], id="chinese-and-no-such-bin"),
        pytest.param("a<poly><loc_1><loc_2><loc_3><loc_4></poly>" + MILLS_LINE, ["drop"], id="outline"),
    ],
)  # fmt: skip
def test_labels_of_boxes(text, labels):
    assert [label for label, _ in parse_boxes(text, SIZE)] == labels


def test_outlines_keep_their_pieces():
    corners = "".join(f"<loc_{number}>" for number in bins_from_xy(TRIANGLE, SIZE).ravel())
    text = f"hole<poly>{corners}<sep>{corners}</poly>nep<poly>{corners}</poly>"
    (hole, pieces), (nep, _) = parse_polygons(text, SIZE)
    assert (hole, nep, len(pieces)) == ("hole", "nep", 2)
    assert np.abs(np.array(pieces[0]) - TRIANGLE).max() <= 1


def test_an_answer_to_a_referring_expression_has_no_poly_mark():
    text = (
        "<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><sep><loc_7><loc_8><loc_9><loc_1><loc_2><loc_3><loc_4>"
    )
    [(label, pieces)] = parse_polygons(text, SIZE)
    assert (label, [len(piece) for piece in pieces]) == ("", [3, 3])


@given(st.text(alphabet="<>&;ampltx 油", min_size=1).filter(lambda text: text.strip()))
def test_any_label_survives(label):
    assert "<" not in written_label(label)
    assert label_from_written(written_label(label)) == label.strip()


def test_plain_labels_are_not_touched():
    assert written_label("oil & dirt") == "oil & dirt"


def test_refusals():
    with pytest.raises(DatasetError, match="no label"):
        write_boxes("  ", [1, 2, 3, 4], SIZE)
    with pytest.raises(ValueError, match="finite"):
        bins_from_xy([np.nan, 1], SIZE)
    with pytest.raises(ValueError, match="positive"):
        xy_from_bins([1, 1], (0, 5))
