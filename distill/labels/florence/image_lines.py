"""Write what the teacher found as JSON: a line per image, in order, whole or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.labels.annotators.annotator import Annotator
from distill.labels.florence.outputs import Answer
from distill.labels.sets.annotations import Region
from distill.labels.sets.image_files import decoded
from edge.core.errors import DatasetError, OutputError
from edge.core.image import Image

log = logging.getLogger(__name__)


@dataclass
class AnnotationCounts:
    """Say how many images were labelled, how many regions found, and how many files could not be read."""

    images: int = 0
    regions: int = 0
    unreadable: int = 0


def write_lines(annotator: Annotator, files: Sequence[Path], out: Path, *, batch: int) -> AnnotationCounts:
    """Label images and write a line for each: `image`, `size_hw_px` and `regions`, or `problem`.

    Args:
        annotator: who labels.
        files: images.
        out: written under a temporary name, then renamed.
        batch: images read at once.
    Raises:
        OutputError: if `out` cannot be written.
    """
    counts = AnnotationCounts()
    temporary = out.with_name(f".{out.name}.partial")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            for start in range(0, len(files), batch):
                for line in _lines(annotator, files[start : start + batch], counts):
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        temporary.replace(out)
    except OSError as error:
        raise OutputError(f"Cannot write {out}: {error.strerror}.", "Choose another --out.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def _lines(annotator: Annotator, files: Sequence[Path], counts: AnnotationCounts) -> list[dict[str, Any]]:
    """Label some files; one that cannot be read gets a line that says so, and the others go on."""
    read = [_read(file) for file in files]
    found = iter(annotator.annotate([image for image in read if not isinstance(image, str)]))
    lines: list[dict[str, Any]] = []
    for file, image in zip(files, read, strict=True):
        if isinstance(image, str):
            counts.unreadable += 1
            log.warning("left out: %s", image)
            lines.append({"image": str(file), "problem": image})
            continue
        regions = next(found)
        counts.images, counts.regions = counts.images + 1, counts.regions + len(regions)
        size = [int(side) for side in image.shape[:2]]
        lines.append(
            {"image": str(file), "size_hw_px": size, "regions": [region_record(r) for r in regions]}
        )
    return lines


def _read(file: Path) -> Image | str:
    try:
        return decoded(file)
    except DatasetError as error:
        return str(error)


def answer_record(task: str, file: Path | None, image: Image | None, answer: Answer) -> dict[str, Any]:
    """Spell out the answer to one question; places without an image are in bins."""
    about = {} if image is None else {"image": str(file), "size_hw_px": [int(s) for s in image.shape[:2]]}
    regions = [region_record(region) for region in answer.regions]
    return {"task": task, **about, "text": answer.text, "regions": regions}


def region_record(region: Region) -> dict[str, Any]:
    """Spell a region out: what is not known is left out, places to 0.01 px, scores to 0.0001."""
    known = {key: value for key, value in asdict(region).items() if value is not None}
    known["box_xyxy_px"] = [round(side, 2) for side in region.box_xyxy_px]
    if region.polygon_xy_px:
        known["polygon_xy_px"] = [[round(x, 2), round(y, 2)] for x, y in region.polygon_xy_px]
    if region.score is not None:
        known["score"] = round(region.score, 4)
    return known
