"""Tell which roll or strip an image was cut from, by its name or by a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from distill.labels.sets.annotations import LabelSet
from distill.labels.sets.documents import read_text
from edge.core.counted import of_all
from edge.core.errors import ConfigError, DatasetError

GROUP_NAME = "group"
FILE_COLUMN = "file_name"

GroupOf = Callable[[str], str | None]


def grouped(label_set: LabelSet, group_of: GroupOf) -> LabelSet:
    """Give every image its group.

    Raises:
        DatasetError: if one has none: it could not be kept out of another split for certain.
    """
    groups = [group_of(image.file_name) for image in label_set.images]
    without = [image.file_name for image, group in zip(label_set.images, groups, strict=True) if not group]
    if without:
        raise DatasetError(
            f"No group is known of {of_all(len(without), len(groups), 'image')}, first {without[0]}.",
            "Correct the expression or the table until every image has one.",
        )
    images = (replace(image, group=group) for image, group in zip(label_set.images, groups, strict=True))
    return replace(label_set, images=tuple(images))


def by_name(expression: str) -> GroupOf:
    """Take the group from the file name (without folders) by a regular expression.

    Args:
        expression: searched for; with a part named `group`, as in ``^(?P<group>[0-9]+)_``.
    Raises:
        ConfigError: if it is none or has no such part.
    """
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(f"--group '{expression}' is no regular expression: {error}.", _EXAMPLE) from error
    if GROUP_NAME not in pattern.groupindex:
        raise ConfigError(f"--group '{expression}' has no part named {GROUP_NAME}.", _EXAMPLE)

    def group_of(file_name: str) -> str | None:
        match = pattern.search(PurePosixPath(file_name).name)
        return match[GROUP_NAME] if match else None

    return group_of


_EXAMPLE = "Write for instance '^(?P<group>[0-9]+)_'."


def by_table(path: Path, column: str = GROUP_NAME) -> GroupOf:
    """Take the group from a CSV table with the columns `file_name` and `column`.

    Raises:
        DatasetError: if it cannot be read or lacks a column.
    """
    rows = csv.DictReader(io.StringIO(read_text(path)))
    try:
        lacking = {FILE_COLUMN, column} - set(rows.fieldnames or ())
        if lacking:
            raise DatasetError(
                f"{path} has no column {' and no column '.join(sorted(lacking))}.",
                f"It needs {FILE_COLUMN} and {column} in its first line.",
            )
        groups = {(row[FILE_COLUMN] or "").strip(): (row[column] or "").strip() for row in rows}
    except csv.Error as error:
        raise DatasetError(f"{path} is no CSV table: {error}.", "Save it as CSV.") from error

    def group_of(file_name: str) -> str | None:
        return groups.get(file_name) or groups.get(PurePosixPath(file_name).name) or None

    return group_of
