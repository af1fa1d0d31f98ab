"""Labels from a roll record: verdicts and names of the live page, through the recorder and the command."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from distill.commands.labels_cli import app
from distill.data.dataset import load_dataset
from distill.labels.formats.registry import read_labels
from distill.labels.formats.roll_record import scale_of
from edge.cameras.protocol import Frame, FramePosition
from edge.cloth.coverage import Coverage
from edge.cloth.defects import ClothDefect, Sighting
from edge.core.errors import DatasetError, LoomsightError
from edge.core.taxonomy import load_taxonomy
from edge.roll.reading import read_rolls
from edge.roll.recorder import RollRecorder
from edge.roll.reviews import Review, record_review
from edge.roll.values import RollHead

MM = 0.5
HEIGHT, WIDTH = 200, 320
FRAME_M = HEIGHT * MM / 1000


def defect(frame, box, label="unclassified", **changes):
    """Return a defect as one box of one frame says it."""
    x1, y1, x2, y2 = box
    along = frame * FRAME_M
    places = {
        "start_m": along + y1 * MM / 1000, "end_m": along + y2 * MM / 1000,
        "left_mm": x1 * MM, "right_mm": x2 * MM,
    }  # fmt: skip
    shape = "spot" if label == "unclassified" else None
    return ClothDefect(label, 0.8, **{**places, **changes}, seen=Sighting(frame, box), shape=shape)


def write_record(folder, defects, name="A17", frames=6):
    """Record a roll whose frame N has the image N.png; returns the ids in the order of the defects."""
    found = folder / name
    found.mkdir()
    coverage, head = Coverage(), RollHead("loom", "a" * 64, {"mm_per_px": MM}, name)
    noise = np.random.default_rng(len(name) + ord(name[-1]))
    with RollRecorder(
        folder / "rolls.db", head, lambda one: found / f"{one.seen.frame_id}.png"
    ) as recorder:
        for number in range(frames):
            image = noise.integers(0, 255, (HEIGHT, WIDTH), np.uint8)
            cv2.imwrite(str(found / f"{number}.png"), image)
            frame = Frame(number, image, 0.0, "loom", FramePosition(number * FRAME_M, MM, MM))
            coverage.passed(frame, np.ones(HEIGHT, bool))
        recorder.add(defects, coverage, WIDTH * MM)
        recorder.finish(coverage, WIDTH * MM, "finished")
    roll = next(roll for roll in read_rolls(folder / "rolls.db") if roll.name == name)
    ids = {(row.defect.start_m, row.defect.left_mm): row.event_id for row in roll.defects}
    return [ids[one.start_m, one.left_mm] for one in defects]


def say(folder, event_id, verdict, class_name=None):
    assert record_review(folder / "rolls.db", event_id, Review(verdict, class_name))


def labels_of(folder, **more):
    return read_labels(folder / "rolls.db", load_taxonomy(), **more)


def regions_of(label_set):
    return {
        image.file_name: [(r.label, r.review, r.box_xyxy_px) for r in image.regions]
        for image in label_set.images
    }


def test_a_name_is_a_box_a_rejected_defect_none_and_what_nobody_judged_waits(tmp_path):
    boxes = [(20.0, 30.0, 60.0, 50.5), (100.0, 10.0, 140.0, 60.0)]
    ids = write_record(
        tmp_path,
        [
            defect(0, boxes[0]), defect(0, boxes[1], "drop"), defect(2, boxes[0]),
            defect(3, boxes[0], "broken"), defect(4, boxes[0]), defect(5, boxes[1], "wrinkle"),
        ],
    )  # fmt: skip
    say(tmp_path, ids[0], "confirmed", "broken")
    say(tmp_path, ids[1], "rejected")
    say(tmp_path, ids[2], "rejected")
    say(tmp_path, ids[3], "confirmed")
    say(tmp_path, ids[4], "confirmed")  # a defect, says the person, and of which class does not
    read = labels_of(tmp_path)
    assert regions_of(read) == {
        "0.png": [("broken", "corrected", boxes[0])],
        "2.png": [],
        "3.png": [("broken", "accepted", boxes[0])],
        "4.png": [("unclassified", "queued", boxes[0])],
        "5.png": [("wrinkle", "queued", boxes[1])],
    }
    assert {image.group for image in read.images} == {"A17"}
    assert (read.mm_per_px, dict(read.problems)) == (MM, {})


def test_the_last_thing_said_holds(tmp_path):
    (one,) = write_record(tmp_path, [defect(1, (20.0, 30.0, 60.0, 50.0))])
    say(tmp_path, one, "confirmed", "broken")
    say(tmp_path, one, "undone")
    say(tmp_path, one, "confirmed", "drop")
    assert regions_of(labels_of(tmp_path))["1.png"][0][:2] == ("drop", "corrected")


def test_an_image_that_shows_part_of_a_defect_of_another_image_waits(tmp_path):
    own, weft = (20.0, 30.0, 60.0, 50.0), (200.0, 150.0, 220.0, 200.0)
    goes_on = defect(2, weft, "broken", end_m=3.3 * FRAME_M)  # to line 60 of image 3
    ids = write_record(tmp_path, [defect(3, own), goes_on])
    for one in ids:
        say(tmp_path, one, "confirmed", "broken")
    found = regions_of(labels_of(tmp_path))
    assert found["2.png"] == [("broken", "accepted", weft)]  # it leaves the image below
    assert found["3.png"][0] == ("broken", "corrected", own)
    label, review, box = found["3.png"][1]
    assert (label, review) == ("broken", "queued")
    assert box == pytest.approx((200, 0, 220, 60), abs=0.1)


def test_a_piece_in_the_middle_of_an_image_is_not_taken_for_its_whole_defect(tmp_path):
    piece = (100.0, 80.0, 140.0, 90.0)
    (one,) = write_record(tmp_path, [defect(1, piece, right_mm=120.0)])  # three such pieces, one report
    say(tmp_path, one, "confirmed", "broken")
    assert regions_of(labels_of(tmp_path)) == {"1.png": [("broken", "queued", piece)]}


def test_a_box_that_begins_on_the_lines_before_is_cut_at_its_image(tmp_path):
    (one,) = write_record(tmp_path, [defect(2, (20.0, -12.0, 60.0, 50.0), "broken")])
    say(tmp_path, one, "confirmed")
    assert regions_of(labels_of(tmp_path))["2.png"] == [("broken", "accepted", (20.0, 0.0, 60.0, 50.0))]


def test_images_that_were_moved_are_found_and_those_that_are_gone_are_named(tmp_path):
    write_record(tmp_path, [defect(0, (20.0, 30.0, 60.0, 50.0)), defect(1, (20.0, 30.0, 60.0, 50.0))])
    (tmp_path / "A17" / "1.png").unlink()
    (tmp_path / "A17").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="Nothing of"):
        convert(tmp_path, tmp_path / "out")
    read = labels_of(tmp_path, image_folder=tmp_path / "elsewhere")
    assert [image.file_name for image in read.images] == ["0.png"]
    ((file, problem),) = read.problems.items()
    assert file.endswith("A17/1.png")
    assert problem == "is not there. Name the folder of the images with --pictures."


def test_a_damaged_defect_leaves_the_images_of_its_roll_out_as_it_may_be_in_any_of_them(tmp_path):
    write_record(tmp_path, [defect(0, (20.0, 30.0, 60.0, 50.0)), defect(1, (20.0, 30.0, 60.0, 50.0))])
    write_record(tmp_path, [defect(1, (20.0, 30.0, 60.0, 50.0))], "B1")
    with closing(sqlite3.connect(tmp_path / "rolls.db")) as db:
        db.execute("UPDATE defects SET start_m = 'x' WHERE rowid = 1")
        db.commit()
    read = labels_of(tmp_path)
    assert [image.file_name for image in read.images] == ["B1/1.png"]
    assert [image.file_name for image in read.left_out] == ["A17/1.png"]
    assert "1 defects are damaged" in read.problems["rolls.db"]


def test_a_record_without_images_is_refused_with_the_cure(tmp_path):
    write_record(tmp_path, [])
    with pytest.raises(DatasetError, match=r"names no images.*--save-pictures"):
        labels_of(tmp_path)


@pytest.mark.parametrize("form", ["roll", None])
def test_a_database_that_is_no_record_is_one_line(tmp_path, form):
    with closing(sqlite3.connect(tmp_path / "rolls.db")) as db:
        db.execute("CREATE TABLE t (x)")
        db.commit()
    with pytest.raises(LoomsightError) as error:
        labels_of(tmp_path, format_name=form)
    assert error.value.exit_code == 41


def convert(folder, out, *more):
    done = CliRunner().invoke(app, ["convert", str(folder / "rolls.db"), "--out", str(out), *more])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def check(source, *more):
    done = CliRunner().invoke(app, ["check", str(source), *more])
    return (done.exception if done.exit_code else None), done.output


def record_of_two_rolls(folder):
    box, other = (20.0, 30.0, 60.0, 50.0), (200.0, 20.0, 240.0, 60.0)
    for name in ("A17", "B1"):
        found = [defect(0, box), defect(2, other), defect(3, other), defect(5, box)]
        ids = write_record(folder, found, name)
        say(folder, ids[0], "confirmed", "broken")
        say(folder, ids[1], "confirmed", "drop")
        say(folder, ids[2], "rejected")
    return box, other


@pytest.mark.parametrize("form", ["voc", "dataset", "coco", "cvat", "label-studio", "florence"])
def test_check_accepts_what_is_written_in_every_form(tmp_path, form):
    record_of_two_rolls(tmp_path)
    assert check(tmp_path / "rolls.db")[0] is None
    suffix = {"coco": ".json", "label-studio": ".json", "cvat": ".xml", "florence": ".jsonl"}
    out = tmp_path / f"labels{suffix.get(form, '')}"
    printed = convert(tmp_path, out, "--to", form, "--split", "train=0.5,val=0.5")
    assert "8 images, 2 without a defect, 4 boxes, 2 queued, train 4, val 4" in printed
    more = () if form == "dataset" else ("--pictures", str(tmp_path))
    error, output = check(out, *more)
    assert error is None, output
    again = read_labels(out, load_taxonomy(), image_folder=tmp_path)
    waiting = [r for image in again.images for r in image.regions if r.review == "queued"]
    assert [region.label for region in waiting] == ["unclassified"] * 2


def test_distill_trains_on_the_named_boxes_and_the_clean_image_and_not_on_what_waits(tmp_path):
    box, other = record_of_two_rolls(tmp_path)
    convert(tmp_path, tmp_path / "set", "--split", "train=0.5,val=0.5")
    dataset = load_dataset(tmp_path / "set", load_taxonomy())
    names = load_taxonomy().classes
    for split in (dataset.train, dataset.val):
        held = sorted(
            (names[class_id], tuple(np.round(fraction * (WIDTH, HEIGHT, WIDTH, HEIGHT), 3)))
            for image in split
            for class_id, fraction in zip(image.class_ids, image.boxes_xyxy_norm, strict=True)
        )
        assert held == [("broken", box), ("drop", other)]
        assert sorted(len(image.class_ids) for image in split) == [0, 1, 1]
    assert dataset.mm_per_px == MM


@pytest.mark.parametrize("stated", [10**400, float("inf"), float("nan"), -1, "wide", None])
def test_a_scale_that_no_camera_has_is_taken_from_the_lines(tmp_path, stated):
    write_record(tmp_path, [defect(0, (20.0, 30.0, 60.0, 50.5))])
    with closing(sqlite3.connect(tmp_path / "rolls.db")) as record, record:
        [(settings,)] = record.execute("SELECT settings FROM rolls").fetchall()
        changed = json.dumps({**json.loads(settings), "mm_per_px": stated})
        record.execute("UPDATE rolls SET settings = ?", (changed,))
    [roll] = read_rolls(tmp_path / "rolls.db")
    assert scale_of(roll) == MM
