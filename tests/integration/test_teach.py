"""`loomsight teach` and what a run makes of it, through the real commands, on small simulated cloth."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.commands.bundle_cli import app as bundle_app
from edge.commands.teach_cli import app
from edge.core.errors import ContractError, DatasetError, LoomsightError, ModelError, OutputError
from edge.reference.maps import CHANNELS
from edge.reference.watch import OTHER_STRIPS
from edge.teach.article_file import ARRAYS_NAME, FORM, MANIFEST_NAME, SHEET_NAME, open_article
from tests.conftest import write_bright_cell_bundle
from tests.processes import loomsight, program

CLOTH = (
    "weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=70,width_px=160,bed_left_mm=-20,bed_right_mm=-20"
)
CLEAN = f"loom:seed=3,defects_per_m=0,length_m=0.96,{CLOTH}"
SIDE_PX = 160


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector that sees bright cells alone: on this cloth it never reports anything."""
    return write_bright_cell_bundle(tmp_path_factory.mktemp("detector") / "bundle")


@pytest.fixture(scope="module")
def clean_images(tmp_path_factory):
    """Images of clean cloth, as a folder holds them."""
    folder = tmp_path_factory.mktemp("clean")
    for number, image in enumerate(images_of_cloth(12)):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def images_of_cloth(count, cloth=CLOTH):
    options = parse_loom_options(f"loom:seed=3,defects_per_m=0,lines_per_block={SIDE_PX},{cloth}")
    with LoomCamera(options) as camera:
        return [camera.read().image for _ in range(count)]


def arguments(detector, out, *more):
    return ["--article", "plain 5", "--model", str(detector), "--out", str(out), *map(str, more)]


def teach(detector, out, *more):
    """Teach in this process; an error is raised as it is."""
    done = CliRunner().invoke(app, arguments(detector, out, *more))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def run_on(camera, article, detector, out, *more):
    return loomsight(
        "edge-run",
        "--camera",
        camera,
        "--model",
        detector,
        "--reference",
        article,
        "--detections",
        out,
        *more,
    )


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def taught(detector, tmp_path_factory):
    """Teach by the command itself: what it printed, and the article file."""
    out = tmp_path_factory.mktemp("taught") / "article"
    done = loomsight("teach", *arguments(detector, out, "--camera", CLEAN, "--false-alarms-per-100m", 100))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_it_prints_the_metres_used_what_was_left_out_and_the_promise(taught):
    out, printed = taught
    assert "cloth      1.0 m, 0.03 m², 100 images" in printed
    assert "left out   nothing" in printed
    assert "promise    at most 100 false alarms per 100 m, from 1 m of clean cloth; " in printed
    assert "the cloth would support at most 27 false alarms per 100 m" in printed
    assert printed.splitlines()[-1] == f"written    {out}"


def test_the_article_file_holds_contract_arrays_and_sheet_and_is_verified(taught, detector):
    out, _ = taught
    assert {path.name for path in out.iterdir()} == {MANIFEST_NAME, FORM.seal_name, ARRAYS_NAME, SHEET_NAME}
    manifest = open_article(out).manifest
    assert (manifest.article, manifest.mm_per_px, manifest.width_px) == ("plain 5", 0.2, 160)
    assert set(manifest.levels) == set(CHANNELS)
    assert cv2.imread(str(out / SHEET_NAME)).shape[1] == 4 * 224
    done = CliRunner().invoke(bundle_app, ["verify", str(out)])
    assert (done.exit_code, "2 files whole, sealed" in done.output) == (0, True)


