"""Other programs read what is written here, and what they write is read here: with the real libraries.

pycocotools, supervision, Datumaro and Label Studio's SDK answer from an environment of their own,
`.venv-peers` (`make peers`); ultralytics, transformers and torchvision are the workbench's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torchvision
from typer.testing import CliRunner

from distill.commands import labels_cli as cli
from distill.labels.formats.registry import FORMATS, read_labels
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from edge.core.taxonomy import load_taxonomy
from tests.unit.distill.labels.label_sets import CLASSES, TAXONOMY, write_image

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv-peers" / "bin" / "python"

HEIGHT, WIDTH = 64, 160
FLOAT32_PX = 2e-5
"""The peers keep places in float32: an ulp of 160."""

DATUMARO_PX = 0.00501
"""Datumaro rounds places to 0.01 px."""

IMAGES = {
    "train/0 (1).jpg": [("drop", (10.25, 7.5, 30.125, 41.0)), ("broken", (0.0, 0.0, 160.0, 64.0))],
    "train/roll 7/油污 样本.png": [("wrinkle", (0.0, 0.0, 1.0, 1.0)), ("drop", (159.0, 63.0, 160.0, 64.0))],
    "train/a&b 'c' #1 %20.PNG": [("broken", (80.0, 0.0, 81.0, 64.0))],
    "train/clean.v2.bmp": [],
    "val/é.png": [("drop", (0.001, 0.001, 1.5, 1.5))],
    "val/clean.png": [],
    "test/last one.png": [("wrinkle", (33.3, 20.0, 66.6, 44.4))],
}
SPLITS = ("train", "val", "test")
Boxes = dict[str, list[list]]


def wanted(*splits) -> Boxes:
    """Return the boxes of some splits by the last part of the name."""
    chosen = {name: rows for name, rows in IMAGES.items() if name.split("/")[0] in splits}
    return {Path(name).name: [[label, *box] for label, box in rows] for name, rows in chosen.items()}


def assert_equal(found: Boxes, right: Boxes, tolerance_px: float = FLOAT32_PX) -> None:
    assert sorted(found) == sorted(right)
    for name, rows in right.items():
        ordered = sorted(found[name], key=lambda row: (row[0], row[1:]))
        assert [row[0] for row in ordered] == [row[0] for row in sorted(rows)], name
        for one, other in zip(ordered, sorted(rows), strict=True):
            assert one[1:] == pytest.approx(other[1:], abs=tolerance_px, rel=0), name


def read_here(source: Path, image_folder: Path | None = None, form: str | None = None) -> Boxes:
    """Read as the commands do; nothing may be amiss."""
    found = read_labels(source, TAXONOMY, image_folder=image_folder, format_name=form)
    assert dict(found.problems) == {}
    return {
        Path(image.file_name).name: [[r.label, *r.box_xyxy_px] for r in image.regions]
        for image in found.images
    }


class Peers:
    """Ask the peers' process, from any working folder."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [PEER, ROOT / "tests" / "peers" / "peer.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": "", "DATUMARO_TELEMETRY": "0"},
        )  # fmt: skip

    def ask(self, do: str, cwd: Path | str = "/", **request) -> Boxes:
        texts = {key: str(v) if isinstance(v, Path) else v for key, v in request.items()}
        self._process.stdin.write(json.dumps({"do": do, "cwd": str(cwd), **texts}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["boxes"]

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def peers():
    if not PEER.is_file():
        pytest.skip("the labelling programs are not installed: `make peers` installs them")
    asked = Peers()
    yield asked
    asked.end()


@pytest.fixture(scope="module")
def mill(tmp_path_factory) -> Path:
    """A folder of images, and in it their labels in every format, written by the real command."""
    root = tmp_path_factory.mktemp("mill of 布")
    images = []
    for number, (name, rows) in enumerate(IMAGES.items()):
        path = write_image(root / "images" / name, (HEIGHT, WIDTH), number)
        regions = tuple(Region(label, box) for label, box in rows)
        split = name.split("/")[0]
        images.append(AnnotatedImage(f"images/{name}", (HEIGHT, WIDTH), regions, f"roll {split}", split))
        assert path.is_file()
    FORMATS["coco"].write(LabelSet(root, CLASSES, tuple(images)), root / "all.json")
    for form in FORMATS:
        out = root / f"to-{form}{FORMATS[form].suffix}"
        given = ["convert", root / "all.json", "--to", form, "--out", out]
        assert CliRunner().invoke(cli.app, list(map(str, given))).exit_code == 0
    return root


# What is written here, the peers read.


@pytest.mark.parametrize("cwd", ["to-dataset", ".", "/"])
def test_ultralytics_reads_the_data_set_from_any_folder(mill, monkeypatch, cwd):
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    monkeypatch.chdir(mill / cwd)
    data = check_det_dataset(str(mill / "to-dataset" / "data.yaml"), autodownload=False)
    for split in SPLITS:
        dataset = YOLODataset(img_path=data[split], data=data, task="detect", augment=False, cache=False)
        found = {}
        for entry in dataset.labels:
            height, width = entry["shape"]
            rows = zip(entry["cls"][:, 0].tolist(), entry["bboxes"].tolist(), strict=True)
            found[Path(entry["im_file"]).name] = [
                [data["names"][int(number)], (x - w / 2) * width, (y - h / 2) * height,
                 (x + w / 2) * width, (y + h / 2) * height]
                for number, (x, y, w, h) in rows
            ]  # fmt: skip
        assert_equal(found, wanted(split))


@pytest.mark.parametrize("split", SPLITS)
def test_supervision_reads_the_data_set(mill, peers, split):
    data = mill / "to-dataset"
    found = peers.ask(
        "supervision_yolo",
        images=data / "images" / split,
        labels=data / "labels" / split,
        data=data / "data.yaml",
    )
    assert_equal(found, wanted(split))


def test_datumaro_reads_the_data_set(mill, peers):
    assert_equal(
        peers.ask("datumaro_reads", folder=mill / "to-dataset", form="yolo"), wanted(*SPLITS), DATUMARO_PX
    )


def test_label_studio_imports_the_data_set_and_its_tasks_are_read(mill, peers, tmp_path):
    for split in SPLITS:
        folder = tmp_path / split
        shutil.copytree(mill / "to-dataset/images" / split, folder / "images")
        shutil.copytree(mill / "to-dataset/labels" / split, folder / "labels")
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
        peers.ask("label_studio_imports_yolo", folder=folder, writes=folder / "tasks.json")
        assert_equal(read_here(folder / "tasks.json", folder), wanted(split))


def test_pycocotools_reads_coco(mill, peers):
    assert_equal(peers.ask("pycocotools_reads", file=mill / "to-coco.json"), wanted(*SPLITS))
    for split in SPLITS:
        file = mill / "to-dataset" / "annotations" / f"{split}.json"
        assert_equal(peers.ask("pycocotools_reads", file=file), wanted(split))


def test_supervision_reads_coco(mill, peers):
    found = peers.ask("supervision_coco", images=mill, file=mill / "to-coco.json")
    assert_equal(found, wanted(*SPLITS))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_datumaro_reads_coco(mill, peers, tmp_path, stream):
    """Datumaro finds a COCO file by its name, and its images in a folder of the same."""
    data = mill / "to-dataset"
    for split in SPLITS:
        (tmp_path / "annotations").mkdir(exist_ok=True)
        shutil.copy(
            data / "annotations" / f"{split}.json", tmp_path / "annotations" / f"instances_{split}.json"
        )
        shutil.copytree(data / "images" / split, tmp_path / "images" / split)
    found = peers.ask("datumaro_reads", folder=tmp_path, form="coco", stream=stream)
    assert_equal(found, wanted(*SPLITS), DATUMARO_PX)


def test_supervision_reads_voc(mill, peers):
    data = {"train": ["train", "train/roll 7"], "val": ["val"], "test": ["test"]}
    for split, folders in data.items():
        found = {}
        for folder in folders:
            images, labels = mill / "images" / folder, mill / "to-voc" / "images" / folder
            found |= peers.ask("supervision_voc", images=images, labels=labels)
        assert_equal(found, wanted(split))


def test_datumaro_reads_voc(mill, peers, tmp_path):
    """Datumaro wants the lists of the VOC challenge beside the annotations."""
    for split in SPLITS:
        names = [Path(name) for name in IMAGES if name.startswith(split)]
        (tmp_path / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{path.stem}\n" for path in names)
        (tmp_path / "ImageSets/Main" / f"{split}.txt").write_text(rows, encoding="utf-8")
        for path in names:
            for folder, source in (
                ("JPEGImages", mill / "images" / path),
                ("Annotations", (mill / "to-voc/images" / path).with_suffix(".xml")),
            ):
                (tmp_path / folder).mkdir(exist_ok=True)
                shutil.copy(source, tmp_path / folder)
    (tmp_path / "labelmap.txt").write_text("".join(f"{name}:::\n" for name in CLASSES))
    assert_equal(
        peers.ask("datumaro_reads", folder=tmp_path, form="voc_detection"), wanted(*SPLITS), DATUMARO_PX
    )


def test_torchvision_parses_voc(mill):
    from xml.etree import ElementTree

    for name, rows in IMAGES.items():
        file = (mill / "to-voc/images" / name).with_suffix(".xml")
        tree = torchvision.datasets.VOCDetection.parse_voc_xml(ElementTree.parse(file).getroot())[
            "annotation"
        ]
        corners = ("xmin", "ymin", "xmax", "ymax")
        found = [
            [one["name"], *(float(one["bndbox"][corner]) for corner in corners)]
            for one in tree.get("object", [])
        ]
        assert_equal({tree["filename"]: found}, {Path(name).name: [[label, *box] for label, box in rows]})


def test_datumaro_reads_cvat(mill, peers, tmp_path):
    shutil.copytree(mill / "images", tmp_path / "images" / "images")
    shutil.copy(mill / "to-cvat.xml", tmp_path / "annotations.xml")
    assert_equal(peers.ask("datumaro_reads", folder=tmp_path, form="cvat"), wanted(*SPLITS), DATUMARO_PX)


def test_label_studio_takes_its_configuration_and_tasks_and_converts_them(mill, peers, tmp_path):
    tasks = shutil.copy(mill / "to-label-studio.json", tmp_path / "tasks.json")
    found = peers.ask(
        "label_studio_reads",
        config=mill / "to-label-studio.config.xml",
        tasks=tasks,
        writes=["COCO", "YOLO"],
    )
    assert_equal(found, wanted(*SPLITS))
    lines = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (tmp_path / "tasks.json-YOLO" / "labels").glob("*.txt")
    }
    assert sum(lines.values()) == sum(map(len, IMAGES.values()))


def test_label_studio_takes_predictions(mill, peers, tmp_path):
    """With and without a score: null is no number there."""
    for number, score in enumerate((0.5, None)):
        region = Region("drop", (1.0, 2.0, 3.0, 4.0), score=score, annotator="florence-2")
        image = AnnotatedImage("images/val/clean.png", (HEIGHT, WIDTH), (region,))
        FORMATS["label-studio"].write(LabelSet(mill, CLASSES, (image,)), tmp_path / f"{number}.json")
        found = peers.ask(
            "label_studio_reads",
            config=tmp_path / f"{number}.config.xml",
            tasks=tmp_path / f"{number}.json",
        )
        assert_equal(found, {"clean.png": [["drop", 1.0, 2.0, 3.0, 4.0]]})


def test_transformers_parses_florence_lines(mill, tmp_path):
    """Florence-2's own processor finds the boxes in a line; it gives whole pixels, rounded down."""
    from transformers import Florence2Processor

    from tests.small_models.florence import write_small_model

    write_small_model(tmp_path / "model", taxonomy=load_taxonomy())
    processor = Florence2Processor.from_pretrained(tmp_path / "model")
    found = {}
    for line in (mill / "to-florence.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parsed = processor.post_process_generation(
            row["suffix"], task=row["prefix"], image_size=(WIDTH, HEIGHT)
        )
        answer = parsed["<OD>"]
        found[Path(row["image"]).name] = [
            [label.strip(), *box] for label, box in zip(answer["labels"], answer["bboxes"], strict=True)
        ]
    assert_equal(found, wanted(*SPLITS), tolerance_px=1 + WIDTH / 1000)


# What the peers write is read here.


def test_what_supervision_writes_is_read(mill, peers, tmp_path):
    data = mill / "to-dataset"
    yolo, coco, voc = (tmp_path / name for name in ("yolo", "coco", "voc"))
    images, labels = data / "images" / "train", data / "labels" / "train"
    peers.ask("supervision_yolo", images=images, labels=labels, data=data / "data.yaml", writes=yolo)
    peers.ask("supervision_coco", images=mill, file=mill / "to-coco.json", writes=coco)
    folder = mill / "images" / "train"
    peers.ask("supervision_voc", images=folder, labels=mill / "to-voc/images/train", writes=voc)
    text = (yolo / "data.yaml").read_text(encoding="utf-8")
    (yolo / "data.yaml").write_text(f"train: images/train\n{text}", encoding="utf-8")
    assert_equal(read_here(yolo), wanted("train"), tolerance_px=0.001)  # it rounds shares to 5 digits
    assert_equal(read_here(coco / "coco.json"), wanted(*SPLITS))
    flat = {name: rows for name, rows in wanted("train").items() if (folder / name).is_file()}
    # It counts from 1, and whole pixels: each edge moves by a pixel and a half at most.
    assert_equal(read_here(voc / "annotations"), flat, tolerance_px=1.5)


@pytest.mark.parametrize(
    ("form", "labels", "tolerance_px"),
    [
        pytest.param("coco", "annotations", DATUMARO_PX, id="coco"),
        pytest.param("cvat", ".", DATUMARO_PX, id="cvat"),
        pytest.param("voc", "Annotations", 2 * DATUMARO_PX, id="voc"),
        pytest.param("yolo_ultralytics", "data.yaml", DATUMARO_PX + 0.0002, id="yolo"),
    ],
)
def test_what_datumaro_writes_is_read(mill, peers, tmp_path, form, labels, tolerance_px):
    """It rounds places: to 0.01 px, or shares to a millionth."""
    shutil.copytree(mill / "to-dataset", tmp_path / "in")
    peers.ask("datumaro_reads", folder=tmp_path / "in", form="yolo", writes=[form])
    out = tmp_path / f"in-{form}"
    if form in ("coco", "cvat"):
        files = sorted((out / labels).glob("instances_*.json" if form == "coco" else "*.xml"))
        assert len(files) == 3
        found = {}
        for file in files:
            split = next(split for split in SPLITS if split in file.stem)
            image_folder = next(p for p in (out / "images" / split, out / "images") if p.is_dir())
            found |= read_here(file, image_folder)
    else:
        found = read_here(out / labels, out / "JPEGImages" if form == "voc" else None)
    # Datumaro does not write images without a box into every format.
    assert_equal(
        {n: rows for n, rows in found.items() if rows},
        {n: r for n, r in wanted(*SPLITS).items() if r},
        tolerance_px,
    )


def test_what_label_studio_converts_is_read(mill, peers, tmp_path):
    tasks = json.loads((mill / "to-label-studio.json").read_text(encoding="utf-8"))
    for task in tasks:
        task["data"]["image"] = str(mill / task["data"]["file_name"])
    (tmp_path / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    config = mill / "to-label-studio.config.xml"
    peers.ask("label_studio_reads", config=config, tasks=tmp_path / "tasks.json", writes=["COCO", "VOC"])
    with_boxes = {name: rows for name, rows in wanted(*SPLITS).items() if rows}
    coco = read_here(tmp_path / "tasks.json-COCO" / "result.json")
    assert_equal({name: rows for name, rows in coco.items() if rows}, with_boxes)
    voc = read_here(tmp_path / "tasks.json-VOC" / "Annotations", mill / "images")
    assert_equal(
        {name: rows for name, rows in voc.items() if rows}, with_boxes, tolerance_px=1.5
    )  # whole pixels, the right one within
