"""Read the data set folder that `distill` trains on: images, YOLO labels, and attributes of each box.

data.yaml                 path, splits, class names
images/SPLIT/...          the images
labels/SPLIT/...          YOLO labels, one file per image, empty where there is no defect
annotations/SPLIT.json    COCO with score, annotator, review state, weight, three-level label and group
manifest.json             sha256 of every other file
simulation.json           mm_per_px, where it is known

A box in a label file counts as it stands there; the COCO file adds what is known of it.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distill.labels.formats import coco
from distill.labels.formats.label_file import label_file
from distill.labels.formats.listed_twice import joined
from distill.labels.formats.yolo_description import Description, Split, images_of, read_description
from distill.labels.formats.yolo_label_files import lost_label_files, shown_name
from distill.labels.formats.yolo_rows import class_id_of, merged, region_of
from distill.labels.formats.yolo_writing import write
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from distill.labels.sets.documents import read_json, read_text
from distill.labels.sets.image_files import is_there, size_hw_px
from distill.labels.sets.problems import Problems
from edge.core.errors import DatasetError

__all__ = ["read", "write"]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hold what a label file says.

    Attributes:
        regions: in its order.
        class_ids: of all rows that begin with a number.
        unread: how many rows are no label; 1 where the file is not there and should be.
    """

    regions: tuple[Region, ...] = ()
    class_ids: frozenset[int] = frozenset()
    unread: int = 0


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read a data set folder, this project's or another program's.

    Args:
        source: the folder, or its data.yaml.
        image_folder: not used: data.yaml says where they are.
    Raises:
        DatasetError: if data.yaml is missing, damaged, or names no classes or no folder of a split.
    """
    description = read_description(source)
    root, class_names = description.root, description.class_names
    if not any(description.entries.values()):
        raise DatasetError(f"{description.file} leads to no folder of images.", "Correct its paths.")
    problems = Problems()
    for split, names in description.lacking.items():
        for name in names:
            problems.add(description.file.name, f"{split}: there is no folder '{name}'")
    _compare_with_classes_txt(root, class_names, problems)
    kept, in_doubt = _kept(root, problems)
    files = _files(description, problems)
    lost = lost_label_files((path for path, _ in files), description, problems)
    read_images = [
        (image, rows)
        for path, split in files
        for image, rows in _image(path, split, description, lost, kept, problems)
    ]
    numbered = _numbered_from_0(read_images, description, problems)
    images = _one_label_file_each(
        joined((_doubted(image, in_doubt) for image in numbered), problems), problems
    )
    _name_orphans(root, {*kept} - {image.file_name for image in images}, problems)
    mm_per_px = _mm_per_px(root, problems)
    return LabelSet(
        root,
        class_names,
        tuple(images),
        problems.by_file(),
        mm_per_px,
        problems.notes_by_file(),
    )


def _files(description: Description, problems: Problems) -> list[tuple[Path, Split]]:
    """Return every image with its split; an image that one split names twice stands there once."""
    pairs = [
        (path, split)
        for split, entries in description.entries.items()
        for entry in entries
        for path in images_of(entry, description.root, problems)
    ]
    return list(dict.fromkeys(pairs))


def _compare_with_classes_txt(root: Path, class_names: Sequence[str], problems: Problems) -> None:
    """LabelImg leaves a classes.txt whose order is that in which classes were first used."""
    for file in (root / "classes.txt", *sorted((root / "labels").glob("**/classes.txt"))):
        if file.is_file():
            listed = [name.strip() for name in read_text(file).splitlines() if name.strip()]
            if listed != [*class_names]:
                problems.add(
                    file.relative_to(root).as_posix(),
                    f"numbers the classes {', '.join(listed)}; data.yaml {', '.join(class_names)}",
                )


def _kept(root: Path, problems: Problems) -> tuple[dict[str, AnnotatedImage], frozenset[str]]:
    """Return what the COCO files know, by image, and the splits whose COCO file is damaged.

    Boxes that wait for a person stand there alone: without the file any image of the split may have some.
    """
    kept: dict[str, AnnotatedImage] = {}
    in_doubt: set[str] = set()
    for file in sorted((root / "annotations").glob("*.json")):
        name = file.relative_to(root).as_posix()
        try:
            label_set = coco.from_document(read_json(file), file, root)
        except DatasetError as error:
            problems.add(name, error.problem)
            in_doubt.add(file.stem)
            continue
        for where, problem in label_set.problems.items():
            problems.add(name, f"{where}: {problem}")
        kept |= {image.file_name: image for image in label_set.images}
    return kept, frozenset(in_doubt)


def _name_orphans(root: Path, listed: set[str], problems: Problems) -> None:
    """Name what COCO files say of images that are gone."""
    for name in sorted(listed):
        if not is_there(root / name):
            problems.add(name, "stands in a COCO file, but there is no such image")


def _image(
    path: Path,
    split: Split,
    description: Description,
    lost: frozenset[Path],
    kept: Mapping[str, AnnotatedImage],
    problems: Problems,
) -> list[tuple[AnnotatedImage, _Rows]]:
    """Return an image and what its label file says; nothing if the image has no size."""
    name = shown_name(path, description.root)
    file = label_file(path)
    try:
        size = size_hw_px(path)
    except DatasetError as error:
        problems.add(name, error.problem)
        return []
    rows = _rows(path, file, description, size, file in lost, problems)
    known = kept.get(name)
    regions, differences = merged(rows.regions, known.regions if known else (), size)
    for difference in differences:
        problems.add(shown_name(file, description.root), difference)
    if differences and not os.path.lexists(file):
        rows = replace(rows, unread=rows.unread + len(differences))
    unread = rows.unread + (known.unread if known else 0)
    group = known.group if known else None
    return [(AnnotatedImage(name, size, tuple(regions), group, split, unread), rows)]


def _rows(
    path: Path,
    file: Path,
    description: Description,
    size: tuple[int, int],
    is_lost: bool,
    problems: Problems,
) -> _Rows:
    shown = shown_name(file, description.root)
    if is_lost:
        beside = path.with_suffix(".txt")
        where = f"; {beside.name} lies beside the image: put it there" if is_there(beside) else ""
        problems.add(shown, f"there is no such label file{where}")
        return _Rows(unread=1)
    try:
        text = read_text(file) if os.path.lexists(file) else ""
    except DatasetError as error:
        problems.add(shown_name(path, description.root), error.problem)
        return _Rows(unread=1)
    regions: list[Region] = []
    class_ids: set[int] = set()
    unread = 0
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        try:
            class_ids.add(class_id_of(row))
            regions.append(region_of(row, description.class_names, size))
        except ValueError as error:
            problems.add(shown, f"line {number}: {error}")
            unread += 1
    return _Rows(tuple(regions), frozenset(class_ids), unread)


def _doubted(image: AnnotatedImage, in_doubt: frozenset[str]) -> AnnotatedImage:
    return replace(image, unread=image.unread + 1) if image.split in in_doubt else image


def _numbered_from_0(
    images: Iterable[tuple[AnnotatedImage, _Rows]], description: Description, problems: Problems
) -> list[AnnotatedImage]:
    """Count every box as unread where the labels number their classes from 1, and all names are one off.

    They do where the number behind the last is used, 0 is not, and nothing is beyond.
    """
    pairs = list(images)
    used = {number for _, rows in pairs for number in rows.class_ids}
    count = len(description.class_names)
    if 0 in used or max(used, default=0) != count:
        return [image for image, _ in pairs]
    wrong = f"numbers its classes from 0, the label files from 1 to {count}: all names would be wrong"
    problems.add(description.file.name, wrong)
    return [replace(image, unread=image.unread + len(rows.regions)) for image, rows in pairs]


def _one_label_file_each(images: Sequence[AnnotatedImage], problems: Problems) -> list[AnnotatedImage]:
    """Count the boxes as unread of images whose names differ by the suffix alone: of which are they?"""
    file_of = {image.file_name: label_file(Path(image.file_name)) for image in images}
    times = Counter(file_of.values())
    checked = []
    for image in images:
        if times[file_of[image.file_name]] > 1 and image.regions:
            problems.add(
                image.file_name, "another image has the same name but for its suffix, and the same labels"
            )
            image = replace(image, unread=image.unread + len(image.regions))
        checked.append(image)
    return checked


def _mm_per_px(root: Path, problems: Problems) -> float | None:
    """Read the scale where `distill` reads it, from simulation.json."""
    file = root / "simulation.json"
    if not file.is_file():
        return None
    try:
        record = read_json(file)
        scale = float(record["mm_per_px"] if "mm_per_px" in record else record["options"]["mm_per_px"])
    except (DatasetError, KeyError, TypeError, ValueError, OverflowError):
        problems.add(file.name, "does not say mm_per_px")
        return None
    if not 0 < scale < math.inf:
        problems.add(file.name, f"says that mm_per_px is {scale:g}: it must be above 0")
        return None
    return scale
