"""What other programs write, through the real reader: shapes, addresses, ids, encodings, layouts."""

from __future__ import annotations

import json
import math

import pytest

from distill.labels.formats.registry import read_labels
from edge.core.errors import DatasetError
from tests.unit.distill.labels.label_sets import CLASSES, TAXONOMY, write_image

SIZE = (100, 200)
VOC_SIZE = "<size><width>200</width><height>100</height></size>"
BOX = "<bndbox><xmin>{}</xmin><ymin>10</ymin><xmax>{}</xmax><ymax>30</ymax></bndbox>"


def read(source, **options):
    return read_labels(source, TAXONOMY, **options)


def boxes(labels):
    """Return the boxes by image, in the order of the file."""
    return {image.file_name: [region.box_xyxy_px for region in image.regions] for image in labels.images}


def images(folder, *names):
    for number, name in enumerate(names):
        write_image(folder / name, SIZE, number)


def write_json(folder, content):
    (folder / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "labels.json"


# Pascal VOC


def voc(folder, objects, name="a", head=""):
    text = f"{head}<annotation><filename>{name}.png</filename>{VOC_SIZE}{objects}</annotation>"
    (folder / f"{name}.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_several_boxes_in_one_object_are_all_read(tmp_path):
    images(tmp_path, "a.png")
    places = "".join(BOX.format(x, x + 20) for x in (10, 60, 110))
    labels = read(voc(tmp_path, f"<object><name>drop</name>{places}</object>"))
    assert boxes(labels) == {"a.png": [(10, 10, 30, 30), (60, 10, 80, 30), (110, 10, 130, 30)]}


def test_a_turned_box_of_rolabelimg_is_its_outline_and_the_box_around_it(tmp_path):
    images(tmp_path, "a.png")
    place = f"<cx>100</cx><cy>50</cy><w>80</w><h>4</h><angle>{math.pi / 2}</angle>"
    turned = f"<object><name>broken</name><robndbox>{place}</robndbox></object>"
    labels = read(voc(tmp_path, turned))
    [region] = labels.images[0].regions
    assert region.box_xyxy_px == pytest.approx((98, 10, 102, 90))
    assert len(region.polygon_xy_px) == 4
    assert "turned by 90 degrees" in labels.notes["a.xml"]
    assert labels.problems == {}


def test_a_turned_box_leans_as_it_was_drawn(tmp_path):
    """roLabelImg and CVAT turn clockwise as it is seen: the right end of a level box goes down."""
    images(tmp_path, "a.png")
    place = "<cx>100</cx><cy>50</cy><w>80</w><h>4</h><angle>0.5</angle>"
    turned = f"<object><name>broken</name><robndbox>{place}</robndbox></object>"
    [region] = read(voc(tmp_path, turned)).images[0].regions
    right = max(region.polygon_xy_px)
    assert right[1] > 60


def test_outlines_of_labelme_are_read_and_deleted_ones_are_not(tmp_path):
    images(tmp_path, "a.png")
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((10, 10), (30, 10), (30, 30)))
    shape = "<object><name>drop</name><deleted>{}</deleted><polygon>{}</polygon></object>"
    labels = read(voc(tmp_path, shape.format(0, points) + shape.format(1, points)))
    assert (boxes(labels), labels.problems) == ({"a.png": [(10, 10, 30, 30)]}, {})


def test_two_files_of_one_image_that_differ_leave_it_out(tmp_path):
    images(tmp_path, "a.png", "b.png")
    voc(tmp_path, f"<object><name>drop</name>{BOX.format(10, 30)}</object>")
    voc(tmp_path, f"<object><name>drop</name>{BOX.format(10, 30)}</object>", "b")
    other = (tmp_path / "a.xml").read_text().replace("10<", "60<").replace("30<", "80<")
    (tmp_path / "a (1).xml").write_text(other)
    labels = read(tmp_path)
    assert [image.file_name for image in labels.images] == ["b.png"]
    assert [image.file_name for image in labels.left_out] == ["a.png"]
    assert "differ" in labels.problems["a.png"]


def test_the_image_of_a_damaged_file_is_left_out_and_not_clean_by_its_folder(tmp_path):
    from distill.labels.sets.clean import with_clean_images

    images(tmp_path / "images", "a.png", "b.png", "c.png")
    voc(tmp_path, "", "a")
    (tmp_path / "b.xml").write_text("<annotation><object>")
    labels = with_clean_images(read(tmp_path), tmp_path / "images")
    assert [image.file_name for image in labels.images] == ["a.png", "c.png"]
    assert [image.file_name for image in labels.left_out] == ["b.png"]


@pytest.mark.parametrize(
    ("declared", "written"),
    [
        ("utf-16", "utf-8"),
        ("utf-32", "utf-8"),
        ("undefined", "utf-8"),
        ("hex", "utf-8"),
        ("idna", "utf-8"),
        ("gb2312", "gbk"),
        ("utf-16", "utf-16"),
        ("utf-8", "utf-16-le"),
    ],
)
@pytest.mark.parametrize("filler", ["", " "], ids=["even", "odd"])
def test_what_a_file_is_in_counts_and_not_what_it_declares(tmp_path, declared, written, filler):
    images(tmp_path, "布.png")
    head = f'<?xml version="1.0" encoding="{declared}"?>{filler}'
    text = f"{head}<annotation><filename>布.png</filename>{VOC_SIZE}"
    item = f"<object><name>drop</name>{BOX.format(10, 30)}</object></annotation>"
    (tmp_path / "布.xml").write_bytes((text + item).encode(written))
    labels = read(tmp_path)
    assert (boxes(labels), labels.problems) == ({"布.png": [(10, 10, 30, 30)]}, {})


# COCO


def coco(image, *annotations, **changed):
    rows = [{"id": n, "image_id": 1, "category_id": 1, **row} for n, row in enumerate(annotations)]
    image = {"id": 1, "file_name": "a.png", "height": 100, "width": 200} | image
    categories = [{"id": 1, "name": "drop"}]
    return {"images": [image], "annotations": rows, "categories": categories} | changed


SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
OTHER = [50, 50, 70, 50, 70, 70, 50, 70]


def mask(counts):
    return {"size": [100, 200], "counts": counts}


@pytest.mark.parametrize(
    ("annotation", "box"),
    [
        pytest.param({"segmentation": [SQUARE]}, (10, 10, 30, 30), id="outline-and-no-box"),
        pytest.param({"bbox": None, "segmentation": [SQUARE, OTHER]}, (10, 10, 70, 70), id="two-outlines"),
        pytest.param({"bbox": [], "segmentation": mask([1000, 20, 80, 20, 18880])}, (10, 0, 12, 20),
                     id="run-lengths"),
        pytest.param({"segmentation": mask("Xo0d0P2O1O")}, None, id="damaged-mask"),
        pytest.param({"bbox": ["10", "10", "20", "20"]}, (10, 10, 30, 30), id="texts"),
        pytest.param({"bbox": [30, 30, -20, -20]}, (10, 10, 30, 30), id="negative-sides"),
        pytest.param({"bbox": [0, 40, 80, 20], "attributes": {"rotation": 90}}, (30, 10, 50, 90),
                     id="turned"),
    ],
)  # fmt: skip
def test_where_a_coco_annotation_is(tmp_path, annotation, box):
    images(tmp_path, "a.png")
    labels = read(write_json(tmp_path, coco({}, annotation)))
    assert boxes(labels) == ({} if box is None else {"a.png": [pytest.approx(box)]})
    assert len(labels.left_out) == (box is None)


def test_run_lengths_of_pycocotools(tmp_path):
    """Rows 10 to 29 of columns 10 and 11, five bits a character."""
    images(tmp_path, "a.png")
    packed = packed_run_lengths([1010, 20, 80, 20, 18870])
    mask = {"size": [100, 200], "counts": packed}
    assert boxes(read(write_json(tmp_path, coco({}, {"segmentation": mask})))) == {
        "a.png": [(10, 10, 12, 30)]
    }


def packed_run_lengths(runs):
    """Pack as `rleToString` of pycocotools does."""
    text = ""
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            more = value != -1 if bits & 16 else value != 0
            text += chr((bits | 32 if more else bits) + 48)
            if not more:
                break
    return text


def test_the_box_holds_where_the_outline_is_elsewhere(tmp_path):
    images(tmp_path, "a.png")
    labels = read(write_json(tmp_path, coco({}, {"bbox": [100, 50, 40, 40], "segmentation": [SQUARE]})))
    [region] = labels.images[0].regions
    assert (region.box_xyxy_px, region.polygon_xy_px) == ((100, 50, 140, 90), None)
    assert "the box holds" in labels.problems["annotation 0"]


@pytest.mark.parametrize("mark", ["iscrowd", "ignore"])
def test_a_crowd_leaves_its_image_out(tmp_path, mark):
    images(tmp_path, "a.png")
    labels = read(write_json(tmp_path, coco({}, {"bbox": [0, 0, 200, 100], mark: 1})))
    assert (labels.images, [image.unread for image in labels.left_out]) == ((), [1])


@pytest.mark.parametrize("image_id", [1, 1.0, "1", "1.0"])
@pytest.mark.parametrize(
    "size", [{"height": 100.0, "width": "200"}, {"height": None, "width": 200}, {"width": float("nan")}]
)
def test_ids_and_sizes_of_any_type(tmp_path, image_id, size):
    images(tmp_path, "a.png")
    labels = read(write_json(tmp_path, coco({"id": image_id, **size}, {"bbox": [10, 10, 20, 20]})))
    assert (boxes(labels), labels.problems) == ({"a.png": [(10, 10, 30, 30)]}, {})
    assert labels.images[0].size_hw_px == SIZE


def test_an_image_listed_twice_has_the_boxes_of_both_entries(tmp_path):
    images(tmp_path, "a.png")
    entries = [{"id": n, "file_name": "a.png", "height": 100, "width": 200} for n in (1, 2)]
    rows = [{"bbox": [10, 10, 20, 20]}, {"image_id": 2, "bbox": [60, 10, 20, 20]}]
    labels = read(write_json(tmp_path, coco({}, *rows, images=entries)))
    assert boxes(labels) == {"a.png": [(10, 10, 30, 30), (60, 10, 80, 30)]}
    assert "twice" in labels.notes["a.png"]


def test_a_category_number_with_two_names_is_none(tmp_path):
    images(tmp_path, "a.png")
    categories = [{"id": 1, "name": "drop"}, {"id": "1", "name": "broken"}]
    labels = read(write_json(tmp_path, coco({}, {"bbox": [10, 10, 20, 20]}, categories=categories)))
    assert len(labels.left_out) == 1


@pytest.mark.parametrize(
    "name", ["../a.png", "/a.png", "../../set/a.png", "C:\\set\\a.png", "/x/y/set/a.png"]
)
def test_a_name_is_looked_up_in_the_folder_of_the_images_only(tmp_path, name):
    write_image(tmp_path / "a.png", (50, 50))
    images(tmp_path / "set", "a.png")
    content = coco({"file_name": name, "height": None}, {"bbox": [10, 10, 20, 20]})
    labels = read(write_json(tmp_path / "set", content), image_folder=tmp_path / "set")
    assert boxes(labels) == {"a.png": [(10, 10, 30, 30)]}
    assert labels.images[0].size_hw_px == SIZE


# CVAT


def cvat(folder, *items):
    (folder / "cvat.xml").write_text(f"<annotations>{''.join(items)}</annotations>", encoding="utf-8")
    return folder / "cvat.xml"


def cvat_image(shape, name="a.png", **values):
    given = "".join(f' {key}="{value}"' for key, value in values.items())
    return f'<image name="{name}" width="200" height="100"{given}>{shape}</image>'


@pytest.mark.parametrize(
    ("shape", "box", "is_noted"),
    [
        pytest.param('<box label="drop" xtl="90" ytl="30" xbr="110" ybr="70" rotation="90"/>',
                     (80, 40, 120, 60), True, id="turned-box"),
        pytest.param('<box label="drop" xtl="90" ytl="30" xbr="110" ybr="70" rotation="360"/>',
                     (90, 30, 110, 70), False, id="turned-once-around"),
        pytest.param('<ellipse label="drop" cx="50" cy="50" rx="10" ry="5"/>', (40, 45, 60, 55), True,
                     id="ellipse"),
        pytest.param('<ellipse label="drop" cx="50" cy="50" rx="10" ry="5" rotation="90"/>',
                     (45, 40, 55, 60), True, id="turned-ellipse"),
        pytest.param('<mask label="drop" rle="3, 2, 3" left="20" top="30" width="4" height="2"/>',
                     (20, 30, 24, 32), True, id="mask"),
        pytest.param('<polygon label="drop" points="1,2;9,2;9,8"/>', (1, 2, 9, 8), False, id="polygon"),
    ],
)  # fmt: skip
def test_the_box_of_a_shape_of_cvat(tmp_path, shape, box, is_noted):
    images(tmp_path, "a.png")
    labels = read(cvat(tmp_path, cvat_image(shape)))
    assert boxes(labels) == {"a.png": [pytest.approx(box)]}
    assert (labels.problems, bool(labels.notes)) == ({}, is_noted)


@pytest.mark.parametrize(
    ("tag", "box", "is_clean"),
    [
        pytest.param("drop", "", None, id="a-class-and-no-box"),
        pytest.param("drop", '<box label="drop" xtl="1" ytl="1" xbr="9" ybr="9"/>', False, id="explained"),
        pytest.param("thick place", "", None, id="unknown-and-no-box"),
        pytest.param("OK", "", True, id="clean"),
        pytest.param("roll 7", '<box label="drop" xtl="1" ytl="1" xbr="9" ybr="9"/>', False, id="remark"),
    ],
)
def test_a_tag_of_a_whole_image(tmp_path, tag, box, is_clean):
    images(tmp_path, "a.png")
    labels = read(cvat(tmp_path, cvat_image(f'{box}<tag label="{tag}"/>')))
    assert [not image.regions for image in labels.images] == ([] if is_clean is None else [is_clean])
    assert len(labels.left_out) == (is_clean is None)


def test_a_project_of_cvat_keeps_its_splits_and_finds_its_images(tmp_path):
    subsets = {"Train": "train", "Validation": "val", "Test": "test", "default": None}
    shape = '<box label="drop" xtl="10" ytl="10" xbr="30" ybr="30"/>'
    images(tmp_path / "images", *(f"{subset}/a.png" for subset in subsets))
    labels = read(cvat(tmp_path, *(cvat_image(shape, subset=subset) for subset in subsets)))
    assert {image.file_name: image.split for image in labels.images} == {
        f"{subset}/a.png": split for subset, split in subsets.items()
    }
    assert all((labels.root / image.file_name).is_file() for image in labels.images)


def test_one_name_in_two_tasks_of_a_project_is_left_out(tmp_path):
    images(tmp_path, "a.png")
    items = [cvat_image("", subset="Train", task_id=task) for task in (1, 2)]
    assert len(read(cvat(tmp_path, *items)).left_out) == 1


# Label Studio


def result(x=10, label="drop", **values):
    value = {"x": x, "y": 10, "width": 10, "height": 20, "rectanglelabels": [label]}
    return {"id": f"r{x}", "type": "rectanglelabels", "original_width": 200, "original_height": 100,
            "value": value, **values}  # fmt: skip


def annotation(*results, **values):
    return {"result": list(results), **values}


OLD = annotation(result(10), id=1, updated_at="2023-05-03T10:00:00Z")
NEW = annotation(result(60), id=2, updated_at="2024-02-03T10:00:00Z")


@pytest.mark.parametrize(
    ("annotations", "lefts"),
    [
        pytest.param([NEW, OLD], [120], id="the-newer-one-first"),
        pytest.param([OLD, NEW], [120], id="the-newer-one-last"),
        pytest.param([{**OLD, "ground_truth": True}, NEW], [20], id="ground-truth"),
        pytest.param([annotation(result(10), id=7), annotation(result(60), id=5)], [20], id="by-number"),
        pytest.param([annotation(result(10)), annotation(result(60))], None, id="not-known"),
        pytest.param([annotation(result(10)), annotation(result(10))], [20], id="they-agree"),
        pytest.param([annotation(result(10)), annotation(was_cancelled=True)], [20], id="one-skipped"),
        pytest.param([annotation(was_cancelled=True)], None, id="skipped"),
        pytest.param([], None, id="not-labelled"),
        pytest.param([annotation()], [], id="stated-clean"),
        pytest.param([{"id": 1}], None, id="no-results"),
        pytest.param([annotation(7)], None, id="no-result"),
    ],
)
def test_which_annotation_of_a_task_holds(tmp_path, annotations, lefts):
    images(tmp_path, "a.png")
    labels = read(write_json(tmp_path, [{"data": {"image": "a.png"}, "annotations": annotations}]))
    found = [[box[0] for box in held] for held in boxes(labels).values()]
    assert found == ([] if lefts is None else [lefts])
    assert len(labels.left_out) == (lefts is None)


def test_an_annotation_that_does_not_hold_is_named(tmp_path):
    images(tmp_path, "a.png")
    labels = read(write_json(tmp_path, [{"data": {"image": "a.png"}, "annotations": [NEW, OLD]}]))
    assert "1 results of the others" in labels.problems["a.png"]


@pytest.mark.parametrize(
    ("address", "there"),
    [
        ("/data/upload/3/0a1b2c3d-a.png", "0a1b2c3d-a.png"),
        ("/data/upload/3/0a1b2c3d-a.png", "a.png"),
        ("/data/local-files/?d=r1/a.png", "r1/a.png"),
        ("/data/local-files/?d=r1%5Ca.png", "r1/a.png"),
        ("/data/local-files/?d=/srv/set/r1/a.png", "r1/a.png"),
        ("s3://plant/r1/a.png", "r1/a.png"),
        ("https://plant/x/%C3%A9%20%C3%BC.png?sign=1", "é ü.png"),
        ("/data/local-files/?d=../../a.png", "a.png"),
    ],
)
@pytest.mark.parametrize("key", ["image", "img"])
def test_the_image_at_an_address(tmp_path, address, there, key):
    images(tmp_path / "set", there)
    write_image(tmp_path / "a.png", (50, 50))
    task = {"data": {key: address}, "annotations": [annotation(result())]}
    labels = read(write_json(tmp_path, [task]), image_folder=tmp_path / "set")
    assert boxes(labels) == {there: [(20, 10, 40, 30)]}


def test_two_addresses_of_one_file_are_left_out(tmp_path):
    images(tmp_path, "a.png")
    tasks = [
        {"data": {"image": f"s3://plant/{roll}/a.png"}, "annotations": [annotation(result(x))]}
        for roll, x in (("r1", 10), ("r2", 60))
    ]
    labels = read(write_json(tmp_path, tasks))
    assert (labels.images, len(labels.left_out)) == ((), 1)


def test_a_shape_and_its_labels_in_two_results_are_one_box(tmp_path):
    images(tmp_path, "a.png")
    shape = {key: value for key, value in result()["value"].items() if key != "rectanglelabels"}
    pair = [
        {"id": "z", "type": "rectangle", "value": shape},
        {"id": "z", "type": "labels", "value": {**shape, "labels": ["drop"]}},
    ]
    labels = read(write_json(tmp_path, [{"data": {"image": "a.png"}, "annotations": [annotation(*pair)]}]))
    assert (boxes(labels), labels.problems) == ({"a.png": [(20, 10, 40, 30)]}, {})


def test_an_ellipse_of_label_studio_is_the_box_around_it(tmp_path):
    images(tmp_path, "a.png")
    value = {"x": 50, "y": 50, "radiusX": 5, "radiusY": 10, "ellipselabels": ["drop"]}
    shape = {"type": "ellipselabels", "value": value}
    labels = read(write_json(tmp_path, [{"data": {"image": "a.png"}, "annotations": [annotation(shape)]}]))
    assert boxes(labels) == {"a.png": [pytest.approx((90, 40, 110, 60))]}
    assert "ellipse" in labels.notes["a.png"]


def test_a_choice_for_a_whole_image_is_no_clean_image(tmp_path):
    images(tmp_path, "a.png")
    choice = {"type": "choices", "value": {"choices": ["drop"]}}
    labels = read(write_json(tmp_path, [{"data": {"image": "a.png"}, "annotations": [annotation(choice)]}]))
    assert len(labels.left_out) == 1


# YOLO


def yolo(folder, description, rows=None):
    """Write two images; `rows` are their label files, None for one that is not there."""
    images(folder, "train/images/a.png", "valid/images/b.png")
    for name, text in (
        rows or {"train/labels/a": "1 .5 .5 .2 .2", "valid/labels/b": "1 .5 .5 .2 .2"}
    ).items():
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    text = f"{description}\nnames: [{', '.join(CLASSES)}]\n"
    (folder / "data.yaml").write_bytes(text.encode("gbk"))
    return folder


@pytest.mark.parametrize(
    "description",
    [
        pytest.param("train: train/images\nval: valid/images", id="plain"),
        pytest.param("train: ../train/images\nval: ../valid/images", id="as-roboflow-writes"),
        pytest.param("train: set/train/images\nval: set/valid/images", id="from-the-folder-above"),
        pytest.param("path: /somewhere/else\ntrain: train/images\nval: valid/images", id="moved"),
        pytest.param("path: ../set\ntrain: train/images\nval: valid/images", id="relative-path"),
        pytest.param("train: [train/images]\nvalid: valid/images", id="list-and-valid"),
        pytest.param("train: train/images\nval: val.txt", id="list-of-names"),
        pytest.param("# 布匹\ntrain: train/images\nval: valid/images", id="gbk"),
        pytest.param("train: &x train/images\nval: valid/images\ntest: *x", id="alias-of-a-text"),
    ],
)
def test_where_the_images_of_a_data_yaml_are(tmp_path, description):
    folder = yolo(tmp_path / "set", description)
    (folder / "val.txt").write_text("./valid/images/b.png\n\n")
    labels = read(folder)
    assert [len(held) for held in boxes(labels).values()] == [1, 1]
    assert [image.split for image in labels.images] == ["train", "val"]


def test_the_folder_of_the_data_set_comes_before_a_namesake_beside_it(tmp_path):
    images(tmp_path / "train" / "images", "foreign.png")
    labels = read(yolo(tmp_path / "set", "train: ../train/images\nval: ../valid/images"))
    assert [image.file_name for image in labels.images] == ["train/images/a.png", "valid/images/b.png"]


def test_a_listed_name_does_not_lead_out_of_the_data_set(tmp_path):
    write_image(tmp_path / "secret.png", SIZE)
    folder = yolo(tmp_path / "set", "train: train/images\nval: val.txt")
    (folder / "val.txt").write_text(f"../secret.png\n{tmp_path}/secret.png\n../valid/images/b.png\n")
    labels = read(folder)
    assert [image.file_name for image in labels.images] == ["train/images/a.png", "valid/images/b.png"]
    assert "line 1: there is no image" in labels.problems["val.txt"]


ALIASES = "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [f"a: &a [x]\n{ALIASES}\ntrain: train/images\nnames: *i", "&a [*a]", "a: " * 3000, "? [a]\n: b"],
    ids=["bomb", "itself", "nested", "list-as-key"],
)
def test_a_hostile_data_yaml_is_refused(tmp_path, text):
    folder = yolo(tmp_path, "")
    (folder / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"not valid YAML|names no classes"):
        read(folder)


