"""Write a data set folder; `distill.labels.formats.yolo` says what is in it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from distill.labels.formats import coco
from distill.labels.formats.yolo_rows import row_of, trainable_box
from distill.labels.sets.annotations import NOT_TRAINED_ON, AnnotatedImage, LabelSet, Region, WrittenLabels
from distill.labels.sets.image_files import decoded
from distill.labels.sets.problems import Problems
from edge import __version__
from edge.cameras.folder import IMAGE_SUFFIXES
from edge.core.detections import UNCLASSIFIED
from edge.core.errors import DatasetError
from edge.core.files import file_digest
from edge.core.publishing import name_below, new_folder

logger = logging.getLogger(__name__)

FORMAT = 1
SPLITS = ("train", "val", "test")

ImageWriter = Callable[[AnnotatedImage, Path], None]
"""Writes the image of an image to a path; raises DatasetError if it cannot be read."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """Say which image gets which name in the data set folder."""

    image: AnnotatedImage
    name: str


def write(label_set: LabelSet, target: Path, image_writer: ImageWriter | None = None) -> WrittenLabels:
    """Write a data set folder, images included.

    An image that cannot be read or is not as large as its labels say is left out and named. A box that a
    person rejected and one that waits for a person stand in the COCO file alone, and so does one of which
    nothing is inside the image: it is queued, so that its image does not pass for a clean one.

    Args:
        label_set: each image with a split.
        target: a new folder.
        image_writer: how to come by an image; None to copy it from the set's root.
    Raises:
        DatasetError: if an image has no split, a class is not one of the set's, two images would get the
            same name, or none can be read.
        OutputError: if the folder is not empty or cannot be written.
    """
    placed = _placed(label_set)
    problems = Problems()
    written = []
    with new_folder(target) as folder:
        for item in placed:
            try:
                _write_image(item, folder, image_writer or copier(label_set.root))
            except DatasetError as error:
                problems.add(item.image.file_name, error.problem)
                continue
            image = replace(_with_strays_queued(item.image, problems), file_name=item.name)
            _write_labels(image, folder, label_set.class_names)
            written.append(image)
        if not written:
            raise DatasetError("None of the images can be read.", "Name their folder with --pictures.")
        on_disk = replace(label_set, images=tuple(written))
        _write_descriptions(folder, on_disk)
    lacking = {"train", "val"} - {image.split for image in written}
    if lacking:
        logger.warning("no image in %s: `loomsight distill` needs both", " and ".join(sorted(lacking)))
    return WrittenLabels(on_disk, problems.by_file())


def _placed(label_set: LabelSet) -> list[_Placed]:
    """Give each image its name, checking what would fail half-way."""
    for image in label_set.images:
        if image.split not in SPLITS:
            raise DatasetError(
                f"{image.file_name} is in no split (one of {', '.join(SPLITS)}).",
                "Split the images: `--split train=0.8,val=0.2 --group 'REGEX'`.",
            )
    names = names_in_set(label_set.images)
    return [_Placed(image, name) for image, name in zip(label_set.images, names, strict=True)]


def names_in_set(images: Sequence[AnnotatedImage]) -> list[str]:
    """Return the name that each image gets in a data set folder.

    All images of a split lie in one folder, since many programs do not look into folders below it. Where
    the labels of two would then be one file, the folders they come from stand in their names.

    Args:
        images: each with a split.
    Raises:
        DatasetError: if two images would share one label file all the same.
    """
    short = [_name(image, with_folders=False) for image in images]
    times = Counter(map(_label_name, short))
    names = [
        _name(image, with_folders=True) if times[_label_name(name)] > 1 else name
        for image, name in zip(images, short, strict=True)
    ]
    first_of: dict[str, int] = {}
    firsts = [first_of.setdefault(_label_name(name), place) for place, name in enumerate(names)]
    twins = [(place, first) for place, first in enumerate(firsts) if place != first]
    if twins:
        more = f" (and {len(twins) - 1} more like them)" if len(twins) > 1 else ""
        one, other = (images[place].file_name for place in twins[0])
        raise DatasetError(f"{one} and {other} would share one label file{more}.", "Rename one of them.")
    return names


def _name(image: AnnotatedImage, *, with_folders: bool) -> str:
    """Return the name in the data set; `b/a.png` with its folders is `a-b.png`."""
    *folders, last = name_below(image.file_name).parts
    path = PurePosixPath(last)
    added = [part for part in folders if part != "images"] if with_folders else []
    return f"images/{image.split}/{'-'.join([path.stem, *added])}{path.suffix}"


def _label_name(name: str) -> str:
    """Return what names of one label file have in common, also where case does not tell files apart."""
    return str(PurePosixPath(name.casefold()).with_suffix(""))


def copier(root: Path) -> ImageWriter:
    """Return what copies images from a folder, once it has decoded them whole."""

    def copy(image: AnnotatedImage, path: Path) -> None:
        source = root / image.file_name
        if source.suffix.lower() not in IMAGE_SUFFIXES:
            raise DatasetError(f"'{source.suffix}' is no suffix of an image", "Save it as PNG.")
        height, width = decoded(source).shape[:2]
        if (height, width) != image.size_hw_px:
            expected_height, expected_width = image.size_hw_px
            raise DatasetError(
                f"is {width} x {height} pixels, its labels are for {expected_width} x {expected_height}",
                "Label it again.",
            )
        path.write_bytes(source.read_bytes())

    return copy


def _write_image(item: _Placed, folder: Path, image_writer: ImageWriter) -> None:
    path = folder / item.name
    path.parent.mkdir(parents=True, exist_ok=True)
    image_writer(item.image, path)


def _with_strays_queued(image: AnnotatedImage, problems: Problems) -> AnnotatedImage:
    """Queue the boxes of which nothing is inside the image, each a problem."""
    regions: list[Region] = []
    for region in image.regions:
        if region.review in NOT_TRAINED_ON or trainable_box(region, image.size_hw_px):
            regions.append(region)
            continue
        corners = ", ".join(f"{corner:g}" for corner in region.box_xyxy_px)
        problems.add(image.file_name, f"box {corners}: nothing of it is inside, the image waits for review")
        regions.append(replace(region, review="queued"))
    return replace(image, regions=tuple(regions))


def _write_labels(image: AnnotatedImage, folder: Path, class_names: tuple[str, ...]) -> None:
    rows = []
    for region in image.regions:
        box = trainable_box(region, image.size_hw_px)
        if region.label not in class_names and (box or region.label != UNCLASSIFIED):
            raise DatasetError(f"'{region.label}' is not one of the set's classes.", "Add it to them.")
        if box:
            rows.append(row_of(class_names.index(region.label), box, image.size_hw_px) + "\n")
    relative = PurePosixPath(image.file_name).relative_to("images")
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
    # No `path`: ultralytics starts a relative one from its own working folder; without one it looks here.
    lines = [*(f"{split}: images/{split}" for split in splits), "names:"]
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
