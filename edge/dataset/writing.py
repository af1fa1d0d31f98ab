"""Write a data set of simulated cloth: images, YOLO labels and COCO annotations.

It is written into a temporary folder beside its place and renamed when it is whole.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from edge.core.errors import OutputError
from edge.core.publishing import new_folder
from edge.core.taxonomy import Taxonomy, load_taxonomy
from edge.dataset.clean_folder import CleanFolder, survey
from edge.dataset.image import DatasetImage, coco_annotations, draw_image, encode_png, yolo_lines
from edge.dataset.options import SPLITS, DatasetOptions
from edge.dataset.planting import Planter
from edge.process.interruption import leave_to_parent

Progress = Callable[[int, int], None]
Draw = Callable[[int], DatasetImage]


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """Say what a data set came to.

    Attributes:
        folder: where it lies.
        images: images per split.
        defects: defects per split and class.
    """

    folder: Path
    images: dict[str, int]
    defects: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class _Written:
    """Say what became of one image: its split, its COCO image entry and its annotations."""

    split: str
    image: dict[str, Any]
    annotations: list[dict[str, Any]]


def write_dataset(
    folder: Path,
    options: DatasetOptions,
    taxonomy: Taxonomy | None = None,
    on_progress: Progress | None = None,
) -> DatasetSummary:
    """Write a data set; the same options give the same files, whatever the number of processes.

    Args:
        folder: where it is to lie; it must not exist, or be empty.
        options: what it consists of.
        taxonomy: classes and their order; None for the shipped one.
        on_progress: called with (images done, images in all).
    Raises:
        OutputError: if the folder holds something already or cannot be written.
        CameraNotFoundError, NoImagesError: if the folder of clean images holds none that can be used.
        ImageError: if a clean image vanishes meanwhile.
    """
    taxonomy = taxonomy or load_taxonomy()
    clean = survey(options.on, options) if options.on is not None else None
    draw = Planter(options, taxonomy, clean) if clean else partial(draw_image, options, taxonomy)
    try:
        with new_folder(folder) as partial_folder:
            written = []
            for item in _write_images(partial_folder, options, taxonomy, draw):
                written.append(item)
                if on_progress:
                    on_progress(len(written), options.images)
            _write_annotations(partial_folder, options, taxonomy, written)
            _write_descriptions(partial_folder, options, taxonomy, clean)
    except BrokenProcessPool as error:
        raise OutputError(
            f"A process that drew images for {folder} was ended from outside.",
            "Check free memory, use fewer workers; nothing was left behind.",
        ) from error
    return _summary(folder, written, taxonomy)


def _write_images(
    folder: Path, options: DatasetOptions, taxonomy: Taxonomy, draw: Draw
) -> Iterator[_Written]:
    """Draw and write all images, in the order of their index."""
    for split in _splits(options):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
    write = partial(_write_image, folder, options, taxonomy, draw)
    if options.workers == 1:
        yield from map(write, range(options.images))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, context, initializer=_quiet_worker) as pool:
        try:
            yield from pool.map(write, range(options.images), chunksize=8)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _quiet_worker() -> None:
    """Leave Ctrl-C to the parent, and each worker to one core."""
    leave_to_parent()
    cv2.setNumThreads(1)


def _write_image(
    folder: Path, options: DatasetOptions, taxonomy: Taxonomy, draw: Draw, index: int
) -> _Written:
    """Draw one image and write it with its labels."""
    image = draw(index)
    split, stem = options.split_of(index), f"{index:06d}"
    (folder / "images" / split / f"{stem}.png").write_bytes(encode_png(image.image))
    labels = yolo_lines(image, taxonomy)
    (folder / "labels" / split / f"{stem}.txt").write_text(labels, encoding="utf-8")
    height, width = image.image.shape[:2]
    entry = {"id": index, "file_name": f"images/{split}/{stem}.png", "height": height,
             "width": width, "seed": image.seed}  # fmt: skip
    if image.clean_image is not None:
        entry |= {"clean_image": image.clean_image, "corner_xy_px": list(image.corner_xy_px)}
    return _Written(split, entry, coco_annotations(image, taxonomy))


def _write_annotations(
    folder: Path, options: DatasetOptions, taxonomy: Taxonomy, written: list[_Written]
) -> None:
    """Write one COCO file per split."""
    (folder / "annotations").mkdir()
    categories = [
        {"id": class_id + 1, "name": name, "supercategory": "defect"}
        for class_id, name in enumerate(taxonomy.classes)
    ]
    for split in _splits(options):
        items = [item for item in written if item.split == split]
        annotations = [annotation for item in items for annotation in item.annotations]
        coco = {
            "info": {
                "description": "clean cloth with planted defects"
                if options.on
                else "simulated cloth with planted defects"
            },
            "licenses": [],
            "images": [item.image for item in items],
            "categories": categories,
            "annotations": [{"id": number + 1, **a} for number, a in enumerate(annotations)],
        }
        text = json.dumps(coco, separators=(",", ":"))
        (folder / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")


def _write_descriptions(
    folder: Path, options: DatasetOptions, taxonomy: Taxonomy, clean: CleanFolder | None
) -> None:
    """Write `data.yaml`, which trainers read, and `simulation.json`, which tells how it was made."""
    # No `path`: ultralytics starts a relative one from its own working folder; without one it looks here.
    lines = [*(f"{split}: images/{split}" for split in _splits(options)), "names:"]
    lines += [f"  {class_id}: {json.dumps(name)}" for class_id, name in enumerate(taxonomy.classes)]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    made: dict[str, object] = {
        "options": options.model_dump(mode="json", exclude={"workers"}),
        "taxonomy_version": taxonomy.version,
        "classes": list(taxonomy.classes),
    }
    if clean is not None:
        made["clean_images"] = clean.described()
    text = json.dumps(made, indent=2) + "\n"
    (folder / "simulation.json").write_text(text, encoding="utf-8")


def _splits(options: DatasetOptions) -> list[str]:
    """Return the splits that get images, in their usual order."""
    return [split for split in SPLITS if options.split.get(split, 0.0) > 0]


def _summary(folder: Path, written: list[_Written], taxonomy: Taxonomy) -> DatasetSummary:
    """Count images and defects."""
    images: Counter[str] = Counter(item.split for item in written)
    defects = {split: dict.fromkeys(taxonomy.classes, 0) for split in images}
    for item in written:
        for annotation in item.annotations:
            defects[item.split][taxonomy.classes[annotation["category_id"] - 1]] += 1
    return DatasetSummary(folder, dict(images), defects)
