"""Reading, cutting, drawing, printing and exporting recorded rolls."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cloth.defects import ClothDefect
from edge.core.errors import MissingPackageError, OutputError, RecordError
from edge.roll import pdf
from edge.roll.compose import document_of
from edge.roll.contents import DefectRow, GapRow, Roll
from edge.roll.cuts import PieceRequest, inspected_between, suggest_cuts
from edge.roll.drawing import draw_map, row_length_m
from edge.roll.export import as_csv, as_json_lines
from edge.roll.images import cut_image
from edge.roll.reading import read_roll, read_rolls
from edge.roll.report import report_page
from edge.roll.reviews import Review, record_review
from tests.unit.edge.roll.rolls import HOSTILE, roll_command, write_image, write_roll


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roll")
    return write_roll(folder / "rolls.db", image_file=write_image(folder / "p.png"))


def test_facts_of_a_roll(record):
    facts = read_roll(record, None).facts()
    assert facts["length_m"] == 60
    assert facts["inspected_m"] == 54
    assert facts["coverage"] == 0.9
    assert facts["gaps_m"] == {"lost lines": 5.0, "no cloth": 1.0}
    assert facts["points"] == 1 + 5 * 4 + 4
    assert facts["points_per_100_m2"] == pytest.approx(25 * 100 / (54 * 1.5), abs=0.01)
    assert facts["grade"] == "second"


def test_rolls_are_found_by_name_and_by_id(tmp_path):
    path = write_roll(tmp_path / "r.db", "A", metres=2, defects=[])
    write_roll(path, "B", metres=3, defects=[])
    first, second = read_rolls(path)
    assert read_roll(path, None).name == "B"
    assert read_roll(path, "A").head == first.head
    assert read_roll(path, second.head["roll_id"][:8]).name == "B"
    for wrong in ("C", first.head["roll_id"][:7], "%"):
        with pytest.raises(RecordError, match="has no roll"):
            read_roll(path, wrong)


def roll_of(defects=(), gaps=(), length_m=30.0, width_mm=1000.0):
    head = {"mm_per_line": 1.0, "reached_line": round(length_m * 1000), "cloth_width_mm": width_mm}
    head |= {"inspected_lines": 1, "passed_lines": 1, "settings": "{}", "name": "x", "article": None}
    head |= {"inspected_frames": 1, "passed_frames": 1, "status": "finished", "roll_id": "a" * 32}
    head |= {"started_utc": "", "ended_utc": None, "camera": "loom", "model_digest": "b", "loomsight": "1"}
    rows = tuple(DefectRow(str(n), one, 1, None, None, "") for n, one in enumerate(defects))
    return Roll(head, rows, tuple(GapRow("g", 0, a, b, "overrun", "") for a, b in gaps), ())


def spot(at_m):
    return ClothDefect("drop", 0.9, at_m, at_m + 0.01, 0.0, 10.0)


def test_what_no_detector_names_is_graded_and_shown_with_its_shape_everywhere(tmp_path):
    line = ClothDefect("unclassified", 0.8, 1.0, 1.2, 0.0, 3.0, shape="warp line")
    path = write_roll(tmp_path / "r.db", metres=2, defects=[line, spot(0.5)])
    roll = read_roll(path, None)
    assert [row.defect.shape for row in roll.defects] == [None, "warp line"]
    assert roll.grade.points == 1 + 3
    assert "unclassified (warp line)" in report_page(roll, PieceRequest(1, None))
    (row,) = [row for row in csv.DictReader(io.StringIO(as_csv(document_of(roll)))) if row["shape"]]
    assert (row["class_name"], row["shape"], row["points"]) == ("unclassified", "warp line", "3")
    shown = json.loads(roll_command("show", path, "--json").stdout)["defect_list"]
    assert [one.get("shape") for one in shown] == [None, "warp line"]
    assert "unclassified (warp line)" in roll_command("show", path).stdout


def test_a_damaged_shape_costs_the_shape_and_not_the_defect(tmp_path):
    line = ClothDefect("unclassified", 0.8, 1.0, 1.2, 0.0, 3.0, shape="warp line")
    path = write_roll(tmp_path / "r.db", metres=2, defects=[line])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE shapes SET shape = 'heart'")
        db.commit()
    roll = read_roll(path, None)
    assert [row.called for row in roll.defects] == ["unclassified"]
    assert roll.damaged == {"defects": 1}


def test_the_kind_stands_in_record_report_table_csv_json_and_the_sums_by_kind(tmp_path):
    end = ClothDefect("broken", 0.8, 1.0, 1.2, 0.0, 3.0, kind="broken end")
    path = write_roll(tmp_path / "r.db", metres=2, defects=[end, spot(0.5)])
    roll = read_roll(path, None)
    assert [row.defect.kind for row in roll.defects] == [None, "broken end"]
    assert [row.called for row in roll.defects] == ["drop", "broken: broken end"]
    assert [(one.kind, one.defects, one.points) for one in roll.by_kind] == [
        ("broken end", 1, 3),
        (None, 1, 1),
    ]
    assert 'data-name="kind">broken end</td>' in report_page(roll, PieceRequest(1, None))
    document = document_of(roll)
    assert [row["kind"] for row in csv.DictReader(io.StringIO(as_csv(document)))] == ["", "broken end"]
    lines = [json.loads(line) for line in as_json_lines(document).splitlines()]
    assert [line.get("kind") for line in lines if line["type"] == "defect"] == [None, "broken end"]
    assert lines[0]["kinds"][0] == {
        "class_name": "broken", "kind": "broken end", "defects": 1, "points": 3, "length_m": 0.2,
    }  # fmt: skip
    shown = json.loads(roll_command("show", path, "--json").stdout)["defect_list"]
    assert [one["kind"] for one in shown] == [None, "broken end"]
    printed = roll_command("show", path).stdout
    assert "broken end 1, unknown 1" in printed
    assert re.search(r"broken +│ broken end +│ +1\.000", printed)


def test_a_record_without_kinds_opens_and_a_damaged_kind_costs_only_the_kind(tmp_path):
    end = ClothDefect("broken", 0.8, 1.0, 1.2, 0.0, 3.0, kind="broken end")
    path = write_roll(tmp_path / "r.db", metres=2, defects=[end])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE kinds SET kind = x'00ff'")
        db.commit()
    roll = read_roll(path, None)
    assert [(row.defect.kind, row.kind) for row in roll.defects] == [(None, "unknown")]
    assert roll.damaged == {"defects": 1}
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE kinds")
        db.commit()
    assert [row.defect.kind for row in read_roll(path, None).defects] == [None]


def places(pieces):
    return [(piece.start_m, piece.end_m) for piece in pieces]


def test_a_good_roll_is_one_piece():
    (piece,) = suggest_cuts(roll_of(length_m=30.4), 10, 5)
    assert (piece.start_m, piece.end_m, piece.points, piece.inspected_m2) == (
        0,
        pytest.approx(30.4),
        0,
        pytest.approx(30.4),
    )


def test_a_bad_stretch_is_cut_out():
    bad = [spot(12.0 + tenth / 10) for tenth in range(15)]  # 8 points in metres 12 and 13
    (first, second) = suggest_cuts(roll_of(bad), 5, 0)
    assert places((first, second)) == [(0, 12), (14, 30)]
    assert places(suggest_cuts(roll_of(bad), 13, 0)) == [(14, 30)]
    assert places(suggest_cuts(roll_of(bad), 5, 100)) == [(0, 30)]


def test_a_piece_is_charged_for_the_end_of_a_defect_that_it_begins_with():
    across = ClothDefect("broken", 0.9, 11.9, 12.2, 0, 5)  # charged to metre 11, where it begins
    assert places(suggest_cuts(roll_of([across]), 5, 0)) == [(0, 11), (13, 30)]
    going_on = ClothDefect("broken", 0.9, 10.9, 13.1, 0, 5)  # 2.2 m: charged to metres 10, 11, 12
    assert places(suggest_cuts(roll_of([going_on]), 5, 0)) == [(0, 10), (14, 30)]
    at_the_cut = ClothDefect("broken", 0.9, 11.9, 12.0, 0, 5)
    assert places(suggest_cuts(roll_of([at_the_cut]), 5, 0)) == [(0, 11), (12, 30)]
    (whole,) = suggest_cuts(roll_of([across]), 5, 100)
    assert whole.points == 4
    (_, second) = suggest_cuts(roll_of([across, *[spot(11.5)] * 9], gaps=[(3.0, 12.0)]), 3, 100)
    assert (second.start_m, second.points) == (12, 4)


def test_what_was_not_seen_is_part_of_no_piece():
    gaps = [(10.4, 13.2), (20.1, 20.3)]
    pieces = suggest_cuts(roll_of(gaps=gaps), 5, 0)
    assert places(pieces) == [(0, 10), (13, 30)]
    assert pieces[1].inspected_m2 == pytest.approx(17 - 0.2 - 0.2)
    assert inspected_between(roll_of(gaps=gaps), range(31))[9:15] == pytest.approx([1, 0.4, 0, 0, 0.8, 1])


@pytest.mark.parametrize(
    ("roll", "expected"),
    [
        (roll_of(width_mm=None), None),
        (roll_of(length_m=0.0), None),
        (roll_of(length_m=3.0), []),
        (roll_of(gaps=[(0.0, 30.0)]), []),
    ],
)
def test_no_cuts(roll, expected):
    assert suggest_cuts(roll, 5, 10) == expected


@given(
    st.lists(st.floats(0, 39.9), max_size=25),
    st.lists(st.tuples(st.floats(0, 39), st.floats(0, 3)), max_size=3),
    st.floats(1, 15),
    st.floats(0, 400),
)
def test_pieces_are_as_requested_and_never_overlap(spots, gaps, least_m, most):
    roll = roll_of(map(spot, spots), [(start, min(40.0, start + length)) for start, length in gaps], 40.0)
    pieces = suggest_cuts(roll, least_m, most)
    for piece in pieces:
        assert piece.end_m - piece.start_m >= least_m - 1e-6
        assert piece.points_per_100_m2 <= most + 1e-6
    for left, right in pairwise(pieces):
        assert left.end_m <= right.start_m
    looser = suggest_cuts(roll, least_m, most + 50)
    assert sum(p.end_m - p.start_m for p in looser) >= sum(p.end_m - p.start_m for p in pieces) - 1e-6


@pytest.mark.parametrize(("length_m", "metres"), [(0.5, 1), (12, 1), (12.1, 2), (120, 10), (1e6, 1e6 / 12)])
def test_rows_of_the_map(length_m, metres):
    assert row_length_m(length_m) == pytest.approx(metres)


def test_the_map_shows_every_defect_and_gap_where_it_lies():
    roll = roll_of([spot(1.5), ClothDefect("x", 0.9, 1.9, 4.1, 0, 5)], [(6.5, 7.5)], length_m=10.0)
    svg = draw_map(document_of(roll))
    marks = re.findall(r'class="defect" x="([\d.]+)%"', svg)
    assert len(marks) == 1 + 4  # the long one reaches into four rows of a metre
    assert float(marks[0]) == pytest.approx(50.5)
    assert len(re.findall('class="gap"', svg)) == 2
    assert re.findall('class="number">([0-9]+)<', svg) == ["1", "2"]
    assert draw_map(document_of(roll_of(length_m=0.0))) == ""


class Tags(HTMLParser):
    """Collect tags, and attributes that could load something."""

    def __init__(self):
        super().__init__()
        self.tags, self.sources = set(), set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources |= {value[:10] for name, value in attributes if name in ("src", "href", "action")}


def test_the_page_needs_nothing_and_runs_nothing(record):
    page = report_page(read_roll(record, None), PieceRequest(least_m=5, most_points=40))
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.tags
    assert tags.sources == {"data:image"}
    assert "<script>" not in page
    assert page.count("data:image/jpeg") == 3
    assert "http" not in re.sub(r"http-equiv", "", page)
    for said in ("Not all of this roll was inspected", "lost lines", "no cloth", "90.00 %", "second"):
        assert said in page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"width_mm": None}, "length or width is not known"),
        ({"defects": []}, "None were found in what was inspected"),
        ({"metres": 0, "defects": []}, "there is no map"),
    ],
)
def test_pages_of_rolls_that_lack_something(tmp_path, more, said):
    assert said in report_page(read_roll(write_roll(tmp_path / "r.db", **more), None))


def test_what_persons_said_stands_in_the_report(tmp_path):
    path = write_roll(tmp_path / "r.db", image_file=write_image(tmp_path / "p.png"))
    assert read_roll(path, None).facts()["after_review"] is None
    assert "People" not in report_page(read_roll(path, None))
    first, long_yarn, last = read_roll(path, None).defects
    record_review(path, first.event_id, Review("confirmed"))
    record_review(path, long_yarn.event_id, Review("rejected"))
    record_review(path, last.event_id, Review("rejected"))
    record_review(path, last.event_id, Review("undone"))
    roll = read_roll(path, None)
    assert roll.verdicts == {"confirmed": 1, "rejected": 1}
    assert (roll.grade.points, roll.grade.grade) == (25, "second")
    assert (roll.grade_after_review.points, roll.grade_after_review.grade) == (5, "first")
    page = report_page(roll)
    assert "People confirmed 1 and rejected 1 of 3 defects." in page
    assert "Without those that were rejected: 6.2 points per 100 m², first." in page
    assert page.count("5.500 m, rejected</b>") == 1


def test_an_image_that_is_gone_is_said(tmp_path):
    image_file = write_image(tmp_path / "p.png")
    roll = read_roll(write_roll(tmp_path / "r.db", image_file=image_file), None)
    assert cut_image(roll.defects[0]).startswith(b"\xff\xd8")
    image_file.write_bytes(image_file.read_bytes()[:50])
    assert cut_image(roll.defects[0]) is None
    assert "Missing or unreadable images: 3" in report_page(roll)


def test_export_gives_every_row_once(record):
    roll = read_roll(record, None)
    table = list(csv.DictReader(io.StringIO(as_csv(document_of(roll)))))
    assert [row["class_name"] for row in table] == [HOSTILE, "broken", "drop"]
    lines = [json.loads(line) for line in as_json_lines(document_of(roll)).splitlines()]
    assert [line["type"] for line in lines] == ["roll"] + ["defect"] * 3 + ["gap"] * 2 + ["event"]
    assert len({line["event_id"] for line in lines[1:]}) == 6
    assert [line["event_id"] for line in lines[1:4]] == [row["event_id"] for row in table]
    assert (lines[4]["start_m"], lines[4]["end_m"], lines[4]["reason"]) == (20, 25, "lost lines")


def test_a_spreadsheet_runs_nothing(tmp_path):
    path = write_roll(tmp_path / "r.db", "=cmd|' /C calc'!A0", metres=1, article="+1")
    (row, *_) = csv.DictReader(io.StringIO(as_csv(document_of(read_roll(path, None)))))
    assert row["roll"].startswith("'=")
    assert row["article"] == "'+1"


@pytest.mark.parametrize("command", ["list", "show"])
def test_printed(record, command):
    done = roll_command(command, record)
    assert done.code == 0, done.stderr
    assert "A17" in done.stdout
    assert "second" in done.stdout
    facts = json.loads(roll_command(command, record, "--json").stdout)
    assert (facts[0] if command == "list" else facts)["points"] == 25


def test_files_are_whole_and_earlier_ones_set_aside(record, tmp_path):
    for _ in range(2):
        done = roll_command(
            "report", record, "--roll", "A17", "--out", tmp_path / "r.html", "--piece-m", "5"
        )
        assert done.code == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"r.html", "r.html.1"}
    assert roll_command("export", record, "--format", "jsonl", "--out", tmp_path / "r.jsonl").code == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 7


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "missing.db"], 41, "There is no roll record"),
        (["show", "text.db"], 41, "cannot be read as a roll record"),
        (["show", "sheep.db"], 41, "another program"),
        (["show", "new.db"], 41, "newer loomsight"),
        (["show", "empty.db"], 41, "is empty"),
        (["show", "rolls.db", "--roll", "X"], 41, "has no roll 'X'"),
        (["report", "rolls.db", "--out", "rolls.db"], 10, "in the way of"),
        (["export", "rolls.db", "--out", "rolls.db-wal"], 10, "in the way of"),
        (["report", "rolls.db", "--out", "a.html", "--pdf", "a.html"], 10, "in the way of"),
        (["report", "rolls.db", "--out", "text.db/a.html"], 40, "Cannot write"),
        (["report", "rolls.db", "--out", "a.html", "--piece-m", "0"], 2, "piece-m"),
        (["report", "rolls.db", "--out", "a.html", "--piece-m", "inf"], 10, "length of inf"),
        (["export", "rolls.db", "--piece-points", "inf"], 10, "points of inf"),
        (
            ["report", "rolls.db", "--out", "a.html", "--roll-header", "mill"],
            10,
            "Write --roll-header KEY=TEXT",
        ),
        (["report", "rolls.db", "--out", "a.html", "--roll-header", "mil=x"], 10, "no setting 'mil'"),
        (["report", "rolls.db", "--out", "a.html", "--roll-header", "mill="], 10, "mill = ''"),
        (["export", "rolls.db", "--format", "xml"], 2, "xml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_an_exit_code(tmp_path, monkeypatch, arguments, code, said):
    write_roll(tmp_path / "rolls.db", metres=1)
    (tmp_path / "text.db").write_text("no database" * 100)
    for name, statement in (
        ("sheep.db", "CREATE TABLE sheep (name TEXT)"),
        ("new.db", "PRAGMA user_version = 9"),
        ("empty.db", "DELETE FROM gaps; DELETE FROM defects; DELETE FROM events; DELETE FROM rolls"),
    ):
        if name != "sheep.db":
            shutil.copy(tmp_path / "rolls.db", tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.executescript(statement)
    before = (tmp_path / "rolls.db").read_bytes()
    monkeypatch.chdir(tmp_path)
    done = roll_command(*arguments)
    assert done.code == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "rolls.db").read_bytes() == before


def test_without_chromium_the_page_is_there_and_the_cure_is_said(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingPackageError, match="apt-get install chromium"):
        pdf.find_browser()


def test_a_browser_that_prints_nothing():
    with pytest.raises(OutputError, match="gave no PDF"):
        pdf.pdf_of("<p>", "/bin/false")
    with pytest.raises(OutputError, match="cannot print"):
        pdf.pdf_of("<p>", "/no/such/browser")
