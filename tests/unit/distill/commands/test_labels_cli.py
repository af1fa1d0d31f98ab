from __future__ import annotations

import json

import pytest

from distill.commands import distill_cli
from distill.commands import labels_cli as cli
from distill.data.dataset import load_dataset
from distill.labels.formats import voc
from distill.labels.formats.registry import FORMATS, READERS
from distill.labels.sets.annotations import AnnotatedImage, LabelSet
from distill.labels.sets.split import SPLITS
from edge.core.errors import CheckpointError, DatasetError, LoomsightError
from tests.unit.distill.labels.label_sets import CLASSES, region, write_image
from tests.unit.distill.tiny import write_tiny_dataset

COUNT = 12


@pytest.fixture
def mill(tmp_path):
    """Write a mill's folder: images of twelve strips, LabelImg's files, and a folder of clean ones."""
    for number in range(COUNT):
        write_image(tmp_path / "images" / f"{number:02d} (1).png", (40, 90), number)
        write_image(tmp_path / "clean" / f"{number:02d}_clean.png", (40, 90), 100 + number)
    images = tuple(
        AnnotatedImage(f"{number:02d} (1).png", (40, 90), (region(CLASSES[number % 3]),))
        for number in range(COUNT)
    )
    voc.write(LabelSet(tmp_path / "images", CLASSES, images), tmp_path / "voc")
    return tmp_path


def labels(capsys, *arguments):
    """Run the command; return (exit code, stdout, stderr) as a person sees them."""
    try:
        cli.app([str(argument) for argument in arguments], standalone_mode=False)
    except LoomsightError as error:
        printed = capsys.readouterr()
        return error.exit_code, printed.out, printed.err + f"error: {error}"
    printed = capsys.readouterr()
    return 0, printed.out, printed.err


GROUP = ("--group", "^(?P<group>[0-9]+)")


def test_every_form_that_is_read_is_written_but_what_devices_record():
    assert set(READERS) - set(FORMATS) == {"office", "roll"}
    assert [form.value for form in cli.Form] == list(FORMATS)


def test_what_a_training_would_have_too_little_of_is_said_before_it(mill, capsys):
    code, out, err = labels(capsys, "check", mill / "voc", "--pictures", mill / "images")
    assert (code, out[:3]) == (0, "ok:")
    assert "note: drop: 4 boxes; a threshold of its own needs 10: label more" in err
    assert "note: no image without a defect: false positives on clean cloth are not known" in err
    assert "note: the scale is not known" in err


def test_one_line_from_labelimg_to_a_data_set(mill, capsys):
    code, out, err = labels(
        capsys, "convert", mill / "voc", "--out", mill / "data", *GROUP, "--clean", mill / "clean",
        "--split", "train=0.6,val=0.2,test=0.2", "--mm-per-px", 0.2,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "24 images, 12 without a defect, 12 boxes" in out
    data = load_dataset(mill / "data", CLASSES)
    assert data.mm_per_px == 0.2
    assert len(data.train) + len(data.val) < 24
    strips = {
        split: {path.name[:2] for path in (mill / "data" / "images" / split).rglob("*.png")}
        for split in SPLITS
    }
    assert not strips["train"] & strips["val"] | strips["train"] & strips["test"]
    assert labels(capsys, "check", mill / "data")[0] == 0


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_can_be_written_and_checked(mill, capsys, form):
    out = mill / f"labels{FORMATS[form].suffix}"
    split = ("--split", "train=0.8,val=0.2")
    code, _, err = labels(capsys, "convert", mill / "voc", "--to", form, "--out", out, *GROUP, *split)
    assert (code, err) == (0, "")
    code, printed, err = labels(capsys, "check", out, "--pictures", mill / "images")
    assert code == 0, printed
    assert all(line.startswith("note: ") for line in err.splitlines())
    assert "12 images" in printed


def test_split_and_flip(mill, capsys):
    assert labels(capsys, "split", mill / "voc", "--out", mill / "data", *GROUP)[0] == 0
    code, _, _ = labels(capsys, "flip", mill / "data", "--out", mill / "flipped", "--vertical")
    assert code == 0
    assert len(list((mill / "flipped/images/train").iterdir())) == 3 * len(
        list((mill / "data/images/train").iterdir())
    )
    assert labels(capsys, "check", mill / "flipped")[0] == 0


def test_findings_are_a_table_and_an_exit_code(mill, capsys):
    (mill / "voc" / "00 (1).xml").write_text("<annotation>")
    (mill / "images" / "01 (1).png").write_bytes(b"")
    code, out, err = labels(capsys, "check", mill / "voc")
    assert code == 50
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        "finding",
        "not read",
        "unreadable image",
    ]
    assert "2 findings" in err
    code, out, _ = labels(capsys, "check", mill / "voc", "--json", "--labels-only")
    assert [finding["file"] for finding in json.loads(out)] == ["00 (1).xml"]