@pytest.mark.parametrize(
    ("rows", "clean", "left_out"),
    [
        pytest.param({"train/labels/a": "", "valid/labels/b": ""}, 2, 0, id="empty-files"),
        pytest.param({"train/labels/a": "1 .5 .5 .2 .2"}, 0, 1, id="no-label-file-in-the-folder"),
        pytest.param({"train/labels/x": "", "valid/labels/b": ""}, 1, 1, id="a-file-left-over"),
        pytest.param(
            {"train/images/a": "1 .5 .5 .2 .2", "valid/labels/b": ""}, 1, 1, id="beside-the-image"
        ),
    ],
)
def test_an_image_without_a_label_file(tmp_path, rows, clean, left_out):
    labels = read(yolo(tmp_path, "train: train/images\nval: valid/images", rows))
    assert sum(not image.regions for image in labels.images) == clean
    assert len(labels.left_out) == left_out


def test_in_a_folder_of_label_files_one_that_lacks_says_that_there_is_no_defect(tmp_path):
    folder = yolo(tmp_path, "train: train/images\nval: valid/images")
    images(folder, "train/images/c.png")
    labels = read(folder)
    assert [image.file_name for image in labels.images if not image.regions] == ["train/images/c.png"]
    assert "1 image without a label file" in labels.notes["data.yaml"]


