"""Answer requests as other programs would: one JSON line in, one out.

It runs in .venv-peers, without loomsight. A request is {"do": NAME, "cwd": FOLDER, ...}; the answer
{"boxes": {NAME OF THE IMAGE: [[CLASS, x1, y1, x2, y2], ...]}} of what was read, in pixels, or
{"error": TEXT}.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import warnings
from collections import defaultdict
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import datumaro  # noqa: E402
import supervision  # noqa: E402
from label_studio_sdk._extensions.label_studio_tools.core.label_config import parse_config  # noqa: E402
from label_studio_sdk.converter import Converter  # noqa: E402
from label_studio_sdk.converter.imports.yolo import convert_yolo_to_ls  # noqa: E402
from label_studio_sdk.label_interface import LabelInterface  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402

Detections = supervision.DetectionDataset


def of_supervision(dataset, offset=0):
    """Return the boxes of a data set of supervision; images without a box stand there, too."""
    found = {}
    for path, _, detections in dataset:
        rows = zip(detections.class_id if len(detections) else (), detections.xyxy.tolist(), strict=True)
        name = Path(path).name
        assert name not in found, name
        found[name] = [
            [dataset.classes[int(number)], x1 + offset, y1 + offset, x2, y2]
            for number, (x1, y1, x2, y2) in rows
        ]
    return found


def of_datumaro(dataset):
    names = dataset.categories()[datumaro.AnnotationType.label]
    found = {}
    for item in dataset:
        boxes = [a for a in item.annotations if a.type == datumaro.AnnotationType.bbox]
        found[Path(item.media.path).name if item.media else item.id] = [
            [
                names[box.label].name,
                *map(float, (box.points[0], box.points[1], box.points[2], box.points[3])),
            ]
            for box in boxes
        ]
    return found


def supervision_yolo(images, labels, data, writes=None):
    dataset = Detections.from_yolo(
        images_directory_path=images, annotations_directory_path=labels, data_yaml_path=data
    )
    if writes:
        dataset.as_yolo(f"{writes}/images/train", f"{writes}/labels/train", f"{writes}/data.yaml")
    return of_supervision(dataset)


def supervision_coco(images, file, writes=None):
    dataset = Detections.from_coco(images_directory_path=images, annotations_path=file)
    if writes:
        dataset.as_coco(f"{writes}/images", f"{writes}/coco.json")
    return of_supervision(dataset)


def supervision_voc(images, labels, writes=None):
    """VOC's own tools count pixels from 1: supervision takes 1 off the left and upper edge."""
    dataset = Detections.from_pascal_voc(images_directory_path=images, annotations_directory_path=labels)
    if writes:
        dataset.as_pascal_voc(f"{writes}/images", f"{writes}/annotations")
    return of_supervision(dataset, offset=1)


def datumaro_reads(folder, form, writes=(), stream=False):
    kind = datumaro.StreamDataset if stream else datumaro.Dataset
    dataset = kind.import_from(folder, form)
    found = of_datumaro(dataset)
    for other in writes:
        dataset.export(f"{folder}-{other}", other, save_media=True)
    return found


def pycocotools_reads(file):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(file)
        rows = [{**a, "score": 0.9} for a in coco.dataset["annotations"]]
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert round(float(evaluation.stats[0]), 9) == 1, "the boxes are not found by themselves"
    found = {Path(image["file_name"]).name: [] for image in coco.imgs.values()}
    for row in coco.anns.values():
        x, y, width, height = row["bbox"]
        name = Path(coco.imgs[row["image_id"]]["file_name"]).name
        found[name].append([coco.cats[row["category_id"]]["name"], x, y, x + width, y + height])
    return found


def label_studio_reads(config, tasks, writes=()):
    """Validate tasks against the configuration, and convert them to the formats named."""
    text = Path(config).read_text(encoding="utf-8")
    interface = LabelInterface(text)
    assert interface.validate() is None
    assert parse_config(text)
    found = defaultdict(list)
    for task in json.loads(Path(tasks).read_text(encoding="utf-8")):
        annotations, predictions = task.get("annotations", []), task.get("predictions", [])
        assert interface.validate_task({"data": task["data"]}), task
        for one in annotations:
            assert interface.validate_annotation(one), one
        for one in predictions:
            assert not interface.validate_prediction(one, return_errors=True), one
        results = [*annotations, *predictions]
        rows = found[Path(task["data"]["file_name"]).name]
        for result in (row for one in results for row in one["result"]):
            value, width, height = result["value"], result["original_width"], result["original_height"]
            left, top = value["x"] * width / 100, value["y"] * height / 100
            right, bottom = left + value["width"] * width / 100, top + value["height"] * height / 100
            rows.append([value["rectanglelabels"][0], left, top, right, bottom])
    for form in writes:
        converter = Converter(config=text, project_dir=".", download_resources=False)
        converter.convert(tasks, f"{tasks}-{form}", form, is_dir=False)
    return dict(found)


def label_studio_imports_yolo(folder, writes):
    with contextlib.redirect_stdout(io.StringIO()):
        convert_yolo_to_ls(folder, writes, image_ext=".png,.PNG,.jpg,.bmp")
    return {}


REQUESTS = {function.__name__: function for function in (
    supervision_yolo, supervision_coco, supervision_voc, datumaro_reads, pycocotools_reads,
    label_studio_reads, label_studio_imports_yolo,
)}  # fmt: skip


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(request.pop("cwd"))
        try:
            answer = {"boxes": REQUESTS[request.pop("do")](**request)}
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is the answer
            cause = error.__cause__ or error
            answer = {"error": f"{type(cause).__name__}: {cause}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