def test_a_bad_file_does_not_stop_a_conversion(mill, capsys):
    (mill / "voc" / "00 (1).xml").write_text("<annotation>")
    code, out, err = labels(capsys, "convert", mill / "voc", "--to", "coco", "--out", mill / "labels.json")
    assert code == 0
    assert err.startswith("warning: 00 (1).xml: ")
    assert "11 images" in out


def test_stats(mill, capsys):
    code, out, _ = labels(capsys, "stats", mill / "voc", "--mm-per-px", 0.5)
    assert code == 0
    assert "height p50 mm" in out
    assert json.loads(labels(capsys, "stats", mill / "voc", "--json")[1])["boxes"]["drop"] == {
        "not split": 4
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["convert", "voc", "--out", "x"], 50, "has no group", id="no-group"),
        pytest.param(["convert", "gone", "--out", "x"], 50, "There is no", id="no-source"),
        pytest.param(["convert", "images", "--out", "x"], 50, "known form", id="no-labels"),
        pytest.param(["convert", "voc", "--out", "images", *GROUP], 40, "not empty", id="not-empty"),
        pytest.param(["convert", "voc", "--out", "x", "--group", "["], 10, "regular", id="expression"),
        pytest.param(["convert", "voc", "--out", "x", "--mm-per-px", "0"], 10, "above 0", id="scale"),
        pytest.param(["convert", "voc", "--out", "x", "--seed", "-1"], 10, "seed", id="seed"),
        pytest.param(["convert", "voc", "--out", "x", "--pictures", "gone"], 10, "folder", id="images"),
        pytest.param(["convert", "voc", "--out", "x", "--clean", "voc"], 50, "no images", id="clean"),
        pytest.param(["convert", "voc", "--out", "x", "--from", "coco"], 50, "is a folder", id="form"),
        pytest.param(["flip", "voc", "--out", "x"], 50, "no split", id="flip-before-split"),
        pytest.param(["flip", "voc", "--out", "x", "--no-horizontal"], 10, "direction", id="no-direction"),
    ],
)
def test_mistakes_are_one_line(mill, capsys, monkeypatch, arguments, code, said):
    monkeypatch.chdir(mill)
    found, _, err = labels(capsys, *arguments)
    assert found == code
    assert said in err
    assert not (mill / "x").exists()
    assert not [path for path in mill.iterdir() if path.name.startswith(".")]


def test_nothing_to_use_is_an_error(mill, capsys):
    (mill / "bad").mkdir()
    (mill / "bad" / "a.xml").write_text("<a")
    code, _, err = labels(capsys, "stats", mill / "bad")
    assert code == 50
    assert "Nothing of" in err


def as_gbk(folder):
    text = "# 布匹\npath: .\ntrain: images/train\nval: images/val\nnames: [wrinkle, drop, broken]\n"
    (folder / "data.yaml").write_bytes(text.encode("gbk"))


def with_byte_order_marks(folder):
    for file in folder.glob("labels/*/*.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())


def with_an_outline(folder):
    (folder / "labels/train/000.txt").write_text("0 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6\n")


def with_capitals(folder):
    (folder / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [Wrinkle, DROP, broken end]\n"
    )


def without_val(folder):
    (folder / "data.yaml").write_text("train: images/train\nnames: [wrinkle, drop, broken]\n")


def without_a_defect(folder):
    for file in folder.glob("labels/train/*.txt"):
        file.write_text("")


def with_a_damaged_row(folder):
    (folder / "labels/train/000.txt").write_text("0 0.4 0.4 0.6\n")


def with_a_damaged_image(folder):
    (folder / "images/train/000.png").write_bytes(b"no image")


def with_a_class_of_no_taxonomy(folder):
    (folder / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [wrinkle, moth, broken]\n"
    )


@pytest.mark.parametrize(
    ("change", "is_ok"),
    [
        (as_gbk, True), (with_byte_order_marks, True), (with_an_outline, True), (with_capitals, True),
        (without_val, False), (without_a_defect, False), (with_a_damaged_row, False),
        (with_a_damaged_image, False), (with_a_class_of_no_taxonomy, False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_check_says_ok_where_distill_takes_a_data_set_and_only_there(tmp_path, capsys, change, is_ok):
    folder = write_tiny_dataset(tmp_path / "data")
    change(folder)
    code, _, err = labels(capsys, "check", folder, "--labels-only")
    assert (code == 0) == is_ok, err
    out = tmp_path / "run"
    given = [folder, "--recipe", "smoke", "--epochs", "1", "--teacher", tmp_path / "none.pt", "--out", out]
    with pytest.raises(LoomsightError) as caught:  # a data set that is taken is asked for its teacher next
        distill_cli.app([str(argument) for argument in given], standalone_mode=False)
    assert isinstance(caught.value, CheckpointError if is_ok else DatasetError), caught.value
