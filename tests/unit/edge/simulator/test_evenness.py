from __future__ import annotations

import cv2
import numpy as np

from edge.simulator.texture import evened

PITCH_PX = 4.0


def specks(plane):
    fine = cv2.GaussianBlur(plane, (0, 0), 0.8 * PITCH_PX)
    deviation = fine - cv2.GaussianBlur(fine, (0, 0), 4.8 * PITCH_PX)
    return np.abs(deviation / deviation.std())


def test_a_fleck_goes_and_the_rest_stays():
    plane = np.random.default_rng(0).standard_normal((300, 400)).astype(np.float32)
    flecked = plane.copy()
    flecked[150:156, 200:206] += 6
    even = evened(flecked, PITCH_PX)
    assert even.shape == plane.shape
    before, after = (specks(each)[150:156, 200:206].max() for each in (flecked, even))
    assert before > 6
    assert after < 0.75 * before
    assert np.corrcoef(even.ravel(), plane.ravel())[0, 1] > 0.95


def test_a_wild_patch_is_tamed():
    plane = np.random.default_rng(1).standard_normal((300, 400)).astype(np.float32)
    plane[100:120, 100:120] *= 3
    assert evened(plane, PITCH_PX)[100:120, 100:120].std() < 0.7 * plane[100:120, 100:120].std()
