"""The cut plan against every way to cut a small roll; default rules against grading as it was before."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cloth.charging import YARD_M
from edge.cloth.defects import ClothDefect
from edge.cloth.grading import points_after_cuts, points_by_unit, points_of, total_points
from edge.config.buyers import BuyerRules
from edge.roll.buyers import with_rules
from edge.roll.compose import document_of
from edge.roll.contents import DefectRow, GapRow, Roll
from edge.roll.cut_places import cut_outs, cut_places
from edge.roll.cuts import PieceRequest, suggest_cuts

LIMITS = '{"grade_limits": {"first": 20.0, "second": 40.0}, "offset_mm": 0.0, "cloth_width_mm": 1000.0}'


def roll_of(defects=(), gaps=(), length_m=6.0, **rules):
    lines = round(length_m * 1000)
    head = {"mm_per_line": 1.0, "reached_line": lines, "cloth_width_mm": 1000.0, "settings": LIMITS}
    head |= {
        "inspected_lines": lines,
        "passed_lines": lines,
        "name": "x",
        "article": None,
        "camera": "loom",
    }
    head |= {"inspected_frames": 1, "passed_frames": 1, "status": "finished", "roll_id": "a" * 32}
    head |= {"started_utc": "", "ended_utc": None, "model_digest": "b", "loomsight": "1"}
    rows = tuple(DefectRow(str(n), one, points_of(one), None, None, "") for n, one in enumerate(defects))
    roll = Roll(head, rows, tuple(GapRow("g", 0, a, b, "overrun", "") for a, b in gaps), ())
    return with_rules(roll, "B", BuyerRules.model_validate(rules)) if rules else roll


def defect(at_m, length_m=0.01, kind=None, left_mm=500.0):
    return ClothDefect("broken", 0.9, at_m, at_m + length_m, left_mm, left_mm + 5.0, kind=kind)


defects = st.lists(
    st.builds(
        defect,
        st.floats(0, 5.9),
        st.one_of(st.floats(0.001, 0.4), st.floats(0.001, 3.0)),
        st.sampled_from([None, "slub", "hole"]),
        st.sampled_from([2.0, 500.0, 993.0]),
    ),
    max_size=7,
)
gaps = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1.5)), max_size=2)
rules = st.fixed_dictionaries(
    {
        "system": st.sampled_from(["four-point", "ten-point"]),
        "cut_out": st.sampled_from([[], ["hole"], ["slub", "hole"]]),
        "linear_unit": st.sampled_from(["metre", "yard"]),
        "ignored_edge_mm": st.sampled_from([0.0, 10.0]),
        "refuse_running_defects": st.booleans(),
    }
)


class Cloth:
    """Judge pieces of a roll one by one, as the documentation says it."""

    def __init__(self, roll, least_m, most):
        self.roll, self.least_m, self.most = roll, least_m, most
        self.unit_m = YARD_M if roll.rules.unit == "yard" else 1.0
        edge = roll.rules.ignored_edge_mm
        self.width_m = 1.0 - 2 * edge / 1000
        self.defects = [
            row.defect
            for row in roll.defects
            if not edge or (row.defect.right_mm > edge and row.defect.left_mm < 1000 - edge)
        ]
        self.charging = roll.charging

    def inspected_m(self, start_m, end_m):
        missed = 0.0
        edges = sorted({start_m, end_m, *(at for gap in self.roll.gaps for at in (gap.start_m, gap.end_m))})
        for a, b in pairwise(edges):
            for gap in self.roll.gaps:
                if gap.start_m <= a and b <= gap.end_m and start_m <= a and b <= end_m:
                    missed += b - a
        return max(0.0, end_m - start_m - missed)

    def points(self, start_m, end_m):
        """Charge each unit that the piece touches with what of a defect lies in the piece."""
        first, last = floor(start_m / self.unit_m + 1e-9), ceil(end_m / self.unit_m - 1e-9)
        total = 0
        for unit in range(first, last):
            charged = 0
            for one in self.defects:
                is_charged = unit in self.charging.units_of(one)
                is_cut = unit == first and one.end_m > max(start_m, unit * self.unit_m) + 1e-9
                if unit == first:
                    is_charged = (is_charged and start_m <= unit * self.unit_m + 1e-9) or (
                        is_cut and unit in self.charging.units_reached(one)
                    )
                elif unit == last - 1 and end_m < min((unit + 1) * self.unit_m, self.roll.length_m) - 1e-9:
                    is_charged = is_charged and one.start_m < end_m - 1e-9
                charged += self.charging.points_in_unit(one) if is_charged else 0
            total += min(charged, self.charging.most_points)
        return total

    def must_be_cut_out(self, one):
        runs = self.roll.rules.refuse_running_defects and self.charging.is_running(one)
        return runs or one.kind in self.roll.rules.cut_out

    def is_good(self, start_m, end_m):
        if end_m - start_m < self.least_m - 1e-9:
            return False
        if any(
            floor(one.start_m * 10 + 1e-9) / 10 < end_m and start_m < ceil(one.end_m * 10 - 1e-9) / 10
            for one in self.defects
            if self.must_be_cut_out(one)
        ):
            return False
        first, last = floor(start_m / self.unit_m + 1e-9), ceil(end_m / self.unit_m - 1e-9)
        for unit in range(first, last):
            a, b = unit * self.unit_m, min((unit + 1) * self.unit_m, self.roll.length_m)
            if self.inspected_m(a, b) < 0.5 * (b - a) - 1e-9:
                return False
        seen_m, points = self.inspected_m(start_m, end_m), self.points(start_m, end_m)
        if self.roll.rules.system == "ten-point" and points > seen_m / YARD_M + 1e-9:
            return False
        return points * 100 <= self.most * seen_m * self.width_m + 1e-9


def best_length(cloth, places):
    """Try every set of pieces between places."""

    @cache
    def best(begin):
        if begin >= len(places) - 1:
            return 0.0
        kept = best(begin + 1)
        for end in range(begin + 1, len(places)):
            if cloth.is_good(places[begin], places[end]):
                kept = max(kept, places[end] - places[begin] + best(end))
        return kept

    return best(0)


@given(defects, gaps, rules, st.sampled_from([1.0, 1.3, 2.0]), st.sampled_from([0.0, 99.7, 251.3, 398.9]))
def test_no_way_to_cut_loses_less_cloth_and_every_piece_obeys_the_rules(
    found, missed, given_rules, least_m, most
):
    roll = roll_of(found, [(a, min(6.0, a + b)) for a, b in missed], 6.0, **given_rules)
    if any(a < d and c < b for (a, b), (c, d) in pairwise(sorted((g.start_m, g.end_m) for g in roll.gaps))):
        roll = replace(roll, gaps=roll.gaps[:1])  # gaps of one camera do not overlap
    cloth = Cloth(roll, least_m, most)
    pieces = suggest_cuts(roll, least_m, most)
    for piece in pieces:
        assert cloth.is_good(piece.start_m, piece.end_m)
        assert piece.points == cloth.points(piece.start_m, piece.end_m)
    assert all(left.end_m <= right.start_m for left, right in pairwise(pieces))
    kept = sum(piece.end_m - piece.start_m for piece in pieces)
    assert kept == pytest.approx(best_length(cloth, cut_places(roll).at_m.tolist()), abs=1e-5)


def test_a_kind_is_cut_out_in_decimetres_and_the_rest_of_its_metre_is_kept():
    roll = roll_of([defect(2.53, 0.02, "hole"), defect(4.0, 0.02, "slub")], cut_out=["hole"])
    pieces = suggest_cuts(roll, 2.0, 1000.0)
    assert [(one.start_m, one.end_m, one.points) for one in pieces] == [(0, 2.5, 0), (2.6, 6.0, 1)]
    assert [(one.start_m, one.end_m, one.kinds) for one in cut_outs(roll)] == [(2.5, 2.6, ("hole",))]


def test_what_is_cut_out_at_the_ends_and_beside_each_other():
    found = [defect(-0.5, 0.2, "hole"), defect(0.0, 0.05, "hole"), defect(3.0, 0.3, "hole")]
    found += [defect(3.3, 0.1, "slub"), defect(5.95, 0.5, "hole"), defect(7.0, 0.1, "hole")]
    roll = roll_of(found, cut_out=["hole", "slub"])
    assert [(one.start_m, one.end_m, one.kinds) for one in cut_outs(roll)] == [
        (0.0, 0.1, ("hole",)),
        (3.0, 3.4, ("hole", "slub")),
        (5.9, 6.0, ("hole",)),
    ]
    pieces = suggest_cuts(roll, 1.0, 0.0)
    assert [(one.start_m, one.end_m) for one in pieces] == [(0.1, 3.0), (3.4, 5.9)]


def test_a_defect_without_a_kind_is_cut_out_by_its_class_alone():
    assert cut_outs(roll_of([defect(2.0)], cut_out=["hole"])) == []
    assert len(cut_outs(roll_of([defect(2.0)], cut_out=["broken"]))) == 1


def test_a_defect_in_an_ignored_edge_is_neither_charged_nor_cut_out():
    roll = roll_of([defect(2.0, 0.3, "hole", left_mm=2.0)], cut_out=["hole"], ignored_edge_mm=10.0)
    assert (roll.grade.points, cut_outs(roll)) == (0, [])
    (piece,) = suggest_cuts(roll, 1.0, 0.0)
    assert piece.inspected_m2 == pytest.approx(6 * 0.98)
    reaches_out = roll_of([defect(2.0, 0.3, "hole", left_mm=6.0)], ignored_edge_mm=10.0)
    assert reaches_out.grade.points == 4


def four_points(one):
    """Charge a defect as before there were rules of buyers."""
    size_mm = max((one.end_m - one.start_m) * 1000, one.right_mm - one.left_mm)
    points = next((n for most, n in ((75, 1), (150, 2), (230, 3)) if size_mm <= most + 1e-6), 4)
    first = floor(one.start_m + 1e-9)
    return points, range(first, first + max(1, ceil(one.end_m - one.start_m - 1e-9)))


def charged_before(found, *, after_cuts=False):
    charged = Counter()
    for one in found:
        points, metres = four_points(one)
        stop = max(metres.stop, ceil(one.end_m - 1e-9)) if after_cuts else metres.stop
        for metre in range(metres.start, stop):
            charged[metre] += points
    return Counter({metre: min(points, 4) for metre, points in charged.items()})


def pieces_before(roll, least_m, most):
    """Cut at whole metres as before there were rules of buyers; cloth is 1 m wide."""
    count, found = ceil(roll.length_m - 1e-9), [row.defect for row in roll.defects]
    charged, after = charged_before(found), charged_before(found, after_cuts=True)
    edges = [*map(float, range(count)), roll.length_m]
    seen = [b - a for a, b in pairwise(edges)]
    for gap in roll.gaps:
        for m in range(int(gap.start_m), min(count, ceil(gap.end_m))):
            seen[m] -= max(0.0, min(gap.end_m, m + 1) - max(gap.start_m, m))
    total = [0.0, *accumulate(max(0.0, one) for one in seen)]
    kept, chosen = [0.0], [[]]
    for end in range(1, count + 1):
        kept.append(kept[-1])
        chosen.append(chosen[-1])
        for begin in range(end):
            area = total[end] - total[begin]
            points = sum(charged[m] for m in range(begin, end)) + after[begin] - charged[begin]
            is_seen = all(seen[m] >= 0.5 * (edges[m + 1] - edges[m]) for m in range(begin, end))
            is_long = edges[end] - edges[begin] >= least_m - 1e-9
            gain = kept[begin] + edges[end] - edges[begin] - 1e-6
            if is_long and is_seen and points * 100 <= most * area and gain > kept[end]:
                kept[end], chosen[end] = gain, [*chosen[begin], (edges[begin], edges[end], points)]
    return chosen[-1]


@given(defects, gaps, st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([0.0, 150.0, 400.0]))
def test_pieces_without_a_buyer_are_as_before(found, missed, least_m, most):
    roll = roll_of(found, [(a, min(5.5, a + b)) for a, b in missed[:1]], 5.5)
    pieces = suggest_cuts(roll, least_m, most)
    assert [(one.start_m, one.end_m, one.points) for one in pieces] == pieces_before(roll, least_m, most)


@given(defects, gaps, st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([None, 0.0, 150.0, 400.0]))
def test_default_rules_change_nothing(found, missed, least_m, most):
    assert points_by_unit(found) == charged_before(found)
    assert points_after_cuts(found) == charged_before(found, after_cuts=True)
    assert total_points(found) == sum(charged_before(found).values())
    stretches = [(a, min(6.0, a + b)) for a, b in missed]
    without, wanted = roll_of(found, stretches), PieceRequest(least_m, most)
    ruled = with_rules(without, "B", BuyerRules())
    assert ruled == replace(without, buyer="B")
    before, after = document_of(without, wanted), document_of(ruled, wanted)
    assert after.buyer.accepted
    assert after.model_dump(exclude={"buyer", "made"}) == before.model_dump(exclude={"buyer", "made"})
