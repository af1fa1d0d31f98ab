"""One roll out of the records of cameras beside each other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cloth.defects import ClothDefect
from edge.core.errors import RecordError
from edge.roll.contents import DefectRow, EventRow, GapRow, Roll
from edge.roll.reading import read_roll
from edge.roll.report import report_page
from edge.roll.side_by_side import put_together, read_roll_beside
from tests.unit.edge.roll.rolls import roll_command, write_roll


def roll_of(
    name="x", defects=(), gaps=(), lines=100, mm_per_line=1.0, offset_mm=0.0, width_mm=1000.0, **head
):
    """A roll as one camera has it; gaps as lines."""
    m_per_line = mm_per_line / 1000
    head = {
        "roll_id": f"id of {name}", "name": "A17", "article": None, "status": "finished",
        "started_utc": f"2026-01-01 {name}", "ended_utc": f"2026-01-02 {name}", "last_utc": "2026-01-02",
        "camera": f"camera {name}", "model_digest": "a" * 64, "loomsight": "1",
        "mm_per_line": mm_per_line, "reached_line": lines, "passed_lines": lines, "passed_frames": 3,
        "inspected_frames": 2,
        "cloth_width_mm": width_mm,
        "inspected_lines": lines - sum(end - start for start, end in gaps),
        "settings": json.dumps(
            {"offset_mm": offset_mm, "cloth_width_mm": width_mm, "grade_limits": {"first": 20.0}}
        ),
    } | head  # fmt: skip
    return Roll(
        head,
        tuple(
            DefectRow(f"{name}{n}", one, 1, f"{name}.png", None, f"2026 {name}", verdict)
            for n, (one, verdict) in enumerate(defects)
        ),
        tuple(
            GapRow(f"{name}{a}", b - a, a * m_per_line, b * m_per_line, "overrun", "2026") for a, b in gaps
        ),
        (EventRow(f"e{name}", "camera silent", "for a while", None, f"2026 {name}"),),
    )


def together_of(rolls):
    return put_together([*rolls.items()])


def defect(start_m, end_m, left_mm, right_mm, class_name="broken", score=0.5):
    return ClothDefect(class_name, score, start_m, end_m, left_mm, right_mm)


def test_one_record_is_read_as_ever(tmp_path):
    path = write_roll(tmp_path / "r.db")
    assert read_roll_beside([path], None) == read_roll(path, None)


def spans(most):
    """Stretches without overlap, at least a line apart, within so many lines."""
    edges = st.lists(st.integers(0, most), unique=True, max_size=8).map(sorted)
    return edges.map(lambda at: list(zip(at[::2], at[1::2], strict=False)))


@given(
    st.lists(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), spans(n))), min_size=2, max_size=4)
)
def test_a_line_is_inspected_where_all_cameras_inspected_it(cameras):
    together = together_of(
        {
            f"{n}.db": roll_of(str(n), gaps=gaps, lines=lines, offset_mm=1000.0 * n)
            for n, (lines, gaps) in enumerate(cameras)
        }
    )
    reached = max(lines for lines, _ in cameras)
    missed = [
        any(line >= lines or any(a <= line < b for a, b in gaps) for lines, gaps in cameras)
        for line in range(reached)
    ]
    head = together.head
    assert head["reached_line"] == head["passed_lines"] == reached
    assert head["inspected_lines"] == reached - sum(missed)
    shown = [False] * reached
    for gap in together.gaps:
        start, end = round(gap.start_m * 1000), round(gap.end_m * 1000)
        assert end - start == gap.lines
        assert not any(shown[start:end])
        shown[start:end] = [True] * (end - start)
    assert shown == missed


def test_gaps_say_who_missed_it_and_why():
    left = roll_of("l", gaps=[(10, 30)])
    right = roll_of("r", gaps=[(20, 40)], lines=90, offset_mm=980.0)
    together = together_of({"rolls-left.db": left, "rolls-right.db": right})
    assert [(gap.lines, gap.reason) for gap in together.gaps] == [
        (10, "overrun (rolls-left)"),
        (10, "overrun (rolls-left), overrun (rolls-right)"),
        (10, "overrun (rolls-right)"),
        (10, "ended before (rolls-right)"),
    ]
    assert together.coverage == 0.6


def test_another_scale_and_what_nobody_can_place():
    fine = roll_of("f", lines=400, mm_per_line=0.25, gaps=[(40, 80)], offset_mm=1000.0)
    unplaced = GapRow("u", 7, None, None, "unreadable", "2026")
    coarse = roll_of("c", lines=100)
    coarse = Roll(coarse.head, (), (unplaced,), ())
    together = together_of({"c.db": coarse, "f.db": fine})
    assert [(gap.start_m, gap.end_m, gap.lines) for gap in together.gaps] == [
        (0.01, 0.02, 10),
        (None, None, 7),
    ]
    assert (together.head["passed_lines"], together.head["inspected_lines"]) == (107, 90)


def test_a_defect_in_two_views_is_one():
    across = [(defect(1.0, 1.01, 600, 1010), None), (defect(2, 2.01, 100, 120), "rejected")]
    further = [
        (defect(1.002, 1.012, 990, 1400, score=0.8), "confirmed"),
        (defect(2, 2.01, 1100, 1120), None),
    ]
    other_class = [(defect(1.0, 1.01, 1402, 1412, "drop"), None)]
    together = together_of(
        {
            "l.db": roll_of("l", across, lines=3000),
            "r.db": roll_of("r", [*further, *other_class], lines=3000, offset_mm=980.0),
        }
    )
    found = [
        (
            row.defect.class_name,
            row.defect.left_mm,
            row.defect.right_mm,
            row.points,
            row.verdict,
            row.image,
        )
        for row in together.defects
    ]
    assert sorted(found, key=str) == sorted(
        [
            ("broken", 600, 1400, 4, "confirmed", "r.png"),
            ("drop", 1402, 1412, 1, None, "r.png"),
            ("broken", 100, 120, 1, "rejected", "l.png"),
            ("broken", 1100, 1120, 1, None, "r.png"),
        ],
        key=str,
    )
    assert together.width_mm == 1980
    assert together.grade.points == 4 + 2


def test_a_pick_over_two_cameras_has_the_kind_of_its_larger_part_whose_kind_is_known():
    def pick(left_mm, right_mm, kind):
        return replace(defect(1.0, 1.01, left_mm, right_mm), kind=kind)

    def together(left, right):
        views = {
            "l": roll_of("l", [(pick(600, 1010, left), None)], lines=3000),
            "r": roll_of("r", [(pick(990, 1100, right), None)], lines=3000, offset_mm=980.0),
        }
        (row,) = together_of(views).defects
        return row.defect.kind

    assert together("broken pick", "hole") == "broken pick"
    assert together(None, "broken pick") == "broken pick"
    assert together(None, None) is None


def test_two_defects_of_one_camera_stay_two_unless_another_sees_what_joins_them():
    apart = [(defect(1, 1.1, 980, 982), None), (defect(1, 1.1, 984, 986), None)]
    others = roll_of("r", lines=3000, offset_mm=970.0)
    assert len(together_of({"l": roll_of("l", apart, lines=3000), "r": others}).defects) == 2
    whole = roll_of("r", [(defect(1, 1.1, 980, 986), None)], lines=3000, offset_mm=970.0)
    assert len(together_of({"l": roll_of("l", apart, lines=3000), "r": whole}).defects) == 1


def test_head_and_events():
    together = together_of(
        {
            "a/rolls.db": roll_of("a", offset_mm=-20.0, width_mm=1500.0),
            "b/rolls.db": roll_of("b", offset_mm=1480.0, width_mm=1480.0, status="failed", ended_utc=None),
        }
    )
    head = together.head
    assert (head["passed_frames"], head["inspected_frames"]) == (6, 4)
    assert (head["status"], head["started_utc"], head["ended_utc"]) == ("failed", "2026-01-01 a", None)
    assert head["camera"] == "a/rolls.db: camera a, b/rolls.db: camera b"
    assert together.width_mm == 2960
    assert [event.detail for event in together.events] == [
        "a/rolls.db: for a while",
        "b/rolls.db: for a while",
    ]


def test_a_strip_that_no_camera_sees_is_said():
    together = together_of(
        {
            "r.db": roll_of("r", offset_mm=1600.0, width_mm=500.0),
            "l.db": roll_of("l", offset_mm=20.0, width_mm=1480.0),
            "wide.db": roll_of("w", offset_mm=30.0, width_mm=100.0),
        }
    )
    said = [event.detail for event in together.events if event.kind == "strip not seen"]
    assert [text.split(" mm")[0] for text in said] == [
        "No camera sees the cloth 0 to 20",
        "No camera sees the cloth 1500 to 1600",
    ]
    assert f'<p class="warn">{said[1]}</p>' in report_page(together)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"offset_mm": None}, "where roll 'A17' lies is not known"),
        ({"width_mm": None}, "where roll 'A17' lies is not known"),
        ({"mm_per_line": 0.0}, "where roll 'A17' lies is not known"),
        ({"article": "twill"}, "different articles"),
        ({"roll_id": "id of l"}, "named twice"),
    ],
)
def test_rolls_that_do_not_belong_together(changes, says):
    with pytest.raises(RecordError, match=says):
        together_of({"l.db": roll_of("l"), "r.db": roll_of("r", **changes)})


def test_the_commands_read_several_records(tmp_path):
    paths = [
        write_roll(tmp_path / f"{name}.db", article=None, offset_mm=offset_mm)
        for name, offset_mm in (("left", 0.0), ("right", 1480.0))
    ]
    shown = roll_command("show", *paths, "--json")
    assert shown.code == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert (facts["width_mm"], facts["coverage"], facts["inspected_m"]) == (2980, 0.9, 54)
    assert roll_command("report", *paths, "--out", tmp_path / "r.html").code == 0
    assert "left: loom &lt;b&gt;, right: loom" in (tmp_path / "r.html").read_text()
    lines = roll_command("export", *paths, "--format", "jsonl").stdout.splitlines()
    assert {row["reason"] for row in map(json.loads, lines) if row["type"] == "gap"} == {
        "lost lines (left), lost lines (right)",
        "no cloth (left), no cloth (right)",
    }
    for wrong in (("show", paths[0], paths[0]), ("report", *paths, "--out", paths[1])):
        refused = roll_command(*wrong)
        assert refused.code, wrong
        assert refused.stderr.count("\n") == 1
