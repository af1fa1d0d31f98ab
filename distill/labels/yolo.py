"""The data set folder that `distill` trains on: pictures, YOLO labels, and all that is known of each box.

data.yaml                 path, splits, class names
images/SPLIT/...          the pictures
labels/SPLIT/...          YOLO labels, one file per picture, empty where there is no defect
annotations/SPLIT.json    COCO with score, annotator, review state, weight, three-level label and group
manifest.json             sha256 of every other file
simulation.json           mm_per_px, where it is known

A box in a label file counts as it stands there; the COCO file adds what is known of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from distill.dataset import label_file
from distill.labels import coco
from distill.labels.annotations import AnnotatedImage, LabelSet, Region
from distill.labels.documents import read_json, read_text
from distill.labels.picture_files import size_hw_px
from distill.labels.problems import Problems
from distill.labels.yolo_rows import merged, region_of
from distill.labels.yolo_writing import SPLITS, write
from edge.cameras.folder import picture_files
from edge.errors import DatasetError

__all__ = ["read", "write"]


def read(source: Path, pictures: Path | None = None) -> LabelSet:
    """Read a data set folder, this project's or another program's.

    Args:
        source: the folder, or its data.yaml.
        pictures: not used: data.yaml says where they are.
    Raises:
        DatasetError: if data.yaml is missing, damaged, or names no classes or no folder of a split.
    """
    description_file = source if source.is_file() else source / "data.yaml"
    description = _description(description_file)
    class_names = _class_names(description.get("names"), description_file)
    root = Path(os.path.normpath(description_file.parent / str(description.get("path") or ".")))
    problems = Problems()
    _compare_with_classes_txt(root, class_names, problems)
    kept = _kept(root, problems)
    folders = [(split, root / str(description[split])) for split in SPLITS if description.get(split)]
    if not any(folder.is_dir() for _, folder in folders):
        raise DatasetError(f"{description_file} leads to no folder of pictures.", "Correct its paths.")
    images = [
        image
        for split, folder in folders
        for path in picture_files(folder)
        for image in _image(path, split, root, class_names, kept, problems)
    ]
    _name_orphans(
        root, [folder for _, folder in folders], {*kept} - {i.file_name for i in images}, problems
    )
    ordered = tuple(sorted(images, key=lambda image: image.file_name))
    return LabelSet(root, tuple(class_names), ordered, problems.by_file(), _mm_per_px(root, problems))


def _description(file: Path) -> Mapping[str, Any]:
    try:
        description = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file} is not valid YAML: {error}.", "Correct it.") from error
    if not isinstance(description, dict):
        raise DatasetError(f"{file} holds no keys.", "It needs path, train, val and names.")
    return description


def _class_names(names: object, file: Path) -> list[str]:
    """Return the names by number; "" for a number that has none."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(isinstance(key, int) for key in names):
        raise DatasetError(f"{file} names no classes.", "Add a line such as `names: [wrinkle, drop]`.")
    if min(names) < 0 or max(names) > 9999:
        raise DatasetError(f"{file} numbers its classes from {min(names)} to {max(names)}.", "Use 0 on.")
    return [str(names.get(number, "")).strip() for number in range(max(names) + 1)]


def _compare_with_classes_txt(root: Path, class_names: list[str], problems: Problems) -> None:
    """LabelImg leaves a classes.txt whose order is that in which classes were first used."""
    for file in (root / "classes.txt", *sorted((root / "labels").glob("**/classes.txt"))):
        if file.is_file():
            listed = [name.strip() for name in read_text(file).splitlines() if name.strip()]
            if listed != class_names:
                problems.add(
                    file.relative_to(root).as_posix(),
                    f"numbers the classes {', '.join(listed)}; data.yaml {', '.join(class_names)}",
                )


def _kept(root: Path, problems: Problems) -> dict[str, AnnotatedImage]:
    """Read what the COCO files know, by picture."""
    kept: dict[str, AnnotatedImage] = {}
    for file in sorted((root / "annotations").glob("*.json")):
        name = file.relative_to(root).as_posix()
        try:
            label_set = coco.from_document(read_json(file), file, root)
        except DatasetError as error:
            problems.add(name, error.problem)
            continue
        for where, problem in label_set.problems.items():
            problems.add(name, f"{where}: {problem}")
        kept |= {image.file_name: image for image in label_set.images}
    return kept


def _name_orphans(root: Path, folders: list[Path], listed: set[str], problems: Problems) -> None:
    """Name labels whose picture is gone."""
    for name in sorted(listed):
        if not (root / name).is_file():
            problems.add(name, "stands in a COCO file, but there is no such picture")
    for folder in folders:
        stems = {label_file(path) for path in picture_files(folder)}
        for file in sorted(label_file(folder / "any").parent.rglob("*.txt")):
            if file not in stems and file.name != "classes.txt":
                problems.add(os.path.relpath(file, root).replace(os.sep, "/"), "has no picture")


def _image(
    path: Path,
    split: str,
    root: Path,
    class_names: list[str],
    kept: Mapping[str, AnnotatedImage],
    problems: Problems,
) -> Iterator[AnnotatedImage]:
    name = os.path.relpath(path, root).replace(os.sep, "/")
    file = label_file(path)
    shown = os.path.relpath(file, root).replace(os.sep, "/")
    try:
        size = size_hw_px(path)
        text = read_text(file) if file.exists() else ""
    except DatasetError as error:
        problems.add(name, error.problem)
        return
    rows: list[Region] = []
    for number, row in enumerate(text.splitlines(), start=1):
        try:
            rows += [region_of(row, class_names, size)] if row.strip() else []
        except ValueError as error:
            problems.add(shown, f"line {number}: {error}")
    known = kept.get(name)
    regions, differences = merged(rows, known.regions if known else (), size)
    for difference in differences:
        problems.add(shown, difference)
    yield AnnotatedImage(name, size, tuple(regions), known.group if known else None, split)


def _mm_per_px(root: Path, problems: Problems) -> float | None:
    """Read the scale where `distill` reads it, from simulation.json."""
    file = root / "simulation.json"
    if not file.is_file():
        return None
    try:
        record = read_json(file)
        scale = float(record["mm_per_px"] if "mm_per_px" in record else record["options"]["mm_per_px"])
    except (DatasetError, KeyError, TypeError, ValueError):
        problems.add(file.name, "does not say mm_per_px")
        return None
    return scale if scale > 0 else None
