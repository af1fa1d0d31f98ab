"""Write a data set folder; `distill.labels.yolo` says what is in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from distill.labels import coco
from distill.labels.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet
from distill.labels.picture_files import decoded
from distill.labels.problems import Problems
from distill.labels.yolo_rows import row_of, trainable_box
from edge import __version__
from edge.cameras.folder import PICTURE_SUFFIXES
from edge.digest import file_digest
from edge.errors import DatasetError
from edge.sinks.publishing import name_below, new_folder

logger = logging.getLogger(__name__)

FORMAT = 1
SPLITS = ("train", "val", "test")

PictureWriter = Callable[[AnnotatedImage, Path], None]
"""Writes the picture of an image to a path; raises DatasetError if it cannot be read."""


class _NamesClashError(DatasetError):
    """Two pictures would get one name."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """Say which image gets which name in the data set folder."""

    image: AnnotatedImage
    name: str


def write(label_set: LabelSet, target: Path, picture_writer: PictureWriter | None = None) -> dict[str, str]:
    """Write a data set folder, pictures included.

    A picture that cannot be read or is not as large as its labels say is left out and named; a box of which
    nothing is inside the picture, one a person rejected and one that waits for a person stand in the COCO
    file alone.

    Args:
        label_set: each image with a split.
        target: a new folder.
        picture_writer: how to come by a picture; None to copy it from the set's root.
    Returns:
        What could not be written, file -> one line.
    Raises:
        DatasetError: if an image has no split, a class is not one of the set's, two pictures would get the
            same name, or none can be read.
        OutputError: if the folder is not empty or cannot be written.
    """
    placed = _placed(label_set)
    problems = Problems()
    written = []
    with new_folder(target) as folder:
        for item in placed:
            try:
                _write_picture(item, folder, picture_writer or copier(label_set.root))
            except DatasetError as error:
                problems.add(item.image.file_name, error.problem)
                continue
            _write_labels(item, folder, label_set.class_names, problems)
            written.append(replace(item.image, file_name=item.name))
        if not written:
            raise DatasetError("None of the pictures can be read.", "Name their folder with --pictures.")
        _write_descriptions(folder, replace(label_set, images=tuple(written)))
    lacking = {"train", "val"} - {image.split for image in written}
    if lacking:
        logger.warning("no picture in %s: `loomsight distill` needs both", " and ".join(sorted(lacking)))
    return problems.by_file()


def _placed(label_set: LabelSet) -> list[_Placed]:
    """Give each image its name, checking what would fail half-way.

    The folders of the splits a set comes from are left away, unless names would then clash.
    """
    try:
        return _placed_as(label_set, keeps_splits=False)
    except _NamesClashError:
        return _placed_as(label_set, keeps_splits=True)


def _placed_as(label_set: LabelSet, *, keeps_splits: bool) -> list[_Placed]:
    names: dict[PurePosixPath, str] = {}
    placed = []
    for image in label_set.images:
        if image.split not in SPLITS:
            raise DatasetError(
                f"{image.file_name} is in no split (one of {', '.join(SPLITS)}).",
                "Share the pictures out: `--split train=0.8,val=0.2 --group 'REGEX'`.",
            )
        name = f"images/{image.split}/{_name_in_split(image.file_name, keeps_splits)}"
        stem = PurePosixPath(name.casefold()).with_suffix("")
        if stem in names:
            raise _NamesClashError(
                f"{image.file_name} and {names[stem]} would share one label file.", "Rename one of them."
            )
        names[stem] = image.file_name
        placed.append(_Placed(image, name))
    return placed


def _name_in_split(file_name: str, keeps_split: bool) -> str:
    """Return the name below images/SPLIT; a folder `images` in it would mislead trainers."""
    parts = [part for part in name_below(file_name).parts if part != "images"]
    if not keeps_split and len(parts) > 1 and parts[0] in SPLITS:
        parts = parts[1:]
    if not parts:
        raise DatasetError(f"'{file_name}' is no name of a picture.", "Correct it.")
    return "/".join(parts)


def copier(root: Path) -> PictureWriter:
    """Return what copies pictures from a folder, once it has decoded them whole."""

    def copy(image: AnnotatedImage, path: Path) -> None:
        picture = root / image.file_name
        if picture.suffix.lower() not in PICTURE_SUFFIXES:
            raise DatasetError(f"'{picture.suffix}' is no suffix of a picture", "Save it as PNG.")
        height, width = decoded(picture).shape[:2]
        if (height, width) != image.size_hw_px:
            expected_height, expected_width = image.size_hw_px
            raise DatasetError(
                f"is {width} x {height} pixels, its labels are for {expected_width} x {expected_height}",
                "Label it again.",
            )
        path.write_bytes(picture.read_bytes())

    return copy


def _write_picture(item: _Placed, folder: Path, picture_writer: PictureWriter) -> None:
    path = folder / item.name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture_writer(item.image, path)


def _write_labels(item: _Placed, folder: Path, class_names: tuple[str, ...], problems: Problems) -> None:
    rows = []
    for region in item.image.regions:
        box = trainable_box(region, item.image.size_hw_px)
        if region.label not in class_names:
            raise DatasetError(f"'{region.label}' is not one of the set's classes.", "Add it to them.")
        if box:
            rows.append(row_of(class_names.index(region.label), box, item.image.size_hw_px) + "\n")
        elif region.review not in NOT_TRAINED_ON:
            corners = ", ".join(f"{corner:g}" for corner in region.box_xyxy_px)
            problems.add(item.image.file_name, f"box {corners} is not trained on: nothing of it is inside")
    relative = PurePosixPath(item.name).relative_to("images")
    path = (folder / "labels" / relative).with_suffix(".txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(rows), encoding="utf-8")


def _write_descriptions(folder: Path, label_set: LabelSet) -> None:
    splits = [split for split in SPLITS if any(image.split == split for image in label_set.images)]
    (folder / "annotations").mkdir()
    for split in splits:
        part = tuple(image for image in label_set.images if image.split == split)
        text = json.dumps(coco.document(replace(label_set, images=part), ".."), ensure_ascii=False)
        (folder / "annotations" / f"{split}.json").write_text(text + "\n", encoding="utf-8")
    lines = ["path: .", *(f"{split}: images/{split}" for split in splits), "names:"]
    lines += [
        f"  {number}: {json.dumps(name, ensure_ascii=False)}"
        for number, name in enumerate(label_set.class_names)
    ]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if label_set.mm_per_px is not None:
        scale = json.dumps({"mm_per_px": label_set.mm_per_px})
        (folder / "simulation.json").write_text(scale + "\n", encoding="utf-8")
    _write_manifest(folder, label_set.class_names)


def _write_manifest(folder: Path, class_names: tuple[str, ...]) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "format": FORMAT,
        "loomsight_version": __version__,
        "class_names": list(class_names),
        "files": {path.relative_to(folder).as_posix(): file_digest(path) for path in files},
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=1)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
