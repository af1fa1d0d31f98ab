"""Weave the simulated cloth that a detector is trained on before real cloth, or along with it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from distill.data.dataset import Dataset, load_dataset
from distill.settings.tables import Rehearsal
from edge.core.errors import DatasetError
from edge.core.taxonomy import Taxonomy
from edge.dataset.clean_folder import folder_digest
from edge.dataset.options import DatasetOptions
from edge.dataset.writing import write_dataset

logger = logging.getLogger(__name__)

OLDER: Final[dict[str, object]] = {"on": None, "look": "drawn", "pattern": None}
"""Options that older data sets do not name, and what they were."""

UNKNOWN_SCALE_MM_PER_PX: Final = 0.2
"""Simulated cloth is woven at this scale where nobody said that of the data set."""


def simulated_dataset(options: DatasetOptions, folder: Path, taxonomy: Taxonomy) -> Dataset:
    """Return the simulated data set; it is woven where it is not there yet.

    Args:
        folder: of the data set; a new one appears whole or not at all.
    Raises:
        OutputError, CameraNotFoundError, NoImagesError: as `write_dataset`.
        DatasetError: if what stands there is none, or was woven otherwise.
    """
    if not folder.is_dir():
        kind = f"clean cloth of {options.on}" if options.on else "simulated cloth"
        logger.info("weaving %d images of %s in %s", options.images, kind, folder)
        write_dataset(folder, options, taxonomy)
    _check_woven(folder, options)
    return load_dataset(folder, taxonomy)


def rehearsed(
    dataset: Dataset, rehearsal: Rehearsal, mm_per_px: float | None, folder: Path, taxonomy: Taxonomy
) -> Dataset:
    """Add simulated cloth to the images to learn from; those to validate on stay the data set's own.

    A few dozen labelled images make a detector forget what it knew of cloth they do not show. Seen among
    images of simulated cloth they add to it instead: docs/benchmarks/strips.md.

    Args:
        mm_per_px: of the data set; None if nobody knows.
        folder: of the simulated data set; it is woven where it is not there yet.
    Raises:
        OutputError, DatasetError: as `simulated_dataset`.
    """
    scale = {"mm_per_px": mm_per_px or UNKNOWN_SCALE_MM_PER_PX}
    woven = simulated_dataset(rehearsal.simulation.model_copy(update=scale), folder, taxonomy)
    return replace(dataset, train=dataset.train * rehearsal.repeats + woven.train)


def _check_woven(folder: Path, options: DatasetOptions) -> None:
    """See that a data set which stands there already is the one that is asked for."""
    try:
        made = json.loads((folder / "simulation.json").read_bytes())
        woven, clean = OLDER | made["options"], made.get("clean_images", {}).get("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{folder} is no simulated data set.", "Choose another --out.") from error
    asked = options.model_dump(mode="json", exclude={"workers"})
    other = [key for key in woven if woven.get(key) != asked.get(key)]
    if options.on is not None and not other:
        other = _changed_images(options.on, clean)
    if other:
        raise DatasetError(
            f"{folder} was woven with another {other[0]} than the recipe asks for.",
            "Delete it, or choose another --out.",
        )


def _changed_images(on: Path, digest: str | None) -> list[str]:
    """Name the folder of clean images if they are others than those of a digest.

    One that is gone is said and changes nothing: the data set that was made of it is whole.
    """
    if not on.is_dir():
        logger.warning("%s is gone: the defects planted in its images are used as they are", on)
        return []
    return [] if folder_digest(on) == digest else [f"content of {on}"]
