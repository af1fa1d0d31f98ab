"""Documents of rolls that are read into a record: alone, joined, twice, and those that are none."""

from __future__ import annotations

import json
from datetime import timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.audit.entry import Head
from edge.cloth.defects import ClothDefect
from edge.core.errors import RecordError
from edge.core.events import RecordedEvent
from edge.roll.audit_heads import anchor
from edge.roll.compose import document_of
from edge.roll.document import RollDocument
from edge.roll.export import as_json
from edge.roll.importing import import_roll
from edge.roll.reading import read_roll, read_rolls
from edge.roll.reviews import Review, record_review
from edge.roll.roll_map import RollMap, read_map
from tests.processes import loomsight
from tests.unit.edge.roll.rolls import write_roll


def exported(record, name=None, **changes):
    """Return the document of a recorded roll, as plain values."""
    document = document_of(read_roll(record, name), zone=timezone.utc)
    return json.loads(as_json(document)) | changes


def told(values):
    """Return what a document says of its roll: not when it was made."""
    return {name: value for name, value in values.items() if name != "made"}


def file_of(folder, values, name="map.json"):
    file = folder / name
    file.write_text(values if isinstance(values, str) else json.dumps(values))
    return file


def test_an_imported_roll_is_the_one_that_was_exported(tmp_path):
    ours, theirs = tmp_path / "r.db", tmp_path / "theirs" / "r.db"
    write_roll(ours, header={"mill": "Example Mill", "shift": "2"}, article="twill")
    row = read_roll(ours, None).defects[1]
    record_review(ours, row.event_id, Review("confirmed", "broken"))
    values = exported(ours)
    done = import_roll(theirs, read_map(file_of(tmp_path, values)))
    assert (done.is_new, done.defects) == (True, 3)
    assert told(exported(theirs)) == told(values)
    heads = [read_roll(record, None).head for record in (ours, theirs)]
    assert heads[1] == heads[0] | {"last_utc": heads[0]["ended_utc"]}


def test_a_second_time_changes_nothing(tmp_path):
    ours, theirs = tmp_path / "r.db", tmp_path / "t.db"
    write_roll(ours)
    read = read_map(file_of(tmp_path, exported(ours)))
    import_roll(theirs, read)
    before = exported(theirs)
    record_review(theirs, read_roll(theirs, None).defects[0].event_id, Review("rejected"))
    assert not import_roll(theirs, read).is_new
    assert len(read_rolls(theirs)) == 1
    assert exported(theirs)["review"]["rejected"] == 1  # what people said here stays
    assert before["defects"][0]["verdict"] is None
    assert not import_roll(ours, read).is_new  # nor is a roll written over that was inspected here


def test_a_record_without_tables_is_prepared_as_a_new_one(tmp_path):
    ours, theirs = tmp_path / "r.db", tmp_path / "t.db"
    write_roll(ours)
    theirs.touch()  # what is left when the program that makes it is killed
    import_roll(theirs, read_map(file_of(tmp_path, exported(ours))))
    assert told(exported(theirs)) == told(exported(ours))


@pytest.mark.parametrize("command", ["list", "show", "export"])
def test_a_record_without_tables_holds_no_roll_yet(tmp_path, command):
    record = tmp_path / "r.db"
    record.touch()
    done = loomsight("roll", command, record)
    assert (done.returncode, done.stdout) == (RecordError.exit_code, "")
    assert done.stderr == f"error: {record} holds no roll yet. Name it as --roll-record of an edge-run.\n"


def test_no_head_of_an_audit_log_is_written_into_a_record_without_tables(tmp_path):
    record = tmp_path / "r.db"
    record.touch()
    anchor(record, "log", Head(1, "0" * 64))
    assert record.stat().st_size == 0


def test_a_part_is_joined_behind_the_first(tmp_path):
    one, two, whole = (tmp_path / f"{name}.db" for name in ("one", "two", "whole"))
    write_roll(one, "A17", metres=60, article="twill")
    write_roll(
        two, "A17", metres=30, article="twill", defects=[ClothDefect("broken", 0.5, 2.0, 3.0, 10.0, 20.0)]
    )
    first, second = (
        read_map(file_of(tmp_path, exported(record), f"{record.stem}.json")) for record in (one, two)
    )
    import_roll(whole, first)
    assert import_roll(whole, second, "A17").is_new
    assert not import_roll(whole, second, "A17").is_new
    roll, parts = read_roll(whole, None), [read_roll(record, None) for record in (one, two)]
    assert len(read_rolls(whole)) == 1
    assert roll.length_m == pytest.approx(90.0)
    assert roll.inspected_m == pytest.approx(sum(part.inspected_m for part in parts))
    assert [row.defect.start_m for row in roll.defects][-1] == pytest.approx(62.0)
    assert sum(gap.lines for gap in roll.gaps) == sum(gap.lines for part in parts for gap in part.gaps)
    assert roll.grade.points == sum(part.grade.points for part in parts)
    event = next(event for event in roll.events if event.kind == "roll imported")
    assert (event.at_m, event.data["roll_id"]) == (60.0, parts[1].head["roll_id"])


def test_parts_that_do_not_go_together(tmp_path):
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    write_roll(one, article="twill")
    write_roll(two, article="satin")
    read = read_map(file_of(tmp_path, exported(two)))
    with pytest.raises(RecordError, match="of article 'twill'"):
        import_roll(one, read, "A17")
    with pytest.raises(RecordError, match="has no roll 'B'"):
        import_roll(one, read, "B")
    assert len(read_rolls(one)) == 1


