"""Tell what a missing label file of a YOLO data set means: no defect, or a file that was lost."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from distill.labels.formats.label_file import label_file
from distill.labels.formats.yolo_description import Description
from distill.labels.sets.image_files import is_there
from distill.labels.sets.problems import Problems
from edge.core.counted import counted
from edge.core.outside_files import files_below

NOT_LABELS = frozenset({"classes.txt"})
"""LabelImg puts it beside the label files."""


def lost_label_files(
    images: Iterable[Path], description: Description, problems: Problems
) -> frozenset[Path]:
    """Return the label files that are not there although their image may show a defect.

    YOLO's rule is that an image without a label file shows none. It holds only in a folder of label files
    of which each belongs to an image: where there is none at all, or some are left over, files were lost,
    renamed or saved elsewhere. Those left over become problems; where the rule holds, a note says so.

    Args:
        images: of the whole data set.
        description: of the data set.
        problems: gets them.
    """
    image_of = {label_file(path): path for path in images}
    there = {
        folder: [file for file in sorted(files_below(folder, "*.txt")) if file.name not in NOT_LABELS]
        for folder in _folders(description)
    }
    doubtful: set[Path] = set()
    for folder, files in there.items():
        left_over = [file for file in files if file not in image_of]
        for file in left_over:
            problems.add(shown_name(file, description.root), "has no image")
        if left_over or not files:
            doubtful.add(folder)
    existing = {file for files in there.values() for file in files}
    absent = [file for file in image_of if file not in existing and not file.exists()]
    lost = frozenset(
        file
        for file in absent
        if is_there(image_of[file].with_suffix(".txt"))
        or not doubtful.isdisjoint(file.parents)
        or there.keys().isdisjoint(file.parents)
    )
    if len(absent) > len(lost):
        without = (
            f"{counted(len(absent) - len(lost), 'image')} without a label file: in YOLO that is no defect"
        )
        problems.note(description.file.name, without)
    return lost


def shown_name(path: Path, root: Path) -> str:
    """Return a path from the folder of the data set, with forward slashes."""
    below, folder = str(path), str(root) + os.sep
    if not below.startswith(folder):  # the quick way is for the thousands of images below it
        below = os.path.relpath(path, root)
    return below.removeprefix(folder).replace(os.sep, "/")


def _folders(description: Description) -> set[Path]:
    """Return where the labels of whole folders of images lie; beside listed ones may lie others."""
    entries = (entry for entries in description.entries.values() for entry in entries)
    return {label_file(entry / "any").parent for entry in entries if entry.is_dir()}
