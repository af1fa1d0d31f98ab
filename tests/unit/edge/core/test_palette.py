"""Test the colours of the classes."""

from itertools import combinations

from edge.core.detections import with_unclassified
from edge.core.palette import class_colour
from edge.core.taxonomy import load_taxonomy


def test_each_shipped_class_has_a_colour_of_its_own() -> None:
    names = with_unclassified(load_taxonomy().classes)
    colours = {name: class_colour(name) for name in names}
    for one, other in combinations(colours.values(), 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) > 80**2


def test_the_colour_of_a_class_that_a_mill_adds_depends_on_its_name_alone() -> None:
    assert class_colour("moire").hex == class_colour("moire").hex
    assert class_colour("moire") not in {
        class_colour(name) for name in with_unclassified(load_taxonomy().classes)
    }


def test_a_colour_is_written_as_its_reader_wants_it() -> None:
    assert class_colour("broken").hex == "#d55e00"
    assert class_colour("broken").bgr == (0, 94, 213)