def test_a_document_of_the_schema_before(tmp_path):
    ours, theirs = tmp_path / "r.db", tmp_path / "t.db"
    write_roll(ours)
    values = exported(ours, schema_id="urn:loomsight:roll-report:1.1")
    for name in ("mm_per_line", "reached_line", "cloth_width_mm", "view"):
        del values["technical"][name]
    import_roll(theirs, read_map(file_of(tmp_path, values)))
    found = exported(theirs)
    for name in ("length_m", "inspected_m", "coverage", "width_mm", "not_inspected"):
        assert found["inspection"][name] == values["inspection"][name]
    assert found["defects"] == values["defects"]
    assert found["grading"] == values["grading"]


def without(values, *path):
    """Return a copy without a key."""
    values = json.loads(json.dumps(values))
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return values


def with_(values, value, *path):
    """Return a copy with another value."""
    values = json.loads(json.dumps(values))
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return values


BAD = {
    "empty": (lambda v: "", "is not valid JSON"),
    "no JSON": (lambda v: "{", "is not valid JSON"),
    "a list": (lambda v: "[]", "has no schema_id"),
    "deep": (lambda v: "[" * 100_000, "nested too deep"),
    "other schema": (lambda v: v | {"schema_id": "urn:other:1.0"}, "is not known"),
    "newer": (lambda v: v | {"schema_id": "urn:loomsight:roll-report:1.99"}, "Update loomsight"),
    "first number": (lambda v: v | {"schema_id": "urn:loomsight:roll-report:2.0"}, "is not known"),
    "no header": (lambda v: without(v, "header"), "header: Field required"),
    "extra": (lambda v: v | {"more": 1}, "more: Extra inputs"),
    "text for a number": (lambda v: with_(v, "x", "defects", 0, "start_m"), "defects.0.start_m"),
    "NaN": (lambda v: with_(v, float("nan"), "defects", 0, "start_m"), "defects.0.start_m"),
    "backwards": (lambda v: with_(v, 99.0, "defects", 0, "start_m"), "1 of defects"),
    "beside the roll": (lambda v: with_(v, 901.0, "defects", 0, "end_m"), "1 of defects"),
    "more inspected": (lambda v: with_(v, 10**9, "technical", "lines", "inspected"), "more was inspected"),
    "an id twice": (lambda v: with_(v, v["technical"]["defects"][1]["event_id"],
                                    "technical", "defects", 0, "event_id"), "cannot take the document"),
    "an id less": (lambda v: without(v, "technical", "defects", 0), "ids of 2"),
    "two cameras": (lambda v: with_(v, "a+b", "technical", "roll_id"), "several cameras"),
    "endless": (lambda v: with_(v, 10**400, "technical", "lines", "delivered"), "too large"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=str)
def test_files_that_are_none(tmp_path, case):
    ours, theirs = tmp_path / "r.db", tmp_path / "t.db"
    write_roll(ours)
    damage, said = BAD[case]
    file = file_of(tmp_path, damage(exported(ours)))
    with pytest.raises(RecordError, match=said):
        import_roll(theirs, read_map(file))
    assert not theirs.exists() or read_rolls(theirs) == []


def test_the_command_imports_and_says_so(tmp_path):
    ours, theirs = tmp_path / "r.db", tmp_path / "t.db"
    write_roll(ours)
    out = loomsight("roll", "export", ours, "--format", "json", "--out", tmp_path / "A17.json")
    assert out.returncode == 0, out.stderr
    done = loomsight("roll", "import", tmp_path / "A17.json", "--record", theirs)
    assert (done.returncode, done.stdout) == (0, "A17: 3 defects, grade second\n"), done.stderr
    again = loomsight("roll", "import", tmp_path / "A17.json", "--record", theirs)
    assert again.stdout == "A17: the record has it already\n"
    bad = loomsight("roll", "import", ours, "--record", theirs)
    assert bad.returncode == 41
    assert bad.stderr.count("\n") == 1
    none = loomsight("roll", "import", tmp_path / "none.json", "--record", theirs)
    assert none.returncode == 41
    assert "There is no file" in none.stderr


# On the grid that documents are rounded to: tenths of a millimetre along the roll, and across it.
ALONG_M = st.integers(0, 599_999).map(lambda value: value / 10_000)
ACROSS_MM = st.integers(0, 15_000).map(lambda value: value / 10)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
DEFECTS = st.builds(
    lambda name, score, along, across, kind: ClothDefect(
        name, score / 10_000, *sorted(along), *sorted(across), kind=kind
    ),
    WORDS, st.integers(0, 10_000), st.tuples(ALONG_M, ALONG_M), st.tuples(ACROSS_MM, ACROSS_MM),
    st.none() | st.just("broken pick"),
)  # fmt: skip
EVENTS = st.builds(
    lambda kind, detail, at_m, data: RecordedEvent(kind, detail, at_m, data=data),
    WORDS, WORDS, st.none() | ALONG_M,
    st.none() | st.dictionaries(WORDS, st.none() | WORDS | st.integers(0, 99)),
)  # fmt: skip


@given(
    st.lists(DEFECTS, max_size=8), st.lists(EVENTS, max_size=4), WORDS, st.none() | WORDS,
    st.sampled_from([None, 0.0, 120.0]),
)  # fmt: skip
def test_import_of_export_is_the_same(tmp_path_factory, defects, events, name, article, offset_mm):
    folder = tmp_path_factory.mktemp("map")
    write_roll(folder / "r.db", name, defects=defects, events=events, article=article, offset_mm=offset_mm)
    values = exported(folder / "r.db")
    import_roll(folder / "t.db", RollMap(RollDocument.model_validate(values), "0" * 64))
    assert told(exported(folder / "t.db")) == told(values)
