"""One document of a roll feeds page, JSON, JSON lines and CSV: what it says, and that all agree."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import time
from base64 import b64decode
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html import unescape

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect, Sighting
from edge.config.roll_header import header_of
from edge.core.counted import counted, of_all
from edge.core.errors import ConfigError
from edge.core.events import RecordedEvent
from edge.core.palette import class_colour
from edge.roll.compose import document_of
from edge.roll.cuts import PieceRequest
from edge.roll.document import json_schema
from edge.roll.export import as_csv, as_json, as_json_lines
from edge.roll.images import jpeg_around
from edge.roll.local_time import local, local_from_utc, shown_time
from edge.roll.reading import read_roll
from edge.roll.recorder import RollRecorder
from edge.roll.report import page_of, report_page
from edge.roll.side_by_side import read_roll_beside
from edge.roll.small_images import MOST_OF_A_FRAME, SmallImages
from edge.roll.values import RollHead
from tests.unit.edge.roll.rolls import LIMITS, roll_command, write_image, write_roll

SCHEMA = Draft202012Validator(json_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
BERLIN_SUMMER = timezone(timedelta(hours=2), "CEST")
STOP = "would stop for 00112233445566778899aabbccddeeff"


def spot(at_m, name="drop", long_mm=10.0):
    return ClothDefect(name, 0.9, at_m, at_m + long_mm / 1000, 100.0, 140.0)


def frames_only(path):
    """A roll whose camera knows no position."""
    settings = {"grade_limits": LIMITS, "stop": {"rules": [1, None]}}
    with RollRecorder(path, RollHead("video.mp4", "b" * 64, settings, "V")) as recorder:
        recorder.finish(Coverage(), None, "failed")
    return path


def damaged(path):
    write_roll(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE defects SET score = 'high' WHERE class_name = 'drop'")
        db.execute("UPDATE defects SET utc = 7 WHERE class_name = 'broken'")
        db.execute("UPDATE rolls SET ended_utc = 'yesterday', settings = '{\"x\": NaN}'")
        db.commit()
    return path


def two_cameras(folder):
    return [
        write_roll(folder / f"{name}.db", offset_mm=at) for name, at in (("left", 0.0), ("right", 1480.0))
    ]


ROLLS = {
    "with all": lambda folder: [write_roll(folder / "r.db")],
    "without defects": lambda folder: [write_roll(folder / "r.db", defects=[])],
    "without lines": lambda folder: [write_roll(folder / "r.db", metres=0, defects=[])],
    "without a width": lambda folder: [write_roll(folder / "r.db", width_mm=None)],
    "without a scale": lambda folder: [frames_only(folder / "r.db")],
    "damaged": lambda folder: [damaged(folder / "r.db")],
    "of two cameras": two_cameras,
}


@pytest.mark.parametrize("kind", ROLLS)
def test_every_export_follows_the_schema(tmp_path, kind):
    records = ROLLS[kind](tmp_path)
    done = roll_command("export", *records, "--format", "json", "--piece-m", "5")
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    SCHEMA.validate(document)
    with pytest.raises(ValidationError):
        SCHEMA.validate(document | {"more": 1})


@pytest.mark.parametrize("kind", ROLLS)
def test_all_papers_say_the_same_numbers(tmp_path, kind):
    roll = read_roll_beside(ROLLS[kind](tmp_path), None)
    wanted = PieceRequest(5, 40)
    document = json.loads(as_json(document_of(roll, wanted)))
    page = report_page(roll, wanted)
    shown = unescape(re.sub("<[^>]+>", "|", page))
    grading, seen = document["grading"], document["inspection"]
    per_area = grading["points_per_100_m2"]
    assert f"Points per 100 m²||{'unknown' if per_area is None else f'{per_area:.1f}'}|" in shown
    assert f"|Points||{grading['points']}|" in shown
    assert f"|Defects||{len(document['defects'])}|" in shown
    if seen["length_m"] is not None:
        assert f"{seen['inspected_m']:.2f} of {seen['length_m']:.2f} m" in shown
    for one in document["defects"]:
        along = f"|{one['start_m']:.3f}||{one['end_m']:.3f}||{one['left_mm']:.0f}||{one['right_mm']:.0f}|"
        assert f"{along}|{one['points']}||{one['score']:.2f}|" in shown
    for piece in document["cut_plan"]["pieces"]:
        assert f"|{piece['start_m']:.2f}||{piece['end_m']:.2f}||{piece['length_m']:.2f}|" in shown
    for missed in seen["not_inspected_by_reason"]:
        assert f"|{missed['reason']}||{missed['length_m']:.3f}|" in shown
    table = list(csv.DictReader(io.StringIO(as_csv(document_of(roll, wanted)))))
    assert len(table) == len(document["defects"])
    for row, one, record in zip(table, document["defects"], document["technical"]["defects"], strict=True):
        assert float(row["start_m"]) == one["start_m"]
        assert {name: row[name] for name in ("event_id",)} == {"event_id": record["event_id"]}
        assert int(row["points"]) == one["points"]
        assert set(row) == {"roll", "article", *one, *record}
    lines = [json.loads(line) for line in as_json_lines(document_of(roll, wanted)).splitlines()]
    assert lines[0]["grading"] == grading
    assert [line["start_m"] for line in lines if line["type"] == "defect"] == [
        one["start_m"] for one in document["defects"]
    ]


def test_the_plan_to_cut_covers_the_roll_in_metres(tmp_path):
    roll = read_roll(write_roll(tmp_path / "r.db", metres=60), None)
    plan = document_of(roll, PieceRequest(10, 20)).cut_plan
    parts = sorted((one.start_m, one.end_m) for one in (*plan.pieces, *plan.waste))
    assert (parts[0][0], parts[-1][1]) == (0, 60)
    assert [end for _, end in parts[:-1]] == [start for start, _ in parts[1:]]
    assert plan.kept_m == sum(one.length_m for one in plan.pieces)
    assert "cut out" in report_page(roll, PieceRequest(10, 20))


def test_the_head_is_kept_with_the_roll_and_can_be_given_later(tmp_path):
    record = write_roll(tmp_path / "r.db", header={"mill": "Example Mill", "shift": "2"})
    report = ("report", record, "--out", tmp_path / "r.html")
    assert roll_command(*report).code == 0
    first = (tmp_path / "r.html").read_text()
    assert "<dt>Mill</dt><dd>Example Mill</dd>" in first
    assert "<dt>Customer</dt>" not in first
    given = ("customer=A < B = C", "shift=3", "title=Warenschau", "machine=Loom 7", "operator=Ayşe")
    words = [word for one in given for word in ("--roll-header", one)]
    assert roll_command(*report, *words).code == 0
    page = (tmp_path / "r.html").read_text()
    for key, text in (("Customer", "A &lt; B = C"), ("Shift", "3"), ("Mill", "Example Mill")):
        assert f"<dt>{key}</dt><dd>{text}</dd>" in page
    assert "<h1>Warenschau</h1>" in page
    header = json.loads(roll_command("export", record, "--format", "json").stdout)["header"]
    assert (header["customer"], header["shift"], header["title"]) == ("A < B = C", "3", "Warenschau")
    assert "customer A < B = C" in roll_command("show", record).stdout


def test_a_roll_that_goes_on_keeps_its_head(tmp_path):
    write_roll(tmp_path / "r.db", header={"mill": "Example Mill", "shift": "1"}, metres=1)
    write_roll(tmp_path / "r.db", header={"shift": "2"}, metres=1)
    assert read_roll(tmp_path / "r.db", None).header == {"mill": "Example Mill", "shift": "2"}


def test_a_head_that_cannot_be_kept_stands_on_the_paper_all_the_same(tmp_path):
    record = write_roll(tmp_path / "r.db", metres=1)
    with closing(sqlite3.connect(record, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = roll_command("report", record, "--out", tmp_path / "r.html", "--roll-header", "mill=M")
        other.execute("ROLLBACK")
    assert done.code == 0
    assert "not kept with the roll" in done.stderr
    assert "<dt>Mill</dt><dd>M</dd>" in (tmp_path / "r.html").read_text()


def test_a_record_of_before_has_no_head_and_takes_one(tmp_path):
    record = write_roll(tmp_path / "r.db", metres=1)
    with closing(sqlite3.connect(record)) as db:
        db.execute("DROP TABLE headers")
        db.commit()
    assert read_roll(record, None).header == {}
    done = roll_command("report", record, "--out", tmp_path / "r.html", "--roll-header", "mill=M")
    assert done.code == 0, done.stderr
    assert read_roll(record, None).header == {"mill": "M"}


def test_a_buyer_reads_no_ids_and_no_decisions_to_stop(tmp_path):
    record = write_roll(tmp_path / "r.db", events=[RecordedEvent("would-be stop", STOP)], article="twill")
    page = report_page(read_roll(record, None))
    buyers, technical = page.split('<section class="appendix">')
    assert not re.search("[0-9a-f]{32}", re.sub('data:image[^"]+', "", buyers))
    assert "stop" not in re.sub("<style>.*</style>", "", buyers, flags=re.DOTALL)
    assert "UTC" not in report_page(read_roll(record, None), zone=BERLIN_SUMMER)
    assert STOP in technical
    assert len(re.findall("[0-9a-f]{32}", technical)) >= 5
    assert "5000" in technical  # lines that were lost


def test_times_are_local_and_say_their_zone(tmp_path):
    moment = local_from_utc("2026-07-01T22:30:05.123+00:00", BERLIN_SUMMER)
    assert shown_time(moment) == "2026-07-02 00:30:05 CEST"
    assert shown_time(local_from_utc("2026-07-01T22:30:05+00:00", timezone(timedelta(hours=-3)))) == (
        "2026-07-01 19:30:05 UTC-03:00"
    )
    assert [shown_time(local_from_utc(text)) for text in (None, "", "yesterday")] == ["", "", ""]
    assert local_from_utc("9999-12-31T23:59:59+00:00", BERLIN_SUMMER) is None
    record = write_roll(tmp_path / "r.db", metres=1, defects=[spot(0.1)])
    document = json.loads(as_json(document_of(read_roll(record, None), zone=BERLIN_SUMMER)))
    times = (document["started"], document["ended"], document["made"], document["defects"][0]["time"])
    assert all(text.endswith("+02:00") for text in times)


def test_every_defect_has_its_image(tmp_path):
    defects = [spot(at / 100) for at in range(70)]
    image = write_image(tmp_path / "p.png")
    record = write_roll(tmp_path / "r.db", metres=1, defects=with_box(defects), image_file=image)
    page = report_page(read_roll(record, None))
    assert page.count("data:image/jpeg") == 70
    assert "No images were kept" not in page


def test_a_report_without_images_says_how_to_keep_them(tmp_path):
    page = report_page(read_roll(write_roll(tmp_path / "r.db"), None))
    assert "keeps a small one of each defect in its --roll-record" in page


def with_box(defects):
    return [replace(one, seen=Sighting(3, (10.0, 10.0, 30.0, 30.0))) for one in defects]


def test_a_thin_defect_is_not_shrunk_away(tmp_path):
    cloth = np.full((200, 6000), 120, np.uint8)
    cloth[97:104] = 10
    shown = cv2.imdecode(
        np.frombuffer(jpeg_around(cloth, (0, 97, 6000, 104)), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    dark = (shown[:, shown.shape[1] // 2] < 65).sum()
    assert max(shown.shape) <= 480
    assert dark >= 6


def test_defects_are_added_up_by_class_with_the_colour_of_the_class(tmp_path):
    record = write_roll(tmp_path / "r.db", defects=[spot(1.0), spot(2.0), spot(3.0, "broken", 300.0)])
    roll = read_roll(record, None)
    kinds = document_of(roll).kinds
    assert [(one.class_name, one.defects, one.points) for one in kinds] == [
        ("broken", 1, 4),
        ("drop", 2, 2),
    ]
    page = report_page(roll)
    assert page.count(f'fill="{class_colour("broken").hex}"') == 1
    assert page.count(f'fill="{class_colour("drop").hex}"') == 2


@pytest.mark.parametrize(("number", "text"), [(0, "0 defects"), (1, "1 defect"), (2, "2 defects")])
def test_one_and_several(number, text):
    assert counted(number, "defect") == text
    assert counted(number, "class", "classes") == ("1 class" if number == 1 else f"{number} classes")
    assert of_all(0, number, "box") == ("0 of 1 box" if number == 1 else f"0 of {number} boxes")


def test_one_defect_and_one_stretch_are_said_as_one(tmp_path):
    record = write_roll(tmp_path / "r.db", metres=30, defects=[spot(0.1)])
    with closing(sqlite3.connect(record)) as db:
        (one,) = db.execute("SELECT event_id FROM defects").fetchone()
        roll_id = db.execute("SELECT roll_id FROM rolls").fetchone()[0]
        db.execute("INSERT INTO reviews VALUES ('r', ?, ?, 'confirmed', '2026')", (one, roll_id))
        db.commit()
    page = report_page(read_roll(record, None), PieceRequest(4, 40))
    assert "People confirmed 1 of 1 defect." in page
    assert "1 stretch of the roll, hatched" in page
    assert ", 1 point</figcaption>" not in page  # no image was kept
    assert not re.search(r"\b1 (defects|stretches|pieces|points|rows)\b", page)


def test_list_and_show_cut_nothing(tmp_path):
    name, article = "roll-" + "x" * 150, "twill-" + "y" * 150
    record = write_roll(tmp_path / "r.db", name, metres=1, article=article, defects=[])
    for command in ("list", "show"):
        shown = roll_command(command, record).stdout
        assert "…" not in shown
        letters = re.sub(r"[^xy]", "", shown)
        assert (letters.count("x") >= 150, letters.count("y") >= 150) == (True, True)


def one_frame(defects_px):
    """A frame with dark places, and the detections and defects of them."""
    image = np.full((300, 2000), 130, np.uint8)
    records, defects = [], []
    for number, (left, top, right, bottom) in enumerate(defects_px):
        image[top:bottom, left:right] = 10
        box = (left + 0.04, top - 0.04 if top else -20.0, float(right), float(bottom))
        rounded = [round(max(0.0, side), 1) for side in box]
        records.append({"label": "drop", "score": 0.9 - number / 100, "box_xyxy_px": rounded})
        defects.append(replace(spot(0.1 + number / 10), seen=Sighting(7, box)))
    return Frame(7, image, 0.0, "x", FramePosition(0.0, 1.0, 1.0)), records, defects


def test_a_roll_has_an_image_of_each_defect_without_being_asked(tmp_path):
    frame, records, defects = one_frame([(100, 100, 140, 130), (1500, 0, 1510, 30)])  # one goes on above
    small_images = SmallImages()
    with small_images:
        small_images.write(frame, records)
        record = write_roll(tmp_path / "r.db", metres=1, defects=defects, small_image_of=small_images.of)
    done = roll_command("report", record, "--out", tmp_path / "r.html")
    assert done.code == 0, done.stderr
    page = (tmp_path / "r.html").read_text()
    shown = [b64decode(data) for data in re.findall('data:image/jpeg;base64,([^"]+)"', page)]
    assert len(shown) == 2
    first, second = (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) for data in shown)
    assert (first < 50).sum() == pytest.approx(40 * 30, rel=0.1)
    assert (second < 50).sum() == pytest.approx(10 * 30, rel=0.3)
    assert "without an image" not in page


def test_a_damaged_image_in_the_record_is_left_out_and_said(tmp_path):
    frame, records, defects = one_frame([(100, 100, 140, 130), (1500, 50, 1510, 60)])
    small_images = SmallImages()
    small_images.write(frame, records)
    record = write_roll(tmp_path / "r.db", metres=1, defects=defects, small_image_of=small_images.of)
    with closing(sqlite3.connect(record)) as db:
        db.execute("UPDATE small_images SET jpeg = x'ffd800' WHERE rowid = 1")
        db.commit()
    assert roll_command("report", record, "--out", tmp_path / "r.html").code == 0
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/jpeg") == 1
    assert "1 defect without an image." in page


def test_beyond_the_most_that_a_record_keeps_the_oldest_small_image_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.roll.writing.MOST_SMALL_IMAGES_KEPT", 3)
    defects = [spot(number / 10) for number in range(5)]
    record = write_roll(
        tmp_path / "r.db", metres=1, defects=defects, small_image_of=lambda one: b"%.1f" % one.start_m
    )
    with closing(sqlite3.connect(record)) as db:
        kept = [data for (data,) in db.execute("SELECT jpeg FROM small_images ORDER BY rowid")]
        assert db.execute("SELECT count(*) FROM defects").fetchone() == (5,)
    assert kept == [b"0.2", b"0.3", b"0.4"]


def test_small_images_that_wait_are_bounded():
    frame, records, defects = one_frame([(10 + 20 * n, 100, 20 + 20 * n, 110) for n in range(40)])
    small_images = SmallImages()
    small_images.write(frame, records)
    assert sum(small_images.of(one) is not None for one in defects) == MOST_OF_A_FRAME
    for number in range(100):
        small_images.write(replace(frame, frame_id=100 + number), records)
    assert small_images.of(defects[0]) is None
    assert small_images.of(replace(defects[0], seen=Sighting(199, defects[0].seen.box_xyxy_px)))
    assert small_images.of(replace(defects[0], seen=None)) is None


def test_a_kind_that_is_known_stands_in_every_part_of_the_page(tmp_path):
    document = document_of(read_roll(write_roll(tmp_path / "r.db", defects=[spot(1.0), spot(2.0)]), None))
    assert "kind</th>" not in page_of(document, {})
    first, second = document.defects
    sums = document.kinds[0].model_copy(update={"kind": "oil stain", "defects": 1})
    named = document.model_copy(
        update={
            "defects": (first.model_copy(update={"kind": "oil stain"}), second),
            "kinds": (sums, sums.model_copy(update={"kind": None})),
        }
    )
    page = page_of(named, {1: b"\xff\xd8"})
    assert page.count('data-name="kind">oil stain</td>') == page.count('data-name="kind">unknown</td>') == 2
    assert "1: drop (oil stain), 1.000 m</b>" in page
    assert "<title>1: drop (oil stain), 1.000 m" in page
    assert [row["kind"] for row in csv.DictReader(io.StringIO(as_csv(named)))] == ["oil stain", ""]


@pytest.mark.parametrize("name", ["nonsense", "XXX+99:99"])
def test_a_zone_that_no_clock_has_is_utc(name, monkeypatch):
    monkeypatch.setenv("TZ", name)
    time.tzset()
    try:
        assert shown_time(local_from_utc("2026-11-30T17:00:00+00:00")) in ("", "2026-11-30 17:00:00 UTC")
        assert local(datetime(2026, 11, 30, 17, tzinfo=timezone.utc)).utcoffset() == timedelta(0)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "words", [["mill=\u202eevil"], ["mill=a\u2028b"], ["mill=a\x85b"], ["mill=a", "mill=b"]]
)
def test_a_head_that_reads_otherwise_than_it_is_written_is_refused(words):
    with pytest.raises(ConfigError, match="mill"):
        header_of(words)