def test_cloth_between_selvedges_that_leave_56_px_of_it_is_taught(tmp_path):
    narrow = "loom:seed=2026,defects_per_m=0,length_m=1,width_px=256,bed_left_mm=2,bed_right_mm=2"
    words = ["--article", "narrow", "--camera", narrow, "--false-alarms-per-100m", "200"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert open_article(tmp_path / "out").manifest.article == "narrow"


def test_cloth_that_is_all_selvedge_is_one_line_that_says_how_near_to_it_nothing_is_judged(
    detector, tmp_path
):
    narrow = CLEAN.replace("160,bed_left_mm=-20,bed_right_mm=-20", "200,bed_left_mm=2,bed_right_mm=2")
    with pytest.raises(DatasetError, match=r"Within selvedge_margin_mm of .*, and 40 px more, nothing"):
        teach(detector, tmp_path / "out", "--camera", narrow, "--false-alarms-per-100m", 200)


def test_control_characters_in_the_name_of_an_article_do_not_reach_the_terminal(detector, tmp_path):
    out = tmp_path / "article"
    short = CLEAN.replace("length_m=0.96", "length_m=0.4")
    flags = ["--article", "twill\x9b2J", "--model", detector, "--out", out, "--camera", short]
    taught = loomsight("teach", *flags, "--false-alarms-per-100m", 100)
    shown = loomsight("bundle", "verify", out)
    assert (taught.returncode, shown.returncode) == (0, 0)
    assert "article    twill\\x9b2J" in taught.stdout
    assert "article 'twill\\x9b2J'" in shown.stdout


def test_the_same_cloth_teaches_the_same_to_the_bit(taught, detector, tmp_path):
    out, _ = taught
    teach(detector, tmp_path / "again", "--camera", CLEAN, "--false-alarms-per-100m", 100)
    again, first = (open_article(path).manifest for path in (tmp_path / "again", out))
    assert (again.levels, again.files, again.places) == (first.levels, first.files, first.places)


def test_a_promise_that_the_cloth_cannot_carry_is_one_line_with_the_missing_metres(detector, tmp_path):
    with pytest.raises(DatasetError, match=r"^1 m of clean cloth cannot .* 24 m more are missing"):
        teach(detector, tmp_path / "a", "--camera", CLEAN, "--false-alarms-per-100m", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_the_article_reports_what_no_detector_names_with_its_shape(
    taught_on_images, detector, tmp_path
):
    with_article = tmp_path / "with.jsonl"
    folder = tmp_path / "cloth"
    folder.mkdir()
    for number, image in enumerate(images_of_cloth(4)):
        if number == 2:
            cv2.circle(image, (75, 75), 9, 12, -1)  # a hole
        cv2.imwrite(str(folder / f"{number}.png"), image)
    done = run_on(folder, taught_on_images, detector, with_article)
    assert done.returncode == 0, done.stderr
    record = max(lines_of(with_article)[2]["detections"], key=lambda one: one["score"])
    assert record["label"] == "unclassified"
    assert record["shape"] in ("spot", "area")
    assert record["score"] > 0.6
    left, top, right, bottom = record["box_xyxy_px"]
    assert min(right, 84) - max(left, 66) >= 12
    assert min(bottom, 84) - max(top, 66) >= 12
    without = tmp_path / "without.jsonl"
    loomsight("edge-run", "--camera", folder, "--model", detector, "--detections", without)
    assert [record for line in lines_of(without) for record in line["detections"]] == []


def test_a_table_of_the_article_names_its_file_and_holds_for_the_run(taught, detector, tmp_path):
    settings = tmp_path / "s.toml"
    settings.write_text(f'[articles."plain 5"]\nreference = "{taught[0]}"\nmodel = "{detector}"\n')
    done = loomsight(
        "edge-run", "--config", settings, "--article", "plain 5", "--camera", CLEAN, "--frames", 2
    )
    assert done.returncode == 0, done.stderr
    assert "at most 100 false alarms per 100 m, from 1 m of clean cloth" in done.stderr


@pytest.mark.parametrize("name", [MANIFEST_NAME, FORM.seal_name, ARRAYS_NAME, SHEET_NAME])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_article_file_is_one_line_and_code_30(taught, tmp_path, name, damage):
    copy = shutil.copytree(taught[0], tmp_path / "copy")
    data = bytearray((copy / name).read_bytes())
    if damage == "gone":
        (copy / name).unlink()
    else:
        middle = len(data) // 2
        data[middle] ^= 0x10
        (copy / name).write_bytes(data if damage == "flip" else data[:middle])
    with pytest.raises(LoomsightError) as error:
        open_article(copy)
    assert error.value.exit_code in (30, 31)


def test_another_detector_or_scale_is_refused_before_anything_is_reported(taught, detector, tmp_path):
    other = tmp_path / "d.jsonl"
    demo = loomsight("edge-run", "--camera", CLEAN, "--reference", taught[0], "--detections", other)
    assert demo.returncode == ContractError.exit_code
    assert "was taught with another detector" in demo.stderr.splitlines()[-1]
    coarser = run_on(CLEAN.replace("seed=3", "seed=3,mm_per_px=0.25"), taught[0], detector, other)
    assert coarser.returncode == ContractError.exit_code
    assert "was taught at 0.2 mm per pixel, and this camera shows 0.25" in coarser.stderr


WIDER = CLEAN.replace("width_px=160", "width_px=240").replace("length_m=0.96", "length_m=0.2")


def test_wider_cloth_is_refused_as_the_promise_would_not_hold_and_narrower_cloth_is_taken(
    taught, detector, tmp_path
):
    wider = run_on(WIDER, taught[0], detector, tmp_path / "d.jsonl")
    assert wider.returncode == ContractError.exit_code
    assert wider.stderr.splitlines()[-1].startswith(
        "error: Article 'plain 5' was taught on images 160 px wide, and this camera's are 240: wider cloth "
        "has more false alarms than were promised. Teach the article again with this camera"
    )
    narrower = WIDER.replace("width_px=240", "width_px=140")
    taken = run_on(narrower, taught[0], detector, tmp_path / "d.jsonl", "--frames", 4)
    assert taken.returncode == 0, taken.stderr
    assert "160 px wide, and this camera's are 140: its promise is kept" in taken.stderr


def test_a_promise_per_square_metre_is_kept_on_wider_cloth(detector, tmp_path):
    teach(detector, tmp_path / "a", "--camera", CLEAN, "--false-alarms-per-m2", 100)
    done = run_on(WIDER, tmp_path / "a", detector, tmp_path / "d.jsonl", "--frames", 4)
    assert done.returncode == 0, done.stderr


def test_another_width_of_no_known_scale_is_refused(taught_on_images, detector, tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    for number, image in enumerate(images_of_cloth(2)):
        cv2.imwrite(str(folder / f"{number}.png"), image[:, :100])
    done = run_on(folder, taught_on_images, detector, tmp_path / "d.jsonl")
    assert done.returncode == ContractError.exit_code
    assert "160 px wide of no known scale, and this camera's are 100" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def taught_on_images(clean_images, detector, tmp_path_factory):
    out = tmp_path_factory.mktemp("on_images") / "article"
    teach(detector, out, "--camera", clean_images, "--false-alarms-per-image", 0.1)
    return out


def test_cloth_that_is_not_the_article_is_an_event_with_its_cure(taught_on_images, detector, tmp_path):
    other = CLOTH.replace("weave=plain", "weave=satin").replace("pitch_px=5", "pitch_px=8")
    record, folder = tmp_path / "r.db", tmp_path / "other"
    folder.mkdir()
    for number, image in enumerate(images_of_cloth(OTHER_STRIPS + 4, cloth=other)):
        cv2.imwrite(str(folder / f"{number:02d}.png"), image)
    done = run_on(folder, taught_on_images, detector, tmp_path / "d.jsonl", "--roll-record", record)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(record)) as db:
        rows = db.execute("SELECT detail FROM events WHERE kind = 'other article'").fetchall()
    ((detail,),) = rows
    assert detail.startswith("the cloth looks unlike article 'plain 5': ")
    assert "teach it again" in detail


def test_the_article_itself_is_no_event(taught, detector, tmp_path):
    done = run_on(CLEAN, taught[0], detector, tmp_path / "d.jsonl", "--frames", 40)
    assert done.returncode == 0, done.stderr
    assert "unlike" not in done.stderr


def test_images_without_anything_to_see_are_left_out_and_counted(detector, clean_images, tmp_path):
    folder = shutil.copytree(clean_images, tmp_path / "cloth")
    for name, grey in (("a", 0), ("b", 255), ("c", 120)):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((SIDE_PX, SIDE_PX), grey, np.uint8))
    (folder / "d.png").write_bytes(b"no image")
    printed = teach(
        detector, tmp_path / "a", "--camera", folder, "--cloth", "all", "--false-alarms-per-image", 0.2
    )
    line = next(line for line in printed.splitlines() if line.startswith("left out"))
    assert sorted(line.removeprefix("left out   ").split(", ")) == [
        "1 black",
        "1 blank",
        "1 cannot be read",
        "1 saturated",
    ]
    assert "cloth      12 images" in printed


@pytest.mark.parametrize("grey", [0, 128, 255], ids=["black", "blank", "saturated"])
def test_a_folder_of_nothing_is_one_line(detector, tmp_path, grey):
    folder = tmp_path / "nothing"
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((SIDE_PX, SIDE_PX), grey, np.uint8))
    with pytest.raises(DatasetError, match=r"no clean cloth|too little clean cloth"):
        teach(detector, tmp_path / "a", "--camera", folder, "--false-alarms-per-image", 1)
    assert not (tmp_path / "a").exists()


