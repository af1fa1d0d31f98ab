"""Labels with objects that cannot be read: no image becomes clean by that, and no box is lost or moved."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.labels.formats import yolo
from distill.labels.formats.registry import FORMATS, read_labels
from distill.labels.sets.sharing import SharingOptions, split_by_options
from tests.unit.distill.labels.label_sets import CLASSES, TAXONOMY, write_image

HEIGHT, WIDTH = 100, 200
BINS = 1000
NAMES = ("a.png", "b.png", "c.png")


@dataclass(frozen=True)
class Good:
    """A box that can be read, in whole pixels."""

    label: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Bad:
    """An object that cannot be read, as it stands in the file."""

    text: str


@st.composite
def good(draw) -> Good:
    x1, y1 = draw(st.integers(0, WIDTH - 3)), draw(st.integers(0, HEIGHT - 3))
    x2, y2 = draw(st.integers(x1 + 2, WIDTH)), draw(st.integers(y1 + 2, HEIGHT))
    return Good(draw(st.sampled_from(CLASSES)), (x1, y1, x2, y2))


def voc_object(found: Good | Bad) -> str:
    if isinstance(found, Bad):
        return found.text
    corners = zip(("xmin", "ymin", "xmax", "ymax"), found.box, strict=True)
    box = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
    return f"<object><name>{found.label}</name><bndbox>{box}</bndbox></object>"


def write_voc(folder: Path, objects: dict[str, list[Good | Bad]]) -> Path:
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    for name, found in objects.items():
        text = f"<filename>{name}</filename>{size}{''.join(map(voc_object, found))}"
        (folder / name).with_suffix(".xml").write_text(f"<annotation>{text}</annotation>")
    return folder


VOC_BOX = "<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
BAD_VOC = [
    f"<object><name>drop</name>{VOC_BOX.format('NaN')}</object>",
    f"<object><name>drop</name>{VOC_BOX.format('9' * 400)}</object>",
    f"<object><name>drop</name>{VOC_BOX.format('9')}</object>",
    f"<object><name>drop</name>{VOC_BOX.format('-5').replace('>9<', '>-1<')}</object>",
    f"<object><name>thick place</name>{VOC_BOX.format('1')}</object>",
    f"<object>{VOC_BOX.format('1')}</object>",
    f"<Object><name>drop</name>{VOC_BOX.format('1')}</Object>",
    "<object><name>drop</name></object>",
    "<object><name>drop</name><bndbox><xmin>1</xmin></bndbox></object>",
    "<object><name>drop</name><robndbox><cx>5</cx><cy>5</cy><w>4</w><h>4</h></robndbox></object>",
    "<object><name>drop</name><bndbox><xmin>.1</xmin><ymin>.1</ymin><xmax>.9</xmax><ymax>.9</ymax></bndbox></object>",
]


def yolo_row(found: Good | Bad) -> str:
    if isinstance(found, Bad):
        return found.text
    x1, y1, x2, y2 = found.box
    fractions = ((x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT)
    return f"{CLASSES.index(found.label)} {' '.join(map(repr, fractions))}"


def write_yolo(folder: Path, objects: dict[str, list[Good | Bad]]) -> Path:
    (folder / "labels").mkdir()
    for name, found in objects.items():
        text = "".join(f"{yolo_row(one)}\n" for one in found)
        (folder / "labels" / name).with_suffix(".txt").write_text(text)
    text = f"train: images\nnames: [{', '.join(CLASSES)}]\n"
    (folder / "data.yaml").write_text(text)
    return folder


BAD_YOLO = [
    "7 0.5 0.5 0.1 0.1",
    "-1 0.5 0.5 0.1 0.1",
    "drop 0.5 0.5 0.1 0.1",
    "1 0.5 0.5 0.1",
    "1 0.5 0.5 0.1 0.1 0.9",
    "1 nan 0.5 0.1 0.1",
    "1 0.5 0.5 1e400 0.1",
    "1 100 50 40 20",
    "1 0.5 0.5 0 0.1",
    "1,0.5,0.5,0.1,0.1",
    "1 0,5 0,5 0,1 0,1",
    "1.5 0.5 0.5 0.1 0.1",
    "1 0.1 0.1 0.2 0.2 0.3",
]


def write_coco(folder: Path, objects: dict[str, list[Good | Bad]]) -> Path:
    images = [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for number, name in enumerate(objects, start=1)
    ]
    annotations = []
    for number, found in enumerate(objects.values(), start=1):
        for one in found:
            row = {"id": len(annotations), "image_id": number, "category_id": 1, "bbox": [1, 1, 5, 5]}
            if isinstance(one, Bad):
                annotations.append(row | json.loads(one.text))
                continue
            x1, y1, x2, y2 = one.box
            place = {"category_id": CLASSES.index(one.label), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations.append(row | place)
    categories = [{"id": number, "name": name} for number, name in enumerate((*CLASSES, "slubby"))]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(document))
    return folder / "coco.json"


BAD_COCO = [
    '{"bbox": [1, 2, 3]}',
    '{"bbox": null}',
    '{"bbox": ["a", 1, 2, 3]}',
    '{"bbox": [NaN, 1, 2, 3]}',
    '{"bbox": [1, 1, 1e400, 3]}',
    '{"bbox": [0.1, 0.1, 0.5, 0.5]}',
    '{"bbox": [1, 1, 0, 5]}',
    '{"bbox": [900, 1, 5, 5]}',
    '{"category_id": 99}',
    '{"category_id": 3}',
    '{"iscrowd": 1}',
    '{"bbox": [], "segmentation": {"size": [100, 200], "counts": [5]}}',
    '{"bbox": [], "segmentation": [[1, 2, 3]]}',
]


def florence_part(found: Good | Bad) -> str:
    if isinstance(found, Bad):
        return found.text
    x1, y1, x2, y2 = found.box
    bins = (x1 * BINS // WIDTH, y1 * BINS // HEIGHT, x2 * BINS // WIDTH, y2 * BINS // HEIGHT)
    return found.label + "".join(f"<loc_{min(number, BINS - 1)}>" for number in bins)


def write_florence(folder: Path, objects: dict[str, list[Good | Bad]]) -> Path:
    rows = [
        {"prefix": "<OD>", "suffix": "".join(map(florence_part, found)), "image": name}
        for name, found in objects.items()
    ]
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder / "a.jsonl"


BAD_FLORENCE = [
    "drop<loc_1><loc_2><loc_3>",
    "drop<loc_1><loc_2><loc_3><loc_4><loc_5>",
    "thick place<loc_1><loc_2><loc_30><loc_40>",
    "drop<loc_5><loc_5><loc_5><loc_5>",
    "no defect</s>",
    "drop<poly><loc_1><loc_2><loc_3><loc_4></poly>",
]


def cvat_shape(found: Good | Bad) -> str:
    if isinstance(found, Bad):
        return found.text
    x1, y1, x2, y2 = found.box
    return f'<box label="{found.label}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'


def write_cvat(folder: Path, objects: dict[str, list[Good | Bad]]) -> Path:
    images = "".join(
        f'<image name="{name}" width="{WIDTH}" height="{HEIGHT}">{"".join(map(cvat_shape, found))}</image>'
        for name, found in objects.items()
    )
    (folder / "cvat.xml").write_text(f"<annotations>{images}</annotations>")
    return folder / "cvat.xml"


BAD_CVAT = [
    '<box label="drop" xtl="1"/>',
    '<box label="drop" xtl="nan" ytl="1" xbr="9" ybr="9"/>',
    '<box label="drop" xtl="5" ytl="1" xbr="5" ybr="9"/>',
    '<box label="drop" xtl="1" ytl="1" xbr="9" ybr="9" rotation="x"/>',
    '<box label="drop" xtl="1" ytl="1" xbr="9" ybr="9" outside="1"/>',
    '<box label="thick place" xtl="1" ytl="1" xbr="9" ybr="9"/>',
    '<box xtl="1" ytl="1" xbr="9" ybr="9"/>',
    '<polygon label="drop" points="1,2;3,4"/>',
    '<polyline label="drop" points="1,2;3,4"/>',
    '<points label="drop" points="1,2"/>',
    '<skeleton label="drop"><points label="end" points="1,2"/></skeleton>',
    '<ellipse label="drop" cx="5" cy="5" rx="-1" ry="2"/>',
    '<mask label="drop" rle="1, 2" left="1" top="1" width="9" height="9"/>',
]


def studio_result(found: Good | Bad) -> dict[str, object]:
    common = {"original_width": WIDTH, "original_height": HEIGHT}
    if isinstance(found, Bad):
        return common | json.loads(found.text)
    x1, y1, x2, y2 = found.box
    value = {"x": 100 * x1 / WIDTH, "y": 100 * y1 / HEIGHT, "width": 100 * (x2 - x1) / WIDTH,
             "height": 100 * (y2 - y1) / HEIGHT, "rectanglelabels": [found.label]}  # fmt: skip
    return common | {"type": "rectanglelabels", "value": value}


def write_studio(folder: Path, objects: dict[str, list[Good | Bad]]) -> Path:
    tasks = [
        {"data": {"image": name}, "annotations": [{"result": list(map(studio_result, found))}]}
        for name, found in objects.items()
    ]
    (folder / "tasks.json").write_text(json.dumps(tasks))
    return folder / "tasks.json"


def bad_result(kind: str = "rectanglelabels", **changed: object) -> str:
    value = {"x": 1, "y": 1, "width": 5, "height": 5, kind: ["drop"]} | changed
    return json.dumps({"type": kind, "value": value})


BAD_STUDIO = [
    bad_result(x=None),
    bad_result(x=float("nan")),
    bad_result(width=0),
    bad_result(x=500),
    bad_result(rotation="x"),
    bad_result(rectanglelabels=[], x=33.3),  # a place of its own: else it may repeat another
    bad_result(rectanglelabels=["thick place"]),
    bad_result("brushlabels", rle=[0, 1]),
    bad_result("keypointlabels"),
    bad_result("polygonlabels", points=[[1, 2]]),
    bad_result("ellipselabels", radiusX=-1, radiusY=2),
    json.dumps({"type": "rectanglelabels", "image_rotation": 90,
                "value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["drop"]}}),
    json.dumps({"type": "rectanglelabels"}),
]  # fmt: skip

Writer = Callable[[Path, dict[str, list["Good | Bad"]]], Path]
FORMS: dict[str, tuple[Writer, list[str]]] = {
    "voc": (write_voc, BAD_VOC),
    "dataset": (write_yolo, BAD_YOLO),
    "coco": (write_coco, BAD_COCO),
    "florence": (write_florence, BAD_FLORENCE),
    "cvat": (write_cvat, BAD_CVAT),
    "label-studio": (write_studio, BAD_STUDIO),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    for number, name in enumerate(NAMES):
        write_image(folder / "images" / name, (HEIGHT, WIDTH), number)
    return folder / "images"


def read(name: str, images: Path, objects: dict[str, list[Good | Bad]], folder: Path):
    (folder / "images").symlink_to(images)
    source = FORMS[name][0](folder, objects)
    return read_labels(source, TAXONOMY, format_name=name)


def test_every_form_is_generated():
    assert set(FORMS) == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "bad"), [(name, bad) for name, (_, made) in FORMS.items() for bad in made]
)
def test_an_object_that_cannot_be_read_is_one_unread_object_and_named(images, tmp_path, name, bad):
    box = Good("drop", (50, 50, 60, 60))
    found = read(name, images, {"a.png": [box, Bad(bad)], "b.png": [Bad(bad)], "c.png": [box]}, tmp_path)
    assert [Path(image.file_name).name for image in found.images] == ["c.png"]
    assert [Path(image.file_name).name for image in found.left_out] == ["a.png", "b.png"]
    assert [image.unread for image in found.left_out] == [1, 1]
    assert found.problems


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_image_is_clean_by_accident_and_every_box_is_in_its_place(images, name, data):
    bad = st.sampled_from(FORMS[name][1]).map(Bad)
    objects = {
        image: data.draw(st.lists(good() | bad, max_size=4, unique=True), label=image) for image in NAMES
    }
    with tempfile.TemporaryDirectory() as folder:
        found = read(name, images, objects, Path(folder))
        is_whole = {image: not any(isinstance(one, Bad) for one in held) for image, held in objects.items()}
        by_name = {Path(image.file_name).name: image for image in found.images}
        assert sorted(by_name) == sorted(image for image, whole in is_whole.items() if whole)
        for image, held in by_name.items():
            assert [region.label for region in held.regions] == [one.label for one in objects[image]]
            for region, one in zip(held.regions, objects[image], strict=True):
                limit = max(WIDTH, HEIGHT) / BINS if name == "florence" else 1e-6
                assert region.box_xyxy_px == pytest.approx(one.box, abs=limit)
        left_out = {Path(image.file_name).name: image for image in found.left_out}
        for image, held in left_out.items():
            assert len(held.regions) + held.unread >= len(objects[image])
            assert held.unread >= sum(isinstance(one, Bad) for one in objects[image])
        assert bool(found.problems) == bool(left_out)
        if found.images:
            written = written_rows(found, Path(folder))
            assert written == {image: len(objects[image]) for image, whole in is_whole.items() if whole}


def written_rows(found, folder: Path) -> dict[str, int]:
    """Write the data set folder; return how many boxes each image of it has."""
    images = split_by_options(found, SharingOptions(group="(?P<group>.)", split="train=1"), again=True)
    yolo.write(images, folder / "out")
    files = (folder / "out" / "labels").rglob("*.txt")
    return {f"{file.stem}.png": len(file.read_text().splitlines()) for file in files}