def test_labels_that_number_their_classes_from_1_are_left_out(tmp_path):
    rows = {"train/labels/a": "1 .5 .5 .2 .2\n2 .2 .2 .1 .1", "valid/labels/b": "3 .5 .5 .2 .2"}
    labels = read(yolo(tmp_path, "train: train/images\nval: valid/images", rows))
    assert (labels.images, len(labels.left_out)) == ((), 2)
    assert "from 1 to 3" in labels.problems["data.yaml"]


def test_so_are_they_where_a_class_between_has_no_box(tmp_path):
    rows = {"train/labels/a": "1 .5 .5 .2 .2", "valid/labels/b": "3 .5 .5 .2 .2"}
    labels = read(yolo(tmp_path, "train: train/images\nval: valid/images", rows))
    assert (labels.images, len(labels.left_out)) == ((), 2)


@pytest.mark.parametrize(
    ("a", "b"),
    [pytest.param("1", "2", id="the-first-is-not-used"), pytest.param("0", "1", id="nor-the-last")],
)
def test_a_class_without_a_box_does_not_make_the_numbers_start_from_1(tmp_path, a, b):
    rows = {"train/labels/a": f"{a} .5 .5 .2 .2", "valid/labels/b": f"{b} .5 .5 .2 .2"}
    labels = read(yolo(tmp_path, "train: train/images\nval: valid/images", rows))
    found = [region.label for image in labels.images for region in image.regions]
    assert found == [CLASSES[int(a)], CLASSES[int(b)]]