def test_a_defect_in_the_clean_cloth_stands_first_on_the_sheet_and_is_left_out_when_struck(
    detector, tmp_path
):
    folder = tmp_path / "cloth"
    folder.mkdir()
    for number, image in enumerate(images_of_cloth(40)):
        if number == 7:
            cv2.circle(image, (55, 85), 9, 12, -1)  # a hole
        cv2.imwrite(str(folder / f"{number:02d}.png"), image)
    out = tmp_path / "a"
    printed = teach(detector, out, "--camera", folder, "--false-alarms-per-image", 0.1)
    first = open_article(out).manifest
    assert (first.places[0].source, first.places[0].number) == ("07.png", 1)
    assert "place stands far out of the rest" in printed
    printed = teach(detector, out, "--camera", folder, "--false-alarms-per-image", 0.1, "--leave-out", 1)
    second = open_article(out).manifest
    assert "1 place struck out" in printed
    assert second.struck_out == (first.places[0],)
    assert second.places[0].source != "07.png"
    assert second.levels["spot"] < first.levels["spot"]


def test_defects_in_a_twentieth_of_the_cloth_stand_on_the_sheet_and_the_promise_holds(detector, tmp_path):
    asked = 0.1
    folder, judged = tmp_path / "cloth", tmp_path / "judged"
    folder.mkdir()
    judged.mkdir()
    places = np.random.default_rng(1).integers(10, SIDE_PX - 70, (100, 2))
    bad = set()
    for number, image in enumerate(images_of_cloth(100)):
        name = f"{number:03d}.png"
        if number < 60 and number % 4 == 3:  # holes in 15 of 60 images: a twentieth of what they show
            x, y = places[number]
            image = image.copy()
            image[y : y + 60, x : x + 85] = image[y : y + 60, x : x + 85] // 3
            bad.add(name)
        cv2.imwrite(str((folder if number < 60 else judged) / name), image)
    assert len(bad) * 60 * 85 / (60 * SIDE_PX**2) == pytest.approx(0.05, abs=0.001)
    out = tmp_path / "a"
    printed = teach(detector, out, "--camera", folder, "--false-alarms-per-image", asked)
    with_defects = open_article(out).manifest
    assert {
        place.source for place in with_defects.places if place.number <= len(bad)
    } == bad  # before any clean place
    assert f"{len(bad)} places stand far out of the rest" in printed
    assert "the cloth has" not in printed
    assert false_alarms(judged, out, detector, tmp_path) <= asked * 40
    numbers = range(1, len(bad) + 1)
    teach(detector, out, "--camera", folder, "--false-alarms-per-image", asked, "--leave-out", *numbers)
    assert open_article(out).manifest.levels["spot"] < 0.8 * with_defects.levels["spot"]
    assert false_alarms(judged, out, detector, tmp_path) <= 12  # 4 asked: of chance once in 3,600


