"""Labels never lie over each other or outside the image, whatever boxes there are."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.label_places import Place, label_places
from edge.core.labelled_boxes import LabelledBox, draw_boxes
from edge.core.palette import class_colour

SIDES = st.integers(1, 4096)


@st.composite
def scenes(draw):
    width, height = draw(SIDES), draw(SIDES)
    boxes, sizes = [], {}
    for number in range(draw(st.integers(1, 25))):
        left, top = draw(st.integers(-50, width + 50)), draw(st.integers(-50, height + 50))
        boxes.append(
            Place(left, top, left + draw(st.integers(0, width)), top + draw(st.integers(0, height)))
        )
        if draw(st.booleans()):
            sizes[number] = (draw(st.integers(1, 700)), draw(st.integers(1, 90)))
    return boxes, sizes, (width, height)


def overlap(one: Place, other: Place) -> bool:
    return max(one.left, other.left) < min(one.right, other.right) and max(one.top, other.top) < min(
        one.bottom, other.bottom
    )


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_labels_lie_apart_and_inside_the_image(scene):
    boxes, sizes, image_wh = scene
    places = label_places(boxes, sizes, image_wh)
    for number, place in places.items():
        assert (place.right - place.left, place.bottom - place.top) == sizes[number]
        assert min(place) >= 0
        assert place.right <= image_wh[0]
        assert place.bottom <= image_wh[1]
    assert not [pair for pair in combinations(places.values(), 2) if overlap(*pair)]


@settings(max_examples=60, deadline=None)
@given(scenes())
def test_the_first_label_has_a_place_wherever_it_fits(scene):
    boxes, sizes, image_wh = scene
    first = next(iter(sizes), None)
    places = label_places(boxes, sizes, image_wh)
    if first is not None:
        assert (first in places) == (sizes[first][0] <= image_wh[0] and sizes[first][1] <= image_wh[1])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.lists(st.tuples(*[st.floats(-400, 700)] * 4), max_size=6),
    st.text(max_size=40),
)
def test_boxes_of_any_place_and_text_are_drawn(height, width, corners, text):
    image = np.full((height, width), 120, np.uint8)
    boxes = [LabelledBox(corner, text, class_colour(text)) for corner in corners]
    assert draw_boxes(image, boxes).shape == (height, width, 3)
