"""A selvedge has a usual height of its own, and a defect in it is found nevertheless."""

from __future__ import annotations

import numpy as np
import pytest

from edge.reference.edges import EDGE_CELLS, edges_in_view, heights, raised_columns, usual_heights
from edge.reference.maps import CHANNELS
from edge.reference.model import ReferenceModel
from edge.reference.taught import TaughtCloth
from edge.reference.trunk import SELVEDGE_PX, STRIDE_PX, Trunk

HEIGHT, WIDTH, EDGE_PX = 256, 1280, 160


def woven(seed: int) -> np.ndarray:
    """Weave cloth from `EDGE_PX` on, with a selvedge of 96 px whose yarns lie further apart."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    pitch = np.where(x < EDGE_PX + 96, 8, 5)
    warp = np.sin(2 * np.pi * x / pitch + random.normal(0, 0.3, WIDTH).astype(np.float32))
    weft = np.sin(2 * np.pi * y / 5 + random.normal(0, 0.3, (HEIGHT, 1)).astype(np.float32))
    grain = random.normal(0, 0.4, (HEIGHT, WIDTH)).astype(np.float32)
    image = np.clip(120 + 12 * (warp + weft + grain), 0, 255)
    image[:, :EDGE_PX] = 0
    return image.astype(np.uint8)


IS_CLOTH = np.broadcast_to(np.arange(WIDTH) >= EDGE_PX, (HEIGHT, WIDTH)).copy()


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return Trunk()


@pytest.fixture(scope="module")
def taught(trunk: Trunk) -> TaughtCloth:
    return TaughtCloth.fit(((woven(seed), IS_CLOTH) for seed in range(4)), trunk)


@pytest.fixture(scope="module")
def model(trunk: Trunk, taught: TaughtCloth) -> ReferenceModel:
    clean = ReferenceModel(trunk, taught)
    looks = [clean.look(woven(seed), IS_CLOTH, follow=False) for seed in range(10, 14)]
    levels = {name: 1.2 * max(look.maxima[name] for look in looks) for name in CHANNELS}
    return ReferenceModel(trunk, taught, levels)


def test_a_selvedge_is_usual_and_the_cloth_beside_it_stays_as_sharp(taught, model):
    raised = np.stack([taught.heights[name] for name in CHANNELS])
    assert raised[:, 0, :10].max() > 1.5
    assert np.median(raised[:, 0, 40:]) < 1.3
    assert (raised[:, 1] == 1).all()  # there the cloth goes on beyond the image
    for seed in (20, 21):
        assert len(model.look(woven(seed), IS_CLOTH, follow=False).regions) == 0


def test_a_cut_in_the_selvedge_is_found(model):
    image = woven(30)
    image[100:130, EDGE_PX + 60 : EDGE_PX + 84] = 200
    regions = model.look(image, IS_CLOTH, follow=False).regions
    assert len(regions) >= 1
    x1, y1, x2, y2 = regions.boxes_xyxy_px[0]
    assert EDGE_PX + 40 < x1 < x2 < EDGE_PX + 110
    assert 90 < y1 < y2 < 140


def test_nothing_is_judged_at_the_edge_itself(model):
    look = model.look(woven(31), IS_CLOTH, follow=False)
    columns = look.cloth_px / (HEIGHT - 16)
    assert columns == pytest.approx(WIDTH - EDGE_PX - SELVEDGE_PX - 8, abs=2 * STRIDE_PX)


def test_an_edge_is_in_view_where_cloth_ends_inside_of_the_image():
    is_judged = np.ones((8, 300), bool)
    assert edges_in_view(is_judged) == (None, None)
    is_judged[:, :20] = False
    assert edges_in_view(is_judged) == (20, None)
    is_judged[:, 250:] = False
    assert edges_in_view(is_judged) == (20, 249)


def test_columns_are_divided_by_what_is_usual_that_far_from_the_edge():
    is_judged = np.ones((8, 300), bool)
    is_judged[:, :20] = False
    even = np.ones((8, 300), np.float32)
    even[:, 20:30] = 3
    one = heights(even, is_judged, crest=1.0)
    assert np.isnan(one[1]).all()
    by = raised_columns(usual_heights([one] * 3), is_judged)
    assert by[:20].tolist() == [1] * 20
    assert by[20:28].tolist() == [3] * 8
    assert (by[40:] == 1).all()
    assert len(one[0]) == EDGE_CELLS


def test_one_image_with_a_defect_in_the_selvedge_does_not_make_it_usual():
    is_judged = np.ones((8, 300), bool)
    is_judged[:, :20] = False
    clean, torn = np.ones((8, 300), np.float32), np.ones((8, 300), np.float32)
    torn[3, 25] = 9
    measured = [heights(even, is_judged, crest=1.0) for even in (clean, torn, clean)]
    assert (usual_heights(measured) == 1).all()
