"""The rules that tell kinds apart, and the one kind of a defect that several strips show."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from edge.cloth.defects import ClothDefect, class_and_kind, joined_kind
from edge.cloth.kinds import MOST_LOOKED_AT, RULES, kind_of, kinds_in_image, settled
from edge.cloth.merger import DefectMerger
from edge.cloth.one_report import one_report
from edge.core.appearance import Appearance
from edge.core.detections import Detections
from edge.core.taxonomy import load_taxonomy

SEEN = Appearance(
    fill=0.3,
    straight_along=0.6,
    straight_across=0.6,
    sway_mm=1.5,
    thickness_mm=2.0,
    weave=0.9,
    lighter=2.0,
    darker=5.0,
)


@pytest.mark.parametrize(
    ("class_name", "length_mm", "breadth_mm", "more", "kind"),
    [
        ("broken", 30, 2, {"straight_along": 0.9}, "broken end"),
        ("broken", 2, 30, {"straight_across": 0.9}, "broken pick"),
        ("broken", 30, 2, {"straight_across": 0.9}, None),
        ("broken", 400, 2, {}, "broken end"),
        ("broken", 30, 4, {"sway_mm": 3.0}, "broken yarn"),
        ("broken", 400, 4, {"sway_mm": 3.0, "straight_along": 0.3}, None),
        ("broken", 30, 4, {"sway_mm": 3.0, "darker": 3.2}, None),
        ("broken", 20, 25, {"straight_along": 0.2}, "broken yarn"),
        ("broken", 6, 5, {}, "hole"),
        ("broken", 4, 4, {}, None),
        ("broken", 6, 5, {"lighter": 4.0}, None),
        ("broken", 20, 18, {}, None),
        ("broken", 3.6, 1.3, {}, None),
        ("broken", 6, 5, {"darker": 3.2}, None),
        ("broken", 22, 8, {"straight_along": 0.95}, "broken end"),
        ("broken", 12, 2, {"straight_along": 0.95}, None),
        ("broken", 30, 4, {"sway_mm": 3.0, "lighter": 4.0}, None),
        ("broken", 6, 4, {"straight_along": 0.2}, None),
        ("drop", 2.5, 3, {}, "nep"),
        ("drop", 2.5, 3, {"fill": 0.6}, None),
        ("drop", 1, 1, {"fill": 0.6}, "nep"),
        ("drop", 2, 8, {}, "slub"),
        ("drop", 4, 12, {}, None),
        ("drop", 2, 25, {}, None),
        ("drop", 0.6, 1.4, {}, None),
        ("drop", 8, 9, {"lighter": 4.0}, None),
        ("drop", 8, 9, {"straight_along": 0.3}, None),
        ("drop", 8, 9, {}, "stain"),
        ("drop", 8, 9, {"weave": 0.3}, None),
        ("drop", 6, 6, {"lighter": 9.0}, None),
        ("drop", 9, 9, {"lighter": 9.0}, "stain"),
        ("wrinkle", 40, 30, {}, "crease"),
        ("wrinkle", 40, 30, {"lighter": 1.0}, None),
        ("wrinkle", 40, 30, {"thickness_mm": 5.0}, "wrinkle"),
        ("wrinkle", 40, 30, {"thickness_mm": 5.0, "lighter": 1.0}, None),
        ("wrinkle", 40, 30, {"thickness_mm": 3.1}, None),
        ("unclassified", 30, 2, {"straight_along": 0.9}, None),
        ("slub", 30, 2, {}, None),
    ],
)
def test_kinds_by_extent_and_image(class_name, length_mm, breadth_mm, more, kind):
    assert kind_of(class_name, length_mm, breadth_mm, replace(SEEN, **more)) == kind


def test_every_kind_that_a_rule_gives_is_one_of_its_class_in_the_taxonomy():
    taxonomy = load_taxonomy()
    assert set(RULES) == set(taxonomy.classes)
    values = [0.1, 0.5, 1.0, 3.0, 5.0]
    for class_name in RULES:
        said = {
            kind_of(class_name, length, breadth, Appearance(a, b, c, sway, thick, 0.9, 2.5, 5.0))
            for length in (1, 3, 8, 30, 200)
            for breadth in (1, 3, 8, 30, 200)
            for a, b, c in permutations((0.1, 0.5, 0.9))
            for sway in values
            for thick in values
        } - {None}
        assert said
        assert {taxonomy.class_of(kind) for kind in said} == {class_name}


def test_of_very_many_defects_the_surest_are_looked_at():
    rng = np.random.default_rng(1)
    image = rng.integers(90, 130, (60, 400), np.uint8)
    count = MOST_LOOKED_AT + 6
    lefts = np.arange(count, dtype=np.float32) * 5
    boxes = np.stack([lefts, np.full(count, 20), lefts + 4, np.full(count, 24)], axis=1).astype(np.float32)
    scores = np.linspace(0.1, 0.9, count, dtype=np.float32)
    found = Detections(boxes, scores, np.arange(count) % 2)
    seen, kinds = kinds_in_image(found, image, ("drop", "unclassified"), (0.2, 0.2))
    assert [number for number, one in enumerate(seen) if one is not None] == list(range(6, count, 2))
    assert len(kinds) == count
    assert all(kind is None for kind in kinds[1::2])


def piece(start_m, end_m, seen=SEEN, name="broken", score=0.8, kind=None):
    return ClothDefect(name, score, start_m, end_m, 100, 102, kind=kind, appearance=seen)


def test_a_yarn_that_several_strips_show_gets_one_kind_from_the_whole():
    short = piece(0.0, 0.02)
    assert settled(short).kind is None
    merger = DefectMerger()
    assert merger.add([short], 0.02) == []
    assert merger.add([piece(0.02, 0.12), piece(0.12, 0.15, None)], 0.15) == []
    (whole,) = merger.finish()
    assert (whole.start_m, whole.end_m, whole.kind) == (0.0, 0.15, "broken end")
    assert all(part.kind is None for part in merger.growing)


def test_the_image_of_the_largest_piece_decides_in_whatever_order_pieces_come():
    swaying = replace(SEEN, sway_mm=4.0)
    pieces = [piece(0.0, 0.01), piece(0.011, 0.05, swaying), piece(0.051, 0.06)]
    kinds = set()
    for order in permutations(pieces):
        merger = DefectMerger()
        merger.add(order, 0.0)
        (whole,) = merger.finish()
        kinds.add(whole.kind)
        kinds.add(settled(one_report(order)).kind)
    assert kinds == {"broken yarn"}


def test_a_defect_that_nobody_looked_at_keeps_the_kind_that_it_has():
    assert settled(piece(0, 1, None, kind="hole")).kind == "hole"
    assert settled(piece(0, 1, None)).kind is None


def test_parts_of_another_class_do_not_give_the_kind():
    fold = ClothDefect("wrinkle", 0.9, 0.0, 0.1, 0.0, 100.0, kind="crease")
    end = ClothDefect("broken", 0.8, 0.0, 0.02, 0.0, 10.0, kind="broken end")
    assert one_report([end, fold]).kind == "crease"
    assert one_report([end, replace(fold, kind=None)]).kind is None
    assert joined_kind([end, fold]) == "crease"


@pytest.mark.parametrize(
    ("defect", "text"),
    [
        (piece(0, 1, kind="broken end"), "broken: broken end"),
        (piece(0, 1), "broken"),
        (piece(0, 1, name="wrinkle", kind="wrinkle"), "wrinkle"),
    ],
)
def test_class_and_kind_for_a_person(defect, text):
    assert class_and_kind(defect) == text
