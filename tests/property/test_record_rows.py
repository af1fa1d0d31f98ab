"""Whatever SQLite can hold in a column of a roll record: each command gives its result or one line."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from edge.cloth.defects import ClothDefect
from edge.commands.roll_cli import app
from edge.core.errors import RecordError
from edge.roll.document import json_schema
from edge.roll.reading import read_roll
from tests.unit.edge.roll.rolls import roll_command, write_roll

TABLES = ("rolls", "defects", "gaps", "events", "event_data", "reviews", "views", "headers", "small_images")
SCHEMA = Draft202012Validator(json_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
DEFECTS = [ClothDefect("drop", 0.9, at, at + 0.01, 100.0, 140.0) for at in (1.2, 3.0, 4.5)]

NUMBERS = [1e12, -1e12, 1e308, float("inf"), float("nan"), 0, -1, 2**63 - 1, 0.5]
TEXTS = [
    "abc", "", "1e400", "[1,2,3]", "{", "[" * 5000, "x" * 200_000, "\x1b[31mred", "a\0b",
    '{"grade_limits": {"a": NaN}}', '{"offset_mm": "left", "grade_limits": []}', '["a", null, 1, 2]',
]  # fmt: skip
values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from(NUMBERS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(TEXTS),
    st.binary(max_size=20),
)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A sound record whose tables permit anything, as a disk does."""
    path = write_roll(tmp_path_factory.mktemp("r") / "r.db", metres=26, article="twill", defects=DEFECTS)
    with closing(sqlite3.connect(path)) as db:
        (event,) = db.execute("SELECT event_id, roll_id FROM defects LIMIT 1").fetchall()
        db.execute("INSERT INTO reviews VALUES ('r', ?, ?, 'rejected', '2026')", event)
        db.execute("INSERT INTO headers SELECT roll_id, 'mill', 'Example Mill' FROM rolls")
        db.execute("INSERT INTO small_images SELECT event_id, x'ffd8ff' FROM defects LIMIT 1")
        db.execute("INSERT INTO event_data SELECT event_id, '{\"a\": 1}' FROM events LIMIT 1")
        db.execute("PRAGMA foreign_keys = OFF")
        for table in TABLES:
            db.execute(f"CREATE TABLE free AS SELECT * FROM {table}")
            db.execute(f"DROP TABLE {table}")
            db.execute(f"ALTER TABLE free RENAME TO {table}")
        db.commit()
        columns = [(table, row[1]) for table in TABLES for row in db.execute(f"PRAGMA table_info({table})")]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path, columns


def commands(path, folder):
    return (
        ["list", path],
        ["list", path, "--json"],
        ["show", path],
        ["show", path, "--json"],
        ["report", path, "--out", folder / "a.html", "--piece-m", "1"],
        ["export", path],
        ["export", path, "--format", "jsonl"],
        ["export", path, "--format", "json"],
    )


def changed(record, folder, changes):
    path = Path(folder) / "r.db"
    shutil.copy(record, path)
    with closing(sqlite3.connect(path)) as db:
        for table, column, value in changes:
            first = f"(SELECT min(rowid) FROM {table})"
            db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = {first}", (value,))
        db.commit()
    return path


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), values), min_size=1, max_size=3))
@example([(0, 1e12)])
def test_every_command_gives_its_result_or_one_line(record, changes):
    sound, columns = record
    named = [(*columns[place % len(columns)], value) for place, value in changes]
    with tempfile.TemporaryDirectory() as folder:
        path = changed(sound, folder, named)
        for command in commands(path, Path(folder)):
            done = CliRunner().invoke(app, [str(part) for part in command])
            if done.exit_code:
                assert isinstance(done.exception, RecordError), (named, command, done.exception)
                assert "\n" not in str(done.exception)
            assert "\x1b[31mred" not in done.stdout
            if {"--json", "json"} & set(map(str, command)) and not done.exit_code:
                found = json.loads(done.stdout, parse_constant=pytest.fail)
                if "json" in command:
                    SCHEMA.validate(found)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("defects", "end_m", 1e12),
        ("defects", "start_m", float("-inf")),
        ("defects", "start_m", None),
        ("defects", "right_mm", -5.0),
        ("defects", "score", "high"),
        ("defects", "class_name", b"\xff\x00"),
        ("gaps", "lines", "many"),
        ("events", "kind", None),
    ],
)
def test_a_damaged_row_is_set_aside_counted_and_said(record, tmp_path, table, column, value):
    path = changed(record[0], tmp_path, [(table, column, value)])
    before, after = read_roll(record[0], None), read_roll(path, None)
    assert after.damaged == {table: 1}
    assert len(getattr(after, table)) == len(getattr(before, table)) - 1
    done = roll_command("show", path, "--json")
    assert done.code == 0
    assert json.loads(done.stdout)["damaged_rows"] == {table: 1}
    assert (
        f"damaged rows in the record, left out or kept without what is damaged: 1 of {table}" in done.stderr
    )
    assert roll_command("report", path, "--out", tmp_path / "a.html").code == 0
    assert (
        f"The record has 1 damaged row (1 of {table}): left out, or kept"
        in (tmp_path / "a.html").read_text()
    )


@pytest.mark.parametrize(("column", "value"), [("reached_line", "abc"), ("roll_id", "a+b")])
def test_a_roll_whose_own_row_is_damaged_is_named_and_the_others_are_listed(tmp_path, column, value):
    path = write_roll(tmp_path / "r.db", "A", metres=2, defects=[])
    write_roll(path, "B", metres=2, defects=[])
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE rolls SET {column} = ? WHERE name = 'B'", (value,))
        db.commit()
    done = roll_command("list", path, "--json")
    assert (done.code, [one["name"] for one in json.loads(done.stdout)]) == (0, ["A"])
    assert f"row 2 of rolls is damaged and left out: {column}" in done.stderr
    refused = roll_command("show", path)
    assert refused.code == 41
    assert "The last roll of" in refused.stderr
    assert f"is damaged: {column}" in refused.stderr
    assert roll_command("report", path, "--out", tmp_path / "b.html").code == 41
    assert roll_command("show", path, "--roll", "A").code == 0