def test_two_images_of_one_label_file_are_left_out_if_it_has_a_box(tmp_path):
    rows = {"train/labels/a": "1 .5 .5 .2 .2", "valid/labels/b": ""}
    folder = yolo(tmp_path, "train: train/images\nval: valid/images", rows)
    images(folder, "train/images/a.bmp", "valid/images/b.bmp")
    labels = read(folder)
    assert [image.file_name for image in labels.images] == ["valid/images/b.bmp", "valid/images/b.png"]
    assert [image.file_name for image in labels.left_out] == ["train/images/a.bmp", "train/images/a.png"]
    assert "same name but for its suffix" in labels.problems["train/images/a.png"]


@pytest.mark.parametrize("row", ["1.0 .5 .5 .2 .2", "+1 0.5 0.5 .2 2e-1", "\ufeff1\t.5\t.5\t.2\t.2\r"])
def test_rows_as_programs_write_them(tmp_path, row):
    rows = {"train/labels/a": row, "valid/labels/b": ""}
    labels = read(yolo(tmp_path, "train: train/images\nval: valid/images", rows))
    assert labels.images[0].regions[0].box_xyxy_px == pytest.approx((80, 40, 120, 60))


# Florence


def test_lines_of_one_image_are_put_together(tmp_path):
    images(tmp_path, "a.png")
    suffixes = ("drop<loc_100><loc_100><loc_200><loc_200>", "broken<loc_1><loc_2><loc_300><loc_400>")
    rows = [json.dumps({"prefix": "<OD>", "suffix": text, "image": "a.png"}) for text in suffixes]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    [image] = read(tmp_path / "a.jsonl").images
    assert [region.label for region in image.regions] == ["drop", "broken"]


