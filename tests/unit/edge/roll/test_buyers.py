"""Rules of buyers through the real commands: report, show, export, lots, and rules that are wrong."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from jsonschema import Draft202012Validator

from edge.cloth.defects import ClothDefect
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError
from edge.roll.document import json_schema
from edge.roll.reading import read_roll
from edge.roll.side_by_side import read_roll_beside
from tests.unit.edge.roll.rolls import roll_command, write_roll

RULES = """
[buyers."Example Garments"]
astm_holes = true
ignored_edge_mm = 20
running_defect_m = 3.0
refuse_running_defects = true
cut_out = ["hole"]
least_piece_m = 5
piece_points = 30
roll_points = 12
lot_points = 10

[buyers.Plain]

[buyers.Yards]
system = "ten-point"
linear_points_by_width = [{up_to_mm = 1600, points = 10}, {points = 12}]

[buyers.Own]
system = "own"
point_table = [{up_to_mm = 100, points = 1}, {points = 6}]
grade_limits = {A = 50}
"""
HOLE = ClothDefect("broken", 0.9, 12.34, 12.35, 300.0, 310.0, kind="hole")
END = ClothDefect("broken", 0.9, 30.0, 30.2, 900.0, 903.0, kind="broken end")
AT_THE_EDGE = ClothDefect("broken", 0.9, 35.0, 35.3, 3.0, 8.0, kind="broken end")
RUNNING = ClothDefect("broken", 0.9, 45.0, 49.5, 700.0, 703.0, kind="broken end")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    record = tmp_path / "rolls.db"
    for name, defects in (
        ("A", [HOLE, END, AT_THE_EDGE]),
        ("B", [HOLE, RUNNING]),
        ("C", [HOLE, *(ClothDefect("drop", 0.9, m, m + 0.2, 500, 510) for m in range(42, 46))]),
    ):
        write_roll(record, name, defects=defects, article="twill")
    (tmp_path / "buyers.toml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def done(*words):
    outcome = roll_command(*words)
    assert outcome.code == 0, outcome.stderr
    return outcome.stdout


def exported(roll, buyer, *words):
    text = done("export", "rolls.db", "--format", "json", "--roll", roll, "--buyer", buyer, "--config",
                "buyers.toml", *words)  # fmt: skip
    document = json.loads(text)
    Draft202012Validator(json_schema()).validate(document)
    return document


def test_the_document_has_buyer_rules_grade_and_pieces(folder):
    document = exported("A", "Example Garments")
    assert document["buyer"]["name"] == "Example Garments"
    assert document["buyer"]["rules"]["cut_out"] == ["hole"]
    assert document["buyer"]["graded_m2"] == pytest.approx(54 * 1.46)
    assert (document["buyer"]["accepted"], document["buyer"]["refusals"]) == (True, [])
    assert [one["points"] for one in document["defects"]] == [2, 3, 0]
    assert document["grading"]["points"] == 5
    assert document["grading"]["points_per_100_m2"] == pytest.approx(500 / (54 * 1.46), abs=0.01)
    plan = document["cut_plan"]
    assert [(one["start_m"], one["end_m"]) for one in plan["pieces"]] == [
        (0, 12.3), (12.4, 20), (25, 40), (41, 60),
    ]  # fmt: skip
    assert [(one["start_m"], one["end_m"], one["kinds"]) for one in plan["cut_out"]] == [
        (12.3, 12.4, ["hole"])
    ]
    assert (plan["least_m"], plan["most_points_per_100_m2"]) == (5, 30)


def test_flags_win_over_the_rules_and_without_a_buyer_nothing_is_said_of_one(folder):
    plan = exported("A", "Example Garments", "--piece-m", "14", "--piece-points", "7")["cut_plan"]
    assert (plan["least_m"], plan["most_points_per_100_m2"]) == (14, 7)
    document = json.loads(done("export", "rolls.db", "--format", "json"))
    assert (document["buyer"], document["cut_plan"]["least_m"], document["cut_plan"]["cut_out"]) == (
        None,
        25,
        [],
    )
    assert "accepted" not in json.loads(done("show", "rolls.db", "--json"))


def test_the_report_names_the_buyer_and_shows_the_rules_and_what_is_cut_out(folder):
    done("report", "rolls.db", "--roll", "B", "--buyer", "Example Garments", "--config", "buyers.toml",
         "--out", "b.html")  # fmt: skip
    page = (folder / "b.html").read_text()
    shown = re.sub(r"\|+", "|", unescape(re.sub("<[^>]+>", "|", page)))
    for said in (
        "|Rules of Example Garments|",
        "|The roll has 27.9 points per 100 m²; at most 12 are permitted.|",
        "|The roll has 1 running defect, of up to 4.50 m.|",
        "|This roll|refused|",
        "|System|Four-point system (ASTM D5430)|",
        "|Running defects|longer than 3 m: 4 points in each metre; refuse the roll|",
        "|Ignored edges|20 mm on each side; 78.84 m² are graded|",
        "|Cut out of all pieces|hole|",
        "|Shortest piece|5 m|",
        "|Most points per 100 m²|piece 30, roll 12, lot 10|",
        "|cut out: hole|12.30|12.40|0.10|",
        "|cut out: broken end|40.00|49.50|9.50|",
    ):
        assert said in shown, said
    assert len(re.findall('class="must-cut"', page)) == 2
    assert (
        "Rules of"
        not in done("report", "rolls.db", "--out", "plain.html") + (folder / "plain.html").read_text()
    )


def test_the_ten_point_system(folder):
    document = exported("A", "Yards")
    assert document["grading"] == {
        "grade": "first", "points": 1 + 5 + 10, "limits": {},
        "points_per_100_m2": pytest.approx(1600 / 81, abs=0.01),
    }  # fmt: skip
    plan = document["cut_plan"]
    assert (plan["most_points_per_100_m2"], plan["most_points_per_yard"]) == (None, 1)
    assert plan["pieces"] == []
    assert [one["start_m"] for one in exported("A", "Yards", "--piece-m", "14")["cut_plan"]["pieces"]] == [
        0, pytest.approx(27 * 0.9144), pytest.approx(45 * 0.9144),
    ]  # fmt: skip
    done(
        "report",
        "rolls.db",
        "--roll",
        "A",
        "--buyer",
        "Yards",
        "--config",
        "buyers.toml",
        "--out",
        "y.html",
    )
    page = (folder / "y.html").read_text()
    assert "first quality if the points do not exceed the yards inspected" in page
    assert "at most 1 point per yard" in page


def test_a_table_and_grades_of_the_buyer(folder):
    document = exported("C", "Own")
    assert (document["grading"]["points"], document["grading"]["limits"]) == (1 + 4 * 6, {"A": 50})
    assert document["grading"]["grade"] == "A"


def test_show_says_points_and_acceptance_by_the_rules(folder):
    words = ("show", "rolls.db", "--roll", "B", "--buyer", "Example Garments", "--config", "buyers.toml")
    facts = json.loads(done(*words, "--json"))
    assert (facts["buyer"], facts["accepted"], len(facts["refusals"])) == ("Example Garments", False, 2)
    assert [one["points"] for one in facts["defect_list"]] == [2, 20]
    assert re.search(r"accepted +│ no ", done(*words))


def test_a_lot_names_the_refused_rolls_and_is_judged_as_a_whole(folder):
    words = ("lot", "rolls.db", "A", "B", "C", "--buyer", "Example Garments", "--config", "buyers.toml")
    lot = json.loads(done(*words, "--json"))
    assert [(one["name"], one["points"], one["accepted"]) for one in lot["rolls"]] == [
        ("A", 5, True), ("B", 22, False), ("C", 14, False),
    ]  # fmt: skip
    assert (lot["points"], lot["accepted"]) == (41, False)
    assert lot["graded_m2"] == pytest.approx(3 * 54 * 1.46)
    assert lot["points_per_100_m2"] == pytest.approx(4100 / (3 * 54 * 1.46), abs=0.01)
    assert lot["refusals"] == ["The lot has 17.3 points per 100 m²; at most 10 are permitted."]
    printed = done(*words)
    assert re.search(r"│ B +│ +78.84 m² +│ 22 .*│ no ", printed)
    assert re.search(r"│ lot of 3 rolls +│ 236.52 m² │ 41 .*│ no ", printed)
    alone = json.loads(done("lot", "rolls.db", "A", *words[5:], "--json"))
    assert (alone["accepted"], alone["refusals"]) == (True, [])
    refused = json.loads(done("lot", "rolls.db", "B", *words[5:], "--json"))
    assert refused["refusals"][-1] == "Every roll is refused."


def test_a_lot_without_limits_or_without_a_width(folder):
    plain = ("--buyer", "Plain", "--config", "buyers.toml", "--json")
    assert json.loads(done("lot", "rolls.db", "A", "B", *plain))["accepted"] is True
    write_roll(folder / "rolls.db", "W", width_mm=None)
    unknown = json.loads(done("lot", "rolls.db", "A", "W", "--buyer", "Example Garments", *plain[2:]))
    assert (unknown["accepted"], unknown["points_per_100_m2"], unknown["graded_m2"]) == (None, None, None)
    assert [one["accepted"] for one in unknown["rolls"]] == [True, False]


@pytest.mark.parametrize("rule", ["roll_points = 50", "refuse_running_defects = true"])
def test_a_roll_without_positions_is_neither_accepted_nor_refused(folder, rule):
    write_roll(folder / "frames.db", metres=0, defects=[])
    (folder / "f.toml").write_text(f"[buyers.F]\n{rule}\n")
    facts = json.loads(done("show", "frames.db", "--buyer", "F", "--config", "f.toml", "--json"))
    assert (facts["accepted"], facts["refusals"]) == (None, [])


def test_edges_of_cameras_beside_each_other_are_those_of_the_whole_cloth(folder):
    records = [
        write_roll(folder / f"{name}.db", "X", offset_mm=at, defects=[])
        for name, at in (("left", 0.0), ("right", 1480.0))
    ]
    roll = read_roll_beside(records, "X")
    words = (
        "X",
        "--beside",
        "right.db",
        "--buyer",
        "Example Garments",
        "--config",
        "buyers.toml",
        "--json",
    )
    lot = json.loads(done("lot", "left.db", *words))
    assert lot["graded_m2"] == pytest.approx(roll.inspected_m2 - 54 * 0.04, abs=1e-3)


def test_edges_that_leave_nothing_of_the_width(folder):
    (folder / "wide.toml").write_text("[buyers.E]\nignored_edge_mm = 900\n")
    text = done("export", "rolls.db", "--format", "json", "--buyer", "E", "--config", "wide.toml")
    document = json.loads(text)
    assert document["cut_plan"]["unknown"] == "nothing lies between the ignored edges"
    assert document["grading"]["grade"] is None


def test_rules_are_no_part_of_a_run_and_of_no_other_buyers_paper():
    config = EdgeConfig.model_validate({"buyers": {"Example Garments": {"roll_points": 12}}})
    assert "buyers" not in config.public()
    assert config.buyers["Example Garments"].roll_points == 12


def test_the_record_stays_as_it_is(folder):
    before = read_roll(folder / "rolls.db", "A")
    exported("A", "Own")
    assert read_roll(folder / "rolls.db", "A") == before


def test_rules_for_all_cameras_come_from_the_file_of_the_run_or_the_environment(folder, monkeypatch):
    (folder / "box.toml").write_text(
        '[buyers.E]\nroll_points = 3\n[cameras.left]\ncamera = "0"\n[cameras.right]\ncamera = "1"\n'
    )
    words = ("show", "rolls.db", "--roll", "A", "--buyer", "E")
    assert json.loads(done(*words, "--config", "box.toml", "--json"))["accepted"] is False
    monkeypatch.setenv("LOOMSIGHT_EDGE_BUYERS", '{"E": {"roll_points": 100}}')
    assert json.loads(done(*words, "--json"))["accepted"] is True


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("[buyers.X]", "There are no rules of buyer 'E': e.toml has none of that name. Permitted: X."),
        ("", 'none of that name. Write a table [buyers."E"] into the file of --config.'),
        ("[buyer.E]", "there is no setting 'buyer'"),
        ("buyers = 3", "buyers = 3 is not permitted"),
        ("[buyers.E]\nsytem = 'own'", "there is no setting 'buyers.E.sytem'"),
        ("[buyers.E]\nsystem = 'five-point'", "Input should be 'four-point', 'ten-point' or 'own'"),
        ("[buyers.E]\ncut_out = ['hol']", "there is no class or kind 'hol'; permitted: wrinkle, drop"),
        ("[buyers.E]\ncut_out = 'hole'", "buyers.E.cut_out = 'hole' is not permitted"),
        ("[buyers.E]\nroll_points = -1", "greater than or equal to 0"),
        ("[buyers.E]\nroll_points = nan", "finite number"),
        ("[buyers.E]\ngrade_limits = {A = inf}", "finite number"),
        ("[buyers.E]\nignored_edge_mm = -5", "greater than or equal to 0"),
        ("[buyers.E]\nrunning_defect_m = 0", "greater than 0"),
        ("[buyers.E]\nleast_piece_m = 0", "greater than or equal to 0.01"),
        ("[buyers.E]\nlinear_points = 3", "at most 3 points: one defect has 4"),
        ("[buyers.E]\nlinear_points = 5\nlinear_points_by_width = [{points = 4}]", "not both"),
        ("[buyers.E]\nlinear_points_by_width = [{up_to_mm = 9, points = 2}, {points = 4}]", "at most 2"),
        ("[buyers.E]\nsystem = 'own'", "point_table go together"),
        ("[buyers.E]\npoint_table = [{points = 4}]", "point_table go together"),
        ("[buyers.E]\nsystem = 'own'\npoint_table = [{up_to_mm = 9, points = 4}]", "the last row"),
        ("[buyers.E]\nsystem = 'own'\npoint_table = [{points = 1}, {points = 4}]", "and no other"),
        (
            "[buyers.E]\nsystem = 'own'\npoint_table = [{up_to_mm = 9, points = 1}, "
            "{up_to_mm = 9, points = 2}, {points = 4}]",
            "has to rise",
        ),
        (
            "[buyers.E]\nsystem = 'own'\npoint_table = [{up_to_mm = 9, points = 3}, {points = 2}]",
            "cannot fall",
        ),
        ("[buyers.E]\nsystem = 'own'\npoint_table = [{points = 0}]", "at least 1 point"),
        (
            "[buyers.E]\nsystem = 'own'\npoint_table = [{up_to_mm = nan, points = 1}, {points = 4}]",
            "finite",
        ),
        ("[buyers.E]\nsystem = 'own'\npoint_table = [{points = 1.5}]", "valid integer"),
        ("[buyers.E]\nsystem = 'ten-point'\nastm_holes = true", "leave them out"),
        ("[buyers.E]\nsystem = 'ten-point'\ngrade_limits = {A = 3}", "leave them out"),
        ("[buyers.E]\ncut_out = [" + "'hole', " * 101 + "]", "at most 100 items"),
        ("[buyers.E]\nroll_points = " + "9" * 5000, "e.toml"),
        ("[buyers.E\n", "is not valid TOML"),
        ("#" * 20_000_000, "e.toml"),
        ("[cameras.a.buyers.E]\n", "'buyers' is for all cameras"),
    ],
    ids=lambda value: value[:60].replace("\n", " "),
)
@pytest.mark.parametrize("command", ["show", "lot"])
def test_wrong_rules_are_one_line_with_the_cure(folder, command, rules, said):
    (folder / "e.toml").write_text(rules)
    words = ("A",) if command == "lot" else ()
    outcome = roll_command(command, "rolls.db", *words, "--buyer", "E", "--config", "e.toml")
    assert outcome.code == ConfigError.exit_code
    (line,) = outcome.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert len(line) < 760


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("show", "rolls.db", "--config", "buyers.toml"),
            10,
            "is given without a buyer. Add --buyer NAME.",
        ),
        (("show", "rolls.db", "--buyer", "Plain"), 10, "no --config is given. Write a table"),
        (("show", "rolls.db", "--buyer", "Plain", "--config", "missing.toml"), 10, "missing.toml"),
        (("lot", "rolls.db", "A", "A", "--buyer", "Plain", "--config", "buyers.toml"), 10, "named twice"),
        (("lot", "rolls.db", "Z", "--buyer", "Plain", "--config", "buyers.toml"), 41, "has no roll 'Z'"),
        (("lot", "rolls.db", "A"), 2, "--buyer"),
        (("lot", "rolls.db", "--buyer", "Plain"), 2, "ROLL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_words(folder, words, code, said):
    outcome = roll_command(*words)
    assert outcome.code == code, outcome.stderr
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr
