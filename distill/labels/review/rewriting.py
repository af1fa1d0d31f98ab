"""Bring the files of a data set up to what was decided: label files, COCO files, manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.labels.formats import coco
from distill.labels.formats.label_file import label_file
from distill.labels.formats.yolo_rows import region_of, row_of, trainable_box
from distill.labels.sets.annotations import AnnotatedImage, LabelSet
from distill.labels.sets.documents import read_json, read_text
from edge.core.errors import DatasetError
from edge.core.files import file_digest, write_whole


def write_label_file(root: Path, image: AnnotatedImage, class_names: Sequence[str]) -> Path:
    """Write the label file of an image; lines in it that are no label stay.

    Raises:
        OutputError: if it cannot be written; the one before is then still there.
    """
    path = label_file(root / image.file_name)
    rows = []
    for region in image.regions:
        box = trainable_box(region, image.size_hw_px)
        if box:
            rows.append(row_of(class_names.index(region.label), box, image.size_hw_px))
    kept = _rows_that_are_no_label(path, image, class_names)
    write_whole(path, "".join(f"{row}\n" for row in (*rows, *kept)).encode())
    return path


def write_coco_files(label_set: LabelSet, names: Iterable[str]) -> list[Path]:
    """Write the COCO files of some images; what they say of others stays as it is.

    Args:
        label_set: as it is now.
        names: of the images that were decided on.
    Returns:
        The files.
    Raises:
        DatasetError: if one cannot be read.
        OutputError: if one cannot be written.
    """
    wanted = frozenset(names)
    images = {image.file_name: image for image in label_set.images if image.file_name in wanted}
    folder = label_set.root / "annotations"
    documents = {file: _document(file) for file in sorted(folder.glob("*.json"))}
    file_of = {str(row.get("file_name")): file for file, one in documents.items() for row in one["images"]}
    changed: dict[Path, list[AnnotatedImage]] = {}
    for name, image in images.items():
        changed.setdefault(file_of.get(name, folder / f"{image.split}.json"), []).append(image)
    for file, held in changed.items():
        part = replace(label_set, images=tuple(held))
        empty = coco.document(replace(part, images=()), "..")
        document = with_images(documents.get(file, empty), part)
        write_whole(file, (json.dumps(document, ensure_ascii=False) + "\n").encode())
    return list(changed)


def with_images(document: Mapping[str, Any], label_set: LabelSet) -> dict[str, Any]:
    """Return a COCO document that says of some images what a label set says of them.

    Args:
        document: with its own ids and any further keys; they stay.
        label_set: the images.
    """
    new = coco.document(label_set, "..")
    categories = [*document["categories"]]
    names = {str(row.get("name", "")).strip(): row.get("id") for row in categories}
    for row in new["categories"]:
        if row["name"] not in names:
            names[row["name"]] = _free_id(categories)
            categories.append({**row, "id": names[row["name"]]})
    images = [*document["images"]]
    ids = {str(row.get("file_name")): row.get("id") for row in images}
    for row in new["images"]:
        if row["file_name"] not in ids:
            ids[row["file_name"]] = _free_id(images)
            images.append({**row, "id": ids[row["file_name"]]})
    replaced = {str(ids[row["file_name"]]) for row in new["images"]}
    annotations = [row for row in document["annotations"] if str(row.get("image_id")) not in replaced]
    first = _free_id(document["annotations"])
    name_of = {row["id"]: row["file_name"] for row in new["images"]}
    label_of = {row["id"]: row["name"] for row in new["categories"]}
    for number, row in enumerate(new["annotations"], start=first):
        own = {
            "image_id": ids[name_of[row["image_id"]]],
            "category_id": names[label_of[row["category_id"]]],
        }
        annotations.append({**row, "id": number, **own})
    return {**document, "images": images, "categories": categories, "annotations": annotations}


def update_manifest(root: Path, files: Iterable[Path]) -> None:
    """Give the manifest, where there is one, the digests of files that were written.

    Raises:
        DatasetError: if it cannot be read.
        OutputError: if it cannot be written.
    """
    path = root / "manifest.json"
    if not path.is_file():
        return
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DatasetError(f"{path} lists no files.", "Remove it, or write the data set again.")
    inside = [file for file in files if file.is_relative_to(root)]
    digests = {file.relative_to(root).as_posix(): file_digest(file) for file in inside}
    listed = dict(sorted({**manifest["files"], **digests}.items()))
    text = json.dumps({**manifest, "files": listed}, ensure_ascii=False, indent=1)
    write_whole(path, f"{text}\n".encode())


def _rows_that_are_no_label(path: Path, image: AnnotatedImage, class_names: Sequence[str]) -> list[str]:
    def is_label(row: str) -> bool:
        try:
            region_of(row, class_names, image.size_hw_px)
        except ValueError:
            return False
        return True

    rows = read_text(path).splitlines() if path.exists() else []
    return [row for row in rows if row.strip() and not is_label(row)]


def _document(file: Path) -> dict[str, Any]:
    document = read_json(file)
    tables = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(_is_table(document.get(name)) for name in tables):
        raise DatasetError(f"{file} is no COCO file.", "Correct or remove it: no decision is lost.")
    return document


def _is_table(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _free_id(rows: Sequence[Mapping[str, Any]]) -> int:
    return max((row["id"] for row in rows if isinstance(row.get("id"), int)), default=0) + 1