def test_a_rejected_box_does_not_count_again_when_a_line_was_edited(tmp_path):
    images(tmp_path, "a.png")
    own = {"regions": [{"review": "rejected"}, {}]}
    row = {"suffix": "drop<loc_1><loc_1><loc_9><loc_9>", "image": "a.png", "loomsight": own}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert len(read(tmp_path / "a.jsonl").left_out) == 1


def test_a_file_of_a_thousand_faults_is_one_line_of_twenty(tmp_path):
    images(tmp_path, "a.png")
    row = {"suffix": "<" * 5000, "image": "a.png"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    [line] = read(tmp_path / "a.jsonl").problems.values()
    assert line.endswith("and 4980 more")
    assert len(line) < 1000


@pytest.mark.parametrize(
    "changed",
    [
        {"type": ["x"]},
        {"value": {"x": 10**400}},
        {"score": 10**400},
        {"meta": [1]},
        {"id": [1]},
        {"value": 5},
    ],
    ids=str,
)
def test_values_of_another_type_are_one_line(tmp_path, changed):
    images(tmp_path, "a.png")
    task = {"data": {"image": "a.png"}, "annotations": [annotation({**result(), **changed}, result(60))]}
    assert len((found := read(write_json(tmp_path, [task]))).images) + len(found.left_out) == 1
