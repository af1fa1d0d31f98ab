"""A folder of pictures and boxes in ultralytics' form, read and checked before anything is trained.

data.yaml            path, train, val, (test), names
images/<split>/*.png
labels/<split>/*.txt one line per box: class, then centre x, centre y, width, height as shares
annotations/*.json   optional; COCO with the weight of each box
simulation.json      optional; the simulator's options, among them mm_per_px
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]
from numpy.typing import NDArray

from distill.box_weights import BoxWeights
from edge.cameras.folder import PICTURE_SUFFIXES, picture_files, read_picture
from edge.errors import DatasetError, ImageError
from edge.image import Image

logger = logging.getLogger(__name__)

EDGE_TOLERANCE = 1e-4
"""How far a share may lie outside 0..1 from rounding alone; it is then clipped."""


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture on disk and the truth about it.

    Attributes:
        boxes_share: (N, 4) float64: x1, y1, x2, y2 as shares of width and height.
        class_ids: (N,) int64, ids of the taxonomy.
        weights: (N,) float32 in [0, 1], how much each box is trusted; None for 1 throughout.
    """

    path: Path
    boxes_share: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None

    def boxes_xyxy_px(self, image: Image) -> NDArray[np.float32]:
        """Return the boxes in pixels of the decoded picture, (N, 4) float32."""
        height, width = image.shape[:2]
        return np.asarray(self.boxes_share * (width, height, width, height), np.float32)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set whose labels have been checked.

    Attributes:
        mm_per_px: size of a pixel on the cloth; None if the data set does not say.
    """

    folder: Path
    train: tuple[LabelledPicture, ...]
    val: tuple[LabelledPicture, ...]
    mm_per_px: float | None


def load_dataset(folder: Path, class_names: tuple[str, ...]) -> Dataset:
    """Read a data set; its classes are mapped by name to the positions in `class_names`.

    Raises:
        DatasetError: if data.yaml, a folder or every picture of a split is missing, a label is damaged
            or a class is not one of `class_names`.
    """
    description_file = folder / "data.yaml"
    description = _read_description(description_file)
    class_ids = _class_ids(description.get("names"), class_names, description_file)
    root = folder / str(description.get("path") or ".")
    for split in ("train", "val"):
        if not isinstance(description.get(split), str):
            raise DatasetError(
                f"{description_file} names no folder '{split}'.",
                f"Add a line such as `{split}: images/{split}`.",
            )
    return Dataset(
        folder=folder,
        train=_weighted(_read_split(root / description["train"], class_ids), BoxWeights(folder, "train")),
        val=_read_split(root / description["val"], class_ids),
        mm_per_px=_scale_of_simulation(folder),
    )


def check_classes(dataset: Dataset, class_names: tuple[str, ...]) -> None:
    """Say which classes cannot be learnt or measured, because a split shows none of them.

    Raises:
        DatasetError: if no training picture shows a defect.
    """
    lacking = {"train": _lacking(dataset.train, class_names), "val": _lacking(dataset.val, class_names)}
    if len(lacking["train"]) == len(class_names):
        raise DatasetError(
            f"No training picture of {dataset.folder} shows a defect.",
            "Label some: a detector learns from boxes.",
        )
    for split, verb in (("train", "learnt"), ("val", "measured, and their threshold is not chosen")):
        if lacking[split]:
            logger.warning("no box of %s in %s: cannot be %s", ", ".join(lacking[split]), split, verb)


def _lacking(pictures: tuple[LabelledPicture, ...], class_names: tuple[str, ...]) -> list[str]:
    shown = {int(class_id) for picture in pictures for class_id in picture.class_ids}
    return [name for number, name in enumerate(class_names) if number not in shown]


def read_labelled(path: Path) -> Image:
    """Decode a picture of a data set, as the edge would.

    Raises:
        DatasetError: if it cannot be decoded or is truncated.
    """
    try:
        return read_picture(path)
    except ImageError as error:
        raise DatasetError(error.problem, error.cure) from error


def label_file(image: Path) -> Path:
    """Return where a picture's labels lie, as ultralytics has it: the last folder images becomes labels."""
    parts = list(image.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _read_description(file: Path) -> Mapping[str, Any]:
    try:
        description = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"There is no {file}.", "Name a data set folder that holds a data.yaml."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{file} cannot be read: {error}.", "Correct it.") from error
    if not isinstance(description, dict):
        raise DatasetError(f"{file} holds no keys.", "It needs path, train, val and names.")
    return description


def _class_ids(names: object, class_names: tuple[str, ...], file: Path) -> dict[int, int]:
    """Map the data set's class numbers to the taxonomy's."""
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DatasetError(f"{file} names no classes.", f"Add `names: [{', '.join(class_names)}]`.")
    mapping = {}
    for number, name in names.items():
        if name not in class_names or not isinstance(number, int):
            raise DatasetError(
                f"{file}: class {number}, '{name}', is not one of the taxonomy's.",
                f"Use {', '.join(class_names)}, or train with a taxonomy that has it.",
            )
        mapping[number] = class_names.index(name)
    return mapping


def _read_split(images: Path, class_ids: Mapping[int, int]) -> tuple[LabelledPicture, ...]:
    if not images.is_dir():
        raise DatasetError(f"There is no folder {images}.", "Correct the path in data.yaml.")
    files = picture_files(images)
    if not files:
        raise DatasetError(
            f"{images} holds no pictures.", f"It needs {', '.join(sorted(PICTURE_SUFFIXES))} files."
        )
    return tuple(_read_labels(file, label_file(file), class_ids) for file in files)


def _weighted(pictures: tuple[LabelledPicture, ...], weights: BoxWeights) -> tuple[LabelledPicture, ...]:
    """Give boxes their weights, and leave out pictures with a box that waits for a person.

    Trained on without it, such a picture would teach that there is no defect.
    """
    ready = [picture for picture in pictures if not weights.is_waiting(picture.path)]
    if len(ready) < len(pictures):
        waiting = len(pictures) - len(ready)
        logger.info("%d of %d training pictures wait for `loomsight review`", waiting, len(pictures))
    if not ready:
        raise DatasetError("Every training picture waits for review.", "Run `loomsight review`.")
    return tuple(
        replace(picture, weights=weights.of(picture.path, picture.boxes_share)) for picture in ready
    )


def _read_labels(image: Path, file: Path, class_ids: Mapping[int, int]) -> LabelledPicture:
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} cannot be read: {error}.", "Correct or remove it.") from error
    rows = [
        _read_row(line, f"{file}, line {number}", class_ids)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    boxes = np.array([box for _, box in rows], np.float64).reshape(-1, 4)
    return LabelledPicture(image, boxes, np.array([class_id for class_id, _ in rows], np.int64))


def _read_row(
    line: str, where: str, class_ids: Mapping[int, int]
) -> tuple[int, tuple[float, float, float, float]]:
    try:
        number, x, y, width, height = line.split()
        class_number, shares = int(number), [float(value) for value in (x, y, width, height)]
    except ValueError as error:
        raise DatasetError(
            f"{where}: '{line[:60]}' is not a box.", "A line is: class centre-x centre-y width height."
        ) from error
    if class_number not in class_ids:
        raise DatasetError(
            f"{where}: class {class_number} has no name in data.yaml.",
            f"Known numbers: {', '.join(map(str, class_ids))}.",
        )
    centre_x, centre_y, box_width, box_height = shares
    box = np.array([centre_x - box_width / 2, centre_y - box_height / 2,
                    centre_x + box_width / 2, centre_y + box_height / 2])  # fmt: skip
    inside = (box >= -EDGE_TOLERANCE).all() and (box <= 1 + EDGE_TOLERANCE).all()
    if not inside or not box_width > 0 or not box_height > 0:
        raise DatasetError(
            f"{where}: the box {' '.join(map(str, shares))} has no area or leaves the picture.",
            "Coordinates are shares of width and height, 0 to 1.",
        )
    left, top, right, bottom = np.clip(box, 0, 1).tolist()
    return class_ids[class_number], (left, top, right, bottom)


def _scale_of_simulation(folder: Path) -> float | None:
    """Read mm_per_px from the simulator's record, if there is one."""
    file = folder / "simulation.json"
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        value = record["mm_per_px"] if "mm_per_px" in record else record["options"]["mm_per_px"]
        scale = float(value)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{file} does not say mm_per_px.", "Write the data set again, or remove that file."
        ) from error
    if not scale > 0:
        raise DatasetError(f"{file}: mm_per_px is {scale}.", "It must be positive.")
    return scale