def false_alarms(folder, article, detector, tmp_path):
    """Count what a run reports on clean cloth."""
    done = run_on(folder, article, detector, tmp_path / "d.jsonl")
    assert done.returncode == 0, done.stderr
    return sum(len(line["detections"]) for line in lines_of(tmp_path / "d.jsonl"))


STRIPED = "weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=110,width_px=512"


@pytest.mark.parametrize("axis", [0, 1], ids=["along the weft", "along the warp"])
def test_a_striped_article_is_one_line_that_says_what_follows(detector, tmp_path, axis, request):
    folder = tmp_path / "cloth"
    folder.mkdir()
    roll = np.concatenate(images_of_cloth(12, cloth=STRIPED + ",bed_left_mm=-20,bed_right_mm=-20"))
    bands = np.arange(roll.shape[axis]) // 150 % 2  # 300 px from stripe to stripe: longer than an image
    dark = 1 - 0.15 * (bands[:, None] if axis == 0 else bands[None, :])
    for number, image in enumerate(np.split((roll * dark).astype(np.uint8), 12)):
        cv2.imwrite(str(folder / f"{number:02d}.png"), image)
    printed = teach(detector, tmp_path / "a", "--camera", folder, "--false-alarms-per-image", 0.2)
    (line,) = [line for line in printed.splitlines() if "the cloth has" in line]
    assert line.startswith(
        f"warning    the cloth has stripes {request.node.callspec.id}: its brightness varies"
    )
    assert "weak defects are missed here" in line


