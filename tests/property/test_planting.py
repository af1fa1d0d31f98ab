"""A planted image depends on options, index and clean image alone, and its ground truth is exact."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.core.taxonomy import load_taxonomy
from edge.dataset.clean_folder import survey
from edge.dataset.options import DatasetOptions
from edge.dataset.planting import Planter
from edge.simulator.ground_truth import tight_box
from tests.unit.edge.dataset.clean_images import clean_cloth, save


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    images = {f"cloth-{seed}": clean_cloth(seed, (200, 420), colour=seed == 1) for seed in range(2)}
    return save(tmp_path_factory.mktemp("real") / "clean", **images)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    indices=st.lists(st.integers(0, 19), min_size=1, max_size=3),
    size_hw=st.tuples(st.integers(128, 200), st.integers(128, 400)),
    colour=st.booleans(),
    per_m=st.floats(1, 40),
)
def test_an_image_is_the_same_in_whatever_order_it_is_drawn(clean, seed, indices, size_hw, colour, per_m):
    options = DatasetOptions(
        on=clean, images=20, seed=seed, size_hw=size_hw, colour=colour, defects_per_m=per_m, defect_share=1
    )
    folder, taxonomy = survey(clean, options), load_taxonomy()
    planter = Planter(options, taxonomy, folder)
    drawn = {index: planter(index) for index in indices}
    for index, first in drawn.items():
        again = Planter(options, taxonomy, folder)(index)
        assert np.array_equal(first.image, again.image)
        assert [one.box_xyxy_px for one in first.defects] == [one.box_xyxy_px for one in again.defects]
        assert first.image.shape[:2] == size_hw
        for one in first.defects:
            x1, y1, x2, y2 = one.box_xyxy_px
            assert 0 <= x1 < x2 <= size_hw[1]
            assert 0 <= y1 < y2 <= size_hw[0]
            assert tight_box(one.mask) == (0, 0, x2 - x1, y2 - y1)