def test_cloth_without_stripes_says_nothing_of_them(taught, detector, tmp_path):
    assert "the cloth has" not in taught[1]
    folder = tmp_path / "cloth"
    folder.mkdir()
    for number, image in enumerate(
        images_of_cloth(12, cloth=STRIPED + ",bed_left_mm=-20,bed_right_mm=-20")
    ):
        lamp = 1 - 0.4 * np.linspace(-1, 1, image.shape[1]) ** 2  # a lamp that falls off to the sides
        cv2.imwrite(str(folder / f"{number:02d}.png"), (image * lamp).astype(np.uint8))
    printed = teach(detector, tmp_path / "a", "--camera", folder, "--false-alarms-per-image", 0.2)
    assert "the cloth has" not in printed


def test_numbers_without_leave_out_are_refused_and_several_are_taken(taught, detector, tmp_path):
    wanted = ["--camera", CLEAN, "--false-alarms-per-100m", 100]
    with pytest.raises(LoomsightError, match="Nothing says what 5 is for"):
        teach(detector, tmp_path / "a", *wanted, 5)
    out = shutil.copytree(taught[0], tmp_path / "b")
    assert "2 places struck out" in teach(detector, out, *wanted, "--leave-out", 3, 5)


def test_a_number_that_is_not_on_the_sheet_is_refused(taught, detector):
    out, _ = taught
    before = (out / MANIFEST_NAME).read_bytes()
    with pytest.raises(LoomsightError, match="has no place 99"):
        teach(detector, out, "--camera", CLEAN, "--false-alarms-per-100m", 100, "--leave-out", 99)
    assert (out / MANIFEST_NAME).read_bytes() == before


@pytest.mark.parametrize(
    "promise",
    [
        [],
        ["--false-alarms-per-100m", 1, "--false-alarms-per-image", 1],
        ["--false-alarms-per-100m", 0],
        ["--false-alarms-per-100m", -3],
        ["--false-alarms-per-m2", "nan"],
    ],
    ids=["none", "two", "zero", "negative", "no number"],
)
def test_one_promise_is_needed(detector, tmp_path, promise):
    with pytest.raises(LoomsightError, match="promise"):
        teach(detector, tmp_path / "a", "--camera", CLEAN, *promise)


def test_metres_need_a_scale(detector, clean_images, tmp_path):
    with pytest.raises(LoomsightError, match="knows no position, so false alarms cannot be counted"):
        teach(detector, tmp_path / "a", "--camera", clean_images, "--false-alarms-per-100m", 100)


def test_something_else_at_out_is_not_replaced(detector, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        with pytest.raises(OutputError):
            teach(detector, tmp_path / "a", "--camera", CLEAN, "--false-alarms-per-100m", 100, *more)
    assert (tmp_path / "a" / "thesis.txt").read_text() == "mine"


def test_an_older_article_file_is_replaced_whole_when_asked(taught, detector, clean_images, tmp_path):
    out = shutil.copytree(taught[0], tmp_path / "a")
    teach(detector, out, "--camera", clean_images, "--false-alarms-per-image", 0.5, "--overwrite")
    assert open_article(out).manifest.promise.per == "image"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_ctrl_c_leaves_nothing_behind_and_ends_with_130(detector, tmp_path):
    out = tmp_path / "a"
    endless = f"loom:seed=3,defects_per_m=0,{CLOTH}"
    more = arguments(detector, out, "--camera", endless, "--metres", 1e6, "--false-alarms-per-100m", 1)
    with subprocess.Popen(program("teach", *more), stderr=subprocess.PIPE, text=True) as process:
        while "model" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_is_one_line_and_code_40(detector, tmp_path):
    limit = 300_000
    done = loomsight(
        "teach",
        *arguments(detector, tmp_path / "a", "--camera", CLEAN, "--false-alarms-per-100m", 100),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == OutputError.exit_code, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: Cannot keep the clean cloth in ")
    assert list(tmp_path.iterdir()) == []


def test_an_article_of_other_features_is_refused(taught, tmp_path):
    from edge.bundle.opening import file_digest
    from edge.teach.arrays import read_arrays, write_arrays
    from edge.teach.opening import verified_text

    copy = shutil.copytree(taught[0], tmp_path / "copy")
    arrays = read_arrays(copy / ARRAYS_NAME)
    write_arrays(copy / ARRAYS_NAME, {**arrays, "trunk_digest": np.array("0" * 64)})
    manifest = json.loads((copy / MANIFEST_NAME).read_text())
    manifest["files"][ARRAYS_NAME] = file_digest(copy / ARRAYS_NAME)
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
    (copy / FORM.seal_name).write_text(f"{file_digest(copy / MANIFEST_NAME)}  {MANIFEST_NAME}\n")
    with pytest.raises(ModelError, match="other features"):
        verified_text(copy)
